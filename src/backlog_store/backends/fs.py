"""
The file operations of a store, all of them: what a test replaces to see each state that a crash can leave behind.

Nothing else in jsonl touches a file. Descriptors are plain numbers, paths plain texts. Every method raises
`OSError` and nothing else.
"""

from __future__ import annotations

import errno
import os
import sys
import time

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

__all__ = ["FileSystem"]

# Windows knows neither of these and macOS has no fdatasync.
_COMMON = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
#: The longest pause, in seconds, between two looks at a lock that somebody else holds.
_PAUSE_MAX_S = 0.005


class FileSystem:
    """
    The real file system.
    """

    def open(self, path: str, flags: int) -> int:
        """
        Open a file without following a symlink; one that is created is for its owner alone (0600).
        """
        return os.open(path, flags | _COMMON, 0o600)

    def close(self, fd: int) -> None:
        """
        Close a descriptor.
        """
        os.close(fd)

    def read(self, fd: int, size: int, offset: int) -> bytes:
        """
        Return up to *size* bytes from *offset*; fewer only at the end of the file.
        """
        if sys.platform == "win32":
            os.lseek(fd, offset, os.SEEK_SET)
            return os.read(fd, size)
        return os.pread(fd, size, offset)

    def write(self, fd: int, data: bytes, offset: int) -> int:
        """
        Write at *offset*, over what is there; return how many bytes were taken.
        """
        if sys.platform == "win32":
            os.lseek(fd, offset, os.SEEK_SET)
            return os.write(fd, data)
        return os.pwrite(fd, data, offset)

    def sync_data(self, fd: int) -> None:
        """
        Return once the file's bytes, and its length, will survive a power cut.
        """
        if sys.platform == "darwin":
            fcntl.fcntl(fd, fcntl.F_FULLFSYNC)  # fsync alone leaves the bytes in the drive's cache there
        elif sys.platform == "win32":
            os.fsync(fd)
        else:
            os.fdatasync(fd)

    def sync_folder(self, path: str) -> None:
        """
        Return once the folder's entries will survive a power cut. Windows cannot.
        """
        if sys.platform == "win32":
            return
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def truncate(self, fd: int, size: int) -> None:
        """
        Cut a file to *size* bytes.
        """
        os.ftruncate(fd, size)

    def rename(self, source: str, target: str) -> None:
        """
        Give a file another name; what had that name is gone, in one step.
        """
        os.replace(source, target)  # noqa: PTH105  (paths are texts here: Path costs more than the call)

    def unlink(self, path: str) -> None:
        """
        Remove a file.
        """
        os.unlink(path)  # noqa: PTH108

    def make_folder(self, path: str) -> None:
        """
        Make one folder for its owner alone (0700).
        """
        os.mkdir(path, 0o700)  # noqa: PTH102

    def list_folder(self, path: str) -> list[str]:
        """
        Return the names in a folder, sorted.
        """
        return sorted(os.listdir(path))  # noqa: PTH208

    def stat(self, path: str) -> os.stat_result:
        """
        Return what is known of a path, not following a symlink.
        """
        return os.stat(path, follow_symlinks=False)  # noqa: PTH116

    def is_linked(self, fd: int) -> bool:
        """
        Tell whether an open file still has a name.
        """
        return os.fstat(fd).st_nlink > 0

    def lock(self, fd: int, *, exclusive: bool, timeout_s: float) -> bool:
        """
        Lock a file against other descriptors of it; return whether that was possible in time.

        The lock belongs to the open descriptor (not to the process, as POSIX locks do, which any close would drop)
        and ends with it, so a killed process leaves none behind.
        """
        deadline = None
        pause = 0.000_1
        while not _try_lock(fd, exclusive=exclusive):
            now = time.monotonic()
            deadline = now + timeout_s if deadline is None else deadline
            if now >= deadline:
                return False
            time.sleep(min(pause, deadline - now))
            pause = min(pause * 1.5, _PAUSE_MAX_S)
        return True

    def unlock(self, fd: int) -> None:
        """
        Let go of the lock.
        """
        if sys.platform == "win32":
            os.lseek(fd, 0, os.SEEK_SET)
            msvcrt.locking(fd, msvcrt.LK_UNLCK, 1)
        else:
            fcntl.flock(fd, fcntl.LOCK_UN)


def _try_lock(fd: int, *, exclusive: bool) -> bool:
    try:
        if sys.platform == "win32":  # which has no shared locks: readers wait for each other there
            os.lseek(fd, 0, os.SEEK_SET)
            msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(fd, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in {errno.EWOULDBLOCK, errno.EACCES, errno.EDEADLK}:
            return False
        raise
    return True
