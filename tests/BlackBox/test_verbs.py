"""Every verb: its help, and what it says when it is called wrongly."""
import pathlib
import stat
import unittest

import bench
from bench import BlackBox, iotgw

VERBS = ["", "run", "demo", "check", "simulate", "device", "device add", "device list", "device revoke",
         "device rotate", "decode", "status", "buffer", "buffer status", "buffer verify", "buffer dump", "buffer export",
         "buffer drop"]

WRONG = {
    "no_verb": ([], "--help"),
    "unknown_verb": (["chek"], 'did you mean "check"'),
    "unknown_option": (["run", "--confg", "x"], 'did you mean "--config"'),
    "unknown_verb_of_device": (["device", "ad", "pump-7"], 'did you mean "add"'),
    "device_without_verb": (["device"], "iotgw device --help"),
    "argument_missing": (["device", "add"], "iotgw device add --help"),
    "argument_too_many": (["run", "extra"], '"extra"'),
    "option_missing": (["simulate"], "--to"),
    "value_missing": (["check", "--config"], "--config"),
    "set_without_value": (["check", "--set"], "--set"),
    "bad_duration": (["demo", "--for", "abc"], "such as 250ms"),
    "outage_without_for": (["demo", "--outage", "2s"], "--for"),
    "outage_longer_than_for": (["demo", "--for", "2s", "--outage", "3s"], "--for"),
    "bad_target": (["simulate", "--to", "nowhere"], "HOST:PORT"),
    "bad_port": (["simulate", "--to", "localhost:99999"], "HOST:PORT"),
    "bad_number": (["simulate", "--to", "localhost:1", "--devices", "many"], "--devices"),
    "number_out_of_range": (["simulate", "--to", "localhost:1", "--devices", "0"], "--devices"),
    "bad_prefix": (["simulate", "--to", "localhost:1", "--prefix", "a/b"], "--prefix"),
    "tagged_without_keys": (["simulate", "--to", "localhost:1", "--tagged"], "--keys"),
    "bad_device_id": (["device", "add", "a/b"], "A-Z a-z 0-9"),
    "reserved_device_id": (["device", "add", "local"], '"local"'),
    "nothing_to_decode": (["decode"], "--file"),
    "not_hexadecimal": (["decode", "xyz"], "hexadecimal"),
    "buffer_without_verb": (["buffer"], "iotgw buffer --help"),
    "no_such_lane": (["buffer", "dump", "--lane", "4"], "--lane wants 1 to 3"),
    "nothing_to_drop": (["buffer", "drop"], "--quarantine"),
    "drop_without_yes": (["buffer", "drop", "--all"], "--yes"),
    "half_a_byte": (["decode", "C74"], "hexadecimal"),
}


class Verbs(BlackBox):
    def test_every_verb_has_help_with_an_example(self):
        for verb in VERBS:
            with self.subTest(verb=verb):
                done = iotgw(*verb.split(), "--help")
                self.assertEqual((done.returncode, done.stderr), (0, ""))
                self.assertRegex(done.stdout, rf"Example:\n  iotgw {verb or 'demo'}")

    def test_help_of_the_program_names_every_verb(self):
        shown = iotgw("--help").stdout
        for verb in {one.split()[0] for one in VERBS if one}:
            self.assertRegex(shown, rf"(?m)^  {verb}\b")

    def test_help_is_given_to_who_has_not_filled_in_everything(self):
        self.assertEqual(iotgw("simulate", "--devices", "3", "-h").returncode, 0)

    def test_version_is_that_of_the_sources(self):
        done = iotgw("--version")
        self.assertEqual(done.returncode, 0)
        sources = (bench.ROOT / "Directory.Build.props").read_text()
        self.assertIn(f"<Version>{done.stdout.strip()}</Version>", sources)

    def test_program_is_one_file(self):
        program = pathlib.Path(bench.IOTGW)
        self.assertTrue(program.stat().st_mode & stat.S_IXUSR)
        self.assertEqual([one.name for one in program.parent.iterdir() if one.suffix in (".dll", ".so", ".json")], [])

    def test_status_without_a_gateway_cannot_run(self):
        for socket in (self.folder / "none.sock", self.write("file.sock", ""), "/" + "x" * 200):
            with self.subTest(socket=socket):
                done = iotgw("status", "--socket", socket)
                self.assertEqual((done.returncode, done.stdout), (3, ""))
                self.assert_one_line(done.stderr)
                self.assertIn(str(socket), done.stderr)

    def test_simulate_without_a_gateway_says_so(self):
        done = iotgw("simulate", "--to", f"127.0.0.1:{bench.free_port()}", "--devices", "2", "--frames", "1",
                     "--drain", "500ms", "--json")
        self.assertEqual(done.returncode, 1)
        self.assert_one_line(done.stderr)


def wrong_usage(arguments, hint):
    def test(self):
        done = iotgw(*arguments)
        self.assertEqual((done.returncode, done.stdout), (2, ""), done)
        self.assert_one_line(done.stderr)
        self.assertIn(hint, done.stderr)
    return test


for name, (words, said) in WRONG.items():
    setattr(Verbs, f"test_wrong_usage_{name}", wrong_usage(words, said))

if __name__ == "__main__":
    unittest.main()
