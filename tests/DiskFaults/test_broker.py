"""A broker that is frozen, killed, swapped, or never confirms; a gateway that is frozen itself. The disk is well."""
import signal
import time
import unittest

from bench import wait_for
from outage import DiskTest
from silent_broker import SilentBroker


class BadBroker(DiskTest):
    def stop_for(self, process, seconds):
        """SIGSTOP and SIGCONT: as under a debugger, or on a machine that swaps."""
        process.send_signal(signal.SIGSTOP)
        try:
            time.sleep(seconds)
        finally:
            process.send_signal(signal.SIGCONT)

    def test_broker_frozen(self):
        self.start()
        self.start_fleet().wait_progress(300)
        for _ in range(2):
            self.broker.process.send_signal(signal.SIGSTOP)
            try:
                self.fleet.wait_progress(3000, "the disk to take frames")
            finally:
                self.broker.process.send_signal(signal.SIGCONT)
            self.fleet.wait_progress(300)
        self.finish()
        self.assert_drained()

    def test_gateway_frozen(self):
        self.start()
        self.start_fleet().wait_progress(300)
        for seconds in (1, 4):
            self.stop_for(self.running.process, seconds)
            self.fleet.wait_progress(500, "the gateway to go on")
        self.broker.stop()
        self.fleet.wait_progress(1500, "the disk to take frames")
        for seconds in (1, 4):
            self.stop_for(self.running.process, seconds)
            self.fleet.wait_progress(500, "the gateway to go on")
        self.broker.start()
        self.stop_for(self.running.process, 3)
        self.finish()
        self.assert_drained()

    def test_broker_killed_again_and_again(self):
        self.start(self.tap().url)
        self.start_fleet().wait_progress(300)
        for _ in range(4):
            self.broker.kill()
            self.fleet.wait_progress(self.dice.randint(300, 1500), "the disk to take frames")
            self.broker.start()
            self.fleet.wait_progress(self.dice.randint(1, 600))
        self.finish()
        self.assert_drained()

    def test_broker_swapped_for_an_empty_one(self):
        self.start(self.tap().url)
        self.start_fleet().wait_progress(300)
        for _ in range(2):
            self.broker.kill()
            self.broker.forget()
            self.fleet.wait_progress(1000, "the disk to take frames")
            self.broker.start()
            self.fleet.wait_progress(300)
        self.finish()
        self.assert_drained()

    def test_broker_that_never_confirms(self):
        silent = SilentBroker()
        self.addCleanup(silent.end)
        self.start(f"mqtt://127.0.0.1:{silent.port}")
        self.start_fleet().wait_progress(4000, "the disk to take frames")
        wait_for(lambda: silent.connections > 2, "the gateway to drop a link on which nothing is confirmed")
        self.assertGreater(silent.publishes, 0)
        self.assertEqual(len(self.consumer.counts), 0)
        # A real one in its place.
        silent.end()
        self.broker.stop()
        self.broker.port = silent.port
        self.broker.start()
        self.consumer.address = ("127.0.0.1", silent.port)
        self.say(f"{silent.publishes} messages in {silent.connections} connections, none confirmed")
        self.finish()
        self.assert_drained()

    def test_both_killed(self):
        self.start(self.tap().url)
        self.start_fleet().wait_progress(300)
        for _ in range(3):
            self.fleet.wait_progress(self.dice.randint(1, 900))
            self.broker.kill()
            self.fleet.wait_progress(self.dice.randint(1, 900), "the disk to take frames")
            self.kill_gateway()
            for one in self.dice.sample([self.broker, self.running], 2):
                one.start()
        # What the broker took with it comes again only if the gateway's cursor lags: later than what followed.
        self.finish(in_order=False)
        self.assert_drained()


if __name__ == "__main__":
    unittest.main()
