"""A disk that fails while the broker is away, and the ways back."""
import errno
import os

from bench import wait_for
from outage import DiskTest

WORDS = {name: os.strerror(getattr(errno, name)) for name in ("EIO", "ENOSPC", "EROFS", "EACCES")}
# A disk that has no room even once the reserve is given up may be called either.
FULL = ("full", "failed")


class Trouble(DiskTest):
    """The scenarios; which faults is with those who inherit."""

    # How many frames go to the disk before it fails: with none it fails while the buffer's files are made.
    frames_before = 0

    def outage(self, *rules, **buffer):
        """The broker goes, and then the disk has these faults."""
        self.start(**buffer)
        self.start_fleet()
        self.fleet.wait_progress(300)
        self.broker.stop()
        if self.frames_before:
            self.fleet.wait_progress(self.frames_before, "the disk to take frames")
        self.faults.set(*rules)

    def passes_by(self, rule, action):
        """A fault that strikes once and is gone: nobody waits for long, nothing is lost."""
        self.outage(rule)
        wait_for(lambda: self.faults.struck(action), f"the fault to strike: {rule}")
        self.fleet.wait_progress(1500, f"the disk to take frames after {rule}")
        self.faults.clear()
        self.wait_state("healthy")
        self.broker.start()
        self.finish()
        self.assert_drained()

    def lasts(self, *rules, action, states=("failed",)):
        """A fault for good: it is told, acknowledging stops, and both end when the fault does, without a restart."""
        self.outage(*rules)
        seen = self.wait_state(*states)
        self.assertIn(WORDS[action], seen["error"])
        self.assert_acknowledging_stops()
        # The disk is asked again and again, and it is not the end of the process.
        struck = self.faults.struck(action)
        wait_for(lambda: self.faults.struck(action) > struck, "the disk to be tried again")
        self.assert_alive()
        self.faults.clear()
        self.wait_state("healthy")
        self.fleet.wait_progress(1500, "the disk to take frames again")
        self.say(f"{', '.join(rules)}: {seen['state']}, \"{seen['error']}\", struck {self.faults.struck(action)} times")
        self.broker.start()
        self.finish()
        self.assert_drained()

    def lasts_until_the_broker_is_back(self, *rules, states=("failed",)):
        """The disk never comes back, the broker does: everything goes by way of memory."""
        self.outage(*rules)
        self.wait_state(*states)
        self.assert_acknowledging_stops()
        self.broker.start()
        self.fleet.wait_progress(1500, "the gateway to go on without its disk")
        self.assertIn(self.disk()["state"], (*states, "healthy"))
        self.finish()

    def assert_acknowledging_stops(self):
        """No device is told anything while neither disk nor broker has its frames."""
        def is_still():
            before = self.fleet.acknowledged
            try:
                wait_for(lambda: self.fleet.acknowledged > before, "", limit=2)
            except AssertionError:
                return True
            return False
        wait_for(is_still, "the gateway to acknowledge nothing more")
