"""Runs a program under the restrictions of the shipped unit, as far as they can be had without systemd as process 1.

Mounts, user, capabilities and limits are set as the unit says; its system call filter is loaded into the kernel, group
by group as "systemd-analyze syscall-filter" expands it. As root; a forked child calls Confinement.enter() before exec.
"""
import ctypes
import errno
import functools
import os
import pathlib
import resource
import stat
import subprocess

import bench

UNIT = bench.ROOT / "deploy" / "iot-tcp-gateway.service"
USER = 61_999  # nobody's
PROGRAM, ETC = "/opt/iotgw", "/opt/etc"
STATE, RUN = "/var/lib/iot-tcp-gateway", "/run/iot-tcp-gateway"
CREDENTIALS = "/run/credentials/iot-tcp-gateway.service"

NEW_NAMESPACE, NEW_IPC, NEW_USER = 0x20000, 0x8000000, 0x10000000
# clone(2)'s flags of all namespaces.
NAMESPACES = 0x7E020000 | 0x80
READ_ONLY, NO_SUID, NO_EXEC, BIND, RECURSIVE, PRIVATE = 1, 2, 8, 4096, 16384, 1 << 18
ALLOW, KILL, ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
EQUAL, NOT_EQUAL, MASKED_EQUAL, GREATER = 4, 1, 7, 6
PROT_WRITE, PROT_EXEC, SHM_EXEC = 2, 4, 0o100000
FAMILIES = {"AF_UNIX": 1, "AF_INET": 2, "AF_INET6": 10}
LIBC = ctypes.CDLL(None, use_errno=True)


def settings(unit=UNIT):
    """The unit's [Service] section: key to its values in order; an empty value forgets those before it."""
    found, section = {}, None
    for line in unit.read_text().splitlines():
        if line.startswith("["):
            section = line
        elif section == "[Service]" and "=" in line and not line.startswith("#"):
            key, _, value = line.partition("=")
            found[key] = found.get(key, []) + [value] if value else [""]
    return found


@functools.cache
def expand(name):
    """The system calls of a group (@name) as systemd knows it, or the one call."""
    if not name.startswith("@"):
        return frozenset([name])
    shown = subprocess.run(["systemd-analyze", "--no-pager", "syscall-filter", name], capture_output=True, text=True,
                           check=True)
    lines = [line.strip() for line in shown.stdout.splitlines()[1:]]
    return frozenset().union(*(expand(line) for line in lines if line and not line.startswith("#")))


def allowed_calls(unit=UNIT):
    """What SystemCallFilter= leaves."""
    allowed = set()
    for line in settings(unit)["SystemCallFilter"]:
        named = set().union(*(expand(name) for name in line.removeprefix("~").split()))
        allowed = allowed - named if line.startswith("~") else allowed | named
    return allowed


def check(result, what):
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def mount(source, target, kind=None, flags=0, data=None):
    encoded = [one if one is None else str(one).encode() for one in (source, target, kind, data)]
    check(LIBC.mount(encoded[0], encoded[1], encoded[2], ctypes.c_ulong(flags), encoded[3]), f"mount {target}")


def set_attributes(path, attributes, recursive=True):
    """mount_setattr(2): also what is mounted below."""
    values = (ctypes.c_uint64 * 4)(attributes, 0, 0, 0)
    check(LIBC.syscall(442, -100, str(path).encode(), 0x8000 if recursive else 0, ctypes.byref(values), 32),
          f"mount_setattr {path}")


def drop_capabilities():
    """Of this process, also those that it has as the first of its own users."""
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    check(LIBC.capset(ctypes.byref(header), ctypes.byref((ctypes.c_uint32 * 6)())), "capset")


class Filter:
    """A system call filter, made with libseccomp as systemd makes its own."""

    def __init__(self, default):
        self.library = ctypes.CDLL("libseccomp.so.2")
        self.library.seccomp_init.restype = ctypes.c_void_p
        self.context = ctypes.c_void_p(self.library.seccomp_init(ctypes.c_uint32(default)))

    def rule(self, action, name, *comparisons):
        """comparisons: (argument, how, a, b); all must hold."""
        number = self.library.seccomp_syscall_resolve_name(name.encode())
        if number < 0:
            return  # not on this processor
        made = (Comparison * len(comparisons))(*comparisons)
        done = self.library.seccomp_rule_add_array(
            self.context, ctypes.c_uint32(action), number, len(comparisons), made)
        if done != 0:
            raise OSError(-done, f"a rule for {name}: {os.strerror(-done)}")

    def load(self):
        done = self.library.seccomp_load(self.context)
        if done != 0:
            raise OSError(-done, "seccomp_load")


class Comparison(ctypes.Structure):
    _fields_ = [("argument", ctypes.c_uint), ("how", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64)]


class Confinement:
    """The unit's restrictions around a folder that has state/, run/, etc/ and credentials/."""

    def __init__(self, folder, denied=ERRNO | errno.EPERM, unit=UNIT):
        self.folder = pathlib.Path(folder)
        self.unit = settings(unit)
        self.allowed = allowed_calls(unit)
        self.denied = denied
        for name in ("state", "run", "etc", "credentials"):
            (self.folder / name).mkdir(exist_ok=True)
        for name in ("state", "run"):
            os.chown(self.folder / name, USER, USER)
        os.chmod(self.folder / "state", int(self.first("StateDirectoryMode"), 8))
        os.chmod(self.folder / "run", 0o777)  # the unit's mode keeps out the test itself when it is not root's
        for name in ("etc", "credentials"):
            for file in (self.folder / name).iterdir():
                os.chown(file, USER, USER)

    def first(self, key):
        return self.unit[key][0]

    def wants(self, key, value="yes"):
        return self.unit.get(key) == [value]

    def enter(self):
        """In the child, before exec: everything in the order of systemd."""
        self.mounts()
        self.limits()
        os.setgroups([])
        os.setresgid(USER, USER, USER)
        os.setresuid(USER, USER, USER)
        if self.wants("PrivateUsers"):
            self.own_users()
        if self.wants("CapabilityBoundingSet", ""):
            for capability in range(int(pathlib.Path("/proc/sys/kernel/cap_last_cap").read_text()) + 1):
                check(LIBC.prctl(24, capability, 0, 0, 0), "PR_CAPBSET_DROP")
        if self.wants("NoNewPrivileges"):
            check(LIBC.prctl(38, 1, 0, 0, 0), "PR_SET_NO_NEW_PRIVS")
        drop_capabilities()
        bench.end_with_us()
        os.chdir("/")
        self.filters()

    def limits(self):
        os.umask(int(self.first("UMask"), 8))
        os.setsid()
        for key, what in (("LimitNOFILE", resource.RLIMIT_NOFILE), ("LimitCORE", resource.RLIMIT_CORE)):
            # In a container even root may not raise it.
            highest = resource.getrlimit(what)[1]
            wanted = int(self.first(key))
            wanted = wanted if highest == resource.RLIM_INFINITY else min(wanted, highest)
            resource.setrlimit(what, (wanted, wanted))

    def mounts(self):
        check(LIBC.unshare(NEW_NAMESPACE | NEW_IPC), "unshare")
        mount(None, "/", flags=PRIVATE | RECURSIVE)
        held = {place: os.open(source, os.O_PATH) for place, source in (
            (STATE, self.folder / "state"), (RUN, self.folder / "run"), (ETC, self.folder / "etc"),
            (CREDENTIALS, self.folder / "credentials"), (PROGRAM, bench.IOTGW))}
        # In place of the machine's own, so that nothing is made in it.
        for cover in ("/opt", "/var/lib", "/run"):
            mount("tmpfs", cover, "tmpfs", data="mode=755")
        for place, descriptor in held.items():
            pathlib.Path(place).parent.mkdir(parents=True, exist_ok=True)
            pathlib.Path(place).touch() if place == PROGRAM else pathlib.Path(place).mkdir()
            mount(f"/proc/self/fd/{descriptor}", place, flags=BIND)
        if self.wants("PrivateTmp"):
            for cover in ("/tmp", "/var/tmp"):
                mount("tmpfs", cover, "tmpfs", data="mode=1777")
        if self.wants("ProtectHome"):
            for cover in ("/home", "/root"):
                mount("tmpfs", cover, "tmpfs", READ_ONLY, "mode=000")
        if self.wants("PrivateDevices"):
            self.devices()
        if self.wants("ProtectSystem", "strict"):
            set_attributes("/", READ_ONLY | NO_SUID)
            for place in (STATE, RUN, "/tmp", "/var/tmp"):
                mount(None, place, flags=BIND | 32)  # remount, writable again
        self.processes()
        for place in self.first("NoExecPaths").split():
            set_attributes(place, NO_EXEC)

    def processes(self):
        subset = ",subset=pid" if self.wants("ProcSubset", "pid") else ""
        mount("proc", "/proc", "proc", data="hidepid=" + self.first("ProtectProc") + subset)
        if self.wants("ProtectKernelTunables") and not subset:
            mount("/proc/sys", "/proc/sys", flags=BIND)
            set_attributes("/proc/sys", READ_ONLY)

    @staticmethod
    def devices():
        names = ("null", "zero", "full", "random", "urandom", "tty")
        kept = {name: os.open(f"/dev/{name}", os.O_PATH) for name in names}
        mount("tmpfs", "/dev", "tmpfs", NO_EXEC, "mode=755")
        for name, descriptor in kept.items():
            pathlib.Path("/dev", name).touch()
            mount(f"/proc/self/fd/{descriptor}", f"/dev/{name}", flags=BIND)

    @staticmethod
    def own_users():
        # Another user's process is not dumpable, and what it is in /proc would be root's.
        check(LIBC.prctl(4, 1, 0, 0, 0), "PR_SET_DUMPABLE")
        check(LIBC.unshare(NEW_USER), "unshare users")
        for name, text in (("setgroups", "deny"), ("uid_map", f"{USER} {USER} 1"), ("gid_map", f"{USER} {USER} 1")):
            pathlib.Path("/proc/self", name).write_text(text)

    def filters(self):
        # Two filters, as the stricter answer of the two counts.
        self.rules().load()
        listed = Filter(self.denied)
        for name in sorted(self.allowed):
            listed.rule(ALLOW, name)
        listed.load()

    def rules(self):
        refuse = ERRNO | errno.EPERM
        made = Filter(ALLOW)
        if self.wants("MemoryDenyWriteExecute"):
            both = PROT_EXEC | PROT_WRITE
            made.rule(self.denied, "mmap", (2, MASKED_EQUAL, both, both))
            for name in ("mprotect", "pkey_mprotect"):
                made.rule(self.denied, name, (2, MASKED_EQUAL, PROT_EXEC, PROT_EXEC))
            made.rule(self.denied, "shmat", (2, MASKED_EQUAL, SHM_EXEC, SHM_EXEC))
        if self.wants("ProtectClock"):
            for name in expand("@clock"):
                made.rule(self.denied, name)
        if self.wants("RestrictNamespaces"):
            made.rule(ERRNO | errno.ENOSYS, "clone3")
            for name in ("unshare", "setns"):
                made.rule(refuse, name)
            for bit in (1 << shift for shift in range(32) if NAMESPACES >> shift & 1):
                made.rule(refuse, "clone", (0, MASKED_EQUAL, bit, bit))
        families = sorted(FAMILIES[name] for name in self.first("RestrictAddressFamilies").split())
        for low in set(range(families[-1])) - set(families):
            made.rule(ERRNO | errno.EAFNOSUPPORT, "socket", (0, EQUAL, low, 0))
        made.rule(ERRNO | errno.EAFNOSUPPORT, "socket", (0, GREATER, families[-1], 0))
        if self.wants("RestrictSUIDSGID"):
            for bit in (stat.S_ISUID, stat.S_ISGID):
                for name, argument in (("chmod", 1), ("fchmod", 1), ("fchmodat", 2), ("mkdir", 1), ("mkdirat", 2)):
                    made.rule(refuse, name, (argument, MASKED_EQUAL, bit, bit))
        if self.wants("RestrictRealtime"):
            made.rule(refuse, "sched_setscheduler", (1, GREATER, 0, 0))
        if self.wants("LockPersonality"):
            made.rule(refuse, "personality", (0, NOT_EQUAL, 0xFFFFFFFF, 0))
        return made
