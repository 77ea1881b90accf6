"""The gateway's wall clock jumps: while frames go to the disk, while they come back, and over a restart."""
import unittest

from bench import wait_for
from disk_faults import DAY, YEAR
from outage import DiskTest

STEPS = (DAY, -DAY, 10 * YEAR, -10 * YEAR)


class Clock(DiskTest):
    def test_steps_while_spilling(self):
        self.start(maxAge="1h")
        self.start_fleet().wait_progress(300)
        self.broker.stop()
        for step in STEPS:
            self.faults.step_clock(step)
            self.fleet.wait_progress(800, f"frames to go to disk after a step of {step:+.0f} s")
        self.faults.step_clock(0)
        self.broker.start()
        self.finish()
        self.assert_drained()

    def test_steps_in_replay(self):
        self.start(maxAge="1h", memory="1 MiB", drainRate=3000)
        self.start_fleet().wait_progress(300)
        self.broker.stop()
        self.fleet.wait_progress(10_000, "frames to go to disk")
        self.broker.start()
        came = len(self.consumer.counts)
        for step in STEPS:
            wait_for(lambda: len(self.consumer.counts) >= came + 300, "replay to go on")
            self.faults.step_clock(step)
            came = len(self.consumer.counts)
        self.finish()
        self.assert_drained()

    def test_steps_over_restarts(self):
        self.start(maxAge="1h")
        self.start_fleet().wait_progress(300)
        self.broker.stop()
        for step in STEPS:
            self.fleet.wait_progress(500, "frames to go to disk")
            self.kill_gateway()
            self.faults.step_clock(step)
            self.running.start()
        self.fleet.wait_progress(500, "frames to go to disk")
        self.broker.start()
        self.finish()
        self.assert_drained()

    def test_steps_while_the_broker_is_there(self):
        self.start(spillAfter="10s")
        self.start_fleet().wait_progress(300)
        for step in STEPS:
            self.faults.step_clock(step)
            self.fleet.wait_progress(800)
        self.assertEqual(self.metric("iotgw_buffer_bytes", where="disk"), 0)
        self.finish()


if __name__ == "__main__":
    unittest.main()
