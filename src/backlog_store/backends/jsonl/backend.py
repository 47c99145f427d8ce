"""
The jsonl backend: transactions over a journal, for the threads of a process and for many processes.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

from backlog_store.backends.fs import FileSystem
from backlog_store.backends.jsonl.faults import NAME, backend_error
from backlog_store.backends.jsonl.files import FileLock, Paths, make_folders
from backlog_store.backends.jsonl.health import look_at
from backlog_store.backends.jsonl.journal import Journal
from backlog_store.backends.places import prepare_folder
from backlog_store.backends.port import NO_HINT, Capabilities, Health, Hint, Reader, Writer
from backlog_store.backends.state import Effect
from backlog_store.backends.transaction import View, transact
from backlog_store.errors import BackendError, BackendUnavailable, ConfigError
from backlog_store.forks import ForkAware, follow

__all__ = ["JsonlBackend", "open_jsonl"]

T = TypeVar("T")

#: A journal is compacted when it is longer than twice what it amounts to, and this many bytes more.
COMPACT_SLACK = 16 * 1024 * 1024


def open_jsonl(
    folder: str | Path,
    *,
    create: bool = True,
    lock_timeout_s: float = 30.0,
    compact_slack: int = COMPACT_SLACK,
    fs: FileSystem | None = None,
) -> JsonlBackend:
    """
    Open the store in *folder*, making it (0700, its files 0600) if it is not there and *create* allows it.

    *lock_timeout_s* is how long to wait for other processes, *compact_slack* how many bytes of outdated transactions
    a journal may hold beside twice its live ones. Raises `ConfigError` for a folder that cannot hold a store,
    `DataCorrupt`, `SchemaMismatch`, `BackendUnavailable`, `StorageFull`.
    """
    if not isinstance(lock_timeout_s, int | float) or not 0 <= lock_timeout_s <= 86_400:
        raise ConfigError("lock_timeout_s", str(lock_timeout_s), "out of range", hint="0 to 86400 seconds.")
    if not isinstance(compact_slack, int) or compact_slack < 0:
        raise ConfigError("compact_slack", str(compact_slack), "out of range", hint="A number of bytes, 0 or more.")
    return JsonlBackend(
        Path(folder).absolute(), create=create, lock_timeout_s=lock_timeout_s, compact_slack=compact_slack,
        fs=fs or FileSystem(),
    )  # fmt: skip


class JsonlBackend(ForkAware):
    """
    A store in a folder. One function writes at a time, in whatever process; readers see what is committed and durable.
    """

    def __init__(
        self, folder: Path, *, create: bool, lock_timeout_s: float, compact_slack: int, fs: FileSystem
    ) -> None:
        self._is_closed = False
        self._fs = fs
        self._paths = Paths(folder)
        self._lock_timeout_s = lock_timeout_s
        self._compact_slack = compact_slack
        self._compact_from = 0  # after a compaction that failed: not again before the journal is so long
        self._compact_failure = ""
        self._begin()
        missing = prepare_folder(folder, backend=NAME, create=create)
        try:
            self._open(missing, create=create)
        except BaseException:
            self._let_go()
            raise
        follow(self)

    @property
    def capabilities(self) -> Capabilities:
        """
        Return what this backend claims.
        """
        return Capabilities(name=NAME, durable=True, shared=True)

    def read(self, fn: Callable[[Reader], T], /) -> T:
        """
        Run *fn* on one consistent view and return what it returned.
        """
        with self._lock:
            journal = self._usable("read")
            # Inside another function of this thread nothing may change; its view is this one's, too.
            if not journal.busy:
                if journal.has_news():
                    with self._file_lock.held(exclusive=False):
                        journal.refresh(exclusive=False)
                journal.settle()
            journal.busy += 1
            try:
                return fn(View(journal.state))
            finally:
                journal.busy -= 1

    def write(self, fn: Callable[[Writer], T], /, *, hint: Hint = NO_HINT) -> T:  # noqa: ARG002  (nothing to fetch)
        """
        Run *fn* in one transaction and return what it returned, once its effects are durable.

        Raises `InvalidInput` for more than 8 MiB of effects, `StorageFull`, `BackendUnavailable`, `OutcomeUnknown`.
        """
        with self._lock:
            journal = self._usable("write")
            if journal.busy:
                raise BackendError(
                    NAME, "write", "a write was begun inside a function of the same store",
                    hint="Apply all changes through one writer.",
                )  # fmt: skip
            file_lock = self._file_lock
            locked = file_lock.acquire(exclusive=True)
            journal.busy += 1
            try:
                journal.refresh(exclusive=True)
                answer = transact(journal.state, NAME, fn, partial(self._commit, journal))
                journal.settle()
                if journal.end >= journal.longest():
                    self._compact_if_due(journal)
                return answer
            except BaseException as error:
                if not isinstance(error, Exception):
                    journal.let_go()  # an interrupt may have come between any two steps: take everything in anew
                raise
            finally:
                journal.busy -= 1
                file_lock.release(locked)

    def compact(self) -> None:
        """
        Replace the journal by the shortest one of the same state. Raises `StorageFull`, `BackendUnavailable`.
        """
        with self._lock:
            journal = self._usable("compact")
            with self._file_lock.held(exclusive=True):
                journal.refresh(exclusive=True)
                journal.compact()

    def check(self) -> Health:
        """
        Read the whole journal again, verify each line, and say what was found, cut away or left to do.
        """
        with self._lock:
            if self._is_closed:
                return Health(ok=False, backend=NAME, problems=("the store was closed",))
            return look_at(self._journal, self._file_lock, compact_failure=self._compact_failure)

    def close(self) -> None:
        """
        Let go of the files, and of the space reserved in them unless another process is at work. Idempotent.
        """
        with self._lock:
            if not self._is_closed:
                self._is_closed = True
                self._give_back()
                self._let_go()

    def __del__(self, is_finalizing: Callable[[], bool] = sys.is_finalizing) -> None:
        # A store that was forgotten keeps no file open. When the interpreter ends, the modules that would close them
        # may be gone before (so this asks by a name of its own), and the system closes them.
        if not self._is_closed and not is_finalizing():
            self._let_go()

    # The steps of the above.

    def _begin(self) -> None:
        self._lock = threading.RLock()
        self._journal = Journal(self._paths, self._fs, slack=self._compact_slack)
        self._file_lock = FileLock(self._fs, self._paths.lock, timeout_s=self._lock_timeout_s)

    def _open(self, missing: Sequence[Path], *, create: bool) -> None:
        try:
            make_folders(self._fs, missing)
        except OSError as error:
            raise backend_error("creating the store", self._paths.folder, error) from error
        if not self._journal.exists():
            if not create:
                raise BackendUnavailable(
                    NAME, "opening", f"there is no store in {self._paths.folder}", hint="Check the path."
                )
            with self._file_lock.held(exclusive=True):
                if not self._journal.exists():
                    self._journal.create()
        with self._file_lock.held(exclusive=False):
            self._journal.refresh(exclusive=False)

    def _give_back(self) -> None:
        journal = self._journal
        if journal.busy or not journal.has_reserved:
            return
        try:
            locked = self._file_lock.acquire(exclusive=True, timeout_s=0)
            try:
                journal.cut_reserve()
            finally:
                self._file_lock.release(locked)
        except BackendError:
            return  # it is filler, which does no harm, and all that was acknowledged is safe

    def _let_go(self) -> None:
        for part in (self._journal, self._file_lock):
            try:
                part.let_go()
            except OSError:
                # All that is acknowledged was synced: a close can neither add to it nor take from it.
                continue

    def _usable(self, operation: str) -> Journal:
        if self._is_closed:
            raise BackendUnavailable(NAME, operation, "the store was closed", hint="Open it again.")
        if self._journal.stopped:
            raise BackendUnavailable(
                NAME, operation, f"the store has stopped: {self._journal.stopped}",
                hint="Look at the disk and the system's log, then open the store again.",
            )  # fmt: skip
        return self._journal

    def _commit(self, journal: Journal, effects: Sequence[Effect]) -> None:
        if journal is not self._journal:
            raise BackendUnavailable(
                NAME, "write", "the process was forked inside the transaction", hint="Write again in the child."
            )
        journal.append(effects)

    def _compact_if_due(self, journal: Journal) -> None:
        if journal.end < self._compact_from:
            return
        try:
            journal.compact()
            self._compact_failure, self._compact_from = "", 0
        except BackendError as error:
            # The write before it is done and acknowledged; `check` tells, and the next attempt is a while away.
            self._compact_failure, self._compact_from = str(error), 2 * journal.end

    def after_fork_in_child(self) -> None:
        """
        Leave files and locks to the parent, open own ones when next used.
        """
        self._let_go()
        self._begin()
