"""
Why an item is as it is: which rule, which line of the policy, which person, which report.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from backlog_store.instants import Instant
from backlog_store.model import CLOSED, Actor, Event, Item
from backlog_store.policy import Policy, rule_in_words
from backlog_store.rules.assigning import assigned
from backlog_store.rules.returning import NEW_EPISODE, return_of
from backlog_store.rules.voices import every_claim
from backlog_store.workflow import allowed_moves, held_by

__all__ = ["Reason", "Way", "reasons", "ways"]


class Reason(Struct, frozen=True, kw_only=True):
    """
    Why a field has its value. `said` is what its event kept, or what the policy in force says now.

    `next` is the value that the next report gives it, where that is another one; *set_at*, *set_by* and
    `policy_then` tell of the event that last changed it.
    """

    field: str
    value: str
    why: str
    said: dict[str, Any] = {}
    next: str = ""
    set_at: Instant = ""
    set_by: str = ""
    policy_then: int = 0


class Way(Struct, frozen=True, kw_only=True):
    """
    A status that the item may move to, and what stands in the way of *actor*; empty: nothing.
    """

    to: str
    reason: str
    refused: str


def reasons(item: Item, trail: Sequence[Event], policy: Policy, now: Instant) -> Iterator[Reason]:
    """
    Yield why priority, owner and due date are what they are; *trail* holds the item's events, oldest first.

    Of a closed item also what one more report of it does now (the field ``reopen``).
    """
    decided, said = assigned(policy, replace(item, held={}, held_until={}), now)
    for field in ("priority", "owner", "due_date"):
        value, will = getattr(item, field), getattr(decided, field)
        event = next((event for event in reversed(trail) if field in event.changes), None)
        holder = held_by(item, field, now)
        kept = event.meta.get(field) if event is not None else None
        then = kept if isinstance(kept, dict) else {}
        # Priority and owner follow the policy in force; a due date was given once, when the item was opened.
        rule = said.get(field, {}) if field != "due_date" and will == value and not holder else then
        yield Reason(
            field=field,
            value=value,
            why=_why(item, field, holder, rule, event),
            said=rule,
            next=will if will != value and not holder and item.claims and item.status not in CLOSED else "",
            set_at=event.ts if event is not None else "",
            set_by=event.actor if event is not None else "",
            policy_then=event.policy if event is not None else 0,
        )
    if item.status in CLOSED and item.key is not None:
        yield _return(item, policy, now)


def _return(item: Item, policy: Policy, now: Instant) -> Reason:
    back = NEW_EPISODE if item.verdict_lifted else return_of(
        policy, item, item.closed_reason, closed_at=item.closed_at, expires_at=item.expires_at, now=now, seen_at=now
    )  # fmt: skip
    value = "stay_closed" if back.why else "same_episode" if back.goes_on else "new_episode"
    why = back.why or (_rule_in_words(back.said) if back.said else f"closed as {item.closed_reason}")
    return Reason(field="reopen", value=value, why=f"if it is reported now: {why}", said=back.said)


def _why(item: Item, field: str, holder: str, rule: dict[str, Any], event: Event | None) -> str:
    if holder:
        end = item.held_until.get(field, "")
        return f"{holder} holds it" + (f" until {end}" if end else "")
    if rule:
        return _rule_in_words(rule)
    if event is None:
        return "nobody gave one"
    if event.actor_kind == "person":
        return f"{event.actor} set it"
    if field == "priority":
        live = {source for _, source, one in every_claim(item) if one.live and one.priority == item.priority}
        return f"reported so by {', '.join(sorted(live))}" if live else f"{event.actor} set it"
    return f"reported so by {event.actor}"


def _rule_in_words(rule: dict[str, Any]) -> str:
    words = rule_in_words(rule.get("rule", ""), rule.get("line", 0))
    if "file" in rule:
        words += f", {rule['file']} line {rule['file_line']}"
    for name in ("days", "business_days"):
        if name in rule:
            words += f": {rule[name]} {name.replace('_', ' ')} after it was seen"
    if "calendar" in rule:
        words += f", calendar {rule['calendar']}"
    if "reported" in rule:
        words += f" (reported as {rule['reported']})"
    return words


def ways(item: Item, policy: Policy, actor: Actor) -> Iterator[Way]:
    """
    Yield where the item may go, and which guard of the workflow would refuse *actor* without words or approver.
    """
    closings = [] if item.status in CLOSED else [("done", "fixed"), ("canceled", "wont_fix")]
    closings += [] if item.status in CLOSED else [("canceled", "accepted_risk"), ("canceled", "false_positive")]
    moves = [(to, "") for to in allowed_moves(item.status, policy.transitions)]
    for to, reason in [*moves, *closings]:
        refused = ""
        if policy.workflow is not None:
            found = policy.workflow.refused_by(item, actor, from_=item.status, to=to, reason=reason)
            if found is not None:
                number, guard, want = found
                line = policy.lines.get(f"/workflow/guards/{number}", 0)
                refused = f"{want} (guard {guard.name!r}" + (f", line {line})" if line else ")")
        yield Way(to=to, reason=reason, refused=refused)
