"""
The tables of PostgreSQL: made once, brought up to date, refused where they are another program's.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

import psycopg
import pytest
from msgspec.structs import replace

from backlog_store.backends.keeping import drop_emptied
from backlog_store.backends.port import Reader
from backlog_store.backends.postgres import migrating, open_postgres, tallies
from backlog_store.backends.postgres.deadlines import moment_after
from backlog_store.backends.postgres.migrating import MIGRATIONS, Migration, migrate
from backlog_store.backends.postgres.reading import PostgresReader
from backlog_store.backends.postgres.statements import COMMIT, begin
from backlog_store.backends.postgres.wire import Link, Refused, Statement
from backlog_store.errors import BackendUnavailable, ConfigError, SchemaMismatch
from backlog_store.query import ANY, OPERATORS, All, Compare, EventQuery, In
from backlog_store.testing.conformance.base import apply
from backlog_store.testing.oracle import count_items
from backlog_store.testing.postgres import PostgresServer
from backlog_store.testing.samples import an_item, first

NEXT = len(MIGRATIONS) + 1
#: What a later release might bring: one that this program can live with.
LATER = (
    Migration(NEXT, "colour", f"-- works-since: {NEXT - 1}\nALTER TABLE items ADD COLUMN colour text;", NEXT - 1),
    Migration(NEXT + 1, "colours", "CREATE TABLE colours (id text PRIMARY KEY);", NEXT + 1),
)
#: Every column, index and constraint of the store, as the catalog has them.
CATALOG = """
SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod), co.collname, a.attnotnull,
       pg_get_expr(d.adbin, d.adrelid), NULL
FROM pg_class AS c
JOIN pg_namespace AS n ON n.oid = c.relnamespace AND n.nspname = 'backlog_store'
JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0
LEFT JOIN pg_collation AS co ON co.oid = a.attcollation
LEFT JOIN pg_attrdef AS d ON d.adrelid = c.oid AND d.adnum = a.attnum
UNION ALL
SELECT tablename, indexname, indexdef, NULL, NULL, NULL, NULL FROM pg_indexes WHERE schemaname = 'backlog_store'
UNION ALL
SELECT c.relname, k.conname, pg_get_constraintdef(k.oid), NULL, NULL, NULL, NULL
FROM pg_constraint AS k JOIN pg_class AS c ON c.oid = k.conrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname = 'backlog_store'
ORDER BY 1, 2, 3
"""


def rows(dsn: str, statement: str) -> list[Any]:
    """
    Run one statement and return what it found.
    """
    with psycopg.connect(dsn, autocommit=True) as connection:
        cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


@pytest.fixture
def link(postgres_dsn: str) -> Iterator[Link]:
    """
    A connection to an empty database.
    """
    link = Link(psycopg.connect(postgres_dsn, autocommit=True))
    yield link
    link.close()


def bring_up(link: Link, migrations: Sequence[Migration]) -> int:
    """
    Run the migrations that are missing.
    """
    return migrate(link, "backlog_store", moment_after(60), migrations=migrations)


def test_versions_count_from_one_without_gaps() -> None:
    """A migration's number is its place, and none names a future program as the oldest that works."""
    assert [migration.version for migration in MIGRATIONS] == list(range(1, len(MIGRATIONS) + 1))
    assert all(1 <= migration.works_since <= migration.version for migration in MIGRATIONS)


def test_a_fresh_store_is_the_sum_of_its_migrations(postgres_server: PostgresServer, link: Link) -> None:
    """Step by step, release by release, or all at once: the same columns, indexes and constraints."""
    everything = (*MIGRATIONS, *LATER)
    for count in range(1, len(everything) + 1):
        assert bring_up(link, everything[:count]) == count
    other = postgres_server.create_database()
    fresh = Link(psycopg.connect(other, autocommit=True))
    assert bring_up(fresh, everything) == len(everything)
    fresh.close()
    mine = link.exchange([Statement(CATALOG)], moment_after(5))
    assert len(mine[0]) > 80
    assert [list(row) for row in rows(other, "SELECT version, name FROM backlog_store.migrations ORDER BY 1")] == [
        [migration.version, migration.name] for migration in everything
    ]
    fresh = Link(psycopg.connect(other, autocommit=True))
    assert fresh.exchange([Statement(CATALOG)], moment_after(5)) == mine
    fresh.close()


def test_opening_again_changes_nothing(postgres_dsn: str) -> None:
    """An up-to-date store is opened without a lock and without a write."""
    open_postgres(postgres_dsn).close()
    before = rows(postgres_dsn, "SELECT *, xmin FROM backlog_store.migrations")
    with psycopg.connect(postgres_dsn) as other:
        other.execute("SELECT pg_advisory_xact_lock(%s)", (migrating.lock_number("backlog_store"),))
        other.execute("LOCK TABLE backlog_store.migrations IN EXCLUSIVE MODE")
        open_postgres(postgres_dsn).close()
    assert rows(postgres_dsn, "SELECT *, xmin FROM backlog_store.migrations") == before


def test_two_processes_may_open_an_empty_database_at_once(postgres_dsn: str) -> None:
    """Whoever comes second waits for the first, and both work; the tables are made once."""
    program = (
        "import sys; from backlog_store.backends.postgres import open_postgres; open_postgres(sys.argv[1]).close()"
    )
    command = [sys.executable, "-c", program, postgres_dsn]
    processes = [subprocess.Popen(command, stderr=subprocess.PIPE) for _ in range(3)]
    assert [(process.communicate()[1], process.returncode) for process in processes] == [(b"", 0)] * 3
    assert rows(postgres_dsn, "SELECT count(*) FROM backlog_store.migrations") == [(len(MIGRATIONS),)]


def test_eight_threads_may_open_an_empty_database_at_once(postgres_dsn: str) -> None:
    """The same within one process, where they truly start together."""
    together = threading.Barrier(8)
    faults: list[BaseException] = []

    def run() -> None:
        together.wait()
        try:
            open_postgres(postgres_dsn, connect_s=30).close()
        except BaseException as error:  # noqa: BLE001  (looked at on the test's own thread)
            faults.append(error)

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    assert rows(postgres_dsn, "SELECT count(*) FROM backlog_store.migrations") == [(len(MIGRATIONS),)]


def test_a_newer_store_is_refused(postgres_dsn: str, link: Link) -> None:
    """Tables that this program cannot work with are left alone; the error names both versions."""
    bring_up(link, (*MIGRATIONS, *LATER))
    with pytest.raises(SchemaMismatch) as error:
        open_postgres(postgres_dsn)
    assert (error.value.found, error.value.expected) == (str(NEXT + 1), str(len(MIGRATIONS)))


def test_a_newer_store_that_still_fits_is_used(postgres_dsn: str, link: Link) -> None:
    """A release that only adds to the tables lets the one before it work on, so both may run at once."""
    bring_up(link, (*MIGRATIONS, LATER[0]))
    backend = open_postgres(postgres_dsn)
    apply(backend, first(an_item("bl_a")))
    assert backend.read(lambda reader: list(reader.items(["bl_a"]))) == ["bl_a"]
    assert backend.check().ok
    backend.close()


def test_a_changed_migration_is_refused(postgres_dsn: str) -> None:
    """Tables of an unreleased program are noticed by the checksum of the text that made them."""
    open_postgres(postgres_dsn).close()
    rows(postgres_dsn, "UPDATE backlog_store.migrations SET checksum = 'other' WHERE version = 1")
    with pytest.raises(SchemaMismatch, match="another text"):
        open_postgres(postgres_dsn)


def test_a_failing_migration_leaves_the_store_as_it_was(postgres_dsn: str, link: Link) -> None:
    """All missing migrations are one transaction: a mistake in the last undoes the first."""
    bring_up(link, MIGRATIONS)
    before = link.exchange([Statement(CATALOG)], moment_after(5))
    bad = Migration(NEXT + 1, "bad", "CREATE TABLE colours (id text); SELECT 1 / 0;", NEXT + 1)
    with pytest.raises(Refused):
        bring_up(link, (*MIGRATIONS, LATER[0], bad))
    assert link.exchange([Statement(CATALOG)], moment_after(5)) == before
    assert bring_up(link, (*MIGRATIONS, *LATER)) == NEXT + 1


def test_a_migration_does_not_queue_behind_a_long_transaction(
    postgres_dsn: str, link: Link, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever holds a table for long makes the migration give up, before everybody else queues behind it."""
    monkeypatch.setattr(migrating, "DDL_LOCK_S", 0.1)
    bring_up(link, MIGRATIONS)
    with psycopg.connect(postgres_dsn) as other:
        other.execute("SELECT count(*) FROM backlog_store.items")
        with pytest.raises(Refused) as error:
            bring_up(link, (*MIGRATIONS, LATER[0]))
    assert error.value.sqlstate == "55P03"
    assert bring_up(link, (*MIGRATIONS, LATER[0])) == NEXT


def test_waiting_for_another_s_migration_ends_at_the_deadline(postgres_dsn: str) -> None:
    """Somebody who froze in the middle of a migration does not make the others wait for ever."""
    with psycopg.connect(postgres_dsn) as other:
        other.execute("SELECT pg_advisory_xact_lock(%s)", (migrating.lock_number("backlog_store"),))
        with pytest.raises(BackendUnavailable):
            open_postgres(postgres_dsn, migration_s=0.3)
    open_postgres(postgres_dsn).close()


def test_the_original_system_s_tables_are_left_alone(postgres_dsn: str) -> None:
    """Both sets of tables live in one database; those of the original keep their names, columns and rows."""
    rows(postgres_dsn, "CREATE TABLE backlog_items (id text PRIMARY KEY, items text)")
    rows(postgres_dsn, "CREATE TABLE backlog_events (id text PRIMARY KEY)")
    rows(postgres_dsn, "INSERT INTO backlog_items VALUES ('bl_1', 'old')")
    backend = open_postgres(postgres_dsn)
    apply(backend, first(an_item("bl_1")))
    backend.close()
    assert rows(postgres_dsn, "SELECT * FROM backlog_items") == [("bl_1", "old")]
    assert rows(postgres_dsn, "SELECT count(*) FROM backlog_events") == [(0,)]
    assert rows(postgres_dsn, "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1") == [
        ("backlog_events",),
        ("backlog_items",),
    ]


def test_two_stores_share_a_database(postgres_dsn: str) -> None:
    """Each schema is a store of its own."""
    one, other = open_postgres(postgres_dsn), open_postgres(postgres_dsn, schema="backlog_two")
    apply(one, first(an_item("bl_a")))
    assert other.read(lambda reader: dict(reader.items(["bl_a"]))) == {}
    one.close()
    other.close()


@pytest.mark.parametrize("schema", ["user", "select", "all"])
def test_a_schema_may_be_named_by_a_word_of_sql(postgres_dsn: str, schema: str) -> None:
    """What is a reserved word of PostgreSQL is a schema's name like any other: written, read anew, maintained."""
    backend = open_postgres(postgres_dsn, schema=schema)
    apply(backend, first(an_item("bl_a")))
    with backend._link(moment_after(60)) as link:
        link.exchange([*begin(schema, 60.0, in_turn=True), COMMIT], moment_after(60))
    apply(backend, first(an_item("bl_b")))
    assert drop_emptied(backend) == ()
    backend.close()
    again = open_postgres(postgres_dsn, schema=schema)
    assert sorted(again.read(lambda reader: dict(reader.items(["bl_a", "bl_b"])))) == ["bl_a", "bl_b"]
    assert again.check().ok
    again.close()


@pytest.mark.parametrize("schema", ["", "Backlog", "a-b", "a b", "x; DROP TABLE y", "pg_catalog", "é", "a" * 64, '"a"'])
def test_a_schema_s_name_is_plain(schema: str) -> None:
    """The name goes into statements, so only a plain one is taken."""
    with pytest.raises(ConfigError, match="schema"):
        open_postgres("postgresql://h/d", schema=schema)


def test_a_user_who_may_not_create_is_told_what_is_missing(postgres_server: PostgresServer, postgres_dsn: str) -> None:
    """Without CREATE on the database opening fails with the privilege that is needed, and changes nothing."""
    database = postgres_dsn.rpartition("/")[2]
    with postgres_server.connect() as admin:
        admin.execute("DROP ROLE IF EXISTS guest")
        admin.execute("CREATE ROLE guest LOGIN PASSWORD 'guest'")
    account, _, place = postgres_dsn.partition("@")
    with pytest.raises(ConfigError, match="CREATE on the database"):
        open_postgres(f"postgresql://guest:guest@{place}")
    assert rows(f"{account}@{place}", "SELECT 1 FROM pg_namespace WHERE nspname = 'backlog_store'") == []
    with postgres_server.connect() as admin:
        admin.execute(f"GRANT CREATE ON DATABASE {database} TO guest".encode())
    open_postgres(f"postgresql://guest:guest@{place}").close()


def test_positions_go_on_after_a_restore_from_a_dump(postgres_dsn: str) -> None:
    """In a new cluster transaction ids start low again; new events still come last, and a tail sees them."""
    backend = open_postgres(postgres_dsn)
    apply(backend, first(an_item("bl_old")))
    backend.close()
    rows(postgres_dsn, "UPDATE backlog_store.events SET tx = 9000000000")
    backend = open_postgres(postgres_dsn)
    for number in range(3):
        apply(backend, first(an_item(f"bl_{number}")))
    events = backend.read(lambda reader: reader.events(EventQuery()))
    assert [event.item_id for event in events] == ["bl_old", "bl_0", "bl_1", "bl_2"]
    after = backend.read(lambda reader: reader.events(EventQuery(after=events[0].position)))
    assert [event.item_id for event in after] == ["bl_0", "bl_1", "bl_2"]
    backend.close()


def test_tables_that_vanish_are_told(postgres_dsn: str) -> None:
    """A schema dropped under a running program is an error that says so, not an empty store."""
    backend = open_postgres(postgres_dsn)
    rows(postgres_dsn, "DROP SCHEMA backlog_store CASCADE")
    with pytest.raises(SchemaMismatch):
        backend.read(lambda reader: reader.items(["bl_a"]))
    assert not backend.check().ok
    backend.close()


#: As the release before added up what had moved.
ADD_UP_BEFORE = """
INSERT INTO tallies (facet, env, status, value, n)
SELECT cell.facet, env, status, cell.value, sum(n)
FROM tally_moves
CROSS JOIN LATERAL (VALUES ('priority', priority), ('owner', owner), ('due', due)) AS cell (facet, value)
GROUP BY 1, 2, 3, 4;
DELETE FROM tally_moves;
"""


def test_sleepers_of_an_older_store_are_counted(postgres_dsn: str, link: Link) -> None:
    """From a store that did not count them, with moves that wait to be added up: each count is exact."""
    bring_up(link, MIGRATIONS[:5])
    days = ("", "2026-03-01T00:00:00.000000Z", "2026-03-01T12:00:00.000000Z", "2026-04-02T00:00:00.000000Z")
    items = [an_item(f"bl_{n:02}", wake_at=days[n % 4], owner=("", "ann")[n % 2]) for n in range(24)]
    path = "SET search_path = backlog_store;"
    made = "INSERT INTO items (id, revision, env, priority, owner, wake_at) VALUES ('{0.id}', 1, '{0.env}', "
    statements = [(made + "'{0.priority}', '{0.owner}', '{0.wake_at}');").format(item) for item in items]
    link.script(f"{path} {''.join(statements)} {ADD_UP_BEFORE}", moment_after(60))
    changed = [
        replace(items[3], wake_at="", status="done"), replace(items[4], wake_at=days[3]),
        replace(items[5], priority="P0"), replace(items[6], owner="zoe"),
    ]  # fmt: skip
    moved = "UPDATE items SET (status, priority, owner, wake_at) = "
    statements = [
        (moved + "('{0.status}', '{0.priority}', '{0.owner}', '{0.wake_at}') WHERE id = '{0.id}';").format(item)
        for item in changed
    ]
    link.script(f"{path} {''.join(statements)} DELETE FROM items WHERE id = '{items[7].id}';", moment_after(60))
    items = [*items[:3], *changed, *items[8:]]

    def check(reader: Reader) -> None:
        for op, instant in product(OPERATORS, days[1:]):
            asleep = Compare("wake_at", op, instant)  # type: ignore[arg-type]
            for where in (asleep, All((asleep, In("owner", ("",)))), All((asleep, In("priority", ("P0",))))):
                assert reader.tally(where, ()) == count_items(items, where, ()), where

    def check_kept(reader: Reader) -> None:
        assert isinstance(reader, PostgresReader)
        assert [found for found in tallies.differences(reader) if "asleep" in found[0]] == []

    store = open_postgres(postgres_dsn)
    store.read(check)
    store.read(check_kept)
    store.close()


#: As the program of migration 7 adds up, but for its bound.
ADD_UP_OF_SEVEN = """
WITH taken AS (DELETE FROM tally_moves RETURNING n, env, status, priority, category, service, owner, source, due, wake)
INSERT INTO tallies AS t (facet, env, status, value, wake, n)
SELECT cell.facet, taken.env, taken.status, cell.value, '', sum(taken.n)
FROM taken
CROSS JOIN LATERAL (VALUES
  ('priority', taken.priority), ('category', taken.category), ('service', taken.service), ('owner', taken.owner),
  ('source', taken.source), ('due', taken.due)
) AS cell (facet, value)
GROUP BY 1, 2, 3, 4, 5
ON CONFLICT (facet, env, status, value, wake) DO UPDATE SET n = t.n + excluded.n
"""


def test_days_of_an_older_store_are_counted(postgres_dsn: str, link: Link) -> None:
    """From a store that did not count days, with moves that wait, and the release before adding up: each is exact."""
    bring_up(link, MIGRATIONS[:7])
    path = "SET search_path = backlog_store;"
    made = (
        "INSERT INTO items (id, revision, env, created_at, closed_at, status) "
        "SELECT 'bl_' || n, 1, 'prod', '2026-03-0' || 1 + n % 3 || 'T08:00:00.000000Z', "
        "CASE WHEN n % 2 = 0 THEN '2026-04-01T09:00:00.000000Z' ELSE '' END, "
        "CASE WHEN n % 2 = 0 THEN 'done' ELSE 'open' END FROM generate_series(10, 39) AS made (n);"
    )
    link.script(f"{path} {made}", moment_after(60))
    close = "UPDATE items SET status = 'done', closed_at = '2026-04-02T00:00:00.000000Z' WHERE id = '{}';"
    link.script(f"{path} {close.format('bl_11')} DELETE FROM items WHERE id = 'bl_12';", moment_after(60))

    store = open_postgres(postgres_dsn)
    link.script(f"{path} {close.format('bl_13')} DELETE FROM items WHERE id = 'bl_14';", moment_after(60))
    link.script(f"{path} {ADD_UP_OF_SEVEN}", moment_after(60))
    alive = [n for n in range(10, 40) if n not in (12, 14)]
    created = Counter((f"2026-03-0{1 + n % 3}",) for n in alive)
    closed = Counter({("2026-04-01",): 13, ("2026-04-02",): 2, ("",): 13})

    def check(reader: Reader) -> None:
        assert isinstance(reader, PostgresReader)
        assert reader.tally(ANY, ("created_on",)) == created
        assert reader.tally(ANY, ("closed_on",)) == closed
        assert list(tallies.differences(reader)) == []

    store.read(check)
    store.close()
