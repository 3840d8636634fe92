# SPDX-License-Identifier: MIT
"""A private D-Bus, and callers on it: what the tests of the bus stand on.

The bus is Debian's dbus-daemon with the rules of a system bus and ulmd's own policy file, so that a
call that the policy forbids fails here as it does on a device. Callers speak through dbus-next (the
package python3-dbus-next) and take every message that the bus gives them, asked for or not.
"""
import asyncio
import grp
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import threading
import time

from dbus_next import Message, MessageFlag, MessageType, Variant
from dbus_next.aio import MessageBus

import harness

NAME = "org.ulmd.Assistant1"
PATH = "/org/ulmd/Assistant1"
CONF = os.path.join(harness.ROOT, "conf")
EVENTS = {  # the members of each signal after the id, named as on the wire
    "Opener": ("text",), "Opened": ("opener", "confidence"), "Repair": ("strategy", "from", "to"),
    "Retract": ("chars",), "Delta": ("text",), "Notice": ("code",), "Done": ("result",),
    "Error": ("code", "message")}
TIMES = ("first_word", "opener", "cloud_sent", "cloud_first_byte", "cloud_first_text", "total",
         "gap")

# What Debian's system.conf allows and denies, without its paths, its user and its helper.
CONFIG = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>{kind}</type>
  <listen>unix:path={folder}/bus</listen>
  <auth>EXTERNAL</auth>
  <servicedir>{folder}/services</servicedir>
  <policy context="default">
    <allow user="*"/>
    <deny own="*"/>
    <deny send_type="method_call"/>
    <allow send_type="signal"/>
    <allow send_requested_reply="true" send_type="method_return"/>
    <allow send_requested_reply="true" send_type="error"/>
    <allow receive_type="method_call"/>
    <allow receive_type="method_return"/>
    <allow receive_type="error"/>
    <allow receive_type="signal"/>
    <allow send_destination="org.freedesktop.DBus"/>
  </policy>
  <policy user="{me}">
    <allow own="org.freedesktop.systemd1"/>
    <allow send_destination="org.freedesktop.systemd1"/>
  </policy>
  <include>{folder}/policy.conf</include>
</busconfig>
"""


def wire_event(message):
    """A signal as the event that the socket would bring."""
    name, body = message.member, message.body
    event = {"event": name.lower(), "id": body[0], **dict(zip(EVENTS[name], body[1:]))}
    if name == "Opened":
        event["words"] = len(event["opener"].split())
    if name == "Repair":
        event["span"] = [event.pop("from"), event.pop("to")]
    if name == "Done":
        result = {key: value.value for key, value in event.pop("result").items()}
        timing = result.pop("timing")
        usage = {key: result.pop(key) for key in ("input_tokens", "output_tokens") if key in result}
        event.update(result, timing={key: timing.get(key) for key in TIMES}, usage=usage or None,
                     verdict=result.get("verdict"))
    return event


class Refused(Exception):
    """A method returned an error; args: its name and its text."""


class Caller:
    """One connection to the bus. Messages are taken while it waits for something."""

    def __init__(self, address):
        self.loop = asyncio.new_event_loop()
        asyncio.set_event_loop(self.loop)  # dbus-next takes the present one
        self.bus = self.loop.run_until_complete(self._limited(MessageBus(address).connect()))
        self.bus.add_message_handler(self._take)
        self.messages, self.signals, self.answers = [], [], {}
        self.trouble = None  # a promise that a signal broke

    @staticmethod
    def _limited(awaitable):
        return asyncio.wait_for(awaitable, harness.WAIT)

    @property
    def name(self):
        return self.bus.unique_name

    def _take(self, message):
        self.messages.append(message)
        if message.message_type is not MessageType.SIGNAL or message.interface != NAME:
            return None
        self.signals.append(message)
        ident = message.body[0]
        if ident not in self.answers:  # signals follow the reply, but one turn may read both
            self.answers[ident] = harness.Answer(ident)
        try:
            self.answers[ident].take(wire_event(message))
        except Exception as trouble:  # which dbus-next would only log
            self.trouble = self.trouble or trouble
        return None

    def _run(self, awaitable):
        result = self.loop.run_until_complete(self._limited(awaitable))
        if self.trouble:
            raise self.trouble
        return result

    def call(self, member, signature="", *body, interface=NAME, to=NAME, path=PATH):
        """Calls a method and returns what it returned: nothing, one value or a list."""
        message = Message(destination=to, path=path, interface=interface, member=member,
                          signature=signature, body=list(body))
        outcome = self._outcome(self._run(self.bus.call(message)))
        if isinstance(outcome, Refused):
            raise outcome
        return outcome

    @staticmethod
    def _outcome(reply):
        if reply.message_type is MessageType.ERROR:
            return Refused(reply.error_name, reply.body[0] if reply.body else "")
        return reply.body[0] if len(reply.body) == 1 else reply.body or None

    def call_at_once(self, calls):
        """Sends calls (member, signature, *body) without waiting for a reply; then what each
        returned, or the Refused it got. Of those that returned an id, the Answer is kept."""
        async def gather():
            return await asyncio.gather(*[self.bus.call(Message(
                destination=NAME, path=PATH, interface=NAME, member=member, signature=signature,
                body=list(body))) for member, signature, *body in calls])
        outcomes = [self._outcome(reply) for reply in self._run(gather())]
        for ident in outcomes:
            if isinstance(ident, str):
                self.answers.setdefault(ident, harness.Answer(ident))
        return outcomes

    def call_bus(self, member, signature="", *body):
        return self.call(member, signature, *body, interface="org.freedesktop.DBus",
                         to="org.freedesktop.DBus", path="/org/freedesktop/DBus")

    def get(self, name):
        return self.call("Get", "ss", NAME, name,
                         interface="org.freedesktop.DBus.Properties").value

    def start(self, text, **options):
        """Asks; returns the Answer that fills while this caller waits. Options that are plain
        strings need no Variant."""
        options = {key: Variant("s", value) if isinstance(value, str) else value
                   for key, value in options.items()}
        ident = self.call("Ask", "sa{sv}", text, options)
        return self.answers.setdefault(ident, harness.Answer(ident))

    def ask(self, text, **options):
        return self.finish(self.start(text, **options))

    def finish(self, answer):
        self.until(lambda: answer.terminal, f"the end of {answer.id}: {answer.events!r}")
        return answer

    def until(self, predicate, what="a message"):
        async def wait():
            while not predicate():
                await asyncio.sleep(0.005)
        try:
            self._run(wait())
        except asyncio.TimeoutError:
            raise AssertionError(f"waited in vain for {what}") from None

    def changed(self, name):
        """The values of a property that were told as changed."""
        return [message.body[1][name].value for message in self.messages
                if message.member == "PropertiesChanged" and message.body[0] == NAME
                and name in message.body[1]]

    def watch(self, rule):
        self.call_bus("AddMatch", "s", rule)

    def close(self):
        if self.loop.is_closed():
            return
        self.bus.disconnect()
        try:
            self.loop.run_until_complete(self._limited(self.bus.wait_for_disconnect()))
        except (OSError, EOFError):
            pass  # the bus went first
        self.loop.close()


class Shouter(threading.Thread):
    """A connection that makes one call again and again, as fast as the bus takes it, and reads no
    reply."""

    def __init__(self, bus, member):
        super().__init__(daemon=True)
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(f"{bus.dir}/bus")
        self.sock.sendall(b"\0AUTH EXTERNAL %s\r\n" % str(os.getuid()).encode().hex().encode())
        self.sock.recv(4096)
        hello = Message(destination="org.freedesktop.DBus", path="/org/freedesktop/DBus",
                        interface="org.freedesktop.DBus", member="Hello", serial=1)
        self.sock.sendall(b"BEGIN\r\n" + hello._marshall(False))
        self.sock.recv(4096)
        self.call = Message(destination=NAME, path=PATH, interface=NAME, member=member, serial=2,
                            flags=MessageFlag.NO_REPLY_EXPECTED)._marshall(False)
        self.start()

    def run(self):
        try:
            while True:
                self.sock.sendall(self.call * 100)
        except OSError:
            pass  # closed

    def close(self):
        self.sock.shutdown(socket.SHUT_RDWR)
        self.join(harness.WAIT)
        self.sock.close()


class Bus:
    """A private dbus-daemon in its own folder. `services` are files of bus activation."""

    def __init__(self, kind="system", services=None, args=()):
        self.dir = tempfile.mkdtemp(prefix="ulmd-bus-")
        os.chmod(self.dir, 0o755)  # a caller may be another user
        self.address = f"unix:path={self.dir}/bus"
        me = pwd.getpwuid(os.geteuid()).pw_name
        self._write("bus.conf", CONFIG.format(kind=kind, folder=self.dir, me=me))
        self._write("policy.conf", self._policy(me))
        os.mkdir(os.path.join(self.dir, "services"))
        for name, text in (services or {}).items():
            self._write(os.path.join("services", name), text)
        self.args = args
        self.process = None
        self.start()

    def _write(self, name, text):
        with open(os.path.join(self.dir, name), "w", encoding="utf-8") as file:
            file.write(text)

    @staticmethod
    def _policy(me):
        """The policy that is installed, for a machine without the user ulmd: whoever runs the
        tests is the daemon's user, and the group of the user `daemon` is the one that may ask."""
        with open(os.path.join(CONF, "org.ulmd.Assistant1.conf"), encoding="utf-8") as file:
            text = file.read()
        group = grp.getgrgid(pwd.getpwnam("daemon").pw_gid).gr_name
        changed = text.replace('user="ulmd"', f'user="{me}"') \
            .replace('group="ulmd"', f'group="{group}"')
        if me != "root":
            changed = changed.replace('user="root"', f'user="{me}"')
        if changed.count("policy ") != text.count("policy ") or changed == text:
            raise AssertionError("the policy file is not what this test knows")
        return changed

    def start(self):
        with open(os.path.join(self.dir, "log"), "ab") as log:
            self.process = subprocess.Popen(
                ["dbus-daemon", f"--config-file={self.dir}/bus.conf", "--nofork", "--nopidfile",
                 "--nosyslog", *self.args], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        until = time.monotonic() + harness.WAIT
        while not self._listens():
            if self.process.poll() is not None or time.monotonic() > until:
                with open(os.path.join(self.dir, "log"), encoding="utf-8") as log:
                    raise AssertionError("dbus-daemon does not start: " + log.read())
            time.sleep(0.005)

    def _listens(self):
        """Between its bind and its listen there is a file that takes nobody in."""
        with socket.socket(socket.AF_UNIX) as sock:
            try:
                sock.connect(f"{self.dir}/bus")
            except OSError:
                return False
        return True

    def stop(self):
        self.process.terminate()
        self.process.wait(harness.WAIT)
        if os.path.exists(f"{self.dir}/bus"):
            os.unlink(f"{self.dir}/bus")

    def close(self):
        if self.process.poll() is None:
            self.stop()
        shutil.rmtree(self.dir, ignore_errors=True)


class BusCase(harness.Case):
    """A test with a bus, callers on it and daemons that serve it; all are put away at its end."""

    def bus(self, *args, **options):
        bus = Bus(*args, **options)
        self.addCleanup(bus.close)
        return bus

    def caller(self, bus):
        caller = Caller(bus.address)
        self.addCleanup(caller.close)
        return caller

    def served(self, bus, config=None, start=True, **options):
        """A daemon on this bus that has its name."""
        config = {**(config or {}), "daemon": {"dbus": "system"}}
        daemon = self.daemon(config, start=False, **options)
        daemon.env.update(DBUS_SYSTEM_BUS_ADDRESS=bus.address,
                          DBUS_SESSION_BUS_ADDRESS=bus.address)
        if start:
            daemon.start()
            daemon.await_log("D-Bus: serving as")
        return daemon


class ServedCase(BusCase):
    """The same with one daemon that serves a bus, and a cloud that is well."""

    def setUp(self):
        self.system = self.bus()
        self.upstream = self.cloud("ok")
        self.server = self.served(self.system, harness.NEUTRAL, cloud=self.upstream)
