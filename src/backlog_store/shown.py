"""
Items as plain data for whoever shows them: fields by name, and two that follow from an item and the instant.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from backlog_store.codec import to_builtins
from backlog_store.instants import Instant
from backlog_store.model import Item
from backlog_store.workflow import effective_status, is_overdue

__all__ = ["FIELDS", "RUN_STATES", "SHORT_NAMES", "csv_cell", "field", "full_name", "plain_json", "text_of", "view"]

#: Fields of an item by name, and two that follow from it and the instant.
FIELDS: tuple[str, ...] = (
    *(name for name in Item.__struct_fields__ if name not in ("head", "extra")), "effective_status", "overdue",
)  # fmt: skip
#: Shorter names that people may give for some.
SHORT_NAMES: dict[str, str] = {
    "key": "dedupe_key", "due": "due_date", "created": "created_at", "updated": "updated_at", "closed": "closed_at",
    "reason": "closed_reason",
}  # fmt: skip
#: What the state of a run means, in words.
RUN_STATES = {
    "begun": "goes on",
    "completed": "complete",
    "closing": "being carried out",
    "parked": "parked until a person decides",
    "empty": "empty: it proves nothing",
    "short": "short: it proves nothing",
    "repeated": "no further run",
    "aborted": "aborted: it proves nothing",
    "rejecting": "being rejected",
    "rejected": "rejected: it proves nothing",
    "superseded": "superseded: a newer run looked again",
}


def full_name(name: str) -> str:
    """
    Return the field that *name* means; an unknown name as it is.
    """
    return SHORT_NAMES.get(name, name)


def field(item: Item, name: str, now: Instant) -> Any:
    """
    Return one field of an item as plain JSON data.
    """
    if name == "effective_status":
        return effective_status(item, now)
    if name == "overdue":
        return is_overdue(item, now)
    value = getattr(item, name)
    return value if isinstance(value, str | int) else to_builtins(value)


def view(item: Item, names: Sequence[str], now: Instant) -> dict[str, Any]:
    """
    Return these fields of an item (all, if none are named).
    """
    return {name: field(item, name, now) for name in names or FIELDS}


def text_of(value: Any) -> str:
    """
    Return a field's value as a cell.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "yes" if value else ""
    if isinstance(value, list | tuple) and all(isinstance(part, str) for part in value):
        return ", ".join(value)
    return plain_json(value) if value not in ({}, None) else ""


def csv_cell(value: Any) -> str:
    """
    Return a CSV cell that no spreadsheet takes for a formula.
    """
    text = text_of(value).replace("\0", "")
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text


def plain_json(value: Any) -> str:
    """
    Return a value as JSON on one line, members in their order.
    """
    return msgspec.json.encode(value).decode()
