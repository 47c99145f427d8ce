"""
Maintenance: what is let go now and then, in steps that keep no writer waiting, and the account of it.

Each step is one command, one transaction of at most `LIMITS.step_rows` rows (more only where a single item has more
events than that). Nothing is remembered between steps but what is done: interrupted at any point, it is begun again and
goes on with what is left.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, TypeVar

from msgspec import Struct

from backlog_store.backends import keeping
from backlog_store.backends.port import Backend, Reader
from backlog_store.commands import Answer, Body, Cleanup, DropExpired, ShortenHistory
from backlog_store.instants import Instant
from backlog_store.model import LIMITS, ItemId, RecordKind
from backlog_store.query import EventQuery

__all__ = ["BY_POLICY", "EXPIRING", "Maintained", "Store", "drop_emptied", "drop_expired", "kept_days", "purge",
           "shorten_history"]  # fmt: skip

#: For a number of days: what the policy in force says of it.
BY_POLICY = -1

T = TypeVar("T")

#: Kinds of records that are let go once they are past their time.
EXPIRING: tuple[RecordKind, ...] = ("answer", "session", "run", "proposal", "suppressed", "plan")
_PURGED_A_STEP = 500
_PAGE = 1_000
#: Events are looked at in the order in which the store recorded them, the oldest first. After so many pages without one
#: that is old enough the search ends: only an import records old ones behind new ones, and it mixes them.
_PAGES_IN_VAIN = 20


class Store(Protocol):
    """
    What maintenance needs of a backlog.
    """

    def execute(self, body: Body) -> Answer:
        """
        Carry a command out, in one transaction.
        """
        ...

    def read(self, fn: Callable[[Reader], T], /) -> T:
        """
        Run *fn* on one consistent view of the store.
        """
        ...


class Maintained(Struct, kw_only=True):
    """
    What was let go, in how many transactions, and of how many rows at most the largest of them was.

    *purged* closed items; *events* of *shortened* items and purged keys; *expired* records; *months*, tables of events
    that had become empty.
    """

    purged: int = 0
    shortened: int = 0
    events: int = 0
    expired: int = 0
    months: tuple[str, ...] = ()
    steps: int = 0
    rows_max: int = 0

    def add_step(self, rows: int) -> None:
        """
        Count a transaction.
        """
        self.steps += 1
        self.rows_max = max(self.rows_max, rows)


def kept_days(reader: Reader) -> tuple[int, int | None]:
    """
    Return how many days closed items stay, and the history of the others (``None``: for ever), by the policy in force.
    """
    from backlog_store.policy.retention import CLOSED_DAYS  # only who asks for it pays for it
    from backlog_store.rules.policies import policy_in_force

    kept = policy_in_force(reader).retention
    return (CLOSED_DAYS, None) if kept is None else (kept.closed_days, kept.history_days)


def purge(store: Store, done: Maintained, *, retention_days: int, env: str = "") -> None:
    """
    Purge closed items untouched for so long. Their verdicts stay.
    """
    while True:
        body = Cleanup(retention_days=retention_days, limit=_PURGED_A_STEP, env=env)
        outcomes = store.execute(body).outcomes
        if not outcomes:
            return
        done.purged += len(outcomes)
        # An item has at most as many events as revisions.
        done.add_step(sum(outcome.revision + 1 for outcome in outcomes))


def shorten_history(store: Store, done: Maintained, *, before: Instant) -> None:
    """
    Forget the events from before an instant of all that stays.
    """
    for ids in _with_old_events(store, before):
        left = ids
        while left:
            outcomes = store.execute(ShortenHistory(ids=left, before=before)).outcomes
            shortened = [outcome for outcome in outcomes if outcome.verdict == "shortened"]
            events = sum(outcome.events for outcome in shortened)
            if shortened:
                done.shortened += len(shortened)
                done.events += events
                done.add_step(events + 2 * len(shortened))
            left = left[len(outcomes) :]


def _with_old_events(store: Store, before: Instant) -> Iterator[tuple[ItemId, ...]]:
    after, in_vain = "", 0
    while in_vain < _PAGES_IN_VAIN:
        page = _page(store, EventQuery(after=after, limit=_PAGE))
        if not page:
            return
        ids = tuple(dict.fromkeys(event_id for event_id, ts, _ in page if ts < before))
        after = page[-1][2]
        in_vain = 0 if ids else in_vain + 1
        if ids:
            yield ids


def _page(store: Store, query: EventQuery) -> Sequence[tuple[ItemId, Instant, str]]:
    return store.read(lambda reader: [(event.item_id, event.ts, event.position) for event in reader.events(query)])


def drop_expired(store: Store, done: Maintained, *, now: Instant) -> None:
    """
    Let go of records past their time.
    """
    for kind in EXPIRING:
        for ids in _expired(store, kind, now):
            left = ids
            while left:
                outcomes = store.execute(DropExpired(kind=kind, ids=left)).outcomes
                dropped = sum(outcome.verdict == "purged" for outcome in outcomes)
                left = tuple(outcome.id for outcome in outcomes if outcome.verdict == "held")
                done.expired += dropped
                done.add_step(LIMITS.step_rows if left else dropped)


def _expired(store: Store, kind: RecordKind, now: Instant) -> Iterator[tuple[str, ...]]:
    after = ""
    while True:

        def scan(reader: Reader, after: str = after) -> list[tuple[str, Instant]]:
            return [(record.id, record.expires_at) for record in reader.scan(kind, "", after, _PAGE)]

        page = store.read(scan)
        ids = tuple(id for id, expires_at in page if expires_at and expires_at <= now)
        if ids:
            yield ids
        if len(page) < _PAGE:
            return
        after = page[-1][0]


def drop_emptied(backend: Backend, done: Maintained) -> None:
    """
    Drop the parts of the history in which nothing is left, where the store keeps it in parts.
    """
    done.months = keeping.drop_emptied(backend)
