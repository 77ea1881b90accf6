"""Names that are more than names: in topics, file names, terminals, logs; from devices and from the broker."""
import os
import re
import socket
import struct
import threading
import unittest

from attack import MEMORY_MIB_MAX, Attack
from bench import BlackBox, iotgw, wait_for
from broker import (CONNACK, CONNECT, PINGREQ, PINGRESP, PUBACK, PUBLISH, SUBACK, SUBSCRIBE, packet, publication,
                    split_packets, text16)
from device import ACK, BYE, COMMAND, DATA, DESCRIBE, NACK, RESULT, U32, data_of, frame_of
from fleet import Link

TEXT = 0x0C
PROTOCOL_ERROR_BYE, PROTOCOL_ERROR_REFUSAL, MALFORMED = bytes([4]), 8, 1
# What a terminal, a log, a shell, a file system or a broker might obey.
POISONS = [b"\x1b[2J\x1b]0;owned\x07", b"line\nbreak", b"line\r\nbreak: iotgw[1001] all is well", b"nul\0nul", b"tab\t\b\b\x7f",
           "\u202egnirts\u2066".encode(), "\u0085\u009b31m\u2028\u2029".encode(), b"$(reboot)`reboot`", b"../../../../etc/x",
           b"%n%s{0}{device}", b'"},"state":"', b"<script>alert(1)</script>"]
NO_UTF8 = [b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xff\xfe", b"cut\xe2\x82"]
DEVICE_IDS = [b"", b".", b"..", b".hidden", b"../x", b"a/b", b"/", b"+", b"#", b"$SYS", b"$share/x/y", b"local", b"status",
              b"a\0b", b"a\nb", b"a b", b"\x1b[31m", b"\xc0\xaf", "ä".encode(), "\u202ea".encode(), b"x" * 65, b"x" * 255]
CHANNELS = [b"", b"/", b"/a", b"a/", b"a//b", b"+", b"#", b"a/#", b"a/+/b", b"$SYS/x", b"meta", b"status/x", b"command/x",
            b"result", b"gaps/a", b"a\0b", b"a\nb", b"a b", b"\x1b[31m", b"\xc0\xaf", "\u202ea".encode(), b"x" * 65]
# What no line that is meant for people may hold.
UNPRINTABLE = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def raw_describe(name, unit=b""):
    return b"\x01" + struct.pack("<HB", 1, U32) + bytes([len(name)]) + name + bytes([len(unit)]) + unit


def raw_text(text):
    return data_of(0, [(1, TEXT, 0, bytes([len(text)]) + text)])


class Names(Attack):
    LISTENER = {"authentication": ["hmac", "none"], "badFramesPerMinute": 100000, "offencesPerMinute": 100000}
    lawful = ("guest",)

    def guest(self, boot, firmware=b"1"):
        link = self.intruder()
        link.hello("guest", mode=0, boot=boot, firmware=firmware)
        return link

    def test_device_ids(self):
        for number, name in enumerate(DEVICE_IDS):
            for mode in (0, 1):
                with self.subTest(name, mode=mode):
                    one = self.intruder(f"127.0.4.{number + 1}")
                    one.hello(name, mode=mode)
                    self.assert_refused(one.answer(), PROTOCOL_ERROR_REFUSAL)
                    one.socket.close()

    def test_ids_that_are_cut_or_too_long_for_their_frame(self):
        for number, name in enumerate((b"x" * 400, b"x" * 254)):
            one = self.intruder(f"127.0.4.{number + 1}")
            one.socket.sendall(frame_of(1, 0, bytes([0, 0, 1, 0, 0, 0]) + bytes(20) + bytes([len(name) & 255]) + name))
            self.assert_refused(one.answer(), PROTOCOL_ERROR_REFUSAL)

    def test_channel_names(self):
        for number, name in enumerate(CHANNELS):
            with self.subTest(name):
                one = self.guest(1 + number)
                one.answer()
                one.send(DESCRIBE, 0, raw_describe(name))
                self.assertEqual(one.answer(), (BYE, PROTOCOL_ERROR_BYE))
                one.socket.close()

    def test_text_that_is_no_text(self):
        for number, text in enumerate(NO_UTF8):
            with self.subTest(text):
                one = self.guest(1 + number, text)
                self.assert_refused(one.answer(), PROTOCOL_ERROR_REFUSAL)
                one = self.guest(1 + number)
                one.answer()
                one.send(DATA, 1, raw_text(text))
                kind, body = one.answer()
                self.assertEqual((kind, body[0]), (NACK, MALFORMED))
                one.send(DESCRIBE, 0, raw_describe(b"a", text))
                self.assertEqual(one.answer(), (BYE, PROTOCOL_ERROR_BYE))

    def test_poisoned_firmware_units_and_values_are_shown_escaped(self):
        for number, text in enumerate(POISONS):
            with self.subTest(text):
                one = self.guest(1 + number, text[:64])
                one.answer()
                one.send(DESCRIBE, 0, raw_describe(b"a", text[:32]))
                one.send(DATA, 1, raw_text(text))
                one.wait(ACK, 1)
                place = ("--config", self.running.file, "--socket", self.running.socket)
                for shown in (iotgw("device", "list", *place), iotgw("status", "--socket", self.running.socket),
                              iotgw("status", "--json", "--socket", self.running.socket)):
                    self.assertEqual(shown.returncode, 0, shown)
                    self.assertNotRegex(shown.stdout + shown.stderr, UNPRINTABLE)
                one.socket.close()
        wait_for(lambda: len(self.frames_of("guest")) == len(POISONS), "all values to arrive")
        self.assertEqual([values["a"].encode() for _, values in self.frames_of("guest")], POISONS)
        for topic, payload, _ in list(self.consumer.messages):
            self.assertNotRegex(payload, b"[\\x00-\\x1f\\x7f]", topic)

    def test_decode_shows_poison_escaped(self):
        for text in POISONS + NO_UTF8:
            hello = struct.pack("<BBII", 0, 0, 1, 0) + bytes(16) + b"\x01a" + bytes([len(text[:64])]) + text[:64]
            name = struct.pack("<BBII", 0, 0, 1, 0) + bytes(16) + bytes([len(text)]) + text + b"\0"
            for frame in (frame_of(1, 0, hello), frame_of(1, 0, name), frame_of(6, 0, raw_describe(text[:64], text[:32])),
                          frame_of(7, 1, raw_text(text)), frame_of(5, 0, b"\x03\0\0" + text), frame_of(9, 1, b"\x01" + text),
                          frame_of(12, 1, bytes([len(text)]) + text + struct.pack("<H", len(text)) + text), text):
                for done in (iotgw("decode", frame.hex()),) if text in POISONS[:2] else (
                        iotgw("decode", "--file", "-", stdin=frame),):
                    self.assertNotRegex(done.stdout + done.stderr, UNPRINTABLE)

    def test_dump_and_export_of_poison_are_escaped(self):
        self.broker.kill()
        one = self.guest(1)
        one.answer()
        one.send(DESCRIBE, 0, raw_describe(b"a"))
        for sequence, text in enumerate(POISONS):
            one.send(DATA, sequence + 1, raw_text(text))
        one.wait(ACK, len(POISONS))
        dump = iotgw("buffer", "dump", "--config", self.running.file)
        self.assertEqual(dump.returncode, 0, dump)
        self.assertIn("guest", dump.stdout)
        for done in (dump, iotgw("buffer", "status", "--config", self.running.file)):
            self.assertNotRegex(done.stdout + done.stderr, UNPRINTABLE)
        self.broker.start()

    def test_words_of_commands_line_are_not_obeyed(self):
        for text in ("../../etc/x", "a\x1b[2Jb", "a\nb", "\u202ea", "x" * 65, ".", ""):
            for verb in ("add", "revoke", "rotate", "approve"):
                done = iotgw("device", verb, text, "--config", self.running.file, "--socket", self.running.socket)
                self.assertIn(done.returncode, (1, 2), (text, done))
                self.assertNotRegex(done.stdout + done.stderr, UNPRINTABLE)


class HostileBroker(threading.Thread):
    """A broker that says what it likes: every packet given to it goes to the gateway, whatever it is."""

    def __init__(self, test):
        super().__init__(daemon=True)
        self.listener = socket.create_server(("127.0.0.1", 0))
        test.addCleanup(self.listener.close)
        self.url = "mqtt://127.0.0.1:%d" % self.listener.getsockname()[1]
        self.link = None
        self.connects = 0
        self.is_subscribed = threading.Event()
        self.messages = []  # (topic, payload)
        self.start()

    def run(self):
        while True:
            try:
                with self.listener.accept()[0] as self.link:
                    self.connects += 1
                    self.serve(self.link)
            except OSError:
                if self.listener.fileno() < 0:
                    return

    def serve(self, link):
        stream = b""
        while some := link.recv(65536):
            packets, stream = split_packets(stream + some)
            for first, body in packets:
                kind = first >> 4
                if kind == CONNECT:
                    link.sendall(packet(CONNACK, 0, b"\0\0\0"))
                elif kind == SUBSCRIBE:
                    link.sendall(packet(SUBACK, 0, body[:2] + b"\0\1"))
                    self.is_subscribed.set()
                elif kind == PUBLISH:
                    topic, identifier, payload = publication(first, body, 5)
                    self.messages.append((topic, payload))
                    if identifier:
                        link.sendall(packet(PUBACK, 0, body[2 + len(topic.encode()):][:2]))
                elif kind == PINGREQ:
                    link.sendall(packet(PINGRESP, 0, b""))

    def tell(self, topic, payload=b"x", properties=b""):
        """A PUBLISH with QoS 0; False if the gateway has gone."""
        topic = topic if isinstance(topic, bytes) else topic.encode()
        try:
            self.link.sendall(packet(PUBLISH, 0, text16(topic) + varint(len(properties)) + properties + payload))
            return True
        except OSError:
            return False


def varint(number):
    digits = b""
    while True:
        number, digit = number >> 7, number & 127
        digits += bytes([digit | (128 if number else 0)])
        if not number:
            return digits


class Broker(BlackBox):
    """The broker itself, or whoever speaks through it, is the attacker. (A good device beside it goes by the disk.)"""

    def setUp(self):
        super().setUp()
        self.broker = HostileBroker(self)
        self.running = self.gateway({"mqtt": {"brokers": [self.broker.url]}, "gateway": {"id": "box"}}).start()
        self.device = Link(self.running.address())
        self.addCleanup(self.device.socket.close)
        self.device.enter("pump-7", None, False, 1, 0)
        self.sequence = 0
        self.broker.is_subscribed.wait(30)
        self.assert_works()

    def assert_works(self):
        """A frame goes through, and the session is the one that it was."""
        self.sequence += 1
        self.device.send(DATA, self.sequence, data_of(0, [(1, U32, 0, struct.pack("<I", self.sequence))]))
        self.device.wait(ACK, self.sequence)

    def assert_own_topics(self):
        for topic, payload in list(self.broker.messages):
            self.assertRegex(topic, r"\Atelemetry/box/(status|(pump-7|good-1)(/(meta|status|gaps|result/[^+#\0]+))?)\Z",
                             payload)

    def assert_unharmed(self):
        self.assert_works()
        self.assert_own_topics()
        log = self.running.log_file.read_bytes().decode()
        self.assertNotRegex(log, UNPRINTABLE)
        self.assertLess(log.count("\n"), 60)
        self.assertLess(self.running.memory_peak_mib(), MEMORY_MIB_MAX)
        self.assertEqual({one.name for one in self.folder.iterdir()} - {"control.sock", "buffer"},
                         {"gateway.json", "gateway.log"})
        self.assert_stops(self.running)

    def test_command_topics(self):
        base = b"telemetry/box/"
        poisons = [poison for poison in POISONS if b"\0" not in poison]
        topics = [base + poison + b"/command/x" for poison in poisons]
        topics += [base + b"pump-7/command/" + poison for poison in poisons]
        topics += [base + rest for rest in (
            b"/command/x", b"../command/x", b"status/command/x", b"pump-7/command/", b"pump-7/command",
            b"pump-7/command/a/b", b"pump-7/command/../../status", b"good-1/command/x", b"pump-7/result/x", b"status",
            b"pump-7/command/" + b"x" * 300, b"x" * 60000 + b"/command/x")]
        topics += [b"$SYS/broker/x", b"telemetry/other/pump-7/command/x", b"/", b"telemetry"]
        for topic in topics:
            self.broker.tell(topic, b"on")
        self.assert_unharmed()

    def test_response_topics(self):
        for topic in (b"#", b"+", b"a/+/b", b"a/#", b"", b"\xc0\xaf", b"a\0b", b"telemetry/box/status", b"telemetry/box/pump-7",
                      b"telemetry/box/pump-7/status", b"telemetry/box/pump-7/command/valve", b"telemetry/box/other/meta",
                      b"$SYS/broker/x"):
            with self.subTest(topic=topic[:40]):
                self.broker.messages.clear()
                self.broker.tell("telemetry/box/pump-7/command/valve", b"on", b"\x08" + text16(topic))
                self.broker.tell("telemetry/box/pump-7/command/other", b"on")
                while True:
                    kind, number, body = self.device.receive()
                    if kind == COMMAND:
                        self.device.send(RESULT, number, struct.pack("<BH", 0, 4) + b"EVIL")
                        if body[1:6] == b"other":
                            break
                wait_for(lambda: "telemetry/box/pump-7/result/other" in [name for name, _ in self.broker.messages], "the answer")
                self.assert_own_topics()
                for name, payload in self.broker.messages:
                    self.assertTrue(b"EVIL" not in payload or "/result/" in name, name)
        # One that is nobody's concern is what response topics are for.
        self.broker.tell("telemetry/box/pump-7/command/valve", b"on", b"\x08" + text16("app/answers"))
        self.device.send(RESULT, self.command_number(), struct.pack("<BH", 0, 4) + b"true")
        wait_for(lambda: "app/answers" in [name for name, _ in self.broker.messages], "the answer")
        self.broker.messages.clear()
        self.assertEqual(self.broker.connects, 1)
        self.assert_unharmed()

    def command_number(self):
        while True:
            kind, number, _ = self.device.receive()
            if kind == COMMAND:
                return number

    def test_packets_that_are_none(self):
        packets = [b"\xff" * 64, b"\x30\xff\xff\xff\xff", b"\x30\xff\xff\xff\x7f", packet(PUBLISH, 0, b"\xff\xff"),
                   packet(PUBLISH, 6, text16("telemetry/box/pump-7/command/x") + b"\0\1\0"), packet(CONNACK, 0, b"\0\0\0"),
                   packet(PUBACK, 0, b"\x77\x77"), packet(PUBLISH, 0, text16(b"a\0b") + b"\0"), os.urandom(2000),
                   packet(PUBLISH, 0, text16("telemetry/box/pump-7/command/x") + b"\0" + bytes(70000))]
        for one in packets:
            before = self.broker.connects
            try:
                self.broker.link.sendall(one)
            except OSError:
                pass
            self.assert_works()
        self.assert_unharmed()

    def test_flood_of_commands(self):
        for number in range(20000):
            if not self.broker.tell(f"telemetry/box/nobody-{number}/command/x", bytes(400)):
                break
        self.assert_works()
        self.assertLess(self.running.log().count("\n"), 60)


if __name__ == "__main__":
    unittest.main()
