"""
Instants and days as text: one fixed-width form, so that the order of the bytes is the order in time on every backend.

An *instant* is UTC as RFC 3339 with six decimals and ``Z``: ``2026-03-01T09:30:00.000000Z`` (27 characters). A *day*
is ``YYYY-MM-DD``. The empty string means none, and is never less or greater than anything.

The calendar begins with the year 1 and ends with 9999, and any day of it is accepted as one that somebody reports. So
counting does not go past its ends: it stops at the first or the last instant or day.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

__all__ = ["DAY_LENGTH", "INSTANT_LENGTH", "Day", "Instant", "add_seconds", "day_of", "earlier", "format_instant",
           "is_day", "is_instant", "parse_instant", "plus_days", "to_datetime"]  # fmt: skip

Instant = str
Day = str
INSTANT_LENGTH = 27
DAY_LENGTH = 10


def format_instant(moment: datetime) -> Instant:
    """
    Return *moment* (aware; naive is taken as UTC) in the canonical form.
    """
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return f"{moment.replace(tzinfo=None).isoformat(timespec='microseconds')}Z"


def parse_instant(text: str) -> Instant:
    """
    Return the canonical form of an ISO 8601 *text* (a date alone is its midnight, no zone is UTC).

    Raises `ValueError` for what is no date and time, and for one that is outside the calendar in UTC.
    """
    if is_instant(text):
        return text
    try:
        return format_instant(datetime.fromisoformat(text.strip()))
    except OverflowError as error:
        raise ValueError("outside the years 1 to 9999 in UTC") from error


def to_datetime(instant: Instant) -> datetime:
    """
    Return a canonical *instant* as an aware datetime.
    """
    return datetime.fromisoformat(instant)


def is_instant(text: str) -> bool:
    """
    Tell whether *text* is a canonical instant that exists.
    """
    if len(text) != INSTANT_LENGTH or text[10] != "T" or text[26] != "Z" or text[19] != "." or not text.isascii():
        return False
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


def is_day(text: str) -> bool:
    """
    Tell whether *text* is a canonical day that exists.
    """
    if len(text) != DAY_LENGTH or text[4] != "-" or text[7] != "-" or not text.isascii():
        return False
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


def add_seconds(instant: Instant, seconds: float) -> Instant:
    """
    Return *instant* plus *seconds*; the last instant of the calendar (or the first one) where that is past it.
    """
    try:
        return format_instant(to_datetime(instant) + timedelta(seconds=seconds))
    except OverflowError:
        return f"{date.max}T23:59:59.999999Z" if seconds > 0 else f"{date.min}T00:00:00.000000Z"


def earlier(now: Instant, days: int = 7) -> Instant:
    """
    Return the instant so many days before *now*.
    """
    return add_seconds(now, -days * 86_400)


def day_of(instant: Instant) -> Day:
    """
    Return the UTC day of *instant*.
    """
    return instant[:DAY_LENGTH]


def plus_days(day: Day, days: int) -> Day:
    """
    Return *day* plus *days* calendar days; the last day of the calendar (or the first one) where that is past it.
    """
    try:
        return (date.fromisoformat(day) + timedelta(days=days)).isoformat()
    except OverflowError:
        return (date.max if days > 0 else date.min).isoformat()
