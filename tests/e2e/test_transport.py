# SPDX-License-Identifier: MIT
"""Between the daemon and the cloud: TLS, HTTP/2, proxies, IPv6, connections kept and resumed.

With nginx installed it stands in front of the stand-in as a provider's edge does; without it
those tests say so and are skipped."""
import grp
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import threading
import time

import harness
import outcomes
import tls
from harness import NEUTRAL

NGINX = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin")
TEXT = harness.OPENER + " a matter of patience, and of very little else."
CONF = """
user {user} {group}; daemon off; worker_processes 1; pid {dir}/pid; error_log {dir}/error.log;
events {{ worker_connections 64; }}
http {{
  log_format one '$connection $server_protocol $ssl_session_reused $request_method';
  access_log {dir}/access.log one;
  client_body_temp_path {dir}/a; proxy_temp_path {dir}/b; fastcgi_temp_path {dir}/c;
  uwsgi_temp_path {dir}/d; scgi_temp_path {dir}/e;
  server {{
    listen unix:{dir}/h2 ssl http2; listen unix:{dir}/h1 ssl;
    ssl_certificate {certs}/good.pem; ssl_certificate_key {certs}/good.key;
    ssl_session_cache shared:s:1m; {more}
    location / {{ proxy_pass http://unix:{cloud}:; proxy_buffering off; proxy_http_version 1.1; }}
  }}
}}
"""


class Tunnel:
    """An HTTP proxy that knows CONNECT alone, on 127.0.0.1; `asked` lists where to."""

    def __init__(self):
        self.asked = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        with client, client.makefile("rb") as reader:
            method, target, _ = reader.readline().decode().split()
            while reader.readline().strip():
                pass
            self.asked.append((method, target))
            host, _, port = target.rpartition(":")
            host = "127.0.0.1" if host == "localhost" else host.strip("[]")  # no hosts file is needed
            with socket.create_connection((host, int(port))) as server:
                client.sendall(b"HTTP/1.1 200 Connected\r\nX-Proxy: yes\r\n\r\n")
                back = threading.Thread(target=self._copy, args=(server, client), daemon=True)
                back.start()
                self._copy(client, server)
                back.join()

    @staticmethod
    def _copy(source, target):
        try:
            while data := source.recv(65536):
                target.sendall(data)
        except OSError:
            pass
        for sock in (source, target):
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


@harness.unittest.skipUnless(shutil.which("openssl"), "no openssl program")
class Edge(harness.Case):
    @classmethod
    def setUpClass(cls):
        cls.dir = tempfile.mkdtemp(prefix="ulmd-edge-")
        cls.certs = tls.Certificates(cls.dir)

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.dir)

    def nginx(self, more=""):
        """Starts nginx in front of a stand-in that plays "ok"; returns its directory."""
        if not NGINX:
            self.skipTest("no nginx")
        cloud = self.cloud("ok", unix=os.path.join(self.dir, f"cloud{id(self)}"))
        folder = tempfile.mkdtemp(dir=self.dir)
        with open(os.path.join(folder, "conf"), "w", encoding="ascii") as file:
            file.write(CONF.format(
                dir=folder, certs=self.dir, cloud=cloud.address, more=more,
                user=pwd.getpwuid(os.getuid()).pw_name, group=grp.getgrgid(os.getgid()).gr_name))
        server = subprocess.Popen([NGINX, "-e", os.path.join(folder, "start.log"), "-c",
                                   os.path.join(folder, "conf")], stderr=subprocess.DEVNULL)
        self.addCleanup(server.wait)
        self.addCleanup(server.terminate)
        until = time.monotonic() + harness.WAIT
        while not self.listens(os.path.join(folder, "h2")):
            self.assertIsNone(server.poll(), "nginx did not start")
            self.assertLess(time.monotonic(), until)
            time.sleep(0.02)
        return folder

    @staticmethod
    def listens(path):
        with socket.socket(socket.AF_UNIX) as sock:
            return sock.connect_ex(path) == 0

    def ask_three(self, folder, name):
        """Three questions over that socket; returns the lines of nginx's log, split."""
        daemon = self.daemon({**NEUTRAL, "cloud": {
            "url": "https://localhost/v1", "model": "m", "ca_file": self.certs.ca,
            "unix_socket": os.path.join(folder, name)}})
        client = self.client(daemon)
        for _ in range(3):
            self.assertEqual(client.ask("q").text, TEXT, daemon.log())
        daemon.stop()
        with open(os.path.join(folder, "access.log"), encoding="ascii") as file:
            return [line.split() for line in file]

    def test_http2_over_one_connection(self):
        lines = self.ask_three(self.nginx(), "h2")
        self.assertEqual({line[1] for line in lines}, {"HTTP/2.0"})
        self.assertEqual([line[3] for line in lines].count("POST"), 3)
        self.assertEqual(len({line[0] for line in lines}), 1, lines)

    @harness.unittest.skipUnless(harness.MEMORY, harness.NO_MEMORY)
    def test_http2_keeps_no_copy_of_the_key(self):
        """While the connection is kept there is the one copy that is locked."""
        secret = "sk-SECRETKEY-of-the-connection"
        daemon = self.daemon({**NEUTRAL, "cloud": {
            "url": "https://localhost/v1", "model": "m", "ca_file": self.certs.ca,
            "unix_socket": os.path.join(self.nginx(), "h2")}}, start=False)
        key = os.path.join(daemon.dir, "key")
        with open(os.open(key, os.O_CREAT | os.O_WRONLY, 0o600), "w", encoding="ascii") as file:
            file.write(secret)
        daemon.sections["cloud"]["key_file"] = key
        daemon.write_config()
        daemon.start()
        for _ in range(3):
            self.assertEqual(self.client(daemon).ask("q").text, TEXT, daemon.log())
        self.assertEqual(harness.count_in_memory(daemon.process.pid, [secret.encode()]),
                         {secret.encode(): 1})

    def test_faults_over_http2(self):
        """What goes wrong behind a provider's edge reaches the daemon as resets of a stream."""
        daemon = self.daemon({**NEUTRAL, "deadlines": {
            name: int(ms * harness.SLOW) for name, ms in
            {"first_byte_ms": 4000, "stalled_ms": 500, "idle_ms": 2000}.items()}, "cloud": {
                "url": "https://localhost/v1", "model": "m", "ca_file": self.certs.ca,
                "unix_socket": os.path.join(self.nginx(), "h2")}})
        client = self.client(daemon)
        rows = ("http-401", "http-503", "error-late", "cut-text", "cut-utf8", "no-finish",
                "bad-json", "stall-text", "reset-before", "reset-text", "long-line", "refused", "stall-headers")
        answers = {row: client.start(f"play:{row}") for row in (*rows, "one-byte", "redo", "ok")}
        for row, answer in answers.items():
            client.finish(answer)
            if row in rows:
                reasons, begins, _ = outcomes.FAULTS[row]
                if row == "reset-before":
                    begins = outcomes.FAILED  # nginx does respond: 502
                self.assertIn(answer.done["reason"], reasons, row)
                self.assertTrue(answer.text.startswith(begins), (row, answer.text))
            else:
                self.assertEqual(answer.text, outcomes.ANSWERS[row][2])
        self.assertEqual(client.ask("play:ok").text, outcomes.ANSWERS["ok"][2])

    def test_http1_after_a_first_moment_over_kept_connections(self):
        lines = self.ask_three(self.nginx(), "h1")
        self.assertEqual({line[1] for line in lines}, {"HTTP/1.1"})
        self.assertLessEqual(len({line[0] for line in lines}), 2, lines)

    def test_tls_sessions_are_resumed(self):
        lines = self.ask_three(self.nginx("keepalive_timeout 0;"), "h1")
        self.assertGreaterEqual(len({line[0] for line in lines}), 3, lines)
        self.assertIn("r", [line[2] for line in lines])

    def test_through_a_proxy(self):
        tunnel = Tunnel()
        cloud = self.cloud("ok", tls=self.certs.context("good"))
        port = cloud.address[1]
        daemon = self.daemon({**NEUTRAL, "cloud": {
            "url": f"https://localhost:{port}/v1", "model": "m", "ca_file": self.certs.ca,
            "proxy": tunnel.url}})
        self.assertEqual(self.client(daemon).ask("q").text, TEXT, daemon.log())
        self.assertIn(("CONNECT", f"localhost:{port}"), tunnel.asked)

    def test_ipv6(self):
        try:
            cloud = self.cloud("ok", host="::1")
        except OSError:
            self.skipTest("no IPv6")
        daemon = self.daemon(NEUTRAL, cloud=cloud)
        self.assertEqual(self.client(daemon).ask("q").text, TEXT, daemon.log())


class Several(harness.Case):
    def setup_two(self, first, second, timeouts=None, **keys):
        clouds = [self.cloud(first), self.cloud(second)]
        endpoints = [harness.Daemon.endpoint(cloud) for cloud in clouds]
        daemon = self.daemon({**NEUTRAL, "deadlines": timeouts or {}, "cloud": {
            **endpoints[0], **keys}, "cloud.spare": endpoints[1]})
        return clouds, daemon, self.client(daemon)

    def test_failover_and_open_circuit(self):
        clouds, daemon, client = self.setup_two("http-503", "ok")
        for _ in range(5):
            self.assertEqual(client.ask("q").text, TEXT)
        # on a slow machine its pause may end, and it is tried again
        self.assertIn(len(clouds[0].requests), (3,) if harness.SLOW == 1 else (3, 4, 5))
        self.assertEqual(len(clouds[1].requests), 5)
        if harness.SLOW == 1:
            self.assertEqual([e["health"] for e in daemon.status()["cloud"]], ["down", "ok"])

    def test_an_open_circuit_is_probed_again(self):
        clouds, daemon, client = self.setup_two("http-503", "ok")
        for _ in range(3):
            client.ask("q")
        self.assertEqual(daemon.status()["cloud"][0]["health"], "down")
        clouds[0].play("answer [[ok]] back again.")
        while (text := client.ask("q").text) == TEXT:  # for 2 s at first
            self.assertEqual(len(clouds[0].requests), 3)
        self.assertEqual(text, harness.OPENER + " back again.")
        self.assertEqual([e["health"] for e in daemon.status()["cloud"]], ["ok", "ok"])

    def test_while_it_is_probed_the_others_are_asked(self):
        clouds, daemon, client = self.setup_two("http-503", "ok", timeouts={
            "first_byte_ms": 20000})
        for _ in range(3):
            client.ask("q")
        clouds[0].play("stall")
        probes = []
        while len(clouds[0].requests) == 3:
            probes.append(client.start("q"))
            client.read_until(lambda: probes[-1].terminal or len(clouds[0].requests) > 3)
        self.assertEqual(daemon.status()["cloud"][0]["health"], "probing")
        for _ in range(3):
            self.assertEqual(client.ask("q").text, TEXT)
        self.assertEqual(len(clouds[0].requests), 4)
        self.assertEqual(daemon.status()["cloud"][0]["health"], "probing")

    def test_hedge(self):
        clouds, daemon, client = self.setup_two("ok", "answer [[ok]] from the second.",
                                                hedge="yes")
        for _ in range(8):  # as many as give it a p95
            self.assertEqual(client.ask("q").text, TEXT)
        self.assertEqual(len(clouds[1].requests), 0)
        clouds[0].play("stall")
        answer = client.ask("q")
        self.assertEqual(answer.text, harness.OPENER + " from the second.")
        self.assertNotIn("retrying", [e["code"] for e in answer.of("notice")])
        self.assertTrue(clouds[0].await_state(lambda c: c.requests[-1].ended == "gone"))
        self.assertEqual(daemon.status()["cloud"][0]["failures"], 0)

    def test_without_hedge_only_the_first_is_asked(self):
        clouds, _, client = self.setup_two("ok", "answer [[ok]] from the second.")
        for _ in range(8):
            client.ask("q")
        clouds[0].play("wait 700\nanswer [[ok]] late.")
        self.assertEqual(client.ask("q").text, harness.OPENER + " late.")
        self.assertEqual(len(clouds[1].requests), 0)

    def test_figures(self):
        clouds, daemon, client = self.setup_two("wait 60\nopen\nwait 60\nanswer [[ok]] so.", "ok")
        for _ in range(4):
            client.ask("q")
        first, second = daemon.status()["cloud"]
        self.assertEqual((first["requests"], first["failures"]), (4, 0))
        for name in ("first_byte_ewma_ms", "first_byte_p50_ms", "first_byte_p95_ms"):
            self.assertGreaterEqual(first[name], 60, name)
        self.assertGreaterEqual(first["first_text_p50_ms"], 120)
        self.assertLessEqual(first["first_byte_p50_ms"], first["first_byte_p95_ms"])
        self.assertEqual((second["requests"], second["first_byte_p50_ms"]), (0, 0))

    def test_no_failover_once_text_was_seen(self):
        clouds, _, client = self.setup_two("error-late", "ok")
        self.assertEqual(client.ask("q").done["reason"], "truncated")
        self.assertEqual(clouds[1].requests, [])


class Pace(harness.Case):
    """words = auto: as many words as bridge the wait for this cloud."""

    def words(self, scenario):
        cloud = self.cloud(scenario)
        daemon = self.daemon({"opener": {"words": "auto", "min_words": 2, "max_words": 8}},
                             cloud=cloud)
        client = self.client(daemon)
        answers = [client.ask("tell me of the sea", medium="speech") for _ in range(2)]
        return [len(answer.opener.split()) for answer in answers], answers[-1].done["timing"]["gap"]

    def test_a_quick_cloud_needs_few_words(self):
        words, gap = self.words("ok")
        self.assertLess(words[1], 8)
        self.assertIsNotNone(gap)

    def test_a_slow_cloud_needs_many(self):
        words, gap = self.words("wait 3500\nanswer [[ok]] so it is.")
        self.assertEqual(words[1], 8)
        self.assertGreater(gap, 0)  # eight words take 3.2 s to say


if __name__ == "__main__":
    harness.main()
