"""
The tables of the original module in PostgreSQL, `backlog_items` and `backlog_events`: taken in, followed, set aside.

The store keeps its own tables in a schema of its own, in the same database. *migrate* takes the rows in and leaves the
old tables as they are, with their constraint, so that processes of the original module go on working; triggers note
which rows those write, and the noted rows are taken in, by any store of the original interface that is in use (within
a second or so) and by each further *migrate*. *finish* takes in what is left and renames the old tables, so that an
old process that still runs fails instead of writing where nobody looks.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import psycopg
from msgspec import Struct

from backlog_store.backends.memory import open_memory
from backlog_store.backends.port import Writer
from backlog_store.backends.postgres.deadlines import moment_after
from backlog_store.backends.postgres.dsn import parse_dsn
from backlog_store.backends.postgres.failures import failure, redacted
from backlog_store.backends.postgres.pool import Pool
from backlog_store.backends.postgres.wire import Link, LinkError, Lost, Refused, Rows, Statement
from backlog_store.backlog import Backlog
from backlog_store.codec import decode_json
from backlog_store.errors import Conflict
from backlog_store.executors.local import LocalExecutor
from backlog_store.instants import Instant, parse_instant
from backlog_store.legacy.intake import Taken, take_in
from backlog_store.legacy.report import Note, in_pages, write_notes, write_record
from backlog_store.legacy.rows import EventRow, ItemRow, Mapped, read_event, read_item
from backlog_store.legacy.times import iso

__all__ = ["EVENTS", "ITEMS", "RECORD", "OldTables", "Standing", "not_taken_in"]

ITEMS = "backlog_items"
EVENTS = "backlog_events"
#: The store's record that says that the old tables were taken in.
RECORD = "legacy-tables"
_NEWS = "backlog_news_of_original"
_STORE = "backlog_store.items"
_SET_ASIDE = "_before_migration"
#: Any fixed number: two migrations of one database exclude each other.
_LOCK = 5_122_301_873_846_112_207
_LOCK_WAIT = "10s"
_PAGE = 500


class Standing(Struct, frozen=True, kw_only=True):
    """
    What there is in the database: the old tables, the triggers that follow them, and a store of this package.
    """

    is_there: bool
    is_followed: bool
    has_store: bool


class OldTables:
    """
    The old tables of one database. Safe for several threads; a forked child makes its own connections.

    *connect_s* and *statement_s* bound every wait, in seconds.
    """

    def __init__(self, dsn: str, *, connect_s: float = 1.0, statement_s: float = 600.0) -> None:
        self._place = parse_dsn(dsn, connect_s=connect_s)
        self._connect_s = connect_s
        self._statement_s = statement_s
        self._pool = self._new_pool()
        self._process = os.getpid()

    def standing(self) -> Standing:
        """
        Look what there is. Raises `ConfigError` for a setting that is wrong, `BackendUnavailable`.
        """
        names = (ITEMS, _NEWS, _STORE)
        asked = [Statement("SELECT to_regclass($1) IS NOT NULL", (name,)) for name in names]
        found = [rows[0][0] == b"t" for rows in self._exchange(asked, opening=True)]
        return Standing(is_there=found[0], is_followed=found[1], has_store=found[2])

    def preview(self, backlog: Backlog) -> Taken:
        """
        Say what `migrate` would take in, by taking it into memory. Nothing is written anywhere else.
        """
        trial = Backlog(LocalExecutor(open_memory()), clock=backlog.clock, ids=backlog.ids)
        taken, _ = self._take_in_all(trial)
        return taken

    def migrate(self, backlog: Backlog) -> Taken:
        """
        Take the old rows in and follow the tables from then on. May be run again: then it takes in what is new.

        Raises `Conflict` while another migration runs, and what the store raises; then run it again.
        """
        with self._alone():
            # First the triggers: whatever is written from here on is noted, whatever was written before is read.
            self._script(_FOLLOW)
            taken, told = self._take_in_all(backlog)
            self._write_told(backlog, told)
            if not self.is_taken_in(backlog):
                body = {"state": "followed", "at": backlog.clock()}
                backlog.executor.backend.write(lambda writer: write_record(writer, RECORD, body))
            taken.add(self.take_in_news(backlog))
            return taken

    def take_in_news(self, backlog: Backlog) -> Taken:
        """
        Take in the rows that old processes wrote since. Several processes may do it at once.
        """
        taken = Taken(notes=[])
        while noted := self._exchange([_NOTED])[0]:
            numbers = [row[0].decode() for row in noted]
            ids = {kind: [row[2].decode() for row in noted if row[1].decode() == kind] for kind in (ITEMS, EVENTS)}
            rows, said, told = self._rows(backlog.clock(), ids)
            step = take_in(backlog, rows, said)
            _tell(step, told)
            self._write_told(backlog, told)
            self._exchange([Statement(_FORGET, (numbers,))])
            taken.add(step)
        return taken

    def finish(self, backlog: Backlog) -> Taken:
        """
        Take in what is left, then set the old tables aside. Raises `Conflict` before `migrate`, or while one runs.
        """
        if not self.is_taken_in(backlog):
            raise not_taken_in()
        with self._alone() as link:
            taken = self.take_in_news(backlog)
            moment = moment_after(self._statement_s)
            # Readers and writers of the old tables wait from here on; what they had begun is done and noted.
            tables = [name for name in (ITEMS, EVENTS) if self._exists(name)]
            locks = [Statement(f"LOCK TABLE {name} IN ACCESS EXCLUSIVE MODE") for name in tables]
            try:
                link.exchange([Statement(f"SET LOCAL lock_timeout = '{_LOCK_WAIT}'"), *locks], moment)
                taken.add(self.take_in_news(backlog))
                link.exchange(
                    [
                        *[Statement(f"DROP TRIGGER IF EXISTS {_NEWS} ON {name}") for name in tables],
                        Statement(f"DROP TABLE {_NEWS}"),
                        Statement(f"DROP FUNCTION {_NEWS}()"),
                        *[Statement(f"ALTER TABLE {name} RENAME TO {name}{_SET_ASIDE}") for name in tables],
                    ],
                    moment,
                )
            except LinkError as error:
                raise failure(error, "setting the old tables aside", url="") from error
        body = {"state": "finished", "at": backlog.clock()}
        backlog.executor.backend.write(lambda writer: write_record(writer, RECORD, body))
        return taken

    def is_taken_in(self, backlog: Backlog) -> bool:
        """
        Tell whether a migration has come to its end in this store.
        """
        return RECORD in backlog.read(lambda reader: reader.records("store", [RECORD]))

    def close(self) -> None:
        """
        Let go of the connections. Idempotent.
        """
        if self._process == os.getpid():  # else the connections are the parent's
            self._pool.close()

    # --- rows --------------------------------------------------------------------------------------------------------

    def _take_in_all(self, backlog: Backlog) -> tuple[Taken, dict[str, list[Note]]]:
        rows, said, told = self._rows(backlog.clock(), None)
        taken = take_in(backlog, rows, said)
        _tell(taken, told)
        return taken, told

    def _rows(
        self, now: Instant, ids: Mapping[str, Sequence[str]] | None
    ) -> tuple[list[ItemRow], list[EventRow], dict[str, list[Note]]]:
        """
        Return the rows of these ids (or all), and what is to tell about them.
        """
        told: dict[str, list[Note]] = {}
        items, events = [], []
        for raw in self._raw(ITEMS, "created_at", None if ids is None else ids[ITEMS]):
            row = read_item(raw, now=now)
            items.append(row)
            _tell_mapped(told, ITEMS, row.draft.id, row.mapped)
        for raw in self._raw(EVENTS, "ts", None if ids is None else ids[EVENTS]):
            said = read_event(raw, now=now)
            events.append(said)
            _tell_mapped(told, EVENTS, said.id, said.mapped)
        return items, events, told

    def _raw(self, table: str, order: str, ids: Sequence[str] | None) -> Iterator[dict[str, Any]]:
        if not self._exists(table):
            return
        times = self._exchange([Statement(_TIMES, (table,))])[0]
        names = [row[0].decode() for row in times]
        where, parameters = ("", []) if ids is None else (" WHERE t.id::text = ANY ($1)", [list(ids)])
        # As JSON, because types were chosen freely in old tables: text, jsonb, text[], timestamps without a zone.
        read = f"SELECT row_to_json(t)::text FROM {table} AS t{where} ORDER BY t.{order}, t.id"  # noqa: S608 - fixed names
        answers = self._exchange(
            [Statement("BEGIN READ ONLY"), Statement("SET LOCAL TIME ZONE 'UTC'"), Statement(read, parameters),
             Statement("COMMIT")]
        )  # fmt: skip
        for (row,) in answers[2]:
            raw: dict[str, Any] = decode_json(row)
            for name in names:
                raw[name] = _plain_time(raw.get(name))
            yield raw

    def _write_told(self, backlog: Backlog, told: Mapping[str, Sequence[Note]]) -> None:
        for part in in_pages(told):

            def run(writer: Writer, part: Mapping[str, Sequence[Note]] = part) -> None:
                write_notes(writer, part)

            backlog.executor.backend.write(run)

    # --- the connection ----------------------------------------------------------------------------------------------

    @contextmanager
    def _alone(self) -> Iterator[Link]:
        """
        Hold the lock of migrations in a transaction; committed at the end, rolled back after an error.
        """
        moment = moment_after(self._statement_s)
        with self._link() as link:
            try:
                asked = [Statement("BEGIN"), Statement("SELECT pg_try_advisory_xact_lock($1::bigint)", (_LOCK,))]
                if link.exchange(asked, moment)[1][0][0] != b"t":
                    raise Conflict("another migration of this database is running.", hint="Wait until it is done.")
                yield link
                link.exchange([Statement("COMMIT")], moment)
            except LinkError as error:
                raise failure(error, "migrating in place", url="") from error
            finally:
                if link.is_usable:
                    link.send(Statement("ROLLBACK"))  # after COMMIT it does nothing

    def _exists(self, table: str) -> bool:
        return self._exchange([Statement("SELECT to_regclass($1) IS NOT NULL", (table,))])[0][0][0] == b"t"

    def _exchange(self, statements: Sequence[Statement], *, opening: bool = False) -> list[Rows]:
        try:
            with self._link() as link:
                return link.exchange(statements, moment_after(self._statement_s))
        except LinkError as error:
            raise failure(error, "reading old tables", url=self._place.shown if opening else "") from error

    def _script(self, sql: str) -> None:
        try:
            with self._link() as link:
                link.script(sql, moment_after(self._statement_s))
        except LinkError as error:
            raise failure(error, "following old tables", url="") from error

    @contextmanager
    def _link(self) -> Iterator[Link]:
        if self._process != os.getpid():
            _abandoned.append(self._pool)
            self._pool, self._process = self._new_pool(), os.getpid()
        pool = self._pool
        link = pool.take(moment_after(self._connect_s))
        broken = False
        try:
            yield link
        except Refused:
            broken = True  # it may be inside a transaction that failed
            raise
        finally:
            pool.give(link, broken=broken)

    def _new_pool(self) -> Pool:
        connects = [partial(self._connect, settings) for settings in self._place.settings]
        return Pool(connects, size_max=2, connect_s=self._connect_s)

    def _connect(self, settings: Mapping[str, Any]) -> Link:
        try:
            return Link(psycopg.connect(**settings, autocommit=True))
        except psycopg.Error as error:
            raise Lost(redacted(str(error), self._place.secrets)) from None


#: Pools of a parent process: letting go of them would close connections that are still its own.
_abandoned: list[Pool] = []


def not_taken_in() -> Conflict:
    """
    Return the error of finishing what was not begun.
    """
    return Conflict("the old tables were not taken in yet.", hint="Run `backlog migrate --in-place` first.")


def _tell(taken: Taken, told: dict[str, list[Note]]) -> None:
    """
    Bring what was found while taking in and what was mapped before together, for the caller and for the store.
    """
    for id, text in taken.notes:
        told.setdefault(f"{ITEMS}/{id}", []).append(Note(ITEMS, id, text))
    taken.notes = [(note.where, str(note)) for listed in told.values() for note in listed]


def _tell_mapped(told: dict[str, list[Note]], table: str, id: str, mapped: Sequence[Mapped]) -> None:
    for one in mapped:
        note = Note(table, id, f"{one.field} {one.stood!r} cannot be; it is kept as {one.kept!r}")
        told.setdefault(f"{table}/{id}", []).append(note)


def _plain_time(text: Any) -> Any:
    """
    Return a column's time in the original form; in a column of times no other text was ever given.
    """
    try:
        return iso(parse_instant(text))
    except (ValueError, TypeError, AttributeError, OverflowError):
        return text


_NOTED = Statement(f"SELECT n, kind, id FROM {_NEWS} ORDER BY n LIMIT {_PAGE}")  # noqa: S608 - fixed names
_FORGET = f"DELETE FROM {_NEWS} WHERE n = ANY ($1::bigint[])"  # noqa: S608 - fixed names
_TIMES = """SELECT attname FROM pg_attribute
WHERE attrelid = to_regclass($1) AND atttypid IN ('timestamptz'::regtype, 'timestamp'::regtype) AND NOT attisdropped"""
# The function runs as its owner: whoever may write the old tables need not be allowed anything new.
_FOLLOW = f"""
BEGIN;
SET LOCAL lock_timeout = '{_LOCK_WAIT}';
CREATE TABLE IF NOT EXISTS {_NEWS} (n bigserial PRIMARY KEY, kind text NOT NULL, id text NOT NULL);
DO $do$
BEGIN
  EXECUTE format($sql$
    CREATE OR REPLACE FUNCTION {_NEWS}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = %I, pg_temp
    AS $body$
    BEGIN
      INSERT INTO {_NEWS} (kind, id) VALUES (TG_ARGV[0], NEW.id::text);
      RETURN NULL;
    END
    $body$
  $sql$, (SELECT nspname FROM pg_class AS c JOIN pg_namespace AS s ON s.oid = c.relnamespace
          WHERE c.oid = '{_NEWS}'::regclass));
END
$do$;
CREATE OR REPLACE TRIGGER {_NEWS} AFTER INSERT OR UPDATE ON {ITEMS}
  FOR EACH ROW EXECUTE FUNCTION {_NEWS}('{ITEMS}');
DO $do$
BEGIN
  IF to_regclass('{EVENTS}') IS NOT NULL THEN
    CREATE OR REPLACE TRIGGER {_NEWS} AFTER INSERT OR UPDATE ON {EVENTS}
      FOR EACH ROW EXECUTE FUNCTION {_NEWS}('{EVENTS}');
  END IF;
END
$do$;
COMMIT;
"""  # noqa: S608 - fixed names
