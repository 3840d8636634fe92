#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Judge a model file or checkpoint: held-out opener loss, and the openers it says to the development prompts, with and
without the guard: share of 4 to 8 words, grounded share by word overlap, guard hits, duplicates, and a sheet to read."""
import argparse
import collections
import json
import os
import re
import sys

import torch

import augment
import batches
import checkpoint
import corpus
import gguf
import model as models
from bpe import IM_END, IM_START, Tokenizer
from guard import WORD, Guard

STOP = set("""a an the and or but if so to of in on at by for with from as is are was were be been being am do does did doing have has had
having can could should would will shall may might must i you he she it we they me him her us them my your his its our their this that these
those what which who whom whose when where why how not no yes than then there here up down out off over under again just about into really
very get got go going make it's i'm i've don't what's how's let's please hey ok okay some any like want need tell give one way best good""".split())


class Speaker:
    """A loaded model that writes openers greedily."""

    def __init__(self, path):
        if path.endswith(".gguf"):
            reader = gguf.Reader(path)
            config, weights = gguf.config_of(reader), gguf.load_model(path)
            meta = reader.metadata
            tokens, merges = meta["tokenizer.ggml.tokens"], meta["tokenizer.ggml.merges"]
            self.lexicon, self.system = meta.get("ulm.lexicon", []), meta.get("ulm.system", "")
        else:
            state = checkpoint.load(path)
            config, weights = state["config"], state["model"]
            tokens, merges = state["tokenizer"]["tokens"], state["tokenizer"]["merges"]
            self.lexicon, self.system = state["lexicon"], ""
        self.tok = Tokenizer(tokens, merges)
        self.net = models.Model(models.Config(**{k: v for k, v in config.items() if k in models.Config.__annotations__}))
        self.net.load_state_dict({n: torch.from_numpy(w.copy()) for n, w in weights.items()})
        self.pieces = [self.tok.token_bytes(i).decode("utf-8", "replace") for i in range(len(tokens))]

    def prompt(self, row):
        enc = self.tok.encode
        turns = [(m["role"], m["content"]) for m in row.get("context", ()) if m["role"] != "system"]
        facts = [m["content"] for m in row.get("context", ()) if m["role"] == "system"]
        system = "\n".join(filter(None, [self.system, augment.facts_text(facts)]))
        turns = ([("system", system)] if system else []) + turns + [("user", row["user"])]
        ids = []
        for role, text in turns:
            ids += [IM_START, *enc(role), *enc("\n"), *enc(text if role == "system" else augment.calm(text)), IM_END, *enc("\n")]
        said = "\n".join(t for _, t in turns)
        return ids + [IM_START, *enc("assistant"), *enc("\n")], said

    @torch.no_grad()
    def opener(self, row, guarded, width=1, most=24):
        """(opener, tokens that the guard turned down, sum of log-probabilities, tokens) by a search over `width` beginnings; of
        the finished ones the likeliest a token is taken. Width 1 is greedy."""
        ids, said = self.prompt(row)
        guard = Guard(said, self.lexicon)
        past = [{} for _ in range(self.net.c.layers)]
        logits = self.net.logits(torch.tensor([ids]), past)
        live, done, hits = [("", 0.0, 0)], [], 0
        for _ in range(most):
            logp, grown = logits.log_softmax(-1), []
            for b, (text, score, n) in enumerate(live):
                kept = 0
                for t in logp[b].argsort(descending=True).tolist():
                    piece, now = self.pieces[t], (score + float(logp[b, t]), n + 1)
                    ends = t == IM_END or guarded and guard.full(text, piece)
                    if not guarded or (guard.may_end(text) if t == IM_END else ends or (piece and guard.allows(text, piece))):
                        if ends:  # a word too many is not said: only an end of the model's own counts
                            done.append((text, *(now if t == IM_END else (score, n))))
                        else:
                            grown.append((text + piece, *now, b, t))
                        kept += 1
                    else:
                        hits += 1
                    if kept == width:
                        break
            grown = sorted(grown, key=lambda g: -g[1])[:width]
            best = max((d[1] / d[2] for d in done), default=-1e9)
            if not grown or len(done) >= width and best > max(g[1] / g[2] for g in grown):
                break
            rows = torch.tensor([g[3] for g in grown])
            for layer in past:
                layer["k"], layer["v"] = layer["k"][rows], layer["v"][rows]
            logits = self.net.logits(torch.tensor([[g[4]] for g in grown]), past)
            live = [g[:3] for g in grown]
        text, score, n = max(done or live, key=lambda d: d[1] / max(1, d[2]))
        return text.strip(), hits, score, n


def stems(text):
    return {w[:4] if len(w) > 4 else w for w in (v.lower() for v in WORD.findall(text)) if w not in STOP} | set(re.findall(r"\d+", text))


def report(speaker, rows, guarded, width, sheet=None):
    openers, hits, grounded, sized, score, n = [], 0, 0, 0, 0.0, 0
    for r in rows:
        o, h, s, k = speaker.opener(r, guarded, width)
        said = " ".join([r["user"], *(m["content"] for m in r.get("context", ()))])
        ground = bool(stems(o) & stems(said))
        openers.append(o)
        hits, grounded, sized, score, n = hits + (h > 0), grounded + ground, sized + (4 <= len(o.split()) <= 8), score + s, n + k
        if sheet:
            context = " / ".join(f"{m['role'][0]}: {m['content']}" for m in r.get("context", ()))
            print(r.get("id", ""), context, r["user"], o, "grounded" if ground else "-", f"{h}", f"{s / k:.2f}", sep="\t", file=sheet)
    total = len(rows)
    doubles = sum(c - 1 for c in collections.Counter(openers).values())
    print(f"{'guard on ' if guarded else 'guard off'}  rows {total}  4-8 words {sized / total:.3f}  grounded {grounded / total:.3f}"
          f"  rows the guard changed {hits / total:.3f}  duplicates {doubles / total:.3f}  mean log-probability {score / n:.3f}")
    return openers


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("model", help=".gguf or checkpoint.pt")
    ap.add_argument("--data", required=True)
    ap.add_argument("--pack", help="folder of pack.py, for the held-out loss")
    ap.add_argument("--sheet", help="write the guarded openers here, tab-separated")
    ap.add_argument("--against", metavar="GGUF", help="count equal guarded openers of another file (Q8_0 against F16)")
    ap.add_argument("--every", type=int, default=1, help="use every so many of the prompts")
    ap.add_argument("--beam", type=int, default=1, help="beginnings kept while decoding (1: greedy)")
    ap.add_argument("--guarded-only", action="store_true")
    args = ap.parse_args()
    torch.set_num_threads(1)
    speaker = Speaker(args.model)
    rows = corpus.prompts(args.data)[:: args.every]
    if args.pack:
        part, loss, n = batches.Part(os.path.join(args.pack, "held.npz"), 0.0, 0.0), 0.0, 0
        with torch.no_grad():
            for group in part.batches(0, 2048):
                _, each, _ = speaker.net.loss(*(torch.from_numpy(x) for x in part.batch(group)), torch.float32)
                loss, n = loss + float(each.sum()), n + len(each)
        print(f"held-out opener loss {loss / n:.4f} nats a token over {n} tokens")
    if not args.guarded_only:
        report(speaker, rows, False, args.beam)
    sheet = open(args.sheet, "w", encoding="utf-8") if args.sheet else None
    said = report(speaker, rows, True, args.beam, sheet)
    if args.against:
        other = Speaker(args.against)
        print(f"same opener as {args.against}: {sum(other.opener(r, True, args.beam)[0] == o for r, o in zip(rows, said))} of {len(rows)}")


if __name__ == "__main__":
    main()
