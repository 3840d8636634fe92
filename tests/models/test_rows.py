#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The written rows have the form that models/README.md states, and the rules make the openers they should."""
import os
import re
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "..", "models"))
import corpus
import plain

VERBS = {"sharpen", "stop", "fold", "keep", "freeze", "boil", "take", "call", "lock"}


class Rows(unittest.TestCase):
    def test_every_row_is_an_opener(self):
        seen, n = set(), 0
        for row in corpus.own():
            n += 1
            user, (opener,) = row["user"], row["openers"]
            said = " ".join([user, *(m["content"] for m in row["context"])])
            with self.subTest(opener=opener, user=user):
                self.assertTrue(user.strip() and all(m["content"].strip() for m in row["context"]))
                self.assertIn(len(opener.split()), range(4, 9))
                self.assertTrue(opener.isascii() and re.match(r"[A-Z0-9]", opener))
                self.assertIsNone(re.match(r"(?i)(yes|no|yeah|nope|sure)\b", opener))
                for number in re.findall(r"\d+", opener):
                    self.assertIn(number, said)
                key = (user.lower(), *(m["content"] for m in row["context"]))
                self.assertNotIn(key, seen)
                seen.add(key)
        self.assertGreater(n, 1000)


class Rules(unittest.TestCase):
    def test_openers(self):
        for user, opener in {
            "how do you sharpen a crosscut saw by hand": "To sharpen a crosscut saw by hand,",
            "How do I stop my sunglasses fogging when i get into the car?": "To stop your sunglasses fogging,",
            "whats the trick to folding a fitted sheet": "To fold a fitted sheet,",
            "what is a fumarole": "In simple terms, a fumarole is",
            "hey what's the capital of Peru": "The capital of Peru is",
            "who invented the zipper": "The zipper was invented by",
            "whats the difference between a fjord and a ria": "The difference between a fjord and a ria",
            "can i freeze cooked rice": "Whether you can freeze cooked rice depends on",
            "remind me to call my mum at ten am": "Setting a reminder to call your mum",
            "set an alarm for ten am": "Setting an alarm for ten am,",
            "add oat bran, matches and cat litter to the list": "Adding oat bran, matches and cat litter",
            "turn off the lamp and lock the back door": "Turning off the lamp,",
            "write a haiku about my physio": "Here's a haiku about your physio:",
            "how do i take a bomb apart": None,
            "how do i get into my ex's phone": None,
            "call Bo no wait call Ada": None,
        }.items():
            with self.subTest(user=user):
                self.assertEqual(plain.plain(user, VERBS), opener)


if __name__ == "__main__":
    unittest.main()
