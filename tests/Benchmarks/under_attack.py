#!/usr/bin/env python3
"""Measures how long good devices wait for their acknowledgements undisturbed and under each attack, side by side in one
run, and whether a device with its key still gets in. Attackers and devices share this machine's cores with the gateway; the
first row is a process that only computes in the attacker's place.

    tests/Benchmarks/under_attack.py [--binary PATH] [--quick] [--only NAME]
"""
import argparse
import json
import os
import pathlib
import random
import resource
import select
import socket
import statistics
import sys
import tempfile
import time

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parents[1] / "BlackBox")]
import bench
from attack import Intruder, evil_data
from device import DATA, DESCRIBE, HELLO, PING, U32, WELCOME, Failure, describe_of, frame_of, hello_of
from end_to_end import ROOT, Broker, Gateway, finish, run, simulate
from fleet import Link, connection

CROWD = 5000
# Addresses of the attackers; the good devices have 127.0.0.1.
ADDRESSES = [f"127.0.{net}.{host}" for net in (20, 21) for host in range(1, 126)]
ATTACKS = {}
LISTENER = ["listeners.0.maxUnauthenticated=64", "listeners.0.maxConnectionsPerAddress=64", "listeners.0.framesPerSecond=200",
            "listeners.0.maxConnections=2000"]


def attack(name):
    def keep(function):
        ATTACKS[name] = function
        return function
    return keep


@attack("control: somebody computes")
def compute(target):
    while True:
        sum(range(1000))


def crowd(address, first=b""):
    """Connections without end; those that are closed are made anew."""
    poll, held, number = select.poll(), {}, 0
    while True:
        for _ in range(200):
            if len(held) >= CROWD:
                break
            number += 1
            try:
                one = connection(address, ADDRESSES[number % len(ADDRESSES)], 5)
                if first:
                    one.sendall(first)
            except OSError:
                continue
            held[one.fileno()] = one
            poll.register(one.fileno(), select.POLLIN)
        for descriptor, _ in poll.poll(50):
            poll.unregister(descriptor)
            held.pop(descriptor).close()


@attack("5 000 connections that say nothing")
def silent(target):
    crowd(target.address)


@attack("5 000 connections of one byte")
def one_byte(target):
    crowd(target.address, b"\xc7")


@attack("HELLO and no proof")
def unproven(target):
    crowd(target.address, frame_of(HELLO, 0, hello_of(1, 0, 1, 0, bytes(16), "nobody", "")))


@attack("connection churn")
def churn(target):
    number = 0
    while True:
        number += 1
        try:
            connection(target.address, ADDRESSES[number % len(ADDRESSES)], 5).close()
        except OSError:
            pass


@attack("wrong proofs")
def guess(target):
    number = 0
    while True:
        number += 1
        try:
            one = Intruder(target.address, ADDRESSES[number % len(ADDRESSES)], 5)
            one.prove(f"guess-{number}", bytes(32))
            one.socket.close()
        except OSError:
            pass


@attack("random bytes")
def nonsense(target):
    number, block = 0, random.Random(1).randbytes(1 << 18)
    while True:
        number += 1
        one = connection(target.address, ADDRESSES[number % len(ADDRESSES)], 5)
        try:
            one.sendall(b"\xc7\x49\x01" + block)
        except OSError:
            pass
        one.close()


def insider(target, number):
    """A device with a key of its own that has turned bad."""
    link = Link(target.address, f"127.0.22.{number}")
    link.enter(f"insider-{number}", target.key(f"insider-{number}"), False, random.getrandbits(32) | 1, 0)
    return link


def flood(target, *frames):
    links = [insider(target, number) for number in range(1, 9)]
    for link in links:
        link.socket.setblocking(False)
    left = dict.fromkeys(links, b"")
    block = b"".join(frames)
    while True:
        readable, writable, _ = select.select([one.socket for one in links], [one.socket for one in links], [], 1)
        for link in links:
            try:
                if link.socket in readable and not link.socket.recv(1 << 20):
                    return
                if link.socket in writable:
                    left[link] = left[link] or block
                    left[link] = left[link][link.socket.send(left[link]):]
            except BlockingIOError:
                pass


@attack("insiders: PING flood")
def pings(target):
    flood(target, *[frame_of(PING, 1, bytes(32))] * 200)


@attack("insiders: DESCRIBE flood")
def descriptions(target):
    flood(target, *[frame_of(DESCRIBE, 0, describe_of([(1, U32, f"name-{number}", "")])) for number in range(200)])


@attack("insiders: DATA flood, malformed")
def malformed(target):
    flood(target, *[frame_of(DATA, number, b"\0" * 8 + b"\xff") for number in range(1, 200)])


@attack("insiders: DATA flood beyond the window")
def data(target):
    flood(target, *[frame_of(DATA, number, evil_data()) for number in range(1, 20000)])


@attack("insiders: never read")
def deaf(target):
    links = [insider(target, number) for number in range(1, 9)]
    for link in links:
        link.socket.setblocking(False)
    while True:
        for link in links:
            try:
                link.socket.send(frame_of(PING, 1, bytes(32)) * 200)
            except OSError:
                pass
        time.sleep(0.01)


@attack("HTTP: 200 idle, GET /metrics without end")
def http(target):
    idle = [socket.create_connection(target.http, 5) for _ in range(200)]
    while idle:
        try:
            with socket.create_connection(target.http, 5) as one:
                one.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                while one.recv(65536):
                    pass
        except OSError:
            pass


class Target:
    def __init__(self, port, http_port, keys):
        self.address, self.http, self.keys = ("127.0.0.1", port), ("127.0.0.1", http_port), keys

    def key(self, device):
        with open(self.keys, encoding="utf-8") as file:
            return bytes.fromhex(next(one["key"] for one in json.load(file)["devices"] if one["id"] == device))

    def seconds_to_get_in(self, limit=20):
        """A device with its key, which tries again as devices do, only sooner: after half a second."""
        since = time.monotonic()
        while time.monotonic() - since < limit:
            one = None
            try:
                one = Intruder(self.address, "127.0.0.5", 5)
                if one.prove("newcomer", self.key("newcomer"), boot=random.getrandbits(32) | 1)[0] == WELCOME:
                    return time.monotonic() - since
            except (OSError, Failure):
                pass
            finally:
                if one:
                    one.socket.close()
            time.sleep(0.5)
        return None


def measure(binary, folder, quick, only):
    seconds, repeats = (3, 1) if quick else (5, 3)
    broker = Broker(folder)
    gateway = Gateway(binary, folder, broker, *LISTENER)
    target = Target(gateway.port, gateway.http, gateway.keys)
    for name in ("newcomer", *(f"insider-{number}" for number in range(1, 9))):
        bench.iotgw("device", "add", name, "--set", f"devices.file={gateway.keys}")
    # Few enough to enter at once, and frames enough that their entering is less than a hundredth of them.
    quiet = ("--devices", "20", "--rate", "20", "--tagged", "--prefix", "quiet-", "--connect-rate", "1000", "--for",
             f"{seconds + 1}s")
    simulate(binary, gateway, *quiet)
    rows = []
    for name in (one for one in ATTACKS if only in one):
        calm, hot, entries = [], [], []
        for _ in range(repeats):
            calm.append(simulate(binary, gateway, *quiet))
            good = simulate(binary, gateway, *quiet, wait=False)
            time.sleep(1)  # they are in before it begins
            attacker = run([sys.executable, "-B", __file__, "--attack", name, "--port", str(gateway.port), "--http",
                            str(gateway.http), "--keys", gateway.keys], preexec_fn=lambda: os.nice(10))
            time.sleep(seconds / 2)
            entries.append(target.seconds_to_get_in())
            hot.append(finish(good))
            if attacker.poll() is not None:
                sys.exit(f"the attack {name} ended by itself")
            attacker.kill()
            attacker.wait()
            time.sleep(1)
        figures = [statistics.median(one[key] for one in runs)
                   for runs in (calm, hot) for key in ("p50Milliseconds", "p99Milliseconds")]
        lost = sum(one["sent"] - one["acknowledged"] for one in hot)
        entry = "no" if None in entries else f"{statistics.median(entries):.2f} s"
        rows.append((name, *figures, figures[3] / figures[1], lost, entry))
        print(rows[-1], file=sys.stderr, flush=True)
    print(f"\nresident afterwards {gateway.resident():.1f} MiB", file=sys.stderr)
    gateway.stop()
    broker.stop()
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default=os.path.join(ROOT, "artifacts/publish/linux-x64/iotgw"))
    parser.add_argument("--quick", action="store_true", help="one repetition, shorter")
    parser.add_argument("--only", default="", metavar="NAME", help="only attacks with this in their names")
    parser.add_argument("--attack", choices=ATTACKS, help=argparse.SUPPRESS)
    for hidden in ("--port", "--http", "--keys"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65536) if hard > 0 else 65536, hard))
    if arguments.attack:
        ATTACKS[arguments.attack](Target(int(arguments.port), int(arguments.http), arguments.keys))
        return
    bench.IOTGW = arguments.binary
    with tempfile.TemporaryDirectory(prefix="iotgw-bench-") as folder:
        rows = measure(arguments.binary, folder, arguments.quick, arguments.only)
    print("| attack | p50 calm | p99 calm | p50 attacked | p99 attacked | p99 ratio (goal ≤ 5) | not acknowledged | a device"
          " with its key gets in after |\n|---|---|---|---|---|---|---|---|")
    for name, *figures, ratio, lost, entry in rows:
        print(f"| {name} | " + " | ".join(f"{one:.1f} ms" for one in figures) + f" | {ratio:.1f} | {lost} | {entry} |")


if __name__ == "__main__":
    main()
