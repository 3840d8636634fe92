#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Import random checkpoints in each foreign form and compare them with a reference written here."""
import io
import json
import os
import pickle
import sys
import tempfile
import unittest
import zipfile

import numpy as np

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "..", "models"))
import bpe
import gguf
import import_hf

HIDDEN, LAYERS, HEADS, KV, FFN, VOCAB = 64, 2, 4, 2, 96, 300


def random_state(rng):
    d = HIDDEN // HEADS
    shapes = {"model.embed_tokens": (VOCAB, HIDDEN), "model.norm": (HIDDEN,)}
    for i in range(LAYERS):
        p = f"model.layers.{i}."
        shapes.update({
            p + "input_layernorm": (HIDDEN,), p + "post_attention_layernorm": (HIDDEN,),
            p + "self_attn.q_proj": (HEADS * d, HIDDEN), p + "self_attn.k_proj": (KV * d, HIDDEN),
            p + "self_attn.v_proj": (KV * d, HIDDEN), p + "self_attn.o_proj": (HIDDEN, HEADS * d),
            p + "mlp.gate_proj": (FFN, HIDDEN), p + "mlp.up_proj": (FFN, HIDDEN), p + "mlp.down_proj": (HIDDEN, FFN),
        })
    return {n + ".weight": rng.standard_normal(s).astype(np.float32) for n, s in shapes.items()}


def write_safetensors(path, state, kind="F32"):
    head, blobs, at = {}, [], 0
    for name, a in state.items():
        if kind == "BF16":
            raw = (a.view(np.uint32) >> 16).astype("<u2").tobytes()
        else:
            raw = a.astype({"F32": "<f4", "F16": "<f2"}[kind]).tobytes()
        head[name] = {"dtype": kind, "shape": list(a.shape), "data_offsets": [at, at + len(raw)]}
        blobs.append(raw)
        at += len(raw)
    text = json.dumps(head).encode()
    with open(path, "wb") as f:
        f.write(len(text).to_bytes(8, "little") + text + b"".join(blobs))


def write_folder(path, model_type, extra=None):
    alphabet = [bpe.byte_alphabet()[b] for b in range(256)]
    tokens = bpe.SPECIALS + alphabet + ["th", "the"]
    config = {"model_type": model_type, "hidden_size": HIDDEN, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS,
              "num_key_value_heads": KV, "vocab_size": VOCAB, "rope_theta": 1e6, "rms_norm_eps": 1e-5, **(extra or {})}
    tokenizer = {"model": {"type": "BPE", "vocab": {t: i for i, t in enumerate(tokens)}, "merges": ["t h", ["th", "e"]]},
                 "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True},
                 "added_tokens": [{"id": i, "content": t, "special": True} for i, t in enumerate(bpe.SPECIALS)]}
    template = "{{ '<|im_start|>system\\nYou are a helpful assistant<|im_end|>\\n' }}"
    for name, value in (("config.json", config), ("tokenizer.json", tokenizer), ("tokenizer_config.json", {"chat_template": template})):
        with open(os.path.join(path, name), "w", encoding="utf-8") as f:
            json.dump(value, f)


class _Named:
    """Pickles as a name of torch's own, so that no torch is needed to write its files."""

    def __init__(self, module, name):
        self.module, self.name = module, name


class _Pickler(pickle._Pickler):
    def __init__(self, f, blobs):
        super().__init__(f, 2)
        self.blobs = blobs

    def persistent_id(self, obj):
        if isinstance(obj, np.ndarray):
            self.blobs.append(obj.tobytes())
            return ("storage", _Named("torch", "FloatStorage"), str(len(self.blobs) - 1), "cpu", obj.size)

    def save(self, obj, save_persistent_id=True):
        if isinstance(obj, _Named):
            return self.write(b"c" + obj.module.encode() + b"\n" + obj.name.encode() + b"\n")
        return super().save(obj, save_persistent_id)


class _Tensor:
    def __init__(self, a):
        self.a = a

    def __reduce__(self):
        strides = tuple(s // self.a.itemsize for s in self.a.strides)
        return Rebuild(), (self.a, 0, self.a.shape, strides, False, None)


class Rebuild:
    def __call__(self):
        raise NotImplementedError


def write_pth(path, state):
    """What torch.save writes: a zip with a pickle and one file a storage."""
    blobs, out = [], io.BytesIO()

    class Pickler(_Pickler):
        def save(self, obj, save_persistent_id=True):
            if isinstance(obj, Rebuild):
                return self.write(b"ctorch._utils\n_rebuild_tensor_v2\n")
            return super().save(obj, save_persistent_id)

    Pickler(out, blobs).dump({"model": {"module." + k: _Tensor(v) for k, v in state.items()}})
    with zipfile.ZipFile(path, "w") as z:
        z.writestr("swen/data.pkl", out.getvalue())
        for i, b in enumerate(blobs):
            z.writestr(f"swen/data/{i}", b)


class Import(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.TemporaryDirectory()
        self.addCleanup(self.dir.cleanup)
        self.state = random_state(np.random.default_rng(4))
        self.out = os.path.join(self.dir.name, "out.gguf")

    def run_import(self, source, *args):
        old, sys.argv = sys.argv, ["import_hf.py", source, "--out", self.out, *args]
        try:
            import_hf.main()
        finally:
            sys.argv = old

    def check(self, tolerance):
        got = gguf.load_model(self.out)
        want = import_hf.own_tensors(self.state)
        self.assertEqual(sorted(got), sorted(want))
        for name in want:
            self.assertLessEqual(np.abs(got[name] - want[name]).max(), tolerance * np.abs(want[name]).max(), name)

    def test_folders(self):
        for kind in ("llama", "swen", "minimind"):
            write_folder(self.dir.name, kind)
            write_safetensors(os.path.join(self.dir.name, "model.safetensors"), self.state)
            self.run_import(self.dir.name, "--type", "f32")
            self.check(0)
        meta = gguf.Reader(self.out).metadata
        self.assertEqual(meta["ulm.system"], "You are a helpful assistant")
        self.assertEqual(meta["tokenizer.ggml.token_type"][:4], [3, 3, 3, 1])
        self.assertEqual(meta["tokenizer.ggml.eos_token_id"], 2)
        self.assertEqual(meta["llama.rope.freq_base"], 1e6)

    def test_rotary_rows_become_pairs(self):
        write_folder(self.dir.name, "llama")
        write_safetensors(os.path.join(self.dir.name, "model.safetensors"), self.state)
        self.run_import(self.dir.name, "--type", "f32")
        q = self.state["model.layers.0.self_attn.q_proj.weight"]
        got = gguf.Reader(self.out).tensor("blk.0.attn_q.weight")
        d = HIDDEN // HEADS
        for h in range(HEADS):
            for i in range(d // 2):
                np.testing.assert_array_equal(got[h * d + 2 * i], q[h * d + i])
                np.testing.assert_array_equal(got[h * d + 2 * i + 1], q[h * d + d // 2 + i])

    def test_half_precision(self):
        for kind in ("F16", "BF16"):
            write_folder(self.dir.name, "llama")
            write_safetensors(os.path.join(self.dir.name, "model.safetensors"), self.state, kind)
            self.run_import(self.dir.name, "--type", "f16")
            self.check(0.01)

    def test_q8_0(self):
        write_folder(self.dir.name, "swen")
        write_safetensors(os.path.join(self.dir.name, "model.safetensors"), self.state)
        self.run_import(self.dir.name)
        self.check(0.01)

    def test_swen_pth(self):
        write_folder(self.dir.name, "swen")
        path = os.path.join(self.dir.name, "swen.pth")
        write_pth(path, self.state)
        self.run_import(path, "--type", "f32")
        self.check(0)

    def test_untied_head(self):
        write_folder(self.dir.name, "llama")
        self.state["lm_head.weight"] = self.state["model.embed_tokens.weight"] + 1
        write_safetensors(os.path.join(self.dir.name, "model.safetensors"), self.state)
        self.run_import(self.dir.name, "--type", "f32")
        self.check(0)
        self.assertIn("output.weight", gguf.Reader(self.out).tensors)

    def test_what_is_not_plain_llama_is_refused(self):
        write_folder(self.dir.name, "llama")
        self.state["model.layers.0.self_attn.q_norm.weight"] = np.ones(4, np.float32)
        write_safetensors(os.path.join(self.dir.name, "model.safetensors"), self.state)
        with self.assertRaises(SystemExit) as e:
            self.run_import(self.dir.name)
        self.assertIn("q_norm", str(e.exception))

    def test_a_pickle_may_name_nothing_else(self):
        write_folder(self.dir.name, "swen")
        path = os.path.join(self.dir.name, "bad.pth")
        with zipfile.ZipFile(path, "w") as z:
            z.writestr("x/data.pkl", b"cos\nsystem\n(S'true'\ntR.")
        with self.assertRaises(SystemExit) as e:
            self.run_import(path)
        self.assertIn("may not name os.system", str(e.exception))


if __name__ == "__main__":
    unittest.main()
