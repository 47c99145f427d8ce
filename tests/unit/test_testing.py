"""
What the testing package draws and counts is the same in every run, and what a store takes.
"""

from __future__ import annotations

import contextlib
import threading

import pytest
from hypothesis import given

from backlog_store.backends.memory import MemoryBackend
from backlog_store.backends.port import PutRecord, Sighting
from backlog_store.codec import decode_json, encode, from_builtins
from backlog_store.commands import Command
from backlog_store.errors import BacklogError
from backlog_store.executors.local import LocalExecutor
from backlog_store.model import Draft
from backlog_store.query import EventQuery, ItemQuery, check_query, order_key
from backlog_store.rules import check_draft
from backlog_store.testing.clocks import START, CountingIds, StepClock
from backlog_store.testing.conformance.base import apply
from backlog_store.testing.contents import contents
from backlog_store.testing.oracle import select_events, select_items
from backlog_store.testing.samples import Sampler, a_record, an_event, an_item, first
from backlog_store.testing.strategies import commands, drafts, item_queries


def test_a_step_clock_goes_on_by_itself_and_when_told() -> None:
    """Each reading is one step later; advancing may also go back."""
    clock = StepClock(step_s=0.5)
    assert [clock(), clock()] == [START, "2026-03-01T09:30:00.500000Z"]
    clock.advance(3_600)
    assert clock() == "2026-03-01T10:30:01.000000Z"
    clock.advance(-7_200)
    assert clock() < START


def test_counting_ids_never_repeat_between_threads() -> None:
    """Seeds are 32 hexadecimal digits, in order, and no two threads get the same one."""
    ids = CountingIds()
    assert ids() == "0" * 31 + "1"
    drawn: list[str] = []
    threads = [threading.Thread(target=lambda: drawn.extend(ids() for _ in range(200))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(drawn) == [f"{number:032x}" for number in range(2, 802)]


def test_the_same_seed_draws_the_same_values() -> None:
    """A failing program can be drawn again from its seed; another seed draws another one."""
    one, again, other = Sampler(7), Sampler(7), Sampler(8)
    assert one.items(20) == again.items(20)
    assert one.where(one.items(3)) == again.where(again.items(3))
    assert Sampler(7).items(20) != other.items(20)


@given(drafts())
def test_drawn_drafts_are_valid(draft: Draft) -> None:
    """Every draft of the strategy passes validation, so a refusal in a test is never the strategy's."""
    check_draft(draft)


@given(item_queries())
def test_drawn_queries_are_valid(query: ItemQuery) -> None:
    """Every query of the strategy may be asked."""
    check_query(query)


@given(commands())
def test_drawn_commands_travel_and_are_answered(command: Command) -> None:
    """A command survives its JSON form, and ends in an answer or in an error of the store, never in another one."""
    assert from_builtins(decode_json(encode(command)), Command) == command
    executor = LocalExecutor(MemoryBackend())
    with contextlib.suppress(BacklogError):
        assert executor.execute(command).batch


def test_the_contents_are_everything() -> None:
    """Items, events, records and sightings each show, and equal stores have equal contents whatever their history."""
    one, other = MemoryBackend(), MemoryBackend()
    item = an_item()
    assert contents(one) == []
    for change in (first(item), PutRecord(a_record("r")), Sighting("bl_1", "ruff", START, START, 2)):
        before = contents(one)
        apply(one, change)
        assert len(contents(one)) > len(before)
    apply(other, first(item), PutRecord(a_record("r")))
    apply(other, Sighting("bl_1", "ruff", START, START))
    assert contents(other) != contents(one)
    apply(other, Sighting("bl_1", "ruff", START, START))
    assert contents(other) == contents(one)


@pytest.mark.parametrize("descending", [False, True])
def test_the_oracle_pages_without_repeating(descending: bool) -> None:
    """Walking the plain list by cursor is the whole list, so it may judge backends."""
    items = Sampler(9).items(30)
    whole = select_items(items, ItemQuery(order="due", descending=descending, limit=None))
    assert len(whole) == 30
    seen: list[str] = []
    after = None
    while page := select_items(items, ItemQuery(order="due", descending=descending, limit=7, after=after)):
        seen += [item.id for item in page]
        after = order_key(page[-1], "due")
    assert seen == [item.id for item in whole]


def test_the_oracle_selects_events_by_hand() -> None:
    """A few events by hand: every filter, `None` for any, an empty tuple for none, the end excluded."""
    ts = [f"2026-03-0{day}T00:00:00.000000Z" for day in (1, 2, 3)]
    a, b, c = (
        an_event(an_item(f"bl_{n}"), ts=t, actor=n, position=n, batch=n, added=n == "c")
        for n, t in zip("abc", ts, strict=True)
    )
    cases: list[tuple[EventQuery, list[object]]] = [
        (EventQuery(), [a, b, c]), (EventQuery(newest_first=True, limit=2), [c, b]), (EventQuery(limit=0), []),
        (EventQuery(actors=("a", "c")), [a, c]), (EventQuery(actors=()), []), (EventQuery(since=ts[1]), [b, c]),
        (EventQuery(until=ts[1]), [a]), (EventQuery(after="a"), [b, c]), (EventQuery(batch="b"), [b]),
        (EventQuery(after="c", newest_first=True), [b, a]), (EventQuery(added=True), [c]),
        (EventQuery(item_ids=("bl_b",)), [b]), (EventQuery(types=("edited",)), []),
    ]  # fmt: skip
    for query, expected in cases:
        assert select_events([a, b, c], query) == expected, query
