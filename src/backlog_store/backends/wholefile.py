"""
Writing a file that somebody will rely on: all of it under its name, durably, or nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from backlog_store.backends.fs import FileSystem

__all__ = ["whole_file"]

_system = FileSystem()
#: What SQLite puts beside a file while it writes to it.
_BESIDE = ("", "-journal", "-wal", "-shm")


@contextmanager
def whole_file(path: Path, *, force: bool) -> Iterator[Path]:
    """
    Give an empty file (0600) in the folder of *path*; when the block has ended it is synced and gets that name.

    The name, too, survives a power cut then. If the block raises, nothing is left. Raises `FileExistsError` where
    *path* is there already and may not be written over by *force*; what the system raises beyond that.
    """
    if not force and os.path.lexists(path):
        raise FileExistsError(17, "is there already", str(path))
    # Of this process alone: another one that writes the same file is in nobody's way.
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    _remove(part)
    _system.close(_system.open(str(part), os.O_WRONLY | os.O_CREAT | os.O_EXCL))
    try:
        yield part
        fd = _system.open(str(part), os.O_RDWR)
        try:
            _system.sync_data(fd)
        finally:
            _system.close(fd)
        _name(part, path, force=force)
        _system.sync_folder(str(path.parent))
    finally:
        _remove(part)


def _name(part: Path, path: Path, *, force: bool) -> None:
    if force:
        part.replace(path)
        return
    try:
        path.hardlink_to(part)  # unlike a rename it never takes the place of a file that came meanwhile
    except FileExistsError:
        raise
    except OSError:
        if os.path.lexists(path):
            raise
        part.rename(path)  # a file system without links


def _remove(part: Path) -> None:
    for suffix in _BESIDE:
        with suppress(FileNotFoundError):
            part.with_name(part.name + suffix).unlink()
