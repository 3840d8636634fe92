#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What the compiler and the linker can do against memory errors is in every program that is
installed, and in every object it is made of.

    hardening.py FORTIFIED BUILD PROGRAM...

FORTIFIED: yes or no; without optimisation, and with a sanitizer, nothing is. BUILD: the folder with
our objects.
"""
import glob
import os
import re
import subprocess
import sys

CONTROL_FLOW = {"X86-64": "IBT, SHSTK", "AArch64": "BTI, PAC"}  # by the machine's name in the file


def readelf(*args):
    return subprocess.run(["readelf", "-W", *args], check=True, stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, text=True, env={**os.environ, "LC_ALL": "C"}
                          ).stdout


def missing(program, fortified):
    """What this program lacks."""
    text = readelf("-h", "-l", "-d", program)
    symbols = readelf("--dyn-syms", program)
    stack = re.search(r"GNU_STACK.*", text)
    found = {
        "position independence": re.search(r"Type: +DYN", text),
        "a program that is loaded anywhere": ".so" in os.path.basename(program)
        or re.search(r"FLAGS_1\).*PIE", text),
        "relocations that are read-only": "GNU_RELRO" in text,
        "binding at the start": re.search(r"FLAGS\).*BIND_NOW|FLAGS_1\).*NOW", text),
        "a stack that is not executable": stack and "RWE" not in stack.group(0),
        "no segment to write and execute": not re.search(r"LOAD.* RWE ", text),
        # meson's own goes when it is installed
        "no search path of its own": not re.search(r"R(UN)?PATH\).*\[(?!\$ORIGIN)", text),
        "stack protection": "__stack_chk_fail" in symbols,
        "checked C library calls": not fortified or re.search(r"__\w+_chk\b", symbols),
    }
    return [name for name, there in found.items() if not there]


def unguarded(build):
    """Our objects without control-flow protection, where the machine has some."""
    objects = sorted(glob.glob(os.path.join(build, "src", "**", "*.o"), recursive=True))
    machine = re.search(r"Machine:.*?(X86-64|AArch64)", readelf("-h", objects[0]))
    if not machine:
        return [], 0
    want = CONTROL_FLOW[machine.group(1)]
    return [o for o in objects if want not in readelf("-n", o)], len(objects)


def main():
    fortified, build, programs = sys.argv[1] == "yes", sys.argv[2], sys.argv[3:]
    bad = 0
    for program in programs:
        lacks = missing(program, fortified)
        bad += bool(lacks)
        print(f"{program}: {'lacks ' + ', '.join(lacks) if lacks else 'fine'}")
    objects, count = unguarded(build)
    for name in objects:
        print(f"{name}: lacks control-flow protection")
    print(f"{count} objects, {len(objects)} of them without control-flow protection")
    return 1 if bad or objects else 0


sys.exit(main())
