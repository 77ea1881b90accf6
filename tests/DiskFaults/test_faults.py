"""Every call of the gateway to its disk fails, once and for good, and with each errno that cards are known for."""
import shutil
import subprocess
import unittest

from bench import HANG_SECONDS, end_with_us, wait_for
from trouble import FULL, Trouble


class Once(Trouble):
    def sync_fails_in_an_outage(self, number):
        self.passes_by(f"sync EIO {number} {number}", "EIO")

    def sync_fails_since_the_start(self, number):
        self.faults.set(f"sync EIO {number} {number}")
        self.broker.stop()
        self.start()
        self.start_fleet().wait_progress(1500, "the disk to take frames")
        self.assertEqual(self.faults.struck("EIO"), 1)
        self.broker.start()
        self.finish()
        self.assert_drained()

    def test_write_fails(self):
        self.passes_by("pwrite EIO 3 3", "EIO")

    def test_write_is_short(self):
        self.passes_by("pwrite short 1 20", "short")

    def test_disk_is_full_at_a_write(self):
        self.passes_by("pwrite ENOSPC 2 4", "ENOSPC")

    def test_disk_is_full_at_a_sync(self):
        self.passes_by("sync ENOSPC 2 3", "ENOSPC")

    def test_file_cannot_be_made(self):
        self.passes_by("create EMFILE 1 1", "EMFILE")

    def test_rename_fails(self):
        self.passes_by("rename EIO 1 1", "EIO")


class OnceInMidstream(Trouble):
    """Once the files are there and full of frames."""
    frames_before = 1500


for nth in (1, 2, 3, 5, 8):
    setattr(Once, f"test_sync_{nth}_of_an_outage_fails", lambda self, nth=nth: self.sync_fails_in_an_outage(nth))
    setattr(OnceInMidstream, f"test_sync_{nth}_from_then_on_fails", lambda self, nth=nth: self.passes_by(
        f"sync EIO {nth} {nth}", "EIO"))
for nth in (1, 2, 4):
    setattr(Once, f"test_sync_{nth}_since_the_start_fails", lambda self, nth=nth: self.sync_fails_since_the_start(nth))


class ForGood(Trouble):
    def test_sync_fails(self):
        self.lasts("sync EIO 3 0", action="EIO")

    def test_write_fails(self):
        self.lasts("pwrite EIO 2 0", action="EIO")

    def test_disk_is_full_at_writes(self):
        self.lasts("pwrite ENOSPC 4 0", action="ENOSPC", states=FULL)

    def test_disk_is_full_at_syncs(self):
        self.lasts("sync ENOSPC 4 0", action="ENOSPC", states=FULL)

    def test_everything_is_read_only(self):
        self.lasts("change EROFS 5 0", action="EROFS")

    def test_everything_is_read_only_from_the_first_call(self):
        self.lasts("change EROFS 1 0", action="EROFS")

    def test_nothing_can_be_opened(self):
        self.lasts("create EACCES 1 0", "open EACCES 1 0", action="EACCES")

    def test_sync_fails_and_the_broker_comes_back(self):
        self.lasts_until_the_broker_is_back("sync EIO 1 0")

    def test_read_only_and_the_broker_comes_back(self):
        self.lasts_until_the_broker_is_back("change EROFS 9 0")

    def test_disk_is_full_and_the_broker_comes_back(self):
        self.lasts_until_the_broker_is_back("pwrite ENOSPC 6 0", states=FULL)


class ForGoodInMidstream(ForGood):
    """The same once the files are there and full of frames."""
    frames_before = 1500


class AtTheStart(Trouble):
    def test_read_only_at_the_start(self):
        """A gateway on a read-only card with its broker there does its work and says what is the matter."""
        self.faults.set("change EROFS 1 0")
        self.start()
        self.start_fleet().wait_progress(500)
        self.wait_state("failed")
        self.faults.clear()
        self.wait_state("healthy")
        self.broker.stop()
        self.fleet.wait_progress(1500, "the disk to take frames")
        self.broker.start()
        self.finish()

    def test_killed_while_syncs_fail(self):
        """What was acknowledged before is there, what the disk did not take was not acknowledged."""
        self.outage("nothing nothing 1 1")
        self.fleet.wait_progress(1500, "the disk to take frames")
        self.faults.set("sync EIO 2 0")
        self.wait_state("failed")
        self.kill_gateway()
        self.running.start_unchecked()
        self.faults.clear()
        wait_for(self.running.is_up, "the gateway to be up again")
        self.fleet.wait_progress(500, "the disk to take frames again")
        self.broker.start()
        self.finish()
        self.assert_drained()


class Reading(Trouble):
    """Faults of reading, while what is on disk is published. Memory is small so that it must be read."""

    def backlog(self, *rules):
        self.start(memory="1 MiB")
        self.start_fleet(frames_per_second=3000)
        self.fleet.wait_progress(300)
        self.broker.stop()
        self.fleet.wait_progress(12_000, "the disk to take frames")
        self.faults.set(*rules)
        self.broker.start()

    def test_read_fails_once(self):
        self.backlog("read EIO 1 1")
        wait_for(lambda: self.faults.struck("EIO"), "a read to fail")
        self.finish(gaps_expected=True)
        self.assert_drained()

    def test_read_fails_again_and_again_and_then_not(self):
        self.backlog("read EIO 2 0")
        wait_for(lambda: self.faults.struck("EIO"), "a read to fail")
        self.fleet.wait_progress(500, "the gateway to go on beside what cannot be read")
        self.say(f"while nothing can be read: {self.disk()}")
        self.faults.clear()
        self.finish(gaps_expected=True)
        self.assert_drained()

    def test_read_fails_at_the_start(self):
        self.backlog("nothing nothing 1 1")
        self.broker.stop()
        self.kill_gateway()
        self.faults.set("read EIO 2 2")
        self.running.start()
        self.broker.start()
        self.fleet.wait_progress(200)
        self.finish(gaps_expected=True)
        self.assert_drained()


class Slow(Trouble):
    def test_every_sync_takes_ten_seconds(self):
        self.outage("sync delay=10000 1 2")
        wait_for(lambda: self.faults.struck("delay=10000"), "a slow sync")
        # Status, metrics and devices' connections go on meanwhile.
        self.running.status()
        self.metrics()
        sessions = self.fleet.sessions
        self.fleet.wait_progress(3000, "the disk to take frames after slow syncs")
        self.assertEqual(self.fleet.sessions, sessions, self.fleet.problems())
        self.broker.start()
        self.finish()
        self.assert_drained()

    def test_slow_sync_does_not_hold_up_replay(self):
        self.outage("nothing nothing 1 1")
        self.fleet.wait_progress(2000, "the disk to take frames")
        self.faults.set("sync delay=30000 1 0")
        wait_for(lambda: self.faults.struck("delay=30000"), "a slow sync")
        self.broker.start()
        before = len(self.consumer.counts)
        wait_for(lambda: len(self.consumer.counts) >= before + 2000, "the backlog to come", limit=29)
        self.faults.clear()
        self.finish()


class Directory(Trouble):
    def test_it_is_made_for_its_user_alone(self):
        self.start()
        self.start_fleet().wait_progress(100)
        self.broker.stop()
        self.fleet.wait_progress(500, "the disk to take frames")
        self.assertEqual(self.buffer.stat().st_mode & 0o777, 0o700)
        self.broker.start()
        self.finish()

    def test_second_gateway_on_it_is_refused(self):
        self.start()
        self.start_fleet().wait_progress(100)
        (self.folder / "other").mkdir()
        other = self.gateway({"gateway": {"id": "other"}, "buffer": {"directory": str(self.buffer)}},
                             folder=self.folder / "other")
        self.assertEqual(other.start_unchecked().wait(HANG_SECONDS), 3, other.log())
        self.assertIn(str(self.buffer), other.log())
        self.broker.stop()
        self.fleet.wait_progress(500, "the disk to take frames")
        self.broker.start()
        self.finish()


class UnderTheTracer(Trouble):
    """The kernel's side of the same: the gateway's own calls, without a library between."""

    def test_syncs_fail(self):
        if shutil.which("strace") is None:
            self.skipTest("strace is not installed")
        self.faults.environment = {}
        self.start()
        self.start_fleet(frames_per_second=1000).wait_progress(300)
        self.broker.stop()
        self.fleet.wait_progress(500, "the disk to take frames")
        trace = self.folder / "trace"
        tracer = subprocess.Popen(
            ["strace", "-f", "-qq", "-o", str(trace), "-e", "trace=fdatasync,fsync", "-e",
             "inject=fdatasync,fsync:error=EIO:when=2+", "-p", str(self.running.process.pid)],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, preexec_fn=end_with_us)
        self.addCleanup(lambda: (tracer.terminate(), tracer.wait(HANG_SECONDS)))
        self.wait_state("failed")
        self.assert_acknowledging_stops()
        self.assertIn("(INJECTED)", trace.read_text())
        tracer.terminate()
        tracer.wait(HANG_SECONDS)
        self.wait_state("healthy")
        self.fleet.wait_progress(500, "the disk to take frames again")
        self.broker.start()
        self.finish()
        self.assert_drained()


if __name__ == "__main__":
    unittest.main()
