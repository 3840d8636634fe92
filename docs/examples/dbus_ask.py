#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Ask ulmd over D-Bus with dbus-next.   usage: dbus_ask.py QUESTION

A user's own ulmd: DBUS_SYSTEM_BUS_ADDRESS=$DBUS_SESSION_BUS_ADDRESS dbus_ask.py QUESTION
"""
import asyncio
import os
import sys

from dbus_next import BusType, Variant
from dbus_next.aio import MessageBus

NAME, PATH = "org.ulmd.Assistant1", "/org/ulmd/Assistant1"
XML = os.environ.get("ULMD_XML", "/usr/share/dbus-1/interfaces/org.ulmd.Assistant1.xml")


async def main(question):
    bus = await MessageBus(bus_type=BusType.SYSTEM).connect()
    with open(XML, encoding="utf-8") as xml:
        ulmd = bus.get_proxy_object(NAME, PATH, xml.read()).get_interface(NAME)
    text, end = "", asyncio.get_running_loop().create_future()

    def append(_id, more):
        nonlocal text
        text += more
        print(f"\r\033[K{text}", end="", flush=True)

    def retract(_id, chars):
        nonlocal text
        text = text[:-chars]

    # Before Ask, so that no signal is missed. Only this connection gets them.
    ulmd.on_opener(append)
    ulmd.on_delta(append)
    ulmd.on_retract(retract)
    ulmd.on_done(lambda _id, result: end.set_result(result["reason"].value))
    ulmd.on_error(lambda _id, code, message: end.set_exception(RuntimeError(f"{code}: {message}")))
    await ulmd.call_ask(question, {"context": Variant("as", ["asked from Python"])})
    print(f"\n({await end})")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
