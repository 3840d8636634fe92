# SPDX-License-Identifier: MIT
"""The opener guard, as the daemon applies it while decoding: what an opener may not say, checked token by token."""
import bisect
import re

WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)*'?")
NUMBER = re.compile(r"\d+")
POLAR = {"yes", "no", "yeah", "yep", "nope", "nah", "yup"}
SELF = {"i", "i'm", "i'd", "i'll", "i've"}


class Guard:
    """`said` is the text of the request, its facts and its history; `lexicon` the sorted word list of the model file."""

    def __init__(self, said, lexicon, least=4, most=8):
        self.names = sorted({f for w in WORD.findall(said.lower()) for f in (w, w.split("'")[0], w.split("'")[0] + "'s")})
        self.words = sorted({*lexicon, *self.names}) if lexicon else None
        self.listed = sorted(w for w in lexicon if w[0].isupper())
        self.shapes = sorted({f for w in WORD.findall(said) for f in (w, w.split("'")[0], w.split("'")[0] + "'s")})
        self.numbers = sorted(set(NUMBER.findall(said)))
        self.least, self.most = least, most

    @staticmethod
    def _in(table, item, whole):
        """True when `item` is in the sorted table, or begins something in it."""
        i = bisect.bisect_left(table, item)
        return i < len(table) and (table[i] == item if whole else table[i].startswith(item))

    def allows(self, text, piece):
        """May `piece` follow `text`? Words and numbers that it completes must be whole, the last may still be begun."""
        new = text + piece
        if not new.isprintable() or (not text and not piece.strip()):
            return False
        if len(text.split()) >= self.least and piece[:1] == " " and len(new.split()) > self.most:
            return False
        since = max(0, len(text) - 40)
        for m in WORD.finditer(new):
            if m.end() < since:
                continue
            word, low, whole = m.group(), m.group().lower(), m.end() < len(new)
            first = not new[: m.start()].strip()
            if word[0].isupper() and self._in(self.listed, word, whole):
                continue
            if whole:
                low = low.rstrip("'")
            if first and whole and low in POLAR:
                return False
            if not word[1:].islower() and len(word) > 1 and low not in SELF and not self._in(self.shapes, word, whole):
                return False
            named = word[0].isupper() and not first
            if named and not self._in(self.names, low, whole) and not (low in SELF or (not whole and "i'".startswith(low))):
                return False
            if self.words is not None and not self._in(self.words, low, whole):
                base = low.rstrip("'") if not low.endswith("'s") else low[:-2]
                if "'" not in low or not self._in(self.words, base, True):
                    return False
        for m in NUMBER.finditer(new):
            if not self._in(self.numbers, m.group(), m.end() < len(new)):
                return False
        words = WORD.findall(new.lower())
        if words and new[-1:].isalpha():
            words.pop()  # not finished
        triples = list(zip(words, words[1:], words[2:]))
        return len(triples) == len(set(triples))

    def may_end(self, text):
        return len(text.split()) >= self.least and self.allows(text, " ")

    def full(self, text, piece):
        """True when `piece` would open one word too many, which ends the opener."""
        return piece[:1] == " " and len(text.split()) >= self.most
