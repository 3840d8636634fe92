# SPDX-License-Identifier: MIT
"""The word list of the opener guard: small-letter words seen often enough in written openers and templates, and the languages."""
import collections
import re

import corpus

# Names that an opener may bring along: a request in Russian does not say so, and what a sign says is told in English.
# Listed with their capital, they are known with it alone.
LANGUAGES = set("""Arabic Armenian Bengali Bulgarian Cantonese Catalan Chinese Croatian Czech Danish Dutch English Estonian
    Filipino Finnish French Gaelic Georgian German Greek Gujarati Hebrew Hindi Hungarian Icelandic Indonesian Irish Italian
    Japanese Korean Latin Latvian Lithuanian Malay Mandarin Norwegian Persian Polish Portuguese Punjabi Romanian Russian
    Serbian Slovak Spanish Swahili Swedish Tagalog Tamil Telugu Thai Turkish Ukrainian Urdu Vietnamese Welsh Yoruba Zulu""".split())
WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)*")


def words(data, floor=3):
    """Sorted words of the training openers (held-out rows are not looked at) and of all templates. Words mostly seen with a
    capital inside an opener are names: the guard takes those from the request alone."""
    small, first, name = collections.Counter(), collections.Counter(), collections.Counter()
    for r in (*corpus.authored(data), *corpus.distilled(data), *corpus.own()):
        if not corpus.held_out(r):
            for o in r["openers"]:
                for i, w in enumerate(WORD.findall(o)):
                    (small if w == w.lower() else name if i else first)[w.lower()] += 1
    for r in corpus.templates(data):
        for o in r["openers"]:
            for w in WORD.findall(re.sub(r"\{\w+\}", " ", o)):
                small[w.lower()] += floor
    keep = (w for w in small | first if w.isascii() and name[w] <= small[w] and small[w] + first[w] >= floor)
    return sorted({*keep, *LANGUAGES, "i", "i'm", "i'd", "i'll", "i've"})


def coverage(data, lexicon):
    """Share of words in held-out openers that stand in the request or in the list."""
    known, total, lexicon = 0, 0, set(lexicon)
    for r in (*corpus.authored(data), *corpus.distilled(data), *corpus.own()):
        if corpus.held_out(r):
            said = " ".join([r["user"], *(m["content"] for m in r.get("context", ()))]).lower()
            said = set(WORD.findall(said))
            for o in r["openers"]:
                for w in WORD.findall(o.lower()):
                    known += w in said or w in lexicon
                    total += 1
    return known / total
