"""
The lock beside the file: one process writes or checkpoints at a time.

SQLite has its own lock for writers, but a checkpoint does not take it in every case, which the versions with the reset
bug do not survive; and it lets waiting processes sleep for up to 100 ms, this one for 5.
"""

from __future__ import annotations

import os
import sys

from backlog_store.backends.faults import system_error
from backlog_store.backends.fs import FileSystem
from backlog_store.backends.sqlite.faults import NAME
from backlog_store.errors import BackendUnavailable

if sys.platform == "win32":
    fcntl = None
else:
    import fcntl

__all__ = ["FileLock"]

_system = FileSystem()


class FileLock:
    """
    The lock of one handle, on a file that stays there, empty, for ever. Its owner asks for it once at a time.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._fd = -1

    @property
    def is_open(self) -> bool:
        """
        Tell whether this handle has the file open, with the lock or without.
        """
        return self._fd >= 0

    def acquire(self, *, timeout_s: float) -> None:
        """
        Take the lock. Raises `BackendUnavailable` after the time-out, and `BackendError` for what the system says.
        """
        try:
            while True:
                if self._fd < 0:
                    self._fd = _system.open(f"{self._path}-lock", os.O_RDWR | os.O_CREAT)
                self._take(timeout_s)
                if _system.is_linked(self._fd):
                    return
                # Somebody tidied the file away, and others lock a new one.
                self.close()
        except OSError as error:
            self.close()  # it may have been taken before
            raise system_error(NAME, "lock", str(error.filename or self._path), error) from error

    def release(self) -> None:
        """
        Let go of the lock.
        """
        try:
            if fcntl is not None:
                fcntl.flock(self._fd, fcntl.LOCK_UN)
            else:
                _system.unlock(self._fd)
        except OSError:
            self.close()  # which lets go of it, too: what was committed must not end in an error

    def close(self) -> None:
        """
        Close the file and so let go of the lock, unless this is a forked child and it is its parent's. Idempotent.
        """
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)

    def _take(self, timeout_s: float) -> None:
        if fcntl is not None:
            try:
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                pass  # most likely it is held; the slow way tells
            else:
                return
        if not _system.lock(self._fd, exclusive=True, timeout_s=timeout_s):
            reason = f"it is locked by another process, for more than {timeout_s:g} s ({self._path})"
            hint = "Try again; a program that holds it for long should be closed."
            raise BackendUnavailable(NAME, "write", reason, hint=hint)
