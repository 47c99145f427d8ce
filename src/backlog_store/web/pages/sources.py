"""
Sources: when each was last heard of, what is open, how much of what it reported was real, and which went silent.

What it costs: counters for what is live, one look a lane of runs, the items closed in the last `DAYS`, and the newest
`LOOKED_AT` changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

from msgspec import Struct

from backlog_store.backends.port import Reader
from backlog_store.instants import earlier
from backlog_store.query import Compare, EventQuery, live
from backlog_store.rules.silences import lanes, silent
from backlog_store.web.pages.render import page
from backlog_store.web.routing import Ask, Reply, Routes
from backlog_store.weekly import NOISE, shown

__all__ = ["DAYS", "LOOKED_AT", "Heard", "heard", "routes"]

routes = Routes()

#: The window of the precision, and how many changes are looked at for a source that reports in no runs.
DAYS = 90
LOOKED_AT = 1_000


class Heard(Struct, frozen=True, kw_only=True):
    """
    One source. `last_at` is empty where neither a run nor the changes that were looked at tell of it.

    `precision` is the share of its `closed` items that were no noise (`weekly.NOISE`); ``None`` where none was closed.
    `silent` are the places of which it reported and no longer does, as the digest of a week tells.
    """

    name: str
    live: int
    last_at: str
    reasons: Mapping[str, int]
    closed: int
    precision: float | None
    silent: tuple[str, ...]


def heard(reader: Reader, *, now: str) -> list[Heard]:
    """
    Return every source of which something is live, was closed lately, or ran; by name.
    """
    alive = {name: n for (name,), n in reader.tally(live(), ("source",)).items()}
    closed: dict[str, dict[str, int]] = {}
    lately = Compare("closed_at", ">=", earlier(now, DAYS))
    for (name, reason), n in reader.tally(lately, ("source", "closed_reason")).items():
        closed.setdefault(name, {})[reason] = n
    known = lanes(reader)
    last: dict[str, str] = {}
    for one in known.values():
        last[one.source] = max(one.last_at, last.get(one.source, ""))
    for event in reader.events(EventQuery(newest_first=True, limit=LOOKED_AT)):
        if event.actor_kind == "machine":
            last[event.actor] = max(event.ts, last.get(event.actor, ""))
    gone: dict[str, list[str]] = {}
    for one in silent(known, now=now):
        gone.setdefault(one.source, []).append(f"{one.env}/{one.service}")
    names = sorted({*alive, *closed, *(source for source, _, _ in known)} - {"manual"})
    return [_heard(name, alive.get(name, 0), last.get(name, ""), closed.get(name, {}), gone.get(name, [])) for name in
            names]  # fmt: skip


def _heard(name: str, count: int, last_at: str, reasons: Mapping[str, int], gone: list[str]) -> Heard:
    total = sum(reasons.values())
    noise = sum(n for reason, n in reasons.items() if reason in NOISE)
    return Heard(name=name, live=count, last_at=last_at, reasons=dict(sorted(reasons.items())), closed=total,
                 precision=(total - noise) / total if total else None, silent=tuple(gone))  # fmt: skip


@routes.add("GET", "/sources", action="read", gives="text/html")
def sources_page(ask: Ask) -> Reply:
    """
    Show the sources.
    """
    now = ask.site.backlog.clock()
    found = ask.backlog.read(lambda reader: heard(reader, now=now))
    since = shown(earlier(now, DAYS))
    return page(ask, "sources.html", found=found, days=DAYS, looked_at=LOOKED_AT, since=since, quote=quote)
