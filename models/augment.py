# SPDX-License-Identifier: MIT
"""Making rows: fresh template expansions with many fillers, copy tasks, surface variation of requests, and facts."""
import collections
import json
import random
import re

import corpus
import plain
from frames import CONTEXT_FRAMES, DAYS, FRAMES, LANGS, MESSAGES, NUMBERS, PEOPLE, ROOMS
from situations import LISTS, SITUATIONS

LEAD = re.compile(r"(The |An? )?([^\W\d_][\w'-]*(?: [\w'-]+){0,3})(?: \([^)]*\))?,? (?:is|was|are|were) (?:a|an|the|one)\b")
PERSON = re.compile(r"([A-Z][a-z'-]+(?: [A-Z][\w.'-]*){0,1} [A-Z][a-z'-]+)[^.]{0,60}\(.{0,40}?(?:born|\d{4})")
DURATION = re.compile(r"^(half an hour|(an?|\w+)( and a half)? (second|minute|hour|day|week)s?.*)$", re.I)
CLOCK = re.compile(r"^(\d{1,2}(:\d\d)?( ?[ap]\.?m\.?)?|noon|midnight|(half|quarter) (past|to) \w+|\w+ (o'clock|thirty|fifteen|[ap]m))$", re.I)
NOT_NAMES = {"he", "she", "it", "this", "these", "they", "there", "in", "at", "as", "his", "her", "its", "their", "some", "many",
             "most", "one", "another", "similar", "such", "other", "among", "both", "all", "to", "for", "of", "on", "that", "but",
             "although", "while", "today", "if", "what", "examples", "we", "you", "i", "also", "then", "with", "by", "from", "and"}


def cap(s):
    return s[:1].upper() + s[1:]


def article(noun):
    return ("an " if noun[:1].lower() in "aeiou" and not re.match(r"(uni|use|eu|one)", noun) else "a ") + noun


class Pools:
    """Names and nouns found in encyclopedia leads, verb phrases of how-to requests, and random numbers, times, people."""

    def __init__(self, data, rng):
        self.rng = rng
        leads = list(corpus.prose(data, "enwiki_lead"))
        small = collections.Counter(w for line in leads for w in re.findall(r"(?<=[a-z,] )[a-z][a-z'-]+", line))
        self.names, self.mass, self.count = set(), set(), set()
        for line in leads:
            m = LEAD.match(line)
            if not m or m.group(2).split()[0].lower() in NOT_NAMES or not line.isascii() and self.rng.random() < 0.7:
                continue
            det, noun = m.groups()
            words = noun.split()
            lower = [cap(noun)[0].lower() + noun[1:]][0]
            common = all(small[w.lower()] >= 4 for w in words) and lower == lower.lower()
            if common and det in ("A ", "An "):
                self.count.add(lower)
            elif common and not det and len(words) < 3 and not lower.endswith("s"):
                self.mass.add(lower)
            elif not common and len(words) < 4 and noun[0].isupper() and words[-1][0].isupper():
                self.names.add(("the " if det == "The " else "") + noun)
        people = sorted({m.group(1) for m in map(PERSON.match, leads) if m and m.group(1).split()[0].lower() not in NOT_NAMES | {"the"}})
        self.people = people
        self.first = sorted({p.split()[0] for p in people if len(p.split()[0]) > 2}) + PEOPLE * 4
        self.names, self.mass, self.count = sorted(self.names), sorted(self.mass), sorted(self.count)
        self.rare = sorted(w for w, n in small.items() if 2 <= n <= 60 and len(w) > 4 and "'" not in w)
        self.verbs = sorted({m.group(1).strip(" ?.!") for r in corpus.distilled(data)
                             for m in [re.match(r"(?:how (?:to|do i|can i|do you) )([a-z][a-z' -]+)[?.! ]*$", r["user"].strip(), re.I)]
                             if m and 2 <= len(m.group(1).split()) <= 4 and not corpus.held_out(r)})
        self.verbs = [v[0].lower() + v[1:] for v in self.verbs if not re.search(r"\b(my|i|me)\b", v)]

    def clock(self):
        r = self.rng
        h, m = r.randint(1, 12), r.choice([0, 0, 5, 10, 15, 20, 25, 30, 30, 35, 40, 45, 50, 55, r.randint(0, 59)])
        word = NUMBERS[h - 1]
        return r.choice([f"{h}:{m:02d}", f"{h}:{m:02d}", f"{h} {r.choice(['am', 'pm'])}", f"{h}:{m:02d} {r.choice(['am', 'pm'])}", word,
                         f"{word} o'clock", f"{word} thirty", f"half past {word}", f"quarter to {word}", f"quarter past {word}",
                         f"{word} {r.choice(['ten', 'fifteen', 'twenty', 'forty', 'fifty'])}", f"ten past {word}", f"twenty to {word}"])

    def duration(self):
        r = self.rng
        n = r.choice([*range(2, 61), 75, 90, 120])
        unit = r.choice(["minutes"] * 5 + ["seconds", "hours", "days"])
        spelled = NUMBERS[n - 1] if n <= 20 else NUMBERS[n // 10 + 17] + ("" if n % 10 == 0 else "-" + NUMBERS[n % 10 - 1]) if n < 100 else str(n)
        return r.choice([f"{n} {unit}", f"{spelled} {unit}", f"{spelled} {unit}", "half an hour", "an hour", "an hour and a half",
                         f"{r.choice(NUMBERS[1:12])} and a half {r.choice(['minutes', 'hours'])}"])

    def number(self):
        r = self.rng
        return r.choice([str(r.randint(2, 99)), str(r.randint(100, 9999)), r.choice(NUMBERS[1:20]), str(r.randint(2, 20))])


class Templates:
    """Template rows; slots that are names, people, times, durations or plain words also take fillers from the pools."""

    def __init__(self, data, pools):
        self.rows, self.pools, self.rng = corpus.templates(data), pools, pools.rng
        self.same = collections.defaultdict(set)
        people = set(pools.first)
        for r in self.rows:
            r["kinds"] = {}
            for slot, fillers in r["slots"].items():
                base, forms = self.forms(fillers)
                if not forms:
                    continue
                values = [f[base] for f in fillers]
                share = lambda test: sum(1 for v in values if test(v)) / len(values)
                if share(DURATION.match) > 0.8:
                    kind = "duration"
                elif share(CLOCK.match) > 0.8:
                    kind = "clock"
                elif share(lambda v: v in people) > 0.8:
                    kind = "person"
                elif share(lambda v: v[0].isupper() and " the " not in v) > 0.85:
                    kind = "name"
                else:
                    kind = (slot, base, tuple(sorted(forms)))
                    self.same[kind].update(values)
                r["kinds"][slot] = (kind, forms)
        self.same = {k: sorted(v) for k, v in self.same.items()}

    @staticmethod
    def forms(fillers):
        """(the base form, how each form follows from it) when all forms are the base but for case; else (None, None)."""
        keys = sorted(fillers[0])
        base = max(keys, key=lambda k: (sum(f.get(k, "") != f.get(k, "").lower() for f in fillers), -len(k)))
        rules = {}
        for k in keys:
            for name, rule in (("same", str), ("cap", cap), ("lower", str.lower), ("small", lambda s: s[:1].lower() + s[1:])):
                if all(k in f and base in f and f[k] == rule(f[base]) for f in fillers):
                    rules[k] = name
                    break
            else:
                return None, None
        return base, rules

    def fresh(self, kind):
        p = self.pools
        if kind == "duration":
            return p.duration()
        if kind == "clock":
            return p.clock()
        if kind == "person":
            return self.rng.choice(p.first)
        if kind == "name":
            name = self.rng.choice(p.names)
            return name[4:] if name.startswith("the ") else name
        return self.rng.choice(self.same[kind])

    def one(self, widen, best=None):
        """A filled template; with `best` (a score of a request and an opener) its best opener, else any."""
        rng = self.rng
        row = rng.choice(self.rows)
        values = {}
        for slot, fillers in row["slots"].items():
            kind = row["kinds"].get(slot)
            if kind and rng.random() < widen:
                base = self.fresh(kind[0])
                rules = {"same": base, "cap": cap(base), "lower": base.lower(), "small": base[:1].lower() + base[1:]}
                values.update({k: rules[how] for k, how in kind[1].items()})
            else:
                values.update(rng.choice(fillers))
        user, openers = rng.choice(row["user"]).format(**values), [o.format(**values) for o in row["openers"]]
        opener = max(openers, key=lambda o: best(user, o)) if best else rng.choice(openers)
        return {"user": user, "openers": [opener]}


def copy_row(pools, first=False):
    """One row of a hand-written frame; some have facts or earlier turns before them. `first`: with its first opener, else any."""
    rng = pools.rng
    kind = rng.random()
    before, users, openers = (
        rng.choice(CONTEXT_FRAMES) if kind < 0.25 else ((), *rng.choice(SITUATIONS if kind < 0.6 else FRAMES)))
    c, c2 = rng.choice(pools.count), rng.choice(pools.count)
    m, w, n, verb = rng.choice(pools.mass), rng.choice(pools.rare), rng.choice(pools.names), rng.choice(pools.verbs)
    v = {"n": n, "n2": rng.choice(pools.names), "m": m, "M": cap(m), "m2": rng.choice(pools.mass), "c": c, "a_c": article(c),
         "A_c": cap(article(c)), "a_c2": article(c2), "p": rng.choice(pools.first), "p2": rng.choice(pools.first),
         "q": rng.choice(pools.people), "t": pools.clock(), "t2": pools.clock(), "d": pools.duration(), "d2": pools.duration(),
         "k": pools.number(), "k2": pools.number(), "v": verb, "ving": plain.gerund(verb), "Ving": cap(plain.gerund(verb)), "i": rng.choice(pools.mass),
         "j": rng.choice(pools.mass), "w": w, "W": cap(w), "msg": rng.choice(MESSAGES), "lang": rng.choice(LANGS), "room": rng.choice(ROOMS),
         "day": rng.choice(DAYS), **{k: rng.choice(values) for k, values in LISTS.items()}}
    role = {"s": "system", "u": "user", "a": "assistant"}
    return {"user": rng.choice(users).format(**v), "openers": [cap((openers[0] if first else rng.choice(openers)).format(**v))],
            "context": [{"role": role[r], "content": text.format(**v)} for r, text in before]}


WORDS = re.compile(r"[^\W\d_]+|\d+")
KEEP = {"time", "thing", "music", "person", "people", "weather", "morning", "night", "friend", "mother", "father", "timer", "alarm",
        "message", "reminder", "call", "list", "word", "date", "name", "number", "song", "news", "photo", "picture", "video", "here", "there",
        "week", "month", "year", "hour", "day", "weeks", "black", "white", "classic", "volume", "may", "march", "will", "play", "today",
        "chase", "lead", "book", "sound", "water", "life", "home", "place", "kind", "something", "others", "more", "less", "state"}


class Swapper:
    """Puts another word where a row's request and opener share one, so that copying is learned in every kind of sentence."""

    def __init__(self, pools, texts):
        self.pools, self.rng = pools, pools.rng
        self.people = set(PEOPLE)
        common = collections.Counter(w for t in texts for w in set(WORDS.findall(t.lower())))
        single = sorted({n for n in (*pools.mass, *pools.count) if " " not in n and len(n) > 3 and n not in KEEP})
        self.one = [n for n in single if not n.endswith("s")]
        self.many = [n + "s" for n in self.one if n in set(pools.count) and not n.endswith(("y", "h", "x", "man"))]
        self.plural = set(self.many)
        self.known = set(self.one) | set(self.many)
        self.one += [n for n in self.one if common[n] > 1] * 4  # mostly words of daily life
        self.many += [n for n in self.many if common[n] > 1] * 4

    def other(self, word, opener_word):
        r = self.rng
        if word.isdigit():
            return None if len(word) > 4 else str(r.randint(10 ** (len(word) - 1), 10 ** len(word) - 1))
        if opener_word[0].isupper() and opener_word in self.people:
            return r.choice(self.pools.first)
        if word in self.known:
            return r.choice(self.many if word in self.plural else self.one)
        return None

    def swap(self, user, opener, others):
        """(request, opener, other texts) with one shared word exchanged, or the same when there is none to exchange."""
        said = {w.lower() for w in WORDS.findall(user)}
        shared = [w for w in WORDS.findall(opener) if w.lower() in said]
        self.rng.shuffle(shared)
        for w in shared:
            new = self.other(w.lower(), w)
            if not new:
                continue
            pattern = re.compile(rf"(\b[Aa]n? )?\b{w}\b", re.I)

            def put(m, new=new):
                old, word = m.group(1) or "", m.group()[len(m.group(1) or "") :]
                out = cap(new) if word[0].isupper() else new if not m.string.islower() else new.lower()
                return (old[0] + article(out.lower())[1:].split(" ")[0] + " " if old else "") + out

            return pattern.sub(put, user), pattern.sub(put, opener), [pattern.sub(put, t) for t in others]
        return user, opener, others


LEADS = ["hey ", "ok so ", "um ", "so ", "hi, ", "okay ", "please ", "quick question, ", "excuse me, ", "listen, ", "right, ", "hello, "]


def calm(text):
    """What is said in capitals alone in lower case, as the engine takes it: two words and six letters at least."""
    shouted = all(c.isupper() for c in text if c.isalpha()) and sum(map(str.isupper, text)) >= 6 and len(text.split()) > 1
    return text.lower() if shouted else text


def vary(text, rng):
    """The request as another person would type it or a recogniser would write it."""
    r = rng.random()
    if r < 0.25:
        text = re.sub(r"[.,!?;:]+(?=\s|$)", "", text).lower()
    elif r < 0.33:
        text = cap(text.rstrip("?.! ")) + ("?" if re.match(r"(?i)(what|who|how|why|when|where|which|is|are|can|do|does|should)", text) else ".")
    elif r < 0.37:
        text = text.replace("'", "")
    if rng.random() < 0.04:
        text = rng.choice(LEADS) + (text if re.match(r"(I |I'|[A-Z]{2})", text) else text[:1].lower() + text[1:])
    if rng.random() < 0.03:
        words = text.split()
        long = [i for i, w in enumerate(words) if len(w) > 4 and w.islower()]
        if long:
            i = rng.choice(long)
            k = rng.randrange(1, len(words[i]) - 2)
            w = words[i]
            words[i] = rng.choice([w[:k] + w[k + 1 :], w[:k] + w[k + 1] + w[k] + w[k + 2 :], w[:k] + w[k] + w[k:]])
            text = " ".join(words)
    return text


def facts_text(facts):
    """Facts as the daemon renders them in the system turn: each a JSON string on a line of its own."""
    return "\n".join(json.dumps(f, ensure_ascii=False) for f in facts)


def turns_of(row, rng):
    """(facts, earlier turns) of a row; facts are split at sentences half the time."""
    facts, turns = [], []
    for m in row.get("context", ()):
        if m["role"] == "system":
            text = m["content"].strip()
            facts += re.split(r"(?<=[.!?]) (?=[A-Z])", text) if rng.random() < 0.5 else [text]
        else:
            turns.append((m["role"], m["content"]))
    return facts, turns
