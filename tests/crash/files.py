"""
File systems that misbehave in one way each, on real files. They say so: each is a fake of a failing disk or process.
"""

from __future__ import annotations

import errno
import os

from backlog_store.backends.fs import FileSystem

__all__ = ["Fails", "Killed", "KilledAt", "Logged", "Recording", "Small"]


class Killed(BaseException):
    """
    The process ended here.
    """


class KilledAt(FileSystem):
    """
    Carries out operations until the n-th one that changes something; that one and all later ones never happen.

    Of a write that is hit, the first *torn* bytes happen still.
    """

    def __init__(self, number: int, *, torn: int = 0) -> None:
        self.left = number
        self.torn = torn

    def _step(self) -> None:
        self.left -= 1
        if self.left <= 0:
            raise Killed

    def write(self, fd: int, data: bytes, offset: int) -> int:
        if self.left == 1:
            super().write(fd, data[: self.torn], offset)
        self._step()
        return super().write(fd, data, offset)

    def sync_data(self, fd: int) -> None:
        self._step()
        super().sync_data(fd)

    def sync_folder(self, path: str) -> None:
        self._step()
        super().sync_folder(path)

    def truncate(self, fd: int, size: int) -> None:
        self._step()
        super().truncate(fd, size)

    def rename(self, source: str, target: str) -> None:
        self._step()
        super().rename(source, target)

    def unlink(self, path: str) -> None:
        self._step()
        super().unlink(path)

    def make_folder(self, path: str) -> None:
        self._step()
        super().make_folder(path)


class Recording(FileSystem):
    """
    Notes the names of the operations that change something or make it durable.
    """

    def __init__(self) -> None:
        self.done: list[str] = []

    def write(self, fd: int, data: bytes, offset: int) -> int:
        self.done.append("write")
        return super().write(fd, data, offset)

    def sync_data(self, fd: int) -> None:
        self.done.append("sync_data")
        super().sync_data(fd)

    def sync_folder(self, path: str) -> None:
        self.done.append("sync_folder")
        super().sync_folder(path)

    def truncate(self, fd: int, size: int) -> None:
        self.done.append("truncate")
        super().truncate(fd, size)

    def rename(self, source: str, target: str) -> None:
        self.done.append("rename")
        super().rename(source, target)


class Logged(FileSystem):
    """
    Notes what happens to the bytes of one file: ``write`` (offset, data), ``truncate`` (size) and ``sync``.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.log: list[tuple[str, int, bytes]] = []
        self._fds: set[int] = set()

    def open(self, path: str, flags: int) -> int:
        fd = super().open(path, flags)
        if path.endswith(self.name):
            self._fds.add(fd)
        return fd

    def close(self, fd: int) -> None:
        self._fds.discard(fd)
        super().close(fd)

    def _note(self, fd: int, operation: str, offset: int = 0, data: bytes = b"") -> None:
        if fd in self._fds:
            self.log.append((operation, offset, data))

    def write(self, fd: int, data: bytes, offset: int) -> int:
        self._note(fd, "write", offset, data)
        return super().write(fd, data, offset)

    def sync_data(self, fd: int) -> None:
        self._note(fd, "sync")
        super().sync_data(fd)

    def truncate(self, fd: int, size: int) -> None:
        self._note(fd, "truncate", size)
        super().truncate(fd, size)


class Small(FileSystem):
    """
    A disk on which a file can be so many bytes long; of a write beyond that the part that has room is taken.
    """

    def __init__(self, room: int) -> None:
        self.room = room

    def write(self, fd: int, data: bytes, offset: int) -> int:
        taken = data[: max(self.room - offset, 0)]
        if not taken:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().write(fd, taken, offset)


class Fails(Recording):
    """
    Some operations fail with an error of the system; a write that fails for want of room takes a part first.
    """

    def __init__(self) -> None:
        super().__init__()
        self.errors: dict[str, int | BaseException] = {}

    def _fail(self, operation: str) -> None:
        error = self.errors.get(operation)
        if isinstance(error, BaseException):
            raise error
        if error is not None:
            raise OSError(error, os.strerror(error))

    def open(self, path: str, flags: int) -> int:
        self._fail("open")
        return super().open(path, flags)

    def write(self, fd: int, data: bytes, offset: int) -> int:
        if self.errors.get("write") == errno.ENOSPC and len(data) > 20:
            return super().write(fd, data[:20], offset)
        self._fail("write")
        return super().write(fd, data, offset)

    def sync_data(self, fd: int) -> None:
        self._fail("sync_data")
        super().sync_data(fd)

    def sync_folder(self, path: str) -> None:
        self._fail("sync_folder")
        super().sync_folder(path)

    def truncate(self, fd: int, size: int) -> None:
        self._fail("truncate")
        super().truncate(fd, size)

    def rename(self, source: str, target: str) -> None:
        self._fail("rename")
        super().rename(source, target)

    def unlock(self, fd: int) -> None:
        self._fail("unlock")
        super().unlock(fd)
