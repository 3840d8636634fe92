# SPDX-License-Identifier: MIT
"""Every scenario on every dialect, on a display and in speech: what a cloud may say, and
everything it can do wrong.

Whatever happens, the client gets one terminal event, an answer that begins with its opener (or
that took it back), and nothing of what the provider wrote about the fault."""
import sys
from concurrent.futures import ThreadPoolExecutor

import dialects
import harness
import outcomes
import standin
from harness import NEUTRAL, OPENER as O, SLOW

# What ends by a deadline alone; all else has all the time it wants, however busy the machine.
WAITING = {"stall-headers", "stall-open", "stall-tag", "stall-half-tag", "stall-text", "pings",
           "pings-late", "drip", "late", "endless"}
SHORT = {name: int(ms * SLOW) for name, ms in {
    "first_byte_ms": 3000, "first_text_ms": 4000, "thinking_ms": 500, "stalled_ms": 600,
    "idle_ms": 3000, "total_ms": 30000}.items()}
# thinking_ms does not grow with SLOW: the stand-in of think-long thinks for one second on any machine.
AMPLE = {"thinking_ms": 500, "first_byte_ms": 60000, "first_text_ms": 60000,
         "idle_ms": 60000, "total_ms": 120000}
WRAPPED = bool(harness.WRAP) or SLOW > 1
MEMBERS = {"endless": {"deadline_ms": int(4000 * SLOW)}}
AT_ONCE = 10 if WRAPPED else 100  # rows: no opener may wait for a minute for its turn
MEDIA = ("display", "speech")


def rss_kib(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS"))


class Run:
    """All rows of one dialect, at once on a daemon, those that wait on another."""

    def __init__(self, dialect):
        self.cloud = standin.Standin()
        self.answers = {}
        rows = [row for row in (*outcomes.ANSWERS, *outcomes.FAULTS) if row not in WAITING]
        try:
            # the engine opens one at a time: first what has its own deadline
            _, _, log = self.play(dialect, SHORT, sorted(WAITING, key=lambda r: r not in MEMBERS))
            self.counters, self.rss, self.log = self.play(dialect, AMPLE, rows)
            self.log += log
        finally:
            self.cloud.close()

    def play(self, dialect, deadlines, rows):
        config = {"opener": {**NEUTRAL["opener"], "min_words": 1, "max_words": 1},
                  "deadlines": deadlines, "daemon": {"max_requests": 1024}}
        daemon = harness.Daemon(config, cloud=self.cloud, dialect=dialect, start=False)
        try:
            daemon.start()
            user = daemon.client()
            for i in range(0, len(rows), AT_ONCE):
                for row in rows[i:i + AT_ONCE]:
                    for medium in MEDIA:
                        self.answers[row, medium] = user.start(
                            f"{medium} play:{row}", medium=medium, **MEMBERS.get(row, {}))
                for answer in self.answers.values():
                    user.finish(answer, 4 * harness.WAIT)
            user.close()
            return daemon.status()["counters"], rss_kib(daemon.process.pid), daemon.log()
        finally:
            daemon.stop()

    def requests(self, row, medium):
        return [r for r in self.cloud.requests if r.question == f"{medium} play:{row}"]


def class_name(dialect):
    return "Rows_" + dialect.replace("-", "_")


class Runs:
    """The runs of all dialects, a few at a time: most of one is waiting."""
    pool, of = None, {}

    @classmethod
    def get(cls, dialect):
        if not cls.pool:
            if WRAPPED:
                print("# NOT TESTED: the daemon's memory, which the wrapper shares")
            cls.pool = ThreadPoolExecutor(1 if WRAPPED else 3)
            asked = " ".join(sys.argv[1:])
            cls.of = {name: cls.pool.submit(Run, name) for name in dialects.NAMES
                      if not asked or class_name(name) in asked}
        return cls.of[dialect].result()


class Rows(harness.Case):
    dialect = None

    def setUp(self):
        self.run_of = Runs.get(self.dialect)

    def each(self, row):
        for medium in MEDIA:
            yield medium, self.run_of.answers[row, medium]

    def check_any(self, row, medium, answer, attempts):
        seen = len(self.run_of.requests(row, medium))
        self.assertTrue(1 <= seen <= attempts, f"{medium}: {seen} requests")
        said = str(answer.events)
        for word in ("PROVIDER-ERROR-TEXT", "SECRET", "<html>"):
            self.assertNotIn(word, said)

    def check_answer(self, row):
        verdict, reason, display, speech = outcomes.answer(self.dialect, row)
        for medium, answer in self.each(row):
            text = display if medium == "display" else speech or display
            expected = "fix" if verdict == "redo" and medium == "speech" else verdict
            self.assertEqual(answer.text, text, medium)
            self.assertEqual(answer.done["verdict"], expected, medium)
            self.assertEqual(answer.done["reason"], reason, medium)
            source = "cloud" if expected == "redo" else "mixed"
            self.assertEqual(answer.done["source"], source, medium)
            if verdict in ("pivot", "fix", "redo"):
                self.assertEqual(answer.of("repair")[0]["span"], [0, len(O)])
                self.assertEqual([e["chars"] for e in answer.of("retract")],
                                 [len(O)] if expected == "redo" else [])
            self.check_any(row, medium, answer, 3 if row.endswith("-once") else 1)

    def check_fault(self, row):
        reasons, begins, attempts = outcomes.fault(self.dialect, row)
        if row == "late" and 4.5 * harness.SLOW > 30:
            self.skipTest("NOT TESTED: with such deadlines 30 s are not late")
        for medium, answer in self.each(row):
            done = answer.done
            self.assertIn(done["reason"], reasons, (medium, done))
            self.assertTrue(answer.text.startswith(begins), (medium, answer.text))
            notices = [e["code"] for e in answer.of("notice")]
            if done["reason"] == "local":
                self.assertEqual(done["source"], "local")
                self.assertIsNone(done["verdict"])
                self.assertIn("offline", notices)
            if row in ("stall-text", "pings-late"):
                self.assertIn("stalled", notices)
            self.check_any(row, medium, answer, attempts)

    def check_whole(self):
        """What is true of all rows together."""
        run = self.run_of
        self.assertNotIn("PROVIDER-ERROR-TEXT", run.log)
        self.assertNotIn("SECRET", run.log)
        if not WRAPPED:
            self.assertLess(run.rss, 150 * 1024, "KiB of memory")
        self.assertEqual(run.counters["restart_suspected"], 2)
        self.assertEqual(run.counters["tag_unknown"], 2)
        self.assertEqual(run.counters["redo_downgraded"], 2)
        for medium in MEDIA:
            usage = run.answers["ok", medium].done["usage"]
            self.assertEqual(usage, {"input_tokens": 11, "output_tokens": 7})
            codes = [e["code"] for e in run.answers["think-long", medium].of("notice")]
            self.assertEqual(codes[:1], ["thinking"])
        for request in run.cloud.requests:
            self.assertEqual(request.opener, O)


def _rows():
    for dialect in dialects.NAMES:
        tests = {"dialect": dialect, "test_whole": lambda self: self.check_whole()}
        for row in outcomes.ANSWERS:
            tests["test_answer_" + row.replace("-", "_")] = \
                lambda self, row=row: self.check_answer(row)
        for row in outcomes.FAULTS:
            tests["test_fault_" + row.replace("-", "_")] = \
                lambda self, row=row: self.check_fault(row)
        name = class_name(dialect)
        globals()[name] = type(name, (Rows,), {"__module__": __name__, **tests})


_rows()
del Rows


if __name__ == "__main__":
    harness.main()
