"""
Opening again and opening twice: what a backend claims about both, verified either way.
"""

from __future__ import annotations

import pytest

from backlog_store.backends.port import Backend, PutRecord, Sighting
from backlog_store.errors import BackendError, RevisionConflict
from backlog_store.query import ANY, In, ItemQuery
from backlog_store.testing.clocks import START
from backlog_store.testing.conformance.base import Open, Suite, apply, events_of, item_of
from backlog_store.testing.contents import contents
from backlog_store.testing.samples import Sampler, a_record, an_item, first, then

A = an_item("bl_a", dedupe_key="ka")


def _fill(backend: Backend) -> None:
    items = Sampler(6).items(30)
    apply(backend, *(first(item) for item in items), Sighting(items[0].id, "ruff", START, START, 3))
    apply(
        backend, then(items[0], title="changed"), PutRecord(a_record("r", x=[1])), PutRecord(a_record("k", kind="key"))
    )


class Lifecycle(Suite):
    """
    Handles to one store.
    """

    def test_a_store_is_empty_at_first(self, backend: Backend) -> None:
        """A new store holds no item, event or record, so a third party's fixture gives each test its own."""
        assert contents(backend) == []
        assert backend.read(lambda reader: reader.tally(ANY, ())) == {}
        assert backend.read(lambda reader: reader.search(ItemQuery())) == []

    def test_an_opened_store_is_the_one_that_was_closed(self, open_backend: Open) -> None:
        """What a durable backend acknowledged is there after reopening; another one starts empty or has it whole."""
        backend = open_backend()
        _fill(backend)
        before, tail = contents(backend), events_of(backend)
        backend.close()
        again = open_backend()
        try:
            after = contents(again)
            assert after == before if again.capabilities.durable else after in ([], before)
            assert events_of(again) == (tail if after else [])
            apply(again, first(A))
            assert events_of(again)[-1].item_id == "bl_a"
            assert [event.position for event in events_of(again)] == sorted(e.position for e in events_of(again))
        finally:
            again.close()

    def test_a_second_handle_sees_the_first_s_writes(self, backend: Backend, open_backend: Open) -> None:
        """Handles of a shared store see each other at once; an unshared store refuses a second one or is another."""
        _fill(backend)
        if not backend.capabilities.shared:
            try:
                other = open_backend()
            except BackendError:
                return  # It says that somebody else has it open, which is the honest answer of a store for one.
            assert contents(other) == []
            other.close()
            return
        other = open_backend()
        assert contents(other) == contents(backend)
        apply(other, first(A))
        assert item_of(backend, "bl_a") == A
        apply(backend, then(A, title="by the first", status="done"))
        found = other.read(
            lambda r: (
                r.items_by_key([("prod", "ka")])[("prod", "ka")].title,
                r.tally(In("id", ("bl_a",)), ("status",)),
            )
        )
        assert found == ("by the first", {("done",): 1})
        assert contents(other) == contents(backend)
        other.close()
        assert item_of(backend, "bl_a") is not None

    def test_a_second_handle_s_write_is_no_longer_guessed(self, backend: Backend, open_backend: Open) -> None:
        """A revision that another handle has passed is stale here too."""
        apply(backend, first(A))
        other = open_backend() if backend.capabilities.shared else backend
        apply(other, then(A))
        with pytest.raises(RevisionConflict):
            apply(backend, then(A))
        assert len(events_of(backend)) == 2
        other.close()
