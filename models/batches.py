# SPDX-License-Identifier: MIT
"""Packed rows: a flat run of uint16 token ids and the length of each row, and the batches made of them."""
import json
import os

import numpy as np

from bpe import EOT, IM_START

HEAD = 3  # <|im_start|>, the role, a newline


def save(path, rows):
    """Write rows, uncompressed: xz over the whole folder does better than a zip of each file."""
    lengths = np.array([len(r) for r in rows], np.uint16)
    np.savez(path, tokens=np.concatenate([np.zeros(0, np.uint16), *(np.array(r, np.uint16) for r in rows)]), lengths=lengths)


class Part:
    """One packed file with the loss weight of every token: the opener 1, the last request and plain text less, the rest 0."""

    def __init__(self, path, request_weight, text_weight):
        with np.load(path) as f:
            self.tokens, lengths = f["tokens"], f["lengths"].astype(np.int64)
        end = np.cumsum(lengths)
        self.begin, self.length = end - lengths, lengths
        row = np.repeat(np.arange(len(lengths)), lengths)
        turns = np.flatnonzero(self.tokens == IM_START)
        last = np.full(len(lengths), -1, np.int64)
        before = np.full(len(lengths), -1, np.int64)
        last[row[turns]] = turns
        earlier = turns[last[row[turns]] != turns]
        before[row[earlier]] = earlier
        edge = np.zeros(len(self.tokens) + 1, np.float32)
        chat = last >= 0
        edge[last[chat] + HEAD] += 1
        edge[end[chat]] -= 1
        asked = before >= 0
        edge[before[asked] + HEAD] += request_weight
        edge[last[asked] - 2] -= request_weight
        edge[self.begin[~chat]] += text_weight
        edge[end[~chat]] -= text_weight
        self.weight = np.round(np.cumsum(edge[:-1]), 4).astype(np.float32)
        self.total = np.add.reduceat(self.weight, self.begin) if len(lengths) else lengths

    def batches(self, seed, tokens):
        """Row groups of about `tokens` tokens and nearly one length, in random order, for one pass over the rows."""
        rng = np.random.default_rng(seed)
        order = rng.permutation(len(self.length))
        groups = []
        for i in range(0, len(order), 16384):
            chunk = order[i : i + 16384]
            chunk = chunk[np.argsort(self.length[chunk], kind="stable")]
            size = np.maximum(1, tokens // self.length[chunk])
            chunk_groups, k = [], 0
            while k < len(chunk):
                n = max(1, min(int(size[k]), int(size[min(k + size[k], len(chunk)) - 1])))
                chunk_groups.append(chunk[k : k + n])
                k += n
            groups += [chunk_groups[j] for j in rng.permutation(len(chunk_groups))]
        return groups

    def batch(self, rows):
        """(ids, weight) of a group; ids are padded at the end, weight belongs to predicting the token after."""
        n = int(self.length[rows].max())
        at = self.begin[rows][:, None] + np.arange(n)
        inside = np.arange(n) < self.length[rows][:, None]
        at = np.minimum(at, len(self.tokens) - 1)
        ids = np.where(inside, self.tokens[at], EOT).astype(np.int64)
        weight = np.where(inside, self.weight[at], 0).astype(np.float32)[:, 1:].copy()
        return ids, weight


class Schedule:
    """The parts of a pack and the share of the run that each one lasts, as pack.json says."""

    def __init__(self, folder, request_weight, text_weight, seed, tokens):
        with open(os.path.join(folder, "pack.json"), encoding="utf-8") as f:
            self.plan = json.load(f)["parts"]
        self.parts = [Part(os.path.join(folder, p["file"]), request_weight, text_weight) for p in self.plan]
        self.held = Part(os.path.join(folder, "held.npz"), 0.0, 0.0)
        self.seed, self.tokens = seed, tokens
        self.state = {p["file"]: [0, 0] for p in self.plan}  # file -> pass, groups taken in it
        self.groups = {}

    def take(self, progress, count):
        """The part for this moment and its next `count` groups."""
        i = next((i for i, p in enumerate(self.plan) if progress < p["until"]), len(self.plan) - 1)
        name, part, out = self.plan[i]["file"], self.parts[i], []
        state = self.state.setdefault(name, [0, 0])
        while len(out) < count:
            key = (name, state[0])
            if self.groups.get("key") != key:
                self.groups = {"key": key, "list": part.batches([self.seed, i, state[0]], self.tokens)}
            if state[1] >= len(self.groups["list"]):
                state[0], state[1] = state[0] + 1, 0
                continue
            out.append(self.groups["list"][state[1]])
            state[1] += 1
        return part, out
