"""
A copy of a store as it is: one file, page by page from one snapshot, while others go on writing.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import quote

from backlog_store.backends.keeping import CopyForm, Watch
from backlog_store.backends.port import Backend, Reader
from backlog_store.backends.sqlite import schema, words
from backlog_store.backends.sqlite.audit import audit_view
from backlog_store.backends.sqlite.faults import NAME, backend_error
from backlog_store.backends.sqlite.reader import SqliteReader
from backlog_store.errors import BackendError

__all__ = ["FORM", "is_copy"]

_MAGIC = b"SQLite format 3\0"
#: Copied between two looks at the progress: 16 MiB of pages of 4 KiB.
_PAGES = 4_096


def is_copy(start: bytes) -> bool:
    """
    Tell whether a file that begins with these bytes is of SQLite.
    """
    return start.startswith(_MAGIC)


def _copy(backend: Backend, file: Path, watch: Watch) -> Sequence[str]:
    """
    Copy the store into *file*, which is there and empty. Raises `BackendError`.
    """

    def run(reader: Reader) -> None:
        if not isinstance(reader, SqliteReader):
            raise BackendError(NAME, "copying", "the backend hands out readers of its own")
        source = reader._connection
        # The first read takes the snapshot; while it is held, no writer makes the copy begin anew.
        source.execute("SELECT words_mark FROM marks").fetchone()
        with closing(sqlite3.connect(file, isolation_level=None)) as target:
            # Who asked for the file syncs it as a whole.
            target.execute("PRAGMA synchronous = OFF")
            source.backup(
                target, pages=_PAGES, progress=lambda _, left, total: watch("pages copied", total - left, total)
            )
            # So that the file is whole by itself, without a log beside it; opening it as a store turns that back.
            target.execute("PRAGMA journal_mode = DELETE")

    try:
        backend.read(run)
    except sqlite3.Error as error:
        raise backend_error("copying", str(file), error) from error
    return ()


@contextmanager
def _reading(file: Path) -> Iterator[Reader]:
    """
    Open a copy for reading; nothing is written, neither to it nor beside it.
    """
    path = str(file)
    if os.path.exists(f"{path}-wal") and os.path.getsize(f"{path}-wal"):  # noqa: PTH110, PTH202  (a suffix, no path)
        raise BackendError(
            NAME, "reading", f"a log lies beside {path}: it is a store in use, not a copy of one",
            hint="Copy a store with `backlog backup`, or move it with `backlog migrate --from`.",
        )  # fmt: skip
    url = f"file:{quote(path)}?mode=ro&immutable=1"
    try:
        with closing(sqlite3.connect(url, uri=True, isolation_level=None)) as copy:
            schema.needs_change(copy, path)
            words.register(copy)
            copy.execute("BEGIN")
            reader = SqliteReader(copy, path)
            try:
                yield reader
            finally:
                reader.is_over = True
    except sqlite3.Error as error:
        raise backend_error("reading", path, error) from error


FORM = CopyForm(scheme=NAME, copy=_copy, reading=_reading, audit=audit_view, store_file=lambda place: place)
