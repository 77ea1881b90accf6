"""The library that makes a disk fail (disk_faults.c), compiled once a run, and its control from outside the process."""
import atexit
import os
import pathlib
import shutil
import struct
import subprocess
import tempfile
from dataclasses import dataclass

SOURCE = pathlib.Path(__file__).with_name("disk_faults.c")
FOR_GOOD = 0
DAY = 86_400
YEAR = 365.25 * DAY
built = []


def library():
    """Where the compiled library is."""
    if not built:
        folder = pathlib.Path(tempfile.mkdtemp(prefix="iotgw-faults-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        made = folder / "disk_faults.so"
        done = subprocess.run(["gcc", "-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-o", made, SOURCE],
                              capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise AssertionError(f"{SOURCE.name} does not compile: {done.stderr}")
        built.append(made)
    return built[0]


@dataclass(frozen=True)
class Call:
    """One line of the library's log."""
    name: str
    action: str
    bytes: int  # negative: all zeros
    errno: int
    path: str


class DiskFaults:
    """Faults of the calls below a directory, in a process started with this environment."""

    def __init__(self, folder, below):
        self.rules = folder / "faults.rules"
        self.log = folder / "faults.log"
        self.clock = folder / "faults.clock"
        self.log.touch()
        self.clock.write_bytes(bytes(8))
        self.environment = {"LD_PRELOAD": str(library()), "DISK_FAULTS_BELOW": str(below),
                            "DISK_FAULTS_RULES": str(self.rules), "DISK_FAULTS_LOG": str(self.log),
                            "DISK_FAULTS_CLOCK": str(self.clock)}

    def set(self, *lines):
        """From now on: "sync EIO 3 3" fails the third sync from here; see disk_faults.c."""
        beside = self.rules.with_suffix(".new")
        beside.write_text("\n".join(lines) + "\n")
        beside.replace(self.rules)

    def clear(self):
        """The disk is well again."""
        self.rules.unlink(missing_ok=True)

    def step_clock(self, seconds):
        """The process' wall clock is so far beside the machine's own."""
        with self.clock.open("r+b") as file:
            file.write(struct.pack("=q", int(seconds * 1_000_000_000)))

    def calls(self):
        """Every call that was struck, or with the rule "trace" every one."""
        whole_lines = self.log.read_text(errors="replace").split("\n")[:-1]
        return [Call(name, action, int(size), int(errno), path)
                for name, action, size, errno, path in (line.split(" ", 4) for line in whole_lines)]

    def struck(self, action):
        """How many calls failed so, or had that happen to them."""
        return sum(call.action == action for call in self.calls())

    def forget(self):
        """Begins the log anew."""
        os.truncate(self.log, 0)
