"""Exhaustion: the caps of docs/configuration.md hold, and the good devices do not notice."""
import os
import select
import socket
import struct
import time
import unittest

from attack import ATTACKER, Attack
from bench import wait_for
from device import DATA, DESCRIBE, HELLO, PING, PONG, U32, WELCOME, Failure, data_of, describe_of, frame_of, hello_of
from fleet import Link, connection

CROWD = int(os.environ.get("IOTGW_ATTACK_CROWD", "5000"))
ADDRESSES = 100
PINGS = 50000
REASON_PLACES = 5


def addresses(count=ADDRESSES, net="127.0.9"):
    return [f"{net}.{number + 1}" for number in range(count)]


class Crowd(Attack):
    """Everything by default: 64 places for who has not authenticated, half of them for one address."""

    LISTENER = {"maxConnectionsPerAddress": 64, "handshakeTimeout": "3s", "framesPerSecond": 200,
                "badFramesPerMinute": 10}

    def hold(self, count, first=b""):
        """So many connections at once; each says as much as it is told and then nothing."""
        crowd = []
        for number in range(count):
            one = connection(self.address, addresses()[number % ADDRESSES])
            self.addCleanup(one.close)
            crowd.append(one)
            if first:
                try:
                    one.sendall(first)
                except OSError:
                    pass  # refused already
            if number % 500 == 0:
                self.assertLessEqual(self.metrics()["iotgw_connections"], 2 * 64 + len(self.good.devices))
        return crowd

    def assert_crowd_goes(self, crowd):
        """The gateway closes every one of them, and gives everything back."""
        waiting = {one.fileno(): one for one in crowd}
        poll = select.poll()
        for descriptor in waiting:
            poll.register(descriptor, select.POLLIN)
        until = time.monotonic() + 60
        while waiting:
            self.assertGreater(until, time.monotonic(), f"{len(waiting)} connections are still open")
            for descriptor, _ in poll.poll(1000):
                try:
                    if waiting[descriptor].recv(4096):
                        continue
                except OSError:
                    pass  # reset: closed too
                poll.unregister(descriptor)
                del waiting[descriptor]
        wait_for(lambda: self.metrics()["iotgw_connections"] == len(self.good.devices), "the places to be free")

    def attack(self, first=b""):
        descriptors = self.running.descriptors()
        crowd = self.hold(CROWD, first)
        self.assertLess(self.running.descriptors(), descriptors + 300)
        self.good.wait_progress(100, "the good devices to be acknowledged beside the crowd")
        self.assert_crowd_goes(crowd)
        self.assertGreaterEqual(self.metrics()['iotgw_connections_refused_total{reason="too-many-unauthenticated"}'],
                                CROWD // 2)
        wait_for(lambda: self.running.descriptors() <= descriptors + 5, "the descriptors to be given back")

    def test_connections_that_say_nothing(self):
        self.attack()

    def test_connections_that_say_one_byte(self):
        self.attack(b"\xc7")

    def test_hellos_that_never_prove(self):
        self.attack(frame_of(HELLO, 0, hello_of(1, 0, 1, 0, bytes(16), "victim", "")))

    def test_device_gets_in_while_the_crowd_presses(self):
        # Places are given back as the handshake's time runs out; who keeps trying gets one of them.
        crowd = self.hold(300)
        began = time.monotonic()
        tries = 0
        while True:
            tries += 1
            self.assertLess(time.monotonic() - began, 60, f"the device did not get in, {tries} tries")
            one = self.intruder("127.0.0.9")
            kind, _ = one.prove("victim", self.keys["victim"], boot=3)
            one.socket.close()
            if kind == WELCOME:
                break
            for _ in range(20):
                crowd.append(connection(self.address, addresses()[tries % ADDRESSES]))
                self.addCleanup(crowd[-1].close)
            time.sleep(0.1)
        self.assert_crowd_goes(crowd)


class Sessions(Attack):
    """Guests are let in by their word, and do what they can."""

    LISTENER = {"authentication": ["hmac", "none"], "maxConnectionsPerAddress": 600, "frameTimeout": "2s",
                "framesPerSecond": 200}
    CONFIGURATION = {"devices": {"file": "devices.json", "maxDevices": 300}}

    def setUp(self):
        self.lawful = tuple(f"guest-{number}" for number in range(1000))
        super().setUp()

    def guest(self, number, source=ATTACKER, buffer=None):
        link = Link(self.address, source)
        self.addCleanup(link.socket.close)
        if buffer:
            link.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        link.enter(f"guest-{number}", None, False, 1, 0)
        return link

    def test_frames_that_drip(self):
        links = [self.guest(number) for number in range(100)]
        frame = frame_of(DATA, 1, data_of(0, [(1, U32, 0, bytes(4))] * 100))
        left = set(links)
        began = time.monotonic()
        for at in range(0, len(frame)):
            for link in tuple(left):
                try:
                    link.socket.sendall(frame[at:at + 1])
                except OSError:
                    left.discard(link)
            if not left:
                break
            self.assertLess(time.monotonic() - began, 30, "a frame once begun ends within frameTimeout")
            time.sleep(0.1)
        self.assertFalse(left)
        self.wait_metric('iotgw_connections_closed_total{reason="frame-timeout"}', 100)

    def test_guests_take_every_place_for_devices(self):
        refused = 0
        for number in range(600):
            link = Link(self.address, ATTACKER)
            try:
                link.enter(f"guest-{number}", None, False, 1, 0)
            except Failure as failure:
                self.assertIn(f"reason {REASON_PLACES}", str(failure))
                refused += 1
            link.socket.close()
        self.assertGreaterEqual(refused, 300)
        # That who has a key is let in all the same is what tearDown asks.

    def test_descriptions_until_the_tables_are_full(self):
        # 250 guests with 256 channels of the longest names: far more than devices.maxTableMemory.
        told = 0
        for number in range(250):
            link = self.guest(number)
            try:
                for block in range(8):
                    link.send(DESCRIBE, 0, describe_of(
                        [(block * 32 + entry, U32, f"{number}-{block}-{entry}-".ljust(64, "x"), "y" * 32)
                         for entry in range(32)]))
                link.send(PING, 1)
                link.wait(PONG, 1)
            except (Failure, OSError):
                told += 1
        self.assertGreater(told, 0, "the tables' memory has an end, and who goes beyond is told")

    def test_flood_of_descriptions(self):
        link = self.guest(1)
        for number in range(2000):
            link.send(DESCRIBE, 0, describe_of([(1, U32, f"name-{number}", "")]))
        link.send(PING, 1)
        link.wait(PONG, 1)
        self.good.wait_progress(50)
        # What comes faster than it can be told is told once.
        wait_for(lambda: (self.consumer.last("telemetry/box/guest-1/meta") or {"channels": [{"name": ""}]})
                 ["channels"][0]["name"] == "name-1999", "the last description to be told")

    def test_flood_of_pings(self):
        links = [self.guest(number) for number in range(4)]
        flood = frame_of(PING, 1, bytes(32)) * 100
        for _ in range(PINGS // 100 // len(links)):
            for link in links:
                link.socket.sendall(flood)
                link.socket.recv(1 << 20)
        self.good.wait_progress(50, "the good devices to be acknowledged beside a flood of PING")

    def test_readers_that_never_read(self):
        # Answers pile up: first in the kernel, then the gateway must stop reading rather than keep them.
        links = [self.guest(number, buffer=4096) for number in range(100)]
        flood = frame_of(PING, 1, bytes(32)) * 200
        stuck = set()
        before = self.running.memory_peak_mib()
        began = time.monotonic()
        while len(stuck) < len(links) and time.monotonic() - began < 8:
            for link in links:
                if link in stuck:
                    continue
                link.socket.settimeout(0.01)
                try:
                    for _ in range(20):
                        link.socket.sendall(flood)
                except OSError:
                    stuck.add(link)
        self.good.wait_progress(100, "the good devices to be acknowledged beside readers that never read")
        self.assertLess(self.running.memory_peak_mib() - before, 16)
        self.assertGreater(len(stuck), 90, "the gateway stops reading who does not read")

    def test_data_beyond_the_window_and_the_rate(self):
        links = [self.guest(number, f"127.0.4.{number + 1}") for number in range(8)]
        for link in links:
            link.socket.settimeout(0.02)
        sequence = 0
        until = time.monotonic() + 4
        while time.monotonic() < until:
            block = b"".join(frame_of(DATA, sequence + one, data_of(0, [(1, U32, 0, bytes(4))])) for one in range(1, 201))
            sequence += 200
            for link in tuple(links):
                try:
                    link.socket.sendall(block)
                except TimeoutError:
                    links.remove(link)  # slowed down by TCP, not cut off
        self.good.wait_progress(50, "the good devices to be acknowledged beside a flood of DATA")


if __name__ == "__main__":
    unittest.main()
