"""
Forgetting the beginning of a trail: those events and no others, for good, with what stays in its order.
"""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from backlog_store.backends.port import Backend, Load, Purge, PutRecord, Trim, Writer
from backlog_store.query import EventQuery
from backlog_store.testing.conformance.base import Open, Suite, apply, events_of, item_of
from backlog_store.testing.contents import contents
from backlog_store.testing.samples import a_record, an_event, an_item, first, then

A = an_item("bl_a", dedupe_key="ka")


def _grow(backend: Backend, *ids: str, revisions: int = 4) -> None:
    """
    Give these items as many events each, by turns.
    """
    items = {id: an_item(id) for id in ids}
    for number in range(revisions):
        for id, item in items.items():
            put = first(item) if not number else then(item, title=f"title {number}")
            apply(backend, put)
            items[id] = put.item


def _revisions(backend: Backend, id: str) -> list[int]:
    return [event.revision for event in events_of(backend, id)]


class Trims(Suite):
    """
    `Trim`.
    """

    @pytest.mark.parametrize(("revision", "left"), [(0, [1, 2, 3, 4]), (1, [1, 2, 3, 4]), (3, [3, 4]), (4, [4])])
    def test_the_events_below_a_revision_are_gone(self, backend: Backend, revision: int, left: list[int]) -> None:
        """They are in no trail, batch or tail; the item, its later events and those of others stay as they are."""
        _grow(backend, "bl_a", "bl_b")
        item = item_of(backend, "bl_a")
        before = [event for event in events_of(backend) if event.item_id == "bl_b" or event.revision in left]
        apply(backend, Trim("bl_a", revision))
        assert _revisions(backend, "bl_a") == left
        assert events_of(backend) == before
        assert item_of(backend, "bl_a") == item
        newest = backend.read(lambda reader: reader.events(EventQuery(newest_first=True, limit=None)))
        assert list(newest) == before[::-1]

    def test_a_trimmed_trail_grows_on(self, backend: Backend, open_backend: Open) -> None:
        """Later events follow those that stayed, in the same write, in the next one, and after opening again."""
        _grow(backend, "bl_a")
        item = item_of(backend, "bl_a")
        assert item is not None

        def trim_and_go_on(writer: Writer) -> None:
            writer.apply([Trim("bl_a", 4)])
            writer.apply([then(item, title="5"), Trim("bl_a", 5)])

        backend.write(trim_and_go_on)
        apply(backend, then(replace(item, revision=5), title="6"))
        assert _revisions(backend, "bl_a") == [5, 6]
        if backend.capabilities.durable:
            backend.close()
            backend = open_backend()
        apply(backend, Trim("bl_a", 6))
        apply(backend, then(replace(item, revision=6), title="7"))
        assert _revisions(backend, "bl_a") == [6, 7]
        backend.close()

    def test_many_trails_are_trimmed_in_one_write(self, backend: Backend) -> None:
        """New states first and trims behind them: each item keeps its newest event alone."""
        ids = [f"bl_{number}" for number in range(5)]
        _grow(backend, *ids, revisions=2)
        items = [item for item in (item_of(backend, id) for id in ids) if item is not None]
        apply(backend, *(then(item, title="3") for item in items), *(Trim(id, 3) for id in ids))
        assert [(event.item_id, event.revision) for event in events_of(backend)] == [(id, 3) for id in ids]

    def test_what_comes_behind_a_trim_stays(self, backend: Backend) -> None:
        """In one list, too: an event that a record brings goes with a trim behind it, and stays with one before it."""
        _grow(backend, "bl_a", revisions=2)
        records = [a_record(f"p/{n}") for n in range(2)]
        told = [an_event(A, id=f"ev_{n}", type="judged") for n in range(2)]
        apply(backend, PutRecord(records[0], told[0]), Trim("bl_a", 9), PutRecord(records[1], told[1]))
        assert [event.id for event in events_of(backend)] == ["ev_1"]

    def test_all_of_a_trail_may_go(self, backend: Backend) -> None:
        """An item without events is still an item, and can have some again; what is not there can be trimmed, too."""
        _grow(backend, "bl_a", revisions=2)
        item = item_of(backend, "bl_a")
        assert item is not None
        apply(backend, Trim("bl_a", 9), Trim("bl_none", 9))
        assert events_of(backend) == []
        apply(backend, Trim("bl_a", 9))
        apply(backend, then(item, title="again"))
        assert _revisions(backend, "bl_a") == [3]

    def test_no_position_is_given_twice(self, backend: Backend) -> None:
        """A tail that has passed the newest event misses none that comes after that one was trimmed."""
        _grow(backend, "bl_a", revisions=2)
        passed = events_of(backend)[-1].position
        apply(backend, Trim("bl_a", 9))
        apply(backend, first(an_item("bl_b")))
        tail = backend.read(lambda reader: reader.events(EventQuery(after=passed)))
        assert [event.item_id for event in tail] == ["bl_b"]

    def test_events_of_a_purged_item_are_trimmed(self, backend: Backend) -> None:
        """What explains the record of a key goes by its revision, too, also beside the events of a returned item."""
        apply(backend, first(A))
        record = a_record("prod/ka", kind="key")
        for revision in (2, 3):
            event = an_event(replace(A, revision=revision), type="judged")
            change = PutRecord(replace(record, revision=revision - 1), event)
            apply(backend, *([Purge("bl_a", 1)] if revision == 2 else []), change)
        apply(backend, Trim("bl_a", 3))
        assert _revisions(backend, "bl_a") == [3]
        apply(backend, first(replace(A, revision=4)))
        assert _revisions(backend, "bl_a") == [3, 4]
        apply(backend, Trim("bl_a", 4))
        assert _revisions(backend, "bl_a") == [4]

    def test_a_loaded_trail_is_trimmed_like_any_other(self, backend: Backend) -> None:
        """A trail that came whole loses its beginning."""
        trail = tuple(an_event(replace(A, revision=number)) for number in (1, 2, 3))
        apply(backend, Load(replace(A, revision=3), trail), Trim("bl_a", 3))
        assert _revisions(backend, "bl_a") == [3]

    def test_a_trim_of_a_write_that_fails_has_not_happened(self, backend: Backend) -> None:
        """What follows in the write fails: every event is where it was."""
        _grow(backend, "bl_a", "bl_b")
        before = contents(backend)

        def fail(writer: Writer) -> None:
            writer.apply([Trim("bl_a", 3), Trim("bl_b", 9)])
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            backend.write(fail)
        assert contents(backend) == before
        assert _revisions(backend, "bl_a") == [1, 2, 3, 4]
