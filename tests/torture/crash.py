#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Crash only: kill -9 at random moments under load, and socket activation brings it back.

    tests/torture/crash.py [--times 200] [--seed N]

The listening socket stays with this program, as it would with systemd. Each time: clients that were
connected see a plain end of their connection, those that come while it is down are served by the next
process, and the state directory holds whole files only.
"""
import argparse
import json
import os
import random
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))
import harness  # noqa: E402
import standin  # noqa: E402


def check_state(folder):
    for name in os.listdir(folder):
        if name.endswith(".json"):
            with open(os.path.join(folder, name), encoding="utf-8") as file:
                json.load(file)


def settle(user, end=False):
    """Reads until the client is served or its connection ends (with end: only that), be it inside a
    line."""
    def served():
        return user.loose or any(answer.events for answer in user.answers.values())
    try:
        user.read_until(lambda: user.eof or not end and served())
    except harness.Violation as error:
        if "inside a line" not in str(error):
            raise
        user.eof = True


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--times", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    chance = random.Random(args.seed)

    cloud = standin.Standin()
    cloud.play("endless")
    cloud.for_prefill = ("status 400\nfail invalid_request_error This model does not support "
                         "assistant message prefill.")
    daemon = harness.Daemon(harness.NEUTRAL, cloud=cloud, dialect="anthropic", start=False)
    daemon.sections["cloud"]["mode"] = "prefill"  # learned anew each time: the state is written
    daemon.write_config()
    daemon.activate()
    waiting, served, cut = [], 0, 0
    try:
        for number in range(args.times):
            early = daemon.client()  # comes while it is down
            early.send({"op": "hello", "id": "early"})
            daemon.start(connect=False)
            waiting.append(early)
            if number % 2:
                # those that were connected see the end, those that were not yet taken are served
                for user in waiting:
                    settle(user)
                    served += not user.eof
                    cut += user.eof
                    user.close()
                waiting = []
            for _ in range(4):
                waiting.append(daemon.client())
                waiting[-1].start("question")
            taken = None
            if chance.random() < 0.7:  # else it is killed while it starts
                taken = waiting.pop()
                settle(taken)
            time.sleep(chance.random() * 0.05)
            daemon.process.kill()
            daemon.process.wait()
            if taken:  # in the middle of its answer
                settle(taken, end=True)
                cut += 1
                taken.close()
            check_state(daemon.state_dir)
            if number % 10 == 9:  # so that it is written again
                for name in os.listdir(daemon.state_dir):
                    os.unlink(os.path.join(daemon.state_dir, name))
        daemon.start(connect=False)
        cloud.play("ok")
        user = daemon.client()
        answer = user.ask("question")
        assert answer.done["reason"] == "complete", answer.events
        print(f"killed {args.times} times: {cut} clients saw their connection end, {served} that had "
              "not been taken yet were served by the next process, the state was whole each time")
    finally:
        daemon.stop()


main()
