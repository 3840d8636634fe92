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
