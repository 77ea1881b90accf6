"""iotgw buffer on directories that were written from the documentation alone, on damaged ones, and on a live one."""
import fcntl
import hashlib
import json
import os
import pathlib
import pty
import random
import select
import struct
import subprocess
import time
import unittest

import bench
from bench import BlackBox, clean_environment, iotgw
from device import F32, crc32c, data_of
from fleet import Fleet
from spool import ARRIVED, frame, frame_of_unset_clock, mark, table, write_journal

BASE_TIME = 1_763_900_000_000_000
CHANNELS = table(1, (1, F32, "temperature", "Cel"))
ONE_LINE = r"^iotgw: [^\n]+\n$"


def body(value, base_time=BASE_TIME):
    return data_of(base_time, [(1, F32, 0, struct.pack("<f", value))])


def frames(count, device="pump-7", first=1):
    return [frame(device, number, body(number), arrived=ARRIVED + 1000 * number)
            for number in range(first, first + count)]


class Buffer(BlackBox):
    def setUp(self):
        super().setUp()
        self.directory = self.folder / "buffer"
        self.lane = self.directory / "lane-2"

    def run_verb(self, verb, *arguments):
        done = iotgw("buffer", verb, "--directory", self.directory, *arguments)
        self.assertNotRegex(done.stdout + done.stderr, r"   at |Exception|\bSystem\.", (verb, arguments))
        return done

    def fine(self, verb, *arguments):
        done = self.run_verb(verb, *arguments)
        self.assertEqual(done.returncode, 0, done)
        return done.stdout

    def print_of(self):
        """Everything of the directory that a look must leave alone; access times are not in it."""
        kept = {}
        for path in sorted(self.directory.rglob("*")):
            state = path.stat()
            content = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
            kept[str(path)] = (content, state.st_mtime_ns, state.st_ctime_ns, state.st_ino, state.st_mode)
        return kept


class Dead(Buffer):
    def test_every_verb_reads_what_the_documentation_says(self):
        write_journal(self.lane, [mark(5), CHANNELS, *frames(4), mark(60), *frames(6, first=5)], settled=4,
                      entries_a_segment=5)
        write_journal(self.directory / "quarantine",
                      [CHANNELS, frame("pump-8", 1, body(1), reason="packet-too-large")])
        before = self.print_of()
        self.assertIn("is whole", self.fine("verify"))
        status = json.loads(self.fine("status", "--json"))
        self.assertEqual([(one["name"], one["waiting"]) for one in status["journals"]],
                         [("lane-2", 8), ("quarantine", 1)])
        self.assertFalse(status["isInUse"])
        self.assertEqual(status["journals"][0]["oldest"], {"unixMilliseconds": ARRIVED + 3000, "isSynchronised": True})
        self.assertGreater(status["secondsUntilFull"], 3600)
        lines = self.fine("dump").splitlines()
        self.assertEqual(len(lines), 8)
        self.assertEqual(lines[0], "lane-2 5 pump-7 boot 7 seq 3 2025-11-23T12:13:23.000Z 19 B temperature=3")
        self.assertEqual(len(self.fine("dump", "--all").splitlines()), 10)
        messages = [json.loads(line) for line in self.fine("export", "--set", "gateway.id=box").splitlines()]
        self.assertEqual(messages[0], {"topic": "telemetry/box/pump-7", "payload": {
            "device": "pump-7", "boot": 7, "seq": 3, "ts": BASE_TIME // 1000, "values": {"temperature": 3}}})
        self.assertEqual([one["payload"]["seq"] for one in messages], list(range(3, 11)))
        refused = json.loads(self.fine("export", "--quarantine"))
        self.assertEqual((refused["payload"]["device"], refused["reason"]), ("pump-8", "packet-too-large"))
        self.assertEqual(self.print_of(), before)

    def test_arrival_without_a_clock_is_told(self):
        write_journal(self.lane, [CHANNELS, frame_of_unset_clock("pump-7", 1, body(1, base_time=0))])
        payload = json.loads(self.fine("export"))["payload"]
        self.assertEqual((payload["ts"], payload["timeQuality"]), (5000, "unsynced"))
        self.assertIn("1970-01-01T00:00:05.000Z?", self.fine("dump"))

    def test_arrival_in_this_boot_of_the_host_is_corrected(self):
        boot = crc32c(pathlib.Path("/proc/sys/kernel/random/boot_id").read_text().strip().encode()) or 1
        ago = 100
        write_journal(self.lane, [CHANNELS, frame_of_unset_clock(
            "pump-7", 1, body(1, base_time=0), host_boot=boot, monotonic=int((time.monotonic() - ago) * 1e6))])
        payload = json.loads(self.fine("export", "--set", "gateway.trustClock=true"))["payload"]
        self.assertEqual(payload["timeQuality"], "arrival")
        self.assertAlmostEqual(payload["ts"] / 1000, time.time() - ago, delta=30)

    def test_directory_that_cannot_be_read(self):
        done = self.run_verb("verify")
        self.assertEqual((done.returncode, done.stdout), (3, ""))
        self.assertRegex(done.stderr, ONE_LINE)
        self.assertIn(str(self.directory), done.stderr)

    def test_every_truncation_is_told(self):
        whole = frames(3)
        segment, = write_journal(self.lane, [CHANNELS, *whole])
        content = segment.path.read_bytes()
        for length in range(0, len(content), 3):  # of every record every place modulo 8
            segment.path.write_bytes(content[:length])
            done = self.run_verb("verify")
            self.assertEqual(done.returncode, 1, f"cut to {length}: {done}")
            self.assertIn("DAMAGED", done.stdout)

    def test_bit_flips_are_told_and_the_rest_is_exported(self):
        seed = int(os.environ.get("IOTGW_SEED", random.randrange(1 << 32)))
        dice = random.Random(seed)
        segment, = write_journal(self.lane, [CHANNELS, *frames(4)])
        content = segment.path.read_bytes()
        for _ in range(60):
            damaged = bytearray(content)
            bit = dice.randrange(len(content) * 8)
            damaged[bit // 8] ^= 1 << bit % 8
            segment.path.write_bytes(damaged)
            told = self.run_verb("verify")
            self.assertEqual(told.returncode, 1, f"bit {bit}, IOTGW_SEED={seed}: {told}")
            exported = self.run_verb("export")
            self.assertGreaterEqual(exported.stdout.count("\n"), 3, f"bit {bit}, IOTGW_SEED={seed}: {exported}")

    def test_garbage_and_foreign_files_do_no_harm(self):
        write_journal(self.lane, [CHANNELS, *frames(2)])
        (self.lane / "0000000000000009-0000000000000009.seg").write_bytes(os.urandom(5000))
        (self.lane / "holiday.jpg").write_bytes(os.urandom(100))
        (self.directory / "custody").write_bytes(os.urandom(64))
        done = self.run_verb("verify")
        self.assertEqual(done.returncode, 1, done)
        self.assertIn("files that are not ours", done.stdout)
        self.assertEqual(self.fine_or_damaged("export").count("\n"), 2)

    def fine_or_damaged(self, verb):
        done = self.run_verb(verb)
        self.assertIn(done.returncode, (0, 1), done)
        return done.stdout

    def test_text_of_devices_does_not_reach_the_terminal(self):
        write_journal(self.lane, [table(1, (1, F32, "\x1b]0;owned\x07", "")), frame("pump-7", 1, body(1))])
        shown = self.fine("dump")
        self.assertNotRegex(shown, r"[\x00-\x09\x0b-\x1f\x7f]")
        self.assertIn("\\u001b", shown)

    def test_output_file_is_new(self):
        write_journal(self.lane, [CHANNELS, *frames(3)])
        target = self.folder / "out.jsonl"
        self.assertEqual(self.fine("export", "--output", target), "")
        self.assertEqual(target.read_text().count("\n"), 3)
        done = self.run_verb("export", "--output", target)
        self.assertEqual(done.returncode, 3)
        self.assertRegex(done.stderr, ONE_LINE)


class Drop(Buffer):
    def setUp(self):
        super().setUp()
        write_journal(self.lane, [CHANNELS, *frames(5)])
        write_journal(self.directory / "lane-3", [CHANNELS, *frames(2, "pump-9")])

    def test_only_what_was_named_goes(self):
        shown = self.fine("drop", "--lane", "2", "--yes")
        self.assertIn("pump-7 boot 7: 5 frames from 1 to 5", shown)
        self.assertEqual(len(self.fine("dump").splitlines()), 2)
        self.assertIn("is whole", self.fine("verify"))
        self.assertEqual(list(self.lane.glob("*.seg")), [])

    def test_files_stay_those_of_the_directorys_owner(self):
        if os.geteuid() != 0:
            self.skipTest("only root can write for another user")
        self.folder.chmod(0o755)
        for path in [self.directory, *self.directory.rglob("*")]:
            os.chown(path, 12345, 12346)
        self.fine("drop", "--all", "--yes")
        for path in self.directory.rglob("*"):
            self.assertEqual((path.stat().st_uid, path.stat().st_gid), (12345, 12346), path)

    def test_full_disk_is_emptied(self):
        disk = self.folder / "disk"
        disk.mkdir()
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", disk], check=False).returncode != 0:
            self.skipTest("no file system can be mounted here")
        self.addCleanup(subprocess.run, ["umount", disk], check=True)
        self.directory = disk / "buffer"
        write_journal(self.directory / "lane-1", [CHANNELS, *frames(1000)], entries_a_segment=300)
        (self.directory / "lane-1" / "reserve").write_bytes(b"\0" * (576 << 10))
        with (disk / "filling").open("wb", buffering=0) as filling:
            while True:
                try:
                    filling.write(b"x" * 4096)
                except OSError:
                    break
        self.assertIn("dropped 1000 frames", self.fine("drop", "--all", "--yes"))
        self.assertIn("1 reports waiting", self.fine("status"))
        self.assertIn("is whole", self.fine("verify"))
        self.assertEqual(self.fine("dump"), "")

    def test_nobody_to_ask_and_no_yes(self):
        before = self.print_of()
        done = self.run_verb("drop", "--all")
        self.assertEqual(done.returncode, 2)
        self.assertRegex(done.stderr, ONE_LINE)
        self.assertEqual(self.print_of(), before)

    def test_lock_held_by_another(self):
        before = self.print_of()
        with (self.directory / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            done = self.run_verb("drop", "--all", "--yes")
            self.assertIn("runs on it", self.fine("status", "--socket", self.folder / "none.sock"))
        self.assertEqual(done.returncode, 3)
        self.assertRegex(done.stderr, ONE_LINE)
        (self.directory / ".lock").unlink()
        self.assertEqual({path: kept[:2] for path, kept in self.print_of().items()},
                         {path: kept[:2] for path, kept in before.items()})

    def test_asked_on_a_terminal(self):
        code, shown = self.answer(b"n\n")
        self.assertIn("7 frames of 2 devices", shown)
        self.assertEqual((code, len(self.fine("dump").splitlines())), (1, 7))
        code, shown = self.answer(b"y\n")
        self.assertEqual((code, self.fine("dump")), (0, ""), shown)

    def answer(self, text):
        """Exit code and what a terminal showed, of "drop --all" whose question gets this answer."""
        ours, theirs = pty.openpty()
        try:
            with subprocess.Popen([bench.IOTGW, "buffer", "drop", "--all", "--directory", str(self.directory)],
                                  stdin=theirs, stdout=theirs, stderr=theirs, env=clean_environment()) as process:
                shown, is_answered, until = b"", False, time.monotonic() + bench.HANG_SECONDS
                while time.monotonic() < until:
                    if select.select([ours], [], [], 0.1)[0]:
                        shown += os.read(ours, 4096)
                    elif process.poll() is not None:
                        break
                    if b"[y/N]" in shown and not is_answered:
                        os.write(ours, text)
                        is_answered = True
                return process.wait(1), shown.decode()
        finally:
            os.close(ours)
            os.close(theirs)


class Live(Buffer):
    def test_running_gateway_is_looked_at_and_not_disturbed(self):
        running = self.gateway({
            "buffer": {"directory": str(self.directory), "spillAfter": "100ms"},
            "listeners": [{"name": "field", "endpoint": "127.0.0.1:0", "authentication": ["none"],
                           "framesPerSecond": 10000}],
            "mqtt": {"brokers": [f"mqtt://127.0.0.1:{bench.free_port()}"]}})
        running.start()
        fleet = Fleet(running.address(), 4)
        self.addCleanup(fleet.end)
        fleet.wait_progress(200)
        for _ in range(10):
            self.assertIn("is whole", self.fine("verify"))
            self.assertIn("runs on it", self.fine("status", "--socket", running.socket))
        self.assertTrue(json.loads(self.fine("status", "--json", "--socket", running.socket))["isGatewaysWord"])
        self.assertEqual(self.run_verb("drop", "--all", "--yes").returncode, 3)
        fleet.wait_progress(200)
        fleet.finish()
        ledger = fleet.ledger()
        running.kill()
        exported = {(one["payload"]["device"], one["payload"]["boot"], one["payload"]["seq"])
                    for one in map(json.loads, self.fine("export").splitlines())}
        self.assertLessEqual(ledger, exported)


if __name__ == "__main__":
    unittest.main()
