"""Guessing: wrong keys, ids that are not there, and whether somebody can lock a device out."""
import os
import struct
import unittest

from attack import ATTACKER, Attack, Intruder, key_entry
from device import REFUSE, WELCOME

ADDRESSES = 50
IDS = int(os.environ.get("IOTGW_ATTACK_IDS", "20000"))
RATE_LIMITED = 6


class Guessing(Attack):
    LISTENER = {"offencesPerMinute": 100000, "badFramesPerMinute": 100000}
    VICTIMS = ("victim", "rotating")
    FORMER = os.urandom(32)
    DETAILS = {"rotating": {"formerKey": FORMER.hex(), "formerKeyUntil": "2099-01-01T00:00:00Z"}}
    OTHERS = [key_entry("revoked", revoked="2026-01-02T00:00:00Z"),
              key_entry("by-certificate", authentication="certificate")]

    def answer_to(self, device, key=bytes(32), source=ATTACKER, **more):
        link = Intruder(self.address, source)
        try:
            return link.prove(device, key, **more)
        finally:
            link.socket.close()

    def test_every_refusal_is_the_same(self):
        answers = {}
        for number, device in enumerate(("victim", "rotating", "revoked", "by-certificate", "never-heard-of", "good-1")):
            link = self.intruder(f"127.0.3.{number + 1}")
            hello = link.hello(device)
            self.assertEqual(link.receive()[0], 2, "everybody is challenged")
            link.send(3, 0, bytes(32))
            answers[device] = link.take(12 + struct.unpack("<H", link.take(12)[4:6])[0] + 4)
            self.assertTrue(link.closed())
        self.assertEqual(len(set(answers.values())), 1, answers)
        self.assertEqual(answers["victim"][3], REFUSE)
        self.wait_metric("iotgw_authentication_failures_total", len(answers))

    def test_challenges_are_never_the_same(self):
        nonces = set()
        for number in range(200):
            link = self.intruder(f"127.0.4.{number + 1}")
            link.hello("victim")
            nonces.add(link.answer()[1])
            link.socket.close()
        self.assertEqual(len(nonces), 200)

    def test_no_shape_of_proof_gets_in(self):
        for number, proof in enumerate((b"", bytes(31), bytes(32), bytes(33), b"\xff" * 32, self.keys["victim"])):
            link = self.intruder(f"127.0.5.{number + 1}")
            link.hello("victim")
            link.answer()
            link.send(3, 0, proof)
            self.assertEqual(link.answer()[0], REFUSE, proof)

    def test_device_is_locked_out_at_the_guessers_address_alone(self):
        for _ in range(3):
            self.assert_refused(self.answer_to("victim"))
        self.assert_refused(self.answer_to("victim"), RATE_LIMITED)
        # Even the right key waits there; anywhere else it does not, however long the guessing goes on.
        self.assert_refused(self.answer_to("victim", self.keys["victim"]), RATE_LIMITED)
        for number in range(30):
            for _ in range(5):
                self.answer_to("victim", source=f"127.0.6.{number + 1}")
            self.assertEqual(self.answer_to("victim", self.keys["victim"], "127.0.0.4", boot=7)[0], WELCOME)
        # The guesser's neighbours behind the same address are not locked out with it.
        self.assertEqual(self.answer_to("rotating", self.FORMER, boot=7)[0], WELCOME)

    def test_back_off_grows_and_is_the_same_for_all_ids(self):
        waits = {}
        for device in ("victim", "revoked", "never-heard-of"):
            source = f"127.0.7.{len(waits) + 1}"
            waits[device] = [self.answer_to(device, source=source) for _ in range(6)]
        self.assertEqual(waits["victim"], waits["revoked"])
        self.assertEqual(waits["victim"], waits["never-heard-of"])

    def test_many_ids_from_many_addresses(self):
        halfway = 0
        for number in range(IDS):
            answer = self.answer_to(f"guess-{number}", source=f"127.0.8.{number % ADDRESSES + 1}")
            self.assertIn(answer[0], (REFUSE, None))
            if number % 2000 == 0:
                self.good.wait_progress(5, "the good devices to be acknowledged beside guessing")
            if number == IDS // 2:
                halfway = self.running.memory_peak_mib()
        # 4 096 pairs were remembered long before the half.
        self.assertLess(self.running.memory_peak_mib() - halfway, 12)
        self.wait_metric("iotgw_authentication_failures_total", IDS // 2)
        # The table was pushed through many times over, and that of one who guesses now still counts.
        for _ in range(3):
            self.answer_to("victim")
        self.assert_refused(self.answer_to("victim"), RATE_LIMITED)


class Address(Attack):
    LISTENER = {"offencesPerMinute": 40}

    def test_address_that_guesses_on_and_on_is_shut_out_and_no_other(self):
        reasons = []
        for number in range(60):
            link = self.intruder()
            kind, body = link.prove(f"guess-{number}", bytes(32))
            reasons.append(body[0] if kind == REFUSE else None)
            link.socket.close()
        self.assertEqual(reasons[:40].count(3), 40, reasons)
        self.assertEqual(set(reasons[-10:]), {RATE_LIMITED}, reasons)
        link = self.intruder("127.0.0.67")
        self.assertEqual(link.prove("victim", self.keys["victim"])[0], WELCOME)

    def test_wrong_keys_in_turn_with_the_right_one_do_not_wash_clean(self):
        # An owner of one device guesses at another: its own success must not end the other's back-off.
        seen = []
        for number in range(8):
            seen.append(self.intruder().prove("good-1", bytes(32))[1][:1])
            self.assertEqual(self.intruder().prove("victim", self.keys["victim"], boot=7)[0], WELCOME)
        self.assertEqual(seen[-1], bytes([RATE_LIMITED]), seen)


if __name__ == "__main__":
    unittest.main()
