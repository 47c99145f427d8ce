"""The two records of the original interface, without a store."""

from __future__ import annotations

import copy
import json
import pickle
from dataclasses import asdict, fields, replace
from typing import Any

import pytest

from backlog_store import BacklogEvent, BacklogItem, MemoryBacklogStore, validate_transition
from backlog_store.errors import InvalidInput
from tests.compat.samples import an_item

NAMES = [
    "id", "created_at", "updated_at", "env", "service", "category", "title", "description", "priority", "status",
    "owner", "due_date", "source", "dedupe_key", "evidence_refs", "tags", "meta",
]  # fmt: skip


def test_an_item_is_a_dataclass_with_its_fields_in_order() -> None:
    """Callers give fields by position, and leave the last three to their defaults."""
    assert NAMES == [field.name for field in fields(BacklogItem)]
    texts: list[Any] = NAMES[:14]
    item = BacklogItem(*texts)
    assert NAMES[:14] == [getattr(item, name) for name in NAMES[:14]]
    assert ({}, [], {}) == (item.evidence_refs, item.tags, item.meta)


def test_an_event_is_a_dataclass_with_its_fields_in_order() -> None:
    """Callers give fields by position, and leave `meta` to its default."""
    event = BacklogEvent("ev_1", "bl_1", "2026-03-01T09:30:00+00:00", "comment", "words", "anna")
    assert ("ev_1", "bl_1", "comment", "words", "anna", {}) == (
        event.id, event.item_id, event.type, event.message, event.actor, event.meta,
    )  # fmt: skip


def test_from_dict_fills_in_what_is_missing() -> None:
    """An empty dict gives an item with a new id, the present, and the known defaults."""
    one, two = BacklogItem.from_dict({}), BacklogItem.from_dict({})
    assert one.id.startswith("bl_")
    assert one.id != two.id
    assert one.created_at.endswith("+00:00")
    assert ("prod", "P2", "open", "oncall", "manual") == (one.env, one.priority, one.status, one.owner, one.source)
    assert ("", "", "", "", "", "") == (
        one.service, one.category, one.title, one.description, one.due_date, one.dedupe_key,
    )  # fmt: skip


def test_events_from_dict_fill_in_what_is_missing() -> None:
    """An empty dict gives a comment by the system, now, under a new id."""
    event = BacklogEvent.from_dict({})
    assert event.id.startswith("ev_")
    assert ("comment", "system", "") == (event.type, event.actor, event.message)


def test_what_goes_through_dicts_is_equal_and_shared_by_nobody() -> None:
    """`from_dict(to_dict())` is equal; changing the copy's lists does not change the original."""
    item = an_item(tags=["a"], meta={"deep": {"list": [1]}}, evidence_refs={"incidents": ["inc-1"]})
    copied = BacklogItem.from_dict(item.to_dict())
    assert item == copied
    copied.tags.append("b")
    copied.meta["deep"]["list"].append(2)
    copied.evidence_refs["incidents"].append("inc-2")
    assert (["a"], {"deep": {"list": [1]}}, {"incidents": ["inc-1"]}) == (item.tags, item.meta, item.evidence_refs)


def test_what_is_remembered_is_no_field() -> None:
    """An item that came out of a store shows exactly its fields, and is equal to one that did not."""
    store = MemoryBacklogStore()
    item = store.create(an_item())
    fresh = BacklogItem.from_dict(item.to_dict())
    assert item == fresh
    assert NAMES == list(asdict(item)) == list(vars(item))
    assert item.to_dict() == json.loads(json.dumps(vars(item)))
    assert repr(item) == repr(fresh)


@pytest.mark.parametrize("copied", [
    lambda item: pickle.loads(pickle.dumps(item)), copy.copy, copy.deepcopy, replace,
], ids=["pickle", "copy", "deepcopy", "replace"])  # fmt: skip
def test_copies_remember_what_the_item_was_read_as(copied: object) -> None:
    """A copy writes just what was changed on it, beside what somebody else changed meanwhile."""
    store = MemoryBacklogStore()
    mine = copied(store.create(an_item()))  # type: ignore[operator]
    other = store.get(mine.id)
    assert other is not None
    other.owner = "berta"
    store.update(other)
    mine.description = "More"
    stored = store.update(mine)
    assert ("berta", "More") == (stored.owner, stored.description)


def test_the_built_in_moves() -> None:
    """Exactly these moves are allowed."""
    statuses = ("open", "in_progress", "blocked", "done", "canceled")
    assert {
        ("open", "in_progress"), ("open", "blocked"), ("open", "canceled"), ("in_progress", "blocked"),
        ("in_progress", "done"), ("in_progress", "canceled"), ("blocked", "open"), ("blocked", "in_progress"),
        ("blocked", "canceled"),
    } == {(a, b) for a in statuses for b in statuses if validate_transition(a, b)}  # fmt: skip


def test_a_policy_replaces_the_moves() -> None:
    """A policy with a table decides alone; one without leaves the built-in moves."""
    policy = {"workflow": {"allowed_transitions": {"open": ["done"]}}}
    assert validate_transition("open", "done", policy)
    assert not validate_transition("open", "blocked", policy)
    assert not validate_transition("blocked", "open", policy)
    assert validate_transition("open", "blocked", {})
    assert validate_transition("open", "blocked", {"workflow": {}})


@pytest.mark.parametrize(
    "workflow", ["open", {"allowed_transitions": ["open"]}, {"allowed_transitions": {"open": "done"}}]
)
def test_a_policy_that_cannot_be_read_is_refused(workflow: object) -> None:
    """A table of another form allows nothing by accident ("done" holds "one")."""
    with pytest.raises(InvalidInput, match="allowed_transitions"):
        validate_transition("open", "one", {"workflow": workflow})
