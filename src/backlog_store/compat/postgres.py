"""
The PostgreSQL store of the original interface.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Mapping
from typing import TYPE_CHECKING

from backlog_store.backends.port import Backend
from backlog_store.backends.registry import open_backend
from backlog_store.backlog import Backlog
from backlog_store.clock import Clock, IdSource, system_clock, system_ids
from backlog_store.compat.base import CALLER, BacklogBackedStore
from backlog_store.compat.files import log_taken
from backlog_store.errors import SchemaMismatch
from backlog_store.executors.local import LocalExecutor
from backlog_store.ids import derived

if TYPE_CHECKING:
    from backlog_store.legacy.tables import OldTables

__all__ = ["DEFAULT_DSN", "FOLLOW_S", "PostgresBacklogStore", "dsn_of_environment"]

DEFAULT_DSN = "postgresql://localhost/daarion"
#: How long, in seconds, what an old process writes into the old tables may stay unnoticed by a store in use.
FOLLOW_S = 1.0


def dsn_of_environment(environ: Mapping[str, str] | None = None) -> str:
    """
    Return the DSN that the environment names, or the empty text.
    """
    environ = os.environ if environ is None else environ
    return environ.get("BACKLOG_POSTGRES_DSN") or environ.get("POSTGRES_DSN") or ""


class PostgresBacklogStore(BacklogBackedStore):
    """
    A store in PostgreSQL, for many hosts. *dsn* is a URL or libpq's keywords.

    Without it: ``BACKLOG_POSTGRES_DSN``, else ``POSTGRES_DSN``, else `DEFAULT_DSN`. It connects when first used. Where
    the database holds tables of the original module that were not migrated yet, every call is a `SchemaMismatch` that
    says what to run; afterwards, what old processes still write into them is taken in.
    """

    def __init__(
        self,
        dsn: str | None = None,
        *,
        actor: str = CALLER,
        clock: Clock = system_clock,
        ids: IdSource = system_ids,
    ) -> None:
        self._dsn = dsn or dsn_of_environment() or DEFAULT_DSN
        self._following = threading.Lock()
        self._look_again_at = 0.0
        self._tables: OldTables | None = None
        # Not the DSN itself: items remember the place, and may be pickled; a password may be in it.
        super().__init__(f"postgres:{derived('dsn', ascii(self._dsn))}", actor=actor, clock=clock, ids=ids)

    def close(self) -> None:
        """
        Let go of the connections; a later call makes new ones.
        """
        super().close()
        with self._opening:
            tables, self._tables = self._tables, None
            if tables is not None:
                tables.close()

    def _open(self) -> Backlog:
        return self._on(LocalExecutor(self._open_backend()))

    def _open_backend(self, **deadlines: float) -> Backend:
        """
        Open the database, unless the original module's tables in it wait for their migration.
        """
        tables = _old_tables(self._dsn, **{name: deadlines[name] for name in deadlines if name == "connect_s"})
        try:
            standing = tables.standing()
            _check_migrated(not standing.is_there or standing.is_followed)
            backend = open_backend(self._dsn, **deadlines)
            try:
                _check_migrated(not standing.is_there or tables.is_taken_in(self._on(LocalExecutor(backend))))
            except BaseException:
                backend.close()
                raise
        except BaseException:
            tables.close()
            raise
        if standing.is_there:
            before, self._tables = self._tables, tables
            if before is not None:
                before.close()
            weakref.finalize(self, tables.close)
        else:
            tables.close()
        return backend

    def _take_in_news(self, backlog: Backlog) -> None:
        tables = self._tables
        if tables is None or time.monotonic() < self._look_again_at or not self._following.acquire(blocking=False):
            return
        try:
            if tables.standing().is_followed:
                taken = tables.take_in_news(backlog)
                if taken.created or taken.changed or taken.merged or taken.events:
                    log_taken(taken, "the old tables")
            else:
                self._tables = None  # set aside by now
                tables.close()
            self._look_again_at = time.monotonic() + FOLLOW_S
        finally:
            self._following.release()


def _old_tables(dsn: str, **deadlines: float) -> OldTables:
    try:
        from backlog_store.legacy.tables import OldTables
    except ImportError:
        open_backend("postgresql:")  # says which extra is missing
        raise
    return OldTables(dsn, **deadlines)


def _check_migrated(is_migrated: bool) -> None:
    if not is_migrated:
        raise SchemaMismatch(
            "postgres", found="of the original module (backlog_items, backlog_events)", expected="its own",
            hint="Run `backlog migrate --in-place`, first with --dry-run to see what it does. Old processes go on "
            "working.",
        )  # fmt: skip
