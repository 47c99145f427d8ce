"""
Times as people gave them, beside the instants that the store keeps.

The store knows one form of an instant. What the original module and its callers wrote may be any ISO 8601; where that
text differs, it is kept in `Item.extra` or `Event.extra` and comes back as it was, while the instant is the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

from backlog_store.errors import Fault, InvalidInput
from backlog_store.instants import Instant, parse_instant, to_datetime

__all__ = ["GIVEN", "NO_TITLE", "as_given", "as_text", "given_times", "instant_of", "iso"]

#: The member of `Item.extra` and `Event.extra` that keeps times as they were given.
GIVEN = "given_times"
#: The store keeps no item without a title; the original module did. One stands for the other.
NO_TITLE = "(untitled)"


def iso(instant: Instant) -> str:
    """
    Return an instant as the original module writes it: ``2026-03-01T09:30:00+00:00``.
    """
    return to_datetime(instant).isoformat()


def as_text(value: Any) -> Any:
    """
    Return what callers may give for a text as a text: ``None`` is empty, a date or a datetime is ISO 8601.

    Anything else is returned as it is, for the rules to refuse.
    """
    if value is None:
        return ""
    return value.isoformat() if isinstance(value, date) else value


def instant_of(name: str, text: Any) -> Instant:
    """
    Return the instant of a given time; empty for none. Raises `InvalidInput`.
    """
    text = as_text(text)
    if text == "":
        return ""
    try:
        return parse_instant(text)
    except (ValueError, TypeError, AttributeError, OverflowError):
        fault = Fault(f"/{name}", str(text)[:60], "not a time in ISO 8601, like 2026-03-01T09:30:00+00:00")
        raise InvalidInput([fault], what="time") from None


def given_times(**given: Any) -> dict[str, Any]:
    """
    Return the `extra` that keeps those times which were not given in the form of `iso`. Raises `InvalidInput`.
    """
    kept = {}
    for name, value in given.items():
        text = as_text(value)
        if text and text != iso(instant_of(name, text)):
            kept[name] = text
    return {GIVEN: kept} if kept else {}


def as_given(extra: Mapping[str, Any], name: str, instant: Instant) -> str:
    """
    Return the text that was given for an instant, if it still means that instant, else its `iso`.
    """
    kept = extra.get(GIVEN)
    text = kept.get(name) if isinstance(kept, Mapping) else None
    if isinstance(text, str):
        try:
            if parse_instant(text) == instant:
                return text
        except (ValueError, OverflowError):
            pass  # written by something else under this name; the instant is what counts
    return iso(instant)
