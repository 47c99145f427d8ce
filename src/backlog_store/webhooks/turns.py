"""
One turn of a subscription: what it begins with, and what came of it.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import replace

from backlog_store.backends.port import Reader
from backlog_store.hooks import Aside, Attempt, Progress
from backlog_store.instants import Instant
from backlog_store.model import Event, Item
from backlog_store.query import EventQuery

__all__ = ["Look", "Sent", "Turn", "event_of", "outcome_of"]

#: What a receiver says that has no time for anything now.
_UNREACHABLE = frozenset({429, 502, 503, 504})
_GONE = 410


class Sent(Struct):
    """
    What one round did: tries by outcome, and whether this process holds the lease.
    """

    outcomes: dict[str, int]
    is_ours: bool = True

    def add(self, outcome: str) -> None:
        """
        Count one try.
        """
        self.outcomes[outcome] = self.outcomes.get(outcome, 0) + 1


class Look(Struct):
    """
    What one turn begins with, read in one view: the subscription's progress, what is due, and the items of it.
    """

    progress: Progress
    revision: int
    again: list[tuple[Aside, Event | None]] = []
    later: list[Instant] = []  # when the others that are kept aside are due
    events: Sequence[Event] = ()
    items: dict[str, Item] = {}


class Turn:
    """
    What came of one turn, to be noted in one command.
    """

    def __init__(self, progress: Progress, later: Sequence[Instant]) -> None:
        self.progress = replace(progress, next_at="")
        self.later = list(later)
        self.log: list[Attempt] = []
        self.aside: dict[str, Aside] = {}
        self.gone: list[str] = []
        self.off = ""

    def set_aside(self, one: Aside, *, is_new: bool) -> None:
        """
        Keep an event aside, as far as there is room for that.
        """
        self.aside[one.position] = one
        self.later += [one.next_at] if one.next_at else []
        self.count(is_new)

    def let_go(self, position: str) -> None:
        """
        Keep an event aside no longer.
        """
        self.gone.append(position)
        self.count(-1)

    def count(self, more: int) -> None:
        """
        Count what is kept aside.
        """
        self.progress = replace(self.progress, kept=max(0, self.progress.kept + more))


def outcome_of(status: int) -> str:
    """
    Return what a status comes to; 0 where there was none.
    """
    if 200 <= status < 300:
        return "delivered"
    if status == _GONE:
        return "gone"
    return "unreachable" if not status or status in _UNREACHABLE else "refused"


def event_of(reader: Reader, kept: Aside) -> Event | None:
    """
    Return the event that is kept aside; ``None`` where it was purged.
    """
    events = reader.events(EventQuery(item_ids=(kept.item_id,), limit=None))
    return next((event for event in events if event.revision == kept.revision), None)
