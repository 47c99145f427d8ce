"""
The state in memory: its indexes against plain lists, its way back, and the values it hands out.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from functools import partial
from typing import get_args

import pytest
from msgspec.structs import replace

from backlog_store.backends import ordered
from backlog_store.backends.memory import MemoryBackend
from backlog_store.backends.ordered import Ordered
from backlog_store.backends.port import Change, Purge, PutRecord, Reader, Writer
from backlog_store.backends.state import State
from backlog_store.backends.transaction import View, transact
from backlog_store.errors import BackendError
from backlog_store.model import PRIORITIES, STATUSES, Item
from backlog_store.query import (
    FACETS,
    ORDERS,
    All,
    Compare,
    EventQuery,
    Facet,
    HasWords,
    In,
    ItemQuery,
    Where,
    order_key,
)
from backlog_store.testing.conformance.base import apply, events_of, search
from backlog_store.testing.contents import contents
from backlog_store.testing.oracle import count_items, select_items
from backlog_store.testing.samples import Sampler, a_record, an_event, an_item, first, then


class Boom(Exception):
    pass


def change_at_random(sampler: Sampler, items: dict[str, Item], number: int) -> Change:
    """
    Draw a change that is allowed on *items*, and carry it out there.
    """
    rng = sampler.rng
    kind = rng.randrange(5) if items else 0
    if kind < 2:
        item = sampler.item(number)
        items[item.id] = item
        return first(item)
    item = rng.choice(list(items.values()))
    if kind == 4:
        del items[item.id]
        return Purge(item.id, item.revision)
    drawn = sampler.item(number)
    put = then(
        item, status=rng.choice(STATUSES), priority=rng.choice(PRIORITIES), due_date=drawn.due_date, tags=drawn.tags,
        owner=drawn.owner, service=drawn.service, updated_at=drawn.updated_at, title=drawn.title,
    )  # fmt: skip
    items[item.id] = put.item
    return put


def check_against_lists(state: State, sampler: Sampler, items: dict[str, Item]) -> None:
    """
    Ask the state and the plain list the same drawn questions.
    """
    rng, view = sampler.rng, View(state)
    plain = list(items.values())
    for _ in range(6):
        query = ItemQuery(
            where=sampler.where(plain), order=rng.choice(list(ORDERS)), descending=rng.random() < 0.5,  # type: ignore[arg-type]
            limit=rng.choice((None, 0, 1, 3, 50)), offset=rng.choice((0, 0, 2)),
        )  # fmt: skip
        if plain and rng.random() < 0.3:
            query = replace(query, after=order_key(rng.choice(plain), query.order))
        assert select_items(plain, query) == view.search(query)
        by: tuple[Facet, ...] = tuple(rng.sample(FACETS, k=rng.randrange(3)))
        assert count_items(plain, query.where, by) == view.tally(query.where, by)


@pytest.mark.parametrize("seed", range(8))
def test_every_index_follows_every_change(seed: int) -> None:
    """Whenever an index came into being, it answers as a plain list does, after commits and after a way back."""
    sampler = Sampler(seed)
    state, items = State(), dict[str, Item]()
    for number in range(250):
        before = dict(items)

        def work(writer: Writer, number: int = number, items: dict[str, Item] = items) -> None:
            writer.apply([change_at_random(sampler, items, number)])
            if sampler.rng.random() < 0.2:
                raise Boom

        try:
            transact(state, "state", work)
        except Boom:
            items = before
        if number % 25 == seed:
            check_against_lists(state, sampler, items)


def a_store_of(count: int) -> tuple[MemoryBackend, list[Item]]:
    """
    Return a memory store of so many items of a few services, and the items.
    """
    backend = MemoryBackend()
    items = [
        an_item(
            f"bl_{number:05d}",
            service=f"s{number % 97}",
            owner=("ann", "bob")[number % 2],
            dedupe_key=f"k{number}",
            due_date=f"2026-05-{number % 28 + 1:02d}",
            priority=PRIORITIES[number % 4],
            title=f"problem number {number}",
        )
        for number in range(count)
    ]
    apply(backend, *(first(item) for item in items))
    return backend, items


@pytest.mark.parametrize(
    "where",
    [
        In("service", ("s7", "s8")),
        All((In("owner", ("ann",)), In("service", ("s7",)))),
        Compare("due_date", "<", "2026-05-02"),
        Compare("due_date", ">", "2026-05-27"),
        All((In("status", ("open",)), Compare("due_date", "<=", "2026-05-01"))),
        In("dedupe_key", ("k3", "nothing")),
        In("id", ("bl_00009", "bl_00002", "nothing")),
        HasWords(("number", "77")),
        All((In("owner", ("bob",)), HasWords(("number", "77"), prefix=True))),
    ],
    ids=repr,
)
def test_a_narrow_condition_among_many_items_finds_the_same(where: Where) -> None:
    """Sets, slices of orders and the quick look at bytes leave out only what does not match."""
    backend, items = a_store_of(1_000)
    for order in ("priority", "updated"):
        query = ItemQuery(where=where, order=order, limit=20)
        assert select_items(items, query) == search(backend, query)
    assert count_items(items, where, ("owner",)) == backend.read(lambda reader: reader.tally(where, ("owner",)))


def tally(reader: Reader, by: tuple[Facet, ...]) -> Mapping[tuple[str, ...], int]:
    """
    Count all items by these facets.
    """
    return reader.tally(All(), by)


def test_more_groups_than_are_kept_are_counted_still() -> None:
    """Each of many different tallies is right, also when an earlier one had to make room and is asked again."""
    backend, items = a_store_of(200)
    facets: tuple[Facet, ...] = get_args(Facet)
    groups: list[tuple[Facet, ...]] = [(a, b) for a in facets for b in facets if a < b]
    for by in (*groups, groups[0]):
        assert count_items(items, All(), by) == backend.read(partial(tally, by=by))


@pytest.mark.parametrize("at_once", [0, 1_000_000])
def test_ordered_keys_stay_in_order(monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
    """Adding and removing, few or many between two looks, gives the sorted keys that are left."""
    monkeypatch.setattr(ordered, "_ONE_BY_ONE", at_once)
    rng = random.Random(5)
    left = {str(number) for number in range(50)}
    keys: Ordered[str] = Ordered(left)
    for _ in range(40):
        for _ in range(rng.randrange(6)):
            key = str(rng.randrange(80))
            if key in left:
                left.remove(key)
                keys.remove(key)
            else:
                left.add(key)
                keys.add(key)
        assert sorted(left) == keys.keys()


def test_a_value_without_a_json_form_leaves_nothing_of_its_list() -> None:
    """Where a value cannot be written down, the changes before it in the list are undone, and the store goes on."""
    backend = MemoryBackend()
    odd = replace(an_item("bl_odd"), meta={"what": object()})

    def swallow(writer: Writer) -> None:
        with pytest.raises(TypeError):
            writer.apply([first(an_item("bl_a")), PutRecord(a_record()), first(odd)])
        writer.apply([first(an_item("bl_b"))])

    backend.write(swallow)
    assert [b"event", b"item"] == sorted({line.split()[0] for line in contents(backend)})
    assert ["bl_b"] == [item.id for item in backend.read(lambda reader: reader.search(ItemQuery()))]
    assert ["bl_b"] == [event.item_id for event in backend.read(lambda reader: reader.events(EventQuery()))]


def test_positions_of_purged_events_are_not_given_again() -> None:
    """A reader that goes on after a position sees each later event, whatever was purged before it."""
    backend = MemoryBackend()
    item = an_item("bl_a")
    apply(backend, first(item))
    seen = backend.read(lambda reader: reader.events(EventQuery()))[-1].position
    apply(backend, Purge("bl_a", 1))
    apply(backend, first(an_item("bl_b")))
    later = backend.read(lambda reader: reader.events(EventQuery(after=seen)))
    assert ["bl_b"] == [event.item_id for event in later]


def test_thousands_of_purges_do_not_hide_events() -> None:
    """After most events were purged, the others are read in order, forwards, backwards and by item."""
    backend = MemoryBackend()
    items = [an_item(f"bl_{number:04d}") for number in range(2_500)]
    apply(backend, *(first(item) for item in items))
    apply(backend, *(Purge(item.id, 1) for item in items if int(item.id[3:]) % 50))
    apply(backend, then(items[50]))
    expected = [*(item.id for item in items[::50]), "bl_0050"]
    found = backend.read(lambda reader: reader.events(EventQuery(limit=None)))
    assert expected == [event.item_id for event in found]
    backwards = backend.read(lambda reader: reader.events(EventQuery(limit=None, newest_first=True)))
    assert expected[::-1] == [event.item_id for event in backwards]
    of_one = backend.read(lambda reader: reader.events(EventQuery(item_ids=("bl_0050",))))
    assert [1, 2] == [event.revision for event in of_one]


def test_a_writer_is_of_no_use_after_its_function() -> None:
    """A writer that was carried out of its transaction refuses to write past it."""
    backend = MemoryBackend()
    kept: list[Writer] = []
    backend.write(kept.append)
    with pytest.raises(BackendError, match="transaction is over"):
        kept[0].apply([first(an_item())])
    assert contents(backend) == []


def test_a_write_inside_a_write_is_refused() -> None:
    """A function that opens a second transaction is told so; the store goes on working."""
    backend = MemoryBackend()

    def nested(_: Writer) -> None:
        return apply(backend, first(an_item()))

    with pytest.raises(BackendError, match="inside a write"):
        backend.write(nested)
    assert contents(backend) == []
    apply(backend, first(an_item()))
    assert len(contents(backend)) == 2


def test_effects_rebuild_the_same_state() -> None:
    """What a state says of itself makes an empty one equal to it: contents, positions and what comes next."""
    backend, items = a_store_of(20)
    record = PutRecord(a_record(), an_event(an_item("bl_gone")))
    apply(backend, Purge("bl_00003", 1), record, then(items[5]))
    apply(backend, Purge("bl_00005", 2))
    copy = MemoryBackend()
    state, other = backend._state, copy._state
    assert state is not None
    assert other is not None
    for effect in state.all_effects():
        other.do(*effect)
    assert contents(backend) == contents(copy)
    for each in (backend, copy):
        apply(each, first(an_item("bl_new")))
    assert events_of(backend) == events_of(copy)
    assert state.size == other.size
