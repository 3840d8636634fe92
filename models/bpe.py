#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Byte-level BPE as GPT-2 has it: train a tokenizer, save it, encode and decode.

The file is JSON: {"tokens": [...], "merges": ["a b", ...]} in GPT-2's printable byte alphabet, with the
special tokens at ids 0, 1 and 2. Words are split by GPT-2's regular expression (tokenizer.ggml.pre = gpt-2).
"""
import argparse
import collections
import functools
import heapq
import json
import re
import sys
import unicodedata

SPECIALS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
EOT, IM_START, IM_END = 0, 1, 2


def _char_class(major):
    """The inside of a regex class with every character of one major Unicode category (L or N)."""
    out, start = [], None
    for cp in range(0x110000 + 1):
        inside = cp < 0x110000 and unicodedata.category(chr(cp))[0] == major
        if inside and start is None:
            start = cp
        elif not inside and start is not None:
            out.append("\\U%08x-\\U%08x" % (start, cp - 1))
            start = None
    return "".join(out)


@functools.lru_cache(None)
def splitter():
    letter, number = _char_class("L"), _char_class("N")
    return re.compile(
        f"'s|'t|'re|'ve|'m|'ll|'d| ?[{letter}]+| ?[{number}]+| ?[^\\s{letter}{number}]+|\\s+(?!\\S)|\\s+"
    )


@functools.lru_cache(None)
def byte_alphabet():
    """GPT-2's map from each byte to a printable character."""
    keep = [*range(33, 127), *range(161, 173), *range(174, 256)]
    table, extra = {}, 256
    for b in range(256):
        if b in keep:
            table[b] = chr(b)
        else:
            table[b] = chr(extra)
            extra += 1
    return table


class Tokenizer:
    def __init__(self, tokens, merges):
        self.tokens, self.merges = tokens, merges
        self.ids = {t: i for i, t in enumerate(tokens)}
        self.rank = {tuple(m.split(" ")): i for i, m in enumerate(merges)}
        self.byte_of = {c: b for b, c in byte_alphabet().items()}
        self.cache = {}
        self.find = splitter().findall

    @classmethod
    def load(cls, path):
        with open(path, encoding="utf-8") as f:
            d = json.load(f)
        return cls(d["tokens"], d["merges"])

    def save(self, path):
        with open(path, "w", encoding="utf-8") as f:
            json.dump({"tokens": self.tokens, "merges": self.merges}, f, ensure_ascii=False)

    def _word(self, word):
        parts = [byte_alphabet()[b] for b in word.encode("utf-8")]
        while len(parts) > 1:
            best = min(range(len(parts) - 1), key=lambda i: self.rank.get((parts[i], parts[i + 1]), 1 << 30))
            pair = (parts[best], parts[best + 1])
            if pair not in self.rank:
                break
            out, i = [], 0
            while i < len(parts):
                if i + 1 < len(parts) and (parts[i], parts[i + 1]) == pair:
                    out.append(parts[i] + parts[i + 1])
                    i += 2
                else:
                    out.append(parts[i])
                    i += 1
            parts = out
        return [self.ids[p] for p in parts]

    def encode(self, text):
        """Ids of plain text; text that looks like a special token is spelled out, never special."""
        out, cache = [], self.cache
        for word in self.find(text):
            ids = cache.get(word)
            if ids is None:
                ids = self._word(word)
                if len(cache) < 500000:
                    cache[word] = ids
            out += ids
        return out

    def token_bytes(self, i):
        return b"" if i < len(SPECIALS) else bytes(self.byte_of[c] for c in self.tokens[i])

    def decode(self, ids):
        return b"".join(self.token_bytes(i) for i in ids).decode("utf-8", "replace")


def train(word_counts, vocab_size, log=lambda s: None):
    """Learn merges from {word: count}; ties are broken by the pair itself, so a run repeats exactly."""
    alphabet = byte_alphabet()
    words, counts = [], []
    for w, n in sorted(word_counts.items()):
        words.append([alphabet[b] for b in w.encode("utf-8")])
        counts.append(n)
    pairs, where = collections.Counter(), collections.defaultdict(set)
    for i, w in enumerate(words):
        for p in zip(w, w[1:]):
            pairs[p] += counts[i]
            where[p].add(i)
    heap = [(-n, p) for p, n in pairs.items()]
    heapq.heapify(heap)
    tokens, merges = SPECIALS + [alphabet[b] for b in range(256)], []
    known = set(tokens)
    while len(tokens) < vocab_size and heap:
        n, pair = heapq.heappop(heap)
        if pairs.get(pair, 0) != -n or n == 0:
            continue
        new = pair[0] + pair[1]
        merges.append(" ".join(pair))
        if new not in known:
            known.add(new)
            tokens.append(new)
        changed = set()
        for i in where.pop(pair):
            w, c, out, k = words[i], counts[i], [], 0
            while k < len(w):
                if k + 1 < len(w) and w[k] == pair[0] and w[k + 1] == pair[1]:
                    out.append(new)
                    k += 2
                else:
                    out.append(w[k])
                    k += 1
            if len(out) == len(w):
                continue
            for p in zip(w, w[1:]):
                pairs[p] -= c
                changed.add(p)
            for p in zip(out, out[1:]):
                pairs[p] += c
                where[p].add(i)
                changed.add(p)
            words[i] = out
        for p in changed:
            if pairs[p] > 0:
                heapq.heappush(heap, (-pairs[p], p))
        if len(tokens) % 1000 == 0:
            log(f"{len(tokens)} tokens, last merge seen {-n} times")
    return Tokenizer(tokens, merges)


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--data", required=True, help="the training data (see README.md)")
    ap.add_argument("--vocab", type=int, default=8192)
    ap.add_argument("--out", required=True)
    args = ap.parse_args()
    import corpus

    counts = collections.Counter()
    for text, weight in corpus.tokenizer_texts(args.data):
        for w in splitter().findall(text):
            counts[w] += weight
    floor = 3
    counts = {w: n for w, n in counts.items() if n >= floor}
    print(f"{len(counts)} different words", file=sys.stderr)
    train(counts, args.vocab, lambda s: print(s, file=sys.stderr)).save(args.out)


if __name__ == "__main__":
    main()
