#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Write a training checkpoint as a GGUF file that ulmd and llama.cpp both run. Several checkpoints are averaged; a GGUF
file of this recipe is taken too, to change its type. The guard's word list goes into the file as ulm.lexicon.
"""
import argparse
import json
import os

import numpy as np

import checkpoint
import gguf
import neutral


def load(path):
    if not path.endswith(".gguf"):
        return checkpoint.load(path)
    reader = gguf.Reader(path)
    m = reader.metadata
    return {
        "config": gguf.config_of(reader),
        "model": gguf.load_model(path),
        "tokenizer": {"tokens": m["tokenizer.ggml.tokens"], "merges": m["tokenizer.ggml.merges"]},
        "lexicon": m.get("ulm.lexicon", []),
        "tokens": m.get("ulm.tokens_seen", 0),
    }


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("checkpoint", nargs="+", help="checkpoint.pt of train.py, or a .gguf")
    ap.add_argument("--name", default="ulm-8m")
    ap.add_argument("--type", default="q8_0", choices=["f32", "f16", "q8_0"])
    ap.add_argument("--license", default="MIT")
    ap.add_argument("--system", default="", help="system text put before every request (ulm.system)")
    ap.add_argument("--min-confidence", type=float, help="below this mean log-probability a neutral opener is said (ulm.min_confidence)")
    ap.add_argument("--out")
    ap.add_argument("--tokenizer", help="write the tokenizer here, for pack.py, instead of a model")
    args = ap.parse_args()
    if not (args.out or args.tokenizer):
        ap.error("--out or --tokenizer is needed")
    files = [load(p) for p in args.checkpoint]
    first = files[0]
    if args.tokenizer:
        with open(args.tokenizer, "w", encoding="utf-8") as f:
            json.dump(first["tokenizer"], f, ensure_ascii=False)
    if not args.out:
        return
    model = {n: np.mean([f["model"][n] for f in files], axis=0, dtype=np.float64).astype(np.float32) for n in first["model"]}
    info = [
        ("general.name", gguf.STRING, args.name),
        ("general.license", gguf.STRING, args.license),
        ("general.description", gguf.STRING, "First words of a reply: 4 to 8 words that a larger model continues."),
        ("ulm.system", gguf.STRING, args.system),
        ("ulm.tokens_seen", gguf.U64, int(first["tokens"])),
        ("ulm.lexicon", gguf.ARRAY, (gguf.STRING, first["lexicon"])),
    ]
    if args.min_confidence is not None:
        info += [("ulm.min_confidence", gguf.FLOAT, args.min_confidence), ("ulm.neutral", gguf.ARRAY, (gguf.STRING, [text for text, _ in neutral.NEUTRAL]))]
    kind = {"f32": gguf.F32, "f16": gguf.F16, "q8_0": gguf.Q8_0}[args.type]
    gguf.save_model(args.out + ".new", first["config"], model, first["tokenizer"], kind, info)
    os.replace(args.out + ".new", args.out)


if __name__ == "__main__":
    main()
