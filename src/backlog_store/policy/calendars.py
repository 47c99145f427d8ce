"""
The section `calendars`: when a team works: time zone, days of the week, hours, holidays and days of its own.

All of it is computed from the policy alone. The holidays of a country are part of it, as a further file that is made
when the policy is loaded (`policy.holidaylists`): no host and no release of a package says later that they are others.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Literal
from zoneinfo import ZoneInfo, available_timezones

from msgspec import Meta, Struct, field

from backlog_store.instants import Day, Instant, format_instant, to_datetime
from backlog_store.policy.findings import Finding, nearest
from backlog_store.policy.forms import Date, Hours, Label

if TYPE_CHECKING:
    from backlog_store.policy import Policy

__all__ = ["HOLIDAY_FILE", "Calendar", "Calendars", "WorkingTime", "calendar_findings", "working_time"]

#: How the file of a country's holidays is called among the files of a policy.
HOLIDAY_FILE = "holidays:"
Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
_WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
#: No count goes over more days than that, nor past the last day of the year 9999.
_DAYS_MAX = 36_600


class Calendar(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """
    One calendar. A day on which it is closed has no working hours, whatever day of the week it is.
    """

    zone: Annotated[str, Meta(description="Its time zone, such as `Europe/Berlin`.", min_length=1, max_length=64)] = (
        "UTC"
    )
    days: Annotated[tuple[Weekday, ...], Meta(description="The days of the week that are worked on.", min_length=1,
                                              max_length=7)] = ("mon", "tue", "wed", "thu", "fri")  # fmt: skip
    hours: Annotated[tuple[Hours, ...], Meta(
        description="From when until when, by the clock of the zone; several for a day with breaks.", min_length=1,
        max_length=10)] = ("09:00-17:00",)  # fmt: skip
    holidays: Annotated[str, Meta(
        description="The country whose public holidays are free, with a region if need be: `DE`, `DE-BE`, `US-CA`.",
        max_length=20)] = ""  # fmt: skip
    closed: Annotated[tuple[Date, ...], Meta(description="Further days that are free.", max_length=400)] = ()
    open: Annotated[tuple[Date, ...], Meta(
        description="Days that are worked on although they are free otherwise.", max_length=400)] = ()  # fmt: skip


class Calendars(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """
    Working calendars, which `due` and `sla` name.
    """

    named: Annotated[dict[Label, Annotated[Calendar, Meta(description="The calendar of that name.")]], Meta(
        description="The calendars by name.", max_length=50)] = field(default_factory=dict)  # fmt: skip

    def files_wanted(self) -> Iterator[str]:
        """
        Yield the lists of holidays that the calendars rest on.
        """
        for calendar in self.named.values():
            if calendar.holidays:
                yield f"{HOLIDAY_FILE}{calendar.holidays}"

    def check(self, policy: Policy) -> Iterator[Finding]:
        """
        Yield zones and countries that are not, hours that overlap, days that are both open and closed.
        """
        for name, calendar in self.named.items():
            here = f"/calendars/named/{name}"
            if not _is_zone(calendar.zone):
                close = nearest(calendar.zone, sorted(available_timezones()))
                reason = f"there is no time zone {calendar.zone!r} on this host"
                yield Finding(pointer=f"{here}/zone", reason=reason, suggestion=close)
            if calendar.holidays and f"{HOLIDAY_FILE}{calendar.holidays}" not in policy.files:
                from backlog_store.policy.holidaylists import why_none

                reason, close = why_none(calendar.holidays)
                yield Finding(pointer=f"{here}/holidays", reason=reason, suggestion=close)
            spans = [_minutes(text) for text in calendar.hours]
            for number, (before, after) in enumerate(pairwise(spans), 1):
                if after[0] < before[1]:
                    reason = "begins before the hours in front of it end; put them in order"
                    yield Finding(pointer=f"{here}/hours/{number}", reason=reason)
            for number, day in enumerate(calendar.open):
                if day in calendar.closed:
                    yield Finding(pointer=f"{here}/open/{number}", reason=f"{day} is in closed, too")


def calendar_findings(policy: Policy, name: str, pointer: str) -> Iterator[Finding]:
    """
    Yield that a section names a calendar that is not.
    """
    known = list(policy.calendars.named) if policy.calendars is not None else []
    if name and name not in known:
        close = nearest(name, known)
        rest = "" if close else f"; known are {', '.join(known)}" if known else "; the section calendars names them"
        yield Finding(pointer=pointer, reason=f"there is no calendar {name!r}{rest}", suggestion=close)


def _is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (ValueError, OSError, LookupError):
        return False
    return True


def _minutes(hours: str) -> tuple[int, int]:
    start, _, end = hours.partition("-")
    return _minute(start), _minute(end)


def _minute(text: str) -> int:
    return int(text[:2]) * 60 + int(text[3:])


class WorkingTime:
    """
    A calendar ready to be counted with: which days are worked on, and which instants of them.
    """

    def __init__(self, calendar: Calendar, holidays: str = "") -> None:
        self.zone = ZoneInfo(calendar.zone)
        self._weekdays = frozenset(_WEEKDAYS.index(day) for day in calendar.days)
        minutes = [_minutes(text) for text in calendar.hours]
        self._spans = tuple((timedelta(minutes=start), timedelta(minutes=end)) for start, end in minutes)
        self._open = frozenset(date.fromisoformat(day) for day in calendar.open)
        listed = (line[:10] for line in holidays.splitlines() if line)
        self._closed = frozenset(date.fromisoformat(day) for day in (*calendar.closed, *listed)) - self._open

    def day_of(self, instant: Instant) -> date:
        """
        Return the day that it is in the zone at an instant; at the ends of the calendar, where it has none, in UTC.
        """
        moment = to_datetime(instant)
        try:
            return moment.astimezone(self.zone).date()
        except OverflowError:
            return moment.date()

    def works(self, day: date) -> bool:
        """
        Tell whether a day is worked on.
        """
        return day in self._open or (day.weekday() in self._weekdays and day not in self._closed)

    def after(self, day: date, days: int) -> Day:
        """
        Return the working day that is *days* working days after *day*; 0 is *day* itself, or the next working day.

        Where there are not so many it is the day at which the count ended.
        """
        left = days if self.works(day) or days else 1
        for _ in range(_days_ahead(day)):
            if not left:
                break
            day += timedelta(days=1)
            left -= self.works(day)
        return day.isoformat()

    def seconds(self, start: Instant, end: Instant) -> float:
        """
        Return how many working seconds lie between two instants; of more than a hundred years, those of the first.
        """
        first, last = to_datetime(start), to_datetime(end)
        total, day = 0.0, self.day_of(start)
        for later in range(min((self.day_of(end) - day).days + 1, _DAYS_MAX)):
            for begins, ends in self._of(day + timedelta(days=later)):
                total += max(0.0, (min(ends, last) - max(begins, first)).total_seconds())
        return total

    def plus(self, start: Instant, seconds: float) -> Instant:
        """
        Return the instant at which so many working seconds have passed since *start*; empty if none is near.
        """
        first, day, left = to_datetime(start), self.day_of(start), seconds
        for later in range(_days_ahead(day)):
            for begins, ends in self._of(day + timedelta(days=later)):
                length = (ends - max(begins, first)).total_seconds()
                if length >= left and length > 0:
                    return format_instant(max(begins, first) + timedelta(seconds=left))
                left -= max(0.0, length)
        return ""

    def _of(self, day: date) -> Iterator[tuple[datetime, datetime]]:
        """
        Yield the working hours of a day as instants: an hour that the clock skips is none, one that it repeats is two.

        The first and the last day of the calendar have none: not every zone has all of their hours.
        """
        if not self.works(day) or not date.min < day < date.max:
            return
        midnight = datetime(day.year, day.month, day.day, tzinfo=UTC)
        for since, until, offset in self._steady(midnight):
            for start, end in self._spans:
                begins, ends = max(since, midnight + start - offset), min(until, midnight + end - offset)
                if begins < ends:
                    yield begins, ends

    def _steady(self, day: datetime) -> Iterator[tuple[datetime, datetime, timedelta]]:
        """
        Yield the stretches of a day in which the clock goes steadily, with its offset: one, or two if it is changed.

        They begin with its first midnight and end with the last one of the next day: some zones have it twice.
        """
        following = day + timedelta(days=1)
        before, after = self._ahead(day, fold=0), self._ahead(following, fold=1)
        start, end = day - before, following - after
        if before == after:
            yield start, end, before
            return
        # Where the clock skips midnight, it is changed at the earlier reading of it, which is the later instant.
        end = max(end, following - self._ahead(following, fold=0))
        seconds = range(int((end - start).total_seconds()))
        turn = bisect_left(seconds, True, key=lambda second: self._offset(start + timedelta(seconds=second)) == after)
        changed = start + timedelta(seconds=turn)
        yield start, changed, before
        yield changed, end, after

    def _ahead(self, local: datetime, *, fold: int) -> timedelta:
        return local.replace(tzinfo=self.zone, fold=fold).utcoffset() or timedelta()

    def _offset(self, moment: datetime) -> timedelta:
        return moment.astimezone(self.zone).replace(tzinfo=UTC) - moment


def _days_ahead(day: date) -> int:
    return min(_DAYS_MAX, (date.max - day).days)


def working_time(policy: Policy, name: str) -> WorkingTime | None:
    """
    Return a calendar of a policy, ready to be counted with; ``None`` for no name: all hours of all days, in UTC.
    """
    if not name or policy.calendars is None:
        return None
    calendar = policy.calendars.named[name]
    return _ready(calendar, policy.files.get(f"{HOLIDAY_FILE}{calendar.holidays}", "") if calendar.holidays else "")


@lru_cache(maxsize=64)
def _ready(calendar: Calendar, holidays: str) -> WorkingTime:
    return WorkingTime(calendar, holidays)
