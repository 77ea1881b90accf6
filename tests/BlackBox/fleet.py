"""Devices under load, with a ledger of what the gateway acknowledged to them."""
import os
import pathlib
import random
import socket
import struct
import threading
import time

from bench import HANG_SECONDS, wait_for
from device import (ACK, BYE, DATA, DESCRIBE, FROM_DEVICE, NACK, PING, PONG, U32, Device, Failure, data_of, describe_of,
                    frame_of)

NEVER = 10_000  # seconds: these devices end when they are told to
BYTES = 0x0D
# Header, base time, the record with the count, and what a record of bytes adds to its bytes; the checksum.
SMALLEST_FRAME = 12 + 8 + 11 + 9 + 4


def connection(address, source=None, limit=HANG_SECONDS):
    """A TCP connection and nothing more; from a source address of loopback's many if one is given."""
    made = socket.create_connection(address, timeout=limit, source_address=(source, 0) if source else None)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return made


class Link(Device):
    """A device's connection from a chosen source address."""

    def __init__(self, address, source=None, limit=HANG_SECONDS):
        self.deadline = time.monotonic() + limit
        self.socket = connection(address, source, limit)
        self.received = b""
        self.session_key = None
        self.counters = [0, 0]

    def wait(self, kind, sequence=None):
        """The body of the next frame of this type (and sequence), others skipped."""
        while True:
            got = self.receive()
            if got[0] == kind and sequence in (None, got[1]):
                return got[2]

    def closed(self):
        """True once the gateway has closed; what still comes is skipped."""
        try:
            while self.socket.recv(65536):
                pass
        except ConnectionError:
            pass
        return True


class LedgerDevice(threading.Thread):
    """One device that keeps its frames until they are acknowledged, and connects again whenever it must."""

    def __init__(self, fleet, device_id, key, source):
        super().__init__(daemon=True)
        self.fleet, self.id, self.key, self.source = fleet, device_id, key, source
        self.boot = int.from_bytes(os.urandom(4), "little") | 1
        self.used = 0
        self.safe = 0
        self.refused = set()
        self.sessions = 0
        self.byes = []
        self.problem = None
        # Its own file, written at once: it tells more than this process remembers, whatever ends either.
        self.book = fleet.ledger_folder and (fleet.ledger_folder / f"{device_id}.acks").open("a", buffering=1)

    def enter_in_book(self, word, *numbers):
        if self.book:
            self.book.write(f"{word} {self.boot} {' '.join(map(str, numbers))}\n")

    def note_safe(self, sequence):
        if sequence > self.safe:
            self.safe = sequence
            self.enter_in_book("ack", sequence)

    @property
    def is_done(self):
        return all(sequence in self.refused for sequence in range(self.safe + 1, self.used + 1))

    @property
    def acknowledged(self):
        return self.safe - len([one for one in self.refused if one <= self.safe])

    def run(self):
        while not self.fleet.is_ended:
            try:
                self.session()
            except (OSError, Failure) as problem:
                self.problem = problem
                time.sleep(random.uniform(0.05, 0.2))  # a device's back-off, shortened

    def session(self):
        device = self.fleet.link(self.fleet.address, self.source, 10)
        try:
            _, safe, self.window, _, _ = device.enter(
                self.id, self.key, self.id in self.fleet.tagged, self.boot, self.used)
            device.deadline = time.monotonic() + NEVER
            device.socket.settimeout(0.1)
            self.sessions += 1
            self.note_safe(safe)
            self.following = self.safe + 1
            self.outstanding = []
            device.send(DESCRIBE, 0, describe_of([(1, U32, "count", "")]))
            while not self.fleet.is_ended:
                self.send_some(device)
                try:
                    self.take(device, *device.receive())
                except TimeoutError:
                    pass
        finally:
            device.socket.close()

    def send_some(self, device):
        frames = []
        while len(self.outstanding) + len(frames) < self.window and len(frames) < self.fleet.burst:
            if self.following > self.used:
                if not self.fleet.may_send():
                    break
                self.used += 1
            if self.following not in self.refused:
                body = data_of(0, [(1, U32, 0, struct.pack("<I", self.following)), *self.fleet.filling])
                tagger = device.session_key and device.next_tag(FROM_DEVICE)
                frames.append((self.following, frame_of(DATA, self.following, body, tagger)))
            self.following += 1
        if frames:
            self.outstanding += [sequence for sequence, _ in frames]
            device.socket.sendall(b"".join(frame for _, frame in frames))

    def take(self, device, kind, sequence, body):
        if kind == ACK:
            self.note_safe(sequence)
            self.window = struct.unpack("<H", body)[0]
            self.outstanding = [sent for sent in self.outstanding if sent > self.safe]
            self.following = max(self.following, self.safe + 1)
        elif kind == NACK:
            self.refused.add(sequence)
            self.enter_in_book("nack", sequence, body[0])
            self.outstanding = [sent for sent in self.outstanding if sent != sequence]
        elif kind == PING:
            device.send(PONG, sequence, body)
        elif kind == BYE:
            self.byes.append(body[0])
            raise Failure(f"BYE, reason {body[0]}")


class Fleet:
    """Devices that send as fast as they are acknowledged, up to so many frames a second all together.

    With frame_bytes every frame is of that size; with a ledger folder each device writes there what it is told.
    Devices named by tagged sign every frame; link makes a device's connection.
    """

    def __init__(self, address, count=8, keys=None, prefix="ledger-", frames_per_second=1500, source=None,
                 frame_bytes=0, ledger=None, tagged=(), link=Link):
        self.address = address
        self.tagged, self.link = frozenset(tagged), link
        self.filling = []
        if frame_bytes:
            spare = os.urandom(frame_bytes - SMALLEST_FRAME)
            self.filling = [(2, BYTES, 0, struct.pack("<H", len(spare)) + spare)]
        self.ledger_folder = ledger and pathlib.Path(ledger)
        self.burst = 16
        self.is_ended = False
        self.is_sending = True
        self.frames_per_second = frames_per_second
        self.began = time.monotonic()
        self.granted = 0
        self.gate = threading.Lock()
        names = [f"{prefix}{number}" for number in range(1, count + 1)]
        self.devices = [LedgerDevice(self, name, (keys or {}).get(name), source) for name in names]
        for device in self.devices:
            device.start()

    def may_send(self):
        with self.gate:
            due = (time.monotonic() - self.began) * self.frames_per_second
            if not self.is_sending or self.granted >= due:
                return False
            # What was not sent while the gateway was away is not made up for.
            self.granted = max(self.granted + 1, due - self.frames_per_second)
            return True

    def send_at(self, frames_per_second):
        """Another rate from now on."""
        with self.gate:
            self.frames_per_second, self.began, self.granted = frames_per_second, time.monotonic(), 0

    @property
    def acknowledged(self):
        return sum(device.acknowledged for device in self.devices)

    @property
    def sessions(self):
        return sum(device.sessions for device in self.devices)

    def ledger(self):
        """(device, boot, seq) of every frame that was acknowledged and not refused."""
        return {(device.id, device.boot, sequence) for device in self.devices
                for sequence in range(1, device.safe + 1) if sequence not in device.refused}

    def wait_progress(self, frames, what="the devices to be acknowledged"):
        """Waits until so many more frames are acknowledged."""
        goal = self.acknowledged + frames
        wait_for(lambda: self.acknowledged >= goal, f"{what}: {frames} more frames ({self.problems()})")

    def finish(self):
        """Makes no new frames, and waits until the last one is acknowledged."""
        self.is_sending = False
        wait_for(lambda: all(device.is_done for device in self.devices),
                 f"the last frames to be acknowledged ({self.problems()})")

    def problems(self):
        return "; ".join(f"{device.id}: {device.problem}" for device in self.devices if device.problem)[:500]

    def end(self):
        self.is_ended = True
        for device in self.devices:
            device.join(HANG_SECONDS)
            if device.book:
                device.book.close()
