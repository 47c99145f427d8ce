"""Items and events as callers of the original interface make them."""

from __future__ import annotations

from typing import Any

from backlog_store import BacklogEvent, BacklogItem


def an_item(**fields: Any) -> BacklogItem:
    """Return an item with a title; *fields* go over it."""
    return BacklogItem.from_dict({"title": "Checkout burns its error budget"} | fields)


def an_event(item: BacklogItem, **fields: Any) -> BacklogEvent:
    """Return a comment on *item*; *fields* go over it."""
    return BacklogEvent.from_dict({"item_id": item.id, "message": "Looked into it"} | fields)
