"""What the gateway writes on its disk: nothing while the broker keeps up, little more than the frames in an outage."""
import pathlib
import re

from bench import wait_for
from outage import FRAME_BYTES, DiskTest

BYTES_PER_FRAME_MAX = 1.3
FRAMES_PER_SYNC_MIN = 64


class Wear(DiskTest):
    def device_bytes(self):
        """What the kernel wrote for this process, whole pages of it."""
        return int(re.search(r"^write_bytes: (\d+)", self.running.proc("io"), re.MULTILINE)[1])

    def nothing_with_broker_up(self, frames):
        self.start(spillAfter="10s")
        before = self.bytes_on_disk()
        self.faults.set("trace")
        written = self.metric("iotgw_buffer_disk_written_bytes_total")
        self.start_fleet()
        self.fleet.wait_progress(frames)
        calls = [call for call in self.faults.calls() if call.name in ("pwrite", "write", "create", "sync")]
        self.say(f"{self.fleet.acknowledged} frames: {self.bytes_on_disk() - before} bytes on disk, {len(calls)} calls")
        self.assertEqual(calls, [])
        self.assertEqual(self.bytes_on_disk(), before)
        self.assertEqual(self.metric("iotgw_buffer_bytes", where="disk"), 0)
        self.assertEqual(self.metric("iotgw_buffer_disk_written_bytes_total") - written, 0)
        self.finish()

    def little_with_broker_down(self, frames):
        self.broker.stop()
        self.start()
        device_bytes = self.device_bytes()
        self.faults.set("trace")
        # Enough devices that a commit finds its 64 frames.
        self.start_fleet(count=32, frames_per_second=6000).wait_progress(frames, "the disk to take frames")
        self.fleet.is_sending = False
        wait_for(self.is_at_end, "the last frames to be on disk")
        written = self.account(device_bytes)
        self.broker.start()
        self.finish()
        self.assertLessEqual(written, BYTES_PER_FRAME_MAX * FRAME_BYTES)

    def account(self, device_bytes_before):
        """Bytes written a frame, without zeros in advance; said beside what else can be counted."""
        frames = self.fleet.acknowledged
        calls = [call for call in self.faults.calls() if call.errno == 0]
        segments = [call for call in calls if ".seg" in pathlib.Path(call.path).name]
        syncs = len([call for call in segments if call.name == "sync"])
        data = sum(call.bytes for call in calls if call.name in ("pwrite", "write") and call.bytes > 0)
        zeros = -sum(call.bytes for call in calls if call.name in ("pwrite", "write") and call.bytes < 0)
        self.say(f"{frames} frames of {FRAME_BYTES} B, {frames / max(syncs, 1):.0f} a sync: "
                 f"{data / frames:.1f} B a frame written ({data / frames / FRAME_BYTES:.2f} times), {zeros / frames:.1f} B zeros in advance, "
                 f"{(self.device_bytes() - device_bytes_before) / frames:.0f} B of pages (/proc), the metric says "
                 f"{self.metric('iotgw_buffer_disk_written_bytes_total') / frames:.1f} B")
        self.assertGreaterEqual(frames / max(syncs, 1), FRAMES_PER_SYNC_MIN, "too few frames a sync to measure")
        return data / frames
