"""Bytes on disk: none with the broker there, at most 1.3 times the frames without it."""
import unittest

from wear import Wear


class LongWear(Wear):
    def test_broker_up(self):
        self.nothing_with_broker_up(20_000)

    def test_broker_down(self):
        self.little_with_broker_down(60_000)


if __name__ == "__main__":
    unittest.main()
