"""TLS: certificates that are not good, handshakes that never end, old versions, the wrong protocol; and false brokers."""
import os
import socket
import ssl
import struct
import subprocess
import threading
import time
import unittest
import warnings

from attack import Attack, Intruder, evil_data
from bench import BlackBox, wait_for
from broker import CONNACK, packet
from certificates import Authority, openssl
from device import DATA, HELLO, REFUSE, WELCOME, frame_of, hello_of
from fleet import Fleet

CROWD = int(os.environ.get("IOTGW_ATTACK_CROWD", "5000"))
GOOD_TLS = "127.0.0.7"
IDENTITY_FAILED, MODE_NOT_ACCEPTED = 3, 2
PAST, LONG_PAST = "20250101000000Z", "20240101000000Z"


def context_of(authority, pair=None, least=ssl.TLSVersion.TLSv1_2, most=ssl.TLSVersion.TLSv1_3):
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.load_verify_locations(authority)
    if pair:
        made.load_cert_chain(*pair)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of the versions that must be refused
        made.minimum_version, made.maximum_version = least, most
    return made


class TlsLink(Intruder):
    """A device's connection over TLS, as who its certificate says."""

    def __init__(self, address, context, source=None, limit=30):
        super().__init__(address, source, limit)
        try:
            self.socket = context.wrap_socket(self.socket, server_hostname="gateway.example")
        except BaseException:
            self.socket.close()
            raise

    def enter(self, device_id, key, wants_tags, boot, used):
        if key:
            return super().enter(device_id, key, wants_tags, boot, used)
        self.send(HELLO, 0, hello_of(2, 0, boot, used, os.urandom(16), device_id, "device.py"))
        return struct.unpack("<qIHHH", self.expect(WELCOME)[:18])


class Tls(Attack):
    VICTIMS = ("victim",)
    lawful = ("tls-1", "tls-2", "revoked-later", "other-name")

    def start_gateway(self):
        self.authority, self.foreign = Authority(self.folder), Authority(self.folder, "foreign")
        server = self.authority.make("gateway.example", "DNS:gateway.example", "IP:127.0.0.1", usage="serverAuth")
        self.crl = self.authority.write_crl(self.folder / "devices.crl")
        tls = {"certificate": str(server[0]), "key": str(server[1]), "clientCa": str(self.authority.file), "crl": str(self.crl),
               "handshakesPerSecond": 200}
        listeners = [{"name": "field", "endpoint": "127.0.0.1:0", "badFramesPerMinute": 10000},
                     {"name": "secure", "endpoint": "127.0.0.1:0", "authentication": ["certificate", "hmac"], "tls": tls,
                      "handshakeTimeout": "3s", "badFramesPerMinute": 10000, "offencesPerMinute": 10000},
                     {"name": "strict", "endpoint": "127.0.0.1:0", "authentication": ["certificate"], "tls": tls,
                      "handshakeTimeout": "3s", "badFramesPerMinute": 10000}]
        self.good_pairs = {name: self.authority.make(name, usage="clientAuth") for name in ("tls-1", "tls-2")}
        return self.gateway({"listeners": listeners, "mqtt": {"brokers": [self.broker.url]},
                             "http": {"endpoint": "127.0.0.1:0"}}).start()

    def begin(self):
        self.secure, self.strict = self.running.address(1), self.running.address(2)
        self.good_tls = Fleet(self.secure, 2, None, "tls-", 50, GOOD_TLS, link=self.good_link)
        self.addCleanup(self.good_tls.end)
        self.good_tls.wait_progress(10)

    def good_link(self, address, source, limit):
        """In a device's own thread, which says which device it is."""
        context = context_of(self.authority.file, self.good_pairs[threading.current_thread().id])
        return TlsLink(address, context, source, limit)

    def tearDown(self):
        self.good_tls.wait_progress(30, "the good devices over TLS to be acknowledged after the attack")
        self.assertEqual(self.good_tls.sessions, 2, self.good_tls.problems())
        self.good_tls.finish()
        self.good_tls.end()
        super().tearDown()

    def answer_to(self, pair, device="tls-1", mode=2, source="127.0.0.66", address=None, **versions):
        """REFUSE or WELCOME as (type, body); (None, reason) when it never came to that."""
        try:
            link = TlsLink(address or self.secure, context_of(self.authority.file, pair, **versions), source)
        except (OSError, ssl.SSLError) as problem:
            return None, str(problem)
        try:
            link.hello(device, mode=mode, boot=9)
            answer = link.answer()
            if answer[0] == WELCOME:
                link.send(DATA, 1, evil_data())
            return answer
        finally:
            link.socket.close()

    def files(self):
        return {one for one in super().files() if "authority-" not in one and "chained" not in one}

    def test_certificates_that_are_not_good(self):
        other = self.authority.make("other-name", usage="clientAuth")
        revoked = self.authority.make("tls-1", file="revoked", usage="clientAuth")
        self.authority.revoke(revoked[0])
        before = self.running.log().count("iotgw[")
        self.authority.write_crl(self.crl)
        time.sleep(2.5)  # files are looked at every second
        child = Authority(self.folder, "child")  # issued by a device: no authority at all
        child.file.write_bytes(other[0].read_bytes())
        (child.folder / "ca.key").write_bytes(other[1].read_bytes())
        grandchild = child.make("tls-1", file="by-a-device", usage="clientAuth")
        chained = self.folder / "chained.pem"
        chained.write_bytes(grandchild[0].read_bytes() + other[0].read_bytes())
        pairs = {
            "expired": self.authority.make("tls-1", file="expired", begin=LONG_PAST, end=PAST),
            "foreign authority": self.foreign.make("tls-1"),
            "revoked": revoked,
            "of another device": other,
            "for servers alone": self.authority.make("tls-1", file="server", usage="serverAuth"),
            "issued by a device": (chained, grandchild[1]),
            "name with more behind it": self.authority.make("tls-1.example", file="longer"),
            "wildcard": self.authority.make("x", "DNS:*", "DNS:tls-*", file="wildcard"),
            "address, not name": self.authority.make("y", "URI:tls-1", "email:tls-1@x", file="uri"),
            "none at all": None,
        }
        for address in (self.secure, self.strict):
            for number, (name, pair) in enumerate(pairs.items()):
                with self.subTest(name, address=address):
                    kind, body = self.answer_to(pair, source=f"127.0.4.{number + 1}", address=address)
                    self.assertIn(kind, (None, REFUSE), "it got in")
                    if kind == REFUSE:
                        self.assertIn(body[0], (IDENTITY_FAILED, MODE_NOT_ACCEPTED))
        self.wait_metric("iotgw_authentication_failures_total", 3)
        self.assertGreater(self.running.log().count("iotgw["), before)
        # A right certificate gives no other device's name, and no key.
        for device in ("victim", "good-1", "tls-2"):
            self.assert_refused(self.answer_to(self.good_pairs["tls-1"], device, source="127.0.5.1"))
        for device in ("victim", "tls-2"):
            kind, _ = self.answer_to(self.good_pairs["tls-1"], device, mode=0, source="127.0.5.1")
            self.assertEqual(kind, REFUSE)

    def test_revocation_ends_the_session(self):
        pair = self.authority.make("revoked-later", usage="clientAuth")
        link = TlsLink(self.secure, context_of(self.authority.file, pair), "127.0.0.66")
        self.addCleanup(link.socket.close)
        link.enter("revoked-later", None, False, 1, 0)
        self.authority.revoke(pair[0])
        self.authority.write_crl(self.crl)
        self.assertTrue(link.closed())
        self.assertIn(self.answer_to(pair, "revoked-later")[0], (None, REFUSE))

    def test_old_versions_are_refused(self):
        for version in (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1):
            context = context_of(self.authority.file, self.good_pairs["tls-1"], version, version)
            context.set_ciphers("ALL:@SECLEVEL=0")
            with self.assertRaises((ssl.SSLError, ConnectionError)):
                TlsLink(self.secure, context, "127.0.0.66")
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            self.assert_refused(self.answer_to(self.good_pairs["tls-1"], "tls-2", least=version, most=version))

    def test_weak_ciphers_are_refused(self):
        for ciphers in ("NULL:@SECLEVEL=0", "aNULL:@SECLEVEL=0", "AES128-SHA:@SECLEVEL=0"):
            context = context_of(self.authority.file, self.good_pairs["tls-1"], most=ssl.TLSVersion.TLSv1_2)
            context.set_ciphers(ciphers)
            with self.assertRaises((ssl.SSLError, ConnectionError)):
                TlsLink(self.secure, context, "127.0.0.66")

    def test_wrong_protocol_on_either_port(self):
        plain = Intruder(self.secure, "127.0.0.66")
        self.addCleanup(plain.socket.close)
        plain.hello("victim", mode=1)
        self.assertEqual(plain.answer(), (None, b""), "a TLS listener says nothing without TLS")
        with self.assertRaises((ssl.SSLError, ConnectionError)):
            TlsLink(self.address, context_of(self.authority.file), "127.0.0.66")
        one = Intruder(self.secure, "127.0.0.66")
        self.addCleanup(one.socket.close)
        one.socket.sendall(b"GET / HTTP/1.1\r\n\r\n")
        self.assertEqual(one.answer(), (None, b""))

    def test_frames_before_the_handshake_are_worth_nothing(self):
        # Plain bytes first, then TLS on the same connection: none of them may count (STARTTLS injection).
        one = Intruder(self.secure, "127.0.0.66")
        self.addCleanup(one.socket.close)
        one.socket.sendall(frame_of(HELLO, 0, hello_of(2, 0, 1, 0, bytes(16), "tls-1", "")))
        with self.assertRaises((ssl.SSLError, OSError)):
            context_of(self.authority.file, self.good_pairs["tls-1"]).wrap_socket(
                one.socket, server_hostname="gateway.example")

    def test_renegotiation_is_refused(self):
        certificate, key = self.good_pairs["tls-1"]
        client = subprocess.Popen(
            ["openssl", "s_client", "-connect", "%s:%d" % self.secure, "-tls1_2", "-cert", str(certificate), "-key", str(key),
             "-CAfile", str(self.authority.file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.addCleanup(client.stdout.close)
        time.sleep(1)
        client.stdin.write(b"R\n")
        client.stdin.flush()
        out = client.communicate(timeout=30)[0].decode(errors="replace")
        self.assertIn("RENEGOTIATING", out)
        self.assertRegex(out, r"no renegotiation|wrong|alert|error|closed")

    def test_crowd_of_handshakes_that_never_begin(self):
        self.crowd(b"")

    def test_crowd_of_handshakes_that_never_end(self):
        self.crowd(self.client_hello())

    def client_hello(self):
        out = ssl.MemoryBIO()
        half = context_of(self.authority.file).wrap_bio(ssl.MemoryBIO(), out, server_hostname="gateway.example")
        try:
            half.do_handshake()
        except ssl.SSLWantReadError:
            pass
        return out.read()

    def crowd(self, first):
        held = []
        for number in range(CROWD):
            one = socket.create_connection(self.secure, 30, (f"127.0.9.{number % 100 + 1}", 0))
            self.addCleanup(one.close)
            held.append(one)
            try:
                one.sendall(first)
            except OSError:
                pass  # refused already
            if number % 1000 == 0:
                self.assertLessEqual(self.metrics()["iotgw_connections"], 2 * 64 + 6)
        self.good.wait_progress(50)
        self.good_tls.wait_progress(20, "the good devices over TLS to be acknowledged beside the crowd")
        for one in held:
            try:
                while one.recv(65536):
                    pass
            except ConnectionError:
                pass
        wait_for(lambda: self.metrics()["iotgw_connections"] == 6, "the places to be free")

    def test_handshake_that_drips(self):
        one = socket.create_connection(self.secure, 30)
        self.addCleanup(one.close)
        one.settimeout(0.1)
        began, hello = time.monotonic(), self.client_hello()
        for at in range(len(hello)):
            try:
                one.sendall(hello[at:at + 1])
                if not one.recv(100):
                    break
            except TimeoutError:
                continue
            except OSError:
                break
        else:
            self.fail("the handshake had to end before its last byte came")
        self.assertLess(time.monotonic() - began, 30)


class FalseBroker(BlackBox):
    """The gateway connects to nobody whom its authorities do not vouch for by the right name, and says why."""

    def serve(self, pair):
        """A TLS server that would say CONNACK; notes what it is told."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*pair)
        listener = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listener.close)
        heard = []

        def run():
            while True:
                try:
                    one = listener.accept()[0]
                except OSError:
                    return
                try:
                    with context.wrap_socket(one, server_side=True) as link:
                        heard.append(link.recv(4096) or EOFError)
                        link.sendall(packet(CONNACK, 0, b"\0\0\0"))
                        while link.recv(4096):
                            pass
                except OSError:
                    pass  # the gateway did not want it

        threading.Thread(target=run, daemon=True).start()
        return listener.getsockname()[1], heard

    def test_brokers_that_are_not_the_one(self):
        ours, foreign = Authority(self.folder, "brokers"), Authority(self.folder, "foreign")
        own_key, own = self.folder / "own.key", self.folder / "own.pem"
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "9", "-subj",
                "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", own_key, "-out", own)
        pairs = {
            "wrong-name": ours.make("broker.example", "DNS:broker.example", usage="serverAuth"),
            "expired": ours.make("localhost", "DNS:localhost", file="expired", begin=LONG_PAST, end=PAST),
            "self-signed": (own, own_key),
            "foreign": foreign.make("localhost", "DNS:localhost", usage="serverAuth"),
            "client-only": ours.make("localhost", "DNS:localhost", file="client", usage="clientAuth"),
        }
        self.write("password", "a-password-for-the-broker")
        (self.folder / "password").chmod(0o600)
        for name, pair in pairs.items():
            with self.subTest(name):
                port, heard = self.serve(pair)
                folder = self.folder / name
                folder.mkdir()
                running = self.gateway({"mqtt": {
                    "brokers": [f"mqtts://localhost:{port}"], "tls": {"ca": str(ours.file)}, "username": "box",
                    "passwordFile": str(self.folder / "password")}}, folder).start()
                reason = wait_for(lambda: running.status()["broker"]["lastFailure"], "the reason to be told")
                self.assertFalse(running.status()["broker"]["isConnected"])
                self.assertEqual(set(heard) - {EOFError}, set(), "not a byte for a broker that is not the one")
                self.assertRegex(reason.lower(), "certificate")
                self.assertNotIn("a-password", running.log())
                self.assert_stops(running)
        port, heard = self.serve(ours.make("localhost", "DNS:localhost", file="right", usage="serverAuth"))
        folder = self.folder / "right"
        folder.mkdir()
        running = self.gateway({"mqtt": {"brokers": [f"mqtts://localhost:{port}"], "tls": {"ca": str(ours.file)}}}, folder).start()
        wait_for(lambda: heard and b"MQTT" in heard[0], "the right one to be spoken to")
        self.assert_stops(running)

    def test_what_a_certificate_names_is_not_fetched(self):
        """A broker that leaves its intermediate out, and says where it is to be had: nobody goes there."""
        ours, shop = Authority(self.folder, "brokers"), socket.create_server(("127.0.0.1", 0))
        self.addCleanup(shop.close)
        shop.settimeout(3)
        pairs = {name: (self.folder / f"{name}.pem", self.folder / f"{name}.key") for name in ("between", "leaf")}
        signed = (("between", ours.file, ours.folder / "ca.key", "basicConstraints=critical,CA:TRUE"),
                  ("leaf", *pairs["between"], "subjectAltName=DNS:localhost"))
        for name, authority, key, extension in signed:
            place = f"http://127.0.0.1:{shop.getsockname()[1]}/{name}"
            openssl("req", "-x509", "-CA", authority, "-CAkey", key, "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                    "-nodes", "-days", "9", "-subj", f"/CN={name}", "-addext", extension, "-addext",
                    f"authorityInfoAccess=caIssuers;URI:{place}", "-addext", f"crlDistributionPoints=URI:{place}.crl",
                    "-keyout", pairs[name][1], "-out", pairs[name][0])
        port, heard = self.serve(pairs["leaf"])
        running = self.gateway({"mqtt": {"brokers": [f"mqtts://localhost:{port}"], "tls": {"ca": str(ours.file)}}}).start()
        self.assertRegex(wait_for(lambda: running.status()["broker"]["lastFailure"], "the reason to be told"), "certificate")
        with self.assertRaises(TimeoutError):
            shop.accept()
        self.assertEqual(set(heard) - {EOFError}, set())
        self.assert_stops(running)
        chain = self.folder / "chain.pem"
        chain.write_text(pairs["leaf"][0].read_text() + pairs["between"][0].read_text())
        port, heard = self.serve((chain, pairs["leaf"][1]))
        folder = self.folder / "whole"
        folder.mkdir()
        running = self.gateway({"mqtt": {"brokers": [f"mqtts://localhost:{port}"], "tls": {"ca": str(ours.file)}}}, folder).start()
        wait_for(lambda: heard and b"MQTT" in heard[0], "the broker with its whole chain to be spoken to")
        self.assert_stops(running)


if __name__ == "__main__":
    unittest.main()
