#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Socket activation whose first request is always right: systemd-socket-activate listens, a client
asks, and only that starts the daemon.

    tests/torture/activate.py [--times 1000] [--tiny]

Every start is a new process with the shipped model (--tiny, and behind ULMD_WRAP: the small random
one). The client that starts it is in turn one that sends its whole line, one that sends byte by byte,
one that ends its input right behind it (as socat does), one that says hello first, and eight that come
at once. Each must get the answer that the first one got, event for event, and SIGTERM must end the
daemon with 0.
"""
import argparse
import os
import statistics
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))
import harness  # noqa: E402

QUESTION = "What is the capital of Peru?"


def connect(daemon):
    """The socket is there soon after the activator is."""
    until = time.monotonic() + harness.WAIT
    while True:
        try:
            return daemon.client()
        except (FileNotFoundError, ConnectionRefusedError):
            assert daemon.process.poll() is None, daemon.log()
            assert time.monotonic() < until, "the activator never listened"
            time.sleep(0.001)


def whole(user):
    return user.start(QUESTION)


def byte_by_byte(user):
    answer = user.answers["q1"] = harness.Answer("q1")
    for byte in b'{"op":"ask","id":"q1","text":"%s"}\n' % QUESTION.encode():
        user.send(bytes([byte]))
    return answer


def ends_its_input(user):
    answer = user.start(QUESTION)
    user.half_close()
    return answer


def says_hello(user):
    user.send({"op": "hello", "id": "h"})
    return user.start(QUESTION)


WAYS = (whole, byte_by_byte, ends_its_input, says_hello, whole)


def shape(answer):
    """What must be the same each time: all but the times."""
    return [{key: value for key, value in event.items() if key != "timing"}
            for event in answer.events]


def one_start(daemon, number):
    """The clients of one start: (their answers, milliseconds until the first word)."""
    daemon.process = None
    if os.path.exists(daemon.socket):
        os.unlink(daemon.socket)
    daemon.start(connect=False)
    way = WAYS[number % len(WAYS)]
    first = connect(daemon)
    began = time.monotonic()
    users = [first] + [connect(daemon) for _ in range(7 if number % len(WAYS) == 4 else 0)]
    answers = [way(user) for user in users]
    first.read_until(lambda: answers[0].events)
    took = (time.monotonic() - began) * 1000
    for user, answer in zip(users, answers):
        user.finish(answer)
        if way is says_hello:
            assert [e["event"] for e in user.loose] == ["hello"], user.loose
        user.close()
    daemon.process.terminate()
    assert daemon.wait() == 0, daemon.log()
    return answers, took


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--times", type=int, default=1000)
    parser.add_argument("--tiny", action="store_true")
    args = parser.parse_args()
    tiny = args.tiny or harness.WRAP  # behind a wrapper a start takes long enough as it is
    model = harness.tiny_model() if tiny else harness.shipped_model()
    daemon = harness.Daemon(model=model or harness.tiny_model(), start=False)
    daemon.socket = os.path.join(daemon.dir, "given")
    daemon.wrap = ["systemd-socket-activate", "-l", daemon.socket, *harness.WRAP]
    expected, asked, times = None, 0, []
    try:
        for number in range(args.times):
            try:
                answers, took = one_start(daemon, number)
            except AssertionError:
                print(f"start {number}: {daemon.log()[-2000:]}", file=sys.stderr)
                raise
            times.append(took)
            for answer in answers:
                expected = expected or shape(answer)
                assert answer.done["reason"] == "local" and answer.opener, answer.events
                assert shape(answer) == expected, (number, shape(answer), expected)
                asked += 1
        print(f"{args.times} starts by systemd-socket-activate: {asked} first requests, all of them "
              f"answered alike; connected to first word {statistics.median(times):.0f} ms in the "
              f"median, {max(times):.0f} ms at most")
    finally:
        daemon.stop()


main()
