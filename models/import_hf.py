#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Turn a foreign checkpoint into a GGUF file: a Hugging Face folder (config.json, model.safetensors, tokenizer.json) of
type llama, swen or minimind, or a Swen .pth with such a folder's config.json and tokenizer.json beside it.

Only plain Llama-shaped decoders are taken: a tensor that has no place in the file is an error, not a silent loss.
"""
import argparse
import json
import os
import pickle
import re
import sys
import zipfile

import numpy as np

import checkpoint
import gguf

NAMES = {
    "embed_tokens": "embed",
    "norm": "norm",
    "lm_head": "head",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "q",
    "self_attn.k_proj": "k",
    "self_attn.v_proj": "v",
    "self_attn.o_proj": "o",
    "mlp.gate_proj": "gate",
    "mlp.up_proj": "up",
    "mlp.down_proj": "down",
}
FOUND = re.compile(r"^(?:module\.)?(?:model\.)?(?:layers\.(\d+)\.)?([a-z_.]+)\.weight$")
BUFFERS = re.compile(r"(rotary_emb\.inv_freq|freqs_cos|freqs_sin|freqs_cis)$")
TYPES = {"F32": "<f4", "F16": "<f2", "F64": "<f8"}


def safetensors(path):
    with open(path, "rb") as f:
        size = int.from_bytes(f.read(8), "little")
        head = json.loads(f.read(size))
    base, raw = 8 + size, np.memmap(path, np.uint8, "r")
    out = {}
    for name, t in head.items():
        if name == "__metadata__":
            continue
        a, b = t["data_offsets"]
        data = raw[base + a : base + b].tobytes()
        if t["dtype"] == "BF16":
            flat = checkpoint.from_bfloat16(data)
        elif t["dtype"] in TYPES:
            flat = np.frombuffer(data, TYPES[t["dtype"]])
        else:
            raise ValueError(f"{name}: type {t['dtype']} is not read")
        out[name] = flat.reshape(t["shape"]).astype(np.float32)
    return out


def load_folder(path):
    """All tensors of a folder, in one file or in the pieces that its index names."""
    index = os.path.join(path, "model.safetensors.index.json")
    if not os.path.exists(index):
        return safetensors(os.path.join(path, "model.safetensors"))
    with open(index, encoding="utf-8") as f:
        files = sorted(set(json.load(f)["weight_map"].values()))
    return {k: v for name in files for k, v in safetensors(os.path.join(path, os.path.basename(name))).items()}


def own_tensors(foreign):
    out = {}
    for name, a in foreign.items():
        if BUFFERS.search(name):
            continue
        m = FOUND.match(name)
        if not m or m.group(2) not in NAMES:
            raise ValueError(f"{name}: this is not a tensor of a plain Llama-shaped decoder")
        part = NAMES[m.group(2)]
        out[f"layer.{m.group(1)}.{part}" if m.group(1) else part] = np.asarray(a, np.float32)
    if "head" in out and np.array_equal(out["head"], out["embed"]):
        del out["head"]
    return out


def config_from(c, model):
    """Our config, from config.json where it must and from the tensors' own shapes where it can."""
    heads = c["num_attention_heads"]
    layers = 1 + max(int(n.split(".")[1]) for n in model if n.startswith("layer."))
    head_dim = model["layer.0.q"].shape[0] // heads
    theta = c.get("rope_theta") or (c.get("rope_parameters") or {}).get("rope_theta") or 10000.0
    scaling = c.get("rope_scaling") or {}
    if scaling.get("rope_type", scaling.get("type", "default")) != "default" and c.get("inference_rope_scaling", True):
        raise ValueError("config.json asks for scaled rotary positions, which are not supported")
    if c.get("hidden_act", "silu") != "silu":
        raise ValueError(f"hidden_act {c['hidden_act']} is not supported")
    return {
        "hidden": model["embed"].shape[1],
        "layers": layers,
        "heads": heads,
        "kv_heads": model["layer.0.k"].shape[0] // head_dim,
        "head_dim": head_dim,
        "ffn": model["layer.0.gate"].shape[0],
        "vocab": model["embed"].shape[0],
        "theta": float(theta),
        "eps": float(c.get("rms_norm_eps", 1e-5)),
        "context": int(c.get("max_position_embeddings", 2048)),
    }


def splits_as_gpt2(pre):
    """True when a tokenizer.json's pre_tokenizer is GPT-2's own byte-level one."""
    return pre and pre["type"] == "ByteLevel" and pre.get("use_regex", True) and not pre.get("add_prefix_space", False)


def tokenizer_from(path, vocab, pre=None):
    """(tokens, merges, ids of special tokens, pre-tokenizer name) of a tokenizer.json."""
    with open(path, encoding="utf-8") as f:
        t = json.load(f)
    if t["model"]["type"] != "BPE" or t.get("normalizer"):
        raise ValueError(f"{path}: only byte-level BPE without a normalizer is supported")
    if not pre and not splits_as_gpt2(t["pre_tokenizer"]):
        raise ValueError(f"{path}: not GPT-2's pre-tokenizer; name llama.cpp's one for it with --pre")
    by_id = {i: token for token, i in t["model"]["vocab"].items()}
    special = set()
    for a in t.get("added_tokens", ()):
        by_id[a["id"]] = a["content"]
        if a.get("special", True):
            special.add(a["id"])
    if max(by_id) >= vocab:
        raise ValueError(f"{path}: token {max(by_id)} has no row among the model's {vocab}")
    tokens = [by_id.get(i, f"[UNUSED{i}]") for i in range(vocab)]
    merges = [m if isinstance(m, str) else " ".join(m) for m in t["model"]["merges"]]
    return {"tokens": tokens, "merges": merges, "pre": pre or "gpt-2"}, special


def read_json(folder, name):
    path = os.path.join(folder, name)
    if not os.path.exists(path):
        return {}
    with open(path, encoding="utf-8") as f:
        return json.load(f)


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("source", help="a folder, or a .pth file in such a folder")
    ap.add_argument("--out", required=True)
    ap.add_argument("--type", default="q8_0", choices=["f32", "f16", "q8_0"])
    ap.add_argument("--config", help="folder of config.json and tokenizer.json (default: the source's own)")
    ap.add_argument("--pre", help="llama.cpp's name of the pre-tokenizer (default: gpt-2, checked)")
    ap.add_argument("--system", help="default system text (default: what the chat template inserts)")
    ap.add_argument("--license", default="", help="licence of the weights, kept in the file")
    args = ap.parse_args()
    try:
        convert(args)
    except (ValueError, KeyError, OSError, pickle.UnpicklingError, zipfile.BadZipFile) as e:
        sys.exit(f"import_hf.py: {e}")


def convert(args):
    pth = args.source.endswith((".pth", ".pt"))
    folder = args.config or (os.path.dirname(args.source) or "." if pth else args.source)
    if pth:
        state = checkpoint.load(args.source)
        foreign = state.get("model", state)
    else:
        foreign = load_folder(args.source)
    config_json, names = read_json(folder, "config.json"), read_json(folder, "tokenizer_config.json")
    kind = config_json.get("model_type", "llama")
    if kind not in ("llama", "swen", "minimind") or config_json.get("use_moe"):
        raise ValueError(f"model type {kind} is not a plain Llama-shaped decoder")
    model = own_tensors(foreign)
    config = config_from(config_json, model)
    tokenizer, special = tokenizer_from(os.path.join(folder, "tokenizer.json"), config["vocab"], args.pre)
    ids = {t: i for i, t in enumerate(tokenizer["tokens"])}
    eos = ids.get("<|im_end|>", config_json.get("eos_token_id", 2))
    bos = config_json.get("bos_token_id", ids.get("<|im_start|>", 1))
    template = names.get("chat_template") or gguf.CHAT
    inserted = re.search(r"<\|im_start\|>system(?:\\n|\n)([^<{'\"]+)<\|im_end\|>", template)
    system = args.system if args.system is not None else inserted.group(1) if inserted else ""
    info = [
        ("general.name", gguf.STRING, os.path.basename(os.path.abspath(folder))),
        ("general.license", gguf.STRING, args.license),
        ("ulm.system", gguf.STRING, system),
    ]
    kinds = {"f32": gguf.F32, "f16": gguf.F16, "q8_0": gguf.Q8_0}
    special |= {i for t, i in ids.items() if t in ("<|endoftext|>", "<|im_start|>", "<|im_end|>")}
    gguf.save_model(args.out + ".new", config, model, tokenizer, kinds[args.type], info, template, special, bos, eos)
    os.replace(args.out + ".new", args.out)


if __name__ == "__main__":
    main()
