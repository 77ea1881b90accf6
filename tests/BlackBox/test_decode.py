"""iotgw decode against the published examples, captures and garbage."""
import json
import random
import unittest

from bench import ROOT, BlackBox, iotgw

VECTORS = json.loads((ROOT / "tests/IotTcpGateway.Protocol.Tests/vectors.json").read_text())
# Whether a tag is right cannot be told without the session's key.
NEEDS_THE_KEY = {"tag-flipped"}


class Decode(BlackBox):
    def assert_bad(self, *arguments, stdin=b"", code=1):
        """Exit code 1, told in words, with nothing of the program's insides."""
        done = iotgw("decode", *arguments, stdin=stdin)
        self.assertEqual(done.returncode, code, done)
        self.assertNotRegex(done.stdout + done.stderr, r"   at |Exception|\bSystem\.")
        self.assertTrue(done.stdout + done.stderr)
        return done

    def test_valid_examples_are_explained(self):
        for vector in VECTORS["valid"]:
            with self.subTest(vector["name"]):
                done = iotgw("decode", vector["hex"])
                self.assertEqual((done.returncode, done.stderr), (0, ""), done.stdout)
                self.assertIn(f"at byte 0: {vector['type']}, sequence {vector['sequence']}, ", done.stdout)

    def test_fields_are_named(self):
        vector = next(one for one in VECTORS["valid"] if one["name"] == "hello-hmac")
        shown = iotgw("decode", vector["hex"]).stdout
        for value in ("pump-7", "1.4.2", "287454020", "44", vector["fields"]["deviceNonce"]):
            self.assertIn(value, shown)

    def test_invalid_examples_are_told(self):
        for vector in VECTORS["invalid"]:
            if vector["name"] not in NEEDS_THE_KEY:
                with self.subTest(vector["name"]):
                    self.assert_bad(vector["hex"])

    def test_spaces_and_several_arguments(self):
        whole = VECTORS["valid"][0]["hex"].upper()
        spaced = " ".join(whole[at:at + 2] for at in range(0, len(whole), 2))
        self.assertEqual(iotgw("decode", spaced).returncode, 0)
        self.assertEqual(iotgw("decode", *spaced.split()).returncode, 0)

    def test_captured_stream(self):
        names = ("hello-hmac", "auth", "describe", "data-one", "data-all-types", "bye")
        by_name = {one["name"]: bytes.fromhex(one["hex"]) for one in VECTORS["valid"]}
        stream = b"".join(by_name[name] for name in names)
        file = self.folder / "capture.bin"
        file.write_bytes(stream)
        done = iotgw("decode", "--file", file)
        self.assertEqual((done.returncode, done.stdout.count("at byte ")), (0, len(names)), done)
        self.assertEqual(iotgw("decode", "--file", "-", stdin=stream).stdout, done.stdout)
        file.write_bytes(stream[:-1])
        self.assertIn("not complete", self.assert_bad("--file", file).stdout)
        file.write_bytes(stream[1:])
        self.assert_bad("--file", file)

    def test_garbage_is_told(self):
        dice = random.Random(7183)
        for size in (1, 11, 12, 100, 100_000):
            with self.subTest(size=size):
                self.assert_bad("--file", "-", stdin=dice.randbytes(size))
                self.assert_bad("--file", "-", stdin=(b"\xc7\x49\x01" + dice.randbytes(size)))
        self.assert_bad("00")

    def test_every_cut_of_a_frame_is_told(self):
        whole = next(one for one in VECTORS["valid"] if one["name"] == "data-all-types")["hex"]
        for digits in range(2, len(whole), 22):
            self.assert_bad(whole[:digits])

    def test_control_characters_of_devices_do_not_reach_the_terminal(self):
        import device
        frame = device.frame_of(device.DESCRIBE, 0, device.describe_of([(1, device.F32, "t", "\x1b[2J\u009b")]))
        done = iotgw("decode", frame.hex())
        self.assertEqual(done.returncode, 0, done)
        self.assertNotIn("\x1b", done.stdout)
        self.assertNotIn("\u009b", done.stdout)

    def test_file_missing_cannot_run(self):
        done = self.assert_bad("--file", self.folder / "none.bin", code=3)
        self.assert_one_line(done.stderr)

    def test_folder_cannot_run(self):
        self.assert_one_line(self.assert_bad("--file", self.folder, code=3).stderr)


if __name__ == "__main__":
    unittest.main()
