# SPDX-License-Identifier: MIT
"""A socket that answers each request line with the events a test gives it."""
import json
import os
import socket
import tempfile
import threading


class FakeDaemon:
    """with FakeDaemon({"ask": [event, ...], "status": [...]}) as d: run something against d.path

    Events are dictionaries; "id": None in one is replaced by the request's id. The string "close"
    closes the connection, "cancel" waits for the next request line.
    """

    def __init__(self, script):
        self.script = script
        self.requests = []

    def __enter__(self):
        self.dir = tempfile.TemporaryDirectory(prefix="ulmd-fake-")
        self.path = os.path.join(self.dir.name, "ulmd.sock")
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(self.path)
        self.listener.listen(8)
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join(10)
        self.dir.cleanup()

    def serve(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            with connection, connection.makefile("rb") as lines:
                try:
                    self.talk(connection, lines)
                except (BrokenPipeError, ConnectionResetError):
                    pass

    def talk(self, connection, lines):
        for line in lines:
            request = json.loads(line)
            self.requests.append(request)
            for event in self.script.get(request["op"], []):
                if event == "close":
                    return
                if event == "cancel":
                    self.requests.append(json.loads(lines.readline()))
                    continue
                if "id" in event and event["id"] is None:
                    event = dict(event, id=request.get("id"))
                connection.sendall(json.dumps(event).encode() + b"\n")
