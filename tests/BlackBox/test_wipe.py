"""iotgw wipe: keys, secrets and frames go, nothing else does, and never under a running gateway."""
import os
import pty
import subprocess
import unittest

from bench import IOTGW, BlackBox, clean_environment, iotgw, wait_for
from device import ACK, DATA, U32, data_of
from fleet import Link

SECRET = "hunter2-of-the-broker"


class Wipe(BlackBox):
    def setUp(self):
        super().setUp()
        self.state = self.folder / "state"
        self.state.mkdir()
        self.write("state/mqtt.password", SECRET + "\n")
        self.elsewhere = self.write("http.token", "another secret\n")
        self.configuration = {
            "gateway": {"id": "box"}, "devices": {"file": "state/devices.json"},
            "buffer": {"directory": "state/buffer", "spillAfter": "0ms"},
            "mqtt": {"brokers": ["mqtt://127.0.0.1:1"], "username": "u", "passwordFile": "state/mqtt.password"},
            "http": {"endpoint": "127.0.0.1:0", "tokenFile": "http.token"}}
        self.running = self.gateway(self.configuration)
        self.buffer = self.state / "buffer"
        self.key = iotgw("device", "add", "pump-7", "--config", self.running.file).stdout.strip()

    def wipe(self, *arguments, **more):
        more.setdefault("environment", {"STATE_DIRECTORY": str(self.state)})
        return iotgw("wipe", "--config", self.running.file, "--socket", self.running.socket, *arguments, **more)

    def fill(self):
        """Frames on disk, of a gateway that then stops."""
        self.running.start()
        link = Link(self.running.address())
        link.enter("pump-8", None, False, 1, 0)
        for sequence in range(1, 4):
            link.send(DATA, sequence, data_of(0, [(1, U32, 0, b"\x01\x00\x00\x00")]))
        link.wait(ACK, 3)
        link.socket.close()
        self.assert_stops(self.running)
        self.assertTrue(list(self.buffer.glob("lane-2/*.seg")))

    def everything(self):
        return sorted(str(path.relative_to(self.folder)) for path in self.folder.rglob("*"))

    def test_dry_run_lists_with_sizes_and_changes_nothing(self):
        self.fill()
        before = self.everything()
        done = self.wipe("--dry-run")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertRegex(done.stdout, r"(?m)^key +\S+/devices\.json  \d")
        self.assertRegex(done.stdout, r"(?m)^secret +\S+/mqtt\.password  22 B$")
        self.assertRegex(done.stdout, r"(?m)^frames +\S+\.seg  \d")
        self.assertRegex(done.stdout, r"(?m)^stays +\S+/http\.token: .*http\.tokenFile")
        self.assertNotIn(self.key, done.stdout)
        self.assertNotIn(SECRET, done.stdout)
        self.assertEqual(self.everything(), before)

    def test_everything_of_the_gateway_goes(self):
        self.fill()
        done = self.wipe("--yes")
        self.assertEqual((done.returncode, done.stderr), (0, ""), done)
        self.assertIn("removed: ", done.stdout)
        self.assertEqual(list(self.state.iterdir()), [])
        self.assertTrue(self.elsewhere.exists())
        left = subprocess.run(["grep", "-r", self.key, str(self.folder)], capture_output=True, check=False)
        self.assertEqual(left.returncode, 1, left.stdout)

    def test_again_there_is_nothing(self):
        self.fill()
        self.wipe("--yes")
        done = self.wipe("--yes")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertIn("there is nothing to remove", done.stdout)

    def test_what_is_not_ours_is_named_and_stays(self):
        self.fill()
        segment = next(self.buffer.glob("lane-2/*.seg")).name
        ours = [self.write(f"state/buffer/lane-2/{name}", "x") for name in (
            f"{segment}.broken", f"{segment}.00001000.broken", f"{segment}.alien", "reserve.tmp", "cursor.tmp")]
        ours.append(self.write("state/buffer/custody.tmp", "x"))
        ours.append(self.write("state/devices.json.new", "x"))
        alien = [self.write(f"state/buffer/{name}", "x") for name in (
            "notes.txt", "lane-2/holiday.jpg", "lane-2/readme.alien", "lane-9/0.seg", "lane-2/deep/x")]
        done = self.wipe("--yes")
        self.assertEqual(done.returncode, 0, done)
        self.assertEqual([path.name for path in ours if path.exists()], [])
        self.assertEqual([path.name for path in alien if not path.exists()], [])
        for name in ("notes.txt", "holiday.jpg", "readme.alien", "lane-9", "deep"):
            self.assertRegex(done.stdout, rf"(?m)^stays +\S*{name}: it is not of the gateway$")

    def test_links_are_not_followed(self):
        self.fill()
        treasure = self.write("treasure/0000000000000001-0000000000000001.seg", "x")
        (self.buffer / "lane-1").rename(self.buffer / "lane-1-old") if (self.buffer / "lane-1").exists() else None
        (self.buffer / "lane-1").symlink_to(treasure.parent)
        keys = self.state / "devices.json"
        keys.rename(self.folder / "real.json")
        keys.symlink_to(self.folder / "real.json")
        done = self.wipe("--yes")
        self.assertEqual(done.returncode, 0, done)
        self.assertTrue(treasure.exists())
        self.assertTrue((self.folder / "real.json").exists())
        self.assertRegex(done.stdout, r"(?m)^stays +\S+devices\.json: it is a link")

    def test_running_gateway_is_never_wiped(self):
        self.running.start()
        before = self.everything()
        for arguments in (["--yes"], ["--dry-run"]):
            done = self.wipe(*arguments)
            self.assertEqual((done.returncode, done.stdout), (3, ""))
            self.assert_one_line(done.stderr)
            self.assertIn("stop it first", done.stderr)
            # Also when its socket cannot be asked: it holds the buffer.
            done = iotgw("wipe", *arguments, "--config", self.running.file, "--socket", self.folder / "none.sock")
            self.assertEqual((done.returncode, done.stdout), (3, ""))
            self.assertIn("a gateway runs on", done.stderr)
        self.assertEqual(self.everything(), before)

    def test_nobody_there_to_ask_is_wrong_usage(self):
        before = self.everything()
        done = self.wipe()
        self.assertEqual(done.returncode, 2)
        self.assertIn("--yes", done.stderr)
        self.assertEqual(self.everything(), before)

    def test_bad_configuration_wipes_nothing(self):
        self.running.configure(self.configuration | {"bufer": {}})
        before = self.everything()
        done = self.wipe("--yes")
        self.assertEqual(done.returncode, 1)
        self.assertIn("bufer", done.stderr)
        self.assertEqual(self.everything(), before)

    def test_asked_it_wants_the_id(self):
        for answer, code in (("y", 1), ("", 1), ("BOX", 1), ("box", 0)):
            self.assertEqual(self.answer(answer), code, answer)
            self.assertEqual((self.state / "devices.json").exists(), code == 1)

    def answer(self, text):
        ours, its = pty.openpty()
        try:
            process = subprocess.Popen(
                [IOTGW, "wipe", "--config", str(self.running.file), "--socket", str(self.running.socket)], stdin=its,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                env=clean_environment({"STATE_DIRECTORY": str(self.state)}))
            os.write(ours, (text + "\n").encode())
            process.communicate(timeout=60)
            return process.returncode
        finally:
            os.close(ours)
            os.close(its)


if __name__ == "__main__":
    unittest.main()
