# SPDX-License-Identifier: MIT
"""The daemon on a private bus: answers go to the asker alone, leaving cancels, activation, policy."""
import os
import pwd
import shutil
import signal
import subprocess
import sys
import unittest

from dbus_next import Variant

import bus
import harness
from bus import NAME, PATH
from harness import NEUTRAL, OPENER as O

OK = O + " a matter of patience, and of very little else."

# As another user: one call of a method, and the name of the error it returned, if any.
ASK_AS = """
import sys
sys.path.insert(0, sys.argv[1])
import bus
try:
    caller = bus.Caller(sys.argv[2])
    print("done" if caller.ask("who am I").terminal["event"] == "done" else "error")
except bus.Refused as refused:
    print(refused.args[0])
"""


class Answers(bus.ServedCase):
    def test_neither_of_two_callers_sees_the_others_answer(self):
        one, other = self.caller(self.system), self.caller(self.system)
        nosy = self.caller(self.system)
        for rule in ("type='signal'", f"type='signal',sender='{NAME}'",
                     f"type='signal',interface='{NAME}'", f"eavesdrop='true',sender='{NAME}'",
                     f"eavesdrop='true',destination='{one.name}'"):
            for listener in (other, nosy):
                listener.watch(rule)
        first = one.start("what does the first ask", id="same")
        second = other.start("what does the second ask", id="same")
        one.finish(first)
        other.finish(second)
        nosy.get("Version")  # what was sent before this reply has come by now
        for caller, answer in ((one, first), (other, second)):
            self.assertEqual(answer.text, OK)
            self.assertEqual(answer.done["verdict"], "ok")
            self.assertEqual(len(caller.signals), len(answer.events))
            self.assertEqual({m.destination for m in caller.signals}, {caller.name})
        self.assertEqual(nosy.signals, [])
        asked = {r.question for r in self.upstream.requests}
        self.assertEqual(asked, {"what does the first ask", "what does the second ask"})

    def test_an_answer_is_the_same_as_on_the_socket(self):
        caller, user = self.caller(self.system), self.client(self.server)
        for name in ("ok", "pivot", "fix", "redo"):
            for medium in ("display", "speech"):
                with self.subTest(f"{name} {medium}"):
                    question = f"{medium} play:{name}"
                    on_bus = caller.ask(question, medium=medium)
                    on_socket = user.ask(question, medium=medium)
                    self.assertEqual(on_bus.kinds, on_socket.kinds)
                    self.assertEqual(on_bus.text, on_socket.text)
                    for key in ("reason", "source", "verdict", "usage"):
                        self.assertEqual(on_bus.done[key], on_socket.done[key])
                    self.assertEqual([e["span"] for e in on_bus.of("repair")],
                                     [e["span"] for e in on_socket.of("repair")])

    def test_options_reach_the_cloud(self):
        caller = self.caller(self.system)
        caller.ask("and then", context=Variant("as", ["It is noon"]), retractable=Variant("b", False),
                   history=Variant("a(ss)", [["user", "before"], ["assistant", "that"]]))
        frame = self.upstream.requests[-1].frame
        self.assertEqual((frame["facts"], frame["retractable"]), (["It is noon"], False))
        self.assertIn("before", str(self.upstream.requests[-1].body))

    def test_a_session_is_kept_and_reset(self):
        caller = self.caller(self.system)
        session = {"session": "walk"}
        caller.ask("the first question", **session)
        caller.ask("the second question", **session)
        self.assertIn("the first question", str(self.upstream.requests[-1].body))
        self.assertIsNone(caller.call("Reset", "s", "walk"))
        caller.ask("the third question", **session)
        self.assertNotIn("the first question", str(self.upstream.requests[-1].body))

    def test_draft_and_played(self):
        self.upstream.play("open\nwait 200\nsay [[redo]] It\nsay \" is so.\"\nfinish stop\nend")
        caller = self.caller(self.system)
        self.assertIsNone(caller.call("Draft", "ssa{sv}", "d", "what is", {}))
        answer = caller.start("what is it", id="d")
        caller.until(lambda: answer.has("opened"))
        self.assertIsNone(caller.call("Played", "su", "d", 2))
        caller.finish(answer)
        # what was heard cannot be taken back
        self.assertEqual((answer.done["verdict"], answer.has("retract")), ("fix", False))

    def test_cancel(self):
        self.upstream.play("endless")
        caller = self.caller(self.system)
        answer = caller.start("go on and on", id="x")
        caller.until(lambda: answer.has("delta"))
        self.assertIsNone(caller.call("Cancel", "s", "x"))
        caller.finish(answer)
        self.assertEqual(answer.done["reason"], "cancelled")
        with self.assertRaisesRegex(bus.Refused, "org.ulmd.Error.NotFound"):
            caller.call("Cancel", "s", "x")

    def test_nobody_cancels_anothers_request(self):
        self.upstream.play("endless")
        one, other = self.caller(self.system), self.caller(self.system)
        answer = one.start("go on", id="x")
        one.until(lambda: answer.has("delta"))
        with self.assertRaisesRegex(bus.Refused, "org.ulmd.Error.NotFound"):
            other.call("Cancel", "s", "x")
        self.assertIsNone(answer.terminal)

    def test_a_caller_that_leaves_cancels(self):
        self.upstream.play("endless")
        caller = self.caller(self.system)
        answers = [caller.start("go on") for _ in range(3)]
        caller.until(lambda: all(a.has("delta") for a in answers))
        caller.close()
        status = self.server.await_status(lambda s: s["requests"]["open"] == 0, "no open request")
        self.assertEqual(status["counters"]["asks"], 3)
        self.assertTrue(self.upstream.await_state(lambda c: c.open_connections == 0, harness.WAIT),
                        "the cloud is still being read")

    def test_mistakes_harm_no_open_request(self):
        self.upstream.play("open\nwait 200\nsay [[ok]] fine.\nfinish stop\nend")
        caller = self.caller(self.system)
        answer = caller.start("a good question", id="good")
        for error, member, signature, *body in (
                ("BadRequest", "Ask", "sa{sv}", " ", {}),
                ("BadRequest", "Ask", "sa{sv}", "q", {"id": Variant("s", "good")}),
                ("BadRequest", "Ask", "sa{sv}", "q", {"max_words": Variant("s", "many")}),
                ("TooLong", "Ask", "sa{sv}", "x" * 20000, {}),
                ("NotFound", "Played", "su", "other", 1),
                ("BadRequest", "Reset", "s", "")):
            with self.subTest(f"{member} {error}"):
                with self.assertRaises(bus.Refused) as caught:
                    caller.call(member, signature, *body)
                self.assertEqual(caught.exception.args[0], "org.ulmd.Error." + error)
        with self.assertRaisesRegex(bus.Refused, "org.freedesktop.DBus.Error"):
            caller.call("Ask", "u", 1)
        with self.assertRaisesRegex(bus.Refused, 'medium` must be "display" or "speech"'):
            caller.call("Ask", "sa{sv}", "q", {"medium": Variant("s", "tv")})
        caller.finish(answer)
        self.assertEqual(answer.done["reason"], "complete")

    def test_status_is_that_of_the_socket(self):
        caller = self.caller(self.system)
        caller.ask("q")
        status = {key: value.value for key, value in caller.call("Status").items()}
        counters = {key: value.value for key, value in status["counters"].items()}
        self.assertEqual(counters, self.server.status()["counters"])
        self.assertEqual((counters["asks"], status["requests"]["open"].value), (1, 0))

    def test_calls_at_once_before_it_is_known_who_asks(self):
        """Some may be refused as too many; whatever got an id gets its one end."""
        caller = self.caller(self.system)
        outcomes = caller.call_at_once([("Ask", "sa{sv}", f"q{i}", {}) for i in range(40)])
        taken = [o for o in outcomes if not isinstance(o, bus.Refused)]
        self.assertEqual({o.args[0] for o in outcomes if isinstance(o, bus.Refused)}
                         - {"org.ulmd.Error.Busy"}, set())
        self.assertGreaterEqual(len(taken), 16)
        for ident in taken:
            self.assertEqual(caller.finish(caller.answers[ident]).text, OK)
        self.assertEqual(sorted(caller.answers), sorted(taken))

    def test_options_that_nobody_can_read(self):
        """A message may be as large as the bus lets it be: what is too much is not looked at."""
        caller = self.caller(self.system)
        few = {"new": Variant("as", ["x"] * 100), "newer": Variant("a{sv}", {"a": Variant("y", 1)})}
        self.assertEqual(caller.ask("q", **few).text, OK)
        for options in ({f"o{i}": Variant("y", 1) for i in range(2000)},
                        {"new": Variant("as", ["x"] * 2000)},
                        {"new": Variant("a(ss)", [["x", "y"]] * 1000)},
                        {"x" * 100000: Variant("as", ["x"] * 2000)}):
            with self.assertRaises(bus.Refused) as refused:
                caller.start("q", **options)
            self.assertEqual(refused.exception.args[0], "org.ulmd.Error.TooLong")
            self.assertLess(len(refused.exception.args[1]), 100)

    def test_a_flood_of_calls_keeps_nobody_waiting(self):
        """Callers who shout faster than they can be served take the others' turn from nobody."""
        for _ in range(3):
            self.addCleanup(bus.Shouter(self.system, "Status").close)
        user = self.client(self.server)
        for _ in range(20):
            self.assertEqual(user.ask("is it my turn").text, OK)


class Life(bus.BusCase):
    def test_properties_tell_a_reload_and_the_end(self):
        system, cloud = self.bus(), self.cloud("endless")
        server = self.served(system, NEUTRAL, cloud=cloud)
        caller = self.caller(system)
        caller.watch(f"type='signal',sender='{NAME}',member='PropertiesChanged'")
        self.assertRegex(caller.get("Version"), r"^\d+\.\d+\.\d+$")
        self.assertEqual((caller.get("Model"), caller.get("State")),
                         (server.status()["model"]["name"], "ready"))
        section = server.sections.pop("cloud")
        server.write_config()
        server.signal(signal.SIGHUP)
        caller.until(lambda: caller.changed("State") == ["local-only"], "the state after a reload")
        self.assertEqual(caller.ask("q").done["reason"], "local")
        server.sections["cloud"] = section
        server.write_config()
        server.signal(signal.SIGHUP)
        caller.until(lambda: caller.changed("State")[1:] == ["ready"], "the state after another")
        answer = caller.start("go on")
        caller.until(lambda: answer.has("delta"))
        server.signal(signal.SIGTERM)
        caller.until(lambda: caller.changed("State")[2:] == ["stopping"], "the end being told")
        self.assertEqual(caller.finish(answer).done["reason"], "cancelled")
        self.assertEqual(server.wait(), 0)

    def test_log_level(self):
        """What `systemctl service-log-level` does."""
        system = self.bus()
        server = self.served(system, NEUTRAL)
        log = ["busctl", "--address", system.address]
        where = [NAME, "/org/freedesktop/LogControl1", "org.freedesktop.LogControl1", "LogLevel"]
        subprocess.run([*log, "set-property", *where, "s", "debug"], check=True, timeout=harness.WAIT)
        told = subprocess.run([*log, "get-property", *where], check=True, timeout=harness.WAIT,
                              capture_output=True, text=True).stdout
        self.assertEqual(told.strip(), 's "debug"')
        self.client(server).ask("q")
        server.await_log("connected")  # which only this level tells

    def test_without_a_bus_the_socket_serves(self):
        server = self.daemon({**NEUTRAL, "daemon": {"dbus": "system"}}, start=False)
        server.env["DBUS_SYSTEM_BUS_ADDRESS"] = "unix:path=/nonexistent/bus"
        server.start()
        self.assertTrue(self.client(server).ask("q").text.startswith(O))
        self.assertIn("D-Bus is not served: no system bus at unix:path=/nonexistent/bus (No such "
                      "file or directory); `dbus = no` silences this\n", server.log())

    def test_a_bus_that_comes_later_is_served(self):
        """As where nothing says in which order they start. Its end is no harm either."""
        system = self.bus()
        system.stop()
        server = self.served(system, NEUTRAL, start=False)
        server.start()
        self.assertIn("D-Bus is not served", server.log())
        system.start()
        server.await_log("D-Bus: serving as")
        self.assertTrue(self.caller(system).ask("q").text.startswith(O))
        system.stop()
        server.await_log("the bus is lost")

    def test_a_bus_that_goes_takes_only_its_callers(self):
        system, cloud = self.bus(), self.cloud("endless")
        server = self.served(system, NEUTRAL, cloud=cloud)
        caller = self.caller(system)
        answer = caller.start("go on")
        caller.until(lambda: answer.has("delta"))
        system.stop()
        server.await_log("the bus is lost")
        server.await_status(lambda s: s["requests"]["open"] == 0)
        cloud.play("ok")
        self.assertEqual(self.client(server).ask("q").text, OK)

    def test_a_bus_that_comes_back_is_served_again(self):
        system, cloud = self.bus(), self.cloud("ok")
        server = self.served(system, NEUTRAL, cloud=cloud)
        for times in (2, 3):
            self.caller(system).start("go on")
            system.stop()
            system.start()
            server.await_log("D-Bus: serving as", times)
            self.assertEqual(self.caller(system).ask("q").text, OK)
        self.assertEqual(server.log().count("the bus is lost"), 2)

    def test_a_taken_name_is_told(self):
        system = self.bus()
        self.served(system, NEUTRAL)
        second = self.served(system, NEUTRAL, start=False)
        second.start()
        second.await_log("D-Bus: no name")
        self.assertTrue(self.client(second).ask("q").text.startswith(O))

    @unittest.skipUnless(os.geteuid() == 0, "NOT TESTED: other users need root")
    def test_who_may_ask(self):
        """The installed policy: members of the group may, others may not; uids go to the limits."""
        system = self.bus()
        server = self.served(system, {**NEUTRAL})
        folder = os.path.dirname(os.path.abspath(__file__))
        for name, said in (("daemon", "done"), ("nobody", "org.freedesktop.DBus.Error.AccessDenied")):
            user = pwd.getpwnam(name)
            done = subprocess.run([sys.executable, "-c", ASK_AS, folder, system.address], check=True,
                                  user=user.pw_uid, group=user.pw_gid, extra_groups=[], cwd="/",
                                  capture_output=True, text=True, timeout=harness.WAIT)
            self.assertEqual(done.stdout.strip(), said, name + done.stderr)
        server.sections["daemon"]["allow_uids"] = "nobody"
        server.write_config()
        server.signal(signal.SIGHUP)
        server.await_log("configuration read again")
        for call in (lambda: self.caller(system).start("q"),
                     lambda: self.caller(system).call("Status")):
            self.assertRaisesRegex(bus.Refused, "org.ulmd.Error.Denied", call)


class Activation(bus.BusCase):
    def service_file(self, name):
        with open(os.path.join(bus.CONF, name), encoding="utf-8") as file:
            return file.read()

    def test_systemd_is_asked_for_the_unit(self):
        """The installed service file: the first call makes the bus ask systemd for ulmd.service,
        and is answered once the daemon has the name. The test stands in for systemd."""
        system = self.bus(services={
            NAME + ".service": self.service_file("org.ulmd.Assistant1.service")},
            args=["--systemd-activation"])
        systemd = self.caller(system)
        systemd.call_bus("RequestName", "su", "org.freedesktop.systemd1", 0)
        server = self.served(system, NEUTRAL, start=False)
        asker = subprocess.Popen(["busctl", "--address", system.address, "--timeout",
                                  str(int(harness.WAIT)), "call", NAME, PATH, NAME, "Status"],
                                 stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        self.addCleanup(asker.stdout.close)
        requests = "org.freedesktop.systemd1.Activator"
        systemd.until(lambda: any(m.interface == requests for m in systemd.messages),
                      "the bus to ask for the unit")
        asked = [m.body for m in systemd.messages if m.interface == requests]
        self.assertEqual(asked, [["ulmd.service"]])
        server.start()
        self.assertEqual(asker.wait(harness.WAIT), 0)
        self.assertIn('"asks" x 0', asker.stdout.read())

    def test_a_bus_without_systemd_starts_it(self):
        """A service file that names the daemon itself, as an image without systemd has."""
        folder = self.daemon(NEUTRAL, start=False)  # its configuration; the bus starts it
        folder.sections["daemon"]["dbus"] = "session"
        folder.write_config()
        log = os.path.join(folder.dir, "log")
        command = " ".join([*harness.WRAP, harness.ULMD, "--config", folder.config_path])
        script = os.path.join(folder.dir, "start")
        with open(script, "w", encoding="utf-8") as file:
            file.write(f"#!/bin/sh\nexport ULMD_DATADIR={bus.CONF}\necho $$ >{folder.dir}/pid\n"
                       f"exec {command} >>{log} 2>&1\n")
        os.chmod(script, 0o755)
        session = self.bus("session", services={
            NAME + ".service": f"[D-BUS Service]\nName={NAME}\nExec={script}\n"})
        caller = self.caller(session)
        self.assertTrue(caller.ask("the first question").text.startswith(O))
        with open(os.path.join(folder.dir, "pid"), encoding="ascii") as file:
            pid = int(file.read())
        caller.watch("type='signal',sender='org.freedesktop.DBus',member='NameOwnerChanged'")
        os.kill(pid, signal.SIGTERM)
        caller.until(lambda: any(m.member == "NameOwnerChanged" and m.body[0] == NAME
                                 and not m.body[2] for m in caller.messages), "its end")
        self.assertTrue(caller.ask("one that starts it again", id="again").text.startswith(O))
        with open(os.path.join(folder.dir, "pid"), encoding="ascii") as file:
            os.kill(int(file.read()), signal.SIGTERM)
        caller.until(lambda: sum(m.member == "NameOwnerChanged" and m.body[0] == NAME
                                 and not m.body[2] for m in caller.messages) == 2, "its end")


if __name__ == "__main__":
    if not shutil.which("dbus-daemon"):
        sys.exit("dbus-daemon is missing (scripts/deps test)")
    harness.main()
