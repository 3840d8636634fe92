# SPDX-License-Identifier: MIT
"""Bad networks. Relay is a TCP proxy that breaks connections off at a byte of one's choice; Link is
two machines' worth of network namespaces and a wire between them that delays and loses packets.

For a Link the kernel needs no netem: each namespace has a TUN device, and this process carries the
packets from one to the other. As a program (link.py ADDRESS PEER PORT FD) it is the side of one
namespace: it makes the device, and a listening socket where PORT is one, and hands both to its
parent."""
import array
import ctypes
import fcntl
import heapq
import os
import random
import select
import socket
import struct
import subprocess
import sys
import threading
import time

HERE, THERE = "10.111.0.1", "10.111.0.2"


class Relay:
    """Forwards to `target` (host, port); `broken(sent, data)` is asked before each piece of an
    answer and returns None, or (how many of its bytes still go, "reset", "close" or "stall")."""

    def __init__(self, target, delay_ms=0, jitter_ms=0):
        self.target, self.delay_ms, self.jitter_ms = target, delay_ms, jitter_ms
        self.broken = lambda sent, data: None
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = self.listener.getsockname()
        self.random = random.Random(7)
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            server = socket.create_connection(self.target)
            for source, target, answer in ((client, server, False), (server, client, True)):
                threading.Thread(target=self._copy, args=(source, target, answer),
                                 daemon=True).start()

    def _copy(self, source, target, answer):
        sent, how = 0, "close"
        try:
            while data := source.recv(65536):
                time.sleep((self.delay_ms + self.random.random() * self.jitter_ms) / 1000)
                end = self.broken(sent, data) if answer else None
                target.sendall(data[:end[0]] if end else data)
                sent += len(data)
                if end:
                    how = end[1]
                    break
        except OSError:
            pass
        try:
            if how == "stall":
                while target.recv(65536):
                    pass
            if how == "reset":
                # close() would wait for the thread that reads; to connect to nowhere resets
                ctypes.CDLL(None).connect(target.fileno(), bytes(16), 16)
            else:
                target.shutdown(socket.SHUT_RDWR)
            source.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


class Link:
    """Two network namespaces and the wire between them; see the head of this file."""

    def __init__(self):
        self.delay_ms = self.jitter_ms = 0
        self.loss = 0.0            # share of the packets, each way
        self.down = False          # all of them
        self.lost = self.carried = 0
        self.random = random.Random(7)
        self.sides, self.tuns, self.listener = [], [], None
        try:
            self._side(HERE, THERE, 0)
            self._side(THERE, HERE, 80)
        except (OSError, EOFError):
            self.close()
            raise
        self.waker = os.pipe()
        self.thread = threading.Thread(target=self._carry, daemon=True)
        self.thread.start()

    def _side(self, address, peer, port):
        mine, theirs = socket.socketpair()
        unshare = ["unshare", "--net"] if os.getuid() == 0 else \
            ["unshare", "--net", "--user", "--map-root-user"]
        with theirs:
            self.sides.append(subprocess.Popen(
                [*unshare, sys.executable, __file__, address, peer, str(port),
                 str(theirs.fileno())], pass_fds=[theirs.fileno()], stdin=subprocess.PIPE,
                stderr=subprocess.DEVNULL))
        with mine:
            _, fds, _, _ = socket.recv_fds(mine, 1, 2)
        if not fds:
            raise OSError("no network namespace, or no TUN device in it")
        self.tuns.append(fds[0])
        if port:
            self.listener = socket.socket(fileno=fds[1])

    @property
    def enter(self):
        """What stands before a command to run it at HERE."""
        user = [] if os.getuid() == 0 else ["--user", "--preserve-credentials"]
        return ["nsenter", f"--target={self.sides[0].pid}", "--net", *user]

    def close(self):
        if hasattr(self, "waker"):
            os.write(self.waker[1], b"x")
            self.thread.join()
            for fd in self.waker:
                os.close(fd)
        for side in self.sides:
            side.stdin.close()
            side.wait()
        for fd in self.tuns:
            os.close(fd)
        self.sides, self.tuns = [], []

    def _carry(self):
        pending, count = [], 0  # (when, number, to, packet)
        while True:
            now = time.monotonic()
            while pending and pending[0][0] <= now:
                _, _, target, packet = heapq.heappop(pending)
                try:
                    os.write(target, packet)
                except OSError:
                    pass
            wait = max(0, pending[0][0] - now) if pending else None
            ready = select.select([*self.tuns, self.waker[0]], [], [], wait)[0]
            if self.waker[0] in ready:
                return
            for fd in ready:
                packet = os.read(fd, 65536)
                if self.down or self.random.random() < self.loss:
                    self.lost += 1
                    continue
                self.carried += 1
                count += 1
                wait_ms = self.delay_ms + self.random.random() * self.jitter_ms
                heapq.heappush(pending, (time.monotonic() + wait_ms / 1000, count,
                                         self.tuns[1 - self.tuns.index(fd)], packet))


def _configure(name, address, peer):
    """Addresses of a point-to-point device, and both devices up."""
    def request(interface, payload):
        return struct.pack("16s24s", interface, payload)

    def inet(text):
        return struct.pack("HH4s8x", socket.AF_INET, 0, socket.inet_aton(text))

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        fcntl.ioctl(sock, 0x8916, request(name, inet(address)))  # SIOCSIFADDR
        fcntl.ioctl(sock, 0x8918, request(name, inet(peer)))     # SIOCSIFDSTADDR
        for device in (name, b"lo"):
            fcntl.ioctl(sock, 0x8914, request(device, struct.pack("H", 0x1 | 0x40)))  # up, running


def _main(address, peer, port, fd):
    tun = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(tun, 0x400454CA, struct.pack("16sH22x", b"wire", 0x1 | 0x1000))  # TUN, no header
    _configure(b"wire", address, peer)
    fds = [tun]
    if port:
        fds.append(socket.create_server((address, port)).detach())
    with socket.socket(fileno=fd) as parent:
        parent.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))])
    sys.stdin.buffer.read()


if __name__ == "__main__":
    _main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
