"""mosquitto on an ephemeral port, a small MQTT 3.1.1 subscriber, and a tap that reads what a broker confirms."""
import json
import os
import pathlib
import shutil
import socket
import struct
import subprocess
import threading
import time

from bench import HANG_SECONDS, end_with_us, free_port, wait_for

CONNECT, CONNACK, PUBLISH, PUBACK, SUBSCRIBE, SUBACK, PINGREQ, PINGRESP, DISCONNECT = 1, 2, 3, 4, 8, 9, 12, 13, 14


class Broker:
    """mosquitto in a folder; it keeps its sessions on disk when it is stopped."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.port = None
        self.process = None

    def start(self):
        program = shutil.which("mosquitto", path=os.environ["PATH"] + ":/usr/sbin")
        if program is None:
            raise AssertionError("mosquitto is missing: install the Debian package")
        for _ in range(5):  # another process may be quicker at a free port
            port = self.port or free_port()
            # No limit on what waits for a subscriber: what it confirmed it must deliver.
            configuration = self.folder / "mosquitto.conf"
            configuration.write_text(
                f"listener {port} 127.0.0.1\nallow_anonymous true\n"
                f"persistence true\npersistence_location {self.folder}/\n"
                f"max_queued_messages 0\nmax_inflight_messages 0\nlog_dest file {self.folder}/mosquitto.log\n"
                + ("user root\n" if os.geteuid() == 0 else ""))
            self.process = subprocess.Popen([program, "-c", str(configuration)], stdout=subprocess.DEVNULL,
                                            stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL,
                                            preexec_fn=end_with_us)
            if wait_for(lambda: self.process.poll() is not None or self.accepts(port), "mosquitto to listen") is True:
                if self.process.poll() is None:
                    self.port = port
                    return self
        raise AssertionError("mosquitto does not start: " + (self.folder / "mosquitto.log").read_text()[-1000:])

    @staticmethod
    def accepts(port):
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    @property
    def url(self):
        return f"mqtt://127.0.0.1:{self.port}"

    def kill(self):
        self.process.kill()
        self.process.wait(HANG_SECONDS)

    def stop(self):
        """Its orderly end: sessions and what waits in them are kept."""
        self.process.terminate()
        self.process.wait(HANG_SECONDS)

    def forget(self):
        """As if another one came in its place."""
        for kept in self.folder.glob("mosquitto.db*"):
            kept.unlink()

    def end(self):
        if self.process is not None and self.process.poll() is None:
            self.kill()


def text16(data):
    data = data.encode() if isinstance(data, str) else data
    return struct.pack(">H", len(data)) + data


def packet(kind, flags, body):
    length, digits = len(body), b""
    while True:
        length, digit = length >> 7, length & 127
        digits += bytes([digit | (128 if length else 0)])
        if not length:
            return bytes([kind << 4 | flags]) + digits + body


def split_packets(stream):
    """The whole packets at the head of a byte stream as (first byte, body), and the bytes that are left."""
    packets, at = [], 0
    while True:
        length, shift, here = 0, 0, at + 1
        while here < len(stream) and shift <= 21:
            length |= (stream[here] & 127) << shift
            shift, here = shift + 7, here + 1
            if not stream[here - 1] & 128:
                break
        else:
            return packets, stream[at:]
        if len(stream) < here + length:
            return packets, stream[at:]
        packets.append((stream[at], stream[here:here + length]))
        at = here + length


def publication(first, body, version):
    """Topic, packet id (0 with QoS 0), payload of a PUBLISH."""
    end = 2 + struct.unpack(">H", body[:2])[0]
    topic, identifier = body[2:end].decode(), 0
    if first & 6:
        identifier = struct.unpack(">H", body[end:end + 2])[0]
        end += 2
    if version == 5:
        length, shift = 0, 0
        while True:
            length |= (body[end] & 127) << shift
            shift, end = shift + 7, end + 1
            if not body[end - 1] & 128:
                break
        end += length
    return topic, identifier, body[end:]


class Subscriber(threading.Thread):
    """Takes everything under some filters at QoS 1 and keeps it; a name of its own makes its session outlive it."""

    def __init__(self, port, *filters, name=""):
        super().__init__(daemon=True)
        self.address = ("127.0.0.1", port)
        self.filters = filters
        self.name_at_broker = name
        self.messages = []  # (topic, payload, retained)
        self.counts = {}  # (device, boot, seq): times that it came
        self.firsts = {}  # (device, boot): sequences in the order of their first coming
        self.is_subscribed = threading.Event()
        self.is_ended = False
        self.problem = None
        self.start()
        self.is_subscribed.wait(HANG_SECONDS)
        if not self.is_subscribed.is_set():
            raise AssertionError(f"the subscriber cannot subscribe: {self.problem}")

    def run(self):
        while not self.is_ended:
            try:
                self.session()
            except OSError as problem:
                self.problem = problem
                time.sleep(0.05)  # the broker may be away

    def session(self):
        with socket.create_connection(self.address, timeout=1) as link:
            clean = 0 if self.name_at_broker else 2
            link.sendall(packet(CONNECT, 0, text16("MQTT") + bytes([4, clean]) + struct.pack(">H", 0)
                                + text16(self.name_at_broker)))
            stream = b""
            while not self.is_ended:
                try:
                    some = link.recv(65536)
                except TimeoutError:
                    continue
                if not some:
                    return
                packets, stream = split_packets(stream + some)
                answers = b"".join(self.take(first, body) for first, body in packets)
                link.sendall(answers)

    def take(self, first, body):
        """Handles a packet; returns what to answer."""
        kind = first >> 4
        if kind == CONNACK:
            if body[1]:
                raise OSError(f"the broker refuses: {body[1]}")
            wanted = b"".join(text16(one) + b"\x01" for one in self.filters)
            return packet(SUBSCRIBE, 2, struct.pack(">H", 1) + wanted)
        if kind == SUBACK:
            self.is_subscribed.set()
        if kind != PUBLISH:
            return b""
        topic, identifier, payload = publication(first, body, 4)
        self.messages.append((topic, payload, bool(first & 1)))
        self.count(payload)
        return packet(PUBACK, 0, struct.pack(">H", identifier)) if identifier else b""

    def count(self, payload):
        for key in keys_of(payload):
            self.counts[key] = self.counts.get(key, 0) + 1
            if self.counts[key] == 1:
                self.firsts.setdefault(key[:2], []).append(key[2])

    def last(self, topic):
        """The newest payload of a topic as JSON; None if there is none."""
        found = [payload for name, payload, _ in list(self.messages) if name == topic]
        return json.loads(found[-1]) if found else None

    def retained(self, topic):
        """The retained payload of a topic as JSON; None if there is none."""
        found = [payload for name, payload, is_retained in list(self.messages) if name == topic and is_retained]
        return json.loads(found[-1]) if found else None

    def end(self):
        self.is_ended = True
        self.join(HANG_SECONDS)


def keys_of(payload):
    """(device, boot, seq) of the telemetry in a payload."""
    if not payload.startswith(b'{"device"') or b'"seq"' not in payload:
        return []
    message = json.loads(payload)
    return [(message["device"], message["boot"], message["seq"])]


class Tap(threading.Thread):
    """Stands between gateway and broker, passes every byte on, and notes which messages the broker confirmed.

    A broker that is killed takes with it what it had confirmed and not yet delivered: its own loss, not the
    gateway's. What the gateway may acknowledge to a device is what the broker confirmed, and that is seen here.
    """

    def __init__(self, broker_port, line_seconds=0):
        super().__init__(daemon=True)
        self.broker = ("127.0.0.1", broker_port)
        self.line_seconds = line_seconds  # how long what the broker says is on its way
        self.confirmed = set()
        self.connections = 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.start()

    @property
    def url(self):
        return "mqtt://127.0.0.1:{}".format(self.listener.getsockname()[1])

    def run(self):
        while True:
            try:
                client = self.listener.accept()[0]
            except OSError:
                return
            threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def serve(self, client):
        with client:
            try:
                server = socket.create_connection(self.broker, timeout=HANG_SECONDS)
            except OSError:
                return  # the broker is away: the gateway sees its connection closed
            client.settimeout(None)
            server.settimeout(None)
            self.connections += 1
            waiting = {}
            back = threading.Thread(target=self.pump, args=(server, client, self.confirm, waiting), daemon=True)
            back.start()
            self.pump(client, server, self.note, waiting)
            back.join(HANG_SECONDS)
            server.close()

    def pump(self, source, target, look, waiting):
        stream = b""
        try:
            while some := source.recv(65536):
                packets, stream = split_packets(stream + some)
                for first, body in packets:
                    look(first, body, waiting)
                if look == self.confirm:
                    time.sleep(self.line_seconds)
                target.sendall(some)
        except OSError:
            pass  # one side is gone: so is the other
        for end in (source, target):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    @staticmethod
    def note(first, body, waiting):
        if first >> 4 == CONNECT:
            waiting["version"] = body[2 + struct.unpack(">H", body[:2])[0]]
        elif first >> 4 == PUBLISH:
            _, identifier, payload = publication(first, body, waiting["version"])
            waiting[identifier] = payload

    def confirm(self, first, body, waiting):
        if first >> 4 == PUBACK:
            payload = waiting.pop(struct.unpack(">H", body[:2])[0], b"")
            if len(body) < 3 or body[2] < 0x80:
                self.confirmed.update(keys_of(payload))

    def end(self):
        self.listener.close()
