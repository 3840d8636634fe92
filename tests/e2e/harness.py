# SPDX-License-Identifier: MIT
"""What every end-to-end test stands on: the built daemon, a client that checks the protocol's
invariants on every event it reads, the stand-in cloud, and a runner that speaks TAP.

Environment: ULMD, ULMCTL, ULM (the built programs), ULMD_DATA (tests/data), ULMD_WRAP (a command put
before them, such as valgrind or qemu-aarch64), ULMD_SLOW (factor on every wait).
"""
import glob
import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
import unittest

import standin

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
ULMD = os.environ.get("ULMD", os.path.join(ROOT, "build", "src", "ulmd"))
ULMCTL = os.environ.get("ULMCTL", os.path.join(ROOT, "build", "src", "tools", "ulmctl"))
ULM = os.environ.get("ULM", os.path.join(ROOT, "build", "src", "tools", "ulm"))
TSAN = ASAN = False
if os.path.exists(ULMD):
    with open(ULMD, "rb") as program:
        TSAN = b"__tsan_init" in (code := program.read())
        ASAN = b"__asan_init" in code
DATA = os.environ.get("ULMD_DATA", os.path.join(ROOT, "tests", "data"))
WRAP = shlex.split(os.environ.get("ULMD_WRAP", ""))
SLOW = float(os.environ.get("ULMD_SLOW", "1"))
WAIT = 30 * SLOW  # how long a test waits for what must come

# Whether what the daemon has in memory can be searched, and if not, why
MEMORY = os.getuid() == 0 and not (ASAN or TSAN or WRAP)
NO_MEMORY = "needs root, and memory that is not a sanitizer's or valgrind's"

# An opener every expectation can be exact about: below the threshold the neutral text is used.
OPENER = "The answer to that is"
NEUTRAL = {"opener": {"min_confidence": "-0.000001", "neutral": OPENER}}

TERMINAL = ("done", "error")
SANITIZERS = ("ERROR: AddressSanitizer", "WARNING: ThreadSanitizer", "ERROR: LeakSanitizer",
              "runtime error:", "== ERROR SUMMARY: ")


# Hands the listening socket it inherited on to the daemon, as systemd does: descriptor 3.
ACTIVATE = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.set_inheritable(3, True)
os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()))
os.execvp(sys.argv[2], sys.argv[2:])
"""


def built(program, *args):
    """The command line of a built program: behind the wrapper, where there is one."""
    return [*WRAP, program, *args]


class Violation(AssertionError):
    """The daemon broke a promise of the protocol."""


def tiny_model():
    """The small random model of tests/data."""
    return os.path.join(DATA, "reference", "tiny-q8_0.gguf")


def shipped_model():
    """The model that ships: the smallest, where there are several. None where there is none."""
    found = glob.glob(os.path.join(ROOT, "models", "*.gguf"))
    return min(found, key=os.path.getsize, default=None)


class Answer:
    """One ask as its client sees it: every event, and the text put together from them."""

    def __init__(self, ident):
        self.id, self.events, self.text, self.opener = ident, [], "", ""
        self.terminal = None
        self.shown = []  # the text after each event

    def take(self, event):
        if self.terminal:
            raise Violation(f"{event['event']} after the terminal event of {self.id}")
        self.events.append(event)
        kind = event["event"]
        if kind == "opener":
            if not event["text"] or (self.opener and not event["text"].startswith(" ")):
                raise Violation(f"opener event {event!r} after {self.opener!r}")
            if self.has("opened") or self.has("delta"):
                raise Violation("an opener word after the opener was complete")
            self.opener += event["text"]
            self.text += event["text"]
        elif kind == "opened":
            if event["opener"] != self.opener or event["words"] != len(self.opener.split()):
                raise Violation(f"opened {event!r} after {self.opener!r}")
            if event["confidence"] is not None and event["confidence"] > 0:
                raise Violation(f"confidence {event['confidence']}")
        elif kind == "delta":
            if not event["text"]:
                raise Violation("an empty delta")
            self.text += event["text"]
        elif kind == "retract":
            if not 0 < event["chars"] <= len(self.text):
                raise Violation(f"retract {event['chars']} of {len(self.text)}")
            self.text = self.text[:-event["chars"]]
        elif kind == "repair":
            low, high = event["span"]
            if not 0 <= low <= high <= len(self.text):
                raise Violation(f"span {event['span']} of {len(self.text)}")
            if len(self.of("repair")) > 1:
                raise Violation("a second repair")
        elif kind == "done":
            self._check_done(event)
        elif kind not in ("notice", "error"):
            raise Violation(f"unknown event {event!r}")
        if kind in TERMINAL:
            self.terminal = event
        self.shown.append(self.text)

    def _check_done(self, done):
        if done["text"] != self.text:
            raise Violation(f"done.text {done['text']!r} is not what was shown: {self.text!r}")
        repair = self.of("repair")
        if repair and done["verdict"] != repair[0]["strategy"]:
            raise Violation(f"verdict {done['verdict']} after repair {repair[0]['strategy']}")
        if done["verdict"] in ("pivot", "fix", "redo") and not repair and self.opener:
            raise Violation(f"verdict {done['verdict']} without a repair event")
        deltas, retracted = self.has("delta"), self.has("retract")
        if done["source"] == "cloud" and self.opener and not retracted:
            raise Violation("source cloud with an opener")
        if done["source"] == "mixed" and (not deltas or not self.opener):
            raise Violation(f"source mixed without both: {self.events!r}")
        for name in ("first_word", "opener", "cloud_sent", "cloud_first_byte", "cloud_first_text",
                     "total", "gap"):
            value = done["timing"][name]
            if value is not None and value < 0:
                raise Violation(f"timing {name} {value}")
        if "usage" not in done:
            raise Violation("done without usage")

    def of(self, kind):
        return [e for e in self.events if e["event"] == kind]

    def has(self, kind):
        return any(e["event"] == kind for e in self.events)

    @property
    def kinds(self):
        """Kinds of the events, runs folded into one."""
        out = []
        for event in self.events:
            if not out or out[-1] != event["event"]:
                out.append(event["event"])
        return out

    @property
    def done(self):
        if not self.terminal or self.terminal["event"] != "done":
            raise Violation(f"not done: {self.terminal!r}")
        return self.terminal


class Client:
    """One connection. Reads on the caller's thread; every event is checked as it comes."""

    def __init__(self, path):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(path)
        self.buffer = b""
        self.answers = {}
        self.loose = []  # events that belong to no ask
        self.eof = False
        self.counter = 0

    def send(self, message):
        data = message if isinstance(message, bytes) else json.dumps(message).encode() + b"\n"
        self.sock.sendall(data)

    def start(self, text, **members):
        """Sends an ask; returns the Answer that will fill."""
        self.counter += 1
        ident = members.pop("id", f"q{self.counter}")
        self.answers[ident] = Answer(ident)
        self.send({"op": "ask", "id": ident, "text": text, **members})
        return self.answers[ident]

    def ask(self, text, **members):
        return self.finish(self.start(text, **members))

    def finish(self, answer, timeout=None):
        """Reads until this answer has its terminal event."""
        self.read_until(lambda: answer.terminal, timeout, f"the end of {answer.id}")
        return answer

    def request(self, op, **members):
        """Sends an op that is answered at once and returns its event."""
        self.counter += 1
        ident = members.pop("id", f"r{self.counter}")
        seen = len(self.loose)
        self.send({"op": op, "id": ident, **members})
        self.read_until(lambda: len(self.loose) > seen, None, f"an answer to {op}")
        return self.loose[-1]

    def read_until(self, predicate, timeout=None, what="an event"):
        until = time.monotonic() + (WAIT if timeout is None else timeout)
        while not predicate():
            left = until - time.monotonic()
            if left <= 0:
                raise AssertionError(f"waited in vain for {what}; have "
                                     f"{[a.events for a in self.answers.values()][-1:]!r}"[:2000])
            if self.eof:
                raise AssertionError(f"connection closed while waiting for {what}; "
                                     f"{self.loose[-2:]!r}")
            self.sock.settimeout(left)
            try:
                data = self.sock.recv(65536)
            except socket.timeout:
                continue
            except ConnectionResetError:
                data = b""
            if not data:
                if self.buffer:
                    raise Violation(f"the stream ends inside a line: {self.buffer[:200]!r}")
                self.eof = True
                continue
            self._feed(data)

    def read_to_end(self, timeout=None):
        self.read_until(lambda: self.eof, timeout, "the end of the connection")

    def _feed(self, data):
        *lines, self.buffer = (self.buffer + data).split(b"\n")
        for line in lines:
            # strict UTF-8 and JSON per line: no event may split a character
            text = line.decode("utf-8")
            event = json.loads(text)
            if any(0xD800 <= ord(c) < 0xE000 for c in json.dumps(event, ensure_ascii=False)):
                raise Violation(f"a lone surrogate: {line!r}")
            answer = self.answers.get(event.get("id"))
            if answer is not None and event["event"] not in ("ok", "hello", "status"):
                answer.take(event)
            else:
                self.loose.append(event)

    def half_close(self):
        self.sock.shutdown(socket.SHUT_WR)

    def close(self):
        self.sock.close()


class Daemon:
    """The built daemon with its own directory, configuration and socket."""

    def __init__(self, config=None, cloud=None, model="tiny", dialect="openai-chat", args=(),
                 env=None, start=True, wrap=None):
        self.dir = tempfile.mkdtemp(prefix="ulmd-test-")
        self.socket = os.path.join(self.dir, "s")
        self.log_path = os.path.join(self.dir, "log")
        self.config_path = os.path.join(self.dir, "ulmd.conf")
        self.state_dir = os.path.join(self.dir, "state")
        os.mkdir(self.state_dir, 0o700)
        self.listener = None  # see activate()
        self.args, self.env, self.process = list(args), dict(env or {}), None
        self.wrap = WRAP if wrap is None else wrap
        self.sections = {"daemon": {"socket": self.socket, "dbus": "no",
                                    "state_dir": self.state_dir},
                         # however slow the machine: a test that wants a late opener says so
                         "opener": {"opener_wait_ms": 60000}}
        if SLOW > 1:  # what ends an answer, as the defaults times that; a test may say otherwise
            self.sections["deadlines"] = {
                key: int(min(ms * SLOW, 600000)) for key, ms in (
                    ("first_byte_ms", 4500), ("first_text_ms", 12000), ("idle_ms", 10000),
                    ("total_ms", 30000))}
        if model:
            self.sections["model"] = {"path": tiny_model() if model == "tiny" else model}
        if cloud is not None:
            self.sections["cloud"] = self.endpoint(cloud, dialect)
        for section, keys in (config or {}).items():
            self.sections.setdefault(section, {}).update(keys)
        self.write_config()
        if start:
            self.start()

    @staticmethod
    def endpoint(cloud, dialect="openai-chat"):
        """The [cloud] section that points at this stand-in."""
        base = f"{cloud.url}/{dialect}" + ("" if dialect == "ollama" else "/v1")
        section = {"dialect": dialect, "url": base, "model": "stand-in"}
        if isinstance(cloud.address, str):
            section["unix_socket"] = cloud.address
        return section

    def write_config(self, sections=None):
        with open(self.config_path, "w", encoding="utf-8") as file:
            for name, keys in (sections or self.sections).items():
                file.write(f"[{name}]\n")
                for key, value in keys.items():
                    if value is not None:
                        file.write(f"{key} = {value}\n")

    def activate(self):
        """Listens in the daemon's place: from now on it is started with this socket, as by
        systemd, and clients that come while it is down wait."""
        self.listener = socket.socket(socket.AF_UNIX)
        self.socket = os.path.join(self.dir, "given")
        self.listener.bind(self.socket)
        self.listener.listen(512)
        fd = str(self.listener.fileno())
        self.wrap = [sys.executable, "-c", ACTIVATE, fd, *self.wrap]

    def start(self, connect=True):
        """Starts it and waits until its socket takes connections (with connect, by making one,
        which a socket-activated daemon would be started by)."""
        env = {k: v for k, v in os.environ.items()
               if k not in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS",
                            "LISTEN_PID", "LISTEN_FDNAMES", "CREDENTIALS_DIRECTORY")
               and not k.startswith("ULMD_CLOUD_KEY")}
        env["ULMD_DATADIR"] = os.path.join(ROOT, "conf")  # these texts, wherever the build is
        env.update(self.env)
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                [*self.wrap, ULMD, "--config", self.config_path, *self.args],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env,
                pass_fds=[self.listener.fileno()] if self.listener else [])
        until = time.monotonic() + WAIT
        while True:
            if self.process.poll() is not None:
                raise AssertionError(f"ulmd exited {self.process.returncode}:\n{self.log()}")
            try:
                if connect:
                    self.client().close()
                    return
                if os.path.exists(self.socket):
                    return
            except OSError:
                if time.monotonic() > until:
                    raise AssertionError(f"ulmd never listened:\n{self.log()}") from None
                time.sleep(0.01)

    def run(self, timeout=None):
        """Starts a daemon that is expected to exit by itself: (status, what it said)."""
        done = subprocess.run([*self.wrap, ULMD, "--config", self.config_path, *self.args],
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=timeout or WAIT, check=False,
                              env={**os.environ, "ULMD_DATADIR": os.path.join(ROOT, "conf"),
                                   **self.env})
        return done.returncode, done.stdout.decode("utf-8", "replace")

    def client(self):
        return Client(self.socket)

    def status(self):
        client = self.client()
        try:
            return client.request("status")
        finally:
            client.close()

    def await_status(self, predicate, what="a state"):
        """Asks for the status until the predicate holds."""
        until = time.monotonic() + WAIT
        while True:
            status = self.status()
            if predicate(status):
                return status
            if time.monotonic() > until:
                raise AssertionError(f"waited in vain for {what}: {status!r}")
            time.sleep(0.01)

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as file:
            return file.read()

    def await_log(self, text, times=1):
        until = time.monotonic() + WAIT
        while self.log().count(text) < times:
            if time.monotonic() > until:
                raise AssertionError(f"never logged {text!r}:\n{self.log()}")
            time.sleep(0.01)

    def signal(self, number):
        os.kill(self.process.pid, number)

    def wait(self):
        return self.process.wait(WAIT)

    def stop(self):
        """Ends the daemon as systemd does, and checks that it went well. Once is enough."""
        if not os.path.isdir(self.dir):
            return
        try:
            if self.process and self.process.poll() is None:
                self.signal(signal.SIGTERM)
                try:
                    self.wait()
                except subprocess.TimeoutExpired:
                    self.process.kill()
                    self.process.wait()
                    raise AssertionError(f"SIGTERM did not end ulmd:\n{self.log()}") from None
            if self.process and self.process.returncode not in (0, -signal.SIGKILL):
                raise AssertionError(
                    f"ulmd ended with {self.process.returncode}:\n{self.log()[-4000:]}")
            log = self.log() if self.process else ""
            for mark in SANITIZERS:
                if mark in log and f"{mark}0 errors" not in log:
                    raise AssertionError(log[-8000:])
        finally:
            if self.listener:
                self.listener.close()
            shutil.rmtree(self.dir, ignore_errors=True)


def count_in_memory(pid, needles):
    """How often each of the byte strings stands in what that process can write to. Needs root."""
    count = dict.fromkeys(needles, 0)
    with open(f"/proc/{pid}/maps", encoding="utf-8") as maps, \
            open(f"/proc/{pid}/mem", "rb", 0) as memory:
        for line in maps:
            span, mode = line.split()[:2]
            if mode.startswith("rw"):
                start, end = (int(part, 16) for part in span.split("-"))
                memory.seek(start)
                data = memory.read(end - start)
                for needle in needles:
                    count[needle] += data.count(needle)
    return count


class Case(unittest.TestCase):
    """A test with daemons and clouds that are checked and put away at its end."""

    maxDiff = None

    def cloud(self, scenario=None, **options):
        cloud = standin.Standin(**options)
        self.addCleanup(cloud.close)
        if scenario:
            cloud.play(scenario)
        return cloud

    def daemon(self, config=None, start=True, **options):
        daemon = Daemon(config, start=False, **options)
        self.addCleanup(daemon.stop)
        if start:
            daemon.start()
        return daemon

    def client(self, daemon):
        client = daemon.client()
        self.addCleanup(client.close)
        return client


class TapResult(unittest.TestResult):
    """Writes TAP: one line a test, reasons of failures and skips as comments."""

    def __init__(self):
        super().__init__()
        self.number = 0
        self.started = time.monotonic()

    def startTest(self, test):
        super().startTest(test)
        self.started = time.monotonic()

    def _line(self, test, okay, note=""):
        self.number += 1
        name = test.id().replace("__main__.", "").replace("#", "")
        print(f"{'ok' if okay else 'not ok'} {self.number} - {name}{note}", flush=True)
        took = time.monotonic() - self.started
        if took > 5:
            print(f"# that took {took:.1f} s", flush=True)

    def _trouble(self, test, error):
        for line in "".join(traceback.format_exception(*error)).splitlines():
            print("# " + line, flush=True)
        self._line(test, False)

    def addSuccess(self, test):
        self._line(test, True)

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self._trouble(test, err)

    def addError(self, test, err):
        super().addError(test, err)
        self._trouble(test, err)

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self._line(test, True, f" # SKIP {reason}")

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err is not None:
            self._trouble(subtest, err)
        else:
            self._line(subtest, True)


def main():
    """Runs the tests of the calling file, or those named on the command line."""
    loader = unittest.TestLoader()
    module = sys.modules["__main__"]
    names = sys.argv[1:]
    suite = loader.loadTestsFromNames(names, module) if names else loader.loadTestsFromModule(module)
    result = TapResult()
    suite.run(result)
    print(f"1..{result.number}", flush=True)
    sys.exit(0 if result.wasSuccessful() else 1)
