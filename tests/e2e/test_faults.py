# SPDX-License-Identifier: MIT
"""The fault matrix: everything a cloud can do wrong, each on a display and in speech.

Whatever happens, the client gets one terminal event, an answer that begins with its opener (or
that took it back), and nothing of what the provider wrote about the fault."""
import shutil
import socket
import tempfile
from concurrent.futures import ThreadPoolExecutor

import harness
import standin
import tls
from harness import NEUTRAL, OPENER as O, SLOW

DEADLINES = {name: int(ms * SLOW) for name, ms in {
    "first_byte_ms": 800, "first_text_ms": 1200, "thinking_ms": 300, "stalled_ms": 300,
    "idle_ms": 800, "total_ms": 2500}.items()}

LOCAL = ("local",)            # the cloud could not be had: finished on the device
TRUNC = ("truncated",)        # it broke off after it had begun to speak
WHOLE = ("complete",)
BEGUN = O + " a beginning that is"

# scenario: (reasons, the text begins with, requests the cloud may see for one ask)
MATRIX = {
    "http-400": (LOCAL, O, 2), "http-401": (LOCAL, O, 1), "http-403": (LOCAL, O, 1),
    "http-404": (LOCAL, O, 1), "http-408": (LOCAL, O, 2), "http-429": (LOCAL, O, 2),
    "http-429-later": (LOCAL, O, 1), "http-429-once": (WHOLE, O + " a matter", 2),
    "http-500": (LOCAL, O, 2), "http-500-once": (WHOLE, O + " a matter", 2),
    "http-502": (LOCAL, O, 2), "http-503": (LOCAL, O, 2), "http-529": (LOCAL, O, 2),
    "error-first": (LOCAL, O, 2), "error-late": (TRUNC, O + " a beginning that", 1),
    "wrong-type": (LOCAL, O, 2), "redirect": (LOCAL, O, 2), "bomb": (LOCAL, O, 2),
    # libcurl replaces a kept connection that turns out dead by itself: one more
    "reset-before": (LOCAL, O, 3), "reset-headers": (LOCAL, O, 2), "reset-once": (WHOLE, O, 3),
    "reset-tag": (LOCAL + TRUNC, O, 2), "reset-text": (TRUNC, BEGUN, 1),
    "cut-headers": (LOCAL, O, 2), "cut-text": (TRUNC, BEGUN, 1), "cut-utf8": (TRUNC, BEGUN, 1),
    "cut-json": (TRUNC, BEGUN, 1), "bad-json": (TRUNC + WHOLE, BEGUN, 1),
    "bad-utf8": (TRUNC + WHOLE, O, 1),
    "no-end": (WHOLE, O + " a whole answer without an end marker.", 1),
    "no-finish": (TRUNC, O + " a text that just ends", 1),
    "stall-headers": (LOCAL, O, 2), "stall-open": (LOCAL, O, 1), "stall-tag": (LOCAL + TRUNC, O, 1),
    "stall-half-tag": (LOCAL + TRUNC, O, 1), "stall-text": (TRUNC, BEGUN, 1),
    "pings": (LOCAL, O, 1), "pings-late": (TRUNC, BEGUN, 1),
    "drip": (LOCAL + TRUNC, O, 1), "slow": (WHOLE, O + " slow but sure.", 1),
    "late": (LOCAL, O, 2), "endless": (TRUNC, O + " on and on", 1),
    "long-line": (TRUNC, BEGUN, 1), "long-answer": (TRUNC, O + " begins xxx", 1),
    "refused": (("refused",), O, 1), "refused-silent": (("refused",), O, 1),
    "empty": (WHOLE, O, 1), "length": (TRUNC, O, 1),
}


def rss_kib(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS"))


def play_both(daemon, question):
    """The same question at the same moment on a display and in speech."""
    answers = {}
    users = {medium: daemon.client() for medium in ("display", "speech")}
    try:
        for medium, user in users.items():
            answers[medium] = user.start(f"{medium} {question}", medium=medium)
        for medium, user in users.items():
            user.finish(answers[medium])
    finally:
        for user in users.values():
            user.close()
    return answers


def run_row(name):
    """One fault, on a daemon of its own: (answers, requests seen, what went wrong or None)."""
    cloud = standin.Standin()
    daemon = harness.Daemon({**NEUTRAL, "deadlines": DEADLINES}, cloud=cloud, start=False)
    try:
        try:
            daemon.start()
            answers = play_both(daemon, "play:" + name)
            if not WRAPPED and rss_kib(daemon.process.pid) > 150 * 1024:
                raise AssertionError(f"memory: {rss_kib(daemon.process.pid)} KiB")
            requests = [r for r in cloud.requests if r.method == "POST"]
            return answers, requests, daemon.log()
        finally:
            daemon.stop()
            cloud.close()
    except Exception as error:  # told by the row's own test
        return error


WRAPPED = bool(harness.WRAP) or SLOW > 1


class Matrix(harness.Case):
    @classmethod
    def setUpClass(cls):
        if WRAPPED:
            print("# NOT TESTED: the daemon's memory, which the wrapper shares")
        # most of a row is waiting, so that several go on at once
        with ThreadPoolExecutor(6) as pool:
            cls.results = dict(zip(MATRIX, pool.map(run_row, MATRIX)))

    def check(self, name):
        result = self.results[name]
        if isinstance(result, Exception):
            raise result
        reasons, begins, attempts = MATRIX[name]
        answers, requests, log = result
        for medium, answer in answers.items():
            done = answer.done
            self.assertIn(done["reason"], reasons, (medium, done))
            self.assertTrue(answer.text.startswith(begins), (medium, answer.text))
            if done["reason"] == "local":
                self.assertEqual(done["source"], "local")
                self.assertIsNone(done["verdict"])
                self.assertIn("offline", [e["code"] for e in answer.of("notice")])
            seen = [r for r in requests if r.question.startswith(medium)]
            self.assertTrue(1 <= len(seen) <= attempts, f"{medium}: {len(seen)} requests")
            said = str(answer.events)
            self.assertNotIn("PROVIDER-ERROR-TEXT", said)
            self.assertNotIn("<html>", said)
        self.assertNotIn("PROVIDER-ERROR-TEXT", log)


def _row(name):
    return lambda self: self.check(name)


for _name in MATRIX:
    setattr(Matrix, "test_" + _name.replace("-", "_"), _row(_name))


class Unreachable(harness.Case):
    """Faults below HTTP: names, connections, certificates, proxies."""

    def offline(self, cloud, daemon=None):
        daemon = daemon or self.daemon({**NEUTRAL, "deadlines": DEADLINES, "cloud": cloud})
        for medium, answer in play_both(daemon, "q").items():
            self.assertEqual(answer.done["reason"], "local", (medium, daemon.log()))
            self.assertTrue(answer.text.startswith(O) and len(answer.text) > len(O))
            self.assertIn("offline", [e["code"] for e in answer.of("notice")])
        return daemon

    @staticmethod
    def closed_port():
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            return sock.getsockname()[1]

    def test_dns_failure(self):
        self.offline({"url": "https://no-such-host.invalid/v1", "model": "m"})

    def test_refused(self):
        self.offline({"url": f"http://127.0.0.1:{self.closed_port()}/v1", "model": "m"})

    def test_no_unix_socket(self):
        self.offline({"url": "http://localhost/v1", "unix_socket": "/nonexistent/s", "model": "m"})

    def test_reset_on_accept(self):
        cloud = self.cloud("ok")
        cloud.on_accept = "reset"
        self.offline(harness.Daemon.endpoint(cloud))

    def test_silent_on_accept(self):
        cloud = self.cloud("ok")
        cloud.on_accept = "stall"
        self.offline(harness.Daemon.endpoint(cloud))

    def test_proxy_failure(self):
        cloud = self.cloud("ok")
        self.offline({**harness.Daemon.endpoint(cloud), "allow_http": "yes",
                      "proxy": f"http://127.0.0.1:{self.closed_port()}"})
        self.assertEqual(cloud.requests, [])

    def test_plain_http_elsewhere_is_refused(self):
        daemon = self.daemon({**NEUTRAL, "cloud": {"url": "http://192.0.2.1/v1", "model": "m"}},
                             start=False)
        status, said = daemon.run()
        self.assertEqual(status, 1)
        self.assertIn("allow_http", said)

    def test_environment_proxies_are_not_used(self):
        cloud = self.cloud("ok")
        dead = f"http://127.0.0.1:{self.closed_port()}"
        daemon = self.daemon(NEUTRAL, cloud=cloud, env={
            "http_proxy": dead, "HTTPS_PROXY": dead, "ALL_PROXY": dead, "all_proxy": dead})
        self.assertEqual(self.client(daemon).ask("q").done["reason"], "complete")

    def test_it_comes_back(self):
        """The cloud is tried again once it can be had."""
        cloud = self.cloud("http-503")
        daemon = self.offline(None, self.daemon({**NEUTRAL, "deadlines": DEADLINES}, cloud=cloud))
        cloud.play("ok")
        self.assertEqual(self.client(daemon).ask("q").done["reason"], "complete")


@harness.unittest.skipUnless(shutil.which("openssl"), "no openssl program")
class Tls(harness.Case):
    @classmethod
    def setUpClass(cls):
        cls.dir = tempfile.mkdtemp(prefix="ulmd-tls-")
        cls.certs = tls.Certificates(cls.dir)

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.dir)

    def endpoint(self, certificate, **keys):
        cloud = self.cloud("ok", tls=self.certs.context(certificate))
        port = cloud.address[1]
        return {"url": f"https://localhost:{port}/v1", "model": "m", "ca_file": self.certs.ca,
                **keys}

    def ask(self, endpoint):
        daemon = self.daemon({**NEUTRAL, "deadlines": DEADLINES, "cloud": endpoint})
        return self.client(daemon).ask("q"), daemon

    def test_good(self):
        answer, daemon = self.ask(self.endpoint("good"))
        self.assertEqual(answer.done["reason"], "complete", daemon.log())

    def test_expired(self):
        self.assertEqual(self.ask(self.endpoint("expired"))[0].done["reason"], "local")

    def test_wrong_host(self):
        self.assertEqual(self.ask(self.endpoint("elsewhere"))[0].done["reason"], "local")

    def test_unknown_authority(self):
        self.assertEqual(self.ask(self.endpoint("good", ca_file=None))[0].done["reason"], "local")

    def test_plain_server(self):
        cloud = self.cloud("ok")
        answer, _ = self.ask({"url": f"https://localhost:{cloud.address[1]}/v1", "model": "m"})
        self.assertEqual(answer.done["reason"], "local")

    def test_pinned_key(self):
        pin = self.certs.pin("good")
        answer, daemon = self.ask(self.endpoint("good", pinned_key=pin))
        self.assertEqual(answer.done["reason"], "complete", daemon.log())
        other = self.certs.pin("elsewhere")
        answer, _ = self.ask(self.endpoint("good", pinned_key=other))
        self.assertEqual(answer.done["reason"], "local")


if __name__ == "__main__":
    harness.main()
