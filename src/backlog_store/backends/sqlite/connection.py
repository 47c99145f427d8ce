"""
The file and the connections to it: where it may lie, how it is opened, and the lock beside it.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal
from urllib.parse import quote

from backlog_store.backends.fs import FileSystem
from backlog_store.backends.places import prepare_folder
from backlog_store.backends.sqlite import schema, words
from backlog_store.backends.sqlite.faults import ENGINE_ERRORS, NAME, backend_error
from backlog_store.errors import BackendError, BackendUnavailable, ConfigError, StorageFull

if sys.platform == "win32":
    fcntl = None
else:
    import fcntl

__all__ = ["RESET_BUG_FIXED", "Synchronous", "connect", "has_reset_bug", "is_linked", "lock", "open_lock",
           "prepare", "sync_log", "unlock"]  # fmt: skip

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


def open_lock(path: str) -> int:
    """
    Open the lock file beside the store. It stays there, empty, for ever.
    """
    with _system_errors(path):
        return _system.open(f"{path}-lock", os.O_RDWR | os.O_CREAT)


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


def lock(fd: int, path: str, *, timeout_s: float) -> None:
    """
    Take the store's lock: one process writes or checkpoints at a time. Raises `BackendUnavailable` after the time-out.

    SQLite has its own lock for writers, but a checkpoint does not take it in every case, which the versions with the
    reset bug do not survive; and it lets waiting processes sleep for up to 100 ms, this one for 5.
    """
    if fcntl is not None:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            pass  # most likely it is held; the slow way tells
        else:
            return
    try:
        locked = _system.lock(fd, exclusive=True, timeout_s=timeout_s)
    except OSError as error:
        raise _from_system("lock", path, error) from error
    if not locked:
        reason = f"it is locked by another process, for more than {timeout_s:g} s ({path})"
        hint = "Try again; a program that holds it for long should be closed."
        raise BackendUnavailable(NAME, "write", reason, hint=hint)


def is_linked(fd: int, path: str) -> bool:
    """
    Tell whether the lock file is still there: somebody may have tidied it away, and others lock a new one.

    Where that cannot be told, the lock is let go of and the error is a `BackendError`.
    """
    try:
        return _system.is_linked(fd)
    except OSError as error:
        unlock(fd)
        raise _from_system("lock", path, error) from error


def unlock(fd: int) -> None:
    """
    Let go of the store's lock.
    """
    if fcntl is not None:
        fcntl.flock(fd, fcntl.LOCK_UN)
    else:
        _system.unlock(fd)


def connect(path: str, *, synchronous: Synchronous, busy_timeout_s: float, writes: bool) -> sqlite3.Connection:
    """
    Open a connection with every setting made; only one that *writes* makes or changes the schema.

    The caller holds the lock while one that writes is opened. Raises `BackendError` and what `schema` raises.
    """
    try:
        return _connect(path, synchronous, busy_timeout_s, writes=writes)
    except ENGINE_ERRORS as error:
        raise backend_error("opening", path, error) from error


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
        raise _from_system("opening", path, error) from error


def _from_system(operation: str, path: str, error: OSError) -> BackendError:
    if error.errno in {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}:
        return StorageFull(NAME, operation, path=path)
    hint = "The file and its folder must be writable by this user."
    return BackendUnavailable(NAME, operation, f"{error.strerror}: {error.filename or path}", hint=hint)
