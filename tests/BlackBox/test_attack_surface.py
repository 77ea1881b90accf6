"""HTTP and the control socket: wrong tokens, headers without end, requests within requests, and who may ask at all."""
import base64
import os
import socket
import stat
import struct
import unittest

from attack import Attack
from bench import iotgw

TOKEN = "a-token-of-forty-characters-and-some-more"
RIGHT = f"Authorization: Bearer {TOKEN}\r\n"
PATHS = ("/", "/status", "/metrics", "/healthz", "/readyz", "/nothing")


def basic(text):
    return "Basic " + base64.b64encode(text.encode()).decode()


class Http(Attack):
    CONFIGURATION = {"http": {"endpoint": "0.0.0.0:0", "tokenFile": "http.token", "username": "operator",
                              "passwordFile": "http.password"}}
    HTTP_HEADERS = {"Authorization": f"Bearer {TOKEN}"}

    def start_gateway(self):
        for name, text in (("http.token", TOKEN), ("http.password", "a-password")):
            self.write(name, text).chmod(0o600)
        return super().start_gateway()

    def begin(self):
        self.port = self.http_port()

    def tearDown(self):
        log = self.running.log()
        self.assertNotIn(TOKEN, log)
        self.assertNotIn("a-password", log)
        super().tearDown()

    def raw(self, request, source, limit=30):
        """All that is answered to some bytes, until the gateway closes or says no more."""
        answer = b""
        with socket.create_connection(("127.0.0.1", self.port), limit, (source, 0)) as link:
            link.settimeout(3)
            try:
                link.sendall(request if isinstance(request, bytes) else request.encode())
                while some := link.recv(65536):
                    answer += some
            except (ConnectionError, TimeoutError):
                pass
        return answer

    def ask(self, path, source, *lines):
        head = "".join(line + "\r\n" for line in lines)
        return self.raw(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{head}\r\n", source)

    def test_wrong_tokens_get_nothing(self):
        wrong = ["", "Bearer", "Bearer ", f"Bearer {TOKEN[:-1]}", f"Bearer {TOKEN}x", f"Bearer {TOKEN.upper()}", f"Basic {TOKEN}",
                 TOKEN, f"Digest {TOKEN}", "Bearer *", "Bearer " + "x" * 6000, f"Bearer {TOKEN},{TOKEN}", basic("operator:"),
                 basic(":"), basic(":a-password"), basic("operator:a-passwor"), basic("operator:a-password:"),
                 basic("root:a-password"), "Basic !!!!", "Basic", f"Bearer\t{TOKEN[::-1]}"]
        for number, value in enumerate(wrong):
            for path in PATHS[number % 3::3]:
                answer = self.ask(path, f"127.0.5.{number + 1}", "Authorization: " + value)
                self.assertRegex(answer, rb"\AHTTP/1\.1 (400|401|431) ", value)
                self.assertNotIn(b"iotgw_", answer)
                self.assertNotIn(b'"gateway"', answer)
        for number, line in enumerate((f"Cookie: token={TOKEN}", f"X-Authorization: Bearer {TOKEN}",
                                       "X-Forwarded-For: 127.0.0.1", "Forwarded: for=127.0.0.1", "Host: localhost")):
            self.assertRegex(self.ask(f"/status?token={TOKEN}", f"127.0.6.{number + 1}", line), rb"\AHTTP/1\.1 (400|401) ")
        self.assertRegex(self.ask("/status", "127.0.6.99", RIGHT.strip()), rb"\AHTTP/1\.1 200 ")

    def test_guessing_shuts_one_address_out_and_no_other(self):
        codes = [self.ask("/status", "127.0.0.66", f"Authorization: Bearer guess-{number}")[9:12] for number in range(14)]
        self.assertEqual(codes[:10], [b"401"] * 10)
        self.assertEqual(codes[-3:], [b"429"] * 3)
        self.assertRegex(self.ask("/status", "127.0.0.66", RIGHT.strip()), rb"\AHTTP/1\.1 429 ")
        self.assertRegex(self.ask("/status", "127.0.0.67", RIGHT.strip()), rb"\AHTTP/1\.1 200 ")

    def test_requests_within_requests(self):
        # The outer one shows the token, the inner one does not: it must never be answered by that.
        inner = "GET /status HTTP/1.1\r\nHost: x\r\n\r\n"
        start = "GET /healthz HTTP/1.1\r\nHost: x\r\n"
        garbage = [
            start + RIGHT + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + inner,
            start + RIGHT + f"Content-Length: {len(inner)}\r\nContent-Length: 0\r\n\r\n" + inner,
            start + RIGHT + f"Content-Length: {len(inner)}\r\n\r\n" + inner,
            start + RIGHT + "Content-Length: -1\r\n\r\n" + inner,
            start + RIGHT + "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n" + inner,
            start + RIGHT + "Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n" + inner,
            start + RIGHT + "X: a\r\n folded: Content-Length: 9\r\n\r\n",
            start.replace("\r\n", "\n") + RIGHT.replace("\r\n", "\n") + "\n" + inner,
            start + "Authorization: Bearer wrong\r\n" + RIGHT + "\r\n",
            start + RIGHT.replace("\r\n", "\r") + "\r\n\r\n",
            start + RIGHT.replace(": ", " : ") + "\r\n",
            start + "Authorization:\0 Bearer " + TOKEN + "\r\n\r\n",
            "GET http://evil/status HTTP/1.1\r\nHost: evil\r\n\r\n", "GET /status HTTP/9.9\r\n\r\n", "GET /status\r\n", "\r\n" * 1000,
            "CONNECT 127.0.0.1:22 HTTP/1.1\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
            b"\xc7\x49\x01\x01" + bytes(60), os.urandom(4000), "GET / " + "x" * 60000, b"\0" * 4000]
        for number, request in enumerate(garbage):
            answer = self.raw(request, f"127.0.5.{number + 1}")
            self.assertLessEqual(answer.count(b"HTTP/1.1 200"), 1, request)
            self.assertNotIn(b'"gateway"', answer, request)

    def test_headers_without_end(self):
        start = "GET /healthz HTTP/1.1\r\nHost: x\r\n" + RIGHT
        for number, request in enumerate((
                start + "".join(f"x-{one}: {'y' * 50}\r\n" for one in range(20000)), start + "x: " + "y" * 4000000,
                "GET /" + "x" * 4000000, "G" * 4000000)):
            answer = self.raw(request, f"127.0.5.{number + 1}")
            self.assertNotIn(b" 200 ", answer)

    def test_paths_lead_nowhere_else(self):
        for number, path in enumerate((
                "/../../../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/..%5c..%5cetc", "/status/../../devices.json",
                "/devices.json", "/http.token", "/%00", "/.", "/status%00.html", "//devices.json", "/;/status", "/STATUS",
                "file:///etc/passwd", "*", "/\u202e")):
            answer = self.ask(path, f"127.0.5.{number + 1}", RIGHT.strip())
            self.assertRegex(answer, rb"\A(HTTP/1\.1 (400|404|405) |\Z)", path)
            self.assertNotIn(b"root:", answer)

    def test_bodies_are_not_taken(self):
        for number, method in enumerate(("POST", "PUT", "PATCH", "GET")):
            head = f"{method} /healthz HTTP/1.1\r\nHost: x\r\n{RIGHT}Content-Length: 100000000\r\n\r\n"
            answer = self.raw(head.encode() + bytes(8000000), f"127.0.5.{number + 1}")
            self.assertLessEqual(answer.count(b"HTTP/1.1"), 1)

    def test_slow_headers_leave_places_for_others(self):
        slow = []
        for number in range(150):
            try:
                one = socket.create_connection(("127.0.0.1", self.port), 30, (f"127.0.5.{number % 3 + 1}", 0))
                self.addCleanup(one.close)
                one.sendall(b"GET /status HTTP/1.1\r\nX: ")
                slow.append(one)
            except ConnectionError:
                pass  # an address has 16 places
        for _ in range(5):
            self.assertRegex(self.ask("/status", "127.0.0.67", RIGHT.strip()), rb"\AHTTP/1\.1 200 ")
        for one in slow:
            one.settimeout(60)
            try:
                while one.recv(65536):
                    pass
            except ConnectionError:
                pass  # closed by the gateway, as all have to be


class Control(Attack):
    def ask(self, request, limit=5):
        answer = b""
        with socket.socket(socket.AF_UNIX) as link:
            link.settimeout(limit)
            link.connect(str(self.running.socket))
            try:
                link.sendall(request)
                link.shutdown(socket.SHUT_WR)
                while some := link.recv(65536):
                    answer += some
            except OSError:
                pass
        return answer

    def test_socket_is_its_owners_alone(self):
        mode = self.running.socket.stat()
        self.assertTrue(stat.S_ISSOCK(mode.st_mode))
        self.assertEqual(stat.S_IMODE(mode.st_mode) & 0o007, 0, oct(mode.st_mode))
        self.assertEqual(mode.st_uid, os.geteuid())

    @unittest.skipUnless(os.geteuid() == 0, "only root can become another user")
    def test_another_user_gets_no_answer(self):
        self.folder.chmod(0o755)
        child = os.fork()
        if child == 0:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            try:
                with socket.socket(socket.AF_UNIX) as link:
                    link.connect(str(self.running.socket))
                    os._exit(1)
            except PermissionError:
                os._exit(0)
        self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), 0, "another user reached the control socket")

    def test_garbage_at_the_socket(self):
        for request in (b"", b"\n", b"\0" * 100000, os.urandom(100000), b"status\n" * 10000, b"x" * 1000000,
                        b'{"a":' * 20000, b"approve ../../x\n", b"\xff\xfe\n", struct.pack("<I", 0xFFFFFFFF) + b"x"):
            self.assertLess(len(self.ask(request)), 1 << 20)
        idle = []
        for _ in range(200):
            one = socket.socket(socket.AF_UNIX)
            self.addCleanup(one.close)
            one.settimeout(1)
            try:
                one.connect(str(self.running.socket))
            except OSError:
                break  # no more are let in
            idle.append(one)
        self.good.wait_progress(50)
        for one in idle:
            one.close()
        self.assertEqual(iotgw("status", "--socket", self.running.socket).returncode, 0)


if __name__ == "__main__":
    unittest.main()
