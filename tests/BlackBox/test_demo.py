"""iotgw demo, simulate and status: what a newcomer runs first."""
import re
import unittest

from bench import BlackBox, iotgw
from broker import Broker, Subscriber

ARRIVED = re.compile(r"(\d+) frames sent, (\d+) acknowledged, (\d+) delivered to the broker, (\d+) delivered twice")


class Demo(BlackBox):
    def test_demo_over_an_outage(self):
        done = iotgw("demo", "--for", "6s", "--outage", "2s")
        self.assertEqual((done.returncode, done.stderr), (0, ""), done)
        self.assertIn("everything sent arrived\n", done.stdout)
        self.assertNotIn("NOT everything", done.stdout)
        sent, acknowledged, delivered, _ = map(int, ARRIVED.search(done.stdout).groups())
        self.assertGreater(sent, 0)
        self.assertEqual((acknowledged, delivered), (sent, sent))
        self.assertIn("the broker goes away", done.stdout)


class Simulate(BlackBox):
    def setUp(self):
        super().setUp()
        self.broker = Broker(self.folder).start()
        self.addCleanup(self.broker.end)
        self.running = self.gateway({"mqtt": {"brokers": [self.broker.url]}}).start()
        self.to = "{}:{}".format(*self.running.address())
        self.subscriber = Subscriber(self.broker.port, "telemetry/+/+")
        self.addCleanup(self.subscriber.end)

    def simulate(self, *arguments):
        done = iotgw("simulate", "--to", self.to, *arguments)
        self.assertEqual(done.returncode, 0, done)
        return done.stdout

    def assert_arrived(self, frames):
        self.assertEqual(len([payload for _, payload, _ in self.subscriber.messages if b'"seq"' in payload]), frames)

    def test_table_of_a_fleet(self):
        shown = self.simulate("--devices", "5", "--rate", "0", "--frames", "20")
        self.assertRegex(shown, r"(?m)^frames sent +100$")
        self.assertRegex(shown, r"(?m)^acknowledged +100$")
        self.assertRegex(shown, r"(?m)^latency p99, ms +[0-9.]+$")
        self.assert_arrived(100)

    def test_json_of_a_tagged_fleet_that_makes_its_keys(self):
        shown = self.simulate("--devices", "5", "--rate", "0", "--frames", "20", "--tagged", "--make-keys", "--json",
                              "--keys", str(self.folder / "devices.json"))
        self.assertRegex(shown, r'\A\{"sent":100,"acknowledged":100,"refused":0,')
        self.assert_arrived(100)

    def test_fleet_that_breaks_its_connections(self):
        shown = self.simulate("--devices", "5", "--rate", "20", "--for", "4s", "--break-every", "1s", "--json")
        self.assertGreater(int(re.search(r'"connects":(\d+)', shown)[1]), 5)
        frames = int(re.search(r'"sent":(\d+)', shown)[1])
        self.assertEqual(int(re.search(r'"acknowledged":(\d+)', shown)[1]), frames)
        self.assertEqual(len(self.subscriber.counts), frames)

    def test_status_is_a_table_for_people(self):
        self.simulate("--devices", "2", "--rate", "0", "--frames", "5")
        done = iotgw("status", "--socket", self.running.socket)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        for line in (r"gateway +box, version ", r"ready +yes", rf"listeners +field {self.to}", r"frames +10 taken",
                     rf"broker +.*127\.0\.0\.1:{self.broker.port}"):
            self.assertRegex(done.stdout, rf"(?m)^{line}")

    def test_status_json_is_one_object(self):
        status = self.running.status()
        self.assertEqual(status["gateway"], "box")
        self.assertTrue(status["isReady"])
        self.assertEqual(status["listeners"], [{"name": "field", "endpoint": self.to}])
        self.assertEqual(status["frames"]["received"], 0)


if __name__ == "__main__":
    unittest.main()
