"""A real file system that is full, breaks down, and comes back: an ext4 card of 24 MiB."""
import os
import unittest

from card import MEBIBYTE, Card
from trouble import Trouble


class RealCard(Trouble):
    def setUp(self):
        super().setUp()
        if os.geteuid() != 0:
            self.skipTest("only root can mount")
        try:
            self.card = Card(self.folder)
            self.addCleanup(self.card.end)
            self.card.mount()
        except OSError as problem:
            self.skipTest(f"loop devices cannot be mounted here: {problem}")
        self.buffer = self.card.point / "buffer"
        self.faults.environment = {}

    def test_filled_by_another_and_freed(self):
        self.start()
        self.start_fleet().wait_progress(300)
        self.broker.stop()
        self.fleet.wait_progress(1500, "the card to take frames")
        self.card.fill()
        seen = self.wait_state("full")
        self.assert_acknowledging_stops()
        self.card.free()
        self.wait_state("healthy")
        self.fleet.wait_progress(1500, "the card to take frames again")
        self.say(f"while full: \"{seen['error']}\", {seen['bytes']} bytes")
        self.broker.start()
        self.finish()
        self.assert_drained()

    def test_filled_by_itself_and_freed_by_its_own_replay(self):
        self.start()
        self.start_fleet(frames_per_second=4000).wait_progress(300)
        self.card.fill(but_bytes=4 * MEBIBYTE)
        self.broker.stop()
        self.wait_state("full")
        self.assert_acknowledging_stops()
        self.broker.start()
        self.fleet.wait_progress(3000, "the gateway to go on on its full card")
        self.finish()
        self.assert_drained()
        self.wait_state("healthy")

    def test_full_from_the_start(self):
        self.card.fill()
        self.start()
        self.start_fleet().wait_progress(500, "frames to go by way of memory")
        self.broker.stop()
        self.wait_state("full", "failed")
        self.card.free()
        self.wait_state("healthy")
        self.fleet.wait_progress(1500, "the card to take frames")
        self.broker.start()
        self.finish()
        self.assert_drained()

    def test_killed_on_a_full_card(self):
        self.start()
        self.start_fleet().wait_progress(300)
        self.broker.stop()
        self.fleet.wait_progress(3000, "the card to take frames")
        self.card.fill()
        self.wait_state("full")
        self.kill_gateway()
        self.running.start()
        self.broker.start()
        self.fleet.wait_progress(1500, "the gateway to go on on its full card")
        self.finish()
        self.assert_drained()

    def test_breaks_down_and_the_broker_comes_back(self):
        self.broken_down()
        self.broker.start()
        self.fleet.wait_progress(1500, "the gateway to go on without its card")
        self.finish()

    def test_breaks_down_and_is_repaired_under_a_stopped_gateway(self):
        self.broken_down()
        self.kill_gateway()
        self.card.repair()
        self.assertTrue(self.card.is_writable())
        self.running.start()
        self.fleet.wait_progress(1500, "the card to take frames again")
        self.broker.start()
        self.finish()
        self.assert_drained()

    def test_breaks_down_and_is_repaired_under_a_running_gateway(self):
        self.broken_down()
        self.card.repair()
        self.wait_state("healthy")
        self.fleet.wait_progress(1500, "the card to take frames again")
        self.broker.start()
        self.finish()
        self.assert_drained()

    def broken_down(self):
        self.start()
        self.start_fleet().wait_progress(300)
        self.broker.stop()
        self.fleet.wait_progress(3000, "the card to take frames")
        self.card.break_down()
        self.assertFalse(self.card.is_writable())
        seen = self.wait_state("failed")
        self.assert_acknowledging_stops()
        self.say(f"broken down: \"{seen['error']}\"")

    def test_read_only_remount_while_nobody_writes(self):
        """The remount that a kernel allows: before the gateway has a file open for writing."""
        self.buffer.mkdir(mode=0o700)
        self.card.remount("ro")
        self.assertFalse(self.card.is_writable())
        self.start()
        self.start_fleet().wait_progress(500, "frames to go by way of memory")
        self.wait_state("failed")
        self.card.remount("rw")
        self.wait_state("healthy")
        self.broker.stop()
        self.fleet.wait_progress(1500, "the card to take frames")
        self.broker.start()
        self.finish()
        self.assert_drained()


if __name__ == "__main__":
    unittest.main()
