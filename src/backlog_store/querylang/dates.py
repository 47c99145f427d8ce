"""
Relative days and instants, as people type them: ``today``, ``fri``, ``+3d``, ``2w``, ``eow``, ``2026-12-01``.

All days are UTC days, as everywhere in the store. A weekday is the next one after today; ``eow`` is this week's Sunday.
"""

from __future__ import annotations

import re
from calendar import monthrange
from datetime import UTC, date, datetime, timedelta

from backlog_store.instants import Day, Instant, day_of, format_instant, is_day, to_datetime

__all__ = ["EXAMPLES", "is_duration", "parse_day", "parse_when", "shifted"]

#: What could have been meant; shown in errors.
EXAMPLES = ("today", "tomorrow", "fri", "+3d", "2w", "eow", "eom", "2026-12-01", "2026-12-01T09:30Z")

_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_DURATION = re.compile(r"([+-]?)(\d{1,5})(h|d|w|m|y)\Z", re.ASCII)
# Python's own parser takes more than people should type here (week dates, no separators); be plain instead.
_MOMENT = re.compile(r"\d{4}-\d{2}-\d{2}[tT ]\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?([zZ]|[+-]\d{2}:\d{2})?\Z", re.ASCII)


def is_duration(text: str) -> bool:
    """
    Tell whether *text* is a length of time without a sign, like ``7d``.
    """
    found = _DURATION.match(text.lower())
    return found is not None and not found[1]


def parse_when(text: str, *, now: Instant) -> tuple[Instant, bool]:
    """
    Return the instant that *text* names, and whether it names a whole day (then the instant is the day's first).

    A length of time without a sign lies ahead. Raises `ValueError` with the reason.
    """
    word = text.strip().lower()
    if word == "now":
        return now, False
    found = _DURATION.match(word)
    if found:
        count = int(found[2]) * (-1 if found[1] == "-" else 1)
        return shifted(now, count, found[3]), found[3] != "h"
    day = _named_day(word, date.fromisoformat(day_of(now)))
    if day is not None:
        return _midnight(day), True
    if is_day(word):
        return _midnight(date.fromisoformat(word)), True
    if _MOMENT.match(word):
        try:
            return format_instant(datetime.fromisoformat(word.upper())), False
        except (ValueError, OverflowError) as error:
            raise ValueError(f"{text!r} does not exist: {error}") from None
    if re.fullmatch(r"\d{4}-\d{2}-\d{2}", word, re.ASCII):
        raise ValueError(f"there is no day {text}")
    raise ValueError("not a day or time")


def parse_day(text: str, *, now: Instant) -> Day:
    """
    Return the UTC day that *text* names. Raises `ValueError` with the reason.
    """
    return day_of(parse_when(text, now=now)[0])


def shifted(now: Instant, count: int, unit: str) -> Instant:
    """
    Return *now* moved by hours, days, weeks, calendar months or years. Raises `ValueError` beyond the years 1 to 9999.
    """
    moment = to_datetime(now)
    try:
        if unit == "h":
            return format_instant(moment + timedelta(hours=count))
        if unit in ("d", "w"):
            return format_instant(moment + timedelta(days=count * (7 if unit == "w" else 1)))
        months = moment.year * 12 + moment.month - 1 + count * (12 if unit == "y" else 1)
        year, month = divmod(months, 12)
        last = monthrange(year, month + 1)[1]
        return format_instant(moment.replace(year=year, month=month + 1, day=min(moment.day, last)))
    except (OverflowError, ValueError):
        raise ValueError(f"{count}{unit} from now lies beyond the calendar") from None


def _named_day(word: str, today: date) -> date | None:
    fixed = {"today": 0, "tomorrow": 1, "yesterday": -1, "eow": 6 - today.weekday()}
    try:
        if word in fixed:
            return today + timedelta(days=fixed[word])
        if len(word) >= 3:
            for number, name in enumerate(_WEEKDAYS):
                if name.startswith(word):
                    return today + timedelta(days=(number - today.weekday() - 1) % 7 + 1)
    except OverflowError:
        raise ValueError(f"{word} lies beyond the calendar") from None
    if word == "eom":
        return today.replace(day=monthrange(today.year, today.month)[1])
    if word == "eoq":
        month = (today.month - 1) // 3 * 3 + 3
        return date(today.year, month, monthrange(today.year, month)[1])
    if word == "eoy":
        return date(today.year, 12, 31)
    return None


def _midnight(day: date) -> Instant:
    return format_instant(datetime(day.year, day.month, day.day, tzinfo=UTC))
