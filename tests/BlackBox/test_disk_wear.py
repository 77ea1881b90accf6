"""Bytes on disk: none with the broker there, at most 1.3 times the frames without it."""
import unittest

import bench  # knows where the parts for the disk are
from wear import Wear


class ShortWear(Wear):
    def test_broker_up(self):
        self.nothing_with_broker_up(3000)

    def test_broker_down(self):
        self.little_with_broker_down(10_000)


if __name__ == "__main__":
    unittest.main()
