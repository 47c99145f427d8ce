"""
The SQLite backend: one connection that writes, a few that read, and the log between them.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from backlog_store.backends.port import NO_HINT, Capabilities, Health, Hint, Reader, Writer
from backlog_store.backends.sqlite.connection import Synchronous, connect, prepare, sync_log
from backlog_store.backends.sqlite.faults import NAME, backend_error, is_sync_lost
from backlog_store.backends.sqlite.filelock import FileLock
from backlog_store.backends.sqlite.glance import is_small
from backlog_store.backends.sqlite.health import Findings, log_size
from backlog_store.backends.sqlite.pool import Pool
from backlog_store.backends.sqlite.reader import CatchUp, SqliteReader
from backlog_store.errors import BackendError, BackendUnavailable, ConfigError, OutcomeUnknown
from backlog_store.forks import ForkAware, follow

if TYPE_CHECKING:
    from backlog_store.backends.sqlite.writer import SqliteWriter

__all__ = ["SqliteBackend", "open_sqlite"]

T = TypeVar("T")

#: The log is written back to the file when this store wrote about so many pages (4 KiB) to it. Four times SQLite's own
#: choice: keys are random, and a page that changed often is then written back once.
_CHECKPOINT_PAGES = 4_000
#: Pages that a change alone touches in tables and indexes, and one of many in a transaction, about.
_PAGES_ALONE = 8
_PAGES_AMONG_OTHERS = 2
#: A log of this size is written back at close, whoever wrote it.
_CHECKPOINT_BYTES = 4 * 1024 * 1024
_LAG = "The index of words, or the counts, could not catch up"
_LOG = "The log could not be written back"


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
    if not isinstance(busy_timeout_s, int | float) or not 0 <= busy_timeout_s <= 86_400:
        raise ConfigError("busy_timeout_s", str(busy_timeout_s), "out of range", hint="0 to 86400 seconds.")
    return SqliteBackend(
        str(Path(name).absolute()),
        synchronous=synchronous,
        busy_timeout_s=busy_timeout_s,
        check_integrity=check_integrity,
    )


class SqliteBackend(ForkAware):
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
        self._writer: sqlite3.Connection | None = None
        self._readers = Pool(self._connect_reader)
        self._lock = FileLock(path)
        self._pages = 0  # written to the log since it was last written back, about
        self._refusal: BackendError | None = None  # why nothing is done any longer
        self._complaints: dict[str, str] = {}  # what can wait, and did not work
        self._open()
        follow(self)

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
        self._require_usable()
        readers = self._readers
        connection = readers.take()
        reader = SqliteReader(connection, self._path)
        lagging: tuple[CatchUp, ...] = ()
        try:
            self._begin(connection, "BEGIN")
            answer = fn(reader)
            lagging = reader.lagging()
        finally:
            reader.is_over = True
            readers.give_back(connection)
        if lagging:
            self._catch_up(lagging)
        return answer

    def write(self, fn: Callable[[Writer], T], /, *, hint: Hint = NO_HINT) -> T:
        """
        Run *fn* once in one transaction, after waiting for its turn, and return once it is on disk.
        """
        self._enter("write", timeout_s=self._busy_timeout_s)
        try:
            return self._transact(self._open_writer(), fn, timeout_s=self._busy_timeout_s, hint=hint)
        finally:
            self._leave()

    def check(self) -> Health:
        """
        Look at the file, its log and the disk; with `check_integrity`, at every page.
        """
        found = Findings(self._path, self._synchronous)
        try:
            self._require_usable()
            found.look_at_files()
            connection = self._readers.take()
            try:
                found.look_inside(connection, every_page=self._check_integrity)
            finally:
                self._readers.give_back(connection)
        except (BackendError, OSError) as error:
            found.problems.append(str(error))
        found.warnings += [f"{what}: {why}" for what, why in self._complaints.items()]
        return Health(
            ok=not found.problems,
            backend=NAME,
            problems=tuple(found.problems),
            warnings=tuple(found.warnings),
            facts=found.facts,
        )

    def close(self) -> None:
        """
        Let go of the file. Idempotent.
        """
        with self._gate:
            if self._writer is None and not self._lock.is_open:
                return
            self._refusal = BackendUnavailable(NAME, "use", "the store was closed", hint="Open it again.")
            locked = True
            try:
                # Whoever closes last writes the log back, and that, like each checkpoint, belongs under the lock.
                self._lock.acquire(timeout_s=self._busy_timeout_s)
            except BackendError:
                locked = False  # then somebody else is there, and will be the last
            try:
                self._readers.close()
                if self._writer is not None:
                    if locked and log_size(self._path) >= _CHECKPOINT_BYTES:
                        self._checkpoint(self._writer)
                    self._writer.close()
                    self._writer = None
            finally:
                self._lock.close()  # and with it the lock

    # Opening.

    def _open(self) -> None:
        prepare(self._path)
        try:
            self._lock.acquire(timeout_s=self._busy_timeout_s)
            if self._synchronous == "FULL":
                sync_log(self._path)
            self._writer = self._connect(writes=True)
            self._lock.release()
        except BaseException:
            self._lock.close()
            raise

    def _connect(self, *, writes: bool) -> sqlite3.Connection:
        return connect(self._path, synchronous=self._synchronous, busy_timeout_s=self._busy_timeout_s, writes=writes)

    def _connect_reader(self) -> sqlite3.Connection:
        if self._writer is None:  # closed by a fork
            self._enter("read", timeout_s=self._busy_timeout_s)
            try:
                self._open_writer()
            finally:
                self._leave()
        return self._connect(writes=False)

    def _open_writer(self) -> sqlite3.Connection:
        """
        Return the connection that writes, opened anew where a fork has closed it. The caller is in the gate.
        """
        if self._refusal is not None:
            raise self._refusal
        if self._writer is None:
            self._open()
        if self._writer is None:
            raise AssertionError("opened above")
        return self._writer

    def _require_usable(self) -> None:
        if self._refusal is not None:
            raise self._refusal

    # Taking turns.

    def _enter(self, operation: str, *, timeout_s: float) -> None:
        if self._refusal is not None:
            raise self._refusal
        thread = threading.get_ident()
        if self._owner == thread:
            hint = "Apply all changes through one writer."
            raise BackendError(NAME, operation, "a write was begun inside a write", hint=hint)
        if not self._gate.acquire(timeout=timeout_s):
            reason = f"another thread has been writing for more than {timeout_s:g} s"
            raise BackendUnavailable(NAME, operation, reason, hint="Try again; keep transactions short.")
        self._owner = thread

    def _leave(self) -> None:
        self._owner = 0
        self._gate.release()

    # Writing.

    def _transact(
        self, connection: sqlite3.Connection, fn: Callable[[SqliteWriter], T], *, timeout_s: float, hint: Hint = NO_HINT
    ) -> T:
        """
        Run *fn* and commit, under the lock between processes. The caller is in the gate.
        """
        from backlog_store.backends.sqlite.writer import SqliteWriter  # who only reads needs none of it

        self._lock.acquire(timeout_s=timeout_s)
        writer = SqliteWriter(connection, self._path)
        try:
            self._begin(connection, "BEGIN IMMEDIATE")
            if is_small(hint):
                writer.look_ahead(hint)
            answer = fn(writer)
            writer.finish()
            self._commit(connection)
            if writer.changed:
                self._pages += _PAGES_ALONE + _PAGES_AMONG_OTHERS * (writer.changed - 1)
                if self._pages >= _CHECKPOINT_PAGES:
                    self._checkpoint(connection)
        except BaseException as error:
            if isinstance(error.__cause__, sqlite3.Error) and is_sync_lost(error.__cause__):
                self._refuse(error)
            raise
        else:
            return answer
        finally:
            writer.is_over = True
            if connection is self._writer:  # or this is a child that was forked inside fn: then all is its parent's
                if connection.in_transaction:
                    self._roll_back(connection)
                self._lock.release()

    def _begin(self, connection: sqlite3.Connection, statement: str) -> None:
        try:
            connection.execute(statement)
        except sqlite3.Error as error:
            raise backend_error("begin", self._path, error) from error

    def _commit(self, connection: sqlite3.Connection) -> None:
        try:
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            if not is_sync_lost(error):
                raise backend_error("commit", self._path, error) from error
            # The end of the transaction may be in the log or not, and only the next opening will see.
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
            self._refusal = BackendUnavailable(NAME, "use", reason, hint="Look at the disk, then open the store again.")

    def _checkpoint(self, connection: sqlite3.Connection) -> None:
        """
        Write the log back to the file, as far as no reader needs it. The caller holds the lock.
        """
        self._pages = 0
        try:
            # FULL takes SQLite's own lock for writers too; a reader in the way is left alone, not waited for.
            connection.execute("PRAGMA busy_timeout = 0")
            connection.execute("PRAGMA wal_checkpoint(FULL)").fetchone()
            connection.execute(f"PRAGMA busy_timeout = {int(self._busy_timeout_s * 1_000)}")
            self._complaints.pop(_LOG, None)
        except sqlite3.Error as error:
            # What was committed is safe in the log, and stays there until there is room. A failing disk gets no more.
            self._complaints[_LOG] = str(error)
            if is_sync_lost(error):
                self._refuse(error)

    def _catch_up(self, lagging: Sequence[CatchUp]) -> None:
        """
        Let what is kept behind catch up if nobody writes just now. It is only a help: a failure shows in `check`.
        """
        try:
            self._enter("write", timeout_s=0)
        except BackendError:
            return  # somebody in this process writes: the next one will try again
        try:
            self._transact(self._open_writer(), lambda writer: writer.catch_up(*lagging), timeout_s=0)
            self._complaints.pop(_LAG, None)
        except BackendUnavailable:
            pass  # so does somebody in another process
        except BackendError as error:
            self._complaints[_LAG] = str(error)
        finally:
            self._leave()

    # Forks. SQLite's locks belong to the process that took them, while its own notes about them are copied by a fork: a
    # child that used inherited connections, or opened new ones beside them, would write without a lock
    # (https://www.sqlite.org/howtocorrupt.html#_carrying_an_open_database_connection_across_a_fork_).

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
        self._lock.close()  # the parent's lock is not given up by this
        writer, readers = self._writer, self._readers
        self._writer, self._readers = None, Pool(self._connect_reader)
        self._gate = threading.Lock()
        is_inside, self._owner = bool(self._owner), self._owner if self._owner == threading.get_ident() else 0
        if self._owner:
            self._gate.acquire()  # this thread will leave it
        if is_inside or readers.busy:
            reason = "the process was forked while the store was in use"
            hint = "Fork between transactions, or before the store is opened."
            self._refusal = BackendUnavailable(NAME, "use", reason, hint=hint)
            _abandoned.append((writer, readers))
        else:
            readers.close()
            if writer is not None:
                writer.close()


#: Connections of a parent process that must be neither used nor closed.
_abandoned: list[object] = []
