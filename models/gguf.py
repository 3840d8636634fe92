# SPDX-License-Identifier: MIT
"""GGUF version 3: write and read model files in llama.cpp's layout for the `llama` architecture. Needs numpy alone.

A model is a dict of arrays under this recipe's own names (embed, layer.N.q, ..., norm); attention rows are stored with
rotary pairs side by side, as llama.cpp rotates them, while training and most checkpoints keep them in two halves.
"""
import struct

import numpy as np

F32, F16, Q8_0 = 0, 1, 8
U8, I8, U16, I16, U32, I32, FLOAT, BOOL, STRING, ARRAY, U64, I64, DOUBLE = range(13)
SCALARS = {U8: "<B", I8: "<b", U16: "<H", I16: "<h", U32: "<I", I32: "<i", FLOAT: "<f", BOOL: "<?", U64: "<Q", I64: "<q", DOUBLE: "<d"}
ALIGN = 32
LAYER = {"attn_norm": "attn_norm", "q": "attn_q", "k": "attn_k", "v": "attn_v", "o": "attn_output", "ffn_norm": "ffn_norm",
         "gate": "ffn_gate", "up": "ffn_up", "down": "ffn_down"}


def file_name(name):
    """llama.cpp's name of one of our tensors."""
    if name.startswith("layer."):
        _, n, part = name.split(".")
        return f"blk.{n}.{LAYER[part]}.weight"
    return {"embed": "token_embd", "norm": "output_norm", "head": "output"}[name] + ".weight"


def own_name(name):
    parts = name.split(".")
    if parts[0] == "blk":
        back = {v: k for k, v in LAYER.items()}
        return f"layer.{parts[1]}.{back[parts[2]]}"
    return {"token_embd": "embed", "output_norm": "norm", "output": "head"}[parts[0]]


def pair_rows(w, heads):
    """Rows of rotated halves -> rows of neighbouring pairs."""
    return w.reshape(heads, 2, -1, w.shape[1]).swapaxes(1, 2).reshape(w.shape)


def halve_rows(w, heads):
    """The inverse of pair_rows."""
    return w.reshape(heads, -1, 2, w.shape[1]).swapaxes(1, 2).reshape(w.shape)


def quantize(a, kind):
    """The bytes of an array in one tensor type."""
    if kind == F32:
        return a.astype("<f4").tobytes()
    if kind == F16:
        return a.astype("<f2").tobytes()
    blocks = a.astype(np.float32).reshape(-1, 32)
    scale = np.abs(blocks).max(1, keepdims=True) / np.float32(127)
    inverse = np.divide(np.float32(1), scale, out=np.zeros_like(scale), where=scale > 0)
    scaled = blocks * inverse
    q = np.trunc(scaled + np.copysign(np.float32(0.5), scaled)).astype(np.int8)
    out = np.empty(len(blocks), np.dtype([("d", "<f2"), ("q", "i1", 32)]))
    out["d"], out["q"] = scale[:, 0], q
    return out.tobytes()


def dequantize(raw, shape, kind):
    if kind == F32:
        return np.frombuffer(raw, "<f4").reshape(shape).copy()
    if kind == F16:
        return np.frombuffer(raw, "<f2").reshape(shape).astype(np.float32)
    blocks = np.frombuffer(raw, np.dtype([("d", "<f2"), ("q", "i1", 32)]))
    return (blocks["d"].astype(np.float32)[:, None] * blocks["q"]).reshape(shape)


def size_of(shape, kind):
    n = int(np.prod(shape))
    return {F32: 4 * n, F16: 2 * n, Q8_0: n // 32 * 34}[kind]


def _string(s):
    b = s.encode("utf-8")
    return struct.pack("<Q", len(b)) + b


def _value(kind, value):
    if kind == STRING:
        return _string(value)
    if kind == ARRAY:
        item, values = value
        return struct.pack("<IQ", item, len(values)) + b"".join(_value(item, v) for v in values)
    return struct.pack(SCALARS[kind], value)


def write(path, metadata, tensors):
    """metadata: [(key, kind, value)], an array's value being (kind of items, list); tensors: [(name, array, kind)]."""
    head = struct.pack("<4sIQQ", b"GGUF", 3, len(tensors), len(metadata))
    for key, kind, value in metadata:
        head += _string(key) + struct.pack("<I", kind) + _value(kind, value)
    offset = 0
    for name, a, kind in tensors:
        head += _string(name) + struct.pack(f"<I{a.ndim}Q", a.ndim, *reversed(a.shape)) + struct.pack("<IQ", kind, offset)
        offset += -(-size_of(a.shape, kind) // ALIGN) * ALIGN
    with open(path, "wb") as f:
        f.write(head + bytes(-len(head) % ALIGN))
        for _, a, kind in tensors:
            raw = quantize(a, kind)
            f.write(raw + bytes(-len(raw) % ALIGN))


class Reader:
    """A file's metadata (plain values; arrays as lists) and tensors (name -> shape, kind, offset)."""

    def __init__(self, path):
        with open(path, "rb") as f:
            self.raw = f.read()
        self.at = 4
        version, tensors, pairs = self._take("<I"), self._take("<Q"), self._take("<Q")
        if self.raw[:4] != b"GGUF" or version != 3:
            raise ValueError(f"{path}: not a GGUF file of version 3")
        self.metadata, self.tensors = {}, {}
        for _ in range(pairs):
            key = self._value(STRING)
            self.metadata[key] = self._value(self._take("<I"))
        for _ in range(tensors):
            name = self._value(STRING)
            shape = tuple(reversed([self._take("<Q") for _ in range(self._take("<I"))]))
            self.tensors[name] = (shape, self._take("<I"), self._take("<Q"))
        self.base = -(-self.at // ALIGN) * ALIGN

    def _take(self, form):
        n = struct.calcsize(form)
        value = struct.unpack_from(form, self.raw, self.at)[0]
        self.at += n
        return value

    def _value(self, kind):
        if kind == STRING:
            n = self._take("<Q")
            self.at += n
            return self.raw[self.at - n : self.at].decode("utf-8")
        if kind == ARRAY:
            item, n = self._take("<I"), self._take("<Q")
            return [self._value(item) for _ in range(n)]
        return self._take(SCALARS[kind])

    def tensor(self, name):
        shape, kind, offset = self.tensors[name]
        start = self.base + offset
        return dequantize(self.raw[start : start + size_of(shape, kind)], shape, kind)


def config_of(reader):
    m = reader.metadata
    return {
        "hidden": m["llama.embedding_length"],
        "layers": m["llama.block_count"],
        "heads": m["llama.attention.head_count"],
        "kv_heads": m["llama.attention.head_count_kv"],
        "ffn": m["llama.feed_forward_length"],
        "vocab": len(m["tokenizer.ggml.tokens"]),
        "theta": m["llama.rope.freq_base"],
        "eps": m["llama.attention.layer_norm_rms_epsilon"],
        "context": m["llama.context_length"],
    }


def load_model(path, expected=None):
    """Our tensors from a file; with `expected` (a config) the shapes must agree."""
    reader = Reader(path)
    config = config_of(reader)
    for key in ("hidden", "layers", "heads", "kv_heads", "ffn", "vocab"):
        if expected and expected[key] != config[key]:
            raise ValueError(f"{path}: {key} is {config[key]}, not {expected[key]}")
    out = {}
    for name in reader.tensors:
        a, own = reader.tensor(name), own_name(name)
        if own.endswith((".q", ".k")):
            a = halve_rows(a, config["heads" if own.endswith(".q") else "kv_heads"])
        out[own] = a
    return out


CHAT = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' + m['content'] + '<|im_end|>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


def save_model(path, config, model, tokenizer, kind, info=(), template=CHAT, special=(0, 1, 2), bos=0, eos=2):
    """Write a llama.cpp file; `model` has our names and halves; `info` is more metadata; norms always stay float32."""
    c = config
    head_dim = c["hidden"] // c["heads"] if "head_dim" not in c else c["head_dim"]
    types = [3 if i in special else 1 for i in range(len(tokenizer["tokens"]))]
    file_type = {F32: 0, F16: 1, Q8_0: 7}[kind]
    metadata = [
        ("general.architecture", STRING, "llama"),
        *info,
        ("general.file_type", U32, file_type),
        ("general.quantization_version", U32, 2),
        ("llama.vocab_size", U32, len(tokenizer["tokens"])),
        ("llama.context_length", U32, c["context"]),
        ("llama.embedding_length", U32, c["hidden"]),
        ("llama.block_count", U32, c["layers"]),
        ("llama.feed_forward_length", U32, c["ffn"]),
        ("llama.rope.dimension_count", U32, head_dim),
        ("llama.rope.freq_base", FLOAT, c["theta"]),
        ("llama.attention.head_count", U32, c["heads"]),
        ("llama.attention.head_count_kv", U32, c["kv_heads"]),
        ("llama.attention.layer_norm_rms_epsilon", FLOAT, c["eps"]),
        ("tokenizer.ggml.model", STRING, "gpt2"),
        ("tokenizer.ggml.pre", STRING, tokenizer.get("pre", "gpt-2")),
        ("tokenizer.ggml.tokens", ARRAY, (STRING, tokenizer["tokens"])),
        ("tokenizer.ggml.token_type", ARRAY, (I32, types)),
        ("tokenizer.ggml.merges", ARRAY, (STRING, tokenizer["merges"])),
        ("tokenizer.ggml.bos_token_id", U32, bos),
        ("tokenizer.ggml.eos_token_id", U32, eos),
        ("tokenizer.ggml.padding_token_id", U32, 0),
        ("tokenizer.ggml.add_bos_token", BOOL, False),
        ("tokenizer.chat_template", STRING, template),
    ]
    tensors = []
    for name, a in model.items():
        if name.endswith((".q", ".k")):
            a = pair_rows(a, c["heads" if name.endswith(".q") else "kv_heads"])
        matrix = a.ndim == 2 and (kind != Q8_0 or a.shape[1] % 32 == 0)
        tensors.append((file_name(name), a, kind if matrix else F32))
    write(path, metadata, tensors)
