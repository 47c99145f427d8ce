"""
The store of the original interface that chooses for itself: one truth, and it says which.

With a DSN (in the argument or the environment) that is PostgreSQL, for ever: while it is away, what is reported and
said is accepted into a spool and arrives later, once; all else fails closed at once. Without one it is the journal
beside the JSONL files, unless the default database holds a backlog: then the choice is the caller's to make.
"""

from __future__ import annotations

import logging
import os
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

from backlog_store.backends.port import Backend, Health
from backlog_store.backlog import Backlog
from backlog_store.clock import Clock, IdSource, system_clock, system_ids
from backlog_store.compat import postgres
from backlog_store.compat.base import CALLER, BacklogBackedStore, report_of
from backlog_store.compat.files import EVENTS_PATH, ITEMS_PATH, JsonlBacklogStore, log_taken
from backlog_store.compat.postgres import PostgresBacklogStore, dsn_of_environment
from backlog_store.compat.values import BacklogEvent, BacklogItem, draft_of, fields_of
from backlog_store.errors import BackendUnavailable, BacklogError, ConfigError, OutcomeUnknown, SchemaMismatch
from backlog_store.executors.failover import FailoverExecutor
from backlog_store.executors.failover.copy import LocalCopy
from backlog_store.executors.failover.opening import DEADLINES, spool_folder
from backlog_store.executors.failover.standing import Standing
from backlog_store.ids import derived
from backlog_store.legacy.files import OldFiles
from backlog_store.rules import check_draft

__all__ = ["PROBE_S", "AutoBacklogStore"]

#: How long, in seconds, the default database is asked whether it holds a backlog.
PROBE_S = 1.0

_log = logging.getLogger("backlog_store")


class AutoBacklogStore(BacklogBackedStore):
    """
    PostgreSQL where a DSN is given, else the JSONL files alone. `truth` says which.

    While PostgreSQL is away, `upsert` answers ``{"action": "accepted", "item": …}`` and `add_event` the event: both are
    kept in the folder *spool* (default: ``BACKLOG_SPOOL``, else one in the user's folder for state) and arrive later,
    each once. `get`, `list_items`, `get_events` and `dashboard` read a local copy, as of `standing().copy_as_of`, or
    raise `BackendUnavailable` without one; so do `create`, `update` and `cleanup` in any case.

    Raises `ConfigError` where no DSN is given and the default database holds a backlog, the original module's or one of
    this package. JSONL files that an outage of an older version left behind beside a PostgreSQL store are told in the
    log and by `check`; `import_left_behind` (or ``backlog import --legacy``) takes them in.
    """

    def __init__(
        self,
        postgres_dsn: str | None = None,
        jsonl_items: str | Path = ITEMS_PATH,
        jsonl_events: str | Path = EVENTS_PATH,
        *,
        spool: str | Path | None = None,
        actor: str = CALLER,
        clock: Clock = system_clock,
        ids: IdSource = system_ids,
    ) -> None:
        dsn = postgres_dsn or dsn_of_environment()
        self._files = OldFiles(jsonl_items, jsonl_events)
        self._store: _OutageProofStore | JsonlBacklogStore
        if dsn:
            folder = spool or os.environ.get("BACKLOG_SPOOL")
            self._store = _OutageProofStore(dsn, folder, actor=actor, clock=clock, ids=ids)
        else:
            _refuse_two_truths(postgres.DEFAULT_DSN)
            self._store = JsonlBacklogStore(jsonl_items, jsonl_events, actor=actor, clock=clock, ids=ids)
        self.truth = "postgres" if dsn else "jsonl"
        self._told = False
        super().__init__(self._store._place, actor=actor, clock=clock, ids=ids)

    @property
    def backlog(self) -> Backlog:
        """
        Return the same store with the new interface.
        """
        backlog = self._store.backlog
        if self.truth == "postgres" and not self._told and not _is_away(backlog):
            self._told = True
            left = self._left_behind(backlog)
            if left:
                _log.warning("%s", left)
        return backlog

    def standing(self) -> Standing | None:
        """
        Return how things stand between PostgreSQL and the spool; ``None`` where the files are the truth.
        """
        executor = self.backlog.executor
        return executor.standing() if isinstance(executor, FailoverExecutor) else None

    def close(self) -> None:
        """
        Let go of the store; a later call opens it again.
        """
        self._store.close()

    def check(self) -> Health:
        """
        Look at the store's condition; files that an outage left behind are a warning.
        """
        health = super().check()
        backlog = self.backlog
        left = self._left_behind(backlog) if self.truth == "postgres" and not _is_away(backlog) else ""
        facts = {**health.facts, "truth": self.truth}
        return Health(ok=health.ok, backend=health.backend, problems=health.problems, facts=facts,
                      warnings=(*health.warnings, *([left] if left else [])))  # fmt: skip

    def import_left_behind(self) -> list[str]:
        """
        Take in what the JSONL files hold and this store does not; return what is to know about it. May be repeated.
        """
        taken = self._files.take_in(self.backlog)
        log_taken(taken, str(self._files.items))
        return [text for _, text in taken.notes]

    def upsert(self, item: BacklogItem) -> dict[str, Any]:
        """
        Report an item; ``accepted`` instead of ``created`` or ``updated`` while PostgreSQL is away.
        """
        if self.truth == "postgres" and _is_behind(self.backlog):
            return self._accept(item)
        try:
            return super().upsert(item)
        except (BackendUnavailable, OutcomeUnknown):
            # It went away just now. What may have been written already is found by its key when the report arrives.
            if self.truth != "postgres":
                raise
            return self._accept(item)

    def _accept(self, item: BacklogItem) -> dict[str, Any]:
        draft = draft_of(fields_of(item), item.id)
        check_draft(draft)
        outcome = self._one(report_of(draft))
        if outcome.verdict != "accepted":  # it was back sooner
            return self._reported(item, outcome)
        accepted = BacklogItem.from_dict(item.to_dict())
        accepted.id = outcome.id or item.id
        return {"action": "accepted", "item": accepted}

    def _own_event_id(self, event: BacklogEvent) -> str:
        # What is accepted for later cannot be given its id by then.
        return event.id or (f"ev_{derived('accepted event', self._ids())}" if self.truth == "postgres" else "")

    def _open(self) -> Backlog:
        return self._store.backlog

    def _left_behind(self, backlog: Backlog) -> str:
        if self._files.is_taken_in(backlog, self._files.signature()):
            return ""
        return (
            f"{self._files.items} or {self._files.events} holds what an outage left behind, or an old process wrote; "
            f"it is not in PostgreSQL. `backlog import --legacy {self._files.items} {self._files.events}` takes it in."
        )


class _OutageProofStore(PostgresBacklogStore):
    """
    The same store on a failover executor.
    """

    def __init__(
        self, dsn: str, spool: str | Path | None, *, actor: str = CALLER, clock: Clock = system_clock,
        ids: IdSource = system_ids,
    ) -> None:  # fmt: skip
        super().__init__(dsn, actor=actor, clock=clock, ids=ids)
        self._folder = Path(spool).absolute() if spool else spool_folder(self._dsn)

    def _open(self) -> Backlog:
        problems: list[SchemaMismatch] = []
        this = weakref.ref(self)  # or the executor would hold what is to close it when it is forgotten

        def opened() -> Backend:
            store = this()
            if store is None:
                raise BackendUnavailable("auto", "opening", "the store was forgotten", hint="Open it again.")
            try:
                return store._open_backend(**DEADLINES)
            except SchemaMismatch as error:
                problems.append(error)
                raise

        executor = FailoverExecutor(
            opened, self._folder, copy=LocalCopy(self._folder), clock=self._clock, ids=self._ids
        )
        if problems:
            # Its tables wait for a migration: that is no outage, and somebody has to do something.
            executor.close()
            raise problems[0]
        return Backlog(executor, actor=self._actor, clock=self._clock, ids=self._ids)

    def _take_in_news(self, backlog: Backlog) -> None:
        try:
            if not _is_away(backlog):
                super()._take_in_news(backlog)
        except (BackendUnavailable, OutcomeUnknown):
            return  # the old tables are as far away as the new ones; what is in them is taken in afterwards


def _is_away(backlog: Backlog) -> bool:
    return isinstance(backlog.executor, FailoverExecutor) and backlog.executor.state == "degraded"


def _is_behind(backlog: Backlog) -> bool:
    return isinstance(backlog.executor, FailoverExecutor) and backlog.executor.state != "up"


def _refuse_two_truths(dsn: str) -> None:
    """
    Raise `ConfigError` where the default database holds a backlog; whatever does not answer in time holds none.
    """
    if _in_time(lambda: _holds_items(dsn), PROBE_S):
        raise ConfigError(
            "BACKLOG_BACKEND", "auto", f"no DSN is given, and the default database ({dsn}) holds a backlog",
            hint=f"Choose: BACKLOG_POSTGRES_DSN={dsn} for PostgreSQL, or BACKLOG_BACKEND=jsonl for the files.",
        )  # fmt: skip


def _holds_items(dsn: str) -> bool:
    try:
        from backlog_store.legacy.tables import OldTables
    except ImportError:
        return False  # without the driver nobody here has ever used a database
    tables = OldTables(dsn, connect_s=PROBE_S, statement_s=PROBE_S)
    try:
        standing = tables.standing()
        return standing.is_there or standing.has_store
    except BacklogError:
        return False  # no server, no such database, no way in
    finally:
        tables.close()


def _in_time(ask: Callable[[], bool], seconds: float) -> bool:
    """
    Return the answer, or false where it does not come in time. Importing the driver counts, too.
    """
    answers: list[bool] = []
    thread = threading.Thread(target=lambda: answers.append(ask()), name="backlog-probe", daemon=True)
    thread.start()
    thread.join(seconds)
    return bool(answers and answers[0])
