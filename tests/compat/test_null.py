"""The store that keeps nothing: code that uses it goes on, and finds an empty backlog."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from backlog_store import NullBacklogStore
from backlog_store.errors import InvalidInput
from tests.compat.samples import an_event, an_item


def test_everything_is_accepted_and_nothing_kept() -> None:
    """Each method answers in its form."""
    store = NullBacklogStore()
    item = an_item(id="bl_1", dedupe_key="k")
    assert "bl_1" == store.create(item).id
    item.status = "in_progress"
    before = item.updated_at
    updated = store.update(item)
    assert ("bl_1", "in_progress", "k") == (updated.id, updated.status, updated.dedupe_key)
    assert before < updated.updated_at
    assert {"action": "created", "item": item} == store.upsert(item)
    event = an_event(item)
    assert event == store.add_event(event)
    assert (None, None, [], [], 0) == (
        store.get("bl_1"), store.get_by_dedupe_key("k"), store.list_items(), store.get_events("bl_1"), store.cleanup(),
    )  # fmt: skip
    assert 0 == store.dashboard()["total"]


def test_what_is_invalid_is_refused_here_too() -> None:
    """A backlog that is switched off does not hide mistakes from those who test with it."""
    store = NullBacklogStore()
    calls: tuple[Callable[[], object], ...] = (
        lambda: store.create(an_item(priority="P9")),
        lambda: store.update(an_item(status="wip")),
        lambda: store.upsert(an_item(due_date="soon")),
        lambda: store.list_items({"stauts": "open"}),
        lambda: store.add_event(an_event(an_item(), ts="noon")),
        lambda: store.cleanup(-1),
    )
    for call in calls:
        with pytest.raises(InvalidInput):
            call()
