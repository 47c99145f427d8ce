"""
A copy of a store as it is: its journal up to the last whole transaction, while others go on writing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from backlog_store.backends.fs import FileSystem
from backlog_store.backends.jsonl.backend import JsonlBackend
from backlog_store.backends.jsonl.faults import NAME, backend_error
from backlog_store.backends.jsonl.files import Paths
from backlog_store.backends.jsonl.journal import Journal
from backlog_store.backends.keeping import CopyForm, Watch
from backlog_store.backends.port import Backend, Reader
from backlog_store.backends.transaction import View
from backlog_store.errors import BackendError, DataCorrupt

__all__ = ["FORM", "is_copy"]

_BLOCK = 4 * 1024 * 1024


def is_copy(start: bytes) -> bool:
    """
    Tell whether a file that begins with these bytes is a journal.
    """
    return start.startswith(b'{"sum":"') and b'"format":"backlog-store journal"' in start[:200]


def _copy(backend: Backend, file: Path, watch: Watch) -> Sequence[str]:
    """
    Copy the journal into *file*, which is there and empty. Raises `BackendError`.

    What was once read as committed never changes: no lock is needed for copying it. A compaction meanwhile gives the
    name to another file, and leaves this one as it is to those who have it open.
    """
    if not isinstance(backend, JsonlBackend):
        raise BackendError(NAME, "copying", "the backend is wrapped in another one")
    notes: list[str] = []

    def run(_: Reader) -> None:
        notes.clear()
        journal = backend._journal
        if journal.tail:
            notes.append(f"{journal.tail} bytes at the end are no whole transaction, and were not copied")
        with file.open("wb") as target:
            done = 0
            while done < journal.end:
                block = journal.fs.read(journal._fd, min(_BLOCK, journal.end - done), done)
                if not block:
                    raise DataCorrupt(NAME, path=journal.paths.journal, offset=done, reason="it ends too early")
                target.write(block)
                done += len(block)
                watch("bytes copied", done, journal.end)

    try:
        backend.read(run)
    except OSError as error:
        raise backend_error("copying", str(file), error) from error
    return notes


class _ReadOnly(FileSystem):
    """
    Opens files for reading alone: a copy may lie where nobody may write.
    """

    def open(self, path: str, flags: int) -> int:  # noqa: ARG002  (what is asked for is more)
        return super().open(path, os.O_RDONLY)


@contextmanager
def _reading(file: Path) -> Iterator[Reader]:
    """
    Read a copy, every line of it. Raises `DataCorrupt` for one that is cut or changed.
    """
    paths = Paths(file.parent)
    paths.journal = str(file)
    journal = Journal(paths, _ReadOnly())
    try:
        journal.refresh(exclusive=False)
        if journal.tail:
            raise DataCorrupt(NAME, path=str(file), offset=journal.end, reason="its last line is not whole",
                              hint="Nothing was changed. Take another copy.")  # fmt: skip
        yield View(journal.state)
    finally:
        journal.let_go()


def _audit(reader: Reader, watch: Watch) -> Iterator[str]:  # noqa: ARG001  (of every kind of copy)
    """
    Find nothing: every line was held against its checksum when the copy was opened.
    """
    yield from ()


FORM = CopyForm(
    scheme=NAME, copy=_copy, reading=_reading, audit=_audit, store_file=lambda place: place / "journal.jsonl"
)
