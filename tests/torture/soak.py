#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Load and soak: many connections, requests mixed with every fault, for minutes or for days.

    tests/torture/soak.py --minutes 60 [--rate 10] [--connections 500] [--model FILE]

Every request must get its one terminal event, memory and descriptors must not drift. Prints one
line a minute, and at the end one JSON line; the exit status is 1 where a promise was broken.
All of it stays on loopback. ULMD names the daemon's program.
"""
import argparse
import glob
import json
import os
import random
import statistics
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))
import harness  # noqa: E402
import standin  # noqa: E402

LATEST_END = 12.0  # seconds: total_ms below, and room for a busy machine


class Soak:
    def __init__(self, args):
        self.args = args
        self.lock = threading.Lock()
        self.ended, self.missed, self.busy, self.broken = 0, [], 0, []
        self.first_words, self.running, self.peak = [], 0, 0
        self.told, self.cut = 0, 0  # readers that do not read
        self.cloud = standin.Standin()
        self.cloud.keep_records = False
        limits = {"max_clients": args.connections + 400, "max_requests": 64}
        self.daemon = harness.Daemon({
            "daemon": limits,
            "deadlines": {"first_byte_ms": 1500, "first_text_ms": 2500, "thinking_ms": 800,
                          "stalled_ms": 800, "idle_ms": 2000, "total_ms": 6000}},
            cloud=self.cloud, model=args.model or harness.shipped_model() or "tiny")
        faults = sorted(os.path.basename(p)[:-5]
                        for p in glob.glob(os.path.join(standin.SCENARIOS, "*.play")))
        self.faults = [f for f in faults if f != "bomb"]  # its making costs the load generator

    def one(self, number, chance, name=None):
        """One request on a connection of its own."""
        name = name or ("ok" if chance.random() < 0.6 else chance.choice(self.faults))
        end = chance.random()
        user = None
        try:
            user = self.daemon.client()
            answer = user.start(f"Question {number} about play:{name}",
                                medium=chance.choice(["display", "speech"]),
                                **({"session": f"s{number % 20}"} if end < 0.3 else {}))
            if end > 0.95:  # this client leaves in the middle
                user.read_until(lambda: answer.events, LATEST_END)
                return
            if end > 0.9:
                user.send({"op": "cancel", "id": answer.id})
            user.finish(answer, LATEST_END)
            with self.lock:
                self.ended += 1
                self.busy += answer.terminal.get("code") == "busy"
                if answer.terminal["event"] == "done":
                    first = answer.done["timing"]["first_word"]
                    if first is not None:
                        self.first_words.append(first)
        except harness.Violation as error:
            self.broken.append(f"{name}: {error}"[:500])
        except (AssertionError, OSError) as error:
            self.missed.append(f"{name}: {error}"[:500])
        finally:
            if user:
                user.close()
            with self.lock:
                self.running -= 1

    def sample(self):
        """Memory in KiB, and descriptors but for connections kept to the cloud, which come and go."""
        pid = self.daemon.process.pid
        with open("/proc/net/tcp", encoding="ascii") as file:
            kept = {f"socket:[{line.split()[9]}]" for line in file}
        with open(f"/proc/{pid}/status", encoding="ascii") as file:
            rss = next(int(line.split()[1]) for line in file if line.startswith("VmRSS"))
        names = [os.path.join(f"/proc/{pid}/fd", fd) for fd in os.listdir(f"/proc/{pid}/fd")]
        return rss, sum(os.readlink(name) not in kept for name in names)

    def quiet_sample(self):
        """A sample with nothing open, so that two of them can be compared."""
        until = time.monotonic() + 60
        while self.running and time.monotonic() < until:
            time.sleep(0.1)
        self.daemon.await_status(lambda s: s["requests"]["open"] == 0)
        return self.sample()

    def spawn(self, work, *args):
        with self.lock:
            self.running += 1
        threading.Thread(target=work, args=args, daemon=True).start()

    def ask_one(self):
        self.number += 1
        self.spawn(self.one, self.number, random.Random(self.number))

    def crowd(self):
        """As many at once as the daemon takes, none of which ends soon."""
        stalls = ["stall-tag", "stall-open", "stall-text", "pings", "slow"]
        for i in range(64):
            self.number += 1
            self.spawn(self.one, self.number, random.Random(self.number), stalls[i % len(stalls)])
        until = time.monotonic() + 2
        while time.monotonic() < until:
            self.peak = max(self.peak, self.daemon.status()["requests"]["open"])
            time.sleep(0.05)

    def deaf(self):
        """Asks for more than its queue holds and does not read for some seconds: it is told so in its
        last line, or, deaf for longer than that line may wait, cut off; or it gets every end."""
        user = None
        try:
            user = self.daemon.client()
            answers = [user.start("A long one, play:long-answer") for _ in range(16)]
            time.sleep(2)
            user.read_until(lambda: user.eof or all(a.terminal for a in answers), LATEST_END)
            last = user.loose[-1] if user.loose else {}
            with self.lock:
                if last.get("event") == "error" and last["code"] == "busy" and "id" not in last:
                    self.told += 1
                elif not all(a.terminal for a in answers):
                    self.missed.append("a deaf reader was not told")
        except harness.Violation as error:
            with self.lock:
                if "ends inside a line" in str(error):
                    self.cut += 1
                else:
                    self.broken.append(f"deaf: {error}"[:500])
        except (AssertionError, OSError) as error:
            self.missed.append(f"deaf: {error}"[:500])
        finally:
            if user:
                user.close()
            with self.lock:
                self.running -= 1

    def slow_readers(self):
        """Connections that ask and hardly read."""
        users = []
        for number in range(5):
            user = self.daemon.client()
            for i in range(20):
                user.send({"op": "status", "id": f"{number}.{i}"})
            users.append(user)
        return users

    def spell(self, seconds):
        """A crowd, then requests at the given rate for some time, beside one that does not read."""
        self.crowd()
        start, sent = time.monotonic(), 0
        self.spawn(self.deaf)
        while time.monotonic() - start < seconds:
            due = int((time.monotonic() - start) * self.args.rate)
            while sent < due and self.running < 150:
                self.ask_one()
                sent += 1
            sent = max(sent, due)
            time.sleep(0.02)

    def run(self):
        self.number = 0
        idle = [self.daemon.client() for _ in range(self.args.connections)]
        slow = self.slow_readers()
        # warm: buffers, pools and the allocator reach their size
        self.spell(max(5, self.args.minutes * 60 * 0.1))
        first = self.quiet_sample()
        start, samples = time.monotonic(), [first]
        while time.monotonic() - start < self.args.minutes * 60:
            left = self.args.minutes * 60 - (time.monotonic() - start)
            self.spell(min(60, max(1, left)))
            samples.append(self.quiet_sample())
            print(f"{(time.monotonic() - start) / 60:8.1f} min  ended {self.ended}  busy {self.busy}"
                  f"  missed {len(self.missed)}  broken {len(self.broken)}"
                  f"  rss {samples[-1][0]} KiB  fds {samples[-1][1]}  peak {self.peak}"
                  f"  deaf {self.told}+{self.cut}", flush=True)
        for user in slow + idle:
            user.close()
        words = sorted(self.first_words) or [0]
        # Medians of quarters: one sample may find a heap before or after it was given back. The first
        # quarter settles what caches there are.
        quarter = max(1, len(samples) // 4)
        early, late = ([statistics.median(column) for column in zip(*part)]
                       for part in (samples[quarter:2 * quarter] or samples, samples[-quarter:]))
        result = {
            "minutes": self.args.minutes, "rate": self.args.rate,
            "connections": self.args.connections, "ended": self.ended, "busy": self.busy,
            "missed": len(self.missed), "broken": len(self.broken),
            "peak_open": self.peak, "deaf_told": self.told,
            "deaf_cut": self.cut,
            "first_word_p50_ms": statistics.median(words),
            "first_word_p99_ms": words[int(len(words) * 0.99)],
            "rss_first_kib": first[0], "rss_kib": samples[-1][0],
            "rss_least_kib": min(s[0] for s in samples), "rss_most_kib": max(s[0] for s in samples),
            "rss_drift_kib": late[0] - early[0], "fd_drift": late[1] - early[1]}
        print(json.dumps(result))
        for line in (self.missed + self.broken)[:20]:
            print("!", line)
        self.daemon.stop()
        good = (not self.missed and not self.broken and self.ended
                and result["rss_drift_kib"] < 1024 and result["fd_drift"] <= 0)
        return 0 if good else 1


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--rate", type=float, default=10, help="requests a second")
    parser.add_argument("--connections", type=int, default=500, help="idle ones, beside the load")
    parser.add_argument("--model", help="a model file; the shipped one, or the tests' tiny one")
    sys.exit(Soak(parser.parse_args()).run())


main()
