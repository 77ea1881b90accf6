"""A buffer's directory, written from the documentation of its files alone; it shares no code with the gateway."""
import os
import pathlib
import struct

from device import crc32c

FRAME, TABLE, MARK = 1, 2, 3
SYNCHRONISED, HAS_REASON = 0x10, 0x20
HEADER_BYTES, RECORD_BYTES, SLOT_DISTANCE = 64, 24, 4096
ARRIVED = 1_763_900_000_000


def varint(value):
    out = b""
    while value >= 0x80:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def text(value):
    value = value.encode() if isinstance(value, str) else value
    return bytes([len(value)]) + value


def u48(value):
    return struct.pack("<Q", value)[:6]


def frame(device, sequence, body, boot=7, table=1, arrived=ARRIVED, reason=""):
    """A frame whose arrival clock was synchronised."""
    flags = SYNCHRONISED | (HAS_REASON if reason else 0)
    return (bytes([FRAME | flags]) + text(device) + struct.pack("<I", boot) + varint(sequence) + varint(table)
            + u48(arrived) + (text(reason) if reason else b"") + body)


def frame_of_unset_clock(device, sequence, body, boot=7, table=1, arrived=5000, monotonic=9, host_boot=1):
    return (bytes([FRAME]) + text(device) + struct.pack("<I", boot) + varint(sequence) + varint(table)
            + u48(arrived) + varint(monotonic) + struct.pack("<I", host_boot) + body)


def table(number, *channels):
    """channels: (number, type, name, unit)."""
    return bytes([TABLE]) + varint(number) + b"".join(
        struct.pack("<HB", channel, kind) + text(name) + text(unit) for channel, kind, name, unit in channels)


def mark(seconds):
    return bytes([MARK]) + varint(seconds)


class Segment:
    """One file of a journal; every entry is a commit of its own."""

    def __init__(self, folder, number, first_id, is_first_of_run=True):
        self.nonce = int.from_bytes(os.urandom(8), "little")
        self.path = pathlib.Path(folder) / f"{number:016x}-{self.nonce:016x}.seg"
        head = struct.pack("<8sHHIQQQQ12x", b"ITGJSEG\n", 1, HEADER_BYTES, int(is_first_of_run), number, self.nonce,
                           first_id, 0)
        self.bytes = head + struct.pack("<I", crc32c(head))
        self.next_id = first_id

    def add(self, payload):
        """Returns where the record begins."""
        place = len(self.bytes)
        padded = payload + b"\0" * (-len(payload) % 8)
        identity = struct.pack("<QQ", self.nonce, self.next_id)
        head = struct.pack("<IQII", len(payload), self.next_id, 0, crc32c(identity + padded))
        self.bytes += struct.pack("<I", crc32c(struct.pack("<QQ", self.nonce, place) + head)) + head + padded
        self.next_id += 1
        return place

    def write(self, zeros_ahead=0):
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_bytes(self.bytes + b"\0" * zeros_ahead)


def slot(turn, settled, synced):
    head = struct.pack("<8sH6xQQQQ12x", b"ITGJCUR\n", 1, turn, settled, synced, synced)
    return head + struct.pack("<I", crc32c(head))


def write_journal(folder, entries, settled=0, entries_a_segment=1000):
    """A journal of these entries, ids from 1, as an orderly stop leaves it; returns its segments."""
    segments = []
    for first in range(0, len(entries), entries_a_segment):
        segment = Segment(folder, len(segments) + 1, first + 1, is_first_of_run=not segments)
        for entry in entries[first:first + entries_a_segment]:
            segment.add(entry)
        segment.write()
        segments.append(segment)
    newer = slot(2, settled, len(entries))
    cursor = newer + b"\0" * (SLOT_DISTANCE - len(newer)) + slot(1, settled, len(entries))
    (pathlib.Path(folder) / "cursor").write_bytes(cursor + b"\0" * (2 * SLOT_DISTANCE - len(cursor)))
    return segments
