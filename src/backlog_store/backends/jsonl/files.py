"""
The files of a store: their names, the lock between processes, and writing a file whole.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from zlib import crc32

from backlog_store.backends.fs import FileSystem
from backlog_store.backends.jsonl.faults import NAME, backend_error
from backlog_store.errors import BackendUnavailable

__all__ = ["FileLock", "Paths", "keep_aside", "make_folders", "write_file"]


class Paths:
    """
    The names in a store's folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = str(folder)
        self.journal = str(folder / "journal.jsonl")
        self.new = str(folder / "journal.new")
        self.lock = str(folder / "lock")
        self.cut = str(folder / "cut")


class FileLock:
    """
    The lock between all handles to a store, in this process or another. Its owner asks for it once at a time.
    """

    def __init__(self, fs: FileSystem, path: str, *, timeout_s: float) -> None:
        self._fs = fs
        self._path = path
        self._timeout_s = timeout_s
        self._fd = -1

    @contextmanager
    def held(self, *, exclusive: bool) -> Iterator[None]:
        """
        Hold the lock. Raises `BackendUnavailable` if another process does not let go of it in time.
        """
        fd = self.acquire(exclusive=exclusive)
        try:
            yield
        finally:
            self.release(fd)

    def acquire(self, *, exclusive: bool, timeout_s: float | None = None) -> int:
        """
        Take the lock, waiting as long as all do or *timeout_s*; return what `release` wants. Raises as `held`.
        """
        fs = self._fs
        timeout_s = self._timeout_s if timeout_s is None else timeout_s
        try:
            while True:
                if self._fd < 0:
                    self._fd = fs.open(self._path, os.O_RDWR | os.O_CREAT)
                if not fs.lock(self._fd, exclusive=exclusive, timeout_s=timeout_s):
                    raise BackendUnavailable(
                        NAME, "locking", f"{self._path} has been held by another process for {timeout_s:g} s",
                        hint="Try again; if it goes on, look for a process that hangs with that file open.",
                    )  # fmt: skip
                if fs.is_linked(self._fd):
                    return self._fd
                # Somebody removed the lock file: others lock the one that took its place, so this handle must, too.
                self.let_go()
        except OSError as error:
            self.let_go()  # it may have been taken before
            raise backend_error("locking", self._path, error) from error

    def release(self, fd: int) -> None:
        """
        Let go of the lock, unless this is a forked child and the lock is its parent's.
        """
        if self._fd == fd:
            try:
                self._fs.unlock(fd)
            except OSError:
                self.let_go()  # which lets go of the lock, too: what was committed must not end in an error

    def let_go(self) -> None:
        """
        Close the file. A lock that is held is not undone: in a forked child it is the parent's.
        """
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            self._fs.close(fd)


def make_folders(fs: FileSystem, folders: Sequence[Path]) -> None:
    """
    Make folders, outermost first, durably. One that another process makes meanwhile is as good.
    """
    for folder in folders:
        with suppress(FileExistsError):
            fs.make_folder(str(folder))
        fs.sync_folder(str(folder.parent))


def write_file(fs: FileSystem, path: str, parts: Iterable[bytes]) -> int:
    """
    Write a new file durably, in place of what an interrupted process left there; return its size.

    The file's name is not durable yet.
    """
    with suppress(FileNotFoundError):
        fs.unlink(path)
    fd = fs.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL)
    size = 0
    try:
        for part in parts:
            write_all(fs, fd, part, size)
            size += len(part)
        fs.sync_data(fd)
    finally:
        fs.close(fd)
    return size


def write_all(fs: FileSystem, fd: int, data: bytes, offset: int) -> None:
    """
    Write *data* at *offset* with one call, or with more where the system takes less at a time.
    """
    taken = fs.write(fd, data, offset)
    while taken < len(data):
        taken += fs.write(fd, data[taken:], offset + taken)


def keep_aside(fs: FileSystem, paths: Paths, name: str, data: bytes) -> None:
    """
    Keep bytes that are about to leave the journal in the folder ``cut/``, durably.

    The same bytes at the same place, kept by a process that was killed then, go by the same name.
    """
    with suppress(FileExistsError):
        fs.make_folder(paths.cut)
        fs.sync_folder(paths.folder)
    part = f"{paths.cut}/part"
    write_file(fs, part, [data])
    fs.rename(part, f"{paths.cut}/{name}-{crc32(data):08x}")
    fs.sync_folder(paths.cut)
