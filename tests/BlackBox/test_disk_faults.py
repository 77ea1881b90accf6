"""A failing disk under the published program: the quick ones. All of them: tests/faults."""
import unittest

import bench  # knows where the parts for the disk are
from trouble import FULL, Trouble


class FewFaults(Trouble):
    def test_second_sync_fails(self):
        self.passes_by("sync EIO 2 2", "EIO")

    def test_disk_is_full_for_a_while(self):
        self.lasts("pwrite ENOSPC 2 0", action="ENOSPC", states=FULL)

    def test_disk_is_read_only_for_a_while(self):
        self.lasts("change EROFS 5 0", action="EROFS")


if __name__ == "__main__":
    unittest.main()
