"""
A disk of a known size and mood, for tests that run as root.
"""

from __future__ import annotations

import subprocess
from pathlib import Path


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
        done = subprocess.run([*command, str(self.path)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{' '.join(command)}: {done.stderr} (system tests need root)"
