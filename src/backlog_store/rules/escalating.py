"""
Which steps of the policy's escalation an item has come to: computed from its trail, the policy and the instant.

A clock starts when the day is over on which the item was due, or when somebody last did something about it. What a
machine reports is no such thing, nor is a step. That a step fired is kept with the item (`Item.escalated`) until its
episode ends, so that it fires once, whatever becomes of the older history.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from heapq import nsmallest
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from backlog_store.backends.port import Reader
from backlog_store.commands import Escalate, Outcome
from backlog_store.instants import Day, Instant, add_seconds, day_of
from backlog_store.model import LIMITS, LIVE, Event, Item
from backlog_store.policy import Policy
from backlog_store.policy.calendars import WorkingTime, working_time
from backlog_store.policy.escalation import StepClock
from backlog_store.query import All, Any_, Compare, EventQuery, In, ItemQuery, Where, order_key
from backlog_store.rules.checks import Checker
from backlog_store.rules.timing import Stretch, after, episode_of, passed, stretches
from backlog_store.rules.view import Context

__all__ = ["Step", "StepState", "Steps", "due_of", "due_steps", "escalate", "first_steps", "may_be_due", "steps_of"]

_HOUR_S = 3_600
_PAGE = 200
#: What happens to an item without anybody doing anything about it.
_NO_TOUCH = frozenset({"auto_update", "resolved", "baseline", "escalated", "blocked", "unblocked", "taken_in"})


class StepState(Struct, frozen=True, kw_only=True):
    """
    How an item stands to one step. Seconds are those that count: of the calendar, and without the pauses.

    *since* is when the time was over, *at* when the step fired, *ends_at* when it will be due, if no pause comes.
    ``idle``: an overdue step of an item without a due date, or one that is not over.
    """

    step: str
    state: Literal["fired", "due", "coming", "paused", "idle"]
    clock: StepClock
    after_s: float
    spent_s: float = 0.0
    since: Instant = ""
    at: Instant = ""
    ends_at: Instant = ""
    rule: str = ""
    line: int = 0
    calendar: str = ""
    notify: tuple[str, ...] = ()
    message: str = ""


class Step(Struct, frozen=True, kw_only=True):
    """
    A step of escalation of an item, by its name and that of its rule, and when it fired or was due.
    """

    item: Item
    step: str
    rule: str
    at: Instant


class Steps(Struct, frozen=True, kw_only=True):
    """
    How many steps, the first few of them in the order of work, and the command that lists them.
    """

    count: int
    first: tuple[Step, ...]
    query: str


def first_steps(steps: Iterable[Step], limit: int) -> tuple[Step, ...]:
    """
    Return the first of these steps in the order of work.
    """
    return tuple(nsmallest(limit, steps, key=lambda one: (order_key(one.item, "priority"), one.at, one.step)))


def steps_of(item: Item, trail: Sequence[Event], policy: Policy, now: Instant) -> tuple[StepState, ...]:
    """
    Return how a live item stands to each of its steps; none where it has none. *trail* holds its events, oldest first.
    """
    found = policy.escalation.decide(item) if policy.escalation is not None and item.status in LIVE else None
    if found is None:
        return ()
    number, rule = found
    calendar = working_time(policy, rule.calendar)
    episode = episode_of(trail) or trail
    counted = list(stretches(item, episode, rule.pauses, now)) if episode else [Stretch(item.created_at, now, False)]
    begins: dict[StepClock, Instant] = {"overdue": _over(item.due_date), "untouched": _touched(item, episode)}
    states = []
    for index, step in enumerate(rule.steps):
        said = policy.said_at(f"/escalation/rules/{number}/steps/{index}", rule.name)
        name = rule.name or f"rule {number + 1}"
        state = StepState(step=step.name, state="idle", clock=step.clock, after_s=step.after_s, rule=name,
                          line=said.get("line", 0), calendar=rule.calendar, notify=step.notify,
                          message=step.message)  # fmt: skip
        states.append(_stand(state, item, begins[step.clock], counted, calendar, now))
    return tuple(states)


def _stand(state: StepState, item: Item, begins: Instant, counted: Sequence[Stretch], calendar: WorkingTime | None,
           now: Instant) -> StepState:  # fmt: skip
    if fired_at := item.escalated.get(state.step, ""):
        return replace(state, state="fired", at=fired_at)
    if not begins:
        return state
    if begins > now:
        return replace(state, ends_at=after(calendar, begins, state.after_s))
    spent_s, reached_at = passed(counted, calendar, state.after_s, since=begins)
    state = replace(state, spent_s=spent_s)
    if counted[-1].paused:
        return replace(state, state="paused")
    if spent_s >= state.after_s:
        return replace(state, state="due", since=reached_at or now)
    return replace(state, state="coming", ends_at=after(calendar, now, state.after_s - spent_s))


def _over(day: Day) -> Instant:
    return add_seconds(f"{day}T00:00:00.000000Z", 24 * _HOUR_S) if day else ""


def _touched(item: Item, episode: Sequence[Event]) -> Instant:
    """
    Return when somebody last did something about an item.

    Where that was let go with old history: when it last changed, which is no earlier.
    """
    touches = [event.ts for event in episode if event.added or event.type not in _NO_TOUCH]
    return max(touches) if touches else item.updated_at


def due_steps(reader: Reader, policy: Policy, now: Instant, *, env: str = "", after: str = "",
              ) -> tuple[list[tuple[Item, StepState]], str]:  # fmt: skip
    """
    Return the steps that are due on one page of items by id, and the id to go on after; empty after the last page.
    """
    where = may_be_due(policy, now, env=env)
    if where is None:
        return [], ""
    page = reader.search(ItemQuery(where=where, order="id", limit=_PAGE, after=(after,) if after else None))
    return due_of(reader, policy, page, now), page[-1].id if len(page) == _PAGE else ""


def may_be_due(policy: Policy, now: Instant, *, env: str = "") -> Where | None:
    """
    Return which items can have come to a step; ``None`` if the policy has none.

    Those overdue, by their index, and, if a step waits for that, those that are older than the shortest of these.
    """
    if policy.escalation is None:
        return None
    places: list[Where] = []
    if any(step.overdue_hours is not None for rule in policy.escalation.rules for step in rule.steps):
        places.append(Compare("due_date", "<", day_of(now)))
    least = policy.escalation.least_hours()
    if least is not None:
        places.append(Compare("created_at", "<=", add_seconds(now, -least * _HOUR_S)))
    where: list[Where] = [In("status", tuple(sorted(LIVE))), Any_(tuple(places))]
    where += [In("env", (env,))] if env else []
    return All(tuple(where))


def due_of(reader: Reader, policy: Policy, items: Sequence[Item], now: Instant) -> list[tuple[Item, StepState]]:
    """
    Return the steps of these items that are due, with the items in their order. Their trails are read.
    """
    wanted = [item for item in items if _may_fire(policy, item)]
    trails: dict[str, list[Event]] = {item.id: [] for item in wanted}
    for event in reader.events(EventQuery(item_ids=tuple(trails), limit=None)) if trails else ():
        trails[event.item_id].append(event)
    return [(item, state) for item in wanted for state in steps_of(item, trails[item.id], policy, now)
            if state.state == "due"]  # fmt: skip


def _may_fire(policy: Policy, item: Item) -> bool:
    found = policy.escalation.decide(item) if policy.escalation is not None else None
    return found is not None and any(step.name not in item.escalated for step in found[1].steps)


def escalate(context: Context, body: Escalate) -> Outcome:
    """
    Let a step of an item fire, if it is due and did not fire yet in this episode.
    """
    check = Checker()
    check.text("step", body.step, LIMITS.name, required=True)
    check.done("escalate")
    item = context.item(body.id)
    why = ""
    if item.status not in LIVE:
        why = f"it is {item.status}"
    elif body.episode and body.episode != item.episode:
        why = f"its episode {body.episode} is over"
    elif fired_at := item.escalated.get(body.step, ""):
        why = f"it fired at {fired_at}"
    if why:
        return Outcome(verdict="unchanged", id=item.id, revision=item.revision, why=why, item=item)
    trail = context.reader.events(EventQuery(item_ids=(item.id,), limit=None))
    states = {one.step: one for one in steps_of(item, trail, context.policy, context.now)}
    state = states.get(body.step)
    if state is None or state.state != "due":
        why = "the policy in force has no such step for it" if state is None else f"it is not due ({state.state})"
        return Outcome(verdict="unchanged", id=item.id, revision=item.revision, why=why, item=item)
    told = {"step": state.step, "rule": state.rule, "clock": state.clock, "since": state.since,
            **({"line": state.line} if state.line else {}),
            **({"notify": list(state.notify)} if state.notify else {})}  # fmt: skip
    fired = replace(item, escalated={**item.escalated, state.step: context.now})
    result = context.put(item, fired, "escalated", message=state.message, meta=told)
    return Outcome(verdict="updated", id=item.id, revision=result.revision, item=result)
