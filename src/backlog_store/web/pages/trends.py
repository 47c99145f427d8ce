"""
What the dashboard draws over time: from counts by day that are kept, so it costs the same in a large backlog.

The days are those of the items as they are now: one that was closed and came back was live all the while, and what was
purged is in none of them. How soon and how well things are closed is looked up for the `CLOSED_MAX` closed last.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import median

from msgspec import Struct

from backlog_store.backends.port import Reader
from backlog_store.instants import Instant, day_of, plus_days, to_datetime
from backlog_store.model import CLOSED, LIVE, STATUSES, Event, Item
from backlog_store.query import All, Compare, EventQuery, In, ItemQuery, Where
from backlog_store.rules.policies import policy_in_force
from backlog_store.rules.sla import sla_of

__all__ = ["CLOSED_MAX", "DAYS", "Age", "Day", "Trend", "trend"]

DAYS = 28
CLOSED_MAX = 100
_DAY_S = 86_400
#: Names of ages, and from how many days on an item is too old for them.
_AGES = (("under a week", 7), ("1 to 4 weeks", 28), ("4 to 13 weeks", 91))
_TIMES = (("within a day", 1), ("within a week", 7), ("within 4 weeks", 28), ("later", 10**6))


class Day(Struct, frozen=True, kw_only=True):
    """
    One day: how many were opened and closed on it, and what became of those that were live at its end.

    `status` has so many of them by each live status that they have now; `since` were closed since.
    """

    day: str
    next: str
    opened: int
    closed: int
    status: Mapping[str, int]
    since: int

    @property
    def parts(self) -> tuple[tuple[str, int], ...]:
        """
        Return what the live ones are now: each live status, and `gone` for those closed since.
        """
        return (*self.status.items(), ("gone", self.since))

    @property
    def live(self) -> int:
        """
        Return how many were live at the end of the day.
        """
        return sum(count for _, count in self.parts)


class Age(Struct, frozen=True, kw_only=True):
    """
    How many live items were created on the day *since* or later, and before *until*; either is empty if open.
    """

    name: str
    since: str
    until: str
    count: int


class Trend(Struct, frozen=True, kw_only=True):
    """
    The last `DAYS` days, oldest first; `ages` of all live items; and how well the newest closed ones of them went.

    Of the *looked_at* ones: `fix_times` are counts by name and `fix_median_s` their median, ``None`` where nothing was
    fixed; `due` and `sla` are (in time, of how many).
    """

    days: tuple[Day, ...]
    ages: tuple[Age, ...]
    looked_at: int
    fix_times: tuple[tuple[str, int], ...]
    fix_median_s: float | None
    due: tuple[int, int]
    sla: tuple[int, int]


Counts = Mapping[tuple[str, ...], int]


def trend(reader: Reader, *, env: str, now: Instant, counts: Mapping[str, int]) -> Trend:
    """
    Return what happened in *env* (empty: in all) in the last days; *counts* are those by status at *now*.
    """
    today = day_of(now)
    first = plus_days(today, 1 - DAYS)
    scope: tuple[Where, ...] = (In("env", (env,)),) if env else ()
    # All is asked before any answer is looked at: where asking is a round trip, one does for all.
    every = In("status", STATUSES)
    created = reader.tally(
        All((*scope, every, Compare("created_on", ">=", plus_days(today, 1 - _AGES[-1][1])))), ("created_on", "status")
    )
    ended = reader.tally(All((*scope, every, Compare("closed_on", ">=", first))), ("closed_on",))
    lately = All((*scope, Compare("closed_at", ">=", first)))
    closed = reader.search(ItemQuery(where=lately, order="closed", descending=True, limit=CLOSED_MAX))
    fixed = [_seconds(item.created_at, item.closed_at) for item in closed if item.closed_reason == "fixed"]
    dated = [item for item in closed if item.due_date]
    return Trend(
        days=tuple(_days(today, created, ended, counts)),
        ages=tuple(_ages(today, created, counts)),
        looked_at=len(closed),
        fix_times=_counted(fixed),
        fix_median_s=median(fixed) if fixed else None,
        due=(sum(item.closed_on <= item.due_date for item in dated), len(dated)),
        sla=_kept(reader, closed, now),
    )


def _days(today: str, created: Counts, ended: Counts, counts: Mapping[str, int]) -> Iterator[Day]:
    """
    Return the days: today's counts, from which what came is taken out day by day, and what was closed put back.
    """
    days: list[Day] = []
    shown = [plus_days(today, -number) for number in range(DAYS)]
    live: dict[str, int] = {name: counts.get(name, 0) for name in STATUSES if name in LIVE}
    since = 0
    # Where clocks differ something may be dated later than today, or closed before it was created.
    for day in sorted({*shown, *(key[0] for key in (*created, *ended))}, reverse=True):
        came: dict[str, int] = {status: created.get((day, status), 0) for status in STATUSES}
        gone = ended.get((day,), 0)
        if shown[-1] <= day <= today:
            days.append(
                Day(
                    day=day,
                    next=plus_days(day, 1),
                    opened=sum(came.values()),
                    closed=gone,
                    status=live,
                    since=max(0, since),
                )
            )
        live = {name: n - came[name] for name, n in live.items()}
        since += gone - sum(came[status] for status in CLOSED)
    return reversed(days)


def _ages(today: str, created: Counts, counts: Mapping[str, int]) -> Iterator[Age]:
    until, left = "", sum(counts.get(status, 0) for status in LIVE)
    for name, days in _AGES:
        since = plus_days(today, 1 - days)
        count = sum(n for (day, status), n in created.items()
                    if status in LIVE and day >= since and (not until or day < until))  # fmt: skip
        yield Age(name=name, since=since, until=until, count=count)
        until, left = since, left - count
    yield Age(name="older", since="", until=until, count=left)


def _kept(reader: Reader, closed: Sequence[Item], now: Instant) -> tuple[int, int]:
    """
    Return for how many of these items the policy's target to close them was met, of how many that have one.
    """
    policy = policy_in_force(reader)
    if policy.sla is None or not closed:
        return 0, 0
    trails: dict[str, list[Event]] = {item.id: [] for item in closed}
    for event in reader.events(EventQuery(item_ids=tuple(trails), limit=None)):
        trails[event.item_id].append(event)
    states = [clock.state for item in closed for clock in sla_of(item, trails[item.id], policy, now)
              if clock.clock == "close"]  # fmt: skip
    return states.count("met"), states.count("met") + states.count("breached")


def _counted(seconds: Sequence[float]) -> tuple[tuple[str, int], ...]:
    counts = {name: 0 for name, _ in _TIMES}
    for one in seconds:
        counts[next(name for name, days in _TIMES if one < days * _DAY_S)] += 1
    return tuple(counts.items()) if seconds else ()


def _seconds(since: Instant, until: Instant) -> float:
    return max(0.0, (to_datetime(until) - to_datetime(since)).total_seconds())
