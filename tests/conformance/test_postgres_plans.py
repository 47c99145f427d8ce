"""
Every hot statement of PostgreSQL uses the index that was made for it, on tables of real size with real statistics.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from backlog_store.backends.port import Sighting
from backlog_store.backends.postgres import forms, open_postgres
from backlog_store.backends.postgres import statements as sql
from backlog_store.backends.postgres.deadlines import Deadlines, moment_after
from backlog_store.backends.postgres.segments import Batch
from backlog_store.backends.postgres.sessions import DIALECT, FEED, numbered
from backlog_store.backends.postgres.wire import Link, Statement
from backlog_store.backends.sql.compile import compile_events
from backlog_store.backends.sql.counting import compile_tally
from backlog_store.backends.sql.pages import compile_items
from backlog_store.query import (
    ANY,
    All,
    Any_,
    Compare,
    EventQuery,
    Facet,
    HasWords,
    In,
    ItemQuery,
    Not,
    Order,
    OrderKey,
    Where,
    live,
    order_key,
)
from backlog_store.testing.clocks import START
from backlog_store.testing.postgres import PostgresServer
from backlog_store.testing.samples import a_record, an_item, first, then

ITEMS = 20_000
LAST = an_item(f"bl_{ITEMS - 1:06}", dedupe_key=f"k{ITEMS - 1}")
ID = "bl_000777"


@pytest.fixture(scope="module")
def link(postgres_server: PostgresServer) -> Iterator[Link]:
    """
    A connection to a store of 20,000 items, one in ten live, with words, tags, events and records.
    """
    dsn = postgres_server.create_database()
    open_postgres(dsn).close()
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("SET search_path = backlog_store")
        for statement in _FILLING:
            connection.execute(statement.encode(), {"count": ITEMS})
        connection.execute("VACUUM ANALYZE")
    link = Link(psycopg.connect(dsn, autocommit=True))
    link.exchange([Statement("SET search_path = backlog_store")], moment_after(5))
    yield link
    link.close()
    postgres_server.drop_database(dsn)


_FILLING = (
    """
    INSERT INTO items (id, revision, env, service, priority, status, owner, source, dedupe_key, due, created_at,
                       updated_at, closed_at, fix, expires_at, doc)
    SELECT 'bl_' || lpad(n::text, 6, '0'), 1, (ARRAY['prod', 'staging'])[1 + n %% 2], 'service' || n %% 20,
           'P' || n %% 4, CASE n %% 10 WHEN 0 THEN 'open' ELSE 'done' END, CASE n %% 50 WHEN 0 THEN 'ann' ELSE '' END,
           'ruff', 'k' || n, CASE n %% 3 WHEN 0 THEN '2026-04-' || lpad((1 + n %% 28)::text, 2, '0')
           ELSE '9999-99-99' END, '2026-03-01T' || n, '2026-03-02T' || n,
           CASE n %% 10 WHEN 0 THEN '' ELSE '2026-03-03T' || n END, CASE n %% 100 WHEN 0 THEN 'fix' || n ELSE '' END,
           CASE n %% 500 WHEN 0 THEN '2027-01-01' ELSE '' END, repeat('x', 500)
    FROM generate_series(0, %(count)s - 1) AS n
    """,
    "INSERT INTO item_tags SELECT id, 'tag' || substr(id, 8) FROM items",
    """
    INSERT INTO item_words
    SELECT id, said::tsvector, ' ' || said || ' '
    FROM (SELECT id, 'about ' || id || ' word' || substr(id, 6) AS said FROM items) AS text
    """,
    """
    INSERT INTO events
    SELECT 1000 + n / 3, n %% 3, 'bl_' || lpad((n %% %(count)s)::text, 6, '0'), 'edited', 'ruff', '2026-03-01', '',
           false, repeat('x', 300),
           -- A quarter each in this month, the next two and the default table.
           date_trunc('month', now() AT TIME ZONE 'UTC') + make_interval(months => 4 * n / (3 * %(count)s + 1))
    FROM generate_series(0, 3 * %(count)s) AS n
    """,
    "UPDATE events SET batch = 'b' || tx WHERE tx %% 100 = 0",
    "INSERT INTO records SELECT 'key', 'prod/k' || n, 1, repeat('x', 200) FROM generate_series(1, %(count)s) AS n",
    """
    INSERT INTO sightings SELECT id || '/ruff', 1, 1, '2026', '2026', '', 1 FROM items
    """,
)


#: Index of one month's events, and the index of all events that it is a part of.
PARTS = "SELECT inhrelid::regclass::text, inhparent::regclass::text FROM pg_inherits"


def scans(link: Link, statement: Statement, *settings: Statement) -> set[str]:
    """
    Return what the plan reads: the index of each index scan, ``seq TABLE``, and ``sort`` where it sorts.

    What is read of one month's events counts as read of all.
    """
    rows = link.exchange([Statement(PARTS)], moment_after(5))[0]
    parts = {part.decode(): whole.decode() for part, whole in rows}
    found: set[str] = set()
    _walk(plan(link, statement, *settings), found)
    return {parts.get(scan, scan) for scan in found}


def plan(link: Link, statement: Statement, *settings: Statement) -> dict[str, Any]:
    """
    Return the plan's first node.
    """
    answer = link.exchange(
        [
            Statement("BEGIN"),
            *settings,
            Statement(f"EXPLAIN (FORMAT JSON) {statement.sql}", statement.parameters),
            Statement("ROLLBACK"),
        ],
        moment_after(30),
    )[-2]
    found: dict[str, Any] = json.loads(b"\n".join(row[0] for row in answer))[0]["Plan"]
    return found


def _walk(plan: dict[str, Any], found: set[str]) -> None:
    match plan["Node Type"]:
        case "Seq Scan":
            found.add(f"seq {plan['Relation Name']}")
        case "Sort":
            found.add("sort")
    if "Index Name" in plan:
        found.add(plan["Index Name"])
    for child in plan.get("Plans", ()):
        _walk(child, found)


#: The one table that is always read whole: it has one row.
CLOCK = {"seq clock"}


def after(order: str) -> OrderKey:
    """
    Return a cursor in the middle.
    """
    return order_key(an_item("bl_010000", created_at="2026-03-01T5", updated_at="2026-03-02T5"), order)


SEARCHES: dict[str, tuple[Where, Order, set[str]]] = {
    "live, by priority": (live(), "priority", {"items_ready"}),
    "live in one env": (All((live(), In("env", ("prod",)))), "priority", {"items_ready_in_env"}),
    "all, newest": (ANY, "created", {"items_created"}),
    "all, updated": (ANY, "updated", {"items_updated"}),
    "all, by id": (ANY, "id", {"items_pkey"}),
    "ready": (In("stage", ("open", "in_progress")), "priority", {"items_ready"}),
    "waiting, by due date": (In("stage", ("waiting",)), "due", {"items_ready"}),
    "everything by priority": (ANY, "priority", {"items_ready"}),
}


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("page", ["first", "later"])
@pytest.mark.parametrize("name", SEARCHES)
def test_pages_are_read_in_order_without_a_sort(link: Link, name: str, page: str, descending: bool) -> None:
    """
    The first page and any later one cost the same: the rows come from the index in the order that is asked for.
    """
    where, order, expected = SEARCHES[name]
    cursor = after(order) if page == "later" else None
    query = ItemQuery(where=where, order=order, descending=descending, limit=50, after=cursor)
    assert scans(link, numbered(compile_items(query, DIALECT))) == expected


@pytest.mark.parametrize("page", ["first", "later"])
def test_a_page_by_due_date_reads_a_page_of_keys_of_each_branch(link: Link, page: str) -> None:
    """Each status and priority gives its first keys from the index; only the page's documents are looked up."""
    cursor = after("due") if page == "later" else None
    query = ItemQuery(where=live(), order="due", limit=50, after=cursor)
    assert scans(link, numbered(compile_items(query, DIALECT))) - {"sort"} == {"items_ready", "items_pkey"}


FILTERS: dict[str, tuple[Where, str]] = {
    "owner": (In("owner", ("ann",)), "items_owner"),
    "fix": (In("fix", ("fix700",)), "items_fix"),
    "dedupe key": (In("dedupe_key", ("k777",)), "items_key"),
    "some ids": (In("id", (ID, "bl_000778")), "items_pkey"),
    "tag": (In("tag", ("tag777",)), "item_tags_tag"),
    "word": (HasWords(("word0777",)), "item_words_words"),
    "phrase": (HasWords(("about", "bl_000777")), "item_words_words"),
    "prefix": (HasWords(("word077",), prefix=True), "item_words_words"),
    "one of two": (Any_((HasWords(("word0777",)), HasWords(("about", "bl_000778")))), "item_words_words"),
    "closed before": (Compare("closed_at", "<", "2026-03-03T1001"), "items_closed"),
    "expired": (Compare("expires_at", "<=", "2027-02-01"), "items_expires"),
}


@pytest.mark.parametrize("name", FILTERS)
def test_selective_conditions_lead_the_plan(link: Link, name: str) -> None:
    """What finds few items reads few items, whatever the order of the page."""
    where, index = FILTERS[name]
    found = scans(link, numbered(compile_items(ItemQuery(where=where, limit=50), DIALECT)))
    assert index in found
    assert not any(scan.startswith("seq") for scan in found)


@pytest.mark.parametrize("where", [In("tag", ("tag777",)), HasWords(("about",)), HasWords(("about", "bl"))])
def test_what_is_denied_is_no_list_that_each_row_is_held_against(link: Link, where: Where) -> None:
    """An item without a tag, or a word, is found by a join: of a list of many no one would be looked up in an index."""
    found = json.dumps(plan(link, numbered(compile_items(ItemQuery(where=Not(where), limit=50), DIALECT))))
    assert '"Join Type": "Anti"' in found
    assert "SubPlan" not in found


EVENTS: dict[str, tuple[EventQuery, str]] = {
    "of an item": (EventQuery(item_ids=(ID,)), "events_item"),
    "newest of an item": (EventQuery(item_ids=(ID,), newest_first=True, limit=1), "events_item"),
    "of a batch": (EventQuery(batch="b1100"), "events_batch"),
    "newest": (EventQuery(newest_first=True), "events_pkey"),
    "a tail": (EventQuery(after="00000000000000020000.0000000001"), "events_pkey"),
    "a tail's first page": (EventQuery(), "events_pkey"),
}


@pytest.mark.parametrize("name", EVENTS)
@pytest.mark.parametrize("dialect", [DIALECT, FEED], ids=["at once", "settled"])
def test_events_are_read_in_order_of_position(link: Link, name: str, dialect: Any) -> None:
    """A trail, a batch and a tail are each one walk along an index."""
    query, index = EVENTS[name]
    assert scans(link, numbered(compile_events(query, dialect))) - CLOCK == {index}


IDS = [f"bl_{number:06}" for number in range(0, 2_000, 7)]
KEYS = ([("prod", "staging")[number % 2] for number in range(20)], [f"k{number}" for number in range(20)])
MANY_KEYS = (["staging"] * 2_000, [f"k{number}" for number in range(2_000)])
READS: dict[str, tuple[Statement, set[str]]] = {
    "items": (Statement(sql.ITEMS, ([ID],)), {"items_pkey"}),
    "many items": (Statement(sql.ITEMS, (IDS,)), {"items_pkey"}),
    "a key": (Statement(sql.ITEM_BY_KEY, ("prod", "k776")), {"items_key"}),
    "keys": (Statement(sql.ITEMS_BY_KEY, KEYS), {"items_key"}),
    "keys of a whole report": (Statement(sql.ITEMS_BY_KEY, MANY_KEYS), {"items_key"}),
    "records": (Statement(sql.RECORDS, ("key", ["prod/k1", "prod/k2"])), {"records_pkey"}),
    "a glance": (
        Statement(sql.glance(1, 1, 1), (ID, "prod", "k776", "key", "prod/k1")),
        {"items_pkey", "items_key", "records_pkey"},
    ),
    "a scan": (Statement(sql.SCAN, ("key", "prod/k5", "prod/k", "prod/l", 100)), {"records_pkey"}),
    "a scan to the end": (Statement(sql.SCAN_TO_END, ("key", "prod/k5", "", 100)), {"records_pkey"}),
    "sightings": (Statement(sql.SIGHTED, ([f"{ID}/ruff"],)), {"sightings_pkey"}),
    "an item's sightings": (Statement(sql.SIGHTED_SCAN, ("", f"{ID}/", f"{ID}0", 9)), {"sightings_pkey"}),
    "standing keys": (Statement(sql.STANDING_KEYS, MANY_KEYS), {"items_key"}),
    "standing records": (Statement(sql.STANDING_RECORDS, (["key"], ["prod/k1"])), {"records_pkey"}),
    "locks of items": (Statement(sql.LOCK_ITEMS, ([ID],)), {"items_pkey"}),
    "locks of keys": (Statement(sql.LOCK_KEYS, KEYS), {"items_key", "items_pkey"}),
    "locks of records": (Statement(sql.LOCK_RECORDS, (["key"], ["prod/k1"])), {"records_pkey"}),
}


@pytest.mark.parametrize("name", READS)
def test_reads_by_name_go_through_their_index(link: Link, name: str) -> None:
    """Ids, keys and names are looked up, never searched for."""
    statement, expected = READS[name]
    assert scans(link, statement) - {"sort"} == expected


@pytest.mark.parametrize("count", [1, 20, 2_000])
def test_writes_touch_only_their_rows(link: Link, count: int) -> None:
    """Changing, sighting, purging and requiring some rows of many reads no table from end to end."""
    items = [an_item(f"bl_{number:06}", dedupe_key=f"k{number}") for number in range(count)]
    batch = Batch({item.id: item for item in items})
    for item in items:
        batch.add(then(item, title="new", tags=("x",)), apart=False)
        batch.add(Sighting(item.id, "ruff", START, START), apart=False)
    statements = batch.take()
    few = items[:20]  # only what is reported comes by the thousand
    statements += [
        forms.PURGE.on([(item.id, 1) for item in few]),
        forms.TRIM.on([(item.id, 1) for item in few]),
        *(Statement(rest, ([item.id for item in few],)) for rest in forms.PURGE_REST),
        forms.REQUIRE_ITEM.on([(item.id, 1) for item in few]),
        forms.REQUIRE_RECORD.on([("key", f"prod/k{number}", 1) for number in range(len(few))]),
        forms.CHANGE_RECORD.on([forms.record_row(a_record("r", kind="key", revision=2)) for _ in few]),
        forms.DROP_RECORD.on([("key", f"prod/k{number}", 1) for number in range(len(few))]),
        Statement(forms.FORGET_NO_ITEM, ([item.id for item in few],)),
        forms.FORGET_NO_RECORD.on([("key", f"prod/k{number}") for number in range(len(few))]),
        forms.CREATE.on([forms.item_row(first(LAST).item)] * count),
    ]
    settings = sql.BY_NAME if count > Deadlines.BATCH else ()
    for statement in statements:
        found = {scan for scan in scans(link, statement, *settings) if scan.startswith("seq")}
        assert found <= CLOCK, statement.sql


COUNTS: dict[str, tuple[Where, tuple[Facet, ...]]] = {
    "of all": (ANY, ()),
    "by status and priority": (In("env", ("prod",)), ("status", "priority")),
    "by owner": (live(), ("owner",)),
    "overdue": (All((live(), Compare("due_date", "<", "2026-04-20"))), ()),
}


@pytest.mark.parametrize("name", COUNTS)
def test_counts_do_not_look_at_items(link: Link, name: str) -> None:
    """The dashboard's counts come from what was counted at each write."""
    where, by = COUNTS[name]
    found = scans(link, numbered(compile_tally(where, by, DIALECT)))
    assert found <= {"seq tallies", "tallies_pkey", "seq tally_moves"}


def test_what_somebody_has_claimed_is_found_by_an_index_of_it(link: Link) -> None:
    """Few items are claimed: looking for them costs those few, however many there are."""
    found = scans(link, numbered(compile_items(ItemQuery(where=In("claimed_by", ("ann",))), DIALECT)))
    assert found - {"sort", "incremental sort"} == {"items_claimed", "items_pkey"}


@pytest.mark.parametrize("more", [(), (In("priority", ("P0", "P1")),), (Compare("due_date", "<", "2026-04-20"),)])
def test_counts_of_sleepers_look_at_one_day_of_an_index(link: Link, more: tuple[Where, ...]) -> None:
    """Who sleeps is counted by day as it is written; those of the day in question are told from an index alone."""
    where = All((live(), In("env", ("prod",)), Compare("wake_at", ">", "2026-04-20T09"), *more))
    statement = numbered(compile_tally(where, (), DIALECT))
    assert scans(link, statement) <= {"items_wake", "seq tallies", "tallies_pkey", "seq tally_moves"}
    assert "Index Only Scan" in str(plan(link, statement))


def test_a_page_that_is_sorted_reads_the_rows_of_its_page_alone(link: Link) -> None:
    """What woke is sorted from an index of those that sleep; only the items of the page are looked up."""
    where = All((live(), Compare("wake_at", "<=", "2026-03-04T")))
    statement = numbered(compile_items(ItemQuery(where=where, limit=5), DIALECT))
    assert scans(link, statement) - {"sort"} == {"items_wake", "items_pkey"}
    assert "Index Only Scan" in str(plan(link, statement))


def test_overdue_items_by_priority_are_a_range_of_each_priority(link: Link) -> None:
    """The first overdue items are read from where they stand, however many are not due."""
    where = All((live(), In("env", ("prod",)), Compare("due_date", "<", "2026-04-20")))
    assert scans(link, numbered(compile_items(ItemQuery(where=where, limit=20), DIALECT))) - {"sort"} == {
        "items_ready_in_env",
        "items_pkey",
    }
