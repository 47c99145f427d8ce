"""
The store of the original interface that chooses for itself: one truth, and it says which.

With a DSN (in the argument or the environment) that is PostgreSQL: while it is away, every call fails within its
deadline, and nothing goes anywhere else. Without one it is the journal beside the JSONL files, unless the default
database holds a backlog: then the choice is the caller's to make.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path

from backlog_store.backends.port import Health
from backlog_store.backlog import Backlog
from backlog_store.clock import Clock, IdSource, system_clock, system_ids
from backlog_store.compat import postgres
from backlog_store.compat.base import CALLER, BacklogBackedStore
from backlog_store.compat.files import EVENTS_PATH, ITEMS_PATH, JsonlBacklogStore, log_taken
from backlog_store.compat.postgres import PostgresBacklogStore, dsn_of_environment
from backlog_store.errors import BacklogError, ConfigError
from backlog_store.legacy.files import OldFiles

__all__ = ["PROBE_S", "AutoBacklogStore"]

#: How long, in seconds, the default database is asked whether it holds a backlog.
PROBE_S = 1.0

_log = logging.getLogger("backlog_store")


class AutoBacklogStore(BacklogBackedStore):
    """
    PostgreSQL where a DSN is given, else the JSONL files alone. `truth` says which.

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
        actor: str = CALLER,
        clock: Clock = system_clock,
        ids: IdSource = system_ids,
    ) -> None:
        dsn = postgres_dsn or dsn_of_environment()
        self._files = OldFiles(jsonl_items, jsonl_events)
        self._store: PostgresBacklogStore | JsonlBacklogStore
        if dsn:
            self._store = PostgresBacklogStore(dsn, actor=actor, clock=clock, ids=ids)
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
        if self.truth == "postgres" and not self._told:
            self._told = True
            left = self._left_behind(backlog)
            if left:
                _log.warning("%s", left)
        return backlog

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
        left = self._left_behind(self.backlog) if self.truth == "postgres" else ""
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

    def _open(self) -> Backlog:
        return self._store.backlog

    def _left_behind(self, backlog: Backlog) -> str:
        if self._files.is_taken_in(backlog, self._files.signature()):
            return ""
        return (
            f"{self._files.items} or {self._files.events} holds what an outage left behind, or an old process wrote; "
            f"it is not in PostgreSQL. `backlog import --legacy {self._files.items} {self._files.events}` takes it in."
        )


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
