"""
Sources: when each was last heard of, what is open, how much of what it reported was real, and which went silent.

What it costs: counters for what is live, one look a lane of runs, the items closed in the last `DAYS`, the newest
`LOOKED_AT` changes, and `SAMPLED` live items of each priority with what was sighted of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from urllib.parse import quote

from msgspec import Struct

from backlog_store.backends.port import Reader
from backlog_store.instants import earlier
from backlog_store.model import PRIORITIES
from backlog_store.query import All, Compare, EventQuery, In, ItemQuery, live
from backlog_store.rules.lanes import seen_of
from backlog_store.rules.silences import lanes, silent
from backlog_store.rules.voices import every_claim, sighting_id, sighting_ids
from backlog_store.web.pages.render import page
from backlog_store.web.routing import Ask, Reply, Routes
from backlog_store.weekly import NOISE, shown

__all__ = ["DAYS", "LOOKED_AT", "Heard", "heard", "routes"]

routes = Routes()

#: The window of the precision; and how many changes, and live items of each priority, are looked at for last reports.
DAYS = 90
LOOKED_AT = 1_000
SAMPLED = 250


class Heard(Struct, frozen=True, kw_only=True):
    """
    One source.

    `last_at` is the newest report that its runs, and the changes and items that were looked at, tell of; empty where
    none does. `precision` is the share of its `closed` items that were no noise (`weekly.NOISE`); ``None`` where none
    was closed. `silent` are the places of which it reported and no longer does, as the digest of a week tells.
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
    for name, at in _sighted(reader):
        last[name] = max(at, last.get(name, ""))
    gone: dict[str, list[str]] = {}
    for one in silent(known, now=now):
        gone.setdefault(one.source, []).append(f"{one.env}/{one.service}")
    names = sorted({*alive, *closed, *(source for source, _, _ in known)} - {"manual"})
    return [_heard(name, alive.get(name, 0), last.get(name, ""), closed.get(name, {}), gone.get(name, [])) for name in
            names]  # fmt: skip


def _sighted(reader: Reader) -> Iterator[tuple[str, str]]:
    """
    Yield sources and when they reported a live item, in a bounded sample: who reports unchanged problems changes none.
    """
    each = [All((live(), In("priority", (priority,)))) for priority in PRIORITIES]
    items = [item for where in each for item in reader.search(ItemQuery(where=where, limit=SAMPLED))]
    sighted = reader.records("sighting", [id for item in items for id in sighting_ids(item)])
    for item in items:
        for under, name, claim in every_claim(item):
            yield name, seen_of(claim, sighted.get(sighting_id(item, name, under))).at


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
    return page(ask, "sources.html", found=found, days=DAYS, looked_at=LOOKED_AT, sampled=SAMPLED, since=since,
                quote=quote)  # fmt: skip
