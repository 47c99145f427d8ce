"""
Disks of a known size and mood, for tests that run as root.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
from pathlib import Path

#: ``_IOR('X', 125, __u32)``: EXT4_IOC_SHUTDOWN and XFS_IOC_GOINGDOWN, which share number and flags.
_SHUTDOWN = 0x8004587D
_WITHOUT_THE_LOG = (2).to_bytes(4, "little")


class Disk:
    """
    A small file system in memory, mounted at `path`, that can be made larger and read-only.
    """

    def __init__(self, path: Path, size_kib: int) -> None:
        self.path = path
        path.mkdir()
        self._run("mount", "-t", "tmpfs", "-o", f"size={size_kib}k,mode=700", "tmpfs")

    def grow(self, size_kib: int) -> None:
        """
        Make room.
        """
        self._run("mount", "-o", f"remount,size={size_kib}k")

    def make_read_only(self) -> None:
        """
        Refuse every write from now on.
        """
        self._run("mount", "-o", "remount,ro")

    def make_writable(self) -> None:
        """
        Take writes again.
        """
        self._run("mount", "-o", "remount,rw")

    def unmount(self) -> None:
        """
        Take it away, with all that is on it.
        """
        self._run("umount")

    def _run(self, *command: str) -> None:
        _done(*command, str(self.path))


class PowerDisk:
    """
    A real file system (``ext4``, ``xfs``) in a file behind a loop device, whose power can be cut and comes back.
    """

    #: XFS takes no less than 300 MiB. The file is sparse.
    SIZE = 320 << 20

    def __init__(self, folder: Path, kind: str) -> None:
        self.path = folder / "mounted"
        self.path.mkdir()
        self._image = folder / "image"
        with self._image.open("wb") as file:
            file.truncate(self.SIZE)
        _done(f"mkfs.{kind}", "-q", str(self._image))
        self._mount()

    def cut_power(self) -> None:
        """
        Stop at once: what was not synced is lost, the file system's own log included. Nothing works until `restore`.
        """
        fd = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.ioctl(fd, _SHUTDOWN, _WITHOUT_THE_LOG)
        finally:
            os.close(fd)

    def restore(self) -> None:
        """
        Mount it again, as after a boot. Nobody may have a file of it open.
        """
        self.unmount()
        self._mount()

    def unmount(self) -> None:
        """
        Take it away; the loop device goes with it.
        """
        _done("umount", str(self.path))

    def _mount(self) -> None:
        _done("mount", "-o", "loop", str(self._image), str(self.path))


def _done(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr} (system tests need root, and loop devices)"
