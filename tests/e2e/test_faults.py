# SPDX-License-Identifier: MIT
"""Faults below HTTP: names, connections, certificates, proxies. Those of the answers are in
test_matrix."""
import shutil
import socket
import tempfile

import harness
import tls
from harness import NEUTRAL, OPENER as O, SLOW

DEADLINES = {name: int(ms * SLOW) for name, ms in {
    "first_byte_ms": 800, "first_text_ms": 1200, "thinking_ms": 300, "stalled_ms": 300,
    "idle_ms": 800, "total_ms": 2500}.items()}


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


class Unreachable(harness.Case):
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


class Told(harness.Case):
    """The log, at its own level, says why a cloud fails, and when it works again; once."""

    def lines(self, daemon):
        return [line[line.index("cloud "):] for line in daemon.log().splitlines()
                if ": cloud " in line]

    def test_once(self):
        cloud = self.cloud("http-401")
        daemon = self.daemon(NEUTRAL, cloud=cloud)
        user = self.client(daemon)
        for _ in range(5):
            user.ask("q")
        fails = ["cloud default fails: authentication_error, HTTP status 401"]
        self.assertEqual(self.lines(daemon), fails)
        self.assertIn("cloud text -1 ms (authentication_error, HTTP status 401)", daemon.log())
        status = daemon.status()["cloud"][0]
        self.assertEqual((status["health"], status["last_status"]), ("down", 401))
        cloud.play("ok")
        while user.ask("q").done["reason"] != "complete":
            pass
        works = fails + ["cloud default works again"]
        self.assertEqual(self.lines(daemon), works)
        cloud.play("http-503")  # within the minute: not told
        for _ in range(2):
            user.ask("q")
        self.assertEqual(self.lines(daemon), works)

    def test_each_kind(self):
        """Also what is not the endpoint's fault each time, but may be the configuration's."""
        for scenario, words in (("http-400", ": invalid_request_error, HTTP status 400"),
                                ("http-404", ", HTTP status 404"), ("empty", ": empty"),
                                ("reset-text", ": reset, HTTP status 200")):
            cloud = self.cloud(scenario)
            endpoint = harness.Daemon.endpoint(cloud)
            daemon = self.daemon({**NEUTRAL, "cloud.spare": endpoint})
            self.client(daemon).ask("q")
            lines = self.lines(daemon)
            self.assertEqual(len(lines), 1, lines)
            self.assertTrue(lines[0].startswith("cloud spare fails: "), lines)
            self.assertTrue(lines[0].endswith(words), lines)
            self.assertIsNotNone(daemon.status()["cloud"][0]["last_failure"])

    def test_nobody_responds(self):
        for keys, word in (({"url": "https://no-such-host.invalid/v1"}, "dns"),
                           ({"url": f"http://127.0.0.1:{Unreachable.closed_port()}"}, "connect")):
            daemon = self.daemon({**NEUTRAL, "cloud": {"model": "m", **keys}})
            self.client(daemon).ask("q")
            self.assertIn(f"cloud default fails: {word}", self.lines(daemon))
        stalled = self.daemon({**NEUTRAL, "deadlines": DEADLINES}, cloud=self.cloud("stall-open"))
        self.client(stalled).ask("q")
        self.assertIn("cloud default fails: timeout", self.lines(stalled))

    def test_what_one_said_outlasts_that_the_next_is_away(self):
        away = f"http://127.0.0.1:{Unreachable.closed_port()}"
        daemon = self.daemon({**NEUTRAL, "cloud": {},
                              "cloud.home": {"url": away, "model": "m"}}, cloud=self.cloud("http-401"))
        done = self.client(daemon).ask("q").done
        self.assertTrue(done["text"].endswith("I can't answer that right now."), done)
        self.assertIn("cloud text -1 ms (authentication_error, HTTP status 401)", daemon.log())

    def test_a_missing_key(self):
        key = "/nonexistent"
        daemon = self.daemon({"cloud": {"url": "https://no-such-host.invalid/v1", "model": "m"},
                              "cloud.home": {"url": "http://127.0.0.1:9/v1", "model": "m"}},
                             env={"CREDENTIALS_DIRECTORY": key})
        self.assertEqual(self.lines(daemon),
                         ["cloud default has no key: its questions go out without one"])
        daemon.args = ["--check-config"]
        self.assertIn("cloud default has no key", daemon.run()[1])

    def test_prometheus(self):
        daemon = self.daemon(NEUTRAL, cloud=self.cloud("http-401"))
        user = self.client(daemon)
        for up in (1, 0):
            text = user.request("status", format="prometheus")["prometheus"]
            self.assertIn(f'ulmd_cloud_up{{endpoint="default"}} {up}\n', text)
            user.ask("q")


@harness.unittest.skipUnless(shutil.which("openssl"), "no openssl program")
class Bombs(harness.Case):
    """Few bytes that would unpack to more than anybody can read keep nobody waiting."""

    def ask(self, scenario):
        cloud = self.cloud(scenario)
        user = self.client(self.daemon(NEUTRAL, cloud=cloud))
        answer = user.ask("what is it")
        self.assertEqual(user.request("hello")["event"], "hello")
        return answer

    def test_behind_the_answer(self):
        answer = self.ask("drown 4096 [[ok]] a matter of patience.")
        self.assertEqual(answer.text, O + " a matter of patience.")

    def test_packed_more_than_once(self):
        """What is unpacked on the way to nothing is seen by no cap: one layer is all there may be."""
        self.assertEqual(self.ask("layers 64").done["source"], "local")


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
