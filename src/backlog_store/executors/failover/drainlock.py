"""
One process at a time drains a spool: a lock on a file beside it, let go of by death.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from backlog_store.backends.fs import FileSystem

__all__ = ["DrainLock"]


class DrainLock:
    """
    The lock. Its owner asks for it once at a time.

    Where the file cannot be made it counts as held: two drains at once offer the same commands, and each one happens
    once all the same.
    """

    def __init__(self, folder: Path, fs: FileSystem | None = None) -> None:
        self._path = str(folder / "drain.lock")
        self._fs = fs or FileSystem()
        self._fd = -1

    def acquire(self) -> bool:
        """
        Take the lock; tell whether that was possible at once.
        """
        if self._fd >= 0:
            return True
        try:
            fd = self._fs.open(self._path, os.O_RDWR | os.O_CREAT)
        except OSError:
            return True
        try:
            if not self._fs.lock(fd, exclusive=True, timeout_s=0) or not self._fs.is_linked(fd):
                self._fs.close(fd)
                return False
        except OSError:
            self._fs.close(fd)
            return True
        self._fd = fd
        return True

    def release(self) -> None:
        """
        Let go of the lock.
        """
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            with suppress(OSError):  # closing lets go of it, too
                self._fs.unlock(fd)
            self._fs.close(fd)

    def forget(self) -> None:
        """
        In a forked child: the lock is the parent's.
        """
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            self._fs.close(fd)
