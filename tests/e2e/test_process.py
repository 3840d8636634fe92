# SPDX-License-Identifier: MIT
"""The daemon as a process: signals, activation, readiness, configuration, models, idleness."""
import ctypes
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import time
import unittest

import harness
from harness import NEUTRAL, OPENER as O


def built_with(feature):
    """Whether the build has a feature, as meson told us; on where nobody told."""
    return os.environ.get("ULMD_HAVE_" + feature, "1") == "1"


class Signals(harness.Case):
    def test_term_while_streaming(self):
        cloud = self.cloud("endless")
        daemon = self.daemon(NEUTRAL, cloud=cloud)
        user = self.client(daemon)
        answers = [user.start(f"q{i}") for i in range(4)]
        user.read_until(lambda: all(a.has("delta") for a in answers))
        daemon.signal(signal.SIGTERM)
        user.read_to_end()
        self.assertEqual([a.done["reason"] for a in answers], ["cancelled"] * 4)
        self.assertEqual(daemon.wait(), 0)
        self.assertFalse(os.path.exists(daemon.socket), "the socket stayed behind")

    def test_int_ends_it_too(self):
        daemon = self.daemon(NEUTRAL)
        daemon.signal(signal.SIGINT)
        self.assertEqual(daemon.wait(), 0)

    def test_hup_reads_the_configuration_again(self):
        daemon = self.daemon({"opener": {"min_confidence": "-0.000001", "neutral": "Before that"}})
        user = self.client(daemon)
        self.assertTrue(user.ask("q").text.startswith("Before that"))
        daemon.sections["opener"]["neutral"] = "After that"
        daemon.write_config()
        daemon.signal(signal.SIGHUP)
        until = time.monotonic() + harness.WAIT
        while not user.ask("q").text.startswith("After that"):
            self.assertLess(time.monotonic(), until, daemon.log())

    def test_the_model_file_says_when_it_is_unsure(self):
        """Without a word of configuration; `off` takes it away, `model` brings it back."""
        daemon = self.daemon(model=os.path.join(harness.DATA, "reference", "tiny-f32.gguf"))
        user = self.client(daemon)
        texts = ("Say that thing then:", "What is it then", "You say the thing")
        said = user.ask("what is it").opener
        self.assertIn(said, texts)
        self.assertEqual(daemon.status()["counters"]["opener_neutral"], 1)
        for setting, neutral in (("off", False), ("model", True)):
            daemon.sections["opener"]["min_confidence"] = setting
            daemon.write_config()
            daemon.signal(signal.SIGHUP)
            until = time.monotonic() + harness.WAIT
            while (user.ask("what is it").opener in texts) != neutral:
                self.assertLess(time.monotonic(), until, daemon.log())

    def test_hup_with_a_bad_configuration_changes_nothing(self):
        daemon = self.daemon(NEUTRAL)
        user = self.client(daemon)
        daemon.sections["opener"]["min_wrods"] = "4"
        daemon.write_config()
        daemon.signal(signal.SIGHUP)
        daemon.await_log("min_wrods")
        self.assertTrue(user.ask("q").text.startswith(O))

    def test_hup_names_the_keys_that_wait_for_a_start(self):
        """Each that differs from what the daemon runs with, as long as it does."""
        daemon = self.daemon()
        user = self.client(daemon)
        due = "as before until the next start: "

        def reload(**keys):
            daemon.sections["daemon"].update(keys)
            daemon.write_config()
            before, until = len(daemon.log()), time.monotonic() + harness.WAIT
            daemon.signal(signal.SIGHUP)
            while "configuration read again" not in daemon.log()[before:]:
                self.assertLess(time.monotonic(), until, daemon.log())
                user.request("hello")
            user.request("hello")  # another turn of its loop: all that the reload says is said
            return daemon.log()[before:]

        daemon.sections["model"]["threads"] = 2
        self.assertIn(due + "[daemon] log_text, [model] threads\n", reload(log_text="yes"))
        self.assertIn(due + "[daemon] log_text, [model] threads\n", reload())
        self.assertIn(due + "[model] threads\n", reload(log_text="no"))
        del daemon.sections["model"]["threads"]
        self.assertNotIn(due, reload())

    def test_hup_while_streaming_harms_nothing(self):
        cloud = self.cloud("open\nwait 300\nsay [[ok]] slow\nwait 300\nsay \" but sure.\"\nfinish stop\nend")
        daemon = self.daemon(NEUTRAL, cloud=cloud)
        user = self.client(daemon)
        answer = user.start("q")
        user.read_until(lambda: answer.has("opened"))
        daemon.signal(signal.SIGHUP)
        user.finish(answer)
        self.assertEqual(user.ask("again").done["reason"], "complete")

    def test_pipe_and_unknown_clients(self):
        """A client that goes between request and answer is no SIGPIPE."""
        daemon = self.daemon(NEUTRAL)
        for _ in range(20):
            user = daemon.client()
            user.send({"op": "status"})
            user.close()
        self.assertEqual(self.client(daemon).request("hello")["event"], "hello")


class Socket(harness.Case):
    def test_mode(self):
        daemon = self.daemon({"daemon": {"socket_mode": "0600"}})
        self.assertEqual(stat.S_IMODE(os.stat(daemon.socket).st_mode), 0o600)
        daemon = self.daemon()
        self.assertEqual(stat.S_IMODE(os.stat(daemon.socket).st_mode), 0o660)

    def test_a_stale_socket_is_replaced(self):
        daemon = self.daemon(start=False)
        stale = socket.socket(socket.AF_UNIX)
        stale.bind(daemon.socket)
        stale.close()
        daemon.start()
        self.assertEqual(self.client(daemon).request("hello")["event"], "hello")

    def test_a_living_daemon_is_not_pushed_aside(self):
        first = self.daemon()
        second = self.daemon(start=False)
        second.sections["daemon"]["socket"] = first.socket
        second.write_config()
        status, said = second.run()
        self.assertEqual(status, 1, said)
        self.assertEqual(self.client(first).request("hello")["event"], "hello")

    def test_a_file_in_its_place_is_not_removed(self):
        daemon = self.daemon(start=False)
        with open(daemon.socket, "w", encoding="ascii") as file:
            file.write("precious")
        status, _ = daemon.run()
        self.assertEqual(status, 1)
        with open(daemon.socket, encoding="ascii") as file:
            self.assertEqual(file.read(), "precious")

    def test_uids_that_are_not_allowed_are_denied(self):
        daemon = self.daemon({"daemon": {"allow_uids": "54321"}}, start=False)
        daemon.start()
        user = self.client(daemon)
        try:
            user.send({"op": "hello"})
        except (BrokenPipeError, ConnectionResetError):
            pass
        user.read_to_end()
        self.assertEqual([e["code"] for e in user.loose], ["denied"])


@unittest.skipUnless(built_with("SYSTEMD"), "built without systemd")
class Systemd(harness.Case):
    def test_socket_activation(self):
        daemon = self.daemon(NEUTRAL, start=False)
        daemon.activate()
        daemon.start()
        self.assertTrue(self.client(daemon).ask("q").text.startswith(O))
        self.assertFalse(os.path.exists(daemon.sections["daemon"]["socket"]),
                         "it listened where nobody asked it to")
        daemon.signal(signal.SIGTERM)
        self.assertEqual(daemon.wait(), 0)
        self.assertTrue(os.path.exists(daemon.socket), "the socket belongs to systemd")

    @unittest.skipUnless(shutil.which("systemd-socket-activate"), "no systemd-socket-activate")
    def test_the_first_client_is_served(self):
        """A client that connects before the daemon runs gets its answer."""
        daemon = self.daemon(NEUTRAL, start=False)
        daemon.socket = os.path.join(daemon.dir, "given")
        daemon.wrap = ["systemd-socket-activate", "-l", daemon.socket, *harness.WRAP]
        daemon.start(connect=False)
        while True:  # the first connection that is taken starts it
            try:
                user = self.client(daemon)
                break
            except ConnectionRefusedError:
                self.assertIsNone(daemon.process.poll())
        self.assertTrue(user.ask("q").text.startswith(O))

    def notified(self, sock, what, found):
        """Reads notifications until one holds the text."""
        sock.settimeout(harness.WAIT)
        while True:
            message = sock.recv(4096).decode()
            found.append(message)
            if what in message:
                return message

    def listen(self, daemon, watchdog_usec):
        """The socket on which the daemon, not started yet, will notify."""
        address = os.path.join(daemon.dir, "notify")
        notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(notify.close)
        notify.bind(address)
        daemon.env.update(NOTIFY_SOCKET=address, WATCHDOG_USEC=str(watchdog_usec))
        return notify

    def test_ready_stopping_and_watchdog(self):
        daemon = self.daemon(NEUTRAL, start=False)
        notify = self.listen(daemon, watchdog_usec=400000)
        seen = []
        daemon.start()
        self.notified(notify, "READY=1", seen)
        self.assertTrue(self.client(daemon).ask("q").text.startswith(O))
        self.notified(notify, "WATCHDOG=1", seen)
        self.notified(notify, "WATCHDOG=1", seen)
        daemon.signal(signal.SIGHUP)
        self.notified(notify, "RELOADING=1", seen)
        self.notified(notify, "READY=1", seen)
        daemon.signal(signal.SIGTERM)
        self.notified(notify, "STOPPING=1", seen)
        self.assertEqual(daemon.wait(), 0)

    @unittest.skipIf(harness.WRAP, "NOT TESTED: a wrapper's threads are not the daemon's")
    @unittest.skipUnless(os.geteuid() == 0, "NOT TESTED: only root may stop the daemon's threads")
    def test_no_ping_while_the_worker_hangs(self):
        """The loop turns and answers, but a request runs and no token comes: no ping either."""
        daemon = self.daemon(NEUTRAL, start=False)
        notify = self.listen(daemon, watchdog_usec=200000)
        daemon.start()
        user = self.client(daemon)
        user.ask("q")
        self.notified(notify, "WATCHDOG=1", [])
        with Stopped(daemon.process.pid):
            answer = user.start("another")
            user.request("status")
            notify.settimeout(0.5)  # five times the pings' distance
            pings = 0
            with self.assertRaises(TimeoutError):
                while pings < 20:
                    notify.recv(4096)
                    pings += 1
            self.assertEqual(user.request("status")["requests"]["open"], 1)
            self.assertIsNone(answer.terminal)
        user.finish(answer)
        self.notified(notify, "WATCHDOG=1", [])


class Stopped:
    """All threads of a process but its first stand still, by ptrace(2), within this context."""

    SEIZE, INTERRUPT, DETACH, WALL = 0x4206, 0x4207, 17, 0x40000000

    def __init__(self, pid):
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.threads = [int(t) for t in os.listdir(f"/proc/{pid}/task") if int(t) != pid]

    def ptrace(self, request, thread):
        if self.libc.ptrace(request, thread, None, None) < 0:
            raise OSError(ctypes.get_errno(), f"ptrace {request:#x}")

    def __enter__(self):
        for thread in self.threads:
            self.ptrace(self.SEIZE, thread)
            self.ptrace(self.INTERRUPT, thread)
            os.waitpid(thread, self.WALL)

    def __exit__(self, *trouble):
        for thread in self.threads:
            self.ptrace(self.DETACH, thread)


class Configuration(harness.Case):
    def refused(self, *words, config=None, **options):
        """The daemon refuses its configuration with one line that holds these words."""
        daemon = self.daemon(config, start=False, **options)
        status, said = daemon.run()
        lines = [line for line in said.splitlines() if line.strip()]
        self.assertEqual(status, 1, said)
        self.assertEqual(len(lines), 1, said)
        for word in words:
            self.assertIn(word, lines[0])
        return lines[0]

    def test_unknown_key(self):
        line = self.refused("ulmd.conf", "min_wrods", config={"opener": {"min_wrods": 4}})
        self.assertRegex(line, r"ulmd\.conf:\d+")

    def test_unknown_section(self):
        self.refused("ulmd.conf", "openr", config={"openr": {"min_words": 4}})

    def test_values_out_of_range(self):
        for section, key, value in (
                ("opener", "max_words", "99"), ("opener", "min_words", "many"),
                ("deadlines", "idle_ms", "-1"), ("daemon", "max_requests", "0"),
                ("daemon", "socket_mode", "9999"), ("model", "context", "64"),
                ("opener", "words", "some"), ("corrections", "allow", "pivot,sing"),
                ("daemon", "log_level", "loud"), ("opener", "top_p", "1.5")):
            with self.subTest(f"{section}.{key}"):
                self.refused(key, config={section: {key: value}})

    def test_unknown_dialect(self):
        self.refused("dialect", config={"cloud": {"dialect": "smoke-signals",
                                                  "url": "https://example.com/v1", "model": "m"}})

    def test_user_info_in_the_url(self):
        line = self.refused("url", config={"cloud": {"url": "https://me:hunter2@example.com/v1",
                                                     "model": "m"}})
        self.assertNotIn("hunter2", line)

    def test_no_file(self):
        daemon = self.daemon(start=False)
        os.unlink(daemon.config_path)
        status, said = daemon.run()
        self.assertEqual(status, 1)
        self.assertIn("ulmd.conf", said)

    def test_check_config(self):
        daemon = self.daemon(NEUTRAL, start=False, args=["--check-config"])
        status, said = daemon.run()
        self.assertEqual(status, 0, said)
        daemon.sections["opener"]["beam"] = "oops"
        daemon.write_config()
        self.assertEqual(daemon.run()[0], 1)

    def test_check_config_tells_what_nobody_can_want(self):
        """And a start tells it too, which goes on."""
        keys = {"daemon": {"state_dir": "/nonexistent/state"}, "model": {"context": 4096},
                "cloud": {"url": "http://127.0.0.1:9/v1/chat/completions", "model": "m"}}
        daemon = self.daemon(keys, start=False, args=["--check-config"])
        status, said = daemon.run()
        *warnings, last = said.splitlines()
        self.assertEqual((status, last), (0, "ulmd: the configuration can be used"), said)
        for line, word in zip(warnings, ("[cloud] url: ", "[daemon] state_dir: ",
                                         "[model] context: 4096 is more than the model's own 512"),
                              strict=True):
            self.assertRegex(line, r"^ulmd: warning: /\S+/ulmd\.conf:\d+: ")
            self.assertIn(word, line)
        daemon.args = []
        daemon.start()
        for line in warnings:
            self.assertEqual(daemon.log().count(line + "\n"), 1)

    def test_check_config_knows_a_proxy(self):
        url = {"url": "http://127.0.0.1:9/v1", "allow_http": "yes", "model": "m"}
        for proxy in ("::::", "ftp://proxy:21", "http://", "socks6://h"):
            self.assertIn("[cloud] proxy is none that can be used",
                          self.check({**url, "proxy": proxy}, "cloud"))
        for proxy in ("proxy", "proxy:3128", "http://me:secret@proxy:3128", "socks5h://[::1]:1080"):
            daemon = self.daemon({"cloud": {**url, "proxy": proxy}}, start=False,
                                 args=["--check-config"])
            self.assertEqual(daemon.run(), (0, "ulmd: the configuration is fine\n"), proxy)

    def check(self, keys, section="daemon"):
        """--check-config with these keys: its one line, which names the file and a line."""
        daemon = self.daemon({section: keys}, start=False, args=["--check-config"])
        status, said = daemon.run()
        self.assertEqual((status, said.count("\n")), (1, 1), said)
        self.assertRegex(said, r"^ulmd: /\S+/ulmd\.conf:\d+: ")
        return said

    def test_check_config_looks_at_the_socket(self):
        self.assertIn("directory", self.check({"socket": "/nonexistent/folder/s"}))
        self.assertIn("is not a socket", self.check({"socket": "/etc/passwd"}))
        self.assertIn("107 bytes", self.check({"socket": "/tmp/" + "x" * 120}))
        self.assertIn("socket_group", self.check({"socket_group": "no-such-group"}))
        folder = tempfile.mkdtemp(prefix="ulmd-test-")
        self.addCleanup(os.rmdir, folder)
        os.chmod(folder, 0o777)
        self.assertIn("anybody may write", self.check({"socket": folder + "/s"}))
        daemon = self.daemon(start=False, args=["--check-config", "--socket", "/nonexistent/s"])
        self.assertEqual(daemon.run()[0], 1)

    def test_what_only_the_whole_shows_names_its_line(self):
        self.assertIn("https", self.check({"url": "http://example.com/v1", "model": "m"}, "cloud"))
        self.assertIn("max_words", self.check({"min_words": 7, "max_words": 5}, "opener"))

    def test_what_the_model_shows_names_its_key(self):
        with open(harness.ULMD, "rb") as program:
            strange = "neon" if program.read(20)[18] == 62 else "avx2"  # the ELF's machine: x86-64
        for key, value in (("path", "/nonexistent/none.gguf"), ("path", __file__),
                           ("kernels", strange), ("cores", "1000"), ("cores", "7-"),
                           ("system", "word " * 400)):
            with self.subTest(f"{key} = {value[:30]}"):
                self.assertIn(f": [model] {key}: ", self.check({key: value}, "model"))
                line = self.refused(f": [model] {key}: ", config={"model": {key: value}})
                self.assertRegex(line, r"/ulmd\.conf:\d+: ")
        daemon = self.daemon(start=False, args=["--check-config", "--model", "/nonexistent/m"])
        self.assertEqual(daemon.run(), (1, "ulmd: /nonexistent/m: No such file or directory\n"))

    def test_version(self):
        out = subprocess.run(harness.built(harness.ULMD, "--version"), check=True, stdout=subprocess.PIPE,
                             text=True).stdout
        self.assertRegex(out, r"^ulmd \d+\.\d+\.\d+")

    def test_wrong_arguments(self):
        for argument in "--sing", "sing":
            done = subprocess.run(harness.built(harness.ULMD, argument), check=False,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            self.assertEqual(done.returncode, 2, done.stdout)
            self.assertRegex(done.stdout, f"ulmd: un.*{argument}'?\\nusage: ")

    def test_semicolons_and_long_lines(self):
        """A value with " ;" in it and one beyond inih's own line length arrive whole."""
        text = "So it is ; as they say and " + "so " * 120 + "on"
        daemon = self.daemon({"opener": {"min_confidence": "-0.000001", "neutral": text}})
        self.assertTrue(self.client(daemon).ask("q").text.startswith(text))


class Keys(harness.Case):
    def key_file(self, daemon, mode=0o600, text="sk-planted-secret-0123\n"):
        path = os.path.join(daemon.dir, "key")
        with open(path, "w", encoding="ascii") as file:
            file.write(text)
        os.chmod(path, mode)
        return path

    def with_key(self, mode=0o600, **options):
        cloud = self.cloud("ok")
        daemon = self.daemon(NEUTRAL, cloud=cloud, start=False, **options)
        daemon.sections["cloud"]["key_file"] = self.key_file(daemon, mode)
        daemon.write_config()
        return cloud, daemon

    def test_it_is_sent(self):
        cloud, daemon = self.with_key()
        daemon.start()
        self.client(daemon).ask("q")
        self.assertEqual(cloud.requests[-1].headers["authorization"],
                         "Bearer sk-planted-secret-0123")

    def test_none_is_a_start(self):
        cloud = self.cloud("ok")
        self.client(self.daemon(NEUTRAL, cloud=cloud)).ask("q")
        self.assertNotIn("authorization", cloud.requests[-1].headers)

    def test_one_that_others_can_read_is_refused(self):
        for mode in (0o644, 0o640, 0o604):
            _, daemon = self.with_key(mode)
            status, said = daemon.run()
            self.assertEqual(status, 1, said)
            self.assertIn("key", said)
            self.assertNotIn("planted", said)

    def test_one_that_cannot_be_read(self):
        _, daemon = self.with_key()
        os.unlink(daemon.sections["cloud"]["key_file"])
        status, said = daemon.run()
        self.assertEqual(status, 1, said)
        self.assertEqual(len(said.splitlines()), 1, said)

    def test_file_named_by_the_environment(self):
        cloud = self.cloud("ok")
        daemon = self.daemon(NEUTRAL, cloud=cloud, start=False)
        daemon.env["ULMD_CLOUD_KEY_FILE"] = self.key_file(daemon)
        daemon.start()
        self.client(daemon).ask("q")
        self.assertEqual(cloud.requests[-1].headers["authorization"],
                         "Bearer sk-planted-secret-0123")

    def test_credential(self):
        cloud = self.cloud("ok")
        daemon = self.daemon(NEUTRAL, cloud=cloud, start=False)
        folder = os.path.join(daemon.dir, "credentials")
        os.mkdir(folder, 0o700)
        with open(os.path.join(folder, "ulmd.cloud-key"), "w", encoding="ascii") as file:
            file.write("sk-from-credential")
        os.chmod(os.path.join(folder, "ulmd.cloud-key"), 0o400)
        daemon.env["CREDENTIALS_DIRECTORY"] = folder
        daemon.start()
        self.client(daemon).ask("q")
        self.assertEqual(cloud.requests[-1].headers["authorization"], "Bearer sk-from-credential")


class Models(harness.Case):
    def refused(self, path):
        daemon = self.daemon(model=path, start=False)
        status, said = daemon.run()
        self.assertEqual(status, 1, said[-300:])
        self.assertEqual(len(said.strip().splitlines()), 1, said[-600:])
        return said

    def cut(self, size, patch=None):
        with open(harness.tiny_model(), "rb") as file:
            data = file.read()
        data = bytearray(data[:size] if size is not None else data)
        for at, value in (patch or {}).items():
            data[at] = value
        path = os.path.join(self.folder, "cut.gguf")
        with open(path, "wb") as file:
            file.write(data)
        return path, len(data)

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="ulmd-test-")
        self.addCleanup(shutil.rmtree, self.folder)

    def test_absent(self):
        self.assertIn("none.gguf", self.refused("/nonexistent/none.gguf"))

    def test_truncated(self):
        _, whole = self.cut(None)
        for size in (0, 3, 4, 24, 100, whole // 2, whole - 1):
            self.refused(self.cut(size)[0])

    def test_damaged_head(self):
        for at in (0, 4, 8, 15, 16, 23):
            self.refused(self.cut(None, {at: 0xEE})[0])

    def test_no_model_and_no_cloud(self):
        daemon = self.daemon(model=None)
        user = self.client(daemon)
        answer = user.ask("q")
        self.assertEqual(answer.terminal.get("code"), "no_model")
        self.assertIsNone(user.request("status")["model"])
        self.assertIn("no question can be answered: neither path in [model] nor url", daemon.log())


class Idle(harness.Case):
    @unittest.skipIf(harness.WRAP, "the wrapper makes system calls of its own")
    @unittest.skipIf(harness.TSAN, "the thread sanitizer's own thread makes system calls")
    @unittest.skipUnless(shutil.which("strace"), "no strace")
    def test_no_system_calls(self):
        cloud = self.cloud("ok")
        daemon = self.daemon({**NEUTRAL, "cloud": {"keepalive_s": 1}}, cloud=cloud)
        user = self.client(daemon)
        user.ask("q")
        user.close()
        daemon.await_status(lambda s: s["requests"]["open"] == 0)
        cloud.await_state(lambda c: c.open_connections == 0, 5)
        counts = os.path.join(daemon.dir, "counts")
        said = ""
        # what the last request left to be put away may still happen: a quiet spell must come
        for _ in range(6):
            done = subprocess.run(
                ["timeout", "-s", "INT", "3", "strace", "-c", "-f", "-o", counts,
                 "-p", str(daemon.process.pid)], check=False, stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE, text=True)
            if "Operation not permitted" in done.stderr:
                self.skipTest("strace may not attach here")
            with open(counts, encoding="utf-8") as file:
                said = file.read()
            if not re.search(r"total$", said, re.MULTILINE):
                return
        self.fail(said)

    @unittest.skipIf(harness.WRAP, "the wrapper has threads of its own")
    def test_no_thread_but_the_worker(self):
        daemon = self.daemon(NEUTRAL)
        self.client(daemon).ask("q")
        self.assertLessEqual(len(os.listdir(f"/proc/{daemon.process.pid}/task")), 3)

    def test_descriptors_do_not_pile_up(self):
        cloud = self.cloud("ok")
        daemon = self.daemon(NEUTRAL, cloud=cloud)

        def descriptors():
            return len(os.listdir(f"/proc/{daemon.process.pid}/fd"))

        for _ in range(3):
            self.client(daemon).ask("q")
        before = descriptors()
        for number in range(30):
            user = daemon.client()
            user.start("q") if number % 3 == 0 else user.ask("q")
            user.close()
        daemon.await_status(lambda s: s["requests"]["open"] == 0)
        self.assertLessEqual(descriptors(), before + 2)


if __name__ == "__main__":
    harness.main()
