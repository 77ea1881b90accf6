#!/usr/bin/env python3
"""Does the time from AUTH to REFUSE tell whether a device is known? Compares a wrong key of a known device, of one in rotation
(two keys), an id that is not there, and a revoked one: in random order, each from a fresh pair of address and id as far as the
back-off asks for it. The answers of equal kind are split in two halves as well, which shows what chance alone makes.

    tests/Benchmarks/refusal_timing.py [--binary PATH] [--samples 5000]
"""
import argparse
import json
import math
import os
import pathlib
import random
import socket
import statistics
import struct
import sys
import tempfile
import time

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parents[1] / "BlackBox")]
import bench
from attack import key_entry
from device import AUTH, CHALLENGE, HELLO, REFUSE, frame_of, hello_of
from end_to_end import ROOT
from fleet import Link

KINDS = ("known", "in rotation", "unknown", "revoked")
IDENTITY_FAILED = 3
# Three wrong proofs of one device are free at one address: then the pair has to wait.
FREE = 3
RESAMPLES = 1000


def devices(pairs):
    """Each kind has as many ids, of the same length, so that nothing else differs."""
    names = {kind: [f"{kind[0]}{number:07}" for number in range(pairs)] for kind in KINDS}
    entries = [key_entry(name, os.urandom(32)) for name in names["known"]]
    entries += [key_entry(name, os.urandom(32), formerKey=os.urandom(32).hex(), formerKeyUntil="2099-01-01T00:00:00Z")
                for name in names["in rotation"]]
    entries += [key_entry(name, revoked="2026-01-02T00:00:00Z") for name in names["revoked"]]
    return names, entries


def refusal_nanoseconds(address, source, device):
    """From the last byte of AUTH to the first of REFUSE."""
    link = Link(address, source)
    try:
        link.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        link.send(HELLO, 0, hello_of(1, 0, 1, 0, bytes(16), device, ""))
        if link.receive()[0] != CHALLENGE:
            raise SystemExit("no challenge")
        proof = frame_of(AUTH, 0, os.urandom(32))
        receive = link.socket.recv
        link.socket.settimeout(None)
        since = time.perf_counter_ns()
        link.socket.send(proof)
        answer = receive(4096)
        until = time.perf_counter_ns()
        if answer[3] != REFUSE or answer[12] != IDENTITY_FAILED:
            raise SystemExit(f"another answer than expected: {answer.hex()}")
        return until - since
    finally:
        link.socket.close()


def interval(first, second, dice):
    """Difference of the medians with its 95 % bootstrap confidence interval, in µs."""
    differences = sorted(median_of_resample(first, dice) - median_of_resample(second, dice) for _ in range(RESAMPLES))
    middle = statistics.median(first) - statistics.median(second)
    return tuple(one / 1000 for one in (middle, differences[RESAMPLES // 40], differences[-RESAMPLES // 40]))


def median_of_resample(ordered, dice):
    """The median of a resample of sorted values, drawn directly: its rank is beta-distributed."""
    count = len(ordered)
    rank = dice.betavariate((count + 1) / 2, (count + 1) / 2)
    return ordered[min(count - 1, int(rank * count))]


def measure(address, names, samples, dice):
    times = {kind: [] for kind in KINDS}
    order = [(kind, number) for kind in KINDS for number in range(samples)]
    dice.shuffle(order)
    began = time.monotonic()
    for done, (kind, number) in enumerate(order):
        source = f"127.{30 + number % 50}.0.9"
        times[kind].append(refusal_nanoseconds(address, source, names[kind][number // FREE]))
        if done % 2000 == 1999:
            print(f"{done + 1} of {len(order)} after {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    return times


def report(times, dice):
    print("| id | refusals | median | p10 | p90 |\n|---|---|---|---|---|")
    for kind in KINDS:
        tenths = statistics.quantiles(times[kind], n=10)
        print(f"| {kind} | {len(times[kind])} | {statistics.median(times[kind]) / 1000:.1f} µs | {tenths[0] / 1000:.1f} µs"
              f" | {tenths[8] / 1000:.1f} µs |")
    print("\n| against a known id's wrong key | difference of the medians | 95 % interval | holds zero |\n|---|---|---|---|")
    halves = list(times["known"])
    dice.shuffle(halves)
    rows = [("itself (halves)", halves[::2], halves[1::2])]
    rows += [(kind, times[kind], times["known"]) for kind in KINDS[1:]]
    worst = 0
    for name, first, second in rows:
        middle, low, high = interval(sorted(first), sorted(second), dice)
        worst = max(worst, abs(middle)) if name != "itself (halves)" else worst
        print(f"| {name} | {middle:+.2f} µs | {low:+.2f} … {high:+.2f} µs | {'yes' if low <= 0 <= high else 'NO'} |")
    spread = statistics.quantiles(times["known"], n=100)
    deviation = (spread[83] - spread[15]) / 2000
    needed = math.ceil(2 * (1.2533 * deviation * 4.3 / max(worst, 0.01)) ** 2)
    print(f"\nTo tell the largest difference seen ({worst:.2f} µs, spread {deviation:.1f} µs) with 95 % power at 5 % an attacker on"
          f" this very machine needs about {needed} refusals of the one id and of another; {FREE} an address are free, then 1 s"
          f" doubling to 60 s, and 300 a minute shut an address out. Over a network its jitter comes on top.")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default=os.path.join(ROOT, "artifacts/publish/linux-x64/iotgw"))
    parser.add_argument("--samples", type=int, default=5000, help="of each kind (default 5000)")
    arguments = parser.parse_args()
    bench.IOTGW = arguments.binary
    dice = random.Random()
    names, entries = devices(math.ceil(arguments.samples / FREE))
    with tempfile.TemporaryDirectory(prefix="iotgw-bench-") as folder:
        keys = pathlib.Path(folder, "devices.json")
        keys.write_text(json.dumps({"format": 2, "devices": entries}))
        keys.chmod(0o600)
        gateway = bench.Gateway(folder, {"listeners": [{"endpoint": "127.0.0.1:0", "offencesPerMinute": 1000000,
                                                       "badFramesPerMinute": 1000000}],
                                         "mqtt": {"brokers": ["mqtt://127.0.0.1:1"]}}).start()
        try:
            address = gateway.address()
            measure(address, {kind: names[kind] for kind in KINDS}, 99, dice)  # to warm up
            for kind in KINDS:
                names[kind] = names[kind][33:] + names[kind][:33]
            times = measure(address, names, arguments.samples - 99, dice)
        finally:
            gateway.end()
    report(times, dice)


if __name__ == "__main__":
    main()
