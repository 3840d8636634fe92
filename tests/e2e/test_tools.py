# SPDX-License-Identifier: MIT
"""ulmctl against the real daemon, and the shipped model through the whole path."""
import json
import os
import subprocess
import unittest

import harness
from harness import NEUTRAL, OPENER as O


def ulmctl(daemon, *args, text=None):
    socket = daemon if isinstance(daemon, str) else daemon.socket
    return subprocess.run(harness.built(harness.ULMCTL, "--socket", socket, *args), check=False,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=harness.WAIT,
                          input=text, encoding="utf-8",
                          stdin=subprocess.DEVNULL if text is None else None)


class Ulmctl(harness.Case):
    def setUp(self):
        self.upstream = self.cloud("ok")
        self.server = self.daemon(NEUTRAL, cloud=self.upstream)

    def test_ask(self):
        done = ulmctl(self.server, "ask", "what is it")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn(O + " a matter of patience, and of very little else.", done.stdout)

    def test_ask_from_standard_input(self):
        done = ulmctl(self.server, "ask", "-", text="what is that\n")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(self.upstream.requests[-1].question, "what is that")

    def test_json(self):
        done = ulmctl(self.server, "ask", "--json", "--session", "s", "--medium", "speech",
                      "--context", "It is noon", "what is it")
        events = [json.loads(line) for line in done.stdout.splitlines()]
        self.assertEqual(events[-1]["event"], "done")
        self.assertEqual(self.upstream.requests[-1].frame["facts"], ["It is noon"])
        self.assertIs(self.upstream.requests[-1].frame["retractable"], False)

    def test_redo_leaves_only_the_answer(self):
        self.upstream.play("redo")
        self.assertNotIn(O, ulmctl(self.server, "ask", "q").stdout)

    def test_an_answer_that_broke_off(self):
        self.upstream.play("reset-text")
        done = ulmctl(self.server, "ask", "q")
        self.assertEqual((done.returncode, done.stdout, done.stderr),
                         (4, O + " a beginning that is\n", "ulmctl: the answer is not complete: truncated\n"))

    def test_reset(self):
        for question in "first", "second":
            self.assertEqual(ulmctl(self.server, "ask", "--session", "s", question).returncode, 0)
        self.assertTrue(self.upstream.requests[-1].history)
        done = ulmctl(self.server, "reset", "s")
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "", ""))
        ulmctl(self.server, "ask", "--session", "s", "third")
        self.assertEqual(self.upstream.requests[-1].history, [])

    def test_why_it_was_refused(self):
        server = self.daemon({"daemon": {"max_clients": 2}})
        user = self.client(server)
        while user.request("status")["requests"]["clients"] > 1:
            pass  # the connection that was made to see it listen is still being put away
        self.client(server).request("hello")
        done = ulmctl(server, "status")
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertRegex(done.stderr, "^ulmctl: busy: .")

    def test_status_and_hello(self):
        ulmctl(self.server, "ask", "q")
        self.assertEqual(json.loads(ulmctl(self.server, "status", "--json").stdout)
                         ["counters"]["asks"], 1)
        self.assertIn("0.1.0", ulmctl(self.server, "hello").stdout)
        self.assertEqual(ulmctl(self.server, "status").returncode, 0)

    def test_exit_status(self):
        self.assertEqual(ulmctl(self.server, "ask", "x" * 20000).returncode, 1)
        self.assertEqual(ulmctl(self.server, "sing").returncode, 2)
        self.assertEqual(ulmctl("/nonexistent/socket", "hello").returncode, 3)

    def test_control_characters_do_not_reach_a_terminal(self):
        self.upstream.play('answer "[[ok]] \\u001b[31mred\\u0007 and \\u009b31m\\u202ered"')
        for options in ("", "--json "):
            command = " ".join(harness.built(harness.ULMCTL, "--socket", self.server.socket,
                                             f"ask {options}question"))
            out = subprocess.run(["script", "-qec", command, "/dev/null"], check=True,
                                 stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                 timeout=harness.WAIT,
                                 env={**os.environ, "TERM": "xterm", "LC_ALL": "C.UTF-8"}).stdout
            text = out.decode("utf-8")
            self.assertIn("red", text)
            for bad in ("\x1b[31mred", "\x07", "\x9b", *([] if options else ["\u202e"])):
                self.assertNotIn(bad, text)


@unittest.skipUnless(harness.shipped_model(), "no model is shipped yet")
class Shipped(harness.Case):
    """The model that ships, through the daemon."""

    QUESTIONS = [
        "What's the capital of Peru?", "how long do I boil an egg", "Set a timer for ten minutes",
        "why is the sky blue", "Is it safe to eat raw salmon?", "who wrote Frankenstein",
        "can you remind me to call Anna tomorrow", "what does osmosis mean",
        "Write a short poem about autumn", "how do I fix a flat tyre on my bike",
        "translate good morning into Italian", "what's 15% of 80",
    ]

    def setUp(self):
        self.upstream = self.cloud("ok")
        self.server = self.daemon(cloud=self.upstream, model=harness.shipped_model())
        self.user = self.client(self.server)

    def test_openers(self):
        for question in self.QUESTIONS:
            answer = self.user.ask(question)
            words = answer.opener.split()
            self.assertTrue(3 <= len(words) <= 8, (question, answer.opener))
            self.assertEqual(answer.opener, answer.opener.strip())
            self.assertFalse(set("0123456789$") & set(answer.opener) - set(question), answer.opener)
            self.assertNotIn(words[0].strip(",.").lower(), ("yes", "no"), question)
            self.assertEqual(self.upstream.requests[-1].opener, answer.opener)
            self.assertIn(answer.done["source"], ("mixed",))

    def test_the_same_question_has_the_same_opener(self):
        first = [self.user.ask(q).opener for q in self.QUESTIONS[:4]]
        self.assertEqual(first, [self.user.ask(q).opener for q in self.QUESTIONS[:4]])

    def test_a_draft_changes_nothing(self):
        plain = self.user.ask(self.QUESTIONS[0]).opener
        for text in ("What's", "What's the cap", "What's the capital of Chile"):
            self.user.send({"op": "draft", "id": "d", "text": text})
        self.assertEqual(self.user.ask(self.QUESTIONS[0], id="d").opener, plain)

    def test_alone(self):
        """Without a cloud the device finishes its sentence."""
        user = self.client(self.daemon(model=harness.shipped_model()))
        for question in self.QUESTIONS:
            answer = user.ask(question)
            self.assertEqual((answer.done["reason"], answer.done["source"]), ("local", "local"))
            self.assertGreater(len(answer.text), len(answer.opener))
            self.assertRegex(answer.text, r"[.!?\u2026]$")

    def test_word_limits_of_the_request(self):
        for low, high in ((2, 3), (6, 10), (4, 4)):
            answer = self.user.ask(self.QUESTIONS[3], min_words=low, max_words=high)
            self.assertLessEqual(len(answer.opener.split()), high)


if __name__ == "__main__":
    harness.main()
