# SPDX-License-Identifier: MIT
"""The recorded streams of tests/data/cloud over real HTTP, cut in every way there is: whole, byte
by byte, and at each place. The client must not be able to tell.

Each piece is a chunk of its own, which libcurl hands over by itself. With an opener, which takes
the engine's time, a few places are tried; without one, all of them."""
import glob
import os
import re

import dialects
import harness
import standin
from harness import NEUTRAL, OPENER as O

OUTCOMES = {"complete": "complete", "length": "truncated", "refused": "refused"}
OPEN_AT_ONCE = 8 if harness.WRAP else 100
AMPLE = {name + "_ms": 600000 for name in  # no notice of how busy the machine is
         ("first_byte", "first_text", "thinking", "stalled", "idle", "total")}
STEP = 37  # between the places that are tried with an opener


class Recorded(standin.Standin):
    """Answers a question `NAME WAY` with that fixture, cut that way: `whole`, `bytes`, a place."""

    def __init__(self, dialect):
        super().__init__()
        self.fixtures = {}
        for path in sorted(glob.glob(os.path.join(harness.DATA, "cloud", dialect, "*.in"))):
            with open(path, "rb") as file:
                self.fixtures[os.path.basename(path)[:-3]] = file.read()

    def _choose(self, request):
        name, way = request.question.split()
        data = self.fixtures[name]
        if way == "bytes":
            return [("chunks", "1"), ("bytes", data.hex())]
        if way == "whole":
            return [("bytes", data.hex())]
        at = int(way)
        return [("bytes", data[:at].hex()), ("bytes", data[at:].hex())]


def logged(dialect, name):
    """(text, reason or None) as the log of the fixture has it."""
    path = os.path.join(harness.DATA, "cloud", dialect, name + ".log")
    with open(path, encoding="utf-8") as file:
        text, reason = re.fullmatch(r"text \[(.*)\]\n(.*?)\ntokens .*\n", file.read(),
                                    re.DOTALL).groups()
    return text, OUTCOMES[reason[4:]] if reason.startswith("end ") else None


def seen(answer):
    """All of an answer but its times and how its text was cut up."""
    out = []
    for event in answer.events:
        event = {k: v for k, v in event.items() if k not in ("id", "timing", "confidence")}
        if out and event["event"] == out[-1]["event"] == "delta":
            out[-1]["text"] += event["text"]
        else:
            out.append(event)
    return out


class Replay(harness.Case):
    def replay(self, dialect, ways, **options):
        """Every fixture in all ways; returns what came of it whole: {name: answer}."""
        cloud = Recorded(dialect)
        cloud.keep_records = False
        self.addCleanup(cloud.close)
        config = {**NEUTRAL, "deadlines": AMPLE,
                  "daemon": {"max_requests": 1024, "log_level": "warning"}}
        daemon = self.daemon(config, cloud=cloud, dialect=dialect, **options)
        user = self.client(daemon)
        self.assertGreaterEqual(len(cloud.fixtures), 3)
        whole = {}
        for name, data in cloud.fixtures.items():
            whole[name] = user.ask(f"{name} whole")
            expected = seen(whole[name])
            open_answers = []
            for way in ["bytes", *ways(len(data)), None]:
                if way is not None:
                    open_answers.append((way, user.start(f"{name} {way}")))
                while open_answers and (way is None or len(open_answers) >= OPEN_AT_ONCE):
                    done_way, answer = open_answers.pop(0)
                    got = seen(user.finish(answer, 4 * harness.WAIT))
                    self.assertEqual(got, expected, f"{name} {done_way}")
                    del user.answers[answer.id]
        return whole

    def check_logs(self, dialect, whole):
        for name, answer in whole.items():
            text, reason = logged(dialect, name)
            if reason is None:
                reason = "truncated" if text else "local"
            self.assertEqual(answer.done["reason"], reason, name)
            self.assertNotIn("hidden", str(answer.events), name)
            if text and reason != "refused":
                text = re.sub(r"^\[\[\w+\]\] ?", "", text)
                self.assertTrue(answer.text.endswith(text.lstrip()), (name, answer.text))

    def each_with_an_opener(self, dialect):
        whole = self.replay(dialect, lambda n: range(n % STEP, n, STEP))
        self.check_logs(dialect, whole)
        for answer in whole.values():
            self.assertTrue(answer.text.startswith(O), answer.text)

    def each_at_every_place(self, dialect):
        step = 1
        if harness.WRAP:
            step = STEP
            print(f"# NOT TESTED: but every {STEP}th place, under a wrapper")
        self.check_logs(dialect, self.replay(dialect, lambda n: range(0, n, step), model=None))


for _name in dialects.NAMES:
    for _test in (Replay.each_with_an_opener, Replay.each_at_every_place):
        setattr(Replay, f"test{_test.__name__[4:]}_{_name.replace('-', '_')}",
                lambda self, test=_test, name=_name: test(self, name))


if __name__ == "__main__":
    harness.main()
