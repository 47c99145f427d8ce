"""A store of a caller's own: it writes the eight methods, `upsert` and `dashboard` follow from them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from backlog_store import BacklogEvent, BacklogItem, BacklogStore
from tests.compat.samples import an_item


class DictStore(BacklogStore):
    """The simplest store a caller might write; its pages hold at most 7 items, whatever is asked for."""

    def __init__(self) -> None:
        self.items: dict[str, BacklogItem] = {}
        self.events: list[BacklogEvent] = []

    def create(self, item: BacklogItem) -> BacklogItem:
        self.items[item.id] = item
        return item

    def get(self, item_id: str) -> BacklogItem | None:
        return self.items.get(item_id)

    def get_by_dedupe_key(self, key: str) -> BacklogItem | None:
        held = [item for item in self.items.values() if item.dedupe_key == key]
        return min(held, key=lambda item: (item.env != "prod", item.env), default=None)

    def update(self, item: BacklogItem) -> BacklogItem:
        self.items[item.id] = item
        return item

    def list_items(
        self, filters: Mapping[str, Any] | None = None, limit: int | None = 50, offset: int = 0
    ) -> list[BacklogItem]:
        env = (filters or {}).get("env")
        found = [item for item in self.items.values() if not env or item.env == env]
        found.sort(key=lambda item: item.id)
        return found[offset : offset + min(7, 50 if limit is None else limit)]

    def add_event(self, event: BacklogEvent) -> BacklogEvent:
        self.events.append(event)
        return event

    def get_events(self, item_id: str, limit: int | None = 50) -> list[BacklogEvent]:
        return [event for event in self.events if event.item_id == item_id][-(limit or len(self.events)) :]

    def cleanup(self, retention_days: int = 180) -> int:
        return 0


def test_the_eight_methods_are_abstract() -> None:
    """Exactly these must be written; without them there is no store."""
    assert {
        "create", "get", "get_by_dedupe_key", "update", "list_items", "add_event", "get_events", "cleanup",
    } == BacklogStore.__abstractmethods__  # fmt: skip
    with pytest.raises(TypeError):
        BacklogStore()  # type: ignore[abstract]


def test_upsert_creates_then_refreshes() -> None:
    """It keeps status and owner, takes the report's fields, merges meta, evidence and tags."""
    store = DictStore()
    first = an_item(dedupe_key="k", owner="anna", tags=["b"], meta={"x": 1}, evidence_refs={"e": ["1"]})
    assert {"action": "created", "item": first} == store.upsert(first)
    again = an_item(dedupe_key="k", title="T", priority="P0", due_date="2031-01-02", tags=["a"], meta={"y": 2},
                    evidence_refs={"e": ["2"]}, status="blocked")  # fmt: skip
    answer = store.upsert(again)
    expected = first.to_dict() | {
        "title": "T", "priority": "P0", "due_date": "2031-01-02", "tags": ["a", "b"], "meta": {"x": 1, "y": 2},
        "evidence_refs": {"e": ["1", "2"]},
    }  # fmt: skip
    assert ("updated", expected) == (answer["action"], answer["item"].to_dict())
    assert [first.id] == list(store.items)


def test_upsert_reopens_done_and_leaves_canceled() -> None:
    """As the stores of the package do."""
    store = DictStore()
    store.create(an_item(dedupe_key="d", status="done"))
    canceled = store.create(an_item(dedupe_key="c", status="canceled"))
    assert "open" == store.upsert(an_item(dedupe_key="d"))["item"].status
    assert {"action": "updated", "item": canceled} == store.upsert(an_item(dedupe_key="c", title="T"))


def test_upsert_tells_envs_and_empty_keys_apart() -> None:
    """The item of another env is another item, also where the look-up by key does not show it; no key is no key."""
    store = DictStore()
    actions = [
        store.upsert(an_item(dedupe_key=key, env=env))["action"]
        for key, env in (("k", "prod"), ("k", "staging"), ("k", "staging"), ("", "prod"), ("", "prod"))
    ]
    assert ["created", "created", "updated", "created", "created"] == actions


def test_the_dashboard_counts_past_the_stores_own_pages() -> None:
    """A store that answers at most 7 items at a time is counted whole."""
    store = DictStore()
    for number in range(40):
        store.create(an_item(id=f"bl_{number:02d}", service=f"s{number % 3}", due_date="2020-01-01"))
    store.create(an_item(env="staging"))
    board = store.dashboard()
    assert (40, {"open": 40}, 40, 20) == (
        board["total"], board["status_counts"], board["overdue_count"], len(board["overdue"]),
    )  # fmt: skip
    assert [("s0", 14), ("s1", 13), ("s2", 13)] == [(one["service"], one["count"]) for one in board["top_services"]]
