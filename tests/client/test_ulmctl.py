# SPDX-License-Identifier: MIT
"""ulmctl against a daemon that says what the test wants. ULMCTL is the built program, ULMD_WRAP a
command put before it."""
import fcntl
import json
import os
import pty
import re
import shlex
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import unittest

from fake_daemon import FakeDaemon
from screen import Screen

WRAP = shlex.split(os.environ.get("ULMD_WRAP", ""))  # as in tests/e2e/harness.py
ULMCTL = [*WRAP, os.environ["ULMCTL"]]
EXAMPLES = os.environ["EXAMPLES"]
TIMING = {"first_word": 38.2, "opener": 60, "cloud_sent": 61, "cloud_first_byte": 900,
          "cloud_first_text": 2400.5, "total": 4000, "gap": 762}


def event(name, **members):
    return dict({"event": name, "id": None}, **members)


def answer(opener, rest, text, verdict="ok", **members):
    words = re.findall(r"\s*\S+", opener)
    return ([event("opener", text=w) for w in words]
            + [event("opened", opener=opener, words=len(words), confidence=-0.5)] + rest
            + [event("done", reason="complete", source="mixed", verdict=verdict, text=text,
                     timing=TIMING, usage=None, **members)])


PLAIN = answer("The capital of Peru", [event("delta", text=" is Lima.")], "The capital of Peru is Lima.")
FIX = answer("The capital of Chile",
             [event("repair", strategy="fix", span=[15, 20]),
              event("delta", text=" — no, of Peru. It is Lima.")],
             "The capital of Chile — no, of Peru. It is Lima.", "fix")
REDO = answer("A rather long opener that wraps",
              [event("repair", strategy="redo", span=[0, 31]), event("retract", chars=31),
               event("delta", text="Short.")], "Short.", "redo")
ERROR = [event("error", code="busy", message="64 requests are open", ref=None)]
STATUS = {"event": "status", "version": "0.1.0", "uptime_s": 81,
          "requests": {"open": 1, "max": 64, "clients": 2, "max_clients": 256},
          "latency": {"first_word": {"n": 5, "p50": 31.2, "p95": 48.9, "p99": 48.9, "max": 48.1,
                                     "sum": 160.5, "buckets": [[28.671, 2], [32.767, 2], [49.151, 1]]},
                      "gap": {"n": 5, "p50": 310, "p95": 700, "p99": 700, "max": 700, "sum": 1500,
                              "buckets": [[0, 3], [327.679, 1], [720.895, 1]]},
                      "total": {"n": 0, "p50": 0, "p95": 0, "p99": 0, "max": 0, "sum": 0, "buckets": []}},
          "model": {"name": "ulm\x1b]0;x", "parameters": 8000000, "quantisation": "Q8_0", "context": 512,
                    "kernels": "avx2", "threads": 1, "weight_bytes": 9000000},
          "cloud": [{"name": "", "dialect": "openai-chat", "model": "m\"1", "health": "ok",
                     "requests": 5, "failures": 1, "first_byte_ewma_ms": 640.1,
                     "first_byte_p50_ms": 610, "first_byte_p95_ms": 900, "first_text_p50_ms": 700,
                     "last_failure": "tls", "last_status": 0}],
          "counters": {"asks": 5, "drafts": 0, "verdict_ok": 3, "verdict_pivot": 1, "verdict_fix": 1,
                       "verdict_redo": 0, "local": 0, "errors": 0}}


def without_daemon(*command, **env):
    """What a command says where no daemon is, and with these variables alone to look for one."""
    kept = {k: v for k, v in os.environ.items() if k not in ("ULMD_SOCKET", "XDG_RUNTIME_DIR")}
    result = subprocess.run(command, env={**kept, **env}, capture_output=True, text=True, timeout=60)
    return result.returncode, result.stderr


def run(script, *args, stdin=None):
    with FakeDaemon(script) as daemon:
        result = subprocess.run([*ULMCTL, "--socket", daemon.path, *args], input=stdin,
                                capture_output=True, timeout=60)
        return result.returncode, result.stdout.decode(), result.stderr.decode(), daemon.requests


def run_terminal(script, *args, columns=40, rows=24, env=None, then=None):
    """The same on a terminal of that size; returns the exit status, the screen and the raw bytes."""
    with FakeDaemon(script) as daemon:
        pid, fd = pty.fork()
        if pid == 0:
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
            os.environ.update({"TERM": "xterm", "LC_ALL": "C.UTF-8"}, **(env or {}))
            os.execvp(ULMCTL[0], [*ULMCTL, "--socket", daemon.path, *args])
        raw = b""
        while True:
            try:
                data = os.read(fd, 4096)
            except OSError:
                break
            if not data:
                break
            raw += data
            if then and then(raw.decode(errors="ignore"), pid):
                then = None
        os.close(fd)
        status = os.waitpid(pid, 0)[1]
    screen = Screen(columns, rows)
    screen.feed(raw.decode())
    return os.waitstatus_to_exitcode(status), screen, raw.decode()


class Ask(unittest.TestCase):
    def test_plain(self):
        status, out, err, requests = run({"ask": PLAIN}, "ask", "--session", "s", "--context", "a",
                                         "--context", "b", "Where?")
        self.assertEqual((status, out, err), (0, "The capital of Peru is Lima.\n", ""))
        self.assertEqual(requests, [{"op": "ask", "id": "ask", "text": "Where?", "session": "s",
                                     "context": ["a", "b"]}])

    def test_plain_text_of_a_redo_is_the_answer_alone(self):
        self.assertEqual(run({"ask": REDO}, "ask", "?")[:3], (0, "Short.\n", ""))

    def test_speech_streams(self):
        status, out, _, requests = run({"ask": PLAIN}, "ask", "--medium", "speech", "?")
        self.assertEqual((status, out), (0, "The capital of Peru is Lima.\n"))
        self.assertEqual(requests[0]["medium"], "speech")

    def test_standard_input(self):
        _, _, _, requests = run({"ask": PLAIN}, "ask", "-", stdin="Whérę?\n\n".encode())
        self.assertEqual(requests[0]["text"], "Whérę?")

    def test_json_is_raw(self):
        events = answer("Hm", [event("delta", text=" \u202e\x1b[31m")], "Hm \u202e\x1b[31m")
        status, out, _, _ = run({"ask": events}, "ask", "--json", "?")
        got = [json.loads(line) for line in out.splitlines()]
        self.assertEqual(got, [dict(e, id="ask") for e in events])
        self.assertEqual(status, 0)

    def test_errors(self):
        status, out, err, _ = run({"ask": ERROR}, "ask", "?")
        self.assertEqual((status, out, err), (1, "", "ulmctl: busy: 64 requests are open\n"))
        status, out, _, _ = run({"ask": ERROR}, "ask", "--json", "?")
        self.assertEqual((status, json.loads(out)["code"]), (1, "busy"))
        status, _, err, _ = run({"ask": PLAIN[:3] + ["close"]}, "ask", "?")
        self.assertEqual((status, err), (1, "ulmctl: the daemon closed the connection\n"))
        self.assertEqual(run({}, "ask", b"\xff\xfe")[0], 1)
        self.assertEqual(run({}, "ask", "-", stdin=b"x" * 70000)[0], 1)
        self.assertEqual(run({}, "ask", "-", stdin=b"a\0b")[0], 1)

    def test_an_answer_that_is_not_complete(self):
        """Says so beside a pipe, and by the exit status everywhere."""
        for reason in "truncated", "refused", "local", "superseded":
            events = PLAIN[:-1] + [dict(PLAIN[-1], reason=reason)]
            for medium in "display", "speech":
                self.assertEqual(run({"ask": events}, "ask", "--medium", medium, "?")[:3],
                                 (4, "The capital of Peru is Lima.\n",
                                  f"ulmctl: the answer is not complete: {reason}\n"))
            status, out, err, _ = run({"ask": events}, "ask", "--json", "?")
            self.assertEqual((status, json.loads(out.splitlines()[-1])["reason"], err), (4, reason, ""))
            status, screen, raw = run_terminal({"ask": events}, "ask", "?", columns=100)
            self.assertEqual((status, "not complete" in raw), (4, False))
            self.assertIn(f"{reason}, mixed", screen.text())
        events = PLAIN[:-1] + [dict(PLAIN[-1], reason="cut\x1b[31m")]
        self.assertEqual(run({"ask": events}, "ask", "?")[2],
                         "ulmctl: the answer is not complete: cut\ufffd[31m\n")

    def test_deadline(self):
        requests = run({"ask": PLAIN}, "ask", "--deadline-ms", "4294967", "?")[3]
        self.assertEqual(requests[0]["deadline_ms"], 4294967)
        for bad in "0", "-1", "1.5", "1s", "", " 1", "4294968", "99999999999999999999":
            status, _, err, requests = run({}, "ask", "--deadline-ms", bad, "?")
            self.assertEqual((status, err, requests),
                             (2, "ulmctl: --deadline-ms is a whole number, 1 to 4294967\n", []), bad)

    def test_usage_and_no_daemon(self):
        for arguments in [], ["ask"], ["ask", "a", "b"], ["dance"], ["ask", "--medium", "smoke", "x"], \
                ["status", "x"], ["hello", "--prometheus"], ["watch", "--interval", "0"], ["--bad"], \
                ["reset"], ["reset", ""], ["reset", "a", "b"], ["reset", "x" * 65]:
            status, _, err, requests = run({}, *arguments)
            self.assertEqual((status, requests), (2, []), arguments)
            if arguments:
                self.assertRegex(err, r"^(ulmctl|\S+/ulmctl): ")  # getopt names it as it was called
        self.assertIn("there is no command dance\n", run({}, "dance")[2])
        self.assertRegex(run({}, "status", "--bad")[2], r"ulmctl: unrecognized option '?--bad")
        for command in ["ask", "?"], ["status"], ["watch"], ["hello"], ["reset", "s"]:
            self.assertEqual(without_daemon(*ULMCTL, "--socket", "/nonexistent/s", *command),
                             (3, "ulmctl: /nonexistent/s: no daemon listens there\n"))

    @unittest.skipIf(os.path.exists("/run/ulmd/ulmd.sock"), "NOT TESTED: a daemon listens here")
    def test_where_it_looked(self):
        system = "/run/ulmd/ulmd.sock"
        for env, places in ({"ULMD_SOCKET": "/nonexistent/s", "XDG_RUNTIME_DIR": "/nonexistent"},
                            "/nonexistent/s"), \
                           ({"ULMD_SOCKET": "", "XDG_RUNTIME_DIR": "/nonexistent"},
                            system + ", /nonexistent/ulmd.sock"), ({}, system):
            self.assertEqual(without_daemon(*ULMCTL, "hello", **env),
                             (3, f"ulmctl: {places}: no daemon listens there\n"))

    def test_what_cannot_be_written(self):
        speech = ["ask", "--medium", "speech", "?"]
        for arguments in ["ask", "?"], ["ask", "--json", "?"], speech, ["status"], ["hello", "--json"], \
                ["watch", "--interval", "0.1"], ["--help"], ["--version"]:
            with FakeDaemon({"ask": PLAIN, "status": [STATUS], "hello": [STATUS | {"event": "hello"}]}) as \
                    daemon, open("/dev/full", "wb") as full:
                result = subprocess.run([*ULMCTL, "--socket", daemon.path, *arguments], stdout=full,
                                        stderr=subprocess.PIPE, text=True, timeout=60)
            self.assertEqual((result.returncode, result.stderr),
                             (1, "ulmctl: cannot write: No space left on device\n"), arguments)

    def test_control_characters_do_not_reach_the_reader(self):
        text = "a\x1b]0;t\x07b\u202ec\u2066d\x9be\tf\ng\u200f"
        events = answer("", [event("delta", text=text)], text)
        self.assertEqual(run({"ask": events}, "ask", "?")[1], "a�]0;t�b�c�d�e\tf\ng�\n")


class Terminal(unittest.TestCase):
    def test_colours_and_summary(self):
        status, screen, _ = run_terminal({"ask": PLAIN}, "ask", "?", columns=100)
        lines = screen.text().splitlines()
        self.assertEqual(status, 0)
        self.assertEqual(lines[0], "The capital of Peru is Lima.")
        self.assertEqual(screen.styled("0;36").rstrip("━"), "The capital of Peru")
        self.assertRegex(lines[1], "^├ ?━+┄+━+┤$")
        self.assertEqual(lines[2], "first word 38 ms  opener 60 ms  cloud 2400 ms  gap 762 ms  "
                                   "total 4000 ms  complete, mixed, ok")

    def test_fix_strikes_the_span(self):
        _, screen, _ = run_terminal({"ask": FIX}, "ask", "?", columns=30)
        self.assertEqual(screen.text().splitlines()[:2],
                         ["The capital of Chile — no, of", "Peru. It is Lima."])
        self.assertEqual(screen.styled("0;2;9;31"), "Chile")
        self.assertEqual(screen.styled("0;33"), " — no, of Peru.")

    def test_redo_takes_the_opener_off_the_screen(self):
        for columns in 8, 12, 31, 32, 80:
            _, screen, raw = run_terminal({"ask": REDO}, "ask", "?", columns=columns)
            self.assertEqual(screen.text().splitlines()[0], "Short.", columns)
            self.assertNotIn("opener that", screen.text())
            self.assertIn("opener", raw)
        self.assertIn("(31 characters taken back)", run_terminal({"ask": REDO}, "ask", "?",
                                                                 columns=200)[1].text())

    def test_wide_and_control_characters(self):
        text = "日本語日本語日本語日本語" + "\x1b[2J"
        events = answer(text, [event("repair", strategy="redo", span=[0, 16]),
                               event("retract", chars=16), event("delta", text="好。")], "好。", "redo")
        _, screen, _ = run_terminal({"ask": events}, "ask", "?", columns=11)
        self.assertEqual(screen.text().splitlines()[0], "好。")
        self.assertNotIn("日", screen.text())

    def test_without_colour(self):
        for env in {"NO_COLOR": "1"}, {"TERM": "dumb"}:
            _, _, raw = run_terminal({"ask": PLAIN}, "ask", "?", env=env)
            self.assertNotIn("\x1b[0;36m", raw)

    def test_interrupt_cancels(self):
        events = PLAIN[:2] + ["cancel", event("done", reason="cancelled", source="local", verdict=None,
                                              text="The capital", timing=TIMING, usage=None)]

        def interrupt(raw, pid):
            if "capital" in raw:
                os.kill(pid, signal.SIGINT)
                return True
            return False
        status, screen, _ = run_terminal({"ask": events}, "ask", "?", columns=90, then=interrupt)
        self.assertEqual(status, 130)
        self.assertIn("cancelled, local", screen.text())


class Status(unittest.TestCase):
    def test_text(self):
        status, out, _, _ = run({"status": [STATUS]}, "status")
        self.assertEqual(status, 0)
        self.assertIn("ulmd 0.1.0, up 81 s, 1 of 64 requests open, 2 clients", out)
        self.assertIn("ulm�]0;x, 8.0 M parameters, Q8_0", out)
        self.assertIn("default, m\"1 (openai-chat): ok, 5 requests, 1 failed, first byte 610 ms (p95 900), "
                      "last failure tls", out)
        self.assertRegex(out, r"first word +5 +31\.2 +48\.9 +48\.9 +48\.1")
        self.assertRegex(out, r"verdict_ok +3")

    def test_what_is_not_there(self):
        for model, cloud, lines in (
                (None, STATUS["cloud"], ["none: answers come from the cloud alone"]),
                (STATUS["model"], [], ["none: answers end on the device"]),
                (None, [], ["none", "none: no question can be answered"])):
            _, out, _, _ = run({"status": [{**STATUS, "model": model, "cloud": cloud}]}, "status")
            self.assertEqual([line[9:] for line in out.splitlines() if line[9:13] == "none"], lines)

    def test_json(self):
        _, out, _, requests = run({"status": [STATUS]}, "status", "--json")
        self.assertEqual(json.loads(out), STATUS)
        self.assertEqual(requests, [{"op": "status"}])

    def test_prometheus(self):
        text = '# TYPE ulmd_asks_total counter\nulmd_asks_total{a="b\\"c"} 5\n'
        _, out, _, requests = run({"status": [{"event": "status", "prometheus": text}]}, "status",
                                  "--prometheus")
        self.assertEqual(out, text)
        self.assertEqual(requests, [{"op": "status", "format": "prometheus"}])

    def test_status_of_a_daemon_that_says_little(self):
        bare = {"event": "status", "latency": {"gap": 3}, "cloud": None, "model": None, "counters": []}
        for arguments in ["status"], ["status", "--prometheus"], ["watch", "--count", "1"]:
            self.assertEqual(run({"status": [bare]}, *arguments)[0], 0)

    def test_what_the_daemon_refuses(self):
        for arguments in ["status"], ["status", "--prometheus"], ["hello"], ["hello", "--json"], \
                ["reset", "s"]:
            self.assertEqual(run({arguments[0]: ERROR}, *arguments)[:3],
                             (1, "", "ulmctl: busy: 64 requests are open\n"))
        status, out, _, _ = run({"status": [dict(ERROR[0], message="no\x1b[2J")]}, "watch", "--count", "1")
        self.assertEqual((status, out), (0, "busy: no\ufffd[2J: waiting for it\n"))

    def test_reset(self):
        okay = event("ok", op="reset")
        self.assertEqual(run({"reset": [okay]}, "reset", "walk"),
                         (0, "", "", [{"op": "reset", "session": "walk"}]))
        self.assertEqual(json.loads(run({"reset": [okay]}, "reset", "--json", "walk")[1]), okay)

    def test_hello(self):
        hello = {"event": "hello", "version": "0.1.0", "protocol": 1, "capabilities": ["ask", "draft"],
                 "model": {"name": "m", "parameters": 8e6, "quantisation": "Q8_0", "context": 512}}
        _, out, _, _ = run({"hello": [hello]}, "hello")
        self.assertEqual(out, "ulmd 0.1.0, protocol 1\nmodel    m, 8.0 M parameters, Q8_0, context 512\n"
                              "can      ask, draft\n")


class Watch(unittest.TestCase):
    def test_plain_lines(self):
        status, out, _, requests = run({"status": [STATUS]}, "watch", "--interval", "0.1", "--count", "2")
        self.assertEqual((status, len(requests)), (0, 2))
        self.assertEqual(out.splitlines()[0],
                         "open 1  asks 5  first word p50 31.2 p95 48.9 ms  gap p50 310 p95 700 ms  "
                         "ok 3 pivot 1 fix 1 redo 0 local 0 errors 0  cloud 1/1 up")

    def test_screen(self):
        status, screen, raw = run_terminal({"status": [STATUS]}, "watch", "--count", "1", columns=90,
                                           rows=50)
        text = screen.text()
        self.assertEqual(status, 0)
        self.assertRegex(text, r"<= +30 ms █+ 2\n")
        self.assertRegex(text, r"<= +0 ms █+ 3\n")
        self.assertRegex(text, r"pivot █+ 1\n")
        self.assertTrue(raw.endswith("\x1b[?25h\x1b[?1049l"))

    def test_a_low_screen(self):
        """All of it within the 24 rows that a terminal has where nobody made it larger."""
        _, screen, _ = run_terminal({"status": [STATUS]}, "watch", "--count", "1", columns=80, rows=24)
        text = screen.text()
        for part in (r"cloud +\S.* ok, \d+ requests", r"ok 3  pivot 1  fix 1  redo 0  untagged \d+  local 0",
                     r"<= +30 ms █+ 2\n", r"<= +0 ms █+ 3\n", r">  4000 ms 0"):
            self.assertRegex(text, part)

    def test_a_daemon_that_leaves_is_waited_for(self):
        status, out, _, _ = run({"status": [STATUS, "close"]}, "watch", "--interval", "0.1", "--count", "3")
        self.assertEqual(status, 0)
        self.assertGreaterEqual(out.count("open 1"), 1)


class Examples(unittest.TestCase):
    """docs/examples: what app authors start from must work."""

    def example(self, script, *command):
        with FakeDaemon(script) as daemon:
            environment = dict(os.environ, ULMD_SOCKET=daemon.path)
            return subprocess.run([*command, "Where?"], env=environment, capture_output=True,
                                  timeout=60)

    def test_python(self):
        result = self.example({"ask": REDO}, sys.executable, os.path.join(EXAMPLES, "ask.py"))
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertTrue(result.stdout.decode().endswith(
            "\r\x1b[KShort.\n(complete, mixed, first word after 38.2 ms)\n"), result.stdout)
        result = self.example({"ask": ERROR}, sys.executable, os.path.join(EXAMPLES, "ask.py"))
        self.assertEqual((result.returncode, result.stderr), (1, b"busy: 64 requests are open\n"))

    def test_c(self):
        result = self.example({"ask": FIX}, *WRAP, os.environ["EXAMPLE_ASK"])
        self.assertEqual((result.returncode, result.stdout.decode()),
                         (0, "The capital of Chile — no, of Peru. It is Lima.\n"), result.stderr)
        result = self.example({"ask": ERROR}, *WRAP, os.environ["EXAMPLE_ASK"])
        self.assertEqual((result.returncode, result.stdout), (1, b""))

    def test_ulmctl_finds_it_as_they_do(self):
        result = self.example({"ask": FIX}, *ULMCTL, "ask")
        self.assertEqual(result.returncode, 0, result.stderr)

    def test_without_a_daemon(self):
        self.assertEqual(without_daemon(sys.executable, os.path.join(EXAMPLES, "ask.py"), "?",
                                        ULMD_SOCKET="/nonexistent/s"),
                         (1, "/nonexistent/s: No such file or directory\n"))
        self.assertEqual(without_daemon(*WRAP, os.environ["EXAMPLE_ASK"], "?", ULMD_SOCKET="/nonexistent/s"),
                         (1, "ulmd's socket: No such file or directory\n"))
        result = self.example({"ask": PLAIN[:1] + ["close"]}, sys.executable,
                              os.path.join(EXAMPLES, "ask.py"))
        self.assertEqual(result.returncode, 1)
        self.assertTrue(result.stderr.endswith(b": ulmd closed the connection\n"), result.stderr)


class Installed(unittest.TestCase):
    def test_it_starts_from_where_it_is_installed(self):
        """Under /usr the system's loader finds the library, and no path in the program is wanted."""
        prefix = os.environ["PREFIX"]
        with tempfile.TemporaryDirectory() as staged:
            subprocess.run([os.environ["MESON"], "install", "-C", os.environ["BUILD"],
                            "--no-rebuild", "--quiet", "--tags", "runtime", "--destdir", staged],
                           check=True, timeout=60)
            path = os.path.join(staged + prefix, os.environ["BINDIR"], "ulmctl")
            if prefix == "/usr":
                tags = subprocess.run(["readelf", "-d", path], check=True, capture_output=True).stdout
                self.assertNotRegex(tags, rb"\bR(UN)?PATH\b")
            else:
                env = {k: v for k, v in os.environ.items() if k != "LD_LIBRARY_PATH"}  # meson's, to the build
                self.assertEqual(subprocess.run([*WRAP, path, "--version"], env=env, timeout=60).returncode, 0)


if __name__ == "__main__":
    unittest.main()
