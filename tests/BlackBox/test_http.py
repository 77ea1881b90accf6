"""HTTP: health, metrics and status on loopback, guarded elsewhere, and nothing at all when it is not configured."""
import base64
import http.client
import json
import re
import signal
import socket
import ssl
import struct
import subprocess
import unittest

from bench import BlackBox, wait_for
from broker import Broker
from device import ACK, BYE, DATA, NACK, PING, PONG, U32, Failure, data_of, frame_of
from fleet import Link

METRICS = {
    "iotgw_connections": "gauge",
    "iotgw_frames_received_total": "counter",
    "iotgw_frames_rejected_total": "counter",
    "iotgw_frames_duplicate_total": "counter",
    "iotgw_sequence_gaps_total": "counter",
    "iotgw_authentication_failures_total": "counter",
    "iotgw_messages_published_total": "counter",
    "iotgw_buffer_records": "gauge",
    "iotgw_buffer_bytes": "gauge",
    "iotgw_buffer_dropped_total": "counter",
    "iotgw_mqtt_connected": "gauge",
    "iotgw_mqtt_reconnects_total": "counter",
    "iotgw_frame_safe_seconds": "histogram",
}
SAMPLE = re.compile(r'^[a-z_]+(\{([a-z_]+="[^"\\]*(\\.[^"\\]*)*",?)*\})? (-?[0-9.e+-]+|\+Inf|NaN)$', re.IGNORECASE)


def count_of(number):
    return data_of(0, [(1, U32, 0, struct.pack("<I", number))])


class Http(BlackBox):
    def setUp(self):
        super().setUp()
        self.broker = Broker(self.folder).start()
        self.addCleanup(self.broker.end)
        self.running = self.gateway({
            "mqtt": {"brokers": [self.broker.url]}, "http": {"endpoint": "127.0.0.1:0"},
            "buffer": {"memory": "128 KiB", "disk": "0"}}).start()
        self.address = self.running.address()
        self.port = int(re.search(r"HTTP is answered at http://127\.0\.0\.1:(\d+)", self.running.log())[1])

    def ask(self, path, method="GET"):
        link = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            link.request(method, path)
            answer = link.getresponse()
            return answer.status, answer.read().decode(), answer.headers
        finally:
            link.close()

    def metrics(self):
        """Values by name and labels, each line held against the text format."""
        values = {}
        for line in self.ask("/metrics")[1].splitlines():
            if not line.startswith("#"):
                self.assertRegex(line, SAMPLE)
                name, _, value = line.rpartition(" ")
                self.assertNotIn(name, values, "a series is there twice")
                values[name] = float(value)
        return values

    def wait_metric(self, name, value):
        wait_for(lambda: self.metrics().get(name) == value, f"{name} to be {value}")

    def device(self, name="pump-7", boot=1, used=0):
        link = Link(self.address)
        self.addCleanup(link.socket.close)
        link.enter(name, None, False, boot, used)
        return link

    def test_health_and_readiness(self):
        for path in ("/healthz", "/readyz"):
            code, text, headers = self.ask(path)
            self.assertEqual(code, 200, text)
            self.assertEqual(headers["Cache-Control"], "no-store")
            self.assertIsNone(headers["Server"])

    def test_readiness_goes_while_the_buffer_is_full_and_comes_back(self):
        self.broker.kill()
        self.wait_metric("iotgw_mqtt_connected", 0)
        body = data_of(0, [(1, 0x0D, 0, struct.pack("<H", 3900) + bytes(3900))])
        for number in range(64):
            link = Link(self.address)
            self.addCleanup(link.socket.close)
            window = link.enter(f"pump-{number}", None, False, 1, 0)[2]
            for sequence in range(1, min(window, 16) + 1):
                link.send(DATA, sequence, body)
            link.send(PING, 1)
            link.wait(PONG, 1)  # what was sent before it has been read
            if self.ask("/readyz")[0] == 503:
                break
        self.assertEqual(self.ask("/readyz")[0], 503)
        self.assertEqual(self.ask("/healthz")[0], 200)
        self.assertTrue(self.running.status()["buffer"]["isFull"])
        self.broker.start()
        wait_for(lambda: self.ask("/readyz")[0] == 200, "readiness to come back with the broker")

    def test_status_is_that_of_the_control_socket(self):
        code, text, headers = self.ask("/status")
        self.assertEqual((code, headers.get_content_type()), (200, "application/json"))
        asked, told = json.loads(text), self.running.status()
        self.assertEqual(asked.keys(), told.keys())
        self.assertEqual((asked["gateway"], asked["version"], asked["listeners"]),
                         (told["gateway"], told["version"], told["listeners"]))

    def test_what_is_not_there_is_404(self):
        for path in ("/nothing", "/healthz/", "/..%2f..%2fetc/passwd", "//"):
            self.assertEqual(self.ask(path)[0], 404, path)

    def test_other_methods_are_405(self):
        for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS", "BREW"):
            code, _, headers = self.ask("/healthz", method)
            self.assertEqual((code, headers["Allow"]), (405, "GET, HEAD"), method)

    def test_head_has_no_body(self):
        code, text, headers = self.ask("/metrics", "HEAD")
        self.assertEqual((code, text), (200, ""))
        self.assertGreater(int(headers["Content-Length"]), 0)

    def test_metrics_are_there_with_help_and_type(self):
        code, text, headers = self.ask("/metrics")
        self.assertEqual(code, 200)
        self.assertTrue(headers["Content-Type"].startswith("text/plain; version=0.0.4"))
        for name, kind in METRICS.items():
            self.assertRegex(text, rf"(?m)^# HELP {name} \S")
            self.assertRegex(text, rf"(?m)^# TYPE {name} {kind}$")
        for series in ("iotgw_connections", "iotgw_frames_received_total", "iotgw_buffer_records",
                       'iotgw_buffer_bytes{where="memory"}', "iotgw_mqtt_connected", "iotgw_frame_safe_seconds_count",
                       'iotgw_frame_safe_seconds_bucket{le="+Inf"}'):
            self.assertIn(series, self.metrics())

    def test_frames_are_counted_for_what_they_are(self):
        self.wait_metric("iotgw_mqtt_connected", 1)
        link = self.device()
        self.wait_metric("iotgw_connections", 1)
        for sequence in (1, 2, 5):
            link.send(DATA, sequence, count_of(sequence))
        link.wait(ACK, 5)
        link.send(DATA, 2, count_of(2))
        link.send(DATA, 6, b"\x00" * 8 + b"\x01")
        self.assertEqual(link.wait(NACK, 6)[0], 1)
        link.send(DATA, 7, bytes(5000))
        self.assertEqual(link.wait(NACK, 7)[0], 3)
        broken = bytearray(frame_of(DATA, 8, count_of(8)))
        broken[-1] ^= 1
        link.socket.sendall(broken)
        self.assertEqual(link.wait(BYE), b"\x04")
        self.wait_metric("iotgw_connections", 0)
        values = self.metrics()
        self.assertEqual(values["iotgw_frames_received_total"], 3)
        self.assertEqual(values["iotgw_frames_duplicate_total"], 1)
        self.assertEqual(values["iotgw_sequence_gaps_total"], 1)
        for reason in ("malformed-body", "body-too-large", "bad-crc"):
            self.assertEqual(values.get(f'iotgw_frames_rejected_total{{reason="{reason}"}}'), 1, values)
        self.assertEqual(values["iotgw_frame_safe_seconds_count"], 3)
        self.assertEqual(values["iotgw_buffer_records"], 0)
        self.assertGreaterEqual(values["iotgw_messages_published_total"], 3)

    def test_failed_authentication_is_counted(self):
        link = Link(self.address)
        self.addCleanup(link.socket.close)
        with self.assertRaises(Failure):
            link.enter("pump-7", bytes(32), False, 1, 0)
        self.wait_metric("iotgw_authentication_failures_total", 1)

    def test_lost_broker_is_counted(self):
        self.wait_metric("iotgw_mqtt_connected", 1)
        before = self.metrics()["iotgw_mqtt_reconnects_total"]
        self.broker.kill()
        self.wait_metric("iotgw_mqtt_connected", 0)
        self.broker.start()
        self.wait_metric("iotgw_mqtt_connected", 1)
        self.assertEqual(self.metrics()["iotgw_mqtt_reconnects_total"], before + 1)

    def test_many_slow_clients_leave_room_for_the_gateway(self):
        idle = [socket.create_connection(("127.0.0.1", self.port)) for _ in range(100)]
        self.addCleanup(lambda: [one.close() for one in idle])
        self.assertIn("field", str(self.running.status()["listeners"]))
        link = self.device()
        link.send(DATA, 1, count_of(1))
        link.wait(ACK, 1)


class GuardedHttp(BlackBox):
    """Off loopback: nothing without the token or the password."""

    TOKEN = "a-token-that-nobody-guesses"

    def setUp(self):
        super().setUp()
        self.token = self.write("http.token", self.TOKEN + "\n")
        self.write("http.password", "pass:word\n")

    def start(self, **more):
        self.running = self.gateway({"http": {
            "endpoint": "0.0.0.0:0", "tokenFile": "http.token", "username": "operator",
            "passwordFile": "http.password"} | more})
        self.running.start()
        self.port = int(re.search(r"HTTP is answered at https?://0\.0\.0\.0:(\d+)", self.running.log())[1])

    def ask(self, authorization=None, path="/healthz", source="127.0.0.1", context=None):
        kind = http.client.HTTPSConnection if context else http.client.HTTPConnection
        more = {"context": context} if context else {}
        link = kind("127.0.0.1", self.port, timeout=30, source_address=(source, 0), **more)
        try:
            link.request("GET", path, headers={"Authorization": authorization} if authorization else {})
            answer = link.getresponse()
            return answer.status, answer.read().decode(), answer.headers
        finally:
            link.close()

    def test_off_loopback_without_a_secret_does_not_start(self):
        running = self.gateway({"http": {"endpoint": "0.0.0.0:0"}})
        self.assertEqual(running.start_unchecked().wait(60), 78)
        self.assertIn("http.tokenFile", running.log())

    def test_everything_demands_the_token_or_the_password(self):
        self.start()
        right = "Basic " + base64.b64encode(b"operator:pass:word").decode()
        for path in ("/healthz", "/readyz", "/metrics", "/status"):
            code, text, headers = self.ask(path=path)
            self.assertEqual((code, len(headers.get_all("WWW-Authenticate"))), (401, 2))
            self.assertNotIn("iotgw_", text)
            self.assertEqual(self.ask(f"Bearer {self.TOKEN}", path)[0], 200)
            self.assertEqual(self.ask(right, path)[0], 200)
        self.assertEqual(self.ask(path="/nothing")[0], 401)

    def test_guessing_slows_its_own_address_down_and_no_other(self):
        self.start()
        codes = [self.ask("Bearer guess", source="127.0.0.2")[0] for _ in range(12)]
        self.assertEqual(codes, [401] * 10 + [429] * 2)
        code, _, headers = self.ask(f"Bearer {self.TOKEN}", source="127.0.0.2")
        self.assertEqual(code, 429)
        self.assertLessEqual(int(headers["Retry-After"]), 60)
        code, text, _ = self.ask(f"Bearer {self.TOKEN}", "/metrics")
        self.assertEqual(code, 200)
        self.assertIn("iotgw_http_authentication_failures_total 13\n", text)
        self.assertIn("wrong credentials over HTTP", self.running.log())
        self.assertNotIn("guess", self.running.log())

    def test_secret_changes_while_it_runs(self):
        self.start()
        self.token.write_text("another")
        # Not by asking: ten wrong answers would shut this address out for a minute.
        self.running.wait_log("http.tokenFile is read from", times=2)
        self.assertEqual(self.ask("Bearer another")[0], 200)
        self.assertEqual(self.ask(f"Bearer {self.TOKEN}")[0], 401)
        self.token.unlink()
        self.running.signal(signal.SIGHUP)
        self.running.wait_log("nobody gets in over HTTP by http.tokenFile")
        self.assertEqual(self.ask("Bearer another")[0], 401)
        self.assertEqual(self.ask("Bearer ")[0], 401)

    def test_tls(self):
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                        "-keyout", self.folder / "http.key", "-out", self.folder / "http.pem", "-days", "2", "-subj",
                        "/CN=gateway", "-addext", "subjectAltName=IP:127.0.0.1"], check=True, capture_output=True)
        self.start(tls={"certificate": "http.pem", "key": "http.key"})
        context = ssl.create_default_context(cafile=self.folder / "http.pem")
        self.assertEqual(self.ask(context=context)[0], 401)
        self.assertEqual(self.ask(f"Bearer {self.TOKEN}", "/metrics", context=context)[0], 200)
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            context.minimum_version = context.maximum_version = version
            self.assertEqual(self.ask(f"Bearer {self.TOKEN}", context=context)[0], 200)
        with self.assertRaises((http.client.HTTPException, OSError)):
            self.ask(f"Bearer {self.TOKEN}")


class NoHttp(BlackBox):
    def test_only_the_device_listener_listens(self):
        running = self.gateway({}).start()
        self.assertEqual(running.listening_ports(), {running.address()[1]})


if __name__ == "__main__":
    unittest.main()
