"""
The types that sections are made of, and how each is read from what a file says.

A field of a section is annotated: ``Annotated[Duration, Meta(description="…", ge=60)]``. The bounds are checked and the
description goes into the reference; a *form* (below) says how a text is understood.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, Literal

from msgspec import Meta

from backlog_store.instants import is_day, parse_instant
from backlog_store.model import LIMITS
from backlog_store.policy.findings import Finding
from backlog_store.policy.matching import check_condition

__all__ = [
    "CHECKS",
    "FORMS",
    "ActorWord",
    "Count",
    "Date",
    "Duration",
    "Hours",
    "Label",
    "Moment",
    "Name",
    "Reason",
    "When",
    "shown_duration",
]

_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_LABEL = re.compile(r"(?=.{1,100}$)[\w.-]+(?: [\w.-]+)*")
_HOURS = re.compile(r"([01]\d|2[0-4]):([0-5]\d)-([01]\d|2[0-4]):([0-5]\d)")
_LENGTH = re.compile(r"(\d{1,9})\s*([smhdw])")


def _moment(text: str) -> str:
    try:
        return parse_instant(text)
    except (ValueError, OverflowError):
        raise ValueError("is no instant; write 2026-12-01T22:00Z, or a day alone for its midnight UTC") from None


def _date(text: str) -> str:
    if not is_day(text):
        raise ValueError("is no day; write 2026-12-24")
    return text


def _duration(text: str) -> int:
    found = _LENGTH.fullmatch(text.strip())
    if found is None:
        raise ValueError("is no length of time; write 90s, 30m, 12h, 7d or 2w")
    return int(found[1]) * _UNITS[found[2]]


def _hours(text: str) -> str:
    if not _HOURS.fullmatch(text) or not text[:5] < text[6:] <= "24:00":
        raise ValueError("is no span of a day; write 09:00-17:00, at most 00:00-24:00")
    return text


def _label(text: str) -> str:
    if not _LABEL.fullmatch(text):
        raise ValueError("is no name for this; take letters, digits, dots, hyphens and single spaces, 100 at most")
    return text


#: How the text of a form is understood. Each raises `ValueError` with what would be right.
FORMS: Mapping[str, Callable[[str], Any]] = {
    "instant": _moment,
    "day": _date,
    "duration": _duration,
    "label": _label,
    "hours": _hours,
}

#: What else is looked at in a value of a form, once its type is right.
CHECKS: Mapping[str, Callable[[Any, str], Iterable[Finding]]] = {"condition": check_condition}

#: An instant, kept in the canonical form of the store.
Moment = Annotated[str, Meta(extra={"form": "instant"}, extra_json_schema={"title": "instant"})]
#: A calendar day.
Date = Annotated[str, Meta(extra={"form": "day"}, extra_json_schema={"title": "day"})]
#: A length of time (``12h``), kept in seconds.
Duration = Annotated[int, Meta(extra={"form": "duration"}, extra_json_schema={"title": "length of time"})]
#: Working hours of a day (``09:00-17:30``), by a clock on the wall.
Hours = Annotated[str, Meta(extra={"form": "hours"}, extra_json_schema={"title": "hours"})]
#: A name that ids of records can be made of.
Label = Annotated[str, Meta(extra={"form": "label"}, extra_json_schema={"title": "name"})]
#: A name of something of the store: an owner, a service.
Name = Annotated[str, Meta(min_length=1, max_length=LIMITS.name)]
#: Words for people.
Reason = Annotated[str, Meta(max_length=1_000)]
#: A number of things.
Count = Annotated[int, Meta(ge=1, le=1_000_000)]
#: A condition: fields with a value, or several (any of them), each of which may have ``*`` and ``?``. See `matching`.
When = Annotated[
    dict[str, str | tuple[str, ...]],
    Meta(extra={"form": "condition"}, extra_json_schema={"title": "condition"}, max_length=20),
]
ActorWord = Literal["person", "machine"]


def shown_duration(seconds: int) -> str:
    """
    Return a length of time as it is written in a file.
    """
    for unit in ("w", "d", "h", "m"):
        if seconds and seconds % _UNITS[unit] == 0:
            return f"{seconds // _UNITS[unit]}{unit}"
    return f"{seconds}s"
