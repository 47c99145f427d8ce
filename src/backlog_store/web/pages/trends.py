"""
What the dashboard draws over time: computed from the newest events, so that it costs the same in a large backlog.

No store keeps yesterday's counts. They are today's with the changes since taken back, as far as the newest
`EVENTS_MAX` events reach; a busier backlog shows fewer days, and says from when. What was purged is in none of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import median

from msgspec import Struct

from backlog_store.backends.port import Reader
from backlog_store.instants import add_seconds, day_of, to_datetime
from backlog_store.model import CLOSED, LIVE, Event, Item
from backlog_store.query import All, EventQuery, In, ItemQuery, live
from backlog_store.rules.policies import policy_in_force
from backlog_store.rules.sla import sla_of

__all__ = ["DAYS", "EVENTS_MAX", "Day", "Trend", "trend"]

DAYS = 28
EVENTS_MAX = 2_000
#: Items in the order of work whose age is looked at, and closed ones whose targets are computed.
_AGED = 500
_CLOCKED = 100
_PAGE = 1_000
_DAY_S = 86_400
_AGES = ((7, "under a week"), (30, "1 to 4 weeks"), (90, "1 to 3 months"), (10**6, "older"))
_TIMES = ((1, "within a day"), (7, "within a week"), (30, "within a month"), (10**6, "later"))


class Day(Struct, frozen=True, kw_only=True):
    """
    One day: how many were opened (again) and closed, and how many of each live status there were at its end.
    """

    day: str
    next: str
    opened: int
    closed: int
    status: Mapping[str, int]


class Trend(Struct, frozen=True, kw_only=True):
    """
    The days that the events reach, oldest first; none, where not even today's are all among them.

    `partly`: they did not reach all `DAYS`. `fix_times` and `ages` are counts by name; `due` and `sla` are (in time, of
    how many); `fix_median_s` is ``None`` where nothing was fixed. `aged` is how many items were looked at for `ages`.
    """

    days: tuple[Day, ...]
    partly: bool
    fix_times: tuple[tuple[str, int], ...]
    fix_median_s: float | None
    due: tuple[int, int]
    sla: tuple[int, int]
    ages: tuple[tuple[str, int], ...]
    aged: int


def trend(reader: Reader, *, env: str, now: str, counts: Mapping[str, int]) -> Trend:
    """
    Return what happened in *env* (empty: in all) in the last days; *counts* are those by status at *now*.
    """
    found, items, reached = _passed(reader, env, day_of(add_seconds(now, -(DAYS - 1) * _DAY_S)))
    ended = {
        event.item_id: items[event.item_id] for event in found
        if _closes(event) and event.item_id in items and event.changes["closed_at"][1] == items[event.item_id].closed_at
    }  # fmt: skip
    closed = sorted(ended.values(), key=lambda item: (item.closed_at, item.id), reverse=True)
    fixed = [_seconds(item.created_at, item.closed_at) for item in closed if item.closed_reason == "fixed"]
    dated = [item for item in closed if item.due_date]
    where = All((*((In("env", (env,)),) if env else ()), live()))
    aged = reader.search(ItemQuery(where=where, limit=_AGED))
    return Trend(
        days=tuple(_days(found, reached, now, counts)),
        partly=reached > day_of(add_seconds(now, -(DAYS - 1) * _DAY_S)),
        fix_times=_counted(fixed, _TIMES),
        fix_median_s=median(fixed) if fixed else None,
        due=(sum(day_of(item.closed_at) <= item.due_date for item in dated), len(dated)),
        sla=_kept(reader, closed[:_CLOCKED], now),
        ages=_counted([_seconds(item.created_at, now) for item in aged], _AGES),
        aged=len(aged),
    )


def _passed(reader: Reader, env: str, first: str) -> tuple[list[Event], dict[str, Item], str]:
    """
    Return the events since the day *first*, newest first, and the first day that they hold whole.

    With them come the items that were closed, and all where one env is asked for.
    """
    found: list[Event] = []
    items: dict[str, Item] = {}
    after, read = "", 0
    while True:
        events = reader.events(EventQuery(newest_first=True, limit=_PAGE, after=after))
        read += len(events)
        within = [event for event in events if day_of(event.ts) >= first and "status" in event.changes]
        items |= reader.items({event.item_id for event in within if env or _closes(event)})
        found += [event for event in within
                  if not env or (event.item_id in items and items[event.item_id].env == env)]  # fmt: skip
        if len(events) < _PAGE or day_of(max(event.ts for event in events)) < first:
            return found, items, first
        if read >= EVENTS_MAX:
            return found, items, max(first, day_of(add_seconds(events[-1].ts, _DAY_S)))
        after = events[-1].position


def _closes(event: Event) -> bool:
    return bool(event.changes.get("closed_at", ("", ""))[1])


def _days(found: Sequence[Event], first: str, now: str, counts: Mapping[str, int]) -> Iterator[Day]:
    opened: dict[str, int] = {}
    closed: dict[str, int] = {}
    moved: dict[str, dict[str, int]] = {}
    for event in found:
        day = day_of(event.ts)
        was, became = event.changes["status"]
        opened[day] = opened.get(day, 0) + (was not in LIVE and became in LIVE)
        closed[day] = closed.get(day, 0) + (was not in CLOSED and became in CLOSED)
        of_day = moved.setdefault(day, {})
        of_day[became] = of_day.get(became, 0) + 1
        of_day[was] = of_day.get(was, 0) - 1
    standing = {name: counts.get(name, 0) for name in ("open", "in_progress", "blocked")}
    days: list[Day] = []
    day = day_of(now)
    while day >= first:
        after = day_of(add_seconds(f"{day}T00:00:00.000000Z", _DAY_S))
        days.append(Day(day=day, next=after, opened=opened.get(day, 0), closed=closed.get(day, 0), status=standing))
        gone = moved.get(day, {})
        standing = {name: max(0, n - gone.get(name, 0)) for name, n in standing.items()}
        day = day_of(add_seconds(f"{day}T00:00:00.000000Z", -_DAY_S))
    return reversed(days)


def _kept(reader: Reader, closed: Sequence[Item], now: str) -> tuple[int, int]:
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


def _counted(seconds: Sequence[float], bounds: Sequence[tuple[int, str]]) -> tuple[tuple[str, int], ...]:
    counts = {name: 0 for _, name in bounds}
    for one in seconds:
        counts[next(name for days, name in bounds if one < days * _DAY_S)] += 1
    return tuple(counts.items()) if seconds else ()


def _seconds(since: str, until: str) -> float:
    return max(0.0, (to_datetime(until) - to_datetime(since)).total_seconds())
