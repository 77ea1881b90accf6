"""Device keys: the verbs on the file, and a running gateway that follows the file."""
import os
import re
import subprocess
import unittest

from bench import IOTGW, BlackBox, clean_environment, iotgw, wait_for
from device import ACK, BYE, DATA, REFUSE, Failure, data_of
from fleet import Link

# The promise is a second; the rest is for a machine that has other things to do.
TAKEN_WITHIN_SECONDS = 5
AUTHENTICATION_FAILED = "refused, reason 3"


class KeyFile(BlackBox):
    def setUp(self):
        super().setUp()
        self.config = self.write("gateway.json", {"devices": {"file": "keys/devices.json"}})
        self.file = self.folder / "keys" / "devices.json"

    def device(self, verb, *arguments):
        return iotgw("device", verb, *arguments, "--config", self.config)

    def assert_fails(self, verb, *arguments, hint):
        done = self.device(verb, *arguments)
        self.assertEqual((done.returncode, done.stdout), (1, ""), done)
        self.assert_one_line(done.stderr)
        self.assertIn(hint, done.stderr)

    def test_add_prints_the_key_once(self):
        done = self.device("add", "pump-7")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertRegex(done.stdout, r"\A[0-9a-f]{64}\n\Z")
        shown = self.device("list").stdout
        self.assertIn("pump-7", shown)
        self.assertNotIn(done.stdout.strip(), shown)

    def test_file_and_folder_are_the_owners_alone(self):
        self.device("add", "pump-7")
        self.assertEqual(self.file.stat().st_mode & 0o777, 0o600)
        self.assertEqual(self.file.parent.stat().st_mode & 0o777, 0o700)
        for beside in self.file.parent.iterdir():
            self.assertEqual(beside.stat().st_mode & 0o077, 0, beside)

    @unittest.skipUnless(os.geteuid() == 0, "only root can add for another user")
    def test_root_adds_for_the_user_whose_folder_it_is(self):
        self.folder.chmod(0o755)
        self.file.parent.mkdir()
        os.chown(self.file.parent, 12345, 23456)
        self.assertEqual(self.device("add", "pump-7").returncode, 0)
        for beside in self.file.parent.iterdir():
            self.assertEqual((beside.stat().st_uid, beside.stat().st_gid), (12345, 23456), beside)

    @unittest.skipUnless(os.geteuid() == 0, "only root can be led astray")
    def test_root_is_not_led_by_links_of_the_user_whose_folder_it_is(self):
        self.folder.chmod(0o755)
        self.file.parent.mkdir()
        os.chown(self.file.parent, 12345, 23456)
        secret = self.write("roots-own", "kept")
        secret.chmod(0o600)
        for name in ("devices.json.lock", "devices.json.new", "devices.json"):
            with self.subTest(name):
                link = self.file.parent / name
                link.unlink(missing_ok=True)
                link.symlink_to(secret)
                self.device("add", "pump-7")
                self.assertEqual((secret.read_text(), secret.stat().st_uid, secret.stat().st_mode & 0o777), ("kept", 0, 0o600))
                link.unlink(missing_ok=True)

    def test_change_makes_an_open_file_the_owners_alone_again(self):
        self.device("add", "pump-7")
        self.file.chmod(0o644)
        self.device("add", "pump-8")
        self.assertEqual(self.file.stat().st_mode & 0o777, 0o600)

    def test_add_of_an_existing_device_fails_and_keeps_its_key(self):
        self.device("add", "pump-7")
        before = self.file.read_bytes()
        self.assert_fails("add", "pump-7", hint="iotgw device rotate pump-7")
        self.assertEqual(self.file.read_bytes(), before)

    def test_rotate_prints_another_key(self):
        first = self.device("add", "pump-7").stdout
        second = self.device("rotate", "pump-7")
        self.assertEqual(second.returncode, 0)
        self.assertRegex(second.stdout, r"\A[0-9a-f]{64}\n\Z")
        self.assertNotEqual(second.stdout, first)

    def test_revoke_takes_the_key_and_keeps_the_id(self):
        key = self.device("add", "pump-7").stdout.strip()
        self.device("add", "pump-8")
        self.assertEqual(self.device("revoke", "pump-7").returncode, 0)
        self.assertRegex(self.device("list").stdout, r"pump-7 +REVOKED")
        self.assertNotIn(key, self.file.read_text())
        self.assert_fails("rotate", "pump-7", hint="iotgw device add pump-7")
        self.assertRegex(self.device("add", "pump-7").stdout, r"\A[0-9a-f]{64}\n\Z")
        self.assertNotIn("REVOKED", self.device("list").stdout)
        self.assertEqual(self.device("revoke", "pump-7", "--forget").returncode, 0)
        shown = self.device("list").stdout
        self.assertNotIn("pump-7", shown)
        self.assertIn("pump-8", shown)

    def test_permissions_are_set_changed_and_shown(self):
        self.device("add", "pump-7", "--channels", "pump/#,door", "--priority", "3")
        self.assertIn("(channels pump/# door, priority 3)", self.device("list").stdout)
        done = self.device("permit", "pump-7", "--channels", "any", "--commands", "", "--rate", "5")
        self.assertEqual(done.stdout, "device pump-7: commands none, 5 frames/s, priority 3\n", done)
        self.assertEqual(self.device("permit", "pump-7", "--priority", "any", "--rate", "any", "--commands", "any").stdout,
                         "device pump-7: no limits of its own\n")

    def test_wrong_permissions_are_told(self):
        for arguments, hint in ((("--channels", "pump/#/x"), "is no pattern"), (("--priority", "4"), "1 to 3"),
                                (("--rate", "0"), "1 to 1000000"), (("--authentication", "magic"), "magic")):
            done = self.device("add", "pump-7", *arguments)
            self.assertEqual(done.returncode, 2, done)
            self.assert_one_line(done.stderr)
            self.assertIn(hint, done.stderr)
        self.assertFalse(self.file.exists())

    def test_device_without_a_key(self):
        self.assertEqual(self.device("add", "gate-2", "--authentication", "certificate").stdout,
                         "device gate-2 is let in by certificate\n")
        self.assertRegex(self.device("list").stdout, r"gate-2 +certificate since")
        self.assert_fails("rotate", "gate-2", hint="without a key")

    def test_file_that_others_may_write_is_not_believed(self):
        self.device("add", "pump-7")
        self.file.chmod(0o620)
        self.assert_fails("list", hint="can be written by others")

    def test_unknown_device_is_told(self):
        self.assert_fails("revoke", "pump-9", hint="iotgw device list")
        self.assert_fails("rotate", "pump-9", hint="iotgw device list")

    def test_list_without_a_file_is_empty(self):
        done = self.device("list")
        self.assertEqual((done.returncode, done.stdout), (0, ""))
        self.assertIn("no gateway answers", done.stderr)

    def test_damaged_file_is_told_and_not_written_over(self):
        key = self.device("add", "pump-7").stdout.strip()
        for damage in ("", "{", '{"devices":[{"id":"a/b","key":""}]}', '{"devices":[{"id":"a","key":"00"}]}',
                       '{"devices":{}}', "[]", '{"devices":[{"id":"a","key":5}]}',
                       self.file.read_text().replace(key, "xy" * 32)):
            with self.subTest(damage=damage):
                self.file.write_text(damage)
                self.assert_fails("list", hint="devices.json is damaged")
                self.assert_fails("add", "pump-8", hint="devices.json is damaged")
                self.assertEqual(self.file.read_text(), damage)

    def test_many_at_once_lose_nothing(self):
        names = [f"pump-{number}" for number in range(8)]
        running = [subprocess.Popen([IOTGW, "device", "add", name, "--config", str(self.config)],
                                    env=clean_environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
                   for name in names]
        outputs = [process.communicate()[0] for process in running]
        self.assertEqual([process.returncode for process in running], [0] * len(names), outputs)
        shown = self.device("list").stdout
        self.assertEqual([name for name in names if name not in shown], [])


class RunningGateway(BlackBox):
    def setUp(self):
        super().setUp()
        self.running = self.gateway({"devices": {"file": "devices.json"}}).start()
        self.address = self.running.address()

    def device(self, verb, name, *arguments):
        """Runs the verb, and waits until the gateway says that it has read the file again."""
        before = self.running.log().count("device keys read")
        done = iotgw("device", verb, name, *arguments, "--config", self.running.file)
        self.assertEqual(done.returncode, 0, done)
        wait_for(lambda: self.running.log().count("device keys read") > before, "the gateway to take the change",
                 TAKEN_WITHIN_SECONDS)
        return done.stdout.strip()

    def enter(self, name, key):
        link = Link(self.address)
        self.addCleanup(link.socket.close)
        link.enter(name, bytes.fromhex(key) if key else None, False, 1, 0)
        return link

    def assert_refused(self, name, key):
        with self.assertRaisesRegex(Failure, AUTHENTICATION_FAILED):
            self.enter(name, key)

    def assert_serves(self, link):
        link.send(DATA, 1, data_of(0, [(1, 3, 0, b"\x01")]))

    def test_added_device_gets_in(self):
        key = self.device("add", "pump-7")
        self.enter("pump-7", key)
        self.assert_refused("pump-7", "00" * 32)
        self.assert_refused("pump-8", key)

    def test_device_with_a_key_does_not_get_in_without(self):
        self.device("add", "pump-7")
        self.assert_refused("pump-7", None)

    def test_revoked_device_is_put_out_and_stays_out(self):
        key = self.device("add", "pump-7")
        link = self.enter("pump-7", key)
        other = self.enter("pump-8", self.device("add", "pump-8"))
        self.device("revoke", "pump-7")
        self.assertTrue(link.closed())
        self.assert_refused("pump-7", key)
        other.send(10, 5)
        self.assertEqual(other.receive()[:2], (11, 5), "the other device's session goes on")

    def test_rotated_key_works_beside_the_old_one_until_that_is_ended(self):
        key = self.device("add", "pump-7")
        link = self.enter("pump-7", key)
        fresh = self.device("rotate", "pump-7")
        link.send(10, 5)
        self.assertEqual(link.receive()[:2], (11, 5), "the session goes on")
        self.enter("pump-7", fresh)
        other = self.enter("pump-7", key)
        self.device("rotate", "pump-7", "--finish")
        self.assertTrue(other.closed())
        self.assert_refused("pump-7", key)
        self.enter("pump-7", fresh)

    def test_rotated_key_without_overlap_ends_the_old_session(self):
        key = self.device("add", "pump-7")
        link = self.enter("pump-7", key)
        fresh = self.device("rotate", "pump-7", "--overlap", "0s")
        self.assertTrue(link.closed())
        self.assert_refused("pump-7", key)
        self.enter("pump-7", fresh)

    def test_new_key_ends_the_session_that_came_without(self):
        link = self.enter("pump-7", None)
        self.device("add", "pump-7")
        self.assertTrue(link.closed())

    def test_damaged_file_lets_nobody_in_until_it_is_mended(self):
        key = self.device("add", "pump-7")
        file = self.folder / "devices.json"
        right = file.read_bytes()
        file.write_bytes(right[:-20])
        self.running.wait_log("no device can get in")
        self.assertIn("devices.json is damaged", self.running.log())
        self.assert_refused("pump-7", key)
        self.assert_refused("never-had-a-key", None)
        self.assertFalse(self.running.status()["devices"]["areKeysReadable"])
        before = self.running.log().count("device keys read")
        file.write_bytes(right)
        wait_for(lambda: self.running.log().count("device keys read") > before, "the mended file to be read")
        self.enter("pump-7", key)

    def test_file_that_others_can_read_is_a_warning(self):
        self.device("add", "pump-7")
        file = self.folder / "devices.json"
        file.chmod(0o644)
        os.utime(file)
        self.running.wait_log("can be read by others")

    def test_list_shows_who_is_there(self):
        key = self.device("add", "pump-7")
        link = self.enter("pump-7", key)
        self.enter("guest", None)
        shown = iotgw("device", "list", "--config", self.running.file, "--socket", self.running.socket)
        self.assertEqual((shown.returncode, shown.stderr), (0, ""), shown)
        self.assertRegex(shown.stdout, r"pump-7 +hmac since \d{4}-\d\d-\d\d +online by hmac from 127\.0\.0\.1")
        self.assertRegex(shown.stdout, r"guest +not in the file +online by none from 127\.0\.0\.1")
        link.socket.close()
        wait_for(lambda: re.search(r"pump-7 .* seen \d+ s ago", iotgw(
            "device", "list", "--config", self.running.file, "--socket", self.running.socket).stdout), "it to be gone")

    def test_keys_are_told_to_nobody(self):
        key = self.device("add", "pump-7")
        self.enter("pump-7", key)
        self.assert_refused("pump-7", "00" * 32)
        shown = self.running.log() + iotgw("status", "--json", "--socket", self.running.socket).stdout
        self.assertNotIn(key, shown.lower())


class Enrolment(BlackBox):
    def test_unknown_device_waits_until_it_is_approved(self):
        running = self.gateway({"devices": {"file": "devices.json", "enrolment": True}}).start()
        place = ("--config", running.file, "--socket", running.socket)

        def enter():
            link = Link(running.address())
            self.addCleanup(link.socket.close)
            link.enter("pump-7", None, False, 1, 0)
            return link

        with self.assertRaisesRegex(Failure, AUTHENTICATION_FAILED):
            enter()
        self.assertRegex(iotgw("device", "list", *place).stdout, r"pump-7 +WAITS for approval, by none, from 127\.0\.0\.1")
        done = iotgw("device", "approve", "pump-8", *place)
        self.assertEqual(done.returncode, 1, done)
        self.assertIn("does not wait", done.stderr)
        done = iotgw("device", "approve", "pump-7", "--channels", "t", *place)
        self.assertEqual((done.returncode, done.stderr), (0, ""), done)
        running.wait_log("devices.json: 1 devices")
        enter()
        shown = iotgw("device", "list", *place).stdout
        self.assertRegex(shown, r"pump-7 +none since .* online by none .*\(channels t\)")
        self.assertNotIn("WAITS", shown)


if __name__ == "__main__":
    unittest.main()
