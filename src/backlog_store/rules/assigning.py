"""
What the policy in force makes of a reported problem: its priority and owner, and whether it may open now.

Both follow from the item as it stands: the priority that its sources claim, its fields, its paths. So a new policy
takes hold with the next report of an item, and a look at the store tells what it will change (see `policy test`). What
a person holds stays; a hold that has an end is over once that has passed.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from msgspec.structs import replace

from backlog_store.instants import Instant, add_seconds
from backlog_store.model import Draft, Item, Outline
from backlog_store.policy import Policy
from backlog_store.rules.fields import draft_digest
from backlog_store.rules.view import Context
from backlog_store.rules.voices import every_claim
from backlog_store.workflow import held_by

__all__ = [
    "assigned", "assigns", "ended_holds", "held_back", "load_held_back", "reported_priority", "without_ended_holds",
]  # fmt: skip

_DAY_S = 86_400
#: How long a problem that a window held back is remembered after the window's end.
_KEPT_DAYS = 90


def assigns(policy: Policy) -> bool:
    """
    Tell whether a policy gives items a priority or an owner, so that each one reported is to be judged by it.
    """
    return policy.priority is not None or policy.owners is not None


def ended_holds(item: Item | Outline, now: Instant) -> list[str]:
    """
    Return the fields that a person held until an instant that has come.
    """
    return [name for name, end in item.held_until.items() if end <= now]


def without_ended_holds(item: Item, now: Instant) -> Item:
    """
    Return *item* without those holds of a person that had an end, and whose end has come.
    """
    ended = ended_holds(item, now)
    if not ended:
        return item
    held = {name: holder for name, holder in item.held.items() if name not in ended}
    until = {name: end for name, end in item.held_until.items() if name not in ended}
    return replace(item, held=held, held_until=until)


def reported_priority(item: Item) -> str:
    """
    Return the priority as the sources claim it: the highest of the live claims; the item's own where there are none.
    """
    return min((claim.priority for _, _, claim in every_claim(item) if claim.live), default=item.priority)


def assigned(
    policy: Policy, item: Item, now: Instant, *, reported: str = "", only: Collection[str] | None = None
) -> tuple[Item, dict[str, Any]]:
    """
    Return *item* with the priority and the owner that the policy gives it, and which rules said so, for its event.

    Where nothing changes it is the same object. *reported* is the priority to judge by, if not that of its claims;
    *only* names the fields that may change.
    """
    because: dict[str, Any] = {}
    if policy.priority is not None and _is_free(item, "priority", now, only):
        reported = reported or reported_priority(item)
        found = policy.priority.decide(replace(item, priority=reported))
        priority = reported
        if found is not None:
            number, rule = found
            priority = rule.set
            said = policy.said_at(f"/priority/rules/{number}", rule.name)
            because["priority"] = {**said, "reported": reported}
        item = replace(item, priority=priority) if priority != item.priority else item
    if policy.owners is not None and _is_free(item, "owner", now, only):
        whose = policy.owners.decide(item, policy.files)
        if whose is not None:
            because["owner"] = policy.said_at(f"/owners/rules/{whose.number}", whose.name)
            if whose.file:
                because["owner"] |= {"file": whose.file, "file_line": whose.line}
            item = replace(item, owner=whose.owner) if whose.owner != item.owner else item
    return item, because


def _is_free(item: Item, name: str, now: Instant, only: Collection[str] | None) -> bool:
    return (only is None or name in only) and not held_by(item, name, now)


# Windows of suppression


def load_held_back(context: Context, drafts: Sequence[Draft]) -> None:
    """
    Read in one go what windows have held back before of these drafts.
    """
    if context.policy.suppression is not None:
        context.load_records("suppressed", [id for draft in drafts if (id := _window_id(context, draft))])


def held_back(context: Context, draft: Draft, seen_at: Instant) -> str:
    """
    Return why a problem is not opened now: a window holds it back, and counts it. Empty where none does.
    """
    suppression = context.policy.suppression
    found = suppression.window(draft, seen_at) if suppression is not None else None
    if found is None:
        return ""
    number, window = found
    id = _window_id(context, draft)
    known = context.record("suppressed", id)
    body = {
        "window": window.name, "until": window.until, "env": draft.env, "dedupe_key": draft.dedupe_key,
        "title": draft.title, "service": draft.service, "source": draft.source, "priority": draft.priority,
        "n": (known.body["n"] if known is not None else 0) + 1,
        "first_at": min(known.body["first_at"], seen_at) if known is not None else seen_at,
        "last_at": max(known.body["last_at"], seen_at) if known is not None else seen_at,
    }  # fmt: skip
    context.put_record("suppressed", id, body, expires_at=add_seconds(window.until, _KEPT_DAYS * _DAY_S))
    line = context.policy.lines.get(f"/suppression/windows/{number}", 0)
    return f"held back by window {window.name!r} until {window.until}" + (f" (policy line {line})" if line else "")


def _window_id(context: Context, draft: Draft) -> str:
    suppression = context.policy.suppression
    found = suppression.window(draft, draft.observed_at or context.now) if suppression is not None else None
    return f"{found[1].name}/{draft.env}/{draft.dedupe_key or draft_digest(draft)}" if found is not None else ""
