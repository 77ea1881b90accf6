"""Hostile input: memory stays bounded, the process lives, and good devices are acknowledged all the while."""
import os
import random
import re
import resource
import socket
import struct
import unittest

from bench import HANG_SECONDS, BlackBox, iotgw, wait_for
from broker import Broker
from device import ACK, BYE, DATA, DESCRIBE, HELLO, NACK, U32, Failure, data_of, describe_of, frame_of, hello_of
from fleet import Fleet, Link, connection

# Resident memory that no attack may drive it over.
MEMORY_MIB_MAX = 80
RANDOM_MIB = int(os.environ.get("IOTGW_RANDOM_MIB", "256"))
ATTEMPTS = int(os.environ.get("IOTGW_ATTEMPTS", "10000"))
# Loopback has many addresses: the good devices have one of their own, and so has every attacker that needs it.
GOOD, ATTACKER = "127.0.0.2", "127.0.0.66"
LISTENER = {"name": "field", "endpoint": "127.0.0.1:0", "authentication": ["none", "hmac"], "framesPerSecond": 10000,
            "handshakeTimeout": "2s", "frameTimeout": "2s", "maxConnectionsPerAddress": 600}
# 600 frames at 200 a second are at least three seconds, of which the gateway needs a twentieth.
CALM_CPU_SECONDS = 0.8
PROTOCOL_ERROR_BYE = b"\x04"
GOOD_DEVICES = 4


class Hostile(BlackBox):
    def setUp(self):
        super().setUp()
        self.broker = Broker(self.folder).start()
        self.addCleanup(self.broker.end)
        self.running = self.gateway({"listeners": [LISTENER], "mqtt": {"brokers": [self.broker.url]}}).start()
        self.address = self.running.address()
        self.good = Fleet(self.address, count=GOOD_DEVICES, prefix="good-", frames_per_second=200, source=GOOD)
        self.addCleanup(self.good.end)
        self.good.wait_progress(20)

    def tearDown(self):
        """Whatever was done to it."""
        self.good.wait_progress(50, "the good devices to be acknowledged after the attack")
        self.assertEqual(self.good.sessions, GOOD_DEVICES, f"good devices lost connections: {self.good.problems()}")
        newcomer = Link(self.address, "127.0.0.3")
        newcomer.enter("newcomer", None, False, 1, 0)
        newcomer.socket.close()
        self.assertLess(self.running.memory_peak_mib(), MEMORY_MIB_MAX)
        self.good.finish()
        self.good.end()
        self.assert_stops(self.running)

    def attacker(self, source=ATTACKER):
        made = connection(self.address, source)
        self.addCleanup(made.close)
        return made

    def assert_closed(self, sockets):
        """The gateway closes each by itself."""
        for one in sockets:
            one.settimeout(HANG_SECONDS)
            try:
                while one.recv(65536):
                    pass
            except ConnectionError:
                pass

    def test_half_sent_hellos(self):
        hello = frame_of(HELLO, 0, hello_of(0, 0, 1, 0, bytes(16), "slow", ""))
        slow = [self.attacker() for _ in range(300)]
        for number, one in enumerate(slow):
            try:
                one.sendall(hello[:number % len(hello)])
            except ConnectionError:
                pass  # refused already: too many without authentication
        self.good.wait_progress(100, "the good devices to be acknowledged beside half-sent frames")
        other = Link(self.address, "127.0.0.4")
        self.addCleanup(other.socket.close)
        other.enter("other", None, False, 1, 0)
        self.assert_closed(slow)

    def test_bytes_that_drip(self):
        hello = frame_of(HELLO, 0, hello_of(0, 0, 1, 0, bytes(16), "slow", "x" * 64))
        one = self.attacker()
        one.settimeout(0.1)
        sent, is_open = 0, True
        while is_open and sent < len(hello):
            try:
                one.sendall(hello[sent:sent + 1])
                sent += 1
                is_open = one.recv(100) != b""
            except TimeoutError:
                pass
            except ConnectionError:
                is_open = False
        self.assertLess(sent, len(hello), "the handshake had to end before the last byte came")

    def test_half_sent_frames_after_welcome(self):
        frame = frame_of(DATA, 1, bytes(4000))
        links = []
        for number in range(200):
            link = Link(self.address, ATTACKER)
            self.addCleanup(link.socket.close)
            link.enter(f"half-{number}", None, False, 1, 0)
            link.socket.sendall(frame[:-1 - number])
            links.append(link)
        self.good.wait_progress(100, "the good devices to be acknowledged beside half-sent frames")
        for link in links:
            self.assertEqual(link.wait(BYE), PROTOCOL_ERROR_BYE)
            self.assertTrue(link.closed())

    def test_many_connection_attempts(self):
        descriptors = self.running.descriptors()
        reset = struct.pack("ii", 1, 0)
        for number in range(ATTEMPTS):
            one = connection(self.address, ATTACKER)
            if number % 2:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
            one.close()
            if number % 1000 == 0:
                self.good.wait_progress(10, "the good devices to be acknowledged during the attempts")
        wait_for(lambda: self.running.status()["devices"]["connections"] == GOOD_DEVICES, "the attempts to be over")
        wait_for(lambda: self.running.descriptors() <= descriptors + 2, "the descriptors to be given back")

    def test_lengths_beyond_the_limits(self):
        header = struct.Struct("<2sBBHHI")
        for number, length in enumerate((513, 4097, 16384, 16385, 65535)):
            one = self.attacker(f"127.0.1.{number + 1}")
            one.sendall(header.pack(b"\xc7\x49", 1, HELLO, length, 0, 0) + bytes(8))
            self.assert_closed([one])
        for number, length in enumerate((16385, 65535)):
            link = Link(self.address, f"127.0.2.{number + 1}")
            self.addCleanup(link.socket.close)
            link.enter("long", None, False, 1, 0)
            link.socket.sendall(header.pack(b"\xc7\x49", 1, DATA, length, 0, 1))
            self.assertEqual(link.wait(BYE), PROTOCOL_ERROR_BYE)

    def test_bodies_over_what_is_accepted_are_skipped(self):
        link = Link(self.address, ATTACKER)
        self.addCleanup(link.socket.close)
        window = link.enter("long", None, False, 1, 0)[2]
        frames = [frame_of(DATA, sequence, bytes(16384)) for sequence in range(1, window + 1)]
        link.socket.sendall(b"".join(frames))
        for sequence in range(1, window + 1):
            self.assertEqual(link.wait(NACK, sequence)[0], 3)

    def test_many_who_hold_a_great_frame_back(self):
        # Each says that it sends the largest frame, and holds the last byte back.
        frame = frame_of(DATA, 1, bytes(16384))
        links = []
        for number in range(500):
            link = Link(self.address, ATTACKER)
            self.addCleanup(link.socket.close)
            link.enter(f"great-{number}", None, False, 1, 0)
            link.socket.sendall(frame[:-1])
            links.append(link)
        self.good.wait_progress(100)
        for link in links:
            self.assertEqual(link.wait(BYE), PROTOCOL_ERROR_BYE)

    def test_descriptions_without_end(self):
        link = Link(self.address, ATTACKER)
        self.addCleanup(link.socket.close)
        link.enter("talker", None, False, 1, 0)
        try:
            for block in range(200):
                link.send(DESCRIBE, 0, describe_of(
                    [(block * 20 + entry, U32, "x" * 60 + str(entry), "y" * 32) for entry in range(20)]))
            self.assertEqual(link.wait(BYE), PROTOCOL_ERROR_BYE)
        except ConnectionError:
            pass  # closed while we were still talking

    def test_random_bytes(self):
        # Volume before the handshake, each MiB from an address of its own or it would be refused unread.
        dice = random.Random(1)
        blocks = [dice.randbytes(1 << 20) for _ in range(4)]
        magic = b"\xc7\x49\x01"
        for number in range(RANDOM_MIB):
            one = connection(self.address, f"127.{1 + number // 65000}.{number // 250 % 250 + 3}.{number % 250 + 1}")
            block = blocks[number % 4] if number % 2 else magic + blocks[number % 4]
            with one:
                try:
                    one.sendall(block)
                except ConnectionError:
                    pass  # it stopped listening to this one
            if number % 32 == 0:
                self.good.wait_progress(5, "the good devices to be acknowledged beside random bytes")

    def test_random_bodies(self):
        # Volume after the handshake: whole frames with right checksums and nonsense in them.
        dice = random.Random(2)
        link = Link(self.address, ATTACKER)
        self.addCleanup(link.socket.close)
        window = link.enter("nonsense", None, False, 1, 0)[2]
        outstanding = set()
        for sequence in range(1, 2001):
            # Well-formed now and then, by chance or because it is one.
            body = dice.randbytes(dice.randrange(9, 300)) if sequence % 10 else data_of(0, [(1, 3, 0, b"\x01")])
            link.send(DATA, sequence, body)
            outstanding.add(sequence)
            while len(outstanding) >= window or (outstanding and sequence == 2000):
                kind, about, _ = link.receive()
                outstanding -= {about} if kind == NACK else {one for one in outstanding if kind == ACK and one <= about}

    def test_malformed_is_told_frame_by_frame(self):
        link = Link(self.address, ATTACKER)
        self.addCleanup(link.socket.close)
        window = link.enter("malformed", None, False, 1, 0)[2]
        for first in range(1, 2001, window):
            for sequence in range(first, first + window):
                link.send(DATA, sequence, b"\x00" * 8 + b"\xff")
            for sequence in range(first, first + window):
                self.assertEqual(link.wait(NACK, sequence)[0], 1)

    def test_address_that_sends_nonsense_is_shut_out_and_no_other(self):
        for _ in range(12):
            one = self.attacker()
            try:
                one.sendall(b"GET / HTTP/1.1\r\n\r\n")
            except ConnectionError:
                pass
            self.assert_closed([one])
        link = Link(self.address, ATTACKER)
        self.addCleanup(link.socket.close)
        with self.assertRaisesRegex(Failure, "reason 6"):
            link.enter("banned", None, False, 1, 0)

    def test_devices_beyond_the_limit_are_refused(self):
        self.running.configure(self.running.configuration | {"devices": {"file": "devices.json", "maxDevices": 50}})
        self.good.finish()
        self.running.keep_port()
        self.assert_stops(self.running)
        self.running.start()
        wait_for(lambda: self.running.status()["devices"]["online"] == GOOD_DEVICES, "the good devices to come back")
        for device in self.good.devices:
            device.sessions = 1
        self.good.is_sending = True
        refused = 0
        for number in range(100):
            link = Link(self.address, ATTACKER)
            try:
                link.enter(f"new-{number}", None, False, 1, 0)
            except Failure as failure:
                self.assertIn("reason 5", str(failure))
                refused += 1
            link.socket.close()
        self.assertGreaterEqual(refused, 50)
        self.running.configure(self.running.configuration | {"devices": {"file": "devices.json"}})
        self.good.finish()
        self.assert_stops(self.running)
        self.running.start()
        wait_for(lambda: self.running.status()["devices"]["online"] == GOOD_DEVICES, "the good devices to come back")
        for device in self.good.devices:
            device.sessions = 1
        self.good.is_sending = True


class Descriptors(BlackBox):
    def setUp(self):
        super().setUp()
        broker = Broker(self.folder).start()
        self.addCleanup(broker.end)
        self.running = self.gateway({"listeners": [LISTENER | {"maxUnauthenticated": 1000, "handshakeTimeout": "1m"}],
                                     "mqtt": {"brokers": [broker.url]}, "http": {"endpoint": "127.0.0.1:0"}}).start()
        self.address = self.running.address()
        self.good = Fleet(self.address, count=GOOD_DEVICES, prefix="good-", frames_per_second=200, source=GOOD)
        self.addCleanup(self.good.end)
        self.good.wait_progress(20)
        self.limit = self.running.descriptors() + 20
        resource.prlimit(self.running.process.pid, resource.RLIMIT_NOFILE, (self.limit, self.limit))
        self.crowd = [connection(self.address, ATTACKER) for _ in range(100)]  # the kernel takes what we do not
        self.addCleanup(self.leave)

    def leave(self):
        for one in self.crowd:
            one.close()

    def assert_calm(self):
        """Through some seconds it does its work and nothing else: who spins takes all the time there is."""
        self.running.wait_log("cannot accept")
        before = self.running.cpu_seconds()
        self.good.wait_progress(600, "the good devices to be acknowledged while there are no descriptors")
        self.assertLess(self.running.cpu_seconds() - before, CALM_CPU_SECONDS)
        self.assertLess(self.running.log().count("\n"), 50, "the log is flooded")
        self.assertEqual(self.good.sessions, GOOD_DEVICES, self.good.problems())

    def assert_recovers(self):
        self.leave()
        wait_for(lambda: self.running.descriptors() < self.limit - 10, "the descriptors to be given back")
        late = Link(self.address, "127.0.0.5")
        late.enter("late", None, False, 1, 0)
        late.socket.close()
        self.assertEqual(self.running.status()["gateway"], "box")
        self.good.finish()
        self.assertLess(self.running.memory_peak_mib(), MEMORY_MIB_MAX)
        self.assert_stops(self.running)

    def test_out_of_descriptors_it_pauses_and_recovers(self):
        self.assert_calm()
        self.assert_recovers()

    def test_out_of_descriptors_with_somebody_at_the_control_socket(self):
        self.running.wait_log("cannot accept")
        asking = socket.socket(socket.AF_UNIX)
        self.addCleanup(asking.close)
        asking.connect(str(self.running.socket))
        self.assert_calm()
        asking.close()
        self.assert_recovers()

    def test_out_of_descriptors_with_somebody_at_http(self):
        self.running.wait_log("cannot accept")
        port = int(re.search(r"HTTP is answered at http://127\.0\.0\.1:(\d+)", self.running.log())[1])
        asking = socket.create_connection(("127.0.0.1", port))
        self.addCleanup(asking.close)
        self.assert_calm()
        asking.close()
        self.assert_recovers()

    def test_out_of_descriptors_keys_change(self):
        # What cannot be read now is read later, although the file does not change again.
        self.running.wait_log("cannot accept")
        key = iotgw("device", "add", "pump-7", "--config", self.running.file).stdout.strip()
        self.running.wait_log("no device can get in")
        self.leave()
        self.running.wait_log("device keys read", 2)
        link = Link(self.address)
        self.addCleanup(link.socket.close)
        link.enter("pump-7", bytes.fromhex(key), False, 1, 0)


if __name__ == "__main__":
    unittest.main()
