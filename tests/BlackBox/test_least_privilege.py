"""The shipped unit: how little it leaves the program, and that the program lives with it."""
import collections
import ctypes
import json
import mmap
import os
import pathlib
import re
import resource
import shutil
import signal
import socket
import stat
import subprocess
import time
import traceback
import unittest

import bench
import confined
from bench import HANG_SECONDS, BlackBox, Gateway, clean_environment, end_with_us, iotgw, wait_for
from broker import Broker, Subscriber
from fleet import Fleet

DEPLOY = bench.ROOT / "deploy"
EXPOSURE_MAX = 1.4
# Keys that came after the systemd of the oldest Debian we serve, which says that it does not know them.
NEW_KEYS = {"RestartSteps", "RestartMaxDelaySec"}
LISTENER = {"name": "field", "endpoint": "127.0.0.1:0", "authentication": ["none"], "framesPerSecond": 10000}


def need(program, package):
    if shutil.which(program) is None:
        raise AssertionError(f"{program} is missing: install the Debian package {package}")


class Unit(BlackBox):
    def setUp(self):
        super().setUp()
        need("systemd-analyze", "systemd")

    def analyze(self, *arguments):
        return subprocess.run(["systemd-analyze", "--no-pager", *map(str, arguments)], capture_output=True, text=True,
                              timeout=HANG_SECONDS, check=False)

    def test_exposure(self):
        done = self.analyze("security", "--offline=yes", "--threshold=" + str(int(EXPOSURE_MAX * 10)),
                            confined.UNIT)
        said = re.search(r"Overall exposure level for .*: ([0-9.]+)", done.stdout)
        self.assertIsNotNone(said, done)
        self.assertLessEqual(float(said[1]), EXPOSURE_MAX, done.stdout)
        self.assertEqual(done.returncode, 0, done)
        print(f"    exposure {said[1]}", flush=True)

    def test_unit_is_understood(self):
        # The program in its place: whether /usr/bin/iotgw exists is no fault of the unit.
        text = confined.UNIT.read_text().replace("/usr/bin/iotgw", bench.IOTGW)
        unit = self.write("iot-tcp-gateway.service", text)
        for drop_in in (None, *sorted((DEPLOY / "drop-ins").glob("*.conf"))):
            with self.subTest(drop_in=drop_in and drop_in.name):
                if drop_in:
                    folder = self.folder / "iot-tcp-gateway.service.d"
                    shutil.rmtree(folder, ignore_errors=True)
                    folder.mkdir()
                    shutil.copy(drop_in, folder)
                done = self.analyze("verify", "--man=no", unit)
                lines = [line for line in done.stderr.splitlines()
                         if str(self.folder) in line and not any(f"'{key}'" in line for key in NEW_KEYS)]
                self.assertEqual((done.returncode, lines), (0, []), done)

    def test_user_is_made(self):
        (self.folder / "etc").mkdir()
        done = self.made_in_a_root("systemd-sysusers", "sysusers.d")
        self.assertEqual(done.returncode, 0, done)
        line = (self.folder / "etc/passwd").read_text()
        self.assertRegex(line, r"(?m)^iot-tcp-gateway:x:\d+:\d+:[^:]*:/var/lib/iot-tcp-gateway:.*nologin$")

    def test_configuration_is_for_the_service_to_read(self):
        (self.folder / "etc").mkdir()
        self.write("etc/passwd", "root:x:0:0::/root:/bin/sh\n")
        self.write("etc/group", "root:x:0:\niot-tcp-gateway:x:990:\n")
        done = self.made_in_a_root("systemd-tmpfiles", "tmpfiles.d", "--create")
        self.assertEqual(done.returncode, 0, done)
        for name in ("", "conf.d"):
            status = (self.folder / "etc/iot-tcp-gateway" / name).stat()
            self.assertEqual((status.st_mode & 0o777, status.st_uid, status.st_gid), (0o750, 0, 990))

    def made_in_a_root(self, program, kind, *options):
        need(program, "systemd")
        return subprocess.run([program, f"--root={self.folder}", *options, DEPLOY / kind / "iot-tcp-gateway.conf"],
                              capture_output=True, text=True, timeout=HANG_SECONDS, check=False)

    def test_example_configuration_is_right(self):
        done = iotgw("check", "--config", DEPLOY / "gateway.json")
        self.assertEqual(done.returncode, 0, done)

    def test_stop_has_time_for_what_is_promised(self):
        unit = confined.settings()
        self.assertGreater(int(unit["TimeoutStopSec"][0].removesuffix("s")), 10)
        self.assertEqual(unit["RestartPreventExitStatus"], ["78"])


class Load(BlackBox):
    """A life of the gateway: load, outage, spilling, reload, replay, stop."""

    def setUp(self):
        super().setUp()
        (self.folder / "broker").mkdir()
        self.broker = Broker(self.folder / "broker").start()
        self.addCleanup(self.broker.end)
        self.consumer = Subscriber(self.broker.port, "telemetry/#", name="all")
        self.addCleanup(self.consumer.end)

    def configuration(self):
        # A name, not an address: resolving it is part of what must be allowed.
        return {"listeners": [LISTENER], "http": {"endpoint": "127.0.0.1:0"},
                "mqtt": {"brokers": [self.broker.url.replace("127.0.0.1", "localhost")], "ackTimeout": "2s"},
                "buffer": {"spillAfter": "200ms", "disk": "64 MiB"}}

    def live(self, running, pid=None):
        """pid: of the gateway, if another process was started for it."""
        fleet = Fleet(running.address(), 8, frames_per_second=1000, frame_bytes=200)
        self.addCleanup(fleet.end)
        fleet.wait_progress(300)
        self.broker.stop()
        fleet.wait_progress(1000, "acknowledged from the disk")
        os.kill(pid or running.process.pid, signal.SIGHUP)
        running.wait_log("device keys read", 2)
        self.broker.start()
        fleet.finish()
        wait_for(lambda: running.status()["buffer"]["records"] == 0, "the backlog to be gone")
        acknowledged = fleet.ledger()
        wait_for(lambda: acknowledged <= set(self.consumer.counts), "everything acknowledged to be delivered")
        fleet.end()
        os.kill(pid or running.process.pid, signal.SIGTERM)
        self.assertEqual(running.wait(), 0, running.log()[-4000:])


DONE, REFUSED = 0, 7


def refused(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), "refused")


def written(path, mode=0o600):
    with open(path, "wb") as file:
        file.write(b"#!/bin/true\n")
    os.chmod(path, mode)
    return path


ATTEMPTS = {
    "write to the system": lambda: written("/etc/x"),
    "write to its configuration": lambda: written(confined.ETC + "/x"),
    "read what is at home": lambda: os.listdir("/root"),
    "become root": lambda: os.setuid(0),
    "open a raw socket": lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1),
    "open a packet socket": lambda: socket.socket(17, socket.SOCK_RAW),
    "talk to the kernel": lambda: socket.socket(16, socket.SOCK_RAW),
    "make a namespace": lambda: refused(confined.LIBC.unshare(confined.NEW_USER)),
    "mount": lambda: confined.mount("x", "/tmp", "tmpfs"),
    "make memory executable": lambda: mmap.mmap(-1, 4096, prot=mmap.PROT_WRITE | mmap.PROT_EXEC),
    "trace a process": lambda: refused(confined.LIBC.ptrace(16, os.getppid(), 0, 0)),
    "set the clock": lambda: time.clock_settime(time.CLOCK_REALTIME, time.time()),
    "open a device": lambda: os.open("/dev/mem", os.O_RDONLY),
    "make a device": lambda: os.mknod("/tmp/d", stat.S_IFCHR | 0o600, os.makedev(1, 1)),
    "set a set-user-id bit": lambda: written(confined.STATE + "/s", 0o4755),
    "raise a limit": lambda: resource.setrlimit(resource.RLIMIT_CORE, (1, 1)),
    "run what it wrote": lambda: os.execv(written(confined.STATE + "/t", 0o755), ["t"]),
    "see other processes": lambda: os.stat("/proc/1/cmdline"),
}


class ConfinedGateway(Gateway):
    """A gateway in what the unit leaves of the machine; its folder has the unit's directories."""

    def __init__(self, folder, configuration, **more):
        self.state = pathlib.Path(folder) / "state"
        self.etc = pathlib.Path(folder) / "etc"
        self.etc.mkdir()
        super().__init__(folder, configuration)
        self.socket = self.folder / "run" / "control.sock"
        self.more = more

    def configure(self, configuration):
        # No directories: the defaults, which are those of the unit.
        self.file = self.etc / "gateway.json"
        self.configuration = {"gateway": {"id": "box"}} | configuration
        self.file.write_text(json.dumps(self.configuration))

    def start_unchecked(self):
        wall = confined.Confinement(self.folder, **self.more)
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                ["iotgw", "run", "--config", f"{confined.ETC}/gateway.json"], executable=confined.PROGRAM, stdout=log,
                stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, preexec_fn=wall.enter,
                env={"PATH": "/usr/bin:/bin", "CREDENTIALS_DIRECTORY": confined.CREDENTIALS})
        return self.process


@unittest.skipUnless(os.geteuid() == 0, "only root can put a program behind mounts of its own")
class Confined(Load):
    def confined(self, configuration, **more):
        made = ConfinedGateway(self.folder, configuration, **more)
        self.addCleanup(lambda: (made.end(), self.logs.append(made.log())))
        return made

    def test_whole_life_within_the_unit(self):
        running = self.confined(self.configuration()).start()
        self.assert_is_confined(running)
        self.live(running)
        self.assertNotRegex(running.log(), r"(?i)not permitted|permission denied|read-only|unavailable")
        self.assertTrue((running.state / "buffer").is_dir())

    def test_no_call_is_made_that_the_unit_denies(self):
        # What would be refused with EPERM ends the process here.
        running = self.confined(self.configuration(), denied=confined.KILL).start()
        self.live(running)

    def test_clock_is_known_as_the_kernel_knows_it(self):
        # adjtimex(2) refused would look like a clock that was never set.
        self.assertEqual(self.inside(lambda: refused(confined.LIBC.adjtimex(ctypes.create_string_buffer(256)))), DONE)

    def test_credential_is_read(self):
        (self.folder / "credentials").mkdir()
        self.write("credentials/mqtt-password", "secret\n")
        wanted = self.configuration()
        wanted["mqtt"] |= {"username": "u", "passwordFile": "credential:mqtt-password"}
        running = self.confined(wanted).start()
        wait_for(lambda: "connected" in running.log(), "the broker to be reached")
        self.assert_stops(running)

    def test_walls_hold(self):
        """What a program that was taken over would try."""
        for name, attempt in ATTEMPTS.items():
            with self.subTest(name):
                self.assertEqual(self.inside(attempt), REFUSED)
        for place in (confined.STATE, confined.RUN, "/tmp"):
            with self.subTest(place):
                self.assertEqual(self.inside(lambda: written(place + "/x")), DONE)

    def inside(self, attempt):
        """How a function fared in a process behind the walls."""
        wall = confined.Confinement(self.folder)
        child = os.fork()
        if child == 0:
            try:
                wall.enter()
                try:
                    attempt()
                    os._exit(DONE)
                except (OSError, ValueError):  # the latter is what Python makes of EPERM for a limit
                    os._exit(REFUSED)
            finally:
                traceback.print_exc()
                os._exit(99)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    def assert_is_confined(self, running):
        status = dict(line.split(":", 1) for line in running.proc("status").splitlines())
        self.assertEqual(status["Uid"].split(), [str(confined.USER)] * 4)
        self.assertEqual(status["NoNewPrivs"].strip(), "1")
        self.assertEqual(status["Seccomp"].strip(), "2")
        for kind in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            self.assertEqual(int(status[kind], 16), 0, kind)


class Traced(Load):
    """The calls by name; not confined, so that everything it would like to do is seen."""

    def test_every_call_is_allowed(self):
        need("strace", "strace")
        need("systemd-analyze", "systemd")
        trace = self.folder / "trace"
        running = self.gateway(self.configuration())
        running.start_unchecked = lambda: self.start_traced(running, trace)
        running.start()
        children = pathlib.Path(f"/proc/{running.process.pid}/task/{running.process.pid}/children")
        process = int(children.read_text().split()[0])
        # strace that is killed lets it live on.
        self.addCleanup(lambda: running.process.poll() is None and os.kill(process, signal.SIGKILL))
        self.live(running, process)
        text = trace.read_text(errors="replace")
        used = collections.Counter(re.findall(r"^\d+ +(?:<\.\.\. )?(\w+)(?:\(| resumed)", text, re.MULTILINE))
        self.assertGreater(used["pwrite64"] + used["fdatasync"], 0, "nothing went to disk")
        # As root it looks after the owner of its files; the unit's user has nothing to give away.
        self.assertEqual(set(used) - confined.allowed_calls() - {"fchown"}, set())
        self.assertEqual(re.findall(r"(?:mmap|mprotect)\(.*PROT_WRITE\|PROT_EXEC.*", text), [])
        # Code comes from files; nothing is made executable afterwards.
        self.assertEqual(re.findall(r"mprotect\(.*PROT_EXEC.*", text), [])
        self.assertEqual([line for line in re.findall(r"mmap\(.*PROT_EXEC.*", text) if "MAP_ANONYMOUS" in line], [])
        families = set(re.findall(r"socket\((AF_\w+)", text))
        self.assertLessEqual(families, set(confined.FAMILIES))
        self.assertEqual(used["execve"], 1)
        print(f"    {len(used)} system calls of {len(confined.allowed_calls())} allowed; sockets {sorted(families)}",
              flush=True)

    @staticmethod
    def start_traced(running, trace):
        with running.log_file.open("ab") as log:
            running.process = subprocess.Popen(
                ["strace", "-f", "-qq", "-o", str(trace), "--", bench.IOTGW, "run", "--config", str(running.file),
                 "--socket", str(running.socket)], stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                env=clean_environment(), preexec_fn=end_with_us)
        return running.process


if __name__ == "__main__":
    unittest.main()
