"""
A fake file system in memory, which knows what a crash may leave of what was done: it is a model of a disk, no disk.

What is written, cut, made, renamed or removed stays *pending* until the file, or the folder of the name, is synced. A
crash keeps of what is pending in a file any beginning, its last write torn at any byte, where the file grew perhaps
with zeros behind; and of each folder's pending names any beginning. What is synced stays.
"""

from __future__ import annotations

import errno
import itertools
import os
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from types import SimpleNamespace
from typing import Any, NamedTuple

from backlog_store.backends.fs import FileSystem
from tests.crash.files import Killed

__all__ = ["Image", "MemoryFs"]

#: What a disk holds after a crash: the bytes of each file by its path, ``None`` for a folder.
Image = Mapping[str, bytes | None]
_SECTOR = 512


class _Step(NamedTuple):
    """
    A write of *data* at *offset*; without data, a cut to *offset* bytes.
    """

    offset: int
    data: bytes | None

    def on(self, before: bytes, length: int = -1) -> bytes:
        """
        Return a file's bytes after the step, or after the first *length* bytes of it.
        """
        if self.data is None:
            return before[: self.offset]
        data = self.data if length < 0 else self.data[:length]
        return before[: self.offset].ljust(self.offset, b"\0") + data + before[self.offset + len(data) :]

    def torn(self, before: bytes, *, finely: bool) -> Iterator[bytes]:
        """
        Yield what a crash in the middle may leave.
        """
        if self.data is None:
            return
        line = len(self.data.rstrip(b"\n")) + 2
        full = max(len(before), self.offset + len(self.data))
        places = range(line) if finely else (*range(0, line, 61), line - 3, line - 2, line - 1)
        for length in itertools.chain(places, range(line, len(self.data), _SECTOR)):
            image = self.on(before, length)
            yield image
            if len(image) < full:
                yield image.ljust(full, b"\0")


class _File:
    def __init__(self, data: bytes = b"") -> None:
        self.durable = self.data = data
        self.pending: list[_Step] = []
        self.names = 0

    def do(self, step: _Step) -> None:
        self.data = step.on(self.data)
        self.pending.append(step)

    def sync(self) -> None:
        self.durable, self.pending = self.data, []

    def remains(self, *, finely: bool) -> Iterator[bytes]:
        """
        Yield what a crash may leave of the file's bytes, all of it first.
        """
        yield self.data
        before = self.durable
        for step in self.pending:
            yield before
            yield from step.torn(before, finely=finely)
            before = step.on(before)


class MemoryFs(FileSystem):
    """
    The fake. *killed_at*: the process ends before that many further changes were made.
    """

    def __init__(self, image: Image | None = None) -> None:
        self._names: dict[str, _File | None] = {}
        for path, data in (image or {}).items():
            self._names[path] = None if data is None else _File(data)
        for file in self._names.values():
            if file is not None:
                file.names = 1
        self._durable = dict(self._names)
        self._renames: list[tuple[str, str, _File | None]] = []  # pending: folder, name, what it now names
        self._fds: dict[int, _File] = {}
        self._numbers = itertools.count(3)
        self._locks: dict[int, int] = {}
        self.killed_at = 0
        self.changes = 0

    def image(self) -> Image:
        """
        Return what is there, as long as nothing crashes.
        """
        return {path: None if file is None else file.data for path, file in self._names.items()}

    def least(self) -> Image:
        """
        Return the least that a power cut leaves: what was synced.
        """
        return {path: None if file is None else file.durable for path, file in self._durable.items()}

    def remains(self, main: str = "") -> Iterator[Image]:
        """
        Yield what a crash may leave. The file *main* is torn at every byte, others here and there.
        """
        for names in self._names_left():
            present = {id(file): file for file in names.values() if file is not None}
            torn = [file for file in present.values() if file.pending]
            whole = {path: None if file is None else file.data for path, file in names.items()}
            yield whole
            bare = {path: None if file is None else file.durable for path, file in names.items()}
            yield bare
            for file in torn:
                paths = [path for path, other in names.items() if other is file]
                for data in file.remains(finely=main in paths):
                    yield {**whole, **dict.fromkeys(paths, data)}

    def _names_left(self) -> Iterator[dict[str, _File | None]]:
        """
        Yield the names that a crash may leave: of each folder's pending ones any beginning.
        """
        folders = sorted({folder for folder, _, _ in self._renames})
        pending = [[one for one in self._renames if one[0] == folder] for folder in folders]
        for counts in itertools.product(*(range(len(one), -1, -1) for one in pending)):
            names = dict(self._durable)
            kept = [one for steps, count in zip(pending, counts, strict=True) for one in steps[:count]]
            for step in self._renames:
                if step in kept:
                    _name(names, step[1], step[2])
            yield {path: file for path, file in names.items() if _parent(path) in names or path in self._roots()}

    def _roots(self) -> set[str]:
        return {path for path in self._durable if _parent(path) not in self._durable}

    # --- a FileSystem -------------------------------------------------------------------------------------------------

    def _change(self) -> None:
        self.changes += 1
        if self.killed_at and self.changes >= self.killed_at:
            raise Killed

    def _set(self, path: str, file: _File | bool | None) -> None:
        # False stands for "no such name any more".
        self._change()
        _name(self._names, path, file)
        self._renames.append((_parent(path), path, file))  # type: ignore[arg-type]

    def _at(self, path: str) -> _File:
        file = self._names.get(path)
        if file is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return file

    def open(self, path: str, flags: int) -> int:
        if path not in self._names and flags & os.O_CREAT:
            self._set(path, _File())
        elif path in self._names and flags & os.O_EXCL:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path)
        fd = next(self._numbers)
        self._fds[fd] = self._at(path)
        return fd

    def close(self, fd: int) -> None:
        self._fds.pop(fd, None)
        self._locks = {file: holder for file, holder in self._locks.items() if holder != fd}

    def read(self, fd: int, size: int, offset: int) -> bytes:
        return self._fds[fd].data[offset : offset + size]

    def write(self, fd: int, data: bytes, offset: int) -> int:
        self._change()
        self._fds[fd].do(_Step(offset, bytes(data)))
        return len(data)

    def sync_data(self, fd: int) -> None:
        self._change()
        self._fds[fd].sync()

    def sync_folder(self, path: str) -> None:
        self._change()
        for folder, name, file in self._renames:
            if folder == path:
                _name(self._durable, name, file)
        self._renames = [one for one in self._renames if one[0] != path]

    def truncate(self, fd: int, size: int) -> None:
        self._change()
        self._fds[fd].do(_Step(size, None))

    def rename(self, source: str, target: str) -> None:
        file = self._at(source)
        self._change()
        # One step, so one pending change: the new name, from which the old one follows.
        self._renames.append((_parent(target), f"{source}\0{target}", file))
        _name(self._names, f"{source}\0{target}", file)

    def unlink(self, path: str) -> None:
        self._at(path)
        self._set(path, False)

    def make_folder(self, path: str) -> None:
        if path in self._names:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path)
        self._set(path, None)

    def list_folder(self, path: str) -> list[str]:
        if path not in self._names:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return sorted(PurePosixPath(name).name for name in self._names if _parent(name) == path)

    def stat(self, path: str) -> Any:
        file = self._at(path)
        return SimpleNamespace(st_size=len(file.data), st_dev=1, st_ino=id(file))

    def is_linked(self, fd: int) -> bool:
        return any(file is self._fds[fd] for file in self._names.values())

    def lock(self, fd: int, *, exclusive: bool, timeout_s: float) -> bool:
        return self._locks.setdefault(id(self._fds[fd]), fd) == fd

    def unlock(self, fd: int) -> None:
        if fd in self._fds:
            self._locks.pop(id(self._fds[fd]), None)

    def end_processes(self) -> None:
        """
        Let every process end: nothing is locked any more, and changes work again.
        """
        self._locks.clear()
        self.killed_at = 0


def _parent(path: str) -> str:
    return path.rpartition("/")[0]


def _name(names: dict[str, Any], path: str, file: Any) -> None:
    source, _, target = path.rpartition("\0")
    if source:
        names.pop(source, None)
    if file is False:
        names.pop(target, None)
    else:
        names[target] = file
