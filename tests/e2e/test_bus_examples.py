# SPDX-License-Identifier: MIT
"""What docs/dbus.md offers to app authors: the examples and the shell lines against the daemon, and
the python-dbusmock template against what the daemon itself does."""
import os
import re
import shlex
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

import bus
import harness
from bus import NAME, PATH
from harness import NEUTRAL, OPENER as O

EXAMPLES = os.path.join(harness.ROOT, "docs", "examples")
XML = os.path.join(bus.CONF, "org.ulmd.Assistant1.xml")
ASKERS = {"dbus_ask.py": [sys.executable, os.path.join(EXAMPLES, "dbus_ask.py")],
          "dbus_ask.c": harness.built(os.environ["EXAMPLE_DBUS_ASK"])}


def on(system, command, **options):
    """Runs a command whose system and session bus is this one."""
    env = {**os.environ, "DBUS_SYSTEM_BUS_ADDRESS": system.address,
           "DBUS_SESSION_BUS_ADDRESS": system.address, "ULMD_XML": XML}
    return subprocess.run(command, check=False, stdin=subprocess.DEVNULL, capture_output=True,
                          encoding="utf-8", timeout=harness.WAIT, env=env, **options)


def shell_lines(command):
    """The lines of docs/dbus.md that begin with a command, comments off."""
    with open(os.path.join(harness.ROOT, "docs", "dbus.md"), encoding="utf-8") as file:
        lines = [re.sub(r"\s+(#.*|&)$", "", line.rstrip()) for line in file]
    found = [line for line in lines if line.startswith(command + " ")]
    if not found:
        raise AssertionError(f"docs/dbus.md has no line with {command}")
    return found


def methods_of(node):
    """{method: (what goes in, what comes out)} of the interface, in introspection XML."""
    found = {}
    for method in node.findall(f"interface[@name='{NAME}']/method"):
        ways = {"in": "", "out": ""}
        for argument in method.findall("arg"):
            ways[argument.get("direction", "in")] += argument.get("type")
        found[method.get("name")] = (ways["in"], ways["out"])
    return found


class Daemon(bus.ServedCase):
    def test_the_examples_ask(self):
        for name, command in ASKERS.items():
            with self.subTest(name):
                done = on(self.system, [*command, "what is it"])
                self.assertEqual(done.returncode, 0, done.stderr)
                self.assertIn(O + " a matter of patience, and of very little else.", done.stdout)
                self.assertEqual(self.upstream.requests[-1].question, "what is it")

    def test_an_example_that_is_not_served_says_so(self):
        self.server.stop()
        for name, command in ASKERS.items():
            with self.subTest(name):
                done = on(self.system, [*command, "what is it"])
                self.assertEqual(done.returncode, 1)
                self.assertRegex(done.stderr, "ServiceUnknown|not provided")

    def test_the_shell_lines(self):
        said = {}
        for line in shell_lines("busctl"):
            if " --user " in line:
                continue  # to the template: below
            done = on(self.system, shlex.split(line))
            self.assertEqual(done.returncode, 0, line + done.stderr)
            said[shlex.split(line)[1]] = done.stdout
        self.assertEqual(sorted(said), ["call", "introspect"])
        self.assertRegex(said["introspect"], r"(?m)^\.Ask +method +sa\{sv\} +s ")
        self.assertIn('"asks" x 0', said["call"])


class Template(bus.BusCase):
    def setUp(self):
        self.session = self.bus("session")
        line, = [l for l in shell_lines("python3") if "dbusmock" in l]
        command = shlex.split(line)
        template = command.index("docs/examples/dbusmock_ulmd.py")
        command[0], command[template] = sys.executable, os.path.join(EXAMPLES, "dbusmock_ulmd.py")
        log = open(os.path.join(self.session.dir, "mock.log"), "wb")
        self.addCleanup(log.close)
        self.mock = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            env={**os.environ, "DBUS_SESSION_BUS_ADDRESS": self.session.address})
        self.addCleanup(self.mock.wait, harness.WAIT)
        self.addCleanup(self.mock.terminate)
        self.user = self.caller(self.session)
        # dbusmock takes the name before the template has put its methods there
        def ready():
            if self.mock.poll() is not None:
                with open(log.name, encoding="utf-8") as said:
                    self.fail(said.read())
            try:
                return self.user.get("State") == "ready"
            except bus.Refused:
                return False
        while not ready():
            pass

    def set_answer(self, opener, text, strategy):
        self.user.call("SetAnswer", "sss", opener, text, strategy,
                       interface="org.freedesktop.DBus.Mock")

    def test_it_has_the_interface(self):
        served = ElementTree.fromstring(self.user.call(
            "Introspect", interface="org.freedesktop.DBus.Introspectable"))
        installed = ElementTree.parse(XML).getroot()
        self.assertEqual(methods_of(served), methods_of(installed))
        properties = [p.get("name") for p in
                      installed.findall(f"interface[@name='{NAME}']/property")]
        told = self.user.call("GetAll", "s", NAME, interface="org.freedesktop.DBus.Properties")
        self.assertEqual(sorted(told), sorted(properties))
        self.assertEqual({value.signature for value in told.values()}, {"s"})

    def test_it_answers_as_the_daemon_does(self):
        """The same signals with the same signatures in the same order, for each correction."""
        system, cloud = self.bus(), self.cloud()
        self.served(system, NEUTRAL, cloud=cloud)
        other = self.caller(system)
        for strategy in ("ok", "pivot", "fix", "redo"):
            with self.subTest(strategy):
                real = other.ask(f"play:{strategy}", id=strategy)
                rest = real.text if strategy == "redo" else real.text[len(O):]
                self.set_answer(O, rest, strategy)
                mocked = self.user.ask("anything", id=strategy)
                self.assertEqual(mocked.kinds, real.kinds)
                self.assertEqual(mocked.text, real.text)
                self.assertEqual(mocked.of("opener"), real.of("opener"))
                self.assertEqual(mocked.of("repair"), real.of("repair"))
                self.assertEqual(mocked.of("retract"), real.of("retract"))
                self.assertEqual(*[{(m.member, m.signature) for m in caller.signals}
                                   for caller in (self.user, other)])
                self.assertEqual(*[self.types(caller.signals[-1].body[1])
                                   for caller in (self.user, other)])

    @staticmethod
    def types(result):
        """{key: type} of a Done, the counts aside, which a cloud may not tell."""
        return {key: value.signature for key, value in result.items() if "tokens" not in key}

    def test_it_refuses_as_the_daemon_does(self):
        system, cloud = self.bus(), self.cloud("endless")
        self.served(system, NEUTRAL, cloud=cloud)
        for caller in (self.user, self.caller(system)):
            for error, member, signature, *body in (
                    ("BadRequest", "Ask", "sa{sv}", " ", {}),
                    ("NotFound", "Cancel", "s", "unknown")):
                with self.assertRaises(bus.Refused) as caught:
                    caller.call(member, signature, *body)
                self.assertEqual(caught.exception.args[0], "org.ulmd.Error." + error)
            for member, signature, *body in (
                    ("Draft", "ssa{sv}", "d", "what", {}), ("Reset", "s", "walk")):
                self.assertIsNone(caller.call(member, signature, *body))
            self.assertIn("counters", caller.call("Status"))

    def test_its_answers_go_to_the_asker_alone(self):
        nosy = self.caller(self.session)
        nosy.watch("type='signal'")
        self.user.ask("q")
        nosy.get("Version")
        self.assertEqual(nosy.signals, [])

    def test_the_examples_and_the_shell_lines_ask_it(self):
        self.set_answer("Well,", " it is so.", "ok")
        for name, command in ASKERS.items():
            with self.subTest(name):
                done = on(self.session, [*command, "what is it"])
                self.assertEqual(done.returncode, 0, done.stderr)
                self.assertIn("Well, it is so.", done.stdout)
        for line in [l for l in shell_lines("busctl") if " --user " in l]:
            done = on(self.session, shlex.split(line))
            self.assertEqual((done.returncode, done.stderr), (0, ""), line)


if __name__ == "__main__":
    harness.main()
