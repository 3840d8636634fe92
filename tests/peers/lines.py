# SPDX-License-Identifier: MIT
"""2,000 lines of mixed text, the same each time: code, emoji, scripts, odd spaces, control characters."""
import random
import sys

WORDS = ("the a how what is can't I'll you've they're it's WE'RE don't O'Brien rock'n'roll naïve café Straße "
         "ÉCOLE Ελλάδα σήμερα Москва привет 東京 日本語 中文字符 한국어 안녕 ภาษาไทย ສະບາຍດີ ខ្មែរ မြန်မာ मराठी हिन्दी "
         "العربية مرحبا עברית ქართული հայերեն 123 4,567.89 ½ ² Ⅷ ٣٤ ४५ 3rd 7:30pm $5 100% #tag @user a_b x+=1; "
         "if(x){return;} <html> </p> \\n \\t \"quoted\" 'single' «fr» „de“ … — – · • ° ™ ∑ ≠ → 😀 👩‍👩‍👧 🇩🇪 👍🏽 "
         "<|im_start|> <|im_end|> <|endoftext|> http://x.y/z?q=1&r=2 foo.bar() /* c */ // #include __init__ "
         "e\u0301 n\u0303 \u200bzero \u00adsoft \ufeffbom \U0001d54f \U0001f9ff ﬁ ǆ ㍿ ｶﾀｶﾅ ＡＢＣ ''s 'T 'Re \u2019s").split(" ")
SPACES = [" "] * 12 + ["  ", "   ", "\t", " \t", "\u00a0", " \u00a0", "\u2003", "\u3000", "\r", "\x0b", "\x0c", "\u2028", "\x85", ""]
CONTROLS = ["\x01", "\x07", "\x1b[31m", "\x7f", "\x1c", "\x9f", "\u202e", "\ue000", "\U0010fffd", "\u0378"]


def lines(n=2000, seed=7):
    rng = random.Random(seed)
    for i in range(n):
        parts = []
        for _ in range(rng.randrange(1, 14)):
            word = rng.choice(WORDS)
            if rng.random() < 0.05:
                word = rng.choice(CONTROLS)
            if rng.random() < 0.08:
                word = "".join(chr(rng.choice([rng.randrange(0x20, 0x7F), rng.randrange(0xA0, 0x2FF),
                                               rng.randrange(0x370, 0x6FF), rng.randrange(0x1F300, 0x1F6FF)]))
                               for _ in range(rng.randrange(1, 9)))
            if rng.random() < 0.06:
                word = rng.choice(["ab", "=", "🙂", "é", "x1"]) * rng.randrange(2, 40)
            parts += [word, rng.choice(SPACES)]
        if rng.random() < 0.2:
            parts.insert(0, rng.choice(SPACES))
        yield "".join(parts).replace("\n", " ")


if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8", newline="\n")
    for text in lines():
        print(text)
