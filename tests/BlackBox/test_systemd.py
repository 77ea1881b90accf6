"""What the service manager hears, over a socket of our own in its place."""
import os
import signal
import socket
import time
import unittest

from bench import HANG_SECONDS, BlackBox, wait_for

WATCHDOG_SECONDS = 3


class ServiceManager(BlackBox):
    def setUp(self):
        super().setUp()
        self.path = str(self.folder / "notify.sock")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        self.socket.settimeout(HANG_SECONDS)
        self.addCleanup(self.socket.close)
        self.heard = []

    def start(self, **environment):
        return self.gateway({"listeners": [{"name": "field", "endpoint": "127.0.0.1:0"}]},
                            environment={"NOTIFY_SOCKET": self.path} | environment).start()

    def hear(self, wanted):
        """Reads on until a message has a line that begins so; returns the message."""
        while True:
            message = self.socket.recv(4096).decode()
            self.heard.append((time.monotonic(), message))
            if any(line.startswith(wanted) for line in message.splitlines()):
                return message

    def test_ready_once_it_listens_and_stopping_at_the_end(self):
        running = self.start()
        self.hear("READY=1")
        socket.create_connection(running.address()).close()
        running.signal(signal.SIGTERM)
        self.hear("STOPPING=1")
        self.hear("STATUS=stopping")
        self.assertEqual(running.wait(), 0)

    def test_status_is_a_line_about_now(self):
        self.start()
        self.assertRegex(self.hear("STATUS="), r"STATUS=0 devices, 0 frames, 0 waiting, no broker configured")

    def test_watchdog_is_fed_in_time(self):
        self.start(WATCHDOG_USEC=str(WATCHDOG_SECONDS * 1_000_000))
        self.hear("WATCHDOG=1")
        for _ in range(3):
            before = time.monotonic()
            self.hear("WATCHDOG=1")
            self.assertLess(time.monotonic() - before, WATCHDOG_SECONDS)

    def test_watchdog_of_another_process_is_not_ours(self):
        running = self.start(WATCHDOG_USEC="300000", WATCHDOG_PID=str(os.getpid()))
        running.signal(signal.SIGTERM)
        self.hear("STATUS=stopping")
        self.assertEqual(running.wait(), 0)
        self.assertNotIn("WATCHDOG=1", "\n".join(message for _, message in self.heard))

    def test_reload_is_told_with_its_time_and_ready_follows(self):
        running = self.start()
        self.hear("READY=1")
        before = time.clock_gettime(time.CLOCK_MONOTONIC) * 1e6
        running.signal(signal.SIGHUP)
        lines = self.hear("RELOADING=1").splitlines()
        stamp = next(int(line.partition("=")[2]) for line in lines if line.startswith("MONOTONIC_USEC="))
        # systemd compares it with its own CLOCK_MONOTONIC: it must not be before the signal was sent.
        self.assertGreaterEqual(stamp, before - 20_000)
        self.assertLessEqual(stamp, time.clock_gettime(time.CLOCK_MONOTONIC) * 1e6)
        self.hear("READY=1")

    def test_socket_that_goes_away_does_no_harm(self):
        running = self.start(WATCHDOG_USEC="300000")
        self.hear("READY=1")
        self.socket.close()
        os.unlink(self.path)
        running.signal(signal.SIGHUP)
        running.wait_log("device keys read", 2)
        self.assert_stops(running)

    def test_abstract_socket(self):
        self.socket.close()
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        name = f"iotgw-test-{os.getpid()}"
        self.socket.bind("\0" + name)
        self.socket.settimeout(HANG_SECONDS)
        self.addCleanup(self.socket.close)
        self.path = "@" + name
        self.start()
        self.hear("READY=1")


if __name__ == "__main__":
    unittest.main()
