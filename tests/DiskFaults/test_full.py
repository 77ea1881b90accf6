"""The cap on disk is reached: devices wait, or frames are given up, and each of them is told to the consumer."""
import unittest

from bench import wait_for
from fleet import Fleet
from outage import FRAME_BYTES, LISTENER, DiskTest


# So many that their windows are more than memory holds.
MANY = 150


class Full(DiskTest):
    def outage(self, frames, devices=12, **buffer):
        self.start(disk="8 MiB", memory="1 MiB", listeners=[LISTENER | {"maxConnectionsPerAddress": 200}], **buffer)
        self.start_fleet(devices, frames_per_second=5000).wait_progress(300)
        self.broker.stop()
        self.spill(frames)

    def spill(self, frames):
        """In steps: each has its own limit against hanging."""
        for _ in range(0, frames, 5000):
            self.fleet.wait_progress(min(frames, 5000), "the disk to take frames")

    def test_refuse_holds_the_devices_back(self):
        self.outage(1000, MANY, whenFull="refuse")
        self.wait_state("full")
        # Windows shrink with the memory that is left, so that it fills and does not run over.
        wait_for(lambda: self.running.status()["buffer"]["memoryBytes"] > 400 << 10, "memory to fill")
        self.assertLessEqual(self.bytes_on_disk(), 9 << 20)
        self.broker.start()
        self.finish()
        self.assert_drained()

    def test_oldest_are_dropped_and_reported(self):
        self.outage(90_000, whenFull="drop-oldest")
        self.broker.start()
        self.assert_reported(self.finish(gaps_expected=True))

    def test_newest_are_dropped_and_reported(self):
        self.outage(1000, MANY, whenFull="drop-newest")
        wait_for(lambda: self.dropped() > 1000, "frames to be dropped")
        self.broker.start()
        verdict = self.finish(gaps_expected=True)
        self.assertGreater(verdict.refused + verdict.reported, 0)

    def test_kills_while_oldest_are_dropped(self):
        self.outage(40_000, whenFull="drop-oldest")
        for _ in range(3):
            self.fleet.wait_progress(self.dice.randint(1000, 8000), "the disk to take frames")
            self.kill_gateway()
            self.running.start()
        self.broker.start()
        verdict = self.finish(gaps_expected=True)
        self.assertGreater(verdict.reported, 0)

    def test_what_matters_is_dropped_last(self):
        self.start(disk="12 MiB", memory="1 MiB", whenFull="drop-oldest",
                   listeners=[LISTENER | {"priority": 1}, LISTENER | {"name": "alarms", "priority": 3}])
        alarms = Fleet(self.running.address(1), 2, prefix="alarm-", frames_per_second=100, frame_bytes=FRAME_BYTES,
                       ledger=self.ledger)
        self.addCleanup(alarms.end)
        self.start_fleet(frames_per_second=5000).wait_progress(300)
        self.broker.stop()
        self.spill(60_000)
        alarms.is_sending = False
        wait_for(lambda: all(device.is_done for device in alarms.devices), "the alarms to be on disk")
        self.broker.start()
        self.assert_reported(self.finish(gaps_expected=True))
        wait_for(lambda: not alarms.ledger() - self.consumer.counts.keys(), "the alarms to come")
        self.assertEqual([one for one in self.consumer.gap_reports if one["device"].startswith("alarm-")], [])

    def dropped(self):
        return sum(value for name, value in self.metrics().items() if name.startswith("iotgw_buffer_dropped_total"))

    def assert_reported(self, verdict):
        """Drops, reports and what is missing at the consumer are one number."""
        self.assertGreater(verdict.reported, 0)
        counts = sum(report["count"] for report in self.consumer.gap_reports)
        self.say(f"dropped {self.dropped():.0f}, reported {counts} in {len(self.consumer.gap_reports)} reports")
        # What was on its way when the broker ended may have been delivered, and dropped all the same.
        self.assertLessEqual(abs(self.dropped() - verdict.reported - verdict.refused), 256)
        self.assertGreaterEqual(counts, verdict.reported)


if __name__ == "__main__":
    unittest.main()
