"""
What is new to somebody: since the mark that they set, and that looking never moves.

New and returned items are told by the newest `LOOKED_AT` changes behind the mark's position, so that it costs the same
in a large backlog and misses nothing that was committed late; the rest by bounds that an index holds.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from msgspec import Struct

from backlog_store import commands as c
from backlog_store.access import Scope
from backlog_store.backends.port import Reader
from backlog_store.backends.scanning import end_of_log
from backlog_store.codec import from_builtins
from backlog_store.errors import NotFound
from backlog_store.instants import Instant, add_seconds, day_of
from backlog_store.model import CLOSED, Event, Item
from backlog_store.query import All, Compare, EventQuery, In, Where, live
from backlog_store.rules.lanes import Run
from backlog_store.rules.scoping import visible
from backlog_store.rules.silences import lanes, silent
from backlog_store.web.pages.changes import FORM, back_to, form_of, one_of
from backlog_store.web.pages.render import page
from backlog_store.web.pages.runs import parked
from backlog_store.web.routing import Ask, Param, Reply, Routes
from backlog_store.weekly import earlier

__all__ = ["LOOKED_AT", "Mark", "News", "mark_of", "news", "routes", "shown"]

routes = Routes()

#: Changes that are looked at; behind a mark that is older than all of them, the page says so.
LOOKED_AT = 2_000
_PAGE = 500
_WEEK_S = 7 * 86_400
_TITLES = {"new": "New", "returned": "Returned"}


class Mark(Struct, frozen=True, kw_only=True):
    """
    Up to where somebody has seen what happened: the body of the record ``seen`` of their name.
    """

    position: str
    at: Instant


class News(Struct, frozen=True, kw_only=True):
    """
    What is new since *since*. Items are live, in the order of work; *is_partial*: more changes than were looked at.
    """

    since: Instant
    is_marked: bool
    is_partial: bool
    new: tuple[Item, ...]
    returned: tuple[Item, ...]
    breaching: int
    breaching_query: str
    expiring: int
    expiring_query: str
    parked: int
    silent: int

    @property
    def total(self) -> int:
        """
        Count all of it.
        """
        return len(self.new) + len(self.returned) + self.breaching + self.expiring + self.parked + self.silent


def mark_of(reader: Reader, name: str) -> Mark | None:
    """
    Return the mark of a name, if one was set.
    """
    found = reader.records("seen", [name]).get(name)
    return from_builtins(found.body, Mark) if found is not None else None


def news(reader: Reader, scope: Scope | None, *, name: str, env: str, now: Instant) -> News:
    """
    Tell what is new to *name*, within *scope* and *env* (empty: all). Without a mark, of the last seven days.

    *reader* is one of everything: events are looked at by number, not until so many of the scope are found.
    """
    mark = mark_of(reader, name)
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
    first, today = day_of(since), day_of(now)
    late = (*scoped, live(), Compare("due_date", ">=", first), Compare("due_date", "<", today))
    asleep = _count(within, (*late, Compare("wake_at", ">", now)))
    from_week, to_week = add_seconds(since, _WEEK_S), add_seconds(now, _WEEK_S)
    ending = (*scoped, In("status", tuple(sorted(CLOSED))), In("closed_reason", ("accepted_risk",)),
              Compare("expires_at", ">", from_week), Compare("expires_at", "<=", to_week))  # fmt: skip
    waiting = [run for _, run in parked(within) if run.ended_at >= since and _is_in(run, env)]
    gone = silent(lanes(within, env), since=earlier(now), now=now)
    return News(
        since=since, is_marked=mark is not None, is_partial=is_partial,
        new=_ordered(told["new"]), returned=_ordered(told["returned"]),
        breaching=_count(within, late) - asleep,
        breaching_query=f"is:overdue due:>={first} -is:snoozed{also}",
        expiring=_count(within, ending),
        expiring_query=f"reason:accepted_risk expires:>{from_week} expires:<={to_week}{also}",
        parked=len(waiting), silent=sum(one.last_at >= earlier(since) for one in gone),
    )  # fmt: skip


def _count(reader: Reader, parts: tuple[Where, ...]) -> int:
    return reader.tally(All(parts), ()).get((), 0)


def _is_in(run: Run, env: str) -> bool:
    return not env or run.scope.env == env


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


def shown(ask: Ask) -> dict[str, Any]:
    """
    Return what the page Now shows of news, and the mark that its button sets. To be asked before all else is read.
    """
    now, asker, env = ask.site.backlog.clock(), ask.asker, ask.text("env")
    backlog = ask.site.backlog
    position = backlog.read(end_of_log)
    found = backlog.read(lambda reader: news(reader, asker.scope, name=asker.name, env=env, now=now))
    also = f"?env={quote(env)}" if env else ""
    numbers = [
        (("new", "new"), len(found.new), f"/now/new{also}"),
        (("returned", "returned"), len(found.returned), f"/now/returned{also}"),
        (("became overdue", "became overdue"), found.breaching, f"/items?q={quote(found.breaching_query)}"),
        (("acceptance nears its end", "acceptances near their end"), found.expiring,
         f"/items?q={quote(found.expiring_query)}"),
        (("run was parked", "runs were parked"), found.parked, "/runs?state=parked"),
        (("place went silent", "places went silent"), found.silent, "/sources"),
    ]  # fmt: skip
    told = [(names[n != 1], n, link) for names, n, link in numbers if n]
    return {"news": found, "numbers": told, "mark": Mark(position=position, at=now), "looked_at": LOOKED_AT}


@routes.add("GET", "/now/{what:str}", action="read", params=(Param("env", "Of this env alone."),), gives="text/html")
def news_page(ask: Ask) -> Reply:
    """
    Show the items that are new, or that returned, since the mark of who asks.
    """
    what = ask.path["what"]
    if what not in _TITLES:
        raise NotFound("queue", what, hint="There are new and returned.")
    now, asker, env = ask.site.backlog.clock(), ask.asker, ask.text("env")
    found = ask.site.backlog.read(lambda reader: news(reader, asker.scope, name=asker.name, env=env, now=now))
    return page(ask, "news.html", title=_TITLES[what], items=getattr(found, what), news=found, looked_at=LOOKED_AT)


@routes.add("POST", "/now/seen", action="read", own=True, takes=FORM, gives="text/html")
def mark_seen_here(ask: Ask) -> Reply:
    """
    Set the mark of who asks to what the page showed: from then on things are new.
    """
    form = form_of(ask)
    answer = ask.backlog.execute(c.MarkSeen(position=one_of(form, "position"), at=one_of(form, "at")))
    return back_to({}, "seen" if answer.outcomes[0].verdict == "updated" else "unchanged", "", default="/now")
