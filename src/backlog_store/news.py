"""
What is new to somebody: since the mark that they set, and that looking never moves.

New and returned items are told by the newest `LOOKED_AT` changes behind the mark's position, so that it costs the same
in a large backlog and misses nothing that was committed late; the rest by bounds that an index holds.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from backlog_store.access import Scope
from backlog_store.backends.port import Reader
from backlog_store.dashboard import ending, overdue
from backlog_store.instants import Instant, add_seconds, day_of, earlier
from backlog_store.model import CLOSED, Event, Item
from backlog_store.query import All, Compare, EventQuery, In, Where, live
from backlog_store.rules.keeping import mark_in
from backlog_store.rules.lanes import Run, parked
from backlog_store.rules.scoping import visible
from backlog_store.rules.silences import Silence, lanes, silent

__all__ = ["LOOKED_AT", "News", "news"]

#: Changes that are looked at; behind a mark that is older than all of them, the page says so.
LOOKED_AT = 2_000
_PAGE = 500
_WEEK_S = 7 * 86_400


class News(Struct, frozen=True, kw_only=True):
    """
    What is new since *since*. Items are live, in the order of work; *is_partial*: more than *looked_at* changes.

    *waiting* are all runs that are parked, by id, and *gone* all sources that went silent; of them *parked* and
    *silent* count those that are so since then.
    """

    since: Instant
    is_marked: bool
    is_partial: bool
    looked_at: int
    new: tuple[Item, ...]
    returned: tuple[Item, ...]
    breaching: int
    breaching_query: str
    expiring: int
    expiring_query: str
    waiting: tuple[tuple[str, Run], ...]
    parked: int
    gone: tuple[Silence, ...]
    silent: int

    @property
    def total(self) -> int:
        """
        Count all of it.
        """
        return len(self.new) + len(self.returned) + self.breaching + self.expiring + self.parked + self.silent


def news(reader: Reader, scope: Scope | None, *, name: str, env: str, now: Instant) -> News:
    """
    Tell what is new to *name*, within *scope* and *env* (empty: all). Without a mark, of the last seven days.

    *reader* is one of everything: events are looked at by number, not until so many of the scope are found.
    """
    mark = mark_in(reader.records("seen", [name]).get(name))
    since = mark.at if mark is not None else earlier(now)
    within = visible(reader, scope)
    events, is_partial = _passed(reader, mark.position if mark is not None else "", since)
    items = within.items({event.item_id for event in events})
    told: dict[str, dict[str, Item]] = {"new": {}, "returned": {}}
    for event in events:
        item = items.get(event.item_id)
        if item is None or item.status in CLOSED or (env and item.env != env):
            continue
        told["new" if event.type == "created" else "returned"][item.id] = item
    for id in told["new"]:
        told["returned"].pop(id, None)  # what nobody knew has not come back
    also = f" env:{env}" if env else ""
    scoped: tuple[Where, ...] = (In("env", (env,)),) if env else ()
    late = (*scoped, live(), *overdue(now, since=since))
    asleep = _count(within, (*late, Compare("wake_at", ">", now)))
    from_week, to_week = add_seconds(since, _WEEK_S), add_seconds(now, _WEEK_S)
    waiting = tuple(one for one in parked(within) if env in ("", one[1].scope.env))
    gone = tuple(silent(lanes(within, env), now=now))
    return News(
        since=since, is_marked=mark is not None, is_partial=is_partial, looked_at=LOOKED_AT,
        new=_ordered(told["new"]), returned=_ordered(told["returned"]),
        breaching=_count(within, late) - asleep,
        breaching_query=f"is:overdue due:>={day_of(since)} -is:snoozed{also}",
        expiring=_count(within, (*scoped, *ending(to_week, behind=from_week))),
        expiring_query=f"reason:accepted_risk expires:>{from_week} expires:<={to_week}{also}",
        waiting=waiting, parked=sum(run.ended_at >= since for _, run in waiting),
        gone=gone, silent=sum(one.last_at >= earlier(since) for one in gone),
    )  # fmt: skip


def _count(reader: Reader, parts: tuple[Where, ...]) -> int:
    return reader.tally(All(parts), ()).get((), 0)


def _ordered(items: Mapping[str, Item]) -> tuple[Item, ...]:
    return tuple(sorted(items.values(), key=lambda item: (item.priority, item.due_date or "9", item.id)))


def _passed(reader: Reader, position: str, since: Instant) -> tuple[list[Event], bool]:
    """
    Return the events behind a position (without one: since an instant) that made items new or brought them back.

    And whether there were more than are looked at.
    """
    found: list[Event] = []
    after, looked = "", 0
    while looked < LOOKED_AT:
        events = reader.events(EventQuery(newest_first=True, limit=_PAGE, after=after))
        within = [event for event in events if (event.position > position if position else event.ts >= since)]
        found += [event for event in within if event.type in ("created", "reopened")]
        looked += len(events)
        if len(events) < _PAGE or len(within) < len(events):
            return found, False
        after = events[-1].position
    return found, True
