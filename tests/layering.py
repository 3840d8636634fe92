#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Checks every #include of src/ and include/ against the layers of docs/hacking.md."""
import os
import re
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

# layer: (layers of ours it may include, third-party libraries it may use)
LAYERS = {
    "util": ({"util"}, set()),
    "engine": ({"util", "engine"}, {"openblas"}),
    "cloud": ({"util", "cloud"}, {"curl", "uv", "cjson"}),
    "core": ({"util", "core"}, set()),
    "front": ({"util", "core", "front"}, {"uv", "systemd", "cjson"}),
    "app": ({"util", "engine", "cloud", "core", "front", "app"}, {"uv", "systemd", "inih"}),
    "main.c": ({"util", "engine", "cloud", "core", "front", "app"}, {"uv", "systemd"}),
    "client": ({"util", "client"}, set()),
    "tools": ({"util", "engine", "client", "tools"}, {"cjson"}),
}
# headers of inline functions for those who use the library anyway
INLINE = {"src/util/cjson.h": {"cjson"}}
# the contracts in include/ulmd, by the lowest layer that may know them
CONTRACTS = {
    "limits.h": set(LAYERS), "request.h": set(LAYERS), "event.h": set(LAYERS),
    "client.h": {"client", "tools"},
    "engine.h": {"engine", "core", "app", "main.c", "tools", "front"},
    "cloud.h": {"cloud", "core", "app", "main.c", "front"},
    "session.h": {"core", "front", "app", "main.c"},
}
LIBRARIES = [("curl/", "curl"), ("uv.h", "uv"), ("uv/", "uv"), ("cjson/", "cjson"),
             ("cJSON", "cjson"), ("systemd/", "systemd"), ("ini.h", "inih"), ("cblas", "openblas"),
             ("openblas", "openblas"), ("check.h", "check")]
INCLUDE = re.compile(r'^\s*#\s*include\s+([<"])([^>"]+)[>"]')


def check(path, layer):
    ours, libraries = LAYERS[layer]
    libraries = libraries | INLINE.get(os.path.relpath(path, ROOT), set())
    folder = os.path.dirname(os.path.relpath(path, os.path.join(ROOT, "src")))
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            match = INCLUDE.match(line)
            if not match:
                continue
            quoted, name = match.group(1) == '"', match.group(2)
            where = f"{os.path.relpath(path, ROOT)}:{number}: {name}"
            if name.startswith("ulmd/"):
                if layer not in CONTRACTS.get(name[5:], set()):
                    yield f"{where}: {layer} may not know this contract"
                continue
            library = next((lib for prefix, lib in LIBRARIES if name.startswith(prefix)), None)
            if library:
                if library not in libraries:
                    yield f"{where}: {layer} may not use {library}"
                continue
            if quoted:
                head = name.split("/", 1)[0] if "/" in name else folder.split("/", 1)[0]
                if head in LAYERS and head not in ours:
                    yield f"{where}: {layer} may not include {head}"


def main():
    bad, seen = [], 0
    for top, _, names in os.walk(os.path.join(ROOT, "src")):
        for name in sorted(names):
            path = os.path.join(top, name)
            if not name.endswith((".c", ".h")):
                continue
            layer = os.path.relpath(path, os.path.join(ROOT, "src")).split("/", 1)[0]
            if layer not in LAYERS:
                bad.append(f"{path}: no layer of this name")
                continue
            seen += 1
            bad += check(path, layer)
    print("\n".join(bad) or f"{seen} files keep to the layers")
    sys.exit(1 if bad or not seen else 0)


main()
