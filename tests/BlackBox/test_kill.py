"""SIGKILL of gateway and broker under load: what was acknowledged is with the broker.

The ledger of what the gateway acknowledged is kept here, outside of the process that is killed.
"""
import os
import random
import signal
import unittest

from bench import BlackBox, iotgw, wait_for
from broker import Broker, Subscriber, Tap
from fleet import Fleet

KILLS = int(os.environ.get("IOTGW_KILLS", "6"))
LISTENER = {"name": "field", "endpoint": "127.0.0.1:0", "authentication": ["hmac", "none"], "framesPerSecond": 10000}
# A line on which confirmations take their time and few may be awaited: whoever kills the gateway finds frames in it.
SLOW_LINE_SECONDS, SLOW_LINE_IN_FLIGHT = 0.02, 16
# A link that is dropped comes back after at most this; else the test would mostly wait.
ACK_TIMEOUT = "2s"


class Kill(BlackBox):
    def setUp(self):
        super().setUp()
        self.seed = int(os.environ.get("IOTGW_SEED", random.randrange(1 << 32)))
        self.dice = random.Random(self.seed)
        self.broker = Broker(self.folder).start()
        self.addCleanup(self.broker.end)

    def start(self, broker_url, in_flight=256):
        self.running = self.gateway({
            "listeners": [LISTENER],
            # From memory alone: an ACK means the broker's confirmation here. With a disk: test_disk_kill.
            "buffer": {"disk": "0"},
            "mqtt": {"brokers": [broker_url], "ackTimeout": ACK_TIMEOUT, "inFlight": in_flight}})
        key = iotgw("device", "add", "ledger-1", "--config", self.running.file).stdout.strip()
        self.running.start().keep_port()
        self.fleet = Fleet(self.running.address(), 12, {"ledger-1": bytes.fromhex(key)})
        self.addCleanup(self.fleet.end)

    def assert_delivered(self, subscriber):
        """Everything in the ledger came to the subscriber, the first time in the order of its sending."""
        ledger = self.fleet.ledger()
        wait_for(lambda: not ledger - subscriber.counts.keys(),
                 f"the ledger to come to the subscriber (IOTGW_SEED={self.seed})", 30)
        for device, sequences in list(subscriber.firsts.items()):
            self.assertEqual(sequences, sorted(sequences), f"{device} is out of order (IOTGW_SEED={self.seed})")
        self.assertEqual([device.id for device in self.fleet.devices if device.refused], [])

    def test_gateway_killed_under_load(self):
        subscriber = Subscriber(self.broker.port, "telemetry/+/+", name="ledger")
        self.addCleanup(subscriber.end)
        tap = Tap(self.broker.port, SLOW_LINE_SECONDS)
        self.addCleanup(tap.end)
        self.start(tap.url, SLOW_LINE_IN_FLIGHT)
        for _ in range(KILLS):
            self.fleet.wait_progress(self.dice.randint(1, 600), "the gateway to go on after a kill")
            # A kill that finds nothing in memory would show nothing.
            wait_for(lambda: self.running.status()["buffer"]["records"] > 0, "frames to wait in the gateway")
            self.running.kill()
            self.running.start()
        self.fleet.wait_progress(200)
        self.fleet.finish()
        self.assertGreaterEqual(self.fleet.sessions, (KILLS + 1) * len(self.fleet.devices) // 2)
        self.assert_delivered(subscriber)

    def test_broker_killed_under_load(self):
        tap = Tap(self.broker.port)
        self.addCleanup(tap.end)
        self.start(tap.url)
        for _ in range(3):
            self.fleet.wait_progress(self.dice.randint(1, 900), "the gateway to go on after a kill of the broker")
            self.broker.kill()
            wait_for(lambda: not self.running.status()["broker"]["isConnected"], "the gateway to notice")
            self.assert_confirmed(tap)
            self.broker.start()
        self.fleet.wait_progress(200)
        self.fleet.finish()
        self.assert_confirmed(tap)
        # The devices' sessions went on all the while.
        self.assertEqual(self.fleet.sessions, len(self.fleet.devices), self.fleet.problems())

    def test_broker_that_stops_answering_under_load(self):
        tap = Tap(self.broker.port)
        self.addCleanup(tap.end)
        self.start(tap.url)
        self.fleet.wait_progress(200)
        before = tap.connections
        self.broker.process.send_signal(signal.SIGSTOP)
        self.addCleanup(self.broker.process.send_signal, signal.SIGCONT)
        wait_for(lambda: tap.connections > before, "the gateway to drop the link and try again")
        self.assert_confirmed(tap)
        self.broker.process.send_signal(signal.SIGCONT)
        self.fleet.wait_progress(200)
        self.fleet.finish()
        self.assert_confirmed(tap)

    def test_both_killed_under_load(self):
        tap = Tap(self.broker.port)
        self.addCleanup(tap.end)
        self.start(tap.url)
        for _ in range(2):
            self.fleet.wait_progress(self.dice.randint(1, 900))
            for victim in self.dice.sample([self.broker, self.running], 2):
                victim.kill()
            self.assert_confirmed(tap)
            for one in self.dice.sample([self.broker, self.running], 2):
                one.start()
        self.fleet.wait_progress(200)
        self.fleet.finish()
        self.assert_confirmed(tap)

    def assert_confirmed(self, tap):
        ledger = self.fleet.ledger()  # before the other: a frame is confirmed, then acknowledged
        self.assertEqual(sorted(ledger - tap.confirmed), [], f"IOTGW_SEED={self.seed}")


if __name__ == "__main__":
    unittest.main()
