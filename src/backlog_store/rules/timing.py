"""
How much time of an episode has passed: computed from the trail alone, without the pauses. No clock is stored.

The episode begins when it was opened (an imported item: when it was created). Where it goes on after a closing, because
the problem came back within its window or the closing was undone, no time passed meanwhile.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence

from msgspec import Struct

from backlog_store.instants import Instant, add_seconds, to_datetime
from backlog_store.model import CLOSED, Event, Item
from backlog_store.policy.calendars import WorkingTime
from backlog_store.trail import is_baseline

__all__ = ["Stretch", "after", "episode_of", "passed", "stretches"]


class Stretch(Struct, frozen=True):
    """
    A stretch of an episode in which nothing changed; *moved* is the status that the event at its end moved it to.

    An event that opens the episode moves it only where it leaves it elsewhere than ``open``.
    """

    start: Instant
    end: Instant
    paused: bool
    moved: str = ""


def episode_of(trail: Sequence[Event]) -> Sequence[Event] | None:
    """
    Return the events of the item's episode, from the one that opened it; ``None`` if that one was let go.
    """
    for index in range(len(trail) - 1, -1, -1):
        event = trail[index]
        before, after = event.changes.get("status", ("", ""))
        if event.type == "created" or ("episode" in event.changes and before in CLOSED and after not in CLOSED):
            return list(trail[index:])
    return None


def stretches(item: Item, episode: Sequence[Event], pauses: Collection[str], now: Instant) -> Iterator[Stretch]:
    """
    Yield the stretches of an episode until *now*. While it is closed, or in one of the *pauses*, no time passes.
    """
    first = episode[0]
    at = min(item.created_at, first.ts) if first.type == "created" else first.ts
    status, wake_at = _before(episode, "status", item.status), _before(episode, "wake_at", item.wake_at)
    for event in (*episode, None):
        until = max(at, now if event is None else min(_since(event, at) if event is first else event.ts, now))
        asleep = wake_at if wake_at > at and "snoozed" in pauses else ""
        stopped = status in CLOSED or (status == "blocked" and "blocked" in pauses)
        moved = ""
        if event is not None and "status" in event.changes and not is_baseline(event):
            to = event.changes["status"][1]
            moved = to if event is not first or to != "open" else ""
        if asleep and asleep < until and not stopped:  # it woke up by itself: no event tells
            yield Stretch(at, asleep, paused=True)
            at, asleep = asleep, ""
        yield Stretch(at, until, paused=bool(asleep) or stopped, moved=moved)
        at = until
        if event is not None:
            status = event.changes["status"][1] if "status" in event.changes else status
            wake_at = event.changes["wake_at"][1] if "wake_at" in event.changes else wake_at


def _since(first: Event, at: Instant) -> Instant:
    """
    Return since when it was as the first event tells: an item that was imported was so since it was created or closed.
    """
    closed_at: Instant = first.changes.get("closed_at", ("", ""))[1]
    return min(closed_at, first.ts) if first.type == "created" and closed_at else at


def _before(events: Sequence[Event], field: str, now: str) -> str:
    """
    Return what a field held before these events, which may have lost their beginning: the next that names it tells.

    A baseline tells what it holds, not that it changed; where none names it, it held what it holds *now*.
    """
    for event in events:
        if field in event.changes:
            before, after = event.changes[field]
            return (after if is_baseline(event) else before) or ""
    return now


def passed(counted: Iterable[Stretch], calendar: WorkingTime | None, target_s: float, *, since: Instant = "",
           ) -> tuple[float, Instant]:  # fmt: skip
    """
    Return how many seconds passed that count, and when more than *target_s* had; empty if that is still to come.
    """
    spent_s, reached_at = 0.0, ""
    for stretch in counted:
        start = max(stretch.start, since)
        if stretch.paused or stretch.end <= start:
            continue
        seconds = _between(calendar, start, stretch.end)
        if not reached_at and spent_s + seconds > target_s:
            reached_at = after(calendar, start, target_s - spent_s)
        spent_s += seconds
    return spent_s, reached_at


def after(calendar: WorkingTime | None, start: Instant, seconds: float) -> Instant:
    """
    Return the instant at which so many seconds that count have passed since *start*.
    """
    return add_seconds(start, seconds) if calendar is None else calendar.plus(start, seconds)


def _between(calendar: WorkingTime | None, start: Instant, end: Instant) -> float:
    if calendar is None:
        return (to_datetime(end) - to_datetime(start)).total_seconds()
    return calendar.seconds(start, end)
