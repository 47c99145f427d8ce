"""
Events of PostgreSQL in one table a month: brought there from one table, made ahead, and never in a writer's way.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from backlog_store.backends import keeping
from backlog_store.backends.port import Backend, Purge, Trim, Writer
from backlog_store.backends.postgres import months, open_postgres
from backlog_store.backends.postgres.deadlines import moment_after
from backlog_store.backends.postgres.migrating import MIGRATIONS, migrate
from backlog_store.backends.postgres.wire import Link, Refused
from backlog_store.query import EventQuery
from backlog_store.testing.conformance.base import apply
from backlog_store.testing.samples import an_item, first, then

TABLES = """
SELECT c.relname, pg_get_expr(c.relpartbound, c.oid)
FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
WHERE i.inhparent = 'backlog_store.events'::regclass
ORDER BY 1
"""
#: The names of this month's table and of the next two.
MONTHS = """
SELECT 'events_' || to_char((now() AT TIME ZONE 'UTC') + make_interval(months => n), 'YYYY_MM')
FROM generate_series(0, 2) AS n
"""


def rows(dsn: str, statement: str) -> list[Any]:
    """
    Run one statement and return what it found.
    """
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("SET search_path = backlog_store")
        cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


@pytest.fixture
def link(postgres_dsn: str) -> Iterator[Link]:
    """
    A connection to the database.
    """
    link = Link(psycopg.connect(postgres_dsn, autocommit=True))
    yield link
    link.close()


def trail(backend: Backend, id: str) -> list[int]:
    """
    Return the revisions of an item's events in their order.
    """
    events = backend.read(lambda reader: reader.events(EventQuery(item_ids=(id,), limit=None)))
    return [event.revision for event in events]


def test_a_store_of_one_table_goes_on(postgres_dsn: str, link: Link) -> None:
    """Events of before are found as they were, in order, beside those that come; none is copied."""
    migrate(link, "backlog_store", moment_after(60), migrations=MIGRATIONS[:1])
    rows(
        postgres_dsn,
        """
        INSERT INTO events
        SELECT 100 + n, 0, 'bl_' || n % 2, 'edited', 'ruff', '2025-01-01', 'b' || n % 2, false,
               '{"id":"ev_' || n || '","item_id":"bl_' || n % 2 || '","revision":' || n / 2 + 1
               || ',"ts":"2025-01-01T00:00:00.000000Z","type":"edited","actor":"ruff"}'
        FROM generate_series(0, 9) AS n
        """,
    )
    before = rows(postgres_dsn, "SELECT 'events'::regclass::oid, pg_relation_filenode('events')")
    backend = open_postgres(postgres_dsn)
    assert trail(backend, "bl_1") == [1, 2, 3, 4, 5]
    new = first(an_item("bl_new"))
    apply(backend, new)
    apply(backend, then(new.item, title="again"))
    events = backend.read(lambda reader: reader.events(EventQuery(limit=None)))
    assert [event.item_id for event in events[-2:]] == ["bl_new", "bl_new"]
    assert len(events) == 12
    assert [event.id for event in backend.read(lambda reader: reader.events(EventQuery(batch="b1", limit=2)))] == [
        "ev_1",
        "ev_3",
    ]
    (this,), *_ = rows(postgres_dsn, MONTHS)
    assert rows(postgres_dsn, f"SELECT '{this}'::regclass::oid, pg_relation_filenode('{this}')") == before
    backend.close()


def test_a_program_of_before_writes_on(postgres_dsn: str, link: Link) -> None:
    """Its statements name no month: the server puts each event where it belongs, so both releases share a store."""
    assert MIGRATIONS[1].works_since == 1
    backend = open_postgres(postgres_dsn)
    rows(
        postgres_dsn,
        """
        INSERT INTO events (tx, n, item_id, type, actor, ts, batch, added, doc)
        VALUES ((SELECT base FROM clock) + pg_current_xact_id()::text::bigint, 0, 'bl_a', 'x', 'y', '2020-01-01', '',
                false, '{"id":"e","item_id":"bl_a","revision":1,"ts":"2020-01-01","type":"x","actor":"y"}')
        RETURNING tx
        """,
    )
    assert trail(backend, "bl_a") == [1]
    (this,), *_ = rows(postgres_dsn, MONTHS)
    assert rows(postgres_dsn, f"SELECT count(*) FROM {this}") == [(1,)]
    backend.close()


def test_the_months_to_come_have_their_tables(postgres_dsn: str) -> None:
    """This month and the next two are there, and behind them a table for whatever comes too early."""
    open_postgres(postgres_dsn).close()
    names = [name for (name,) in rows(postgres_dsn, MONTHS)]
    assert [name for name, _ in rows(postgres_dsn, TABLES)] == [*names, "events_default"]


def test_a_month_that_is_missing_is_made_when_a_store_is_opened_and_while_it_is_used(
    postgres_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever runs for months makes the tables itself, as does whoever opens the store."""
    open_postgres(postgres_dsn).close()
    tables = rows(postgres_dsn, TABLES)
    drop = f"DROP TABLE {tables[1][0]}, {tables[2][0]}"
    rows(postgres_dsn, drop)
    backend = open_postgres(postgres_dsn)
    assert rows(postgres_dsn, TABLES) == tables
    rows(postgres_dsn, drop)
    apply(backend, first(an_item("bl_a")))
    assert len(rows(postgres_dsn, TABLES)) == 2
    monkeypatch.setattr(backend, "_months_due", 0.0)
    apply(backend, first(an_item("bl_b")))
    assert rows(postgres_dsn, TABLES) == tables
    backend.close()


def test_an_event_without_a_month_s_table_is_kept(postgres_dsn: str) -> None:
    """Maintenance that never ran loses nothing: the event lies in the default table, is found, and can be purged."""
    backend = open_postgres(postgres_dsn)
    rows(postgres_dsn, f"DROP TABLE {', '.join(name for name, _ in rows(postgres_dsn, TABLES)[:3])}")
    item = an_item("bl_a")
    apply(backend, first(item))
    apply(backend, then(item, title="again"))
    assert rows(postgres_dsn, "SELECT count(*) FROM events_default") == [(2,)]
    assert trail(backend, "bl_a") == [1, 2]
    backend.close()
    # The month of these events stays where they are; the ones to come get their tables.
    backend = open_postgres(postgres_dsn)
    assert [name for name, _ in rows(postgres_dsn, TABLES)] == [
        *(name for (name,) in rows(postgres_dsn, MONTHS)[1:]),
        "events_default",
    ]
    assert trail(backend, "bl_a") == [1, 2]
    apply(backend, Purge("bl_a", 2))
    assert trail(backend, "bl_a") == []
    backend.close()


def test_making_a_month_lets_writers_and_readers_go_on(postgres_dsn: str, link: Link) -> None:
    """A month is made while a write is open; a long read of all events puts it off, and nobody else waits behind it."""
    backend = open_postgres(postgres_dsn)
    apply(backend, first(an_item("bl_a")))
    drop = f"DROP TABLE {', '.join(name for name, _ in rows(postgres_dsn, TABLES)[1:3])}"
    rows(postgres_dsn, drop)

    def write(writer: Writer) -> None:
        writer.apply([first(an_item("bl_b"))])
        writer.items(["bl_b"])  # which sends the rows
        months.make_ahead(link, "backlog_store", moment_after(5), 5)

    backend.write(write)
    assert len(rows(postgres_dsn, TABLES)) == 4
    assert trail(backend, "bl_b") == [1]
    rows(postgres_dsn, drop)
    with psycopg.connect(postgres_dsn) as reader:
        reader.execute("SELECT count(*) FROM backlog_store.events")
        with pytest.raises(Refused) as error:
            months.make_ahead(link, "backlog_store", moment_after(5), 5)
        assert error.value.sqlstate == "55P03"
        other = open_postgres(postgres_dsn)
        apply(other, first(an_item("bl_c")))
        assert any("months to come" in warning for warning in other.check().warnings)
        other.close()
    months.make_ahead(link, "backlog_store", moment_after(5), 5)
    assert len(rows(postgres_dsn, TABLES)) == 4
    backend.close()


def test_whoever_makes_the_months_at_the_same_time_does_not_fail(postgres_dsn: str) -> None:
    """Eight that find them missing make them once."""
    open_postgres(postgres_dsn).close()
    tables = rows(postgres_dsn, TABLES)
    rows(postgres_dsn, f"DROP TABLE {tables[1][0]}, {tables[2][0]}")
    together = threading.Barrier(8)
    faults: list[BaseException] = []

    def run() -> None:
        link = Link(psycopg.connect(postgres_dsn, autocommit=True))
        together.wait()
        try:
            months.make_ahead(link, "backlog_store", moment_after(5), 5)
        except BaseException as error:  # noqa: BLE001  (looked at on the test's own thread)
            faults.append(error)
        link.close()

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    assert rows(postgres_dsn, TABLES) == tables


def test_an_old_month_without_events_is_dropped(postgres_dsn: str) -> None:
    """What is over and empty goes, unless somebody reads right now; what holds an event, or is yet to come, stays."""
    backend = open_postgres(postgres_dsn)
    for month in ("2024_01", "2024_02"):
        day = f"{month.replace('_', '-')}-01"
        rows(
            postgres_dsn,
            f"CREATE TABLE events_{month} (LIKE events INCLUDING DEFAULTS INCLUDING INDEXES);"
            f"INSERT INTO events_{month}"
            f" VALUES (1, 1, 'bl_{month}', 'x', 'y', '', '', false, '{{\"revision\":1}}', '{day}')",
        )
    # The first table holds everything before this month: make room for months before it.
    name, _ = rows(postgres_dsn, TABLES)[0]
    rows(
        postgres_dsn,
        f"ALTER TABLE events DETACH PARTITION {name};"
        f"ALTER TABLE events ATTACH PARTITION {name} FOR VALUES FROM ('2024-03-01') TO"
        " (date_trunc('month', now() AT TIME ZONE 'UTC')::date + interval '1 month');"
        "ALTER TABLE events ATTACH PARTITION events_2024_01 FOR VALUES FROM ('2024-01-01') TO ('2024-02-01');"
        "ALTER TABLE events ATTACH PARTITION events_2024_02 FOR VALUES FROM ('2024-02-01') TO ('2024-03-01');",
    )
    before = rows(postgres_dsn, TABLES)
    assert keeping.drop_emptied(backend) == ()
    apply(backend, Trim("bl_2024_01", 2))
    with psycopg.connect(postgres_dsn) as reader:
        reader.execute("SELECT count(*) FROM backlog_store.events")
        assert keeping.drop_emptied(backend) == ()
    assert rows(postgres_dsn, TABLES) == before
    assert keeping.drop_emptied(backend) == ("events_2024_01",)
    assert rows(postgres_dsn, TABLES) == before[1:]
    apply(backend, first(an_item("bl_a")))
    assert trail(backend, "bl_a") == [1]
    backend.close()
