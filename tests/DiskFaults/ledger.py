#!/usr/bin/env python3
"""The ledger outside the gateway: what devices were told, what came to the consumer, and what that leaves.

    ledger.py FOLDER        checks the ledger that a test left there: exit code 0, or 1 and exactly what is missing

    *.acks          of each device: "ack BOOT SEQ" (all up to it are safe), "nack BOOT SEQ REASON"
    delivered       of the consumer: "DEVICE BOOT SEQ", each time that one came
    gaps            of the consumer: each gap report, a line of JSON
"""
import argparse
import json
import pathlib
import sys
import threading
from dataclasses import dataclass, field

if __name__ == "__main__":
    sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "BlackBox"))
from broker import Subscriber, keys_of


class Consumer(Subscriber):
    """Takes everything at the broker in a lasting session, and writes down what came."""

    def __init__(self, port, folder, name="ledger"):
        self.folder = pathlib.Path(folder)
        self.delivered = (self.folder / "delivered").open("a")
        self.gaps = (self.folder / "gaps").open("a")
        self.gap_reports = []
        self.writing = threading.Lock()
        super().__init__(port, "telemetry/#", name=name)

    def take(self, first, body):
        before = len(self.messages)
        answer = super().take(first, body)
        for topic, payload, _ in self.messages[before:]:
            self.write_down(topic, payload)
        # Only what is told here is needed, and only the last of each state.
        del self.messages[:-500]
        return answer

    def write_down(self, topic, payload):
        with self.writing:
            for device, boot, sequence in keys_of(payload):
                self.delivered.write(f"{device} {boot} {sequence}\n")
            if topic.endswith("/gaps"):
                self.gap_reports.append(json.loads(payload))
                self.gaps.write(json.dumps(self.gap_reports[-1]) + "\n")

    def write_confirmed(self, keys):
        """What the broker confirmed and took with it into its grave was delivered by the gateway."""
        with self.writing:
            for device, boot, sequence in sorted(keys - self.counts.keys()):
                self.delivered.write(f"{device} {boot} {sequence}\n")

    def end(self):
        """Ends, with everything that came in the files."""
        super().end()
        self.delivered.close()
        self.gaps.close()


@dataclass
class Verdict:
    """What a ledger says."""
    acknowledged: int = 0
    refused: int = 0
    delivered: int = 0
    doubles: int = 0
    reported: int = 0  # acknowledged, not delivered, and told as a gap
    missing: dict = field(default_factory=dict)  # (device, boot): sequences acknowledged and nowhere
    disorder: list = field(default_factory=list)  # what came for the first time after a later one
    bad_reports: list = field(default_factory=list)

    @property
    def missing_count(self):
        return sum(map(len, self.missing.values()))

    def faults(self):
        """Line by line what is wrong."""
        lines = [f"lost: {device} boot {boot}: {ranges_of(sequences)}"
                 for (device, boot), sequences in sorted(self.missing.items())]
        lines += [f"out of order: {device} boot {boot}: {late} came after {early}"
                  for device, boot, late, early in self.disorder[:20]]
        return lines + [f"no gap report: {report}" for report in self.bad_reports]

    def __str__(self):
        return (f"acknowledged {self.acknowledged}, delivered {self.delivered}, came again {self.doubles}, "
                f"refused {self.refused}, told as gaps {self.reported}, lost {self.missing_count}, "
                f"out of order {len(self.disorder)}")


def ranges_of(sequences):
    """17-40, 55"""
    runs = []
    for sequence in sorted(sequences):
        if runs and runs[-1][1] == sequence - 1:
            runs[-1][1] = sequence
        else:
            runs.append([sequence, sequence])
    return ", ".join(f"{first}-{last}" if last > first else str(first) for first, last in runs)


def acknowledged_of(folder):
    """(device, boot): last safe, refused ones."""
    found = {}
    for file in folder.glob("*.acks"):
        for line in whole_lines(file):
            word, boot, sequence, *_ = line.split()
            entry = found.setdefault((file.stem, int(boot)), [0, set()])
            if word == "ack":
                entry[0] = max(entry[0], int(sequence))
            else:
                entry[1].add(int(sequence))
    return found


def whole_lines(file):
    return file.read_text().split("\n")[:-1] if file.exists() else []


def delivered_of(folder, verdict, in_order):
    """(device, boot): the sequences that came."""
    found, highest = {}, {}
    for line in whole_lines(folder / "delivered"):
        device, boot, sequence = line.split()
        key, sequence = (device, int(boot)), int(sequence)
        came = found.setdefault(key, set())
        if sequence in came:
            verdict.doubles += 1
            continue
        came.add(sequence)
        if in_order and sequence < highest.get(key, 0):
            verdict.disorder.append((*key, sequence, highest[key]))
        highest[key] = max(sequence, highest.get(key, 0))
    verdict.delivered = sum(map(len, found.values()))
    return found


def reported_of(folder, verdict):
    """(device, boot): the sequences of which the gateway says that they never come."""
    found = {}
    for line in whole_lines(folder / "gaps"):
        report = json.loads(line)
        first, last, count = report.get("from"), report.get("to"), report.get("count")
        if (not all(isinstance(one, int) for one in (report.get("boot"), first, last, count)) or
                not 1 <= count <= last - first + 1 or not report.get("reason") or not report.get("device")):
            verdict.bad_reports.append(line)
            continue
        found.setdefault((report["device"], report["boot"]), set()).update(range(first, last + 1))
    return found


def check(folder, in_order=True):
    """Holds acknowledged against delivered and reported."""
    folder, verdict = pathlib.Path(folder), Verdict()
    delivered, reported = delivered_of(folder, verdict, in_order), reported_of(folder, verdict)
    for key, (safe, refused) in acknowledged_of(folder).items():
        acknowledged = set(range(1, safe + 1)) - refused
        left = acknowledged - delivered.get(key, set())
        missing = left - reported.get(key, set())
        verdict.acknowledged += len(acknowledged)
        verdict.refused += len(refused)
        verdict.reported += len(left) - len(missing)
        if missing:
            verdict.missing[key] = missing
    return verdict


def main():
    parser = argparse.ArgumentParser(description="Checks a ledger: acknowledged, delivered, told as gaps.")
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--any-order", action="store_true", help="do not check the order of each device's frames")
    arguments = parser.parse_args()
    verdict = check(arguments.folder, not arguments.any_order)
    print(verdict)
    faults = verdict.faults()
    sys.exit("\n".join(faults) if faults else 0)


if __name__ == "__main__":
    main()
