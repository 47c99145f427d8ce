"""What a type checker sees of the original interface; `make types` runs it, nothing executes it."""

from __future__ import annotations

from typing import Any, assert_type

from backlog_store import (
    AutoBacklogStore,
    BacklogEvent,
    BacklogItem,
    BacklogStore,
    JsonlBacklogStore,
    MemoryBacklogStore,
    NullBacklogStore,
    PostgresBacklogStore,
    get_backlog_store,
    validate_transition,
)

item = BacklogItem.from_dict({"title": "T"})
assert_type(item, BacklogItem)
item.status = "in_progress"
item.tags.append("a")
assert_type(item.meta, dict[str, Any])
assert_type(item.to_dict(), dict[str, Any])
BacklogItem("", "", "", "", "", "", "", "", "", "", "", "", "", "", {}, [], {})
event = BacklogEvent("ev_1", item.id, "", "comment", "words", "anna", meta={"n": 1})

stores: list[BacklogStore] = [
    MemoryBacklogStore(),
    JsonlBacklogStore("items.jsonl", events_path="events.jsonl"),
    PostgresBacklogStore(dsn=None),
    NullBacklogStore(),
    AutoBacklogStore(postgres_dsn=None, jsonl_items="items.jsonl", jsonl_events="events.jsonl"),
    get_backlog_store(),
]
for store in stores:
    assert_type(store.create(item), BacklogItem)
    assert_type(store.get("bl_1"), BacklogItem | None)
    assert_type(store.get_by_dedupe_key("k"), BacklogItem | None)
    assert_type(store.update(item), BacklogItem)
    assert_type(store.upsert(item), dict[str, Any])
    assert_type(store.list_items({"status": ["open"]}, limit=10, offset=0), list[BacklogItem])
    assert_type(store.add_event(event), BacklogEvent)
    assert_type(store.get_events("bl_1", limit=5), list[BacklogEvent])
    assert_type(store.cleanup(retention_days=30), int)
    assert_type(store.dashboard(env="prod"), dict[str, Any])
assert_type(validate_transition("open", "done", policy={"workflow": {}}), bool)
