"""Somebody on the line: frames and handshakes replayed, altered, reordered, dropped, stripped, downgraded."""
import json
import os
import struct
import subprocess
import unittest

from attack import ATTACKER, EVIL, Attack, Middle, resealed
from bench import IOTGW, clean_environment, wait_for
from device import (ACK, AUTH, BYE, CHALLENGE, DATA, DESCRIBE, FROM_GATEWAY, HELLO, NACK, PING, PONG, RESULT,
                    U32, WELCOME, Failure, data_of, describe_of, frame_of, sign)
from fleet import Link

# No clock, the last safe sequence 5, window 64, 4 KiB, 90 s, tags granted, a proof of zeros.
EASY_WELCOME = struct.pack("<qIHHHB", 0, 5, 64, 4096, 90, 1) + bytes(32)
PROTOCOL_ERROR = bytes([4])
EVIL_VALUE = struct.pack("<I", EVIL)
# Where the value of a DATA frame with one u32 is: header, base time, channel, type, offset.
VALUE_AT = 12 + 8 + 2 + 1 + 4
# A device's frames through a man in the middle: HELLO, AUTH, DESCRIBE, then DATA 1 to 4.
SECOND, THIRD = 4, 5
FEATURES_AT, BOOT_AT, USED_AT, NONCE_AT, ID_AT = 13, 14, 18, 22, 39


def value(number):
    return data_of(0, [(1, U32, 0, struct.pack("<I", number))])


def untagged(frame):
    """The frame without its tag, as if none had been agreed on."""
    bare = frame[:6] + b"\0\0" + frame[8:-20]
    return resealed(bare + bytes(4), 0, b"\xc7")


def shortened(frame):
    """The last byte of the body cut out, length and checksum made right."""
    body = struct.unpack("<H", frame[4:6])[0]
    cut = frame[:4] + struct.pack("<H", body - 1) + frame[6:11 + body] + frame[12 + body:]
    return resealed(cut, 0, b"\xc7")


class Tampering(Attack):
    LISTENER = {"authentication": ["hmac", "none"], "offencesPerMinute": 10000, "badFramesPerMinute": 10000}
    VICTIMS = ("victim", "other")

    def victim(self, tamper, source=ATTACKER, boot=1, used=0):
        """A device that knows its key and enters through a man in the middle."""
        middle = Middle(self, self.address, tamper, source)
        device = Link(middle.own_address, limit=10)
        self.addCleanup(device.socket.close)
        device.middle = middle
        device.enter("victim", self.keys["victim"], True, boot, used)
        return device

    def send_four(self, device):
        device.send(DESCRIBE, 0, describe_of([(1, U32, "count", "")]))
        for sequence in range(1, 5):
            device.send(DATA, sequence, value(sequence))

    def ending(self, device):
        """(types of all that came, reason of the BYE) until the gateway closed."""
        kinds, reason = [], None
        try:
            while True:
                kind, _, body = device.receive()
                kinds.append(kind)
                reason = body if kind == BYE else reason
        except (Failure, OSError):
            return kinds, reason

    def of_boot(self, boot):
        return {(one["seq"], one["values"].get("count", one["values"].get("ch1"))) for one in
                (json.loads(payload) for topic, payload, _ in list(self.consumer.messages)
                 if topic == "telemetry/box/victim") if one["boot"] == boot}

    def test_tagged_frames_to_the_gateway(self):
        held = []

        def at(number, change):
            return lambda direction, count, frame: change(frame) if (direction, count) == (0, number) else frame

        def swap(direction, count, frame):
            if direction == 1 or count not in (SECOND, THIRD):
                return frame
            held.append(frame)
            return b"" if count == SECOND else held[-1] + held[-2]

        def replay_the_first(direction, count, frame):
            if direction == 0 and count == SECOND - 1:
                held.append(frame)
            return frame + held[-1] if (direction, count) == (0, THIRD) else frame

        forged = frame_of(DATA, 9, value(EVIL))
        attacks = {
            "altered value": at(SECOND, lambda frame: resealed(frame, VALUE_AT, EVIL_VALUE)),
            "altered sequence": at(SECOND, lambda frame: resealed(frame, 8, struct.pack("<I", 7))),
            "altered type": at(SECOND, lambda frame: resealed(frame, 3, bytes([RESULT]))),
            "altered tag": at(SECOND, lambda frame: resealed(frame, len(frame) - 5, bytes([frame[-5] ^ 1]))),
            "shortened": at(SECOND, shortened),
            "sent twice": at(SECOND, lambda frame: frame * 2),
            "replayed later": replay_the_first,
            "reordered": swap,
            "dropped": at(SECOND, lambda frame: b""),
            "tag stripped": at(SECOND, untagged),
            "untagged frame put in": at(SECOND, lambda frame: forged + frame),
            "random tag put in": at(SECOND, lambda frame: frame_of(DATA, 9, value(EVIL), lambda _: os.urandom(16))),
            "untagged BYE put in": at(SECOND, lambda frame: frame_of(BYE, 0, b"\0") + frame),
        }
        for number, (name, tamper) in enumerate(attacks.items()):
            with self.subTest(name):
                device = self.victim(tamper, f"127.0.5.{number + 1}", boot=100 + number)
                try:
                    self.send_four(device)
                except OSError:
                    pass  # cut off already
                kinds, reason = self.ending(device)
                self.assertEqual(reason, PROTOCOL_ERROR, kinds)
                wait_for(lambda: self.metrics()["iotgw_buffer_records"] < 50, "the broker to have it")
                self.assertLessEqual(self.of_boot(100 + number), {(one, one) for one in range(1, 5)})
        seen = self.metrics()
        self.assertGreaterEqual(seen['iotgw_frames_rejected_total{reason="bad-tag"}'], 8, seen)
        self.assertGreaterEqual(seen['iotgw_frames_rejected_total{reason="untagged-frame"}'], 3, seen)
        self.assertIn("iotgw[1204]", self.running.log())

    def test_gateways_own_frame_sent_back_to_it(self):
        device = self.victim(lambda direction, count, frame: frame, boot=200)
        device.send(PING, 5, b"hello")
        kind, sequence, body = device.receive()
        self.assertEqual((kind, sequence, body), (PONG, 5, b"hello"))
        device.socket.sendall(device.middle.seen[FROM_GATEWAY][2])
        self.assertEqual(self.ending(device)[1], PROTOCOL_ERROR)

    def test_session_of_one_connection_is_worth_nothing_on_another(self):
        first = self.victim(lambda direction, count, frame: frame, boot=300)
        self.send_four(first)
        first.wait(ACK, 4)
        frames = first.middle.seen[0]
        # All of it again, as it was.
        again = self.intruder("127.0.0.67")
        for frame in frames[:2]:
            again.socket.sendall(frame)
        self.assertEqual(again.answer()[0], CHALLENGE)
        self.assert_refused(again.answer())
        # A session of the device's own, and in it the frames of the one before.
        second = self.victim(lambda direction, count, frame: frame, boot=300, used=4)
        second.socket.sendall(frames[2])
        self.assertEqual(self.ending(second)[1], PROTOCOL_ERROR)

    def test_proof_of_one_connection_on_another(self):
        # The device is real and connects to the attacker, who has a connection of his own open.
        mine = self.intruder("127.0.0.68")
        held = {}

        def steal(direction, count, frame):
            if direction == 0 and count == 0:
                held["hello"] = frame
            if direction == 0 and count == 1:
                held["auth"] = frame
                return b""  # the device's own connection waits for it
            return frame

        middle = Middle(self, self.address, steal)
        device = Link(middle.own_address)
        self.addCleanup(device.socket.close)
        hello = struct.pack("<BBII", 1, 1, 400, 0) + bytes(16) + b"\x06victim\0"
        device.send(HELLO, 0, hello)
        nonce = device.wait(CHALLENGE)
        device.send(AUTH, 0, sign(self.keys["victim"], b"ITGP1 device", hello, nonce))
        wait_for(lambda: "auth" in held, "the proof to be stolen")
        mine.socket.sendall(held["hello"])
        self.assertEqual(mine.answer()[0], CHALLENGE)
        mine.socket.sendall(held["auth"])
        self.assert_refused(mine.answer())

    def test_altered_handshakes(self):
        attacks = {
            "tags not wanted": (0, 0, lambda frame: resealed(frame, FEATURES_AT, b"\0")),
            "no authentication": (0, 0, lambda frame: resealed(frame, 12, b"\0")),
            "certificate instead": (0, 0, lambda frame: resealed(frame, 12, b"\2")),
            "boot id": (0, 0, lambda frame: resealed(frame, BOOT_AT, b"\x77")),
            "highest sequence": (0, 0, lambda frame: resealed(frame, USED_AT, b"\xff" * 4)),
            "device nonce": (0, 0, lambda frame: resealed(frame, NONCE_AT, bytes(16))),
            "device id": (0, 0, lambda frame: resealed(frame, ID_AT, b"good-2")),
            "firmware": (0, 0, lambda frame: resealed(frame, len(frame) - 5, b"!")),
            "gateway nonce": (1, 0, lambda frame: resealed(frame, 12, bytes(16))),
            "proof": (0, 1, lambda frame: resealed(frame, 12, bytes([frame[12] ^ 1]))),
        }
        for number, (name, (direction, count, change)) in enumerate(attacks.items()):
            with self.subTest(name):
                def tamper(way, which, frame, at=(direction, count), change=change):
                    return change(frame) if (way, which) == at else frame
                with self.assertRaisesRegex(Failure, "reason (2|3)"):
                    self.victim(tamper, f"127.0.6.{number + 1}", boot=500 + number)
        self.assertEqual(self.good.sessions, len(self.good.devices))

    def test_keyed_device_never_gets_in_by_its_word_alone(self):
        for number, device in enumerate(("victim", "good-1", "good-3")):
            link = self.intruder(f"127.0.7.{number + 1}")
            link.hello(device, mode=0)
            self.assert_refused(link.answer())


class Devices(Attack):
    """The product's own device client on the other end of the line."""

    VICTIMS = ("victim", "sim-1")
    LISTENER = {"offencesPerMinute": 10000, "badFramesPerMinute": 10000}

    def simulate(self, tamper, source):
        """The table of a device that sends five frames through a man in the middle, of which the gateway gets one."""
        def pass_on(direction, count, frame):
            if direction == 0 and count > SECOND - 1 and frame[3] == DATA:
                return b""
            return tamper(count, frame) if direction == 1 else frame

        middle = Middle(self, self.address, pass_on, source)
        done = subprocess.run(
            [IOTGW, "simulate", "--to", "127.0.0.1:%d" % middle.own_address[1], "--devices", "1", "--frames", "5",
             "--rate", "0", "--tagged", "--keys", str(self.folder / "devices.json"), "--drain", "1s", "--json"],
            capture_output=True, env=clean_environment(), timeout=60, check=False)
        self.assertTrue(middle.seen[1], "the attack was never made")
        return json.loads(done.stdout)

    def test_device_believes_nothing_that_was_altered(self):
        def at(number, change):
            return lambda count, frame: change(frame) if count == number else frame

        lie = struct.pack("<I", 5)
        attacks = {
            "challenge": (0, lambda frame: resealed(frame, 12, bytes(16))),
            "welcome without challenge": (0, lambda _: frame_of(WELCOME, 0, EASY_WELCOME)),
            "tags not granted": (1, lambda frame: resealed(frame, 12 + 18, b"\0")),
            "last safe sequence": (1, lambda frame: resealed(frame, 12 + 8, lie)),
            "gateway proof": (1, lambda frame: resealed(frame, 12 + 19, bytes(32))),
            "acknowledgement altered": (2, lambda frame: resealed(frame, 8, lie)),
            "acknowledgement made up": (2, lambda _: frame_of(ACK, 5, struct.pack("<H", 64))),
            "acknowledgement without its tag": (2, lambda frame: untagged(resealed(frame, 8, lie))),
            "frame refused by a lie": (2, lambda _: frame_of(NACK, 2, b"\1", lambda _: bytes(16))),
        }
        for number, (name, (count, change)) in enumerate(attacks.items()):
            with self.subTest(name):
                table = self.simulate(at(count, change), f"127.0.5.{number + 1}")
                self.assertEqual((table["sent"], table["refused"]), (5, 0), table)
                self.assertLessEqual(table["acknowledged"], 1, table)


if __name__ == "__main__":
    unittest.main()
