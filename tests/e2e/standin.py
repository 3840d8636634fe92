#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A stand-in cloud: plays scenarios over real HTTP/1.1, in the shape of each provider's stream.

As a module it is a server inside the test's process (class Standin). As a program it prints its
address and serves until its standard input ends:

    standin.py [--port N | --unix PATH] [--play NAME] [--tour FILE] [--delay MS] [--log FILE]

A scenario is a text file, one step a line, `#` starts a comment line, text arguments are taken to
the end of the line, or as a JSON string where they begin with a quotation mark:

    status N            status line (200)             header NAME: VALUE   one more header
    chunks N            body in chunks of N bytes     drip MS              pause between chunks
    say TEXT            one text event                words TEXT           one text event a word
    think TEXT          reasoning, never to be shown  refuse TEXT          text of a refusal
    finish stop|length|refused                        usage IN OUT | none  before `finish`
    end                 the end marker                answer TEXT          say, finish stop, end
    error KIND          an error inside the stream    body TEXT            a plain body, and its end
    ping N MS           N comment lines, MS apart     raw TEXT             bytes as they stand
    fill N              N bytes of text in one event  bomb N               N zero MiB, gzip
    wait MS             pause, watching the peer      stall                until the peer goes
    open                the headers, at once          fail KIND MESSAGE    an error body
    reset               TCP reset                     cut                  close without an ending
    bytes HEX           bytes that are no UTF-8       then                 the next attempt's steps
    half TEXT           an event broken off in it     broken TEXT          its event, no JSON
    spoilt TEXT         its event, {} is no UTF-8     escaped TEXT         its event, \\u escapes
    twice TEXT          its event, the member double  lines lf|cr|crlf     line ends from now on
    odd                 an event that nobody knows    repeat N "TEXT"      say it N times
    drown N TEXT        answer TEXT, with N MiB of zeros behind it, gzip
    layers N            N GiB that unpack to nothing, gzip in gzip in gzip

{opener} in an argument stands for the opener of the request, {opener:2} for its last two words.
The steps after `then` answer the second request with the same body: a retry. A request whose
question holds `play:NAME` is answered by scenarios/NAME.play.
"""
import argparse
import collections
import json
import os
import re
import select
import socket
import ssl
import struct
import sys
import threading
import time
import zlib

import dialects

HERE = os.path.dirname(os.path.abspath(__file__))
SCENARIOS = os.path.join(HERE, "scenarios")
DEFAULT = "answer [[ok]] one of those things that are best taken slowly."


class Gone(Exception):
    """The peer closed the connection."""


class BrokenOff(Exception):
    """The scenario breaks the connection off."""


class Request:
    """What one request was, and what became of its answer."""

    def __init__(self, number, connection, method, path, headers, body):
        self.number, self.connection = number, connection
        self.method, self.path, self.headers, self.body = method, path, headers, body
        try:
            self.json = json.loads(body) if body else None
        except ValueError:
            self.json = None
        self.system, self.history, self.frame = dialects.parse_request(path, self.json)
        self.ended = None  # "served", "gone" (the peer left first), "broken" (we broke it off)

    @property
    def question(self):
        return str(self.frame.get("request", ""))

    @property
    def opener(self):
        return str(self.frame.get("opener", ""))


def parse_scenario(text):
    """[[(verb, argument), ...], ...]: the steps of each take."""
    takes = [[]]
    for line in text.splitlines():
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        verb, _, argument = line.partition(" ")
        argument = argument.strip()
        if argument.startswith('"') and verb not in ("header", "body"):
            argument = json.loads(argument)
        if verb == "then":
            takes.append([])
        elif verb not in Player.VERBS:
            raise ValueError(f"unknown step: {line}")
        else:
            takes[-1].append((verb, argument))
    return takes


def load_scenario(name):
    with open(os.path.join(SCENARIOS, name + ".play"), encoding="utf-8") as file:
        return parse_scenario(file.read())


def zero_bomb(mebibytes):
    """Pieces of a gzip stream of so many MiB of zeros; its checksum is never reached."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    first, second = (packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
                     for _ in range(2))
    return [first] + [second] * (mebibytes - 1)


class Player:
    """Plays one take on one connection."""

    def __init__(self, sock, request):
        self.sock, self.opener = sock, request.opener
        self.shape = dialects.for_path(request.path)
        self.status, self.headers = 200, []
        self.chunk_bytes, self.drip_ms = 0, 0
        self.line_end = "\n"
        self.begun = self.started = self.ended = False

    def play(self, steps):
        for verb, argument in steps:
            self.VERBS[verb](self, re.sub(r"\{opener(?::(\d+))?\}", self._opener, argument))
        if not self.begun:
            self.body("")
        elif not self.ended:
            self.sock.sendall(b"0\r\n\r\n")

    def _opener(self, match):
        """{opener}, or {opener:N}: its last N words."""
        words = self.opener.split()
        return " ".join(words[-int(match.group(1)):] if match.group(1) else words)

    def _begin(self):
        if self.begun:
            return
        self.begun = True
        lines = [f"HTTP/1.1 {self.status} Stand-in"]
        if not any(h.lower().startswith("content-type:") for h in self.headers):
            lines.append("Content-Type: " + self.shape.content_type)
        lines += self.headers + ["Transfer-Encoding: chunked"]
        self.sock.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())

    def send(self, data):
        self._begin()
        step = self.chunk_bytes or len(data) or 1
        for i in range(0, len(data), step):
            piece = data[i:i + step]
            self.sock.sendall(b"%x\r\n%s\r\n" % (len(piece), piece))
            if self.drip_ms:
                self.pause(self.drip_ms)

    def emit(self, make, *arguments):
        """Sends what the dialect makes of the arguments; its opening goes before the first."""
        text = "" if self.started else self.shape.start()
        self.started = True
        text += make(*arguments)
        self.send(text.replace("\n", self.line_end).encode("utf-8", "surrogatepass"))

    def pause(self, ms):
        """Waits, and raises Gone as soon as the peer closes. None = until it does."""
        until = None if ms is None else time.monotonic() + ms / 1000
        while True:
            left = None if until is None else max(0, until - time.monotonic())
            if select.select([self.sock], [], [], left)[0]:
                if not self.sock.recv(4096):
                    raise Gone
            elif until is not None:
                return

    # the verbs

    def set_status(self, argument):
        self.status = int(argument)

    def header(self, argument):
        self.headers.append(argument)

    def chunks(self, argument):
        self.chunk_bytes = int(argument)

    def drip(self, argument):
        self.drip_ms = int(argument)

    def say(self, argument):
        self.emit(self.shape.text, argument)

    def words(self, argument):
        for word in re.findall(r"\s*\S+|\s+$", argument):
            self.say(word)

    def repeat(self, argument):
        count, _, text = argument.partition(" ")
        for _ in range(int(count)):
            self.say(json.loads(text))

    def think(self, argument):
        self.emit(self.shape.think, argument)

    def refuse(self, argument):
        self.emit(self.shape.refusal, argument)

    def usage(self, argument):
        self.shape.tokens = None if argument == "none" else tuple(map(int, argument.split()))

    def finish(self, argument):
        self.emit(self.shape.finish, argument or "stop")

    def end(self, argument):
        self.emit(self.shape.end)

    def answer(self, argument):
        self.say(argument)
        self.finish("stop")
        self.end("")

    def error(self, argument):
        # What a provider may put here must never reach a client or a log: secrets of the request.
        self.started = True
        self.emit(self.shape.error, argument, "PROVIDER-ERROR-TEXT " + argument)

    def body(self, argument):
        data = argument.encode()
        lines = [f"HTTP/1.1 {self.status} Stand-in"] + self.headers
        if not any(h.lower().startswith("content-type:") for h in self.headers):
            lines.append("Content-Type: application/json")
        lines.append(f"Content-Length: {len(data)}")
        self.begun = self.ended = True
        self.sock.sendall(("\r\n".join(lines) + "\r\n\r\n").encode() + data)

    def fail(self, argument):
        """A refusal in the dialect's shape: KIND MESSAGE."""
        kind, _, message = argument.partition(" ")
        self.body(self.shape.error_body(kind, message or "PROVIDER-ERROR-TEXT " + kind))

    def ping(self, argument):
        count, ms = map(int, argument.split())
        for _ in range(count):
            self.send(self.shape.ping().encode())
            self.pause(ms)

    def raw(self, argument):
        self.send(argument.encode("utf-8", "surrogatepass"))

    def raw_bytes(self, argument):
        self.send(bytes.fromhex(argument))

    def half(self, argument):
        """A text event up to the middle of its last word, or of a character there."""
        event = self.shape.text(argument).encode()
        self.send(event[:event.rindex(argument.encode()[-4:]) + 1])

    def broken(self, argument):
        self.emit(lambda: self.shape.text(argument).replace("{", "{nonsense ", 1))

    def spoilt(self, argument):
        before, after = self.shape.text(argument).split("{}")
        self.send(before.encode() + b"\xff\xfe\x80" + after.encode())

    def escaped(self, argument):
        event = self.shape.text(argument)
        self.emit(lambda: "".join(
            c if c < "\x80" else json.dumps(c)[1:-1] for c in event))

    def twice(self, argument):
        """The member that holds the text stands there twice; the last counts."""
        quoted = json.dumps(argument)
        self.emit(lambda: re.sub(r'("\w+"):' + re.escape(quoted), r'\1:"wrong",\1:' + quoted,
                                 self.shape.text(argument)))

    def odd(self, argument):
        """An event that nobody knows."""
        self.emit(self.shape.odd)

    def lines(self, argument):
        self.line_end = {"lf": "\n", "cr": "\r", "crlf": "\r\n"}[argument]

    def fill(self, argument):
        self.say("x" * int(argument))

    def bomb(self, argument):
        self.headers.append("Content-Encoding: gzip")
        for piece in zero_bomb(int(argument)):
            self.send(piece)

    def drown(self, argument):
        mebibytes, _, text = argument.partition(" ")
        self.headers.append("Content-Encoding: gzip")
        answer = "".join((self.shape.start(), self.shape.text(text), self.shape.finish("stop"),
                          self.shape.end()))
        packer = zlib.compressobj(9, zlib.DEFLATED, 31)
        first, zeros = (packer.compress(data) + packer.flush(zlib.Z_FULL_FLUSH)
                        for data in (answer.encode(), bytes(1 << 20)))
        self.send(first + zeros * int(mebibytes))

    def layers(self, argument):
        self.headers.append("Content-Encoding: gzip, gzip, gzip")
        middle, outer = (zlib.compressobj(9, zlib.DEFLATED, 31) for _ in range(2))

        def pack(data):
            packed = middle.compress(data) + middle.flush(zlib.Z_FULL_FLUSH)
            return outer.compress(packed) + outer.flush(zlib.Z_FULL_FLUSH)
        head = zlib.compressobj(9, zlib.DEFLATED, 31).flush()[:10]
        empty = b"\0\0\0\xff\xff" * (1 << 20)  # blocks of no bytes
        self.send(pack(head) + pack(empty) * (205 * int(argument)))

    def wait(self, argument):
        self.pause(int(argument))

    def stall(self, argument):
        self.pause(None)

    def open(self, argument):
        self._begin()

    def reset(self, argument):
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raise BrokenOff

    def cut(self, argument):
        raise BrokenOff

    VERBS = {
        "status": set_status, "header": header, "chunks": chunks, "drip": drip, "say": say,
        "words": words, "repeat": repeat, "think": think, "refuse": refuse, "usage": usage,
        "finish": finish, "end": end, "answer": answer, "error": error, "body": body,
        "ping": ping, "half": half, "broken": broken, "spoilt": spoilt, "escaped": escaped,
        "twice": twice, "odd": odd, "lines": lines, "raw": raw, "bytes": raw_bytes, "fill": fill,
        "bomb": bomb, "wait": wait, "stall": stall, "open": open, "fail": fail, "reset": reset,
        "cut": cut, "drown": drown, "layers": layers,
    }


class Tour:
    """Canned answers for the demo's questions; see tour.json."""

    def __init__(self, path, delay_ms):
        with open(path, encoding="utf-8") as file:
            self.answers = json.load(file)
        self.delay_ms = delay_ms

    def steps(self, request):
        entry = self.answers.get(request.question.strip())
        if entry is None:
            return [("status", "404"), ("body", "no canned answer for this question")]
        text = entry["without"] if not request.opener else entry["otherwise"]
        for opener, answer in entry.get("after", {}).items():
            if re.fullmatch(opener, request.opener.strip(), re.IGNORECASE):
                text = answer
                break
        if request.opener and request.frame.get("retractable") is False:
            text = text.replace("[[redo]] ", "[[fix]] , I mean, ")
        out = [("wait", str(self.delay_ms))]
        for word in re.findall(r"\s*\S+", text):
            out += [("say", word), ("wait", "40")]
        return out + [("finish", "stop"), ("end", "")]


class Standin:
    """The server. Threads, one for each connection; all of them are daemons."""

    def __init__(self, unix=None, port=0, host="127.0.0.1", tls=None, tour=None, log=None,
                 listener=None):
        self.lock = threading.Condition()
        self.requests = []         # every Request so far
        self.connections = 0       # accepted so far
        self.open_connections = 0
        self.scenario = parse_scenario(DEFAULT)
        self.by_question = []      # [(substring of the question, takes)]
        self.for_prefill = None    # text of a scenario for requests in prefill mode
        self.on_accept = None      # "reset", "close", "stall": before any request is read
        self.keep_records = True   # a soak run keeps none
        self._takes = collections.OrderedDict()
        self._tour, self._log, self._tls = tour, log, tls
        if listener:  # bound already, in a network of its own
            self.listener = listener
        elif unix:
            self.listener = socket.socket(socket.AF_UNIX)
            self.listener.bind(unix)
        else:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            self.listener = socket.socket(family)
            self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self.listener.bind((host, port))
        self.listener.listen(512)
        self.address = unix or self.listener.getsockname()[:2]
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self):
        if isinstance(self.address, str):
            return "http://localhost"
        host = f"[{self.address[0]}]" if ":" in self.address[0] else self.address[0]
        return f"{'https' if self._tls else 'http'}://{host}:{self.address[1]}"

    def play(self, scenario, when=None):
        """Answers with this scenario (a name, or its text where it has a space or a line break)
        from now on; with `when`, only questions that hold this text."""
        whole = re.search(r"\s", scenario) or scenario in Player.VERBS
        takes = parse_scenario(scenario) if whole else load_scenario(scenario)
        with self.lock:
            if when is None:
                self.scenario = takes
            else:
                self.by_question.insert(0, (when, takes))

    def await_state(self, predicate, timeout=30):
        """Waits until the predicate of this server holds; False when the time is out."""
        with self.lock:
            return self.lock.wait_for(lambda: predicate(self), timeout)

    def await_requests(self, count, timeout=30):
        return self.await_state(lambda s: len(s.requests) >= count, timeout)

    def close(self):
        # shutdown wakes the accepting thread; close alone would leave it in accept
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()

    def _accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._connection, args=(sock,), daemon=True).start()

    def _connection(self, sock):
        with self.lock:
            self.connections += 1
            self.open_connections += 1
            number = self.connections
            self.lock.notify_all()
        try:
            if self._faulty(sock):
                return
            if self._tls:
                sock = self._tls.wrap_socket(sock, server_side=True)
            if sock.family != socket.AF_UNIX:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with sock.makefile("rb") as reader:
                while self._request(sock, reader, number):
                    pass
        except (OSError, ValueError):
            pass
        finally:
            sock.close()
            with self.lock:
                self.open_connections -= 1
                self.lock.notify_all()

    def _faulty(self, sock):
        if self.on_accept == "reset":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        elif self.on_accept == "stall":
            while sock.recv(4096):
                pass
        return self.on_accept is not None

    def _request(self, sock, reader, connection):
        """Reads and answers one request; True where the connection can go on."""
        line = reader.readline(65536).decode("latin-1").split()
        if len(line) != 3:
            return False
        headers = {}
        while True:
            header = reader.readline(65536).decode("latin-1").rstrip("\r\n")
            if not header:
                break
            name, _, value = header.partition(":")
            headers[name.strip().lower()] = value.strip()
        body = reader.read(int(headers.get("content-length", 0)))
        if line[0] != "POST":  # no question: a client that makes its connection ready
            sock.sendall(b"HTTP/1.1 405 Stand-in\r\nContent-Length: 0\r\n\r\n")
            return True
        with self.lock:
            request = Request(len(self.requests), connection, line[0], line[1], headers, body)
            if self.keep_records:
                self.requests.append(request)
            steps = self._choose(request)
            self.lock.notify_all()
        self._write_log(request)
        ended = "broken"
        try:
            Player(sock, request).play(steps)
            ended = "served"
            return True
        except BrokenOff:
            return False
        except (Gone, OSError):
            ended = "gone"
            return False
        finally:
            with self.lock:
                request.ended = ended
                self.lock.notify_all()

    def _choose(self, request):
        if self._tour:
            return self._tour.steps(request)
        takes = self.scenario
        named = re.search(r"play:([a-z0-9-]+)", request.question)
        if named:
            takes = load_scenario(named.group(1))
        for text, chosen in self.by_question:
            if text in request.question:
                takes = chosen
                break
        if self.for_prefill and request.frame.get("prefill"):
            takes = parse_scenario(self.for_prefill)
        # attempts with the same body are told apart by their number
        attempt = self._takes.pop(request.body, 0)
        self._takes[request.body] = attempt + 1
        if len(self._takes) > 1000:
            self._takes.popitem(last=False)
        return takes[min(attempt, len(takes) - 1)]

    def _write_log(self, request):
        if self._log:
            headers = {k: v for k, v in request.headers.items()
                       if k not in ("authorization", "x-api-key")}
            print(json.dumps({"request": request.number, "path": request.path, "headers": headers,
                              "body": request.json}), file=self._log, flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--unix")
    parser.add_argument("--play", help="scenario for every request that names none")
    parser.add_argument("--tour", help="canned answers, a JSON file")
    parser.add_argument("--delay", type=int, default=1200, help="first-byte delay of the tour, ms")
    parser.add_argument("--log", help="file for one JSON line a request")
    args = parser.parse_args()
    tour = Tour(args.tour, args.delay) if args.tour else None
    log = open(args.log, "a", encoding="utf-8") if args.log else None
    cloud = Standin(unix=args.unix, port=args.port, tour=tour, log=log)
    cloud.keep_records = False
    if args.play:
        cloud.play(args.play)
    print(cloud.url, flush=True)
    while sys.stdin.buffer.read(4096):
        pass


if __name__ == "__main__":
    main()
