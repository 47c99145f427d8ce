"""
Events: which, in what order, and a tail that misses none.
"""

from __future__ import annotations

from itertools import pairwise
from operator import methodcaller
from threading import Thread

import pytest
from msgspec.structs import replace

from backlog_store.backends.port import Backend, Reader
from backlog_store.codec import encode_event
from backlog_store.errors import InvalidInput
from backlog_store.instants import add_seconds
from backlog_store.model import Event
from backlog_store.query import EventQuery
from backlog_store.testing.clocks import START
from backlog_store.testing.conformance.base import Open, Suite, apply, events_of
from backlog_store.testing.oracle import select_events
from backlog_store.testing.samples import an_item, first, then

T = [add_seconds(START, seconds) for seconds in range(8)]


def _fill(backend: Backend) -> None:
    items = [an_item(f"bl_{letter}") for letter in "abé"]
    for number, item in enumerate(items):
        apply(backend, first(item, ts=T[number], actor="ann", batch="b1"))
    for number, item in enumerate(items):
        changed = then(item)
        apply(backend, changed)
        comment = then(changed.item)
        fields = {"ts": T[7 - number], "type": "comment", "actor": "Ann", "added": True, "batch": f"b{number}"}
        apply(backend, type(comment)(comment.item, _with(comment.event, fields)))


def _with(event: Event, fields: dict[str, object]) -> Event:
    return replace(event, **fields)


QUERIES: dict[str, EventQuery] = {
    "all": EventQuery(limit=None),
    "default": EventQuery(),
    "limit": EventQuery(limit=4),
    "limit 0": EventQuery(limit=0),
    "newest": EventQuery(newest_first=True, limit=3),
    "newest all": EventQuery(newest_first=True, limit=None),
    "items": EventQuery(item_ids=("bl_a", "bl_é", "bl_no")),
    "no items": EventQuery(item_ids=()),
    "types": EventQuery(types=("comment", "created")),
    "no types": EventQuery(types=()),
    "actors": EventQuery(actors=("ann",)),
    "no actors": EventQuery(actors=()),
    "batch": EventQuery(batch="b1"),
    "no batch": EventQuery(batch=""),
    "added": EventQuery(added=True),
    "own trail": EventQuery(added=False),
    "since": EventQuery(since=T[2]),
    "until": EventQuery(until=T[2]),
    "between": EventQuery(since=T[1], until=T[6]),
    "all at once": EventQuery(item_ids=("bl_a", "bl_b"), types=("comment",), actors=("Ann",), added=True, since=T[6]),
    "newest of one": EventQuery(item_ids=("bl_b",), newest_first=True, limit=1),
}


class Events(Suite):
    """
    The trail as it is read.
    """

    @pytest.mark.parametrize("name", QUERIES)
    def test_a_query_selects_what_it_says(self, backend: Backend, name: str) -> None:
        """`None` is any and an empty tuple none; `until` is excluded; the order is that of the commits."""
        _fill(backend)
        everything = events_of(backend)
        found = backend.read(lambda reader: reader.events(QUERIES[name]))
        assert list(found) == select_events(everything, QUERIES[name])

    @pytest.mark.parametrize("newest_first", [False, True])
    @pytest.mark.parametrize("items", [None, ("bl_a", "bl_b")])
    def test_a_walk_by_cursor_sees_each_event_once(
        self, backend: Backend, newest_first: bool, items: tuple[str, ...] | None
    ) -> None:
        """Page after page, forwards or backwards, filtered or not, is the whole list."""
        _fill(backend)

        def walk(reader: Reader) -> list[Event]:
            seen: list[Event] = []
            after = ""
            while page := reader.events(EventQuery(item_ids=items, newest_first=newest_first, after=after, limit=2)):
                seen += page
                after = page[-1].position
            return seen

        whole = EventQuery(item_ids=items, newest_first=newest_first, limit=None)
        assert backend.read(walk) == backend.read(lambda reader: list(reader.events(whole)))

    def test_positions_grow_in_the_order_of_the_list(self, backend: Backend) -> None:
        """Events of one write come in the order of its changes, before those of the next; each position is its own."""
        items = [an_item(f"bl_{number * 7 % 10}") for number in range(10)]
        apply(backend, *(first(item) for item in items[:6]))
        apply(backend, *(first(item) for item in items[6:]))
        events = events_of(backend)
        assert [event.item_id for event in events] == [item.id for item in items]
        assert all(one.position < other.position for one, other in pairwise(events))
        assert all(event.position for event in events)

    def test_positions_compare_bytewise_at_any_length(self, backend: Backend) -> None:
        """The hundredth position is not less than the ninth."""
        for number in range(120):
            apply(backend, first(an_item(f"bl_{number}")))
        events = events_of(backend)
        assert [event.item_id for event in events] == [f"bl_{number}" for number in range(120)]
        assert all(one.position < other.position for one, other in pairwise(events))

    def test_a_position_is_a_backend_s_own(self, backend: Backend) -> None:
        """A position that comes with a given event is ignored, and no part of the stored form."""
        apply(backend, first(an_item("bl_a"), position="zzz"))
        apply(backend, first(an_item("bl_b"), position="aaa"))
        assert [event.item_id for event in events_of(backend)] == ["bl_a", "bl_b"]
        assert b"position" not in encode_event(events_of(backend)[0])

    @pytest.mark.parametrize("newest_first", [False, True])
    @pytest.mark.parametrize("text", ["garbage", "-1", "1e1", "٣", "9" * 40, "1.2.3", " 1", "1"])
    def test_what_is_no_position_is_refused(self, backend: Backend, text: str, newest_first: bool) -> None:
        """Nor is a number without its zeros: who went on there would get all, or never one."""
        apply(backend, first(an_item("bl_a")))
        for query in (EventQuery(after=text), EventQuery(after=text, limit=0), EventQuery(after=text, item_ids=("x",))):
            asked = replace(query, newest_first=newest_first)
            with pytest.raises(InvalidInput, match="no position"):
                backend.read(methodcaller("events", asked))

    def test_positions_grow_between_two_handles(self, backend: Backend, open_backend: Open) -> None:
        """Writes by turns through two handles of a shared store stand in the order in which they were committed."""
        other = open_backend() if backend.capabilities.shared else backend
        for number in range(20):
            apply((backend, other)[number % 2], first(an_item(f"bl_{number:02}")))
        assert [event.item_id for event in events_of(backend)] == [f"bl_{number:02}" for number in range(20)]
        assert events_of(other) == events_of(backend)
        other.close()

    def test_a_tail_misses_nothing_while_others_write(self, backend: Backend, open_backend: Open) -> None:
        """A reader that goes on after the last position it saw gets every event once, though writers overlap."""
        handles = [backend, open_backend()] if backend.capabilities.shared else [backend]

        def fill(writer: int) -> None:
            for number in range(25):
                apply(handles[writer % len(handles)], first(an_item(f"bl_{writer}_{number}")))

        writers = [Thread(target=fill, args=(writer,)) for writer in range(4)]
        for thread in writers:
            thread.start()
        seen: list[Event] = []
        running = True
        while running:
            # Asked before reading: what the last writer wrote is then surely in the last reading.
            running = any(thread.is_alive() for thread in writers)
            query = EventQuery(after=seen[-1].position if seen else "", limit=None)
            seen += backend.read(methodcaller("events", query))
        assert len({event.item_id for event in seen}) == len(seen) == 100
        assert seen == events_of(backend)
        for handle in handles[1:]:
            handle.close()
