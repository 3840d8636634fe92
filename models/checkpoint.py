# SPDX-License-Identifier: MIT
"""Read torch's zip checkpoints with numpy alone: the pickle inside may name tensors and plain containers, nothing else."""
import collections
import io
import pickle
import zipfile

import numpy as np

TYPES = {"FloatStorage": "<f4", "HalfStorage": "<f2", "BFloat16Storage": "bf16", "DoubleStorage": "<f8", "LongStorage": "<i8",
         "IntStorage": "<i4", "ShortStorage": "<i2", "ByteStorage": "u1", "BoolStorage": "?", "CharStorage": "i1"}


def from_bfloat16(raw):
    return (np.frombuffer(raw, "<u2").astype(np.uint32) << 16).view(np.float32)


class _Storage:
    def __init__(self, name):
        self.name = name


def _rebuild(storage, offset, shape, stride, *_):
    size = storage.itemsize
    return np.lib.stride_tricks.as_strided(storage[offset:], shape, [s * size for s in stride]).copy()


class _Reader(pickle.Unpickler):
    def __init__(self, archive, root):
        super().__init__(io.BytesIO(archive.read(root + "/data.pkl")))
        self.archive, self.root = archive, root

    def find_class(self, module, name):
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if module == "torch._utils" and name in ("_rebuild_tensor_v2", "_rebuild_tensor"):
            return _rebuild
        if module == "torch._utils" and name == "_rebuild_parameter":
            return lambda data, *_: data
        if module == "torch" and name in TYPES:
            return _Storage(name)
        raise pickle.UnpicklingError(f"a checkpoint may not name {module}.{name}")

    def persistent_load(self, pid):
        _, storage, key, *_ = pid
        raw = self.archive.read(f"{self.root}/data/{key}")
        kind = TYPES[storage.name]
        return from_bfloat16(raw) if kind == "bf16" else np.frombuffer(raw, kind)


def load(path):
    with zipfile.ZipFile(path) as archive:
        root = next(n for n in archive.namelist() if n.endswith("/data.pkl"))[: -len("/data.pkl")]
        return _Reader(archive, root).load()
