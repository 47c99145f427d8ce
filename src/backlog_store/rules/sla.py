"""
How an item stands against its target: computed from its trail, the policy and the instant. No clock is stored.

The clock of an episode starts when it was opened and stops at the first change of its status, and when it is closed;
an item that is created elsewhere than ``open`` has moved with that. See `rules.timing`. So a policy that is changed
later is told of what was, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from backlog_store.instants import Instant
from backlog_store.model import CLOSED, Event, Item
from backlog_store.policy import Policy
from backlog_store.policy.calendars import WorkingTime, working_time
from backlog_store.policy.sla import SlaTarget
from backlog_store.rules.timing import Stretch, after, episode_of, passed, stretches

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


def sla_of(item: Item, trail: Sequence[Event], policy: Policy, now: Instant) -> tuple[SlaState, ...]:
    """
    Return the clocks of an item; none where it has no target. *trail* holds its events, oldest first.
    """
    found = policy.sla.decide(item) if policy.sla is not None else None
    if found is None or found[1].none:
        return ()
    number, target = found
    said = policy.said_at(f"/sla/targets/{number}", target.name)
    episode = episode_of(trail)
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


def _stand(state: SlaState, item: Item, episode: Sequence[Event], target: SlaTarget, calendar: WorkingTime | None,
           now: Instant) -> SlaState:  # fmt: skip
    stopped = item.status in CLOSED
    counted: list[Stretch] = []
    for stretch in stretches(item, episode, target.pauses, now):
        counted.append(stretch)
        if stretch.moved and state.clock == "first_move":
            stopped = True
            break
    spent, ends_at = passed(counted, calendar, state.target_s)
    state = replace(state, spent_s=spent, left_s=state.target_s - spent)
    if ends_at:
        return replace(state, state="breached", ends_at=ends_at)
    if stopped:
        return replace(state, state="met")
    if counted[-1].paused:
        return replace(state, state="paused")
    return replace(state, state="running", ends_at=after(calendar, now, state.left_s))
