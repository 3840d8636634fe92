# SPDX-License-Identifier: MIT
"""Reading the training data: rows of requests and openers, templates, prose, and the held-out split."""
import glob
import hashlib
import itertools
import json
import lzma
import os


def _open(path):
    return lzma.open(path, "rt", encoding="utf-8") if path.endswith(".xz") else open(path, encoding="utf-8")


def jsonl(path):
    """Rows of a file; a set that the data folder does not have is empty."""
    if os.path.exists(path):
        with _open(path) as f:
            for line in f:
                yield json.loads(line)


def held_out(row):
    """True for the one row in sixty that training never sees."""
    return hashlib.sha1(row["user"].strip().lower().encode()).digest()[0] < 4


def authored(data):
    return [r for p in sorted(glob.glob(os.path.join(data, "authored", "*.pairs.jsonl"))) for r in jsonl(p)]


TWICE = {"context.tsv", "corrected.tsv", "hard.tsv"}  # what the model finds hardest


def own():
    """Rows of rows/*.tsv beside this program: `request<TAB>opener`, or `context<TAB>request<TAB>opener` where the context is
    items joined by " || ", each "S: " (a fact), "U: " or "A: " (earlier turns). `times`: how often a pass has them."""
    role = {"S": "system", "U": "user", "A": "assistant"}
    for path in sorted(glob.glob(os.path.join(os.path.dirname(os.path.abspath(__file__)), "rows", "*.tsv"))):
        with open(path, encoding="utf-8") as f:
            for line in f:
                *before, user, opener = line.rstrip("\n").split("\t")
                items = before[0].split(" || ") if before else []
                yield {"user": user, "openers": [opener], "context": [{"role": role[i[0]], "content": i[3:]} for i in items],
                       "times": 2 if os.path.basename(path) in TWICE else 1}


def templates(data):
    return [r for p in sorted(glob.glob(os.path.join(data, "authored", "*.templates.jsonl"))) for r in jsonl(p)]


def distilled(data):
    return list(jsonl(os.path.join(data, "distilled.jsonl")))


def derived(data, kind):
    return list(jsonl(os.path.join(data, f"derived_{kind}.jsonl.xz")))


def prose(data, name, limit=None):
    path = os.path.join(data, "prose", name + ".txt.xz")
    if os.path.exists(path):
        with _open(path) as f:
            for line in itertools.islice(f, limit):
                yield line.strip()


def prompts(data):
    return list(jsonl(os.path.join(data, "dev_prompts.jsonl")))


def tokenizer_texts(data):
    """(text, weight): the tokenizer should know requests and openers best, and enough prose for other words."""
    for role in ("system", "user", "assistant"):
        yield role, 100000
    for r in authored(data) + distilled(data):
        yield r["user"], 4
        for o in r["openers"]:
            yield o, 4
            yield " " + o[0].lower() + o[1:], 1
        for m in r.get("context", ()):
            yield m["content"], 2
    for r in templates(data):
        for slot in r["slots"].values():
            for filler in slot:
                for form in filler.values():
                    yield " " + form, 6
    for r in derived(data, "question"):
        yield r["user"], 1
        yield r["openers"][0], 1
    for line in prose(data, "common_voice_sentences"):
        yield line, 1
    for i, line in enumerate(prose(data, "enwiki_lead")):
        yield (line if i % 2 else line.lower()), 1
    for line in prose(data, "standardebooks", 20000):
        yield line, 1
