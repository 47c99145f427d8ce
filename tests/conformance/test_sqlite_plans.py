"""
How SQLite carries out every statement that is hot: by an index, in its order, without a sort and without a scan.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from backlog_store.backends.port import Purge, PutRecord, Reader, Sighting, Writer
from backlog_store.backends.sqlite import open_sqlite
from backlog_store.backends.sqlite.connection import connect
from backlog_store.backends.sqlite.reader import SqliteReader
from backlog_store.backends.sqlite.writer import SqliteWriter
from backlog_store.query import ANY, All, Compare, EventQuery, HasWords, In, ItemQuery, Not
from backlog_store.rules.ready import ready
from backlog_store.testing.clocks import START
from backlog_store.testing.samples import Sampler, a_record, an_item, first, then

LIVE = In("status", ("open", "in_progress", "blocked"))
PROD = In("env", ("prod",))
AFTER = ("P1", "2026-03-11", "bl_a")
A = an_item("bl_a", dedupe_key="ka", tags=("flaky", "perf"))
#: What a page in order may do: walk the one index, and merge.
PAGE = {"SEARCH items USING INDEX items_order", "MERGE (UNION ALL)", "LEFT", "RIGHT"}


class Watched:
    """
    A connection that notes what it is asked. It stands in for the real one and asks it everything.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        self.asked: list[tuple[str, Sequence[Any]]] = []

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> sqlite3.Cursor:
        self.asked.append((sql, parameters))
        return self.connection.execute(sql, parameters)

    def executemany(self, sql: str, rows: Sequence[Sequence[Any]]) -> sqlite3.Cursor:
        self.asked.append((sql, rows[0]))
        return self.connection.executemany(sql, rows)

    def plans(self) -> list[list[str]]:
        """
        Return the plan of each statement asked so far, without the conditions in brackets, and forget them.
        """
        found = []
        for sql, parameters in self.asked:
            steps = self.connection.execute(f"EXPLAIN QUERY PLAN {sql}", parameters).fetchall()
            if steps:
                found.append([step[3] for step in steps])
        self.asked.clear()
        return found


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    """
    A connection to a store of a few hundred items.
    """
    path = tmp_path / "backlog.db"
    store = open_sqlite(path)
    store.write(lambda writer: writer.apply([first(item) for item in [A, *Sampler(7).items(300)]]))
    store.close()
    connection = connect(str(path), synchronous="FULL", busy_timeout_s=1, writes=True)
    yield Watched(connection)
    connection.close()


def _reader(watched: Watched) -> SqliteReader:
    return SqliteReader(watched, "backlog.db")  # type: ignore[arg-type]  # a stand-in


def _names(plan: list[str]) -> set[str]:
    return {step.partition(" (")[0] if not step.startswith("MERGE") else step for step in plan}


PAGES: dict[str, ItemQuery] = {
    "live": ItemQuery(where=LIVE),
    "everything": ItemQuery(),
    "next page": ItemQuery(where=LIVE, after=AFTER),
    "live of an env": ItemQuery(where=All((LIVE, PROD))),
    "next page of an env": ItemQuery(where=All((LIVE, PROD)), after=AFTER),
    "last pages of an env": ItemQuery(where=All((LIVE, PROD)), after=AFTER, descending=True),
    "one status": ItemQuery(where=In("status", ("blocked",))),
    "one status of an env": ItemQuery(where=All((In("status", ("done",)), PROD))),
    "one priority": ItemQuery(where=All((LIVE, In("priority", ("P0",))))),
    "a service": ItemQuery(where=All((LIVE, PROD, In("service", ("a",))))),
    "by due date": ItemQuery(where=LIVE, order="due"),
    "ready": ItemQuery(where=All((In("stage", ("open", "in_progress")), Not(Compare("wake_at", ">", START))))),
    "ready in an env": ItemQuery(where=All((In("stage", ("open",)), PROD)), after=AFTER),
    "waiting": ItemQuery(where=In("stage", ("waiting",))),
    "overdue": ItemQuery(where=All((LIVE, PROD, Compare("due_date", "<", "2026-03-20"))), order="due", limit=20),
    "overdue by priority": ItemQuery(where=All((LIVE, PROD, Compare("due_date", "<", "2026-03-20"))), limit=20),
    "overdue, next": ItemQuery(where=All((LIVE, PROD)), order="due", after=("2026-03-11", "P1", "bl_a")),
}


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_read_in_the_order_of_the_index(watched: Watched, name: str) -> None:
    """No page in the orders by priority or due date sorts or scans, whichever page it is."""
    _reader(watched).search(PAGES[name])
    *envs, page = watched.plans()
    assert _names(page) <= PAGE
    assert all("SCAN items" not in step and "TEMP" not in step for plan in envs for step in plan)


def test_a_branch_starts_at_the_cursor(watched: Watched) -> None:
    """The next page is sought by the whole key in the index, and is no skipping of rows."""
    query = ItemQuery(where=All((In("status", ("in_progress",)), PROD)), after=AFTER)
    _reader(watched).search(query)
    (page,) = watched.plans()
    assert page == ["SEARCH items USING INDEX items_order (env=? AND status=? AND (priority,due,id)>(?,?,?))"]


@pytest.mark.parametrize("name", ["overdue", "overdue by priority"])
def test_overdue_items_are_a_range_of_the_index(watched: Watched, name: str) -> None:
    """Items due before a day are read from where they stand, and no others are looked at."""
    _reader(watched).search(PAGES[name])
    (plan,) = watched.plans()
    assert {step for step in plan if step.startswith("SEARCH")} == {
        "SEARCH items USING INDEX items_order (env=? AND status=? AND priority=? AND due<?)"
    }


MANY = tuple(f"x{number}" for number in range(100))
LIST = {"LIST SUBQUERY", "SCAN json_each VIRTUAL TABLE INDEX 1:"}
BY_ID = "SEARCH items USING INDEX sqlite_autoindex_items_1 (id=?)"
BY_KEY = "SEARCH items USING INDEX items_key (env=? AND dedupe_key=?)"
CHAIN = {
    "SEARCH events USING INTEGER PRIMARY KEY (rowid=?)", BY_ID, "SCAN trail", "CO-ROUTINE trail", "SETUP",
    "SEARCH events USING INDEX events_unchained (item_id=?)", "RECURSIVE STEP", "LIST SUBQUERY", "COMPOUND QUERY",
    "LEFT-MOST SUBQUERY", "UNION ALL",
}  # fmt: skip
#: What a count may look at beside the sums: what moved since, and the rows above the mark; and the list of months and
#: days that make up a range.
COUNTS = {
    "CO-ROUTINE stretch", "SCAN stretch", "SCAN 2 CONSTANT ROWS", "SCAN 4 CONSTANT ROWS",
    "COMPOUND QUERY", "LEFT-MOST SUBQUERY", "UNION ALL", "SCAN tally_moves",
    "SEARCH items USING INTEGER PRIMARY KEY (rowid>?)", "SCAN marks", "USE TEMP B-TREE FOR GROUP BY", "SCALAR SUBQUERY",
}  # fmt: skip
#: Which envs there are: a step in an index for each.
ENVS = {
    "CO-ROUTINE found", "SETUP", "SEARCH items USING COVERING INDEX items_order", "RECURSIVE STEP", "SCAN found",
    "SEARCH items USING COVERING INDEX items_order (env>?)", "CORRELATED SCALAR SUBQUERY 2",
}  # fmt: skip
#: A range of days, or of months: both ends are sought.
RANGE = "SEARCH tallies USING PRIMARY KEY (facet=? AND env=? AND status=? AND value>? AND value<?)"
RANGE_OF_WAKING = "SEARCH tallies USING PRIMARY KEY (facet=? AND env=? AND status=? AND value=? AND wake>? AND wake<?)"
#: And a count of those that sleep: the rows of one day, from the index alone.
SLEEPERS = {
    "SEARCH items USING COVERING INDEX items_wake (wake_at>? AND wake_at<?)",
    "SEARCH tallies USING PRIMARY KEY (facet=? AND env=? AND status=?)", *COUNTS,
}  # fmt: skip
#: Each hot read, and every step that its plan may have.
READS: dict[str, tuple[Callable[[Reader], object], set[str]]] = {
    "an item": (lambda reader: reader.items(["bl_a"]), {BY_ID}),
    "items": (lambda reader: reader.items(MANY), {BY_ID, *LIST}),
    "a key": (lambda reader: reader.items_by_key([("prod", "ka")]), {BY_KEY}),
    "keys": (lambda reader: reader.items_by_key([("prod", key) for key in MANY]), {BY_KEY, *LIST}),
    "a record": (
        lambda reader: reader.records("view", ["a"]), {"SEARCH records USING PRIMARY KEY (kind=? AND id=?)"},
    ),
    "records": (
        lambda reader: reader.records("view", MANY), {"SEARCH records USING PRIMARY KEY (kind=? AND id=?)", *LIST},
    ),
    "a scan of records": (
        lambda reader: reader.scan("view", "p/", "", 9),
        {"SEARCH records USING PRIMARY KEY (kind=? AND id>? AND id<?)"},
    ),
    "a scan of sightings": (
        lambda reader: reader.scan("sighting", "bl_a/", "", 9),
        {"SEARCH sightings USING PRIMARY KEY (id>? AND id<?)"},
    ),
    "events of an item": (lambda reader: reader.events(EventQuery(item_ids=("bl_a",))), CHAIN),
    "newest event of an item": (
        lambda reader: reader.events(EventQuery(item_ids=("bl_a",), newest_first=True, limit=1)), CHAIN,
    ),
    "the tail of the events": (
        lambda reader: reader.events(EventQuery(after="0000000000000005")),
        {"SEARCH events USING INTEGER PRIMARY KEY (rowid>?)"},
    ),
    "the newest events": (lambda reader: reader.events(EventQuery(newest_first=True)), {"SCAN events"}),
    "counts of an env": (
        lambda reader: reader.tally(All((LIVE, PROD)), ("status", "priority")),
        {"SEARCH tallies USING PRIMARY KEY (facet=? AND env=? AND status=?)", *COUNTS},
    ),
    "counts by service": (
        lambda reader: reader.tally(All((LIVE, PROD)), ("service",)),
        {"SEARCH tallies USING PRIMARY KEY (facet=? AND env=? AND status=?)", *COUNTS},
    ),
    "counts by owner": (
        lambda reader: reader.tally(LIVE, ("owner",)),
        {"SEARCH tallies USING PRIMARY KEY (facet=? AND env=? AND status=?)", *COUNTS, *ENVS},
    ),
    "how many there are": (
        lambda reader: reader.tally(ANY, ()), {"SEARCH tallies USING PRIMARY KEY (facet=?)", *COUNTS},
    ),
    "how many are overdue": (
        lambda reader: reader.tally(All((LIVE, PROD, Compare("due_date", "<", "2026-03-20"))), ()),
        {RANGE, *COUNTS},
    ),
    "how many are overdue in any env": (
        lambda reader: reader.tally(All((LIVE, Compare("due_date", "<", "2026-03-20"))), ()),
        {RANGE, *COUNTS, *ENVS},
    ),
    "how many sleep": (
        lambda reader: reader.tally(All((LIVE, PROD, Compare("wake_at", ">", START))), ()),
        SLEEPERS | {RANGE_OF_WAKING},
    ),
    "how many urgent ones sleep": (
        lambda reader: reader.tally(
            All((LIVE, PROD, Compare("wake_at", ">", START), In("priority", ("P0", "P1")))), ()
        ),
        SLEEPERS | {RANGE_OF_WAKING},
    ),
    "how many unowned ones of any env woke": (
        lambda reader: reader.tally(All((LIVE, Compare("wake_at", "<=", START), In("owner", ("",)))), ()),
        SLEEPERS | {RANGE_OF_WAKING, *ENVS},
    ),
    "how many late ones sleep": (
        lambda reader: reader.tally(
            All((LIVE, PROD, Compare("wake_at", ">", START), Compare("due_date", "<", "2026-03-20"))), ()
        ),
        SLEEPERS | {RANGE},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", READS)
def test_a_read_goes_by_an_index(watched: Watched, name: str) -> None:
    """Every step of the plan is one that is meant."""
    read, allowed = READS[name]
    read(_reader(watched))
    plans = watched.plans()
    assert plans
    numbered = ("LIST", "SCALAR")
    steps = {step.rstrip(" 0123456789") if step.startswith(numbered) else step for plan in plans for step in plan}
    assert steps <= allowed


#: Each selective condition, and the index that leads although the page's index looks better to the planner.
SELECTIVE: dict[str, tuple[Any, str]] = {
    "an owner": (In("owner", ("ann",)), "SCAN item_words VIRTUAL TABLE"),
    "a fix": (In("fix", ("upgrade",)), "SCAN item_words VIRTUAL TABLE"),
    "a tag": (In("tag", ("flaky",)), "SCAN item_words VIRTUAL TABLE"),
    "words": (HasWords(("burn", "rate")), "SCAN item_words VIRTUAL TABLE"),
    "a key": (In("dedupe_key", ("ka",)), "items_key (env=? AND dedupe_key=?)"),
    "ids": (In("id", MANY), "sqlite_autoindex_items_1 (id=?)"),
    "a prefix of an id": (All((Compare("id", ">=", "bl_a"), Compare("id", "<", "bl_b"))), "(id>? AND id<?)"),
    "closed before": (Compare("closed_at", "<", "2026-06-01"), "items_closed (closed_at<?)"),
    "expired": (Compare("expires_at", "<", "2026-06-01"), "items_expires (expires_at<?)"),
    "woken of late": (
        All((Compare("wake_at", ">", "2026-05-01"), Compare("wake_at", "<=", "2026-06-01"))),
        "items_wake (wake_at>? AND wake_at<?)",
    ),
}


@pytest.mark.parametrize("name", SELECTIVE)
@pytest.mark.parametrize("others", [(), (LIVE,), (LIVE, PROD), (In("status", ("open",)), PROD)], ids=len)
def test_a_selective_condition_leads(watched: Watched, name: str, others: tuple[In, ...]) -> None:
    """Whatever stands beside it, what finds few items is asked first."""
    where, index = SELECTIVE[name]
    reader = _reader(watched)
    reader.search(ItemQuery(where=All((*others, where))))
    reader.tally(All((*others, where)), ("closed_reason",))  # which nobody counts beforehand
    plans = [plan for plan in watched.plans() if "CO-ROUTINE found" not in plan]  # which asks for the envs
    assert len(plans) == 2
    for plan in plans:
        assert any(index in step for step in plan), plan
        assert not any("items_order" in step or "SCAN items" in step.replace("SCAN item_words", "") for step in plan)


def test_a_page_that_is_sorted_reads_the_documents_of_its_rows_alone(watched: Watched) -> None:
    """What woke within a week is sorted from an index of those that sleep; only the rows of the page are read."""
    woke = All((LIVE, Compare("wake_at", "<=", START), Compare("wake_at", ">", "2026-02-22")))
    _reader(watched).search(ItemQuery(where=woke, limit=5))
    (plan,) = watched.plans()
    assert [step for step in plan if "items" in step] == [
        "SEARCH items USING COVERING INDEX items_wake (wake_at>? AND wake_at<?)",
        "SEARCH items USING INTEGER PRIMARY KEY (rowid=?)",
    ]


@pytest.mark.parametrize("relation", ["<=", ">"])
def test_what_woke_and_what_sleeps_are_pages_of_an_index_in_order(watched: Watched, relation: Any) -> None:
    """However many woke, or sleep, a page reads its own rows, and passes over the others of the index."""
    _reader(watched).search(ItemQuery(where=All((LIVE, PROD, Compare("wake_at", relation, START))), limit=5))
    (plan,) = watched.plans()
    assert {step for step in plan if "items" in step} == {
        "SEARCH items USING INDEX items_wake_order (env=? AND status=?)"
    }
    assert not any("TEMP" in step for step in plan)


def test_a_page_of_far_fewer_rows_than_branches_reads_the_documents_of_its_rows_alone(watched: Watched) -> None:
    """The first overdue items that are awake, of all envs: each branch is looked at in the index alone."""
    awake = All((LIVE, Compare("due_date", "<", "2026-03-20"), Not(Compare("wake_at", ">", START))))
    _reader(watched).search(ItemQuery(where=awake, limit=5))
    *_, page = watched.plans()
    assert {step.partition(" (")[0] for step in page if "items" in step} == {
        "SEARCH items USING COVERING INDEX items_order",
        "SEARCH items USING INTEGER PRIMARY KEY",
    }


def _create(writer: Writer) -> None:
    item = an_item("bl_new", dedupe_key="new", tags=("t",))
    writer.items_by_key([("prod", "new")])
    writer.apply([first(item)])


#: Each hot write.
WRITES: dict[str, Callable[[Writer], None]] = {
    "create": _create,
    "change": lambda writer: writer.apply([then(A, title="new", status="done", tags=("perf",))]),
    "many": lambda writer: writer.apply([then(A, title="new"), first(an_item("bl_x")), first(an_item("bl_y"))]),
    "purge": lambda writer: writer.apply([Purge("bl_a", 1)]),
    "sighting": lambda writer: writer.apply([Sighting("bl_a", "ruff", START, START)]),
    "record": lambda writer: writer.apply([PutRecord(a_record("r"))]),
}


@pytest.mark.parametrize("name", WRITES)
def test_a_write_scans_nothing(watched: Watched, name: str) -> None:
    """No statement of a write walks over rows that it is not about."""
    WRITES[name](SqliteWriter(watched, "backlog.db"))  # type: ignore[arg-type]  # a stand-in
    small = ("SCAN marks", "SCAN trail", "SCAN item_words VIRTUAL TABLE INDEX 0:=", "SCAN json_each")
    steps = [step for plan in watched.plans() for step in plan]
    assert steps
    assert [step for step in steps if "SCAN" in step and not step.startswith(small)] == []
    assert [step for step in steps if "TEMP B-TREE" in step] == []


def test_a_single_report_costs_four_statements(watched: Watched) -> None:
    """Looking up a key and writing a new item with its event: nothing that could be left out is asked."""
    item = an_item("bl_new", dedupe_key="new")
    writer = SqliteWriter(watched, "backlog.db")  # type: ignore[arg-type]  # a stand-in
    writer.items_by_key([("prod", "new")])
    writer.apply([first(item)])
    writer.finish()
    verbs = [sql.split()[0] for sql, _ in watched.asked]
    assert verbs == ["SELECT", "SELECT", "INSERT", "INSERT"]


def test_two_thousand_drafts_cost_a_handful_of_statements(watched: Watched) -> None:
    """A batch of new items is looked up and written in as many statements as there are tables."""
    items = [an_item(f"bl_{number}", dedupe_key=f"k{number}") for number in range(2_000)]
    writer = SqliteWriter(watched, "backlog.db")  # type: ignore[arg-type]  # a stand-in
    writer.items_by_key([("prod", item.dedupe_key) for item in items])
    writer.apply([first(item) for item in items])
    assert len(watched.asked) <= 6
    watched.asked.clear()
    writer.apply([then(item, title="changed") for item in items])
    assert len(watched.asked) <= 4
    watched.asked.clear()
    writer.apply([Sighting(item.id, "ruff", START, START) for item in items])
    assert len(watched.asked) == 1


def _steps_of_ready(path: Path, waiting: int) -> int:
    """
    Return how many steps of SQLite's machine the first page of ready items takes beside so many that wait.
    """
    store = open_sqlite(path)
    items = [an_item(f"bl_w{number}", priority="P0", blocked_by=1) for number in range(waiting)]
    items += [an_item(f"bl_r{number}", priority="P3") for number in range(20)]
    store.write(lambda writer: writer.apply([first(item) for item in items]))
    store.close()
    connection = connect(str(path), synchronous="FULL", busy_timeout_s=1, writes=False)
    steps = 0

    def count() -> int:
        nonlocal steps
        steps += 1
        return 0

    connection.set_progress_handler(count, 1)
    found = ready(SqliteReader(connection, str(path)), now=START, limit=10)
    connection.close()
    assert [item.priority for item in found] == ["P3"] * 10
    return steps


def test_a_long_list_of_waiting_items_costs_what_is_ready_nothing(tmp_path: Path) -> None:
    """Two thousand more urgent items that wait are not walked past, one by one, to find what can be taken."""
    few, many = _steps_of_ready(tmp_path / "few.db", 20), _steps_of_ready(tmp_path / "many.db", 2_000)
    assert many < few * 1.5
