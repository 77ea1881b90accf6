"""What every test of the buffer on disk stands on: a gateway between devices and a broker, with a ledger outside it."""
import os
import random
import re
import time
import urllib.request

from bench import BlackBox, wait_for
from broker import Broker, Tap
from disk_faults import DiskFaults
from fleet import Fleet
from ledger import Consumer, check

LISTENER = {"name": "field", "endpoint": "127.0.0.1:0", "authentication": ["none"], "framesPerSecond": 10000}
FRAME_BYTES = 200
# Shorter than the default, so that an outage need not be long to be one.
SPILL_AFTER = "200ms"
# The gateway's own back-off may be half a minute after an outage; the rest is delivery.
DELIVERY_SECONDS = 90


class DiskTest(BlackBox):
    """A broker, a consumer, and a gateway whose disk can be made to fail."""

    def setUp(self):
        super().setUp()
        self.seed = int(os.environ.get("IOTGW_SEED", random.randrange(1 << 32)))
        self.dice = random.Random(self.seed)
        self.buffer = self.folder / "buffer"
        self.ledger = self.folder / "ledger"
        (self.folder / "broker").mkdir()
        self.ledger.mkdir()
        self.broker = Broker(self.folder / "broker").start()
        self.addCleanup(self.broker.end)
        self.consumer = Consumer(self.broker.port, self.ledger)
        self.addCleanup(self.consumer.end)
        self.taps = []
        self.faults = DiskFaults(self.folder, self.buffer)
        self.was_killed = False

    def say(self, text):
        """What this test did, for whoever reads the log of the run."""
        print(f"    {self.id().rsplit('.', 1)[1]}: {text}", flush=True)

    # The parts

    def tap(self):
        """A line to the broker on which what it confirms is noted: for tests that take a broker's memory."""
        made = Tap(self.broker.port)
        self.addCleanup(made.end)
        self.taps.append(made)
        return made

    def start(self, url=None, listeners=(LISTENER,), **buffer):
        """The gateway; buffer: keys of that section."""
        settings = {"directory": str(self.buffer), "spillAfter": SPILL_AFTER, "disk": "256 MiB"} | buffer
        self.running = self.gateway({"listeners": list(listeners), "buffer": settings,
                                     "mqtt": {"brokers": [url or self.broker.url], "ackTimeout": "2s"},
                                     "http": {"endpoint": "127.0.0.1:0"}}, environment=self.faults.environment)
        self.running.start().keep_port()
        self.first_process = self.running.process
        return self.running

    def start_fleet(self, count=12, frames_per_second=2000, **more):
        self.fleet = Fleet(self.running.address(), count, frames_per_second=frames_per_second,
                           frame_bytes=FRAME_BYTES, ledger=self.ledger, **more)
        self.addCleanup(self.fleet.end)
        return self.fleet

    def kill_gateway(self):
        self.running.kill()
        self.was_killed = True

    # What it says of itself

    def disk(self):
        return self.running.status()["buffer"]["disk"]

    def wait_state(self, *states):
        """Waits until the disk is in one of these states, and holds the metric against the status."""
        found = wait_for(lambda: next(filter(lambda disk: disk["state"] in states, [self.disk()]), None),
                         f"the disk to be {' or '.join(states)}", pause=0.1)
        if found["state"] in ("full", "failed"):
            self.assertTrue(found["error"], found)
        wait_for(lambda: self.metric("iotgw_buffer_disk_state", state=self.disk()["state"]) == 1,
                 "the metric to say so")
        return found

    def metrics(self):
        # After a restart the newest line counts.
        port = re.findall(r"HTTP is answered at http://127\.0\.0\.1:(\d+)", self.running.log())[-1]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
            lines = [line for line in answer.read().decode().splitlines() if line and not line.startswith("#")]
        return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}

    def metric(self, name, **labels):
        inside = ",".join(f'{key}="{value}"' for key, value in labels.items())
        values = self.metrics()
        full = f"{name}{{{inside}}}" if inside else name
        self.assertIn(full, values)
        return values[full]

    def bytes_on_disk(self):
        """Of every file in the buffer's directory, as allocated or as long as it says, whichever is more."""
        found = 0
        for file in self.buffer.rglob("*"):
            try:
                status = file.stat()
            except FileNotFoundError:
                continue  # gone meanwhile
            found += max(status.st_size, status.st_blocks * 512) if file.is_file() else 0
        return found

    # The end of every test

    def confirmed(self):
        return set().union(*(tap.confirmed for tap in self.taps))

    def is_delivered(self):
        there = self.consumer.counts.keys() | self.confirmed()
        left = self.fleet.ledger() - there
        told = {(report["device"], report["boot"], sequence) for report in list(self.consumer.gap_reports)
                for sequence in range(report["from"], report["to"] + 1)}
        return not left - told

    def finish(self, in_order=True, gaps_expected=False):
        """Lets the devices come to an end with the broker there, and holds the ledger against what came."""
        self.fleet.is_sending = False
        until = time.monotonic() + DELIVERY_SECONDS
        while time.monotonic() < until and not (self.is_at_end() and self.is_delivered()):
            time.sleep(0.2)
        is_at_end = self.is_at_end()
        self.fleet.end()
        self.consumer.write_confirmed(self.confirmed())
        self.consumer.end()
        verdict = check(self.ledger, in_order)
        self.say(f"{verdict} (IOTGW_SEED={self.seed})")
        self.assertEqual(verdict.faults(), [], f"IOTGW_SEED={self.seed}")
        self.assertTrue(is_at_end, f"not every frame was acknowledged: {self.fleet.problems()}")
        self.assertGreater(verdict.acknowledged, 0)
        if not gaps_expected:
            self.assertEqual((verdict.reported, verdict.refused), (0, 0))
        self.assert_alive()
        return verdict

    def is_at_end(self):
        return all(device.is_done for device in self.fleet.devices)

    def assert_alive(self):
        self.assertIsNone(self.running.process.poll(), self.running.log()[-4000:])
        if not self.was_killed:
            self.assertIs(self.running.process, self.first_process)

    def assert_drained(self):
        """Nothing waits any more, in memory or on disk."""
        wait_for(lambda: self.running.status()["buffer"]["records"] == 0, "the buffer to be empty")
