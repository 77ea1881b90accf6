"""SIGKILL with frames on disk, and an end in order: the quick ones. All of them: tests/faults."""
import unittest

import bench  # knows where the parts for the disk are
from kills import Kills


class FewKills(Kills):
    def test_broker_up(self):
        self.killed_with_broker_up(2)

    def test_broker_down(self):
        self.killed_with_broker_down(3)

    def test_broker_flapping(self):
        self.killed_with_broker_flapping(2)


if __name__ == "__main__":
    unittest.main()
