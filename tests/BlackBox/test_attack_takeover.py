"""Taking a session over without its key, and what a device with a key of its own can do to others and to the count."""
import socket
import struct
import unittest

from attack import Attack, evil_data, key_entry
from bench import wait_for
from broker import CONNECT, PUBLISH, packet, text16
from device import (ACK, AUTH, BYE, CHALLENGE, COMMAND, DATA, DESCRIBE, HELLO, NACK, PING, PONG, REFUSE, RESULT, U32,
                    WELCOME, data_of, describe_of, frame_of, hello_of)
from fleet import Link

PROTOCOL_ERROR, SUPERSEDED = bytes([4]), bytes([2])
MODE_NOT_ACCEPTED, BOOT_USED = 2, 10
LAST = 0xFFFFFFFF


def value(number):
    return data_of(0, [(1, U32, 0, struct.pack("<I", number))])


class Takeover(Attack):
    LISTENER = {"authentication": ["hmac", "none"], "offencesPerMinute": 10000, "badFramesPerMinute": 10000}
    VICTIMS = ("victim", "insider")
    OTHERS = [key_entry("by-certificate", authentication="certificate")]

    def enter(self, device="victim", boot=1, used=0, tagged=False):
        """A device that has its key: the link, and its last safe sequence."""
        link = Link(self.address, "127.0.0.9")
        self.addCleanup(link.socket.close)
        return link, link.enter(device, self.keys[device], tagged, boot, used)[1]

    def publish(self, topic, payload):
        """As another client of the broker."""
        with socket.create_connection(("127.0.0.1", self.broker.port)) as link:
            link.sendall(packet(CONNECT, 0, text16("MQTT") + b"\x04\x02\0\0" + text16("")))
            link.recv(4)
            link.sendall(packet(PUBLISH, 0, text16(topic) + payload))

    def test_session_lives_through_every_try(self):
        link, _ = self.enter(tagged=True)
        tries = {
            "none": lambda one: one.hello("victim", mode=0),
            "none with the boot id that it has": lambda one: one.hello("victim", mode=0, boot=1, used=5),
            "certificate": lambda one: one.hello("victim", mode=2),
            "unknown mode": lambda one: one.hello("victim", mode=77),
            "wrong proof": lambda one: one.prove("victim", bytes(32)),
            "key of another": lambda one: one.prove("victim", self.keys["insider"]),
            "no proof": lambda one: (one.hello("victim"), one.wait(CHALLENGE)),
            "data instead of a proof": lambda one: (one.hello("victim"), one.wait(CHALLENGE),
                                                    one.send(DATA, 1, evil_data())),
            "data before anything": lambda one: one.send(DATA, 1, evil_data()),
            "hello twice": lambda one: (one.hello("victim"), one.hello("victim", mode=0)),
            "none first and another id then": lambda one: (one.hello("guest", mode=0), one.hello("victim", mode=0)),
            "id in other case": lambda one: one.prove("VICTIM", self.keys["victim"]),
            "everything in one go": lambda one: one.socket.sendall(
                frame_of(HELLO, 0, hello_of(1, 0, 1, 0, bytes(16), "victim", "")) + frame_of(AUTH, 0, bytes(32))
                + frame_of(DATA, 1, evil_data())),
        }
        self.lawful = ("guest",)
        for number, (name, attempt) in enumerate(tries.items()):
            with self.subTest(name):
                one = self.intruder(f"127.0.4.{number + 1}")
                attempt(one)
                try:
                    one.send(DATA, 1, evil_data())
                    one.socket.shutdown(socket.SHUT_WR)
                except OSError:
                    pass  # cut off already
                link.send(DATA, number + 1, value(number))
                link.wait(ACK, number + 1)
                self.assertTrue(one.closed())
        self.assertEqual([sequence for sequence, _ in self.frames_of("victim")], list(range(1, len(tries) + 1)))

    def test_certificate_mode_without_a_certificate(self):
        for number, device in enumerate(("by-certificate", "victim", "good-1", "never-heard-of")):
            one = self.intruder(f"127.0.4.{number + 1}")
            one.hello(device, mode=2)
            self.assert_refused(one.answer(), MODE_NOT_ACCEPTED)
            one = self.intruder(f"127.0.4.{number + 1}")
            one.hello(device, mode=0)
            if device != "never-heard-of":
                self.assert_refused(one.answer())
        self.lawful = ("never-heard-of",)

    def test_failed_handshakes_forget_no_boot(self):
        link, _ = self.enter(boot=42)
        for sequence in (1, 2, 3):
            link.send(DATA, sequence, value(sequence))
        link.wait(ACK, 3)
        for number in range(10):
            one = self.intruder(f"127.0.4.{number + 1}")
            self.assert_refused(one.prove("victim", bytes(32), boot=1000 + number, used=LAST))
            one = self.intruder(f"127.0.4.{number + 1}")
            one.hello("victim", mode=0, boot=2000 + number)
            self.assert_refused(one.answer())
        self.assertEqual(self.enter(boot=42, used=3)[1], 3)

    def test_lies_about_the_boot(self):
        link, _ = self.enter("insider", boot=7)
        for sequence in range(1, 6):
            link.send(DATA, sequence, value(sequence))
        link.wait(ACK, 5)
        for used in (0, 1, 4):
            self.assert_refused(self.intruder("127.0.0.9").prove("insider", self.keys["insider"], boot=7, used=used),
                                BOOT_USED)
        # To have used all of them is believed of nothing: what was taken stays what was taken.
        link, safe = self.enter("insider", boot=7, used=LAST)
        self.assertEqual(safe, 5)
        link.send(DATA, 6, value(6))
        link.wait(ACK, 6)
        link, safe = self.enter("insider", boot=8, used=LAST)
        self.assertEqual(safe, 0)
        link.send(DATA, 1, value(1))
        link.wait(ACK, 1)
        self.assertEqual(sorted(sequence for sequence, _ in self.frames_of("insider")), [1, 1, 2, 3, 4, 5, 6])

    def test_sequence_to_the_very_end(self):
        link, _ = self.enter("insider", boot=9)
        link.send(DATA, 1, value(1))
        link.send(DATA, LAST, value(2))
        link.wait(ACK, LAST)
        for sequence in (2, 1, LAST):
            link.send(DATA, sequence, evil_data())
        link.send(PING, 1)
        link.wait(PONG, 1)
        link.send(DATA, 0, evil_data())
        self.assertEqual(link.wait(BYE), PROTOCOL_ERROR)
        self.assertEqual(self.enter("insider", boot=9, used=LAST)[1], LAST)
        self.assertEqual([sequence for sequence, _ in self.frames_of("insider")], [1, LAST])
        self.assertEqual(self.metrics()["iotgw_sequence_gaps_total"], 1)
        self.assertEqual(self.metrics()["iotgw_frames_duplicate_total"], 3)

    def test_frames_that_only_a_gateway_may_send(self):
        for number, kind in enumerate((HELLO, CHALLENGE, AUTH, WELCOME, REFUSE, ACK, NACK, COMMAND, 0, 15, 255)):
            link, _ = self.enter("insider", boot=100 + number)
            link.send(kind, 1, struct.pack("<H", 64))
            self.assertEqual(link.wait(BYE), PROTOCOL_ERROR, kind)

    def test_answer_to_a_command_that_another_was_given(self):
        victim, _ = self.enter("victim", boot=5)
        insider, _ = self.enter("insider", boot=5)
        for device in ("victim", "insider"):
            wait_for(lambda: self.consumer.last(f"telemetry/box/{device}/status"), "it to be online")
        self.publish("telemetry/box/insider/command/valve", b"open")
        insider_number = self.command_number(insider)
        self.publish("telemetry/box/victim/command/valve", b"open")
        number = self.command_number(victim)
        lie = struct.pack("<BH", 0, 4) + b"EVIL"
        for guess in (number, number + 1, insider_number + 1, 0, LAST):
            insider.send(RESULT, guess, lie)
        insider.send(PING, 1)
        insider.wait(PONG, 1)
        victim.send(RESULT, number, struct.pack("<BH", 0, 4) + b"true")
        answer = wait_for(lambda: self.consumer.last("telemetry/box/victim/result/valve"), "the victim's answer")
        self.assertEqual(answer["payload"], "true")
        for topic, payload, _ in list(self.consumer.messages):
            self.assertNotIn(b"EVIL", payload, topic)

    @staticmethod
    def command_number(link):
        while True:
            kind, sequence, _ = link.receive()
            if kind == COMMAND:
                return sequence

    def test_description_floods_stay_the_devices_own(self):
        # Names of another device, and of the gateway's own topics, are but names.
        link, _ = self.enter("insider", boot=6)
        for name in ("good-1", "telemetry/box/good-1", "a/../../good-1", ".", "-"):
            link.send(DESCRIBE, 0, describe_of([(1, U32, name, "")]))
        link.send(DATA, 1, value(1))
        link.wait(ACK, 1)


if __name__ == "__main__":
    unittest.main()
