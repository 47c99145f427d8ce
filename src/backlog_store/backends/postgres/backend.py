"""
The backend: reads and writes as transactions that are run again where another writer was in the way.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from time import sleep
from typing import Any, NoReturn, TypeVar

import psycopg
from msgspec.structs import replace

from backlog_store.backends.nesting import here
from backlog_store.backends.port import NO_HINT, Capabilities, Health, Hint, Reader, Writer
from backlog_store.backends.postgres import checking, months, tallies
from backlog_store.backends.postgres.deadlines import Deadlines, moment_after, seconds_until
from backlog_store.backends.postgres.doorbell import Doorbell
from backlog_store.backends.postgres.dsn import parse_dsn
from backlog_store.backends.postgres.failures import NAME, ONLY_READS, RUN_AGAIN, VIOLATED, failure, redacted
from backlog_store.backends.postgres.migrating import migrate
from backlog_store.backends.postgres.pool import Closed, Pool
from backlog_store.backends.postgres.reading import PostgresReader
from backlog_store.backends.postgres.running import Run, ending
from backlog_store.backends.postgres.segments import Targets
from backlog_store.backends.postgres.sessions import Session
from backlog_store.backends.postgres.statements import begin
from backlog_store.backends.postgres.wire import Link, LinkError, Lost, Refused, Statement
from backlog_store.errors import BackendError, ConfigError

__all__ = ["PostgresBackend", "open_postgres"]

T = TypeVar("T")

#: A write that others keep spoiling is given up after so many runs, or at its deadline.
RUNS_MAX = 50
#: How long a read waits for what this handle itself wrote to be settled, in steps, in seconds.
SETTLING_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2)

#: Pools of a parent process. Closing them here would end the parent's sessions, so they are kept and never used.
_abandoned: list[Pool] = []


def open_postgres(
    dsn: str,
    *,
    schema: str = "backlog_store",
    connections_max: int = 8,
    connect_s: float = 1.0,
    read_s: float = 5.0,
    write_s: float = 5.0,
    batch_s: float = 60.0,
    migration_s: float = 600.0,
) -> PostgresBackend:
    """
    Open the store in *schema* of the database that *dsn* names, creating or migrating its tables where needed.

    *dsn* is anything libpq takes: a URL or keywords, several hosts (the one that takes writes is found, also after a
    failover), `target_session_attrs`. *connections_max* bounds this process; the deadlines are those of `Deadlines`, in
    seconds. Raises `ConfigError` (what no retry mends), `BackendUnavailable` within the connect deadline,
    `SchemaMismatch`.
    """
    deadlines = Deadlines(connect_s=connect_s, read_s=read_s, write_s=write_s, batch_s=batch_s, migration_s=migration_s)
    backend = PostgresBackend(dsn, schema=schema, deadlines=deadlines, connections_max=connections_max)
    try:
        backend.prepare()
    except BaseException:
        backend.close()
        raise
    return backend


class PostgresBackend:
    """
    A `port.Backend` on PostgreSQL, made by `open_postgres`. Thread-safe; a forked child makes its own connections.
    """

    def __init__(self, dsn: str, *, schema: str, deadlines: Deadlines, connections_max: int) -> None:
        if not re.fullmatch(r"[a-z_][a-z0-9_]{0,62}", schema) or schema.startswith("pg_"):
            raise ConfigError("schema", schema, "a schema's name has small letters, digits and _, not pg_ in front")
        if connections_max < 1:
            raise ConfigError("connections_max", str(connections_max), "at least 1")
        self.schema = schema
        self.deadlines = deadlines
        self._place = parse_dsn(dsn, connect_s=deadlines.connect_s)
        self._connections_max = connections_max
        self._pool = self._new_pool()
        self._process = os.getpid()
        self._inside = threading.local()
        self._settled = 0  # the newest transaction with events that this handle committed
        self._moved = 0  # about how many items it wrote since it last added up the counts
        self._months_due = 0.0  # when to look again whether the months to come have their tables
        self._complaints: dict[str, str] = {}  # what can wait, and did not work

    @property
    def capabilities(self) -> Capabilities:
        """
        Return what this backend claims.
        """
        return Capabilities(name=NAME, durable=True, shared=True, writers=self._connections_max)

    @property
    def traffic(self) -> tuple[int, int]:
        """
        Return the round trips and the statements that finished calls have cost so far, for those who measure.
        """
        return self._pool.trips, self._pool.statements

    def doorbell(self) -> Doorbell:
        """
        Return a new doorbell between the processes on this store, for whoever waits for news of it.
        """
        return Doorbell(self._place.settings, self.schema)

    def prepare(self) -> None:
        """
        Connect, and bring the tables up to date. Raises as `open_postgres` does.
        """
        try:
            with self._link(moment_after(self.deadlines.connect_s)) as link:
                migrate(link, self.schema, moment_after(self.deadlines.migration_s), look_s=self.deadlines.read_s)
        except LinkError as error:
            self._fail(error, "opening", opening=True)
        self._make_months()

    def read(self, fn: Callable[[Reader], T], /) -> T:
        """
        Run *fn* on one consistent view and return what it returned. It may run more than once.

        Raises `BackendUnavailable`; beyond that what *fn* raises.
        """
        settled = self._settled
        settling = iter(SETTLING_S)
        longest = moment_after(self.deadlines.batch_s)

        def run(link: Link, moment: float) -> tuple[PostgresReader, T]:
            start = begin(self.schema, self.deadlines.read_s, read_only=True)
            session = Session(link, start, moment)
            reader = PostgresReader(session, longest=longest, settled=settled, patience_s=self.deadlines.batch_s)
            with ending(session):
                answer = fn(reader)
                if session.failure is None:
                    reader.finish()
                return reader, answer

        moment = moment_after(self.deadlines.read_s)
        while True:
            reader, answer = self._attempt(run, moment, "reading")
            pause = next(settling, None) if reader.is_behind else None
            if pause is None or seconds_until(moment) <= pause:
                return answer
            # Somebody else's transaction began before one of ours and is still open: it will soon be over.
            sleep(pause)

    def write(self, fn: Callable[[Writer], T], /, *, hint: Hint = NO_HINT) -> T:
        """
        Run *fn* in one transaction and return what it returned, once its effects are durable.

        Raises `BackendUnavailable` (surely not executed), `OutcomeUnknown` (perhaps executed), `StorageFull`; beyond
        that what *fn* raises.
        """
        if getattr(self._inside, "write", False):
            raise BackendError(
                NAME, "write", "a write was begun inside a write", hint="Apply all changes through one writer."
            )
        self._inside.write = True
        here.depth += 1
        try:
            return self._write(fn, hint)
        finally:
            here.depth -= 1
            self._inside.write = False

    def check(self) -> Health:
        """
        Look at the store's condition. Raises `BackendUnavailable` only after `close`.
        """
        moment = moment_after(self.deadlines.read_s)
        try:
            found = self._attempt(lambda link, moment: checking.look(link, self.schema, moment), moment, "checking")
            return replace(found, warnings=(*found.warnings, *self._complaints.values()))
        except BackendError as error:
            if isinstance(error.__cause__, Closed):
                raise
            return Health(ok=False, backend=NAME, problems=(str(error),), facts={"url": self._place.shown})

    def close(self) -> None:
        """
        Let go of all connections. Idempotent. Any later call raises `BackendUnavailable`.
        """
        self._own_pool().close()

    # --- inside -------------------------------------------------------------------------------------------------------

    def _write(self, fn: Callable[[Writer], T], hint: Hint) -> T:
        many = len(hint.ids) + len(hint.keys) + len(hint.records) > Deadlines.BATCH
        longest = moment_after(self.deadlines.batch_s)
        moment = longest if many else moment_after(self.deadlines.write_s)
        failed: BackendError | None = None
        in_the_way = False
        targets = Targets()
        with_care = False
        for _ in range(RUNS_MAX):
            run = Run(fn, hint, self.schema, targets, longest, in_turn=in_the_way, with_care=with_care)
            try:
                answer: T = self._attempt(run, moment, "writing", lambda: run.is_committing)  # noqa: B023 - used at once
            except BackendError as error:
                refused = error.__cause__
                if not (isinstance(refused, Refused) and refused.sqlstate in RUN_AGAIN | VIOLATED):
                    raise
                in_the_way = in_the_way or refused.sqlstate in RUN_AGAIN
                with_care = with_care or refused.sqlstate in VIOLATED
                targets, moment = run.targets, max(moment, run.moment)
                failed = error
                if not seconds_until(moment):
                    break
            else:
                self._settled = max(self._settled, run.newest)
                self._moved += run.moved
                if tallies.is_due(self._moved, run.newest):
                    self._add_up()
                if not seconds_until(self._months_due):
                    self._make_months()
                return answer
        assert failed is not None
        raise failed

    def _add_up(self) -> None:
        """
        Add up the counts.
        """
        self._moved = 0
        self._keep("The counts could not be added up", tallies.add_up)

    def _make_months(self) -> None:
        """
        Make the tables of the months to come.
        """
        self._months_due = moment_after(months.LOOK_S)
        self._keep("No table could be made for the events of the months to come", months.make_ahead)

    def _keep(self, complaint: str, step: Callable[[Link, str, float, float], None]) -> None:
        """
        Do what keeps the store in order. What went before stands in any case: where this fails, the next one tries it.
        """
        seconds = self.deadlines.write_s

        def run(link: Link, moment: float) -> None:
            step(link, self.schema, moment, seconds)

        self._complaints.pop(complaint, None)
        try:
            self._attempt(run, moment_after(seconds), "keeping")
        except BackendError as error:
            self._complaints[complaint] = f"{complaint}: {error}"

    def _attempt(
        self,
        run: Callable[[Link, float], T],
        moment: float,
        operation: str,
        is_committing: Callable[[], bool] = lambda: False,
    ) -> T:
        """
        Do *run* on a link, and once more on another one where the first was dead or led to a server that only reads.
        """
        is_second = False
        while True:
            was_fresh = True
            try:
                with self._link(moment) as link:
                    was_fresh = link.is_fresh or is_second
                    return run(link, moment)
            except LinkError as error:
                is_dead = isinstance(error, Lost) and not is_committing()
                if not was_fresh and (is_dead or _only_reads(error)):
                    is_second = True
                    continue
                self._fail(error, operation, committing=is_committing())

    @contextmanager
    def _link(self, moment: float) -> Iterator[Link]:
        pool = self._own_pool()
        link = pool.take(moment)
        outdated = False
        try:
            yield link
        except Refused as error:
            outdated = _only_reads(error)  # it was the primary once: look for the new one
            raise
        finally:
            pool.give(link, outdated=outdated)

    def _fail(self, error: LinkError, operation: str, *, committing: bool = False, opening: bool = False) -> NoReturn:
        raise failure(error, operation, committing=committing, url=self._place.shown if opening else "") from error

    def _own_pool(self) -> Pool:
        if self._process != os.getpid():
            _abandoned.append(self._pool)
            self._pool = self._new_pool()
            self._inside = threading.local()
            self._process = os.getpid()
        return self._pool

    def _new_pool(self) -> Pool:
        connects = [partial(self._connect, settings) for settings in self._place.settings]
        return Pool(connects, size_max=self._connections_max, connect_s=self.deadlines.connect_s)

    def _connect(self, settings: Mapping[str, Any]) -> Link:
        try:
            link = Link(psycopg.connect(**settings, autocommit=True))
        except psycopg.Error as error:
            # libpq does not put the password into its messages; a server or a service file might.
            raise Lost(redacted(str(error), self._place.secrets)) from None
        asked = Statement("SELECT pg_backend_pid(), current_setting('synchronous_commit')")
        try:
            process, synchronous_commit = link.exchange([asked], moment_after(self.deadlines.connect_s))[0][0]
        except BaseException:
            link.close()
            raise
        # A pooler that shares its connections to the server between clients makes up a process of its own.
        link.prepares = int(process) == link.server_process
        link.is_lax = synchronous_commit == b"off"
        return link


def _only_reads(error: LinkError) -> bool:
    return isinstance(error, Refused) and error.sqlstate in ONLY_READS
