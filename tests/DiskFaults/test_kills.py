"""30 kills: 10 with the broker there, 10 without it, 10 while it comes and goes."""
import unittest

from bench import wait_for
from kills import Kills


class TenKillsEach(Kills):
    def test_broker_up(self):
        self.killed_with_broker_up(10)

    def test_broker_down(self):
        self.killed_with_broker_down(10)

    def test_broker_down_again_and_again(self):
        self.start()
        self.start_fleet()
        for _ in range(3):
            self.fleet.wait_progress(300)
            self.broker.stop()
            self.fleet.wait_progress(self.dice.randint(300, 1500), "the disk to take frames")
            self.kill_gateway()
            self.broker.start()
            self.running.start()
            # In the middle of replay, and of new frames behind it.
            self.fleet.wait_progress(self.dice.randint(1, 300), "the gateway to go on in replay")
            self.kill_gateway()
            self.running.start()
        self.finish()
        self.assert_drained()

    def test_broker_flapping(self):
        self.killed_with_broker_flapping(10)

    def test_gateway_stopped_in_order_and_started(self):
        self.start()
        self.start_fleet()
        self.fleet.wait_progress(300)
        # Nothing on its way: a broker that goes takes confirmations with it, and what they were for comes again.
        self.fleet.is_sending = False
        wait_for(lambda: self.is_at_end() and self.is_delivered(), "everything to be confirmed")
        self.broker.stop()
        self.fleet.is_sending = True
        for _ in range(3):
            self.fleet.wait_progress(self.dice.randint(1, 600))
            self.assert_stops(self.running)
            self.was_killed = True
            self.running.start()
        self.broker.start()
        verdict = self.finish()
        self.assert_drained()
        # What SIGTERM leaves is exact: nothing that was confirmed is published again.
        self.assertEqual(verdict.doubles, 0)


if __name__ == "__main__":
    unittest.main()
