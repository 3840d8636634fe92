# SPDX-License-Identifier: MIT
"""A python-dbusmock template that stands in for ulmd, so that apps can be tested without it.

    python3 -m dbusmock --session --template dbusmock_ulmd.py

SetAnswer(opener, text, strategy) of org.freedesktop.DBus.Mock sets the answer to the next questions;
strategy is "ok", "pivot", "fix" or "redo". As with the daemon, signals go to the asker alone, after
the reply, and each Ask gets exactly one Done.
"""
import dbus
from gi.repository import GLib

from dbusmock import MOCK_IFACE

BUS_NAME = "org.ulmd.Assistant1"
MAIN_OBJ = "/org/ulmd/Assistant1"
MAIN_IFACE = "org.ulmd.Assistant1"
SYSTEM_BUS = True


def load(mock, parameters):
    mock.opener = parameters.get("Opener", "The answer to that is")
    mock.rest = parameters.get("Text", " 42.")
    mock.strategy = parameters.get("Strategy", "ok")
    mock.count = 0
    mock.open_ids = {}
    mock.AddProperties(MAIN_IFACE, {"Version": "0.1.0", "Model": parameters.get("Model", "mock"),
                                    "State": parameters.get("State", "ready")})


def send(mock, sender, name, signature, *args):
    mock.EmitSignalDetailed(MAIN_IFACE, name, signature, list(args), {"destination": sender})


def words(text):
    first, *others = text.split(" ")
    return [first] + [" " + word for word in others]


def finish(mock, sender, ident, reason, text):
    if not mock.open_ids.pop((sender, ident), None):
        return
    result = {"reason": reason, "source": "mixed" if text else "local", "text": text,
              "timing": dbus.Dictionary({"first_word": 20.0, "total": 50.0}, signature="sd")}
    if reason == "complete":
        result["verdict"] = mock.strategy
    result = dbus.Dictionary(result, signature="sv")
    send(mock, sender, "Done", "sa{sv}", ident, result)


def answer(mock, sender, ident):
    if (sender, ident) not in mock.open_ids:
        return False
    opener, text = mock.opener, mock.opener
    for word in words(opener):
        send(mock, sender, "Opener", "ss", ident, word)
    send(mock, sender, "Opened", "ssd", ident, opener, -0.4)
    if mock.strategy != "ok":
        send(mock, sender, "Repair", "ssuu", ident, mock.strategy, dbus.UInt32(0),
             dbus.UInt32(len(opener)))
    if mock.strategy == "redo":
        send(mock, sender, "Retract", "su", ident, dbus.UInt32(len(opener)))
        text = ""
    send(mock, sender, "Delta", "ss", ident, mock.rest)
    finish(mock, sender, ident, "complete", text + mock.rest)
    return False


@dbus.service.method(MAIN_IFACE, in_signature="sa{sv}", out_signature="s", sender_keyword="sender")
def Ask(self, text, options, sender=None):
    if not text.strip():
        raise dbus.exceptions.DBusException("`text` must be a string that is not blank",
                                            name="org.ulmd.Error.BadRequest")
    self.count += 1
    ident = str(options.get("id", f"ask-{self.count}"))
    if (sender, ident) in self.open_ids:
        raise dbus.exceptions.DBusException("a request with this id is open",
                                            name="org.ulmd.Error.BadRequest")
    self.open_ids[(sender, ident)] = True
    GLib.idle_add(answer, self, sender, ident)
    return ident


@dbus.service.method(MAIN_IFACE, in_signature="ssa{sv}", out_signature="")
def Draft(self, ident, text, options):
    pass


@dbus.service.method(MAIN_IFACE, in_signature="su", out_signature="")
def Played(self, ident, count):
    pass


@dbus.service.method(MAIN_IFACE, in_signature="s", out_signature="", sender_keyword="sender")
def Cancel(self, ident, sender=None):
    if (sender, ident) not in self.open_ids:
        raise dbus.exceptions.DBusException("no request with this id is open",
                                            name="org.ulmd.Error.NotFound")
    finish(self, sender, ident, "cancelled", "")


@dbus.service.method(MAIN_IFACE, in_signature="s", out_signature="")
def Reset(self, session):
    pass


@dbus.service.method(MAIN_IFACE, in_signature="", out_signature="a{sv}")
def Status(self):
    return dbus.Dictionary({"version": "0.1.0", "counters": dbus.Dictionary(
        {"asks": dbus.Int64(self.count)}, signature="sv")}, signature="sv")


@dbus.service.method(MOCK_IFACE, in_signature="sss", out_signature="")
def SetAnswer(self, opener, text, strategy):
    self.opener, self.rest, self.strategy = opener, text, strategy
