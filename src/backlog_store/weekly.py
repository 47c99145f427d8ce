"""
The digest of a stretch of time: what came, what was fixed, what returned, and what waits too long or went silent.

A pure function of a view of the store (the policy in force in it) and two instants: the same ones give the same value
on every backend. Every count names the query that lists what it counts.

What it costs: counters for what lives now; the index by closing time for what was closed; the index by end for accepted
risks; one look for each lane of runs; at most `AGED` items of each priority, and the trails of as many of those that
may have come to a step of escalation. What is new, what returned and which steps fired is read from the events, newest
first, so that grows with the events of the window. No more than a page of events and of items, or the trails of a
hundred items, is held at a time. What is listed without an owner is found by walking the live items in order, none
where none is counted.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from heapq import nsmallest
from shlex import quote

from msgspec import Struct

from backlog_store.backends.port import Reader
from backlog_store.instants import Instant, add_seconds, day_of, to_datetime
from backlog_store.model import CLOSED, PRIORITIES, Event, Item
from backlog_store.policy import Policy
from backlog_store.query import All, Compare, EventQuery, In, ItemQuery, Not, Order, Where, live, order_key
from backlog_store.rules.escalating import Step, Steps, due_of, first_steps, may_be_due
from backlog_store.rules.policies import policy_in_force
from backlog_store.rules.silences import Silence, lanes, silent

__all__ = ["AGED", "NOISE", "Ageing", "Noise", "Part", "Weekly", "age_days", "shown", "weekly"]

#: Items in the order of work: of a priority, among which the oldest is looked for; of all, at whose steps is looked.
AGED = 500
_TRAILS = 100
_ENDING_S = 7 * 86_400
_PAGE = 1_000
#: Pages of events without one of the window, after which none is expected any more: what was committed late (drained
#: from a spool, say) stands behind what is newer.
_BARREN_MAX = 10
NOISE = ("false_positive", "wont_fix")


class Part(Struct, frozen=True, kw_only=True):
    """
    How many, the first few of them, and the command that lists them.
    """

    count: int
    first: tuple[Item, ...]
    query: str


class Ageing(Struct, frozen=True, kw_only=True):
    """
    The live items of a priority, and the oldest of the first `looked_at` in the order of work (all, if that is `live`).
    """

    priority: str
    live: int
    looked_at: int
    oldest: Item
    query: str


class Noise(Struct, frozen=True, kw_only=True):
    """
    Of the `closed` items of a source that were closed in the window, `noise` as false_positive or wont_fix.
    """

    source: str
    noise: int
    closed: int
    query: str


class Weekly(Struct, frozen=True, kw_only=True):
    """
    What happened from `since` (included) to `at` (not), and how things stand then; of one env, or all if empty.

    Of what was fixed, `proven` were closed by a machine with proof, `by_machines` without, `by_people` by a person; of
    the rest who closed it is not known. `silent` holds the first of `silent_count`; `unwatched` names the sources of
    live items of which cannot be known whether they went silent: they report in no runs, and nothing new came of them.

    `steps_due` are those that nobody let fire yet, among `steps_looked_at` items, at most `AGED` of those that may have
    come to one; ``None`` where the policy has no steps.
    """

    env: str
    since: Instant
    at: Instant
    policy: int
    live: int
    new: Part
    fixed: Part
    proven: int
    by_machines: int
    by_people: int
    reopened: Part
    otherwise: Part
    otherwise_by: Mapping[str, int]
    overdue: Part
    ageing: tuple[Ageing, ...]
    unowned: Part
    ending: Part
    silent: tuple[Silence, ...]
    silent_count: int
    unwatched: tuple[str, ...]
    unwatched_count: int
    noisy: tuple[Noise, ...]
    steps_fired: Steps
    steps_due: Steps | None
    steps_looked_at: int


def weekly(reader: Reader, *, env: str, since: Instant, now: Instant, limit: int = 5) -> Weekly:
    """
    Tell what happened in *env* (empty: in all) from *since* to *now*; *limit* is how many of each part are named.

    *since* is less than *now*. Not seen is what was taken in with a history of its own (import), and of more than
    10,000 events in a row that are older than *since*, what was committed before them.
    """
    ask = _Asker(reader, env, since, now, limit)
    closed = reader.tally(All((*ask.scope, *ask.closed())), ("source", "closed_reason"))
    owners = reader.tally(All((*ask.scope, live())), ("owner",))
    sources = reader.tally(All((*ask.scope, live())), ("source",))
    passed = _passed(ask)
    fixed = sum(n for (_, reason), n in closed.items() if reason == "fixed")
    reasons: dict[str, int] = {}
    for (_, reason), n in sorted(closed.items()):
        if reason != "fixed":
            reasons[reason] = reasons.get(reason, 0) + n
    known = lanes(reader, env)
    gone = silent(known, since=since, now=now)
    watched = {one.source for one in known.values()} | passed.sources
    unwatched = sorted(source for (source,) in sources if source not in watched)
    within = f"closed:>={shown(since)} closed:<{shown(now)}"
    as_fixed = In("closed_reason", ("fixed",))
    policy = policy_in_force(reader)
    due, looked_at = _due(ask, policy)
    ends = (Compare("expires_at", ">=", since), Compare("expires_at", "<", add_seconds(now, _ENDING_S)))
    return Weekly(
        env=env,
        since=since,
        at=now,
        policy=policy.revision,
        live=sum(owners.values()),
        new=Part(count=passed.new, first=passed.first_new,
                 query=ask.listed(f"is:live,closed created:>={shown(since)} created:<{shown(now)}")),
        fixed=ask.latest(fixed, as_fixed, f"reason:fixed {within}"),
        proven=passed.proven,
        by_machines=passed.by_machines,
        by_people=passed.by_people,
        reopened=Part(count=passed.reopened, first=passed.first_reopened,
                      query=f"backlog log --type reopened --since {shown(since)} --until {shown(now)}"),
        otherwise=ask.latest(sum(reasons.values()), Not(as_fixed), f"is:closed -reason:fixed {within}"),
        otherwise_by=dict(sorted(reasons.items())),
        overdue=ask.living(Compare("due_date", "<", day_of(now)), f"is:live due:<{day_of(now)}"),
        ageing=tuple(_ageing(ask)),
        unowned=ask.living(In("owner", ("",)), "is:live owner:none", count=owners.get(("",), 0)),
        ending=ask.part((In("status", tuple(sorted(CLOSED))), In("closed_reason", ("accepted_risk",)), *ends),
                        f"reason:accepted_risk expires:>={shown(since)} expires:<{shown(ends[1].value)}"),
        silent=tuple(gone[:limit]),
        silent_count=len(gone),
        unwatched=tuple(unwatched[:limit]),
        unwatched_count=len(unwatched),
        noisy=tuple(_noisy(ask, closed, within)),
        steps_fired=Steps(count=passed.fired, first=passed.first_fired,
                          query=f"backlog log --type escalated --since {shown(since)} --until {shown(now)}"),
        steps_due=due,
        steps_looked_at=looked_at,
    )  # fmt: skip


def shown(at: Instant) -> str:
    """
    Return an instant as short as a query takes it.
    """
    return f"{at[:-1].rstrip('0').rstrip('.')}Z"


class _Asker:
    """
    What every part is asked with.
    """

    def __init__(self, reader: Reader, env: str, since: Instant, now: Instant, limit: int) -> None:
        self.reader = reader
        self.env = env
        self.since = since
        self.now = now
        self.limit = limit
        self.scope: tuple[Where, ...] = (In("env", (env,)),) if env else ()

    def closed(self) -> tuple[Where, ...]:
        """
        Return the conditions of what was closed in the window and still is.
        """
        return (Compare("closed_at", ">=", self.since), Compare("closed_at", "<", self.now))

    def listed(self, query: str) -> str:
        """
        Return the command line that lists what a query asks for.
        """
        whole = f"{query} env:{_value(self.env)}" if self.env else query
        return "backlog list '{}'".format(whole.replace("'", "'\\''"))

    def part(self, where: tuple[Where, ...], query: str, *, count: int | None = None, order: Order = "priority",
             descending: bool = False) -> Part:  # fmt: skip
        """
        Count what matches, unless its *count* is known, and read the first of it, unless there is none.
        """
        whole = All((*self.scope, *where))
        known = self.reader.tally(whole, ()).get((), 0) if count is None else count
        asked = ItemQuery(where=whole, order=order, descending=descending, limit=self.limit)
        return Part(count=known, first=tuple(self.reader.search(asked)) if known else (), query=self.listed(query))

    def living(self, where: Where, query: str, *, count: int | None = None) -> Part:
        """
        Return the part of the live items that match.
        """
        return self.part((live(), where), query, count=count)

    def latest(self, count: int, where: Where, query: str) -> Part:
        """
        Return the part of what was closed in the window that matches, the latest first.
        """
        return self.part((*self.closed(), where), query, count=count, order="closed", descending=True)


def _value(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return text if text.isalnum() and text.lower() != "none" else f'"{escaped}"'


def _seconds(since: Instant, now: Instant) -> float:
    return (to_datetime(now) - to_datetime(since)).total_seconds()


class _Passed:
    """
    What the events of the window tell.
    """

    def __init__(self) -> None:
        self.new = self.reopened = self.proven = self.by_machines = self.by_people = self.fired = 0
        self.first_new: tuple[Item, ...] = ()
        self.first_reopened: tuple[Item, ...] = ()
        self.first_fired: tuple[Step, ...] = ()
        self.sources: set[str] = set()
        self._back: set[str] = set()

    def take(self, event: Event, item: Item, ask: _Asker) -> str:
        """
        Count what an event says of an item as it is now: each item once, at the event that made it so.
        """
        if event.type in ("created", "baseline"):
            # A baseline stands for the events that were forgotten, the item's creation among them.
            if ask.since <= item.created_at < ask.now:
                self.new += 1
                self.sources.add(item.source)
                return "new"
        elif event.type == "reopened":
            # Within a reopen window the episode goes on; such an item is told once, however often it came back.
            if _made(event, "episode") in (None, item.episode) and item.id not in self._back:
                self._back.add(item.id)
                self.reopened += 1
                return "reopened"
        elif event.type == "escalated":
            self.fired += 1
            step = Step(item=item, step=event.meta["step"], rule=event.meta["rule"], at=event.ts)
            self.first_fired = first_steps((*self.first_fired, step), ask.limit)
        elif item.closed_reason == "fixed" and _made(event, "closed_at") == item.closed_at:
            self.by_people += event.actor_kind == "person"
            self.proven += event.actor_kind == "machine" and "proof" in event.meta
            self.by_machines += event.actor_kind == "machine" and "proof" not in event.meta
        return ""


def _made(event: Event, field: str) -> object:
    return event.changes.get(field, (None, None))[1]


def _passed(ask: _Asker) -> _Passed:
    found = _Passed()
    for events in _pages(ask):
        items = ask.reader.items({event.item_id for event in events})
        told: dict[str, list[Item]] = {"new": [], "reopened": [], "": []}
        for event in events:
            item = items.get(event.item_id)
            if item is not None and (not ask.env or item.env == ask.env):
                told[found.take(event, item, ask)].append(item)
        found.first_new = _first((*found.first_new, *told["new"]), ask.limit)
        found.first_reopened = _first((*found.first_reopened, *told["reopened"]), ask.limit)
    return found


def _first(items: Collection[Item], limit: int) -> tuple[Item, ...]:
    return tuple(nsmallest(limit, items, key=lambda item: order_key(item, "priority")))


def _due(ask: _Asker, policy: Policy) -> tuple[Steps | None, int]:
    """
    Return the steps that are over and did not fire, and among how many items they were looked for.
    """
    where = may_be_due(policy, ask.now, env=ask.env)
    if where is None:
        return None, 0
    items = ask.reader.search(ItemQuery(where=where, order="priority", limit=AGED))
    count, first = 0, tuple[Step, ...]()
    for start in range(0, len(items), _TRAILS):
        due = due_of(ask.reader, policy, items[start : start + _TRAILS], ask.now)
        count += len(due)
        steps = [Step(item=item, step=state.step, rule=state.rule, at=state.since) for item, state in due]
        first = first_steps((*first, *steps), ask.limit)
    of = f" --env {quote(ask.env)}" if ask.env else ""
    return Steps(count=count, first=first, query=f"backlog escalate --dry-run{of}"), len(items)


def _pages(ask: _Asker) -> Iterator[list[Event]]:
    """
    Yield those events of the window that say something here, page by page, the newest first.
    """
    after, barren = "", 0
    while barren < _BARREN_MAX:
        page = ask.reader.events(EventQuery(after=after, newest_first=True, limit=_PAGE))
        within = [event for event in page if ask.since <= event.ts < ask.now]
        telling = [event for event in within if _tells(event)]
        if telling:
            yield telling
        if len(page) < _PAGE:
            return
        barren = 0 if any(event.ts >= ask.since for event in page) else barren + 1
        after = page[-1].position


def _tells(event: Event) -> bool:
    if event.type == "escalated":
        return not event.added
    return event.type in ("created", "baseline", "reopened") or bool(_made(event, "closed_at"))


def _ageing(ask: _Asker) -> Iterator[Ageing]:
    counts = ask.reader.tally(All((*ask.scope, live())), ("priority",))
    for priority in PRIORITIES:
        where = All((*ask.scope, live(), In("priority", (priority,))))
        items = ask.reader.search(ItemQuery(where=where, limit=AGED)) if counts.get((priority,)) else ()
        if items:
            yield Ageing(
                priority=priority,
                live=counts[priority,],
                looked_at=len(items),
                oldest=min(items, key=lambda item: (item.created_at, item.id)),
                query=ask.listed(f"is:live priority:{priority} sort:created"),
            )


def _noisy(ask: _Asker, closed: Mapping[tuple[str, ...], int], within: str) -> Iterator[Noise]:
    """
    Yield the sources of which most was judged to be none, the greatest share first.
    """
    ended: dict[str, int] = {}
    noise: dict[str, int] = {}
    for (source, reason), n in closed.items():
        ended[source] = ended.get(source, 0) + n
        if reason in NOISE:
            noise[source] = noise.get(source, 0) + n
    for source in sorted(noise, key=lambda one: (-noise[one] / ended[one], -noise[one], one))[: ask.limit]:
        query = f"source:{_value(source) if source else 'none'} reason:{','.join(NOISE)} {within}"
        yield Noise(source=source, noise=noise[source], closed=ended[source], query=ask.listed(query))


def age_days(item: Item, now: Instant) -> int:
    """
    Return for how many whole days an item has been there.
    """
    return max(0, (to_datetime(now) - to_datetime(item.created_at)).days)
