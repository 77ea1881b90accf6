"""What every attack has beside it: good devices that go on, and a reckoning afterwards of what the attacker got."""
import collections
import http.client
import json
import os
import re
import socket
import struct
import threading

from bench import BlackBox, wait_for
from broker import Broker, Subscriber
from device import (AUTH, CHALLENGE, HEADER, HELLO, REFUSE, U32, WELCOME, Failure, crc32c, data_of, frame_of, hello_of,
                    sign)
from fleet import Fleet, Link

MEMORY_MIB_MAX = int(os.environ.get("IOTGW_ATTACK_MIB", "80"))
# The good devices have an address of their own, as on a network; attackers have all the others of loopback.
GOOD, ATTACKER = "127.0.0.2", "127.0.0.66"
GOOD_DEVICES = ["good-1", "good-2", "good-3", "good-4"]
TAGGED_DEVICES = GOOD_DEVICES[2:]
# What an attacker's frames say, so that they are known wherever they turn up.
EVIL = 666_666_666
# Lines of one event that an attack may leave in the log, however long it goes on.
LOG_LINES_MAX = 20
LOG_LINE = re.compile(r"^\d\d:\d\d:\d\d\.\d{3} (trce|dbug|info|warn|fail|crit): iotgw\[(\d+)\] [^\x00-\x1f\x7f-\x9f\u202a-\u202e"
                      r"\u2066-\u2069\ufffd]*$")
IDENTITY_FAILED = 3


def evil_data():
    return data_of(0, [(1, U32, 0, struct.pack("<I", EVIL))])


def key_entry(device, key=None, **more):
    return {"id": device, "added": "2026-01-01T00:00:00Z"} | ({"key": key.hex()} if key else {}) | more


class Intruder(Link):
    """A connection that speaks the protocol and keeps to none of its rules: frames go out as they are told."""

    def hello(self, device, mode=1, features=0, boot=1, used=0, firmware=b"evil"):
        """Sends HELLO; returns its body."""
        name = device if isinstance(device, bytes) else device.encode()
        body = (struct.pack("<BBII", mode, features, boot, used) + os.urandom(16) + bytes([len(name)]) + name
                + bytes([len(firmware)]) + firmware)
        self.send(HELLO, 0, body)
        return body

    def answer(self):
        """(type, body) of the next frame; (None, b"") when the gateway has closed."""
        try:
            kind, _, body = self.receive()
            return kind, body
        except (Failure, OSError):
            return None, b""

    def prove(self, device, key, **more):
        """HELLO, CHALLENGE and AUTH; the answer to that, REFUSE and WELCOME alike."""
        hello = self.hello(device, **more)
        kind, nonce = self.answer()
        if kind != CHALLENGE:
            return kind, nonce
        self.send(AUTH, 0, sign(key, b"ITGP1 device", hello, nonce))
        return self.answer()


class Middle(threading.Thread):
    """A man in the middle: cuts both directions into frames and passes on what tamper(direction, number, frame) gives.

    Frames are numbered from 0 in each direction of a connection. 0 is HELLO and CHALLENGE, 1 AUTH and WELCOME.
    """

    def __init__(self, test, address, tamper=lambda direction, number, frame: frame, source=ATTACKER):
        super().__init__(daemon=True)
        self.address, self.tamper, self.source = address, tamper, source
        self.seen = ([], [])  # frames as they were sent, by direction
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.own_address = self.listener.getsockname()
        test.addCleanup(self.listener.close)
        self.start()

    def run(self):
        while True:
            try:
                device = self.listener.accept()[0]
            except OSError:
                return
            threading.Thread(target=self.serve, args=(device,), daemon=True).start()

    def serve(self, device):
        with device, Link(self.address, self.source).socket as gateway:
            gateway.settimeout(None)
            back = threading.Thread(target=self.pump, args=(1, gateway, device), daemon=True)
            back.start()
            self.pump(0, device, gateway)
            back.join()

    def pump(self, direction, source, target):
        stream, number = b"", 0
        try:
            while some := source.recv(65536):
                stream += some
                while (length := whole_frame(stream)) and len(stream) >= length:
                    frame, stream = stream[:length], stream[length:]
                    self.seen[direction].append(frame)
                    target.sendall(self.tamper(direction, number, frame))
                    number += 1
        except OSError:
            pass  # one side is gone: so is the other
        for end in (source, target):
            try:
                end.shutdown(2)
            except OSError:
                pass


def whole_frame(stream):
    """How long the frame is at the head of a stream; 0 if that cannot be told yet."""
    if len(stream) < HEADER.size:
        return 0
    _, _, _, length, flags, _ = HEADER.unpack(stream[:HEADER.size])
    return HEADER.size + length + (16 if flags & 1 else 0) + 4


def resealed(frame, at, value):
    """The frame with other bytes at a place, and the right checksum for them."""
    changed = frame[:at] + value + frame[at + len(value):-4]
    return changed + struct.pack("<I", crc32c(changed))


class Attack(BlackBox):
    """One attacked gateway. In tearDown: the good devices never noticed, and the attacker got nothing."""

    LISTENER = {}
    CONFIGURATION = {}
    VICTIMS = ("victim",)
    HTTP_HEADERS = {}
    # What the key file says of them besides their keys, and who else is in it.
    DETAILS = {}
    OTHERS = ()
    # Devices that a test has let in itself, and topics that it has made.
    lawful = ()

    def setUp(self):
        super().setUp()
        self.broker = Broker(self.folder).start()
        self.addCleanup(self.broker.end)
        self.consumer = Subscriber(self.broker.port, "#")
        self.addCleanup(self.consumer.end)
        self.keys = {name: os.urandom(32) for name in (*GOOD_DEVICES, *self.VICTIMS)}
        self.write_keys()
        self.running = self.start_gateway()
        self.address = self.running.address()
        self.good = Fleet(self.address, len(GOOD_DEVICES), self.keys, "good-", 100, GOOD, tagged=TAGGED_DEVICES)
        self.addCleanup(self.good.end)
        self.good.wait_progress(20)
        self.files_before = self.files()
        self.begin()

    def start_gateway(self):
        listener = {"name": "field", "endpoint": "127.0.0.1:0", "maxConnectionsPerAddress": 600,
                    "framesPerSecond": 10000} | self.LISTENER
        return self.gateway({"listeners": [listener], "mqtt": {"brokers": [self.broker.url]},
                             "http": {"endpoint": "127.0.0.1:0"}} | self.CONFIGURATION).start()

    def begin(self):
        """What a kind of attack needs besides."""

    def write_keys(self):
        entries = [key_entry(name, key, **self.DETAILS.get(name, {})) for name, key in self.keys.items()]
        entries += self.OTHERS
        beside = self.folder / "devices.new"
        beside.write_text(json.dumps({"format": 2, "devices": entries}))
        beside.chmod(0o600)
        beside.replace(self.folder / "devices.json")

    def files(self):
        """Every file outside of the buffer's directory, and that of the broker's."""
        return {str(one.relative_to(self.folder)) for one in self.folder.rglob("*")
                if "buffer" not in one.parts and not one.name.startswith("mosquitto")}

    def intruder(self, source=ATTACKER):
        made = Intruder(self.address, source)
        self.addCleanup(made.socket.close)
        return made

    def http_port(self):
        return int(re.search(r"HTTP is answered at http://[0-9.]+:(\d+)", self.running.log())[1])

    def metrics(self):
        link = http.client.HTTPConnection("127.0.0.1", self.http_port(), timeout=30, source_address=(GOOD, 0))
        link.request("GET", "/metrics", headers=self.HTTP_HEADERS)
        text = link.getresponse().read().decode()
        link.close()
        return {name: float(value) for name, _, value in
                (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))}

    def wait_metric(self, name, least):
        wait_for(lambda: self.metrics().get(name, 0) >= least, f"{name} to be at least {least}")

    def frames_of(self, device):
        """(sequence, values) of what the broker has of a device."""
        told = [json.loads(payload) for topic, payload, _ in list(self.consumer.messages)
                if topic == f"telemetry/box/{device}"]
        return [(one["seq"], one["values"]) for one in told]

    def assert_refused(self, answer, reason=IDENTITY_FAILED):
        kind, body = answer
        self.assertEqual((kind, body[:1]), (REFUSE, bytes([reason])), body)

    def tearDown(self):
        self.good.wait_progress(50, "the good devices to be acknowledged after the attack")
        self.assertEqual(self.good.sessions, len(GOOD_DEVICES), f"good devices lost connections: {self.good.problems()}")
        late = Link(self.address, "127.0.0.3")
        self.addCleanup(late.socket.close)
        late.enter(self.VICTIMS[0], self.keys[self.VICTIMS[0]], False, 0xFFFFFFFE, 0)
        late.socket.close()
        self.assertLess(self.running.memory_peak_mib(), MEMORY_MIB_MAX)
        self.good.finish()
        self.good.end()
        self.assert_nothing_got_in()
        self.assert_no_file_elsewhere()
        self.assert_clean_log()
        self.assert_stops(self.running)

    def assert_nothing_got_in(self):
        known = "|".join(map(re.escape, (*self.keys, *self.lawful)))
        allowed = re.compile(rf"telemetry/box/(status|({known})(/(meta|status|gaps|(command|result)/[a-z-]+))?)\Z")
        for topic, payload, _ in list(self.consumer.messages):
            self.assertRegex(topic, allowed, payload)
            self.assertNotIn(str(EVIL).encode(), payload, topic)

    def assert_no_file_elsewhere(self):
        self.assertEqual(self.files() - self.files_before - {"devices.json.lock", "devices.new"}, set())

    def assert_clean_log(self):
        raw = self.running.log_file.read_bytes()
        text = raw.decode()  # strictly: a log that is not UTF-8 is a find
        for key in self.keys.values():
            self.assertNotIn(key.hex(), text.lower())
            self.assertNotIn(key, raw)
        counts = collections.Counter()
        for line in text.split("\n")[:-1]:
            match = LOG_LINE.match(line)
            self.assertTrue(match, f"a line that is none of the gateway's, or holds what a terminal obeys: {line!r}")
            counts[match[2]] += 1
            self.assertLess(len(line), 1000, line)
        self.assertLessEqual(max(counts.values()), LOG_LINES_MAX, f"the log is flooded: {counts.most_common(3)}")
