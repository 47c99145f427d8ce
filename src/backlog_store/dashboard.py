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
from backlog_store.query import ANY, All, Compare, In, ItemQuery, Not, Where, live

__all__ = ["Attention", "Dashboard", "attention", "dashboard"]

_LIVE = live()
_WEEK_S = 7 * 86_400


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
    everything = All(scope) if scope else ANY
    alive = All((*scope, _LIVE))
    status = _by(reader, everything, "status")
    services = _by(reader, alive, "service")
    overdue = All((*scope, _LIVE, Compare("due_date", "<", day_of(now))))
    owners = _by(reader, alive, "owner")
    return Dashboard(
        env=env,
        at=now,
        total=sum(status.values()),
        live=sum(count for name, count in status.items() if name in LIVE),
        status_counts=status,
        priority_counts=_by(reader, alive, "priority"),
        category_counts=_by(reader, alive, "category"),
        owner_counts=owners,
        source_counts=_by(reader, alive, "source"),
        overdue_count=_count(reader, overdue),
        overdue=tuple(reader.search(ItemQuery(where=overdue, order="priority", limit=20))),
        snoozed=_count(reader, All((*scope, _LIVE, Compare("wake_at", ">", now)))),
        unowned=owners.get("", 0),
        top_services=tuple(sorted(services.items(), key=lambda pair: (-pair[1], pair[0]))[:10]),
    )


def _by(reader: Reader, where: Where, facet: str) -> dict[str, int]:
    counts = reader.tally(where, (facet,))  # type: ignore[arg-type]
    return {names[0]: counts[names] for names in sorted(counts)}


def _count(reader: Reader, where: Where) -> int:
    return reader.tally(where, ()).get((), 0)


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
    asleep = Compare("wake_at", ">", now)
    awake = All((*scope, _LIVE, Not(asleep)))
    today = day_of(now)
    parts: dict[str, Where] = {
        "urgent": All((awake, In("priority", ("P0", "P1")))),
        "overdue": All((awake, Compare("due_date", "<", today))),
        "due_soon": All((awake, Compare("due_date", ">=", today), Compare("due_date", "<=", day_of(from_week)))),
        "woken": All((*scope, _LIVE, Compare("wake_at", "<=", now))),
        "expiring": All((*scope, In("status", tuple(sorted(CLOSED))), In("closed_reason", ("accepted_risk",)),
                         Compare("expires_at", "<=", from_week))),
    }  # fmt: skip
    found: dict[str, Any] = {}
    for name, where in parts.items():
        found[name] = tuple(reader.search(ItemQuery(where=where, limit=limit)))
        found[f"{name}_count"] = _count(reader, where)
    return Attention(
        at=now,
        live=_count(reader, All((*scope, _LIVE))),
        unowned_count=_count(reader, All((awake, In("owner", ("",))))),
        **found,
    )
