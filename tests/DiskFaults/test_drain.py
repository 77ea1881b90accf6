"""The way back after an outage: in order, live frames first, and no faster than configured."""
import json
import time
import unittest

from bench import wait_for
from outage import DiskTest

BACKLOG = 12_000


class Drain(DiskTest):
    def backlog(self, **buffer):
        self.start(memory="1 MiB", **buffer)
        self.start_fleet(frames_per_second=4000).wait_progress(300)
        self.broker.stop()
        self.fleet.wait_progress(BACKLOG, "the disk to take frames")
        self.before = self.fleet.ledger()

    def left(self):
        """How much of the backlog has not come yet."""
        return len(self.before - self.consumer.counts.keys())

    def test_live_first(self):
        self.backlog(drain="live-first", drainShare=10, drainRate=2000)
        self.fleet.send_at(1000)
        self.broker.start()
        wait_for(lambda: self.consumer.counts.keys() - self.before and self.left() < len(self.before) / 2,
                 "the backlog to come")
        at_half = self.consumer.counts.keys() - self.before
        self.assertGreater(len(at_half), 0)
        self.assertGreater(self.left(), 0)
        late = [json.loads(payload) for topic, payload, _ in list(self.consumer.messages) if b'"seq"' in payload]
        kinds = {bool(message.get("backfill")) for message in late}
        self.say(f"{self.left()} of the backlog to come when {len(at_half)} live frames are there; "
                 f"of the last {len(late)} messages {sum(bool(one.get('backfill')) for one in late)} are backfill")
        self.assertEqual(kinds, {True, False})
        self.finish(in_order=False)
        self.assert_drained()

    def test_no_faster_than_configured(self):
        self.backlog(drainRate=2000)
        self.fleet.is_sending = False
        came = len(self.consumer.counts)
        self.broker.start()
        wait_for(lambda: len(self.consumer.counts) > came, "the backlog to come")
        began = time.monotonic()
        wait_for(lambda: self.left() == 0, "the whole backlog")
        seconds = time.monotonic() - began
        self.say(f"{len(self.consumer.counts) - came} frames in {seconds:.1f} s at 2000/s")
        # What is in memory still is no backlog of the disk; half of it at least is.
        self.assertGreater(seconds, BACKLOG / 2000 / 2)
        self.finish()
        self.assert_drained()

    def test_sessions_and_live_frames_go_on_in_a_long_replay(self):
        self.backlog(drainRate=3000)
        self.fleet.send_at(1000)
        sessions = self.fleet.sessions
        self.broker.start()
        self.fleet.wait_progress(3000, "live frames to be acknowledged in replay")
        self.assertEqual(self.fleet.sessions, sessions, self.fleet.problems())
        self.finish()
        self.assert_drained()


if __name__ == "__main__":
    unittest.main()
