"""
How an item stands against its target: computed from its trail, the policy and the instant. No clock is stored.

The clock of an episode starts when it was opened (an imported item: when it was created) and stops at the first change
of its status, and when it is closed. So a policy that is changed later is told of what was, too. Where an episode goes
on after a closing, because the problem came back within its window or the closing was undone, no time passed meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from backlog_store.instants import Instant, add_seconds, to_datetime
from backlog_store.model import CLOSED, Event, Item
from backlog_store.policy import Policy
from backlog_store.policy.calendars import WorkingTime, working_time
from backlog_store.policy.sla import SlaTarget

__all__ = ["SlaState", "sla_of"]

Clock = Literal["first_move", "close"]


class SlaState(Struct, frozen=True, kw_only=True):
    """
    One clock of an item. Seconds are those that count: of the calendar, and without the pauses.

    *left_s* is what is left, negative for how far it is over. *ends_at* is when it is or was breached, if no further
    pause comes; empty while it is paused, and once it is met. ``unknown``: the beginning of the episode was let go.
    """

    clock: Clock
    state: Literal["met", "running", "breached", "paused", "unknown"]
    target_s: float
    spent_s: float = 0.0
    left_s: float = 0.0
    ends_at: Instant = ""
    rule: str = ""
    line: int = 0
    calendar: str = ""


class _Stretch(Struct, frozen=True):
    """
    A stretch of an episode in which nothing changed.
    """

    start: Instant
    end: Instant
    paused: bool


def sla_of(item: Item, trail: Sequence[Event], policy: Policy, now: Instant) -> tuple[SlaState, ...]:
    """
    Return the clocks of an item; none where it has no target. *trail* holds its events, oldest first.
    """
    found = policy.sla.decide(item) if policy.sla is not None else None
    if found is None or found[1].none:
        return ()
    number, target = found
    said = policy.said_at(f"/sla/targets/{number}", target.name)
    episode = _episode(trail)
    calendar = working_time(policy, target.calendar)
    clocks: list[SlaState] = []
    wanted: dict[Clock, float | None] = {"first_move": target.first_move_hours, "close": target.close_hours}
    for clock, hours in wanted.items():
        if hours is None:
            continue
        state = SlaState(clock=clock, state="unknown", target_s=hours * 3_600, rule=said["rule"],
                         line=said.get("line", 0), calendar=target.calendar)  # fmt: skip
        clocks.append(state if episode is None else _stand(state, item, episode, target, calendar, now))
    return tuple(clocks)


def _episode(trail: Sequence[Event]) -> list[Event] | None:
    """
    Return the events of the item's episode, from the one that opened it; ``None`` if that one was let go.
    """
    for index in range(len(trail) - 1, -1, -1):
        event = trail[index]
        before, after = event.changes.get("status", ("", ""))
        if event.type == "created" or ("episode" in event.changes and before in CLOSED and after not in CLOSED):
            return list(trail[index:])
    return None


def _stand(state: SlaState, item: Item, episode: Sequence[Event], target: SlaTarget, calendar: WorkingTime | None,
           now: Instant) -> SlaState:  # fmt: skip
    stopped = state.clock == "close" and item.status in CLOSED
    stretches: list[_Stretch] = []
    for stretch, moved in _stretches(item, episode, target, now):
        stretches.append(stretch)
        if moved and state.clock == "first_move":
            stopped = True
            break
    spent, ends_at = 0.0, ""
    for stretch in stretches:
        if stretch.paused or stretch.end <= stretch.start:
            continue
        seconds = _between(calendar, stretch.start, stretch.end)
        if not ends_at and spent + seconds > state.target_s:
            ends_at = _after(calendar, stretch.start, state.target_s - spent)
        spent += seconds
    state = replace(state, spent_s=spent, left_s=state.target_s - spent)
    if ends_at:
        return replace(state, state="breached", ends_at=ends_at)
    if stopped:
        return replace(state, state="met")
    if stretches and stretches[-1].paused:
        return replace(state, state="paused")
    return replace(state, state="running", ends_at=_after(calendar, now, state.left_s))


def _stretches(item: Item, episode: Sequence[Event], target: SlaTarget, now: Instant) -> Iterator[tuple[_Stretch, str]]:
    """
    Yield the stretches of an episode until *now*, each with the status that a change at its end moved the item to.
    """
    first = episode[0]
    at = item.created_at if first.type == "created" and item.created_at < first.ts else first.ts
    status, wake_at = "open", ""
    for event in (*episode, None):
        until = max(at, now if event is None else min(event.ts, now))
        asleep = wake_at if wake_at > at and "snoozed" in target.pauses else ""
        blocked = status in CLOSED or (status == "blocked" and "blocked" in target.pauses)
        moved = ""
        if event is not None and event is not first and "status" in event.changes:
            moved = event.changes["status"][1]
        if asleep and asleep < until and not blocked:  # it woke up by itself: no event tells
            yield _Stretch(at, asleep, paused=True), ""
            at, asleep = asleep, ""
        yield _Stretch(at, until, paused=bool(asleep) or blocked), moved
        at = until
        if event is not None:
            status = event.changes["status"][1] if "status" in event.changes else status
            wake_at = event.changes["wake_at"][1] if "wake_at" in event.changes else wake_at


def _between(calendar: WorkingTime | None, start: Instant, end: Instant) -> float:
    if calendar is None:
        return (to_datetime(end) - to_datetime(start)).total_seconds()
    return calendar.seconds(start, end)


def _after(calendar: WorkingTime | None, start: Instant, seconds: float) -> Instant:
    return add_seconds(start, seconds) if calendar is None else calendar.plus(start, seconds)
