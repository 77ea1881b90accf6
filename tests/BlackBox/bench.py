"""What every black-box test stands on: the published program, a gateway process, and waiting for conditions.

The program under test is named by IOTGW; without it the one that ./publish.sh made is taken.
"""
import ctypes
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests" / "Integration"), str(ROOT / "tests" / "DiskFaults")]

MACHINE = "linux-x64" if os.uname().machine == "x86_64" else "linux-arm64"
IOTGW = os.environ.get("IOTGW") or str(ROOT / "artifacts" / "publish" / MACHINE / "iotgw")
# A guard against hanging, not a measurement: nothing waited for takes that long on the slowest machine.
HANG_SECONDS = 60
# Looked up once: a forked child only calls it.
PRCTL = ctypes.CDLL(None).prctl
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


def clean_environment(extra=None):
    """This process's environment without what would reach into the gateway."""
    kept = {name: value for name, value in os.environ.items()
            if not name.startswith("IOTGW") and name not in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")}
    return kept | (extra or {})


def end_with_us():
    """In a child: the kernel kills it when this process goes, however it goes (prctl(2), PR_SET_PDEATHSIG)."""
    PRCTL(1, signal.SIGKILL, 0, 0, 0)


def iotgw(*arguments, environment=None, stdin=b"", cwd=None, prefix=()):
    """Runs a verb to its end: a CompletedProcess with text."""
    done = subprocess.run([*prefix, IOTGW, *map(str, arguments)], input=stdin, capture_output=True, cwd=cwd,
                          env=clean_environment(environment), timeout=HANG_SECONDS, check=False)
    done.stdout, done.stderr = done.stdout.decode(), done.stderr.decode()
    return done


def wait_for(condition, what, limit=HANG_SECONDS, pause=0.02):
    """The first true value of condition(); an AssertionError that says what never came."""
    until = time.monotonic() + limit
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > until:
            raise AssertionError(f"waited {limit} s in vain for: {what}")
        time.sleep(pause)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Gateway:
    """One "iotgw run" with its configuration, log and control socket in a folder of its own."""

    def __init__(self, folder, configuration, environment=None, arguments=()):
        self.folder = pathlib.Path(folder)
        self.file = self.folder / "gateway.json"
        self.log_file = self.folder / "gateway.log"
        self.socket = self.folder / "control.sock"
        self.environment = environment
        self.arguments = arguments
        self.process = None
        self.configuration = {}
        self.configure(configuration)

    def configure(self, configuration):
        """Writes the configuration; a running gateway takes it at the next start or reload."""
        defaults = {"gateway": {"id": "box"}, "devices": {"file": "devices.json"},
                    "listeners": [{"name": "field", "endpoint": "127.0.0.1:0", "authentication": ["hmac", "none"]}]}
        # Never the machine's own: two gateways on one directory would take each other's frames.
        buffer = {"directory": "buffer"} | configuration.get("buffer", {})
        self.configuration = defaults | configuration | {"buffer": buffer}
        beside = self.file.with_suffix(".new")
        beside.write_text(json.dumps(self.configuration, indent=1))
        beside.replace(self.file)

    def start(self):
        """Starts it and waits until it listens."""
        self.start_unchecked()
        wait_for(self.is_up, "the gateway to answer on its control socket")
        return self

    def start_unchecked(self):
        log = self.log_file.open("ab")
        self.process = subprocess.Popen(
            [IOTGW, "run", "--config", str(self.file), "--socket", str(self.socket), *self.arguments], stdout=log,
            stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, env=clean_environment(self.environment),
            preexec_fn=end_with_us)
        log.close()
        return self.process

    def is_up(self):
        if self.process.poll() is not None:
            raise AssertionError(f"the gateway ended with exit code {self.process.returncode}:\n{self.log()[-4000:]}")
        return self.socket.exists() and iotgw("status", "--json", "--socket", self.socket).returncode == 0

    def status(self):
        done = iotgw("status", "--json", "--socket", self.socket)
        if done.returncode != 0:
            raise AssertionError(f"iotgw status: exit code {done.returncode}: {done.stderr}")
        return json.loads(done.stdout)

    def address(self, index=0):
        """Where a listener really listens."""
        host, port = self.status()["listeners"][index]["endpoint"].rsplit(":", 1)
        return host.strip("[]"), int(port)

    def keep_port(self):
        """Writes the real port into the configuration, so that the next start has the same."""
        listener = dict(self.configuration["listeners"][0])
        listener["endpoint"] = "{}:{}".format(*self.address())
        self.configure(self.configuration | {"listeners": [listener, *self.configuration["listeners"][1:]]})

    def signal(self, number):
        self.process.send_signal(number)

    def wait(self, limit=HANG_SECONDS):
        """Its exit code once it has ended."""
        return self.process.wait(limit)

    def kill(self):
        """As a power cut for the process: SIGKILL."""
        self.process.kill()
        self.process.wait(HANG_SECONDS)

    def end(self):
        if self.process is not None and self.process.poll() is None:
            self.kill()

    def log(self):
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    def wait_log(self, text, times=1):
        wait_for(lambda: self.log().count(text) >= times, f'"{text}" in the log, {times} times')

    def memory_peak_mib(self):
        """The largest resident memory since the start."""
        return int(re.search(r"VmHWM:\s+(\d+) kB", self.proc("status"))[1]) / 1024

    def cpu_seconds(self):
        fields = self.proc("stat").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS_PER_SECOND

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def proc(self, name):
        return pathlib.Path(f"/proc/{self.process.pid}/{name}").read_text()

    def listening_ports(self):
        """TCP ports on which this process listens, by its own descriptors."""
        links = set()
        for descriptor in os.listdir(f"/proc/{self.process.pid}/fd"):
            try:
                links.add(os.readlink(f"/proc/{self.process.pid}/fd/{descriptor}"))
            except FileNotFoundError:
                pass  # closed meanwhile
        ports = set()
        for table in ("net/tcp", "net/tcp6"):
            for line in self.proc(table).splitlines()[1:]:
                fields = line.split()
                if fields[3] == "0A" and f"socket:[{fields[9]}]" in links:
                    ports.add(int(fields[1].rsplit(":", 1)[1], 16))
        return ports


class BlackBox(unittest.TestCase):
    """A test with a folder of its own; the logs of its gateways are shown when it fails."""

    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="iotgw-"))
        self.logs = []
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)

    def run(self, result=None):
        bad = len(result.failures) + len(result.errors)
        super().run(result)
        if len(result.failures) + len(result.errors) > bad:
            for log in self.logs:
                print(f"---- log of the gateway of {self.id()}:\n{log[-6000:]}\n----", file=sys.stderr)

    def gateway(self, configuration=None, folder=None, **more):
        """A gateway that ends with the test; start() it."""
        made = Gateway(folder or self.folder, configuration or {}, **more)
        self.addCleanup(lambda: (made.end(), self.logs.append(made.log())))
        return made

    def write(self, name, text):
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text if isinstance(text, str) else json.dumps(text))
        return path

    def assert_one_line(self, text):
        """One line that a person can act on: no stack trace, nothing of the program's insides."""
        self.assertEqual(text.count("\n"), 1, text)
        self.assertTrue(text.endswith("\n"), text)
        self.assertNotRegex(text, r"   at |Exception|\bSystem\.")

    def assert_stops(self, gateway, number=signal.SIGTERM, limit=10):
        """It ends by itself with 0 within the limit that the service manager gives it."""
        began = time.monotonic()
        gateway.signal(number)
        self.assertEqual(gateway.wait(), 0, gateway.log()[-4000:])
        self.assertLess(time.monotonic() - began, limit)
