#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Turn the training data into packed token rows: one file a part of the run, and the rows held out of it.

Early rows have prose and copy tasks among them, late ones are mostly openers written one by one. Compress the folder with
tar and xz to carry it to another machine.
"""
import argparse
import collections
import json
import os
import random
import re
import shutil
import sys

import augment
import batches
import corpus
import lexicon
import neutral
import plain
from bpe import IM_END, IM_START, Tokenizer

# one part: passes over the written sets, rows of the others; `until` is the share of the run, `swap` how often a shared word of a
# written row is exchanged (and then another), `cap` how many derived openers may share their first four words, `neutral` the share of written
# rows that have a neutral opener instead of their own
MIX = [
    {"file": "early.npz", "until": 0.25, "authored": 2, "distilled": 2, "own": 1, "template": 60000, "question": 80000, "prefix": 6000,
     "copy": 70000, "prose": 40000, "asked": 20000, "swap": 0.25, "cap": 25},
    {"file": "main.npz", "until": 0.5, "authored": 3, "distilled": 3, "own": 2, "template": 130000, "question": 50000, "prefix": 3000,
     "copy": 60000, "prose": 15000, "asked": 20000, "swap": 0.25, "cap": 8},
    {"file": "last.npz", "until": 1.0, "authored": 2, "distilled": 2, "own": 2, "template": 110000, "question": 75000, "prefix": 0,
     "copy": 60000, "prose": 30000, "asked": 40000, "swap": 0.35, "cap": 400, "plain": True, "neutral": 0.04},
]
PROSE = {"enwiki_lead": 30, "standardebooks": 25, "common_voice_sentences": 20, "us_gov_guides": 12, "based_cooking": 1, "squality": 7,
         "african_storybook": 1, "survival_manual": 2}


def good(user, opener, context=""):
    """The rules of GUIDE.md that a program can check."""
    words = opener.split()
    if not 4 <= len(words) <= 8 or re.match(r"(?i)(yes|no|yeah|nope|sure)\b", opener):
        return False
    said = user + " " + context
    return all(d in said for d in re.findall(r"\d+", opener)) and opener.isascii()


def plainness(user, opener):
    """How plainly an opener begins: greedy decoding does better with one usual way to begin than with a mixture of all."""
    first = opener.lower().split()[0].strip(",'")
    if "swallowed" in user and opener.endswith("check that"):
        return 0  # a check delays help
    if first.endswith("ing") or first in ("to", "whether", "how"):
        return 5
    if first in ("the", "for", "your", "in", "i'm", "that", "this"):
        return 4
    if first in ("when", "if", "before", "with", "okay", "after", "you", "what", "once", "on", "at", "as"):
        return 3
    if first.split("'")[0] in user.lower().split():
        return 2
    return 1


class Packer:
    def __init__(self, data, tokenizer, seed, limit):
        self.data, self.tok, self.limit = data, tokenizer, limit
        self.rng = random.Random(seed)
        self.pools = augment.Pools(data, self.rng)
        self.templates = augment.Templates(data, self.pools)
        sets = {"authored": corpus.authored(data), "distilled": corpus.distilled(data), "own": list(corpus.own())}
        self.verbs = plain.verbs(r["user"] for r in (*sets["authored"], *sets["distilled"], *corpus.derived(data, "question")))
        self.swapper = augment.Swapper(self.pools, [r["user"] for rows in sets.values() for r in rows])
        self.held = [r for rows in sets.values() for r in rows if corpus.held_out(r)]
        self.written = {k: [r for r in rows if not corpus.held_out(r)] for k, rows in sets.items()}
        self.facts = [m["content"] for r in self.written["authored"] for m in r.get("context", ()) if m["role"] == "system"]
        self.turn_pairs = [r for rows in self.written.values() for r in rows if not r.get("context")]
        enc = self.tok.encode
        self.turn_head = {role: [IM_START] + enc(role) + enc("\n") for role in ("system", "user", "assistant")}
        self.newline = enc("\n")

    def row(self, user, opener, facts=(), turns=()):
        ids = []
        if facts:
            ids += self.turn_head["system"] + self.tok.encode(augment.facts_text(facts)) + [IM_END] + self.newline
        for role, text in (*turns, ("user", user)):
            ids += self.turn_head[role] + self.tok.encode(augment.calm(text)) + [IM_END] + self.newline
        return ids + self.turn_head["assistant"] + self.tok.encode(opener) + [IM_END]

    def from_row(self, r, opener, noise=True, swap=0.0, unsure=0.0):
        rng = self.rng
        facts, turns = augment.turns_of(r, rng)
        if not good(r["user"], opener, " ".join([*facts, *(t for _, t in turns)])):
            return None
        user = r["user"]
        while rng.random() < swap:
            user, opener, others = self.swapper.swap(user, opener, [*facts, *(t for _, t in turns)])
            facts, turns = others[: len(facts)], [(role, t) for (role, _), t in zip(turns, others[len(facts) :])]
        user = augment.vary(user, rng) if noise else user
        if unsure and rng.random() < unsure:
            opener = neutral.neutral(opener)
        if noise and not facts and self.facts and rng.random() < 0.06:
            facts = [rng.choice(self.facts)]
        if noise and not turns and not facts and self.turn_pairs and rng.random() < 0.03:
            other = rng.choice(self.turn_pairs)
            turns = [("user", other["user"]), ("assistant", other["openers"][0])]
        ids = self.row(user, opener, facts, turns)
        return ids if len(ids) <= self.limit else None

    def usual(self, r):
        """The openers of a row for the last part: the one made by rule, else the plainest if it is plain."""
        made = None if r.get("context") else plain.plain(r["user"], self.verbs)
        if made:
            return [made]
        best = max(r["openers"], key=lambda o: plainness(r["user"], o))
        return [best] if plainness(r["user"], best) > (1 if r.get("context") else 3) else []

    def derived(self, kind, count, cap, made=False):
        """A random part of a derived set: few openers share their first four words, no source gives more than an eighth.
        With `made`, rows whose opener a rule makes anew."""
        rows = corpus.derived(self.data, kind)
        self.rng.shuffle(rows)
        seen, sources, out = collections.Counter(), collections.Counter(), []
        for r in rows:
            for o in ([plain.plain(r["user"], self.verbs) or ""] if made else r["openers"]):
                key = " ".join(o.lower().split()[:4])
                if o and seen[key] < cap and sources[r["source"]] < count / 8 and len(out) < count and not corpus.held_out(r):
                    seen[key] += 1
                    sources[r["source"]] += 1
                    out.append((r, o))
                    break
        return out

    def prose(self, count):
        total = sum(PROSE.values())
        for name, share in PROSE.items():
            lines = [s for s in corpus.prose(self.data, name) if 40 < len(s)]
            for s in self.rng.choices(lines, k=count * share // total) if lines else ():
                ids = self.tok.encode(s)[:63]
                yield [0, *ids]

    def asked(self, count):
        """Requests alone, as plain text: how people ask is learned from many more of them than have a good opener."""
        rows = corpus.derived(self.data, "question")
        for r in self.rng.sample(rows, min(count, len(rows))):
            yield [0, *self.tok.encode(r["user"])[:63]]

    def part(self, mix):
        rows = []
        last = mix.get("plain", False)
        for kind, all_rows in self.written.items():
            for _ in range(mix[kind]):
                for r in all_rows:
                    openers = self.usual(r) if last and kind != "own" else r["openers"]
                    rows += [self.from_row(r, o, swap=mix["swap"] if self.swapper.one else 0, unsure=mix.get("neutral", 0)) for o in openers * r.get("times", 1)]
        for kind in ("question", "prefix"):
            rows += [self.from_row(r, o) for r, o in self.derived(kind, mix[kind], mix["cap"], last)]
        rich = bool(self.pools.names and self.pools.verbs)  # a folder of one's own rows alone has nothing to draw from
        for r in (self.templates.one(0.4 if rich else 0, plainness if last else None) for _ in range(mix["template"] if self.templates.rows else 0)):
            rows += [self.from_row(r, o) for o in (self.usual(r) if last else r["openers"])]
        for r in (augment.copy_row(self.pools, last) for _ in range(mix["copy"] if rich else 0)):
            if last:
                r["openers"] = self.usual(r) or r["openers"]
            if self.rng.random() < 0.5:
                r["user"] = r["user"].lower()
            rows.append(self.from_row(r, r["openers"][0]))
        rows += self.prose(mix["prose"])
        rows += self.asked(mix["asked"])
        return [r for r in rows if r]


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--data", required=True)
    ap.add_argument("--tokenizer", required=True)
    ap.add_argument("--out", required=True)
    ap.add_argument("--seed", type=int, default=1)
    ap.add_argument("--limit", type=int, default=160, help="longest row in tokens")
    ap.add_argument("--part", choices=[m["file"][:-4] for m in MIX], help="make this one only, for the last phase of a run, say")
    ap.add_argument("--scale", type=float, default=1.0, help="rows of the sets that are sampled, as a share of the usual")
    args = ap.parse_args()
    os.makedirs(args.out, exist_ok=True)
    shutil.copyfile(args.tokenizer, os.path.join(args.out, "tokenizer.json"))
    with open(os.path.join(args.out, "lexicon.json"), "w", encoding="utf-8") as f:
        json.dump(lexicon.words(args.data), f)
    packer = Packer(args.data, Tokenizer.load(args.tokenizer), args.seed, args.limit)
    held = [packer.from_row(r, o, False) for r in packer.held for o in r["openers"]]
    batches.save(os.path.join(args.out, "held.npz"), [r for r in held if r])
    plan = []
    for mix in MIX:
        if args.part and mix["file"] != args.part + ".npz":
            continue
        mix = {k: int(v * args.scale) if k in ("template", "question", "prefix", "copy", "prose", "asked") else v for k, v in mix.items()}
        rows = packer.part(mix)
        batches.save(os.path.join(args.out, mix["file"]), rows)
        plan.append({"file": mix["file"], "until": mix["until"], "rows": len(rows), "tokens": sum(map(len, rows))})
        print(plan[-1], file=sys.stderr)
    with open(os.path.join(args.out, "pack.json"), "w", encoding="utf-8") as f:
        json.dump({"seed": args.seed, "parts": plan}, f, indent=1)


if __name__ == "__main__":
    main()
