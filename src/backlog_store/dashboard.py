"""
The dashboard: exact counts, and the few lists that say where to look first. A number that cannot be known is absent.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from backlog_store.backends.port import Reader
from backlog_store.instants import Instant, add_seconds, day_of
from backlog_store.model import CLOSED, LIVE, Item
from backlog_store.query import ANY, All, Compare, Facet, In, ItemQuery, Not, Where, live

__all__ = ["Attention", "Dashboard", "attention", "dashboard", "ending", "overdue"]

_LIVE = live()
_WEEK_S = 7 * 86_400
_UNOWNED = In("owner", ("",))
_COUNTED: tuple[Facet, ...] = ("priority", "category", "owner", "source", "service")


def overdue(now: Instant, *, since: Instant = "") -> tuple[Where, ...]:
    """
    Return what together says that an item's day has passed: on the day of *since* or later, if that is given.
    """
    late = Compare("due_date", "<", day_of(now))
    return (Compare("due_date", ">=", day_of(since)), late) if since else (late,)


def ending(until: Instant, *, behind: Instant = "") -> tuple[Where, ...]:
    """
    Return what together says that a risk is accepted until then at most: for longer than *behind*, if that is given.
    """
    ends = Compare("expires_at", "<=", until)
    return (In("status", tuple(sorted(CLOSED))), In("closed_reason", ("accepted_risk",)),
            *((Compare("expires_at", ">", behind), ends) if behind else (ends,)))  # fmt: skip


class Dashboard(Struct, frozen=True, kw_only=True):
    """
    Counts of one env (all envs if empty) at an instant.

    `total` counts every item, `live` those not closed; `overdue` holds the first 20 of `overdue_count`, by priority,
    then day; `top_services` the 10 services with the most live items, then by name; `snoozed` live items that sleep.
    """

    env: str
    at: Instant
    total: int
    live: int
    status_counts: Mapping[str, int]
    priority_counts: Mapping[str, int]
    category_counts: Mapping[str, int]
    owner_counts: Mapping[str, int]
    source_counts: Mapping[str, int]
    overdue_count: int
    overdue: tuple[Item, ...]
    snoozed: int
    unowned: int
    top_services: tuple[tuple[str, int], ...]


def dashboard(reader: Reader, *, env: str, now: Instant) -> Dashboard:
    """
    Count everything of *env* (empty: of all) as it stands in *reader*; priorities to sources count live items.
    """
    scope: tuple[Where, ...] = (In("env", (env,)),) if env else ()
    alive = All((*scope, _LIVE))
    passed = All((*scope, _LIVE, *overdue(now)))
    # All is asked before any answer is looked at: where asking is a round trip, one does for all counts.
    status = reader.tally(All(scope) if scope else ANY, ("status",))
    counts = [reader.tally(alive, (facet,)) for facet in _COUNTED]
    late = reader.tally(passed, ())
    snoozed = reader.tally(All((*scope, _LIVE, Compare("wake_at", ">", now))), ())
    first = reader.search(ItemQuery(where=passed, order="priority", limit=20))
    priorities, categories, owners, sources, services = map(_named, counts)
    return Dashboard(
        env=env,
        at=now,
        total=sum(status.values()),
        live=sum(count for (name,), count in status.items() if name in LIVE),
        status_counts=_named(status),
        priority_counts=priorities,
        category_counts=categories,
        owner_counts=owners,
        source_counts=sources,
        overdue_count=late.get((), 0),
        overdue=tuple(first),
        snoozed=snoozed.get((), 0),
        unowned=owners.get("", 0),
        top_services=tuple(sorted(services.items(), key=lambda pair: (-pair[1], pair[0]))[:10]),
    )


def _named(counts: Mapping[tuple[str, ...], int]) -> dict[str, int]:
    return {names[0]: counts[names] for names in sorted(counts)}


class Attention(Struct, frozen=True, kw_only=True):
    """
    What needs a look now: each list holds the first few, each count is exact.
    """

    at: Instant
    live: int
    urgent: tuple[Item, ...]
    urgent_count: int
    overdue: tuple[Item, ...]
    overdue_count: int
    due_soon: tuple[Item, ...]
    due_soon_count: int
    woken: tuple[Item, ...]
    woken_count: int
    expiring: tuple[Item, ...]
    expiring_count: int
    unowned_count: int


def attention(reader: Reader, *, env: str, now: Instant, limit: int = 5) -> Attention:
    """
    Look at *env* (empty: all): P0 and P1 awake, overdue, due within a week, woken up, acceptances ending within a week.
    """
    scope: tuple[Where, ...] = (In("env", (env,)),) if env else ()
    from_week = add_seconds(now, _WEEK_S)
    alive = All((*scope, _LIVE))
    asleep = Compare("wake_at", ">", now)
    today = day_of(now)
    of_awake: dict[str, tuple[Where, ...]] = {
        "urgent": (In("priority", ("P0", "P1")),),
        "overdue": overdue(now),
        "due_soon": (All((Compare("due_date", ">=", today), Compare("due_date", "<=", day_of(from_week)))),),
    }
    others: dict[str, Where] = {
        "woken": All((alive, Compare("wake_at", "<=", now))),
        "expiring": All((*scope, *ending(from_week))),
    }
    # Those awake are counted as all without those asleep: both are counts that are kept.
    counted = {**of_awake, "unowned": (_UNOWNED,)}
    counts = {name: reader.tally(All((alive, *parts)), ()) for name, parts in counted.items()}
    sleepers = {name: reader.tally(All((alive, *parts, asleep)), ()) for name, parts in counted.items()}
    rest = {name: reader.tally(where, ()) for name, where in [*others.items(), ("live", alive)]}
    wheres = {**{name: All((alive, *parts, Not(asleep))) for name, parts in of_awake.items()}, **others}
    found: dict[str, Any] = {
        name: tuple(reader.search(ItemQuery(where=where, limit=limit))) for name, where in wheres.items()
    }
    for name in counted:
        found[f"{name}_count"] = counts[name].get((), 0) - sleepers[name].get((), 0)
    for name in others:
        found[f"{name}_count"] = rest[name].get((), 0)
    return Attention(at=now, live=rest["live"].get((), 0), **found)
