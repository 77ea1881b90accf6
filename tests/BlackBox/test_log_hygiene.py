"""What devices and brokers say never reaches a log, a status or a terminal as they said it; secrets never do at all."""
import http.client
import json
import re
import socket
import struct
import threading
import unicodedata
import unittest

from bench import BlackBox, iotgw, wait_for
from device import AUTH, CHALLENGE, DATA, DESCRIBE, F32, HELLO, WELCOME, data_of, describe_of, hello_of, sign
from fleet import Link

# A line of one's own, a red one, the reading direction turned, no width, a tag, a bell, a title, C1's CSI, and length.
NASTY = "\r\n12:00:00 crit: owned\x1b[31m\x1b]0;title\x07\u202eevil\u2066\u200b\U000e0041\u2028\x9b2J\x00" + "A" * 400
PASSWORD = "hunter2-of-the-broker"
TOKEN = "token-of-the-operator"
LINE_MAX = 3000


def packet(kind, body):
    length, digits = len(body), b""
    while True:
        length, digit = length >> 7, length & 0x7F
        digits += bytes([digit | (0x80 if length else 0)])
        if not length:
            return bytes([kind]) + digits + body


def reason_of(text):
    data = text.replace("\x00", "").encode()
    one = b"\x1f" + struct.pack(">H", len(data)) + data
    return packet(0, one)[1:]


class NastyBroker:
    """Refuses the first connection and takes and closes the next, each with a reason that is an attack."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = "mqtt://127.0.0.1:{}".format(self.listener.getsockname()[1])
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        number = 0
        while True:
            try:
                link = self.listener.accept()[0]
            except OSError:
                return
            with link:
                link.settimeout(5)
                try:
                    link.recv(4096)
                    if number % 2 == 0:
                        link.sendall(packet(0x20, b"\x00\x87" + reason_of(NASTY)))
                    else:
                        link.sendall(packet(0x20, b"\x00\x00\x00"))
                        link.sendall(packet(0xE0, b"\x8b" + reason_of(NASTY)))
                    link.recv(4096)
                except OSError:
                    pass
            number += 1


class LogHygiene(BlackBox):
    def setUp(self):
        super().setUp()
        self.broker = NastyBroker()
        self.addCleanup(self.broker.listener.close)
        self.write("mqtt.password", PASSWORD)
        self.write("http.token", TOKEN)
        self.running = self.gateway({
            "mqtt": {"brokers": [self.broker.url], "username": "operator", "passwordFile": "mqtt.password"},
            "http": {"endpoint": "127.0.0.1:0", "tokenFile": "http.token"}, "log": {"level": "debug"}})
        self.key = iotgw("device", "add", "keyed", "--config", self.running.file).stdout.strip()
        self.running.start()

    def assert_harmless(self, text, where):
        for character in text.replace("\n", ""):
            self.assertNotIn(unicodedata.category(character), ("Cc", "Cf", "Zl", "Zp", "Co", "Cn"),
                             f"{where} holds {character!r}")
        self.assertEqual([line for line in text.splitlines() if len(line) > LINE_MAX], [], where)
        for line in text.splitlines():
            self.assertNotRegex(line, r"^\s*12:00:00 crit: owned", where)
        for secret in (self.key, PASSWORD, TOKEN):
            self.assertNotIn(secret, text, where)

    def ask(self, path, authorization=f"Bearer {TOKEN}"):
        port = int(re.search(r"HTTP is answered at http://127\.0\.0\.1:(\d+)", self.running.log())[1])
        link = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        try:
            link.request("GET", path, headers={"Authorization": authorization, "User-Agent": "x\x1b[31m"})
            return link.getresponse().read().decode()
        finally:
            link.close()

    def hello(self, device_id, firmware="f", mode=0, source="127.0.0.1"):
        link = Link(self.running.address(), source)
        self.addCleanup(link.socket.close)
        hello = hello_of(mode, 0, 1, 0, bytes(16), device_id, firmware)
        link.send(HELLO, 0, hello)
        return link, hello

    def attack(self):
        firmware = NASTY.replace("\x00", "")[:50]
        self.assertLessEqual(len(firmware.encode()), 64)
        link, _ = self.hello("keyed", firmware, mode=1)
        link.expect(CHALLENGE)
        link.send(AUTH, 0, bytes(32))
        link, hello = self.hello("keyed", firmware, mode=1)
        nonce = link.expect(CHALLENGE)
        link.send(AUTH, 0, sign(bytes.fromhex(self.key), b"ITGP1 device", hello, nonce))
        link.expect(WELCOME)
        link, _ = self.hello("firm", firmware)
        link.expect(WELCOME)
        unit = "\x1b[m"
        link.send(DESCRIBE, 0, describe_of([(1, F32, firmware, unit)]))
        link.send(DATA, 1, data_of(0, [(1, F32, 0, bytes(4))]))
        self.hello("keyed", firmware, mode=0)
        # As many as an address has bad frames before it is shut out, and another address for the rest.
        for number, device_id in enumerate(("../../etc", "a/b", "+", "#", "$SYS", "a\x00b", "\x1b[2J", "x" * 65, NASTY[:40])):
            self.hello(device_id, source=f"127.0.0.{2 + number}")
        for authorization in (f"Bearer {NASTY[:40]!r}", "Bearer " + TOKEN + "x"):
            self.ask("/%1b%0a/" + "A" * 500, authorization)
        with socket.create_connection(self.running.address(), source_address=("127.0.0.99", 0)) as raw:
            raw.sendall(NASTY.encode() * 10)
            raw.settimeout(5)
            raw.recv(100)

    def test_attacks_leave_no_trace_as_they_came(self):
        self.attack()
        self.running.wait_log("keyed")
        wait_for(lambda: "owned" in self.running.log(), "the broker's reason in the log")
        wait_for(lambda: "owned" in self.running.status()["broker"]["lastFailure"], "the broker's reason in the status")
        shown = iotgw("status", "--socket", self.running.socket)
        self.assertEqual((shown.returncode, shown.stderr), (0, ""))
        self.assertIn("owned", shown.stdout)
        self.assert_harmless(shown.stdout, "iotgw status")
        status = json.loads(self.ask("/status"))
        for value in self.texts(status):
            self.assert_harmless(value, "/status")
            self.assertNotIn("\n", value)
        self.assert_harmless(self.ask("/metrics"), "/metrics")
        self.assert_harmless(iotgw("device", "list", "--config", self.running.file).stdout, "iotgw device list")
        self.assert_stops(self.running)
        self.assert_harmless(self.running.log(), "the log")
        self.assertNotIn("../../etc", self.running.log())

    def test_words_of_the_command_line_are_not_shown_as_they_are(self):
        for arguments in (["device", "add", "\x1b[31mx"], ["decode", "\x1b[31mx"], ["check", "--config", "/no/\x1b[31m"],
                          ["\x1b[31mx"], ["check", "--set", "mqtt.\x1b[31m=1"]):
            done = iotgw(*arguments)
            self.assertNotEqual(done.returncode, 0)
            self.assert_harmless(done.stderr, arguments)

    def texts(self, value):
        if isinstance(value, dict):
            return [text for one in value.values() for text in self.texts(one)]
        if isinstance(value, list):
            return [text for one in value for text in self.texts(one)]
        return [value] if isinstance(value, str) else []


if __name__ == "__main__":
    unittest.main()
