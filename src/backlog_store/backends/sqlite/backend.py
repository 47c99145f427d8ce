"""
The SQLite backend: one connection that writes, a few that read, and the log between them.
"""

from __future__ import annotations

import os
import sqlite3
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from shutil import disk_usage
from typing import TypeVar

from backlog_store.backends.port import NO_HINT, Capabilities, Health, Hint, Reader, Writer
from backlog_store.backends.sqlite import forks, schema, words
from backlog_store.backends.sqlite.connection import (
    Synchronous,
    connect,
    file_lock,
    has_reset_bug,
    open_lock,
    prepare,
)
from backlog_store.backends.sqlite.faults import NAME, backend_error, is_sync_lost
from backlog_store.backends.sqlite.reader import SqliteReader
from backlog_store.backends.sqlite.writer import SqliteWriter
from backlog_store.errors import BackendError, BackendUnavailable, ConfigError, OutcomeUnknown

__all__ = ["SqliteBackend", "open_sqlite"]

T = TypeVar("T")

#: The log is written back to the file when this store wrote about so many pages (4 KiB) to it, as SQLite does itself.
_CHECKPOINT_PAGES = 1_000
#: Pages that a change touches in tables and indexes, about.
_PAGES_A_CHANGE = 8
#: A log of this size is written back at close, whoever wrote it.
_CHECKPOINT_BYTES = 4 * 1024 * 1024
#: A log of this size, or so little room, is worth a warning.
_LARGE_LOG_BYTES = 64 * 1024 * 1024
_LITTLE_ROOM_BYTES = 64 * 1024 * 1024
#: Connections kept open for reading; more than so many readers at a time open their own.
_IDLE_MAX = 8
#: A search that had to look at more items than this lets the index of words catch up.
_LAG_MAX = 64


def open_sqlite(
    path: str | Path, *, synchronous: Synchronous = "FULL", busy_timeout_s: float = 5.0, check_integrity: bool = False
) -> SqliteBackend:
    """
    Open the store in the file *path*, or make it (file 0600, folder 0700).

    ``synchronous="NORMAL"`` is up to four times faster and loses the last writes at a power cut. A store that others
    hold is waited for up to *busy_timeout_s*. With *check_integrity* `check` reads every page.

    Raises `ConfigError` (a setting, or a place where no store may lie), `BackendUnavailable`, `SchemaMismatch`,
    `DataCorrupt`, `StorageFull`.
    """
    name = os.fspath(path)
    if not name or name.startswith(":memory:"):
        raise ConfigError("path", name, "a store in memory is no SQLite store", hint="Use memory:// for that.")
    if synchronous not in {"FULL", "NORMAL"}:
        raise ConfigError("synchronous", str(synchronous), "no such mode", hint="One of FULL (safe), NORMAL.")
    if not 0 <= busy_timeout_s <= 86_400:
        raise ConfigError("busy_timeout_s", str(busy_timeout_s), "out of range", hint="0 to 86400 seconds.")
    return SqliteBackend(
        str(Path(name).absolute()),
        synchronous=synchronous,
        busy_timeout_s=busy_timeout_s,
        check_integrity=check_integrity,
    )


class SqliteBackend:
    """
    A store in one SQLite file. Several threads and processes may use it at the same time; one of them writes.
    """

    def __init__(self, path: str, *, synchronous: Synchronous, busy_timeout_s: float, check_integrity: bool) -> None:
        self._path = path
        self._synchronous: Synchronous = synchronous
        self._busy_timeout_s = busy_timeout_s
        self._check_integrity = check_integrity
        self._gate = threading.Lock()  # held by the thread that writes, opens or closes
        self._owner = 0  # that thread
        self._idle: list[sqlite3.Connection] = []
        self._busy = 0  # readers at work
        self._counting = threading.Lock()
        self._writer: sqlite3.Connection | None = None
        self._lock_fd = -1
        self._pages = 0  # written to the log since it was last written back, about
        self._refusal: BackendError | None = None  # why nothing is done any longer
        self._lag_error = ""
        with self._gated("opening"):
            self._open()
        forks.follow(self)

    @property
    def capabilities(self) -> Capabilities:
        """
        Return what this backend claims. With ``synchronous="NORMAL"`` it does not survive power cuts, and says so.
        """
        return Capabilities(name=NAME, durable=self._synchronous == "FULL", shared=True)

    def read(self, fn: Callable[[Reader], T], /) -> T:
        """
        Run *fn* in one deferred transaction: what it reads first decides what it sees throughout.
        """
        connection = self._take_reader()
        reader = SqliteReader(connection, self._path)
        lag = 0
        try:
            with self._mapped("read"):
                connection.execute("BEGIN")
            answer = fn(reader)
            if reader.searched_words:
                lag = words.pending(connection)
        finally:
            reader.is_over = True
            self._give_back(connection)
        if lag > _LAG_MAX:
            self._catch_up()
        return answer

    def write(self, fn: Callable[[Writer], T], /, *, hint: Hint = NO_HINT) -> T:  # noqa: ARG002  (nothing is far away)
        """
        Run *fn* once in one transaction, after waiting for its turn, and return once it is on disk.
        """
        with self._gated("write"), self._locked() as connection:
            return self._transact(connection, fn)

    def check(self) -> Health:
        """
        Look at the file, its log and the disk; with `check_integrity`, at every page.
        """
        problems: list[str] = [] if self._refusal is None else [str(self._refusal)]
        warnings: list[str] = []
        facts = {"path": self._path, "sqlite": sqlite3.sqlite_version, "synchronous": self._synchronous}
        try:
            self._look_at_files(facts, warnings)
            if self._refusal is None:
                self._look_inside(facts, problems, warnings)
        except (BackendError, OSError) as error:
            problems.append(str(error))
        if self._synchronous != "FULL":
            warnings.append("synchronous=NORMAL: a power cut loses the last writes; open it with FULL to keep them.")
        if self._lag_error:
            warnings.append(f"The index of words could not catch up: {self._lag_error}")
        if has_reset_bug():
            facts["wal_reset_bug"] = "this SQLite has it (mended in 3.51.3); the lock beside the file guards against it"
        return Health(ok=not problems, backend=NAME, problems=tuple(problems), warnings=tuple(warnings), facts=facts)

    def close(self) -> None:
        """
        Let go of the file. Idempotent.
        """
        with self._gate:
            if self._lock_fd < 0:
                return
            closed = BackendUnavailable(NAME, "use", "the store was closed", hint="Open it again.")
            self._refusal = closed
            try:
                # Whoever closes last writes the log back: like each checkpoint, that is done under the lock.
                with suppress(BackendError), file_lock(self._lock_fd, self._path, timeout_s=self._busy_timeout_s):
                    if self._writer is not None and _size(f"{self._path}-wal") >= _CHECKPOINT_BYTES:
                        self._checkpoint(self._writer)
                    self._close_connections()
            finally:
                self._close_connections()
                os.close(self._lock_fd)
                self._lock_fd = -1

    # Opening.

    def _open(self) -> None:
        prepare(self._path)
        self._lock_fd = open_lock(self._path)
        try:
            with file_lock(self._lock_fd, self._path, timeout_s=self._busy_timeout_s):
                self._writer = self._connect(writes=True)
        except BaseException:
            os.close(self._lock_fd)
            self._lock_fd = -1
            raise

    def _connect(self, *, writes: bool) -> sqlite3.Connection:
        return connect(self._path, synchronous=self._synchronous, busy_timeout_s=self._busy_timeout_s, writes=writes)

    def _close_connections(self) -> None:
        while self._idle:
            self._idle.pop().close()
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    # Reading.

    def _take_reader(self) -> sqlite3.Connection:
        with self._counting:
            if self._refusal is not None:
                raise self._refusal
            self._busy += 1
            connection = self._idle.pop() if self._idle else None
        if connection is not None:
            return connection
        try:
            if self._writer is None:
                with self._gated("read"):
                    self._reopen()
            return self._connect(writes=False)
        except BaseException:
            with self._counting:
                self._busy -= 1
            raise

    def _give_back(self, connection: sqlite3.Connection) -> None:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        with self._counting:
            self._busy -= 1
            keep = self._refusal is None and len(self._idle) < _IDLE_MAX
            if keep:
                self._idle.append(connection)
        if not keep:
            connection.close()

    def _catch_up(self) -> None:
        """
        Let the index of words catch up if nobody writes just now. It is only a help: a failure shows in `check`.
        """
        if not self._gate.acquire(blocking=False):
            return
        self._owner = threading.get_ident()
        try:
            with self._locked(timeout_s=0) as connection:
                self._transact(connection, lambda _: words.catch_up(connection))
            self._lag_error = ""
        except BackendUnavailable:
            return  # somebody else writes: the next search will try again
        except (BackendError, sqlite3.Error) as error:
            self._lag_error = str(error)
        finally:
            self._owner = 0
            self._gate.release()

    # Writing.

    @contextmanager
    def _gated(self, operation: str) -> Iterator[None]:
        """
        Let one thread in.
        """
        if self._owner == threading.get_ident():
            hint = "Apply all changes through one writer."
            raise BackendError(NAME, operation, "a write was begun inside a write", hint=hint)
        if not self._gate.acquire(timeout=self._busy_timeout_s):
            reason = f"another thread has been writing for more than {self._busy_timeout_s:g} s"
            raise BackendUnavailable(NAME, operation, reason, hint="Try again; keep transactions short.")
        self._owner = threading.get_ident()
        try:
            yield
        finally:
            self._owner = 0
            self._gate.release()

    @contextmanager
    def _locked(self, *, timeout_s: float | None = None) -> Iterator[sqlite3.Connection]:
        """
        Hold the lock between processes; the caller is in the gate.
        """
        if self._refusal is not None:
            raise self._refusal
        if self._writer is None:
            self._reopen()
        wait_s = self._busy_timeout_s if timeout_s is None else timeout_s
        with file_lock(self._lock_fd, self._path, timeout_s=wait_s):
            if self._writer is None:
                raise AssertionError("opened above")
            yield self._writer

    def _transact(self, connection: sqlite3.Connection, fn: Callable[[SqliteWriter], T]) -> T:
        with self._mapped("write"):
            connection.execute("BEGIN IMMEDIATE")
        writer = SqliteWriter(connection, self._path)
        try:
            answer = fn(writer)
            with self._mapped("write"):
                writer.finish()
        except BaseException as error:
            if isinstance(error.__cause__, sqlite3.Error) and is_sync_lost(error.__cause__):
                self._refuse(error)
            raise
        else:
            self._commit(connection)
        finally:
            writer.is_over = True
            if connection.in_transaction:
                self._roll_back(connection)
        if writer.changed:
            self._pages += _PAGES_A_CHANGE * (1 + writer.changed)
            if self._pages >= _CHECKPOINT_PAGES:
                self._checkpoint(connection)
        return answer

    def _commit(self, connection: sqlite3.Connection) -> None:
        try:
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            if not is_sync_lost(error):
                raise backend_error("commit", self._path, error) from error
            # The end of the transaction may be in the log or not, and only the next opening will see.
            self._refuse(error)
            hint = "Open the store again, then ask again with the same request id."
            raise OutcomeUnknown(NAME, "commit", f"{error} ({self._path})", hint=hint) from error

    def _roll_back(self, connection: sqlite3.Connection) -> None:
        try:
            connection.execute("ROLLBACK")
        except sqlite3.Error as error:
            self._refuse(error)

    def _refuse(self, error: BaseException) -> None:
        """
        Acknowledge nothing any longer: after a failed write or sync the system may have dropped what it had taken.
        """
        if self._refusal is None:
            reason = f"the disk refused an earlier write ({error})"
            hint = "Look at the disk, then open the store again."
            self._refusal = BackendUnavailable(NAME, "use", reason, hint=hint)

    def _checkpoint(self, connection: sqlite3.Connection) -> None:
        """
        Write the log back to the file, as far as no reader needs it. The caller holds the lock.
        """
        # FULL takes SQLite's own lock for writers too; a reader in the way is left alone, not waited for.
        try:
            connection.execute("PRAGMA busy_timeout = 0")
            connection.execute("PRAGMA wal_checkpoint(FULL)").fetchone()
            connection.execute(f"PRAGMA busy_timeout = {int(self._busy_timeout_s * 1_000)}")
            self._pages = 0
        except sqlite3.Error as error:
            # What was committed is safe in the log; but this is no disk to go on writing to.
            self._refuse(error)

    @contextmanager
    def _mapped(self, operation: str) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise backend_error(operation, self._path, error) from error

    # Health.

    def _look_at_files(self, facts: dict[str, str], warnings: list[str]) -> None:
        found = os.stat(self._path)  # noqa: PTH116  (a text, as everywhere here)
        log_bytes = _size(f"{self._path}-wal")
        free_bytes = disk_usage(os.path.dirname(self._path)).free  # noqa: PTH120
        facts |= {"bytes": str(found.st_size), "log_bytes": str(log_bytes), "free_bytes": str(free_bytes)}
        if log_bytes >= _LARGE_LOG_BYTES:
            warnings.append(
                f"The log has {log_bytes} bytes: a reader that never ends keeps it from being written back."
            )
        if free_bytes < _LITTLE_ROOM_BYTES:
            warnings.append(f"Only {free_bytes} bytes are free on the disk.")
        if os.name == "posix" and found.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            warnings.append(f"Others may read or write the file: chmod 600 {self._path}")

    def _look_inside(self, facts: dict[str, str], problems: list[str], warnings: list[str]) -> None:
        connection = self._take_reader()
        try:
            with self._mapped("check"):
                version = schema.read_version(connection)
                facts |= {"schema": str(version), "words_waiting": str(words.pending(connection))}
                if version > schema.SCHEMA:
                    warnings.append("A newer version of backlog-store uses this store too: upgrade this one soon.")
                if self._check_integrity:
                    found = [row[0] for row in connection.execute("PRAGMA quick_check(10)")]
                    facts["integrity"] = ", ".join(found)
                    problems += [] if found == ["ok"] else found
        finally:
            self._give_back(connection)

    # Forks.

    def before_fork(self) -> None:
        """
        Wait for the write that is under way, unless this very thread is in it.
        """
        if self._owner != threading.get_ident():
            self._gate.acquire()

    def after_fork_in_parent(self) -> None:
        """
        Go on.
        """
        if self._owner != threading.get_ident():
            self._gate.release()

    def after_fork_in_child(self) -> None:
        """
        Close what was inherited at rest. What was at work cannot be touched, and no store be opened beside it.
        """
        at_work = self._busy or self._owner
        self._gate, self._counting, self._owner = threading.Lock(), threading.Lock(), 0
        if self._lock_fd >= 0:
            os.close(self._lock_fd)  # the parent's lock is not given up by this
            self._lock_fd = -1
        if at_work:
            reason = "the process was forked while the store was in use"
            hint = "Fork between transactions, or before the store is opened."
            self._refusal = BackendUnavailable(NAME, "use", reason, hint=hint)
            _abandoned.append((self._writer, self._idle))
            self._writer, self._idle = None, []
        else:
            self._close_connections()

    def _reopen(self) -> None:
        """
        Open what a fork has closed. The caller is in the gate.
        """
        if self._writer is None and self._refusal is None:
            self._open()


#: Connections of a parent process that must be neither used nor closed.
_abandoned: list[object] = []


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size  # noqa: PTH116
    except FileNotFoundError:
        return 0
