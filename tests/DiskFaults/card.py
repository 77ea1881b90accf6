"""A small card: an ext4 file system in a file, which can be filled up, broken, and taken out.

The devices go with their last user: unmounted lazily, detached at once, whatever ends the test. tests/faults runs in a
mount namespace of its own besides, so that not even SIGKILL leaves a mount behind.
"""
import os
import pathlib
import subprocess

MEBIBYTE = 1 << 20


class Card:
    def __init__(self, folder, mebibytes=24):
        self.image = pathlib.Path(folder) / "card.img"
        self.point = pathlib.Path(folder) / "card"
        self.filler = self.point / "filler"
        self.point.mkdir()
        with self.image.open("wb") as file:
            file.truncate(mebibytes * MEBIBYTE)
        run("mkfs.ext4", "-q", "-F", "-m", "0", self.image)

    def mount(self):
        device = run("losetup", "--find", "--show", self.image)
        try:
            run("mount", "-t", "ext4", device, self.point)
        finally:
            run("losetup", "--detach", device)  # when it is mounted: with the end of the mount
        return self

    def fill(self, but_bytes=0):
        """Takes what is free, to the last block."""
        status = os.statvfs(self.point)
        with self.filler.open("wb") as file:
            try:
                os.posix_fallocate(file.fileno(), 0, max(status.f_bavail * status.f_frsize - but_bytes, 1))
                while not but_bytes:
                    file.seek(0, os.SEEK_END)
                    file.write(bytes(4096))
                    file.flush()
            except OSError:
                pass  # it is full

    def free(self):
        self.filler.unlink()

    def break_down(self):
        """The kernel meets an error in its journal and lets nothing be written any more."""
        run("mount", "-o", "remount,abort", self.point)

    def remount(self, how):
        """"ro" only succeeds while nobody has a file open for writing."""
        run("mount", "-o", f"remount,{how}", self.point)

    def is_writable(self):
        probe = self.point / "probe"
        try:
            probe.write_bytes(b"?")
            probe.unlink()
            return True
        except OSError:
            return False

    def repair(self):
        """Out, checked, and in again, as another device: those who have files open on the old one keep it."""
        run("umount", "--lazy", self.point)
        subprocess.run(["e2fsck", "-p", "-f", self.image], capture_output=True, check=False)
        return self.mount()

    def end(self):
        """However often it was mounted."""
        while subprocess.run(["umount", "--lazy", self.point], capture_output=True, check=False).returncode == 0:
            pass


def run(*command):
    path = os.environ["PATH"] + ":/usr/sbin:/sbin"
    done = subprocess.run([str(one) for one in command], capture_output=True, text=True, check=False,
                          env=os.environ | {"PATH": path})
    if done.returncode != 0:
        raise OSError(f"{command[0]}: {done.stderr.strip() or done.returncode}")
    return done.stdout.strip()
