#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Ask ulmd a question: the wire in Python, without any library.

usage: ask.py QUESTION            (the socket: $ULMD_SOCKET, or where ulmd listens by default)
"""
import json
import os
import socket
import sys

PLACES = [os.environ.get("ULMD_SOCKET"), "/run/ulmd/ulmd.sock",
          os.path.join(os.environ.get("XDG_RUNTIME_DIR", "/nonexistent"), "ulmd.sock")]


def ask(path, question, show):
    """Calls show(text so far) after every change; returns the terminal event."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.connect(path)
        request = {"op": "ask", "id": "1", "text": question}
        connection.sendall(json.dumps(request).encode() + b"\n")
        text = ""
        for line in connection.makefile("rb"):
            event = json.loads(line)
            if event["event"] in ("opener", "delta"):
                text += event["text"]
            elif event["event"] == "retract":
                text = text[:-event["chars"]]
            elif event["event"] in ("done", "error"):
                return event
            show(text)
    raise ConnectionError("ulmd closed the connection")


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    path = PLACES[0] or next((p for p in PLACES[1:] if os.path.exists(p)), PLACES[1])
    try:
        end = ask(path, sys.argv[1], lambda text: print(f"\r\033[K{text}", end="", flush=True))
    except OSError as error:
        sys.exit(f"{path}: {error.strerror or error}")
    if end["event"] == "error":
        sys.exit(f"{end['code']}: {end['message']}")
    print(f"\r\033[K{end['text']}\n({end['reason']}, {end['source']}, "
          f"first word after {end['timing']['first_word']} ms)")


if __name__ == "__main__":
    main()
