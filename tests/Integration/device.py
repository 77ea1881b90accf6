#!/usr/bin/env python3
"""An ITGP/1 device in the Python standard library alone, written from the protocol's documentation.

It shares no code with the gateway, so that the two agree only if both follow the protocol.

    device.py --to 127.0.0.1:7183 --id pump-7 [--key HEX64] [--tagged] [--frames N] [--boot N]
    device.py --check-vectors tests/IotTcpGateway.Protocol.Tests/vectors.json

Exit code 0 and one line of JSON when all frames are acknowledged; else 1 and one line with the reason.
With --boot the device resumes that boot: its store holds frames 1..N, and it sends those that are not safe yet.
"""
import argparse
import hashlib
import hmac
import json
import os
import socket
import struct
import sys
import time

HELLO, CHALLENGE, AUTH, WELCOME, REFUSE, DESCRIBE, DATA, ACK, NACK, PING, PONG, COMMAND, RESULT, BYE = range(1, 15)
MAGIC, VERSION, TAGGED = b"\xc7\x49", 1, 1
HEADER = struct.Struct("<2sBBHHI")
FROM_DEVICE, FROM_GATEWAY = 0, 1
F32, U32 = 0x0A, 0x07


class Failure(Exception):
    """Why the frames are not all acknowledged."""


def crc_table():
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        yield value


CRC_TABLE = tuple(crc_table())


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ CRC_TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def sign(key, *parts):
    return hmac.new(key, b"".join(parts), hashlib.sha256).digest()


def tag_of(session_key, direction, counter, header_and_body):
    return sign(session_key, struct.pack("<BQ", direction, counter), header_and_body)[:16]


def frame_of(kind, sequence, body, tagger=None):
    """A whole frame; tagger makes the tag of header and body, None for a frame without one."""
    frame = HEADER.pack(MAGIC, VERSION, kind, len(body), TAGGED if tagger else 0, sequence) + body
    frame += tagger(frame) if tagger else b""
    return frame + struct.pack("<I", crc32c(frame))


def text8(text):
    data = text.encode()
    return bytes([len(data)]) + data


def hello_of(authentication, features, boot, used, nonce, device_id, firmware):
    return struct.pack("<BBII", authentication, features, boot, used) + nonce + text8(device_id) + text8(firmware)


def describe_of(channels):
    """channels: (number, value type, name, unit)"""
    entries = (struct.pack("<HB", number, kind) + text8(name) + text8(unit) for number, kind, name, unit in channels)
    return bytes([len(channels)]) + b"".join(entries)


def data_of(base_time, records):
    """records: (channel, value type, offset in ms, bytes of the value)"""
    return struct.pack("<q", base_time) + b"".join(struct.pack("<HBI", *record[:3]) + record[3] for record in records)


class Device:
    """One connection: send() and receive() frames, tagged from WELCOME on where that was granted."""

    def __init__(self, address, limit):
        self.deadline = time.monotonic() + limit
        self.socket = socket.create_connection(address, timeout=limit)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.received = b""
        self.session_key = None
        self.counters = [0, 0]

    def send(self, kind, sequence=0, body=b""):
        self.socket.sendall(frame_of(kind, sequence, body, self.session_key and self.next_tag(FROM_DEVICE)))

    def next_tag(self, direction):
        counter = self.counters[direction]
        self.counters[direction] += 1
        return lambda header_and_body: tag_of(self.session_key, direction, counter, header_and_body)

    def take(self, count):
        """The next bytes; a TimeoutError leaves what came so far for the next call."""
        while len(self.received) < count:
            if time.monotonic() > self.deadline:
                raise Failure("time is over")
            some = self.socket.recv(65536)
            if not some:
                raise Failure("the gateway closed the connection")
            self.received += some
        return self.received[:count]

    def receive(self):
        magic, version, kind, length, flags, sequence = HEADER.unpack(self.take(HEADER.size))
        if magic != MAGIC or version != VERSION or length > 512 or flags & ~TAGGED:
            raise Failure(f"not a frame: {self.received[:12].hex()}")
        tagged = bool(flags & TAGGED)
        if tagged != (self.session_key is not None):
            raise Failure("a frame is tagged where none may be, or untagged where all must be")
        end = HEADER.size + length + (16 if tagged else 0)
        whole = self.take(end + 4)
        self.received = self.received[end + 4:]
        if crc32c(whole[:end]) != struct.unpack("<I", whole[end:])[0]:
            raise Failure("bad CRC from the gateway")
        signed = whole[:HEADER.size + length]
        if tagged and not hmac.compare_digest(self.next_tag(FROM_GATEWAY)(signed), whole[len(signed):end]):
            raise Failure("bad tag from the gateway")
        return kind, sequence, signed[HEADER.size:]

    def expect(self, *kinds):
        kind, _, body = self.receive()
        if kind == REFUSE:
            reason, retry = struct.unpack("<BH", body[:3])
            raise Failure(f"refused, reason {reason}, retry after {retry} s: {body[3:].decode()}")
        if kind not in kinds:
            raise Failure(f"unexpected frame of type {kind:02X}")
        return body

    def enter(self, device_id, key, wants_tags, boot, used):
        """HELLO to WELCOME. Returns gateway time, last safe sequence, window, largest body, idle timeout in s."""
        hello = hello_of(1 if key else 0, 1 if wants_tags else 0, boot, used, os.urandom(16), device_id, "device.py")
        self.send(HELLO, 0, hello)
        if key:
            nonce = self.expect(CHALLENGE)
            self.send(AUTH, 0, sign(key, b"ITGP1 device", hello, nonce))
        welcome = self.expect(WELCOME)
        granted, before_proof, proof = welcome[18], welcome[:19], welcome[19:]
        right_proof = sign(key, b"ITGP1 gateway", hello, nonce, before_proof) if key else bytes(32)
        if not hmac.compare_digest(proof, right_proof):
            raise Failure("the gateway's proof is wrong")
        if bool(granted & 1) != bool(wants_tags):
            raise Failure("tags wanted and not granted, or granted and not wanted")
        if wants_tags:
            self.session_key = sign(key, b"ITGP1 session", hello, nonce)
        return struct.unpack("<qIHHH", before_proof[:18])


def run(arguments):
    host, port = arguments.to.rsplit(":", 1)
    key = bytes.fromhex(arguments.key) if arguments.key else None
    boot = arguments.boot or int.from_bytes(os.urandom(4), "little") | 1
    used = arguments.frames if arguments.boot else 0
    device = Device((host.strip("[]"), int(port)), arguments.timeout)
    now, safe, window, _, idle = device.enter(arguments.id, key, arguments.tagged, boot, used)
    device.socket.settimeout(min(idle, arguments.timeout) / 3)
    device.send(DESCRIBE, 0, describe_of([(1, F32, "temperature", "Cel"), (2, U32, "count", "")]))
    outstanding, refused, following, silences = set(), [], safe + 1, 0
    while safe < arguments.frames and (outstanding or following <= arguments.frames):
        while following <= arguments.frames and len(outstanding) < window:
            value = (1, F32, 0, struct.pack("<f", 20 + following % 100 / 10)), (2, U32, 0, struct.pack("<I", following))
            device.send(DATA, following, data_of(now + following if now else 0, value))
            outstanding.add(following)
            following += 1
        try:
            kind, sequence, body = device.receive()
        except TimeoutError:
            silences += 1
            if silences == 3:
                raise Failure("nothing received for the idle timeout") from None
            device.send(PING, silences)
            continue
        silences = 0
        if kind == ACK:
            safe, window = max(safe, sequence), struct.unpack("<H", body)[0]
            outstanding = {sent for sent in outstanding if sent > safe}
            following = max(following, safe + 1)
        elif kind == NACK:
            refused.append(f"{sequence} (reason {body[0]}: {body[1:].decode()})")
            outstanding.discard(sequence)
        elif kind == PING:
            device.send(PONG, sequence, body)
        elif kind == COMMAND:
            payload = body[1 + body[0] + 2:]
            device.send(RESULT, sequence, struct.pack("<BH", 0, len(payload)) + payload)
        elif kind == BYE:
            raise Failure(f"BYE, reason {body[0]}")
        elif kind != PONG:
            raise Failure(f"unexpected frame of type {kind:02X}")
    device.send(BYE, 0, b"\x00")
    device.socket.close()
    if refused:
        raise Failure("frames refused: " + ", ".join(refused))
    print(json.dumps({"acknowledged": arguments.frames, "lastSafe": safe, "tagged": arguments.tagged}))


def body_of(vector):
    """The body that this device would send for a vector's fields; None for the types that it never sends."""
    fields = vector["fields"]
    if vector["type"] == "HELLO":
        return hello_of(*(fields[name] for name in ("authentication", "features", "bootId", "highestUsed")),
                        bytes.fromhex(fields["deviceNonce"]), fields["deviceId"], fields["firmware"])
    if vector["type"] == "DESCRIBE":
        kinds = {"f32": F32, "u32": U32, "text": 0x0C}
        return describe_of([(c["channel"], kinds[c["valueType"]], c["name"], c["unit"]) for c in fields["channels"]])
    if vector["type"] == "DATA" and all(record["valueType"] == "f32" for record in fields["records"]):
        return data_of(fields["baseTime"], [(r["channel"], F32, r["offset"], struct.pack("<f", r["value"]))
                                            for r in fields["records"]])
    return None


def tagger_of(vector):
    session_key = bytes.fromhex(vector["sessionKey"])
    return lambda signed: tag_of(session_key, vector["direction"], vector["counter"], signed)


def check_vectors(path):
    """Holds this device against the published examples: checksums, whole frames, proofs and tags."""
    with open(path, encoding="utf-8") as file:
        vectors = json.load(file)
    valid = {vector["name"]: vector for vector in vectors["valid"]}
    checks = [("check value", crc32c(b"123456789") == 0xE3069283)]
    bodies = {}
    for name, vector in valid.items():
        whole = bytes.fromhex(vector["hex"])
        kind, length, flags, sequence = HEADER.unpack(whole[:12])[2:]
        body = bodies[name] = whole[12:12 + length]
        tagger = tagger_of(vector) if flags & TAGGED else None
        checks.append((name + " CRC", crc32c(whole[:-4]) == int.from_bytes(whole[-4:], "little")))
        checks.append((name + " frame", frame_of(kind, sequence, body, tagger) == whole))
        if body_of(vector) is not None:
            checks.append((name + " body", body_of(vector) == body))
    key, hello, nonce = bytes.fromhex(valid["auth"]["key"]), bodies["hello-hmac"], bodies["challenge"]
    welcome = bodies["welcome"]
    checks += [
        ("device proof", sign(key, b"ITGP1 device", hello, nonce) == bodies["auth"]),
        ("gateway proof", sign(key, b"ITGP1 gateway", hello, nonce, welcome[:19]) == welcome[19:]),
        ("session key", sign(key, b"ITGP1 session", hello, nonce).hex() == valid["data-tagged"]["sessionKey"]),
    ]
    checks += [(name + " must fail", crc32c(whole[:-4]) != int.from_bytes(whole[-4:], "little"))
               for name, whole in ((v["name"], bytes.fromhex(v["hex"])) for v in vectors["invalid"])
               if name in ("crc-flipped", "body-flipped")]
    wrong = [name for name, right in checks if not right]
    if wrong:
        raise Failure("vectors disagree: " + ", ".join(wrong))
    print(json.dumps({"vectors": len(valid), "checks": len(checks)}))


def main():
    parser = argparse.ArgumentParser(description="An ITGP/1 device.")
    parser.add_argument("--to", metavar="HOST:PORT", help="the gateway")
    parser.add_argument("--id", help="device id")
    parser.add_argument("--key", metavar="HEX64", help="device key; without it no authentication")
    parser.add_argument("--tagged", action="store_true", help="require tagged frames")
    parser.add_argument("--frames", type=int, default=1, metavar="N", help="DATA frames, numbered from 1")
    parser.add_argument("--boot", type=int, metavar="N", help="boot id, not 0 (default: random)")
    parser.add_argument("--timeout", type=float, default=60, metavar="S", help="give up after so many seconds")
    parser.add_argument("--check-vectors", metavar="FILE", help="check this program against the published examples")
    arguments = parser.parse_args()
    if not arguments.check_vectors and not (arguments.to and arguments.id):
        parser.error("--to and --id, or --check-vectors, are needed")
    if arguments.tagged and not arguments.key:
        parser.error("--tagged needs --key")
    try:
        check_vectors(arguments.check_vectors) if arguments.check_vectors else run(arguments)
    except (Failure, OSError) as failure:
        sys.exit(f"device.py: {failure}")


if __name__ == "__main__":
    main()
