"""The tools themselves: a ledger that finds what is wrong, and faults that reach the program as it is published."""
import json
import os
import subprocess
import sys
import unittest

from bench import BlackBox, iotgw, wait_for
from card import Card
from disk_faults import DAY, DiskFaults
from ledger import check, ranges_of
from outage import DiskTest


class Ledger(BlackBox):
    def verdict(self, acks="", delivered="", gaps=(), **more):
        self.write("pump-1.acks", acks)
        self.write("delivered", delivered)
        self.write("gaps", "".join(json.dumps(gap) + "\n" for gap in gaps))
        return check(self.folder, **more)

    def test_everything_there(self):
        found = self.verdict("ack 7 1\nack 7 3\n", "pump-1 7 1\npump-1 7 2\npump-1 7 3\npump-1 7 2\n")
        self.assertEqual((found.faults(), found.acknowledged, found.delivered, found.doubles), ([], 3, 3, 1))

    def test_missing_is_named_exactly(self):
        found = self.verdict("ack 7 6\nack 8 1\n", "pump-1 7 1\npump-1 7 4\n")
        self.assertEqual(found.missing_count, 5)
        self.assertEqual(found.faults(), ["lost: pump-1 boot 7: 2-3, 5-6", "lost: pump-1 boot 8: 1"])

    def test_refused_was_not_acknowledged(self):
        found = self.verdict("nack 7 2 7\nack 7 3\n", "pump-1 7 1\npump-1 7 3\n")
        self.assertEqual((found.faults(), found.acknowledged, found.refused), ([], 2, 1))

    def test_what_is_not_acknowledged_may_be_missing(self):
        self.assertEqual(self.verdict("ack 7 1\n", "pump-1 7 1\npump-1 7 3\n").faults(), [])

    def test_gap_report_accounts_for_its_own_frames_only(self):
        gap = {"device": "pump-1", "boot": 7, "from": 2, "to": 3, "count": 2, "reason": "drop-oldest"}
        found = self.verdict("ack 7 4\n", "pump-1 7 1\n", [gap])
        self.assertEqual((found.reported, found.faults()), (2, ["lost: pump-1 boot 7: 4"]))

    def test_gap_report_of_another_boot_accounts_for_nothing(self):
        gap = {"device": "pump-1", "boot": 8, "from": 1, "to": 1, "count": 1, "reason": "drop-oldest"}
        self.assertEqual(self.verdict("ack 7 1\n", "", [gap]).faults(), ["lost: pump-1 boot 7: 1"])

    def test_gap_report_without_a_sense(self):
        for change in ({"from": 3}, {"count": 9}, {"count": 0}, {"reason": ""}, {"boot": "7"}, {"to": None}):
            gap = {"device": "pump-1", "boot": 7, "from": 1, "to": 2, "count": 2, "reason": "x"} | change
            self.assertEqual(len(self.verdict("", "", [gap]).bad_reports), 1, gap)

    def test_first_deliveries_are_in_order(self):
        delivered = "pump-1 7 1\npump-1 7 3\npump-1 7 2\npump-2 7 1\npump-1 7 1\npump-1 8 1\n"
        self.assertEqual(self.verdict("", delivered).disorder, [("pump-1", 7, 2, 3)])
        self.assertEqual(self.verdict("", delivered, in_order=False).faults(), [])

    def test_line_that_is_half_written_does_not_count(self):
        self.assertEqual(self.verdict("ack 7 1\nack 7 23", "pump-1 7 1\n").acknowledged, 1)

    def test_ranges(self):
        self.assertEqual(ranges_of({1, 2, 3, 7, 9, 10}), "1-3, 7, 9-10")


class Faults(BlackBox):
    """The key file is written with the same calls as the buffer."""

    def setUp(self):
        super().setUp()
        self.faults = DiskFaults(self.folder, self.folder / "keys")
        (self.folder / "keys").mkdir()
        self.write("gateway.json", {"devices": {"file": "keys/devices.json"}})

    def add(self, name):
        return iotgw("device", "add", name, "--config", self.folder / "gateway.json",
                     environment=self.faults.environment).returncode

    def test_published_program_calls_what_is_preloaded(self):
        self.faults.set("trace")
        self.assertEqual(self.add("pump-1"), 0)
        # The runtime's own calls (create, pwrite), and those looked up in libc's handle (sync, open of a folder).
        called = {call.name for call in self.faults.calls()}
        self.assertLessEqual({"create", "pwrite", "sync", "open", "rename"}, called)

    def test_each_errno_reaches_it(self):
        for rule, number in (("sync EIO 1 1", 5), ("pwrite ENOSPC 1 0", 28), ("change EROFS 1 0", 30),
                             ("rename EIO 1 1", 5), ("sync EIO 2 2", 5)):
            self.faults.forget()
            self.faults.set(rule)
            self.assertEqual(self.add("pump-1"), 1, rule)
            self.assertEqual({call.errno for call in self.faults.calls()}, {number}, rule)
        self.faults.clear()
        self.assertEqual(self.add("pump-2"), 0)

    def test_other_folders_are_well(self):
        self.faults = DiskFaults(self.folder, self.folder / "key")
        self.faults.set("any EIO 1 0")
        self.assertEqual(self.add("pump-1"), 0)
        self.assertEqual(self.faults.calls(), [])

    def test_counting_of_calls(self):
        program = ("import os, sys\nfile = os.open(sys.argv[1], os.O_CREAT | os.O_WRONLY)\nfor _ in range(6):\n"
                   "    try:\n        os.fdatasync(file)\n        print('.', end='')\n"
                   "    except OSError as problem:\n        print(problem.errno, end='')\n")
        for rule, said in (("sync EIO 3 3", "..5..."), ("sync ENOSPC 5 0", "....2828"), ("sync EIO 2 4 here", ".555.."),
                           ("sync EIO 1 0 !here", "......"), ("pwrite EIO 1 0", "......")):
            self.faults.set(rule)
            done = subprocess.run([sys.executable, "-c", program, self.folder / "keys" / "here"], capture_output=True,
                                  text=True, env=os.environ | self.faults.environment, check=True)
            self.assertEqual(done.stdout, said, rule)


class Promises(DiskTest):
    def test_gateway_that_promises_too_much_is_found_out(self):
        """Acknowledged in memory and killed: the whole set-up must see that frames are lost."""
        self.start(ack="memory", disk="0")
        self.start_fleet().wait_progress(300)
        self.broker.stop()
        self.fleet.wait_progress(500, "memory to take frames")
        self.kill_gateway()
        self.fleet.end()
        self.broker.start()
        wait_for(lambda: len(self.consumer.counts) >= 300, "what came before")
        self.consumer.end()
        verdict = check(self.ledger)
        self.say(str(verdict))
        self.assertGreaterEqual(verdict.missing_count, 500 - 256)
        self.assertEqual({line.split()[0] for line in verdict.faults()}, {"lost:"})


class ClockAndCard(DiskTest):
    def test_clock_of_the_gateway_alone_is_stepped(self):
        self.start(spillAfter="10s")
        self.start_fleet().wait_progress(100)
        for days in (1, -1, 3652):
            self.faults.step_clock(days * DAY)
            self.fleet.wait_progress(2000)
            sent = json.loads([payload for topic, payload, _ in self.consumer.messages if b'"seq"' in payload][-1])
            self.assertAlmostEqual(sent["ts"] / 1000 / DAY, self.now_in_days() + days, delta=0.1)
        self.finish()

    @staticmethod
    def now_in_days():
        return float(subprocess.run(["date", "+%s"], capture_output=True, check=True).stdout) / DAY

    def test_card_is_full_free_broken_and_repaired(self):
        if os.geteuid() != 0:
            self.skipTest("only root can mount")
        card = Card(self.folder)
        self.addCleanup(card.end)
        card.mount()
        self.assertTrue(card.is_writable())
        card.fill()
        self.assertFalse(card.is_writable())
        card.free()
        self.assertTrue(card.is_writable())
        with (card.point / "open").open("wb"):
            card.break_down()
            self.assertFalse(card.is_writable())
            card.repair()
            self.assertTrue(card.is_writable())


if __name__ == "__main__":
    unittest.main()
