"""
Which sources went silent: known of those that report in runs, from their lanes.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from backlog_store.backends.port import Reader
from backlog_store.codec import from_builtins
from backlog_store.instants import Instant, add_seconds, earlier, to_datetime
from backlog_store.rules.lanes import Lane

__all__ = ["Silence", "lanes", "silent"]

_LAST = "\U0010ffff"


class Silence(Struct, frozen=True, kw_only=True):
    """
    A source whose last run over a service began in the time before, and none since.
    """

    source: str
    env: str
    service: str
    last_at: Instant


def lanes(reader: Reader, env: str = "") -> dict[tuple[str, str, str], Silence]:
    """
    Return when the last run of each source over each service began, by source, env and service.

    One look a lane: its runs are leapt over.
    """
    found: dict[tuple[str, str, str], Silence] = {}
    after = ""
    while page := reader.scan("run", "", after, 1):
        name, slash, _ = page[0].id.partition("/")
        after = f"{name}/{_LAST}"
        if slash:
            continue  # what is left of a lane that is gone
        lane = from_builtins(page[0].body, Lane)
        if env and lane.scope.env != env:
            continue
        for service in lane.scope.services:
            key = (lane.source, lane.scope.env, service)
            before = found[key].last_at if key in found else ""
            found[key] = Silence(source=lane.source, env=lane.scope.env, service=service,
                                 last_at=max(before, lane.last_at))  # fmt: skip
    return {key: found[key] for key in sorted(found)}


def silent(known: Mapping[tuple[str, str, str], Silence], *, now: Instant, since: Instant = "") -> list[Silence]:
    """
    Return those lanes that were heard of in as long a time before *since*, and not from then to *now*.

    Without *since* a week is looked at, and the week before.
    """
    since = since or earlier(now)
    earliest = add_seconds(since, -(to_datetime(now) - to_datetime(since)).total_seconds())
    return [one for one in known.values() if earliest <= one.last_at < since]
