"""
The file and the connections to it: where it may lie, and how it is opened.
"""

from __future__ import annotations

import os
import sqlite3
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal
from urllib.parse import quote

from backlog_store.backends.faults import system_error
from backlog_store.backends.fs import FileSystem
from backlog_store.backends.places import prepare_folder
from backlog_store.backends.sqlite import schema, words
from backlog_store.backends.sqlite.faults import ENGINE_ERRORS, NAME, backend_error
from backlog_store.errors import BackendError, ConfigError

__all__ = ["RESET_BUG_FIXED", "Synchronous", "connect", "has_reset_bug", "prepare", "sync_log"]

Synchronous = Literal["FULL", "NORMAL"]
#: Releases from which on a checkpoint and a commit at the same instant cannot corrupt the file; two older lines got the
#: mend as well. See https://www.sqlite.org/wal.html#walresetbug.
RESET_BUG_FIXED = ((3, 44, 6), (3, 50, 7), (3, 51, 3))
#: Memory for pages (KiB): a writer goes back and forth in the indexes, a reader reads a page once.
_WRITER_CACHE_KIB = 16_384
_STATEMENTS_KEPT = 256
_system = FileSystem()


def has_reset_bug(version: tuple[int, ...] = sqlite3.sqlite_version_info) -> bool:
    """
    Tell whether this SQLite needs writers and checkpoints to be kept apart.
    """
    return version < RESET_BUG_FIXED[-1] and not any(
        fixed <= version < (fixed[0], fixed[1] + 1, 0) for fixed in RESET_BUG_FIXED
    )


def prepare(path: str) -> None:
    """
    Make the file and its folder if they are absent, for their owner alone.

    Raises `ConfigError` for a place where no store may lie, `BackendUnavailable` and `StorageFull`.
    """
    folder = Path(path).parent
    missing = prepare_folder(folder, backend=NAME, create=True)
    with _system_errors(path):
        for place in missing:
            _system.make_folder(str(place))
            _system.sync_folder(str(place.parent))
        try:
            # SQLite gives the files beside this one the same mode.
            _system.close(_system.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            # Not opened here: closing any descriptor of it would drop this process's locks on it (POSIX).
            _require_plain_file(path)
        else:
            _system.sync_folder(str(folder))


def sync_log(path: str) -> None:
    """
    Sync the log that was found beside the file; the caller holds the lock, so nobody writes to it.

    A process that was killed between writing its last transaction and syncing it leaves one that SQLite takes for
    committed. Somebody is going to rely on it from now on, perhaps without ever writing.
    """
    log = f"{path}-wal"
    try:
        if not _system.stat(log).st_size:
            return
    except FileNotFoundError:
        return
    with _system_errors(path):
        fd = _system.open(log, os.O_RDWR)  # no lock is taken on this file, so closing it drops none
        try:
            _system.sync_data(fd)
        finally:
            _system.close(fd)


def connect(path: str, *, synchronous: Synchronous, busy_timeout_s: float, writes: bool) -> sqlite3.Connection:
    """
    Open a connection with every setting made; only one that *writes* makes or changes the schema.

    The caller holds the lock while one that writes is opened. Raises `BackendError` and what `schema` raises.
    """
    try:
        return _connect(path, synchronous, busy_timeout_s, writes=writes)
    except ENGINE_ERRORS as error:
        raise backend_error("opening", path, error) from error
    except OSError as error:  # of a file of this program, which the schema is read from
        raise system_error(NAME, "opening", str(error.filename or path), error) from error


def _connect(path: str, synchronous: Synchronous, busy_timeout_s: float, *, writes: bool) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"file:{quote(path)}?mode=rw",  # never made here: a file that vanished is an error
        uri=True,
        timeout=busy_timeout_s,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=_STATEMENTS_KEPT,
    )
    try:
        # A checkpoint is ours to begin, under the lock.
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        connection.execute(f"PRAGMA synchronous = {synchronous}")
        if sys.platform == "darwin":
            # A plain fsync there leaves bytes in the drive's cache.
            connection.execute("PRAGMA fullfsync = ON")
            connection.execute("PRAGMA checkpoint_fullfsync = ON")
        words.register(connection)
        if writes:
            connection.execute(f"PRAGMA cache_size = -{_WRITER_CACHE_KIB}")
            connection.execute("PRAGMA temp_store = MEMORY")
            connection.execute("CREATE TEMP TABLE purged (position INTEGER PRIMARY KEY) STRICT")  # see rows.py
            _make_ready(connection, path)
        else:
            connection.execute("PRAGMA query_only = ON")
    except BaseException:
        connection.close()
        raise
    return connection


def _make_ready(connection: sqlite3.Connection, path: str) -> None:
    change = schema.needs_change(connection, path)  # before anything is written: it may be another program's file
    mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
    if mode != "wal":
        hint = "The file system cannot share memory between processes; use a local disk."
        raise BackendError(NAME, "opening", f"write-ahead logging cannot be used for {path} (mode {mode})", hint=hint)
    if not change:
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        schema.upgrade(connection)
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def _require_plain_file(path: str) -> None:
    mode = _system.stat(path).st_mode
    if stat.S_ISLNK(mode):
        raise ConfigError("path", path, "it is a symlink, and none is followed", hint="Name the file it leads to.")
    if not stat.S_ISREG(mode):
        raise ConfigError("path", path, "it is no file", hint="Name a file; it is made if it is not there.")


@contextmanager
def _system_errors(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise system_error(NAME, "opening", str(error.filename or path), error) from error
