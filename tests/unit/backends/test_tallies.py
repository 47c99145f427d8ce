"""
Counts that are kept: always what counting the items would say, cheap where nothing moves, and audited.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest

from backlog_store.backends.port import Backend, Load, Purge, Reader
from backlog_store.backends.postgres import audit as postgres_audit
from backlog_store.backends.postgres import open_postgres
from backlog_store.backends.postgres import tallies as postgres_tallies
from backlog_store.backends.sqlite import audit as sqlite_audit
from backlog_store.backends.sqlite import open_sqlite
from backlog_store.backends.sqlite import tallies as sqlite_tallies
from backlog_store.backends.sqlite import writer as sqlite_writer
from backlog_store.backends.sqlite.repair import repair
from backlog_store.query import ANY, FACETS, All, Compare, Facet, In, Not, Where, live
from backlog_store.testing.conformance.base import apply
from backlog_store.testing.oracle import count_items
from backlog_store.testing.samples import Sampler, an_item, first, then
from backlog_store.verify import silent

SQL = Callable[[str], list[tuple[Any, ...]]]
#: A store, a way to ask its tables, and its audit.
Store = tuple[Backend, SQL, Callable[[], list[str]]]


@pytest.fixture(params=["sqlite", "postgres"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """
    An empty store.
    """
    backend: Backend
    if request.param == "sqlite":
        backend = open_sqlite(tmp_path / "backlog.db")

        def ask(statement: str) -> list[tuple[Any, ...]]:
            with closing(sqlite3.connect(tmp_path / "backlog.db", isolation_level=None)) as connection:
                return connection.execute(statement).fetchall()

        audit = sqlite_audit.audit
    else:
        dsn = request.getfixturevalue("postgres_dsn")
        backend = open_postgres(dsn)

        def ask(statement: str) -> list[tuple[Any, ...]]:
            with psycopg.connect(dsn, autocommit=True) as connection:
                cursor = connection.execute(f"SET search_path = backlog_store; {statement}".encode())
                while cursor.nextset():
                    pass
                return cursor.fetchall() if cursor.description else []

        audit = postgres_audit.audit
    yield backend, ask, lambda: backend.read(lambda reader: list(audit(backend, reader, silent)))
    backend.close()


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Counts are added up after nearly every write, so that what is added up is what is read.
    """
    monkeypatch.setattr(sqlite_tallies, "PENDING_MAX", 3)
    monkeypatch.setattr(sqlite_writer, "_LOOK_EVERY", 1)
    monkeypatch.setattr(postgres_tallies, "MOVES_MAX", 3)


#: An instant of a day on which many of the sampled items wake, before it and after.
WAKING = "2026-03-01T17:00:00.000000Z"
WHERES: tuple[Where, ...] = (
    ANY,
    live(),
    In("env", ("prod",)),
    All((live(), In("env", ("prod",)), Compare("due_date", "<", "2026-03-20"))),
    Not(In("owner", ("",))),
    All((live(), In("priority", ("P0", "P1")))),
    In("service", ()),
    In("due_date", ("",)),
    All((live(), Compare("wake_at", ">", WAKING), Compare("due_date", "<", "2026-03-20"))),
    All((live(), In("env", ("prod",)), Compare("wake_at", "<=", WAKING), In("owner", ("",)))),
    All((Compare("wake_at", ">", WAKING), Not(In("priority", ("P2", "P3"))))),
)


def _check(backend: Backend, items: dict[str, Any]) -> None:
    def look(reader: Reader) -> None:
        for where in WHERES:
            for by in ((), ("status",), ("env", "status"), *((facet,) for facet in FACETS)):
                facets: tuple[Facet, ...] = by  # type: ignore[assignment]
                assert reader.tally(where, facets) == count_items(items.values(), where, facets), (where, by)

    backend.read(look)


@pytest.mark.parametrize("when", ["later", "often"])
def test_counts_are_what_counting_says(request: pytest.FixtureRequest, store: Store, when: str) -> None:
    """After items came, moved and went, in any order, each count is exact, added up already or not."""
    if when == "often":
        request.getfixturevalue("often")
    backend, _, audit = store
    items = {item.id: item for item in Sampler(3).items(60)}
    apply(backend, *(first(item) for item in items.values()))
    _check(backend, items)
    for number, id in enumerate(sorted(items)):
        item = items[id]
        if number % 5 == 0:
            apply(backend, Purge(id, item.revision))
            del items[id]
        else:
            changed = (
                {"status": "done"}
                if number % 2
                else {"owner": "zoe", "due_date": "2026-03-01", "wake_at": "2026-03-09T00:00:00.000000Z"}
            )
            change = then(item, **changed)
            apply(backend, change)
            items[id] = change.item
    late = an_item("bl_late", env="new")
    apply(backend, Load(late, ()))
    items[late.id] = late
    _check(backend, items)
    assert audit() == []


#: First, last and other days of months and years, those before and after them, and no days at all.
DAYS = ("2025-12-31", "2026-01-01", "2026-01-31", "2026-02-01", "2026-02-14", "2026-02-15", "2026-03-31", "2027-01-01")
ODD_DAYS = ("2026-02", "2026-02-30", "2026-13-01", "9999-99-99", "", "x")


@pytest.mark.parametrize("when", ["later", "often"])
def test_counts_of_ranges_of_days_are_exact(request: pytest.FixtureRequest, store: Store, when: str) -> None:
    """Due or waking before or after any day, or between two, in any combination, added up by months or not."""
    if when == "often":
        request.getfixturevalue("often")
    backend, _, audit = store
    wakes = ["", *(f"{day}T{hour}:00:00.000000Z" for day in DAYS for hour in ("00", "13"))]
    items = [
        an_item(f"bl_{n:03}", due_date=("", *DAYS)[n % 9], wake_at=wakes[n * 7 % 17], owner=("", "ann")[n % 2],
                priority=("P0", "P1", "P2", "P3")[n % 4], env=("prod", "dev")[n % 3 == 0])
        for n in range(100)
    ]  # fmt: skip
    apply(backend, *map(first, items))
    backend.read(lambda reader: reader.tally(ANY, ()))  # of so many, a count adds up what waits
    for n in range(0, 100, 9):
        change = then(items[n], due_date=DAYS[n % 8], wake_at=wakes[n % 17], status=("open", "done")[n % 2])
        apply(backend, change)
        items[n] = change.item
    ops = ("<", "<=", ">", ">=")
    dues: list[Where] = [Compare("due_date", op, day) for day in (*DAYS[1:6], *ODD_DAYS) for op in ops]  # type: ignore[arg-type]
    dues += [All((Compare("due_date", ">=", day), Compare("due_date", "<=", "2026-02-14"))) for day in DAYS]
    instants = (wakes[4], wakes[9], f"{wakes[9][:11]}12", "2026-02", "2026-02-30", wakes[16])
    waking: list[Where] = [Compare("wake_at", op, at) for at in instants for op in ops]  # type: ignore[arg-type]
    few: list[Where] = [Compare("due_date", "<", "2026-02-15"), Compare("due_date", ">=", "2026-01-31")]
    wheres = [*dues, *waking, *(All((one, due)) for one in waking for due in few)]
    wheres += [All((one, In("owner", ("",)), live(), In("env", ("prod",)))) for one in waking]

    def look(reader: Reader) -> None:
        for where in wheres:
            assert reader.tally(where, ()) == count_items(items, where, ()), where
        for where in wheres[::5]:
            assert reader.tally(where, ("due_date",)) == count_items(items, where, ("due_date",)), where

    backend.read(look)
    assert audit() == []


def test_a_change_that_moves_nothing_writes_no_count(store: Store) -> None:
    """Another title leaves the counts alone; another status leaves one cell and reaches one."""
    backend, ask, _ = store
    item = an_item("bl_a")
    apply(backend, first(item))
    for _ in range(65):  # so that a count finds enough to add up, where reading does that
        apply(backend, first(an_item(f"bl_{_}")))
    backend.read(lambda reader: reader.tally(ANY, ()))
    ((before,),) = ask("SELECT COUNT(*) FROM tally_moves")
    retitled = then(item, title="another")
    apply(backend, retitled)
    assert ask("SELECT COUNT(*) FROM tally_moves") == [(before,)]
    apply(backend, then(retitled.item, status="done"))
    assert ask("SELECT COUNT(*) FROM tally_moves") == [(before + 2,)]


@pytest.mark.usefixtures("often")
@pytest.mark.parametrize("flip", [
    "UPDATE tallies SET n = n + 1 WHERE facet = 'owner'",
    "DELETE FROM tallies WHERE facet = 'priority'",
    (
        "INSERT INTO tally_moves (n, env, status, priority, category, service, owner, source, due)"
        " VALUES (1, 'prod', 'open', 'P0', '', '', '', '', '')"
    ),
    "UPDATE tallies SET wake = '2026-03-04' WHERE facet = 'due asleep'",
    "UPDATE tallies SET n = n + 1 WHERE facet = 'due month'",
    "DELETE FROM tallies WHERE facet = 'due month asleep month'",
])  # fmt: skip
def test_a_count_that_is_not_so_is_found(store: Store, flip: str) -> None:
    """The audit compares each kept count with the items, and says which is wrong, and by how much."""
    backend, ask, audit = store
    for number in range(4):
        apply(backend, first(an_item(f"bl_{number}", wake_at=WAKING)))
    assert audit() == []
    ask(flip)
    found = audit()
    assert found
    assert all(fault.startswith("counts: ") and ("too many" in fault or "too few" in fault) for fault in found)


@pytest.mark.usefixtures("often")
def test_wrong_counts_are_made_anew_by_a_repair(tmp_path: Path) -> None:
    """Counts hold nothing that the items do not: a repair counts again, in place."""
    path = tmp_path / "backlog.db"
    backend = open_sqlite(path)
    for number in range(9):
        apply(backend, first(an_item(f"bl_{number}")))
    backend.close()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("UPDATE tallies SET n = 70")
    assert repair(path).remade
    backend = open_sqlite(path)
    assert backend.read(lambda reader: reader.tally(ANY, ())) == {(): 9}
    backend.close()


@pytest.mark.usefixtures("often")
def test_what_is_added_up_makes_room(store: Store) -> None:
    """The rows that wait stay few, and a cell that nobody is in any more is no row."""
    backend, ask, _ = store
    for number in range(40):
        apply(backend, first(an_item(f"bl_{number}", service=f"s{number}")))
        apply(backend, Purge(f"bl_{number}", 1))
    ((waiting,),) = ask("SELECT COUNT(*) FROM tally_moves")
    ((kept,),) = ask("SELECT COUNT(*) FROM tallies")
    assert waiting < 12
    assert kept < 12
