"""
What the original interface asks of a store, in the store's own terms.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from difflib import get_close_matches
from typing import Any

from backlog_store.backends.port import Reader
from backlog_store.codec import from_builtins
from backlog_store.errors import Fault, InvalidInput
from backlog_store.instants import parse_instant
from backlog_store.legacy.times import as_text
from backlog_store.model import Item, Key, KeyState, key_record_id
from backlog_store.query import ANY, All, Compare, In, Where

__all__ = ["find", "find_by_key", "is_known", "where_of", "whole"]

_SETS = ("env", "service", "status", "owner", "category")
_FILTERS = (*_SETS, "due_before")
_LARGEST = 2**53


def find(reader: Reader, id: str) -> Item | None:
    """
    Return the item of an id, also of an id that it had before.
    """
    if not isinstance(id, str):
        return None
    found = reader.items([id]).get(id)
    if found is None:
        alias = reader.records("alias", [id]).get(id)
        other = alias.body.get("item_id") if alias is not None else None
        return find(reader, other) if isinstance(other, str) and other != id else None
    return found


def find_by_key(reader: Reader, key: str) -> Item | None:
    """
    Return the item of a key, also of a key that it had before, from the first env that knows it.
    """
    envs = sorted((names[0] for names in reader.tally(ANY, ("env",))), key=lambda env: (env != "prod", env))
    keys: list[Key] = [(env, key) for env in envs]
    found = reader.items_by_key(keys)
    records = reader.records("key", [key_record_id(one) for one in keys if one not in found])
    for one in keys:
        if one in found:
            return found[one]
        record = records.get(key_record_id(one))
        alias = from_builtins(record.body, KeyState).alias_of if record is not None else ""
        item = reader.items_by_key([(one[0], alias)]).get((one[0], alias)) if alias else None
        if item is not None:
            return item
    return None


def is_known(reader: Reader, key: Key) -> bool:
    """
    Tell whether an item holds this key, or anything is remembered about it.
    """
    return bool(reader.items_by_key([key]) or reader.records("key", [key_record_id(key)]))


def where_of(filters: Mapping[str, Any]) -> Where:
    """
    Return the condition of the original interface's filters. Raises `InvalidInput` with every fault.
    """
    parts: list[Where] = []
    faults: list[Fault] = []
    for name, value in filters.items():
        if name not in _FILTERS:
            near = get_close_matches(str(name), _FILTERS, n=1)
            meant = f"did you mean {near[0]!r}? " if near else ""
            faults.append(Fault(f"/{name}", repr(value)[:60], f"no such filter; {meant}known: {', '.join(_FILTERS)}"))
        elif value is None or (isinstance(value, str) and not value):
            continue
        elif name == "due_before":
            parts += _due_before(as_text(value), faults)
        else:
            parts += _one_of(name, value, faults)
    if faults:
        raise InvalidInput(faults, what="filter")
    return All(tuple(parts))


def _one_of(name: str, value: Any, faults: list[Fault]) -> list[Where]:
    values = (value,) if isinstance(value, str) else value
    if isinstance(values, list | tuple | set | frozenset) and all(isinstance(one, str) for one in values):
        return [In(name, tuple(sorted(set(values))))]
    faults.append(Fault(f"/{name}", repr(value)[:60], "give a text, or a list of texts"))
    return []


def _due_before(value: Any, faults: list[Fault]) -> list[Where]:
    try:
        return [Compare("due_date", "<", _day_or_instant(value))]
    except (ValueError, TypeError, AttributeError, OverflowError):
        faults.append(Fault("/due_before", repr(value)[:60], "give a day as YYYY-MM-DD"))
        return []


def _day_or_instant(text: str) -> str:
    """
    Return a day or time in any form of ISO 8601 as the store writes it: due dates are compared with its bytes.
    """
    try:
        return date.fromisoformat(text.strip()).isoformat()
    except ValueError:
        return parse_instant(text)


def whole(name: str, value: Any) -> int:
    """
    Return a number of rows or days. Raises `InvalidInput` for what is no whole number or negative.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise InvalidInput([Fault(f"/{name}", repr(value)[:60], "give a whole number, 0 or more")], what="argument")
    return min(value, _LARGEST)
