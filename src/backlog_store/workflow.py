"""
The workflow: which moves there are, and what a status means at an instant.

::

    open        -> in_progress, blocked, canceled
    in_progress -> blocked, done, canceled
    blocked     -> open, in_progress, canceled
    done        ->
    canceled    ->

Two commands cross it with conditions of their own: *close*, with a reason, from any live status (``fixed`` ends in
done, every other reason in canceled), and *reopen*, with a reason, from a closed one to open.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from backlog_store.errors import TransitionNotAllowed
from backlog_store.instants import Instant, day_of
from backlog_store.model import CLOSED, LIVE, Item
from backlog_store.policy import Policy

__all__ = ["REOPENED_BY_REPORTS", "allowed_moves", "check_move", "effective_status", "held_by",
           "is_overdue", "reason_of_move"]  # fmt: skip

#: A machine's report reopens what was closed for this reason. (An expired acceptance too; see `rules.upsert`.)
REOPENED_BY_REPORTS = "fixed"
_NEVER = "9999"  # behind every instant


def allowed_moves(status: str, transitions: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """
    Return the statuses that an item of this status may move to.
    """
    return tuple(transitions.get(status, ()))


def check_move(item: Item, to: str, policy: Policy) -> None:
    """
    Refuse a move that the workflow does not have. Raises `TransitionNotAllowed`.
    """
    allowed = allowed_moves(item.status, policy.transitions)
    if to not in allowed:
        raise TransitionNotAllowed(item.id, from_status=item.status, to_status=to, allowed=allowed)


def reason_of_move(status: str) -> str:
    """
    Return the closing reason of a plain move to this status; empty for a live one.
    """
    if status in LIVE:
        return ""
    return "fixed" if status == "done" else "wont_fix"


def effective_status(item: Item, now: Instant) -> str:
    """
    Return the status as it reads at *now*.

    That is ``snoozed`` for a live item that sleeps, ``waiting`` for an open one that a live item blocks, ``expired``
    for an acceptance past its end, else the stored one.
    """
    if item.status in LIVE and item.wake_at > now:
        return "snoozed"
    if item.status in CLOSED and item.closed_reason == "accepted_risk" and item.expires_at <= now:
        return "expired"
    return item.stage


def held_by(item: Item, field: str, now: Instant) -> str:
    """
    Return the person who holds a field at *now*; empty for nobody. A hold may have an end (`Item.held_until`).
    """
    holder = item.held.get(field, "")
    return holder if holder and item.held_until.get(field, _NEVER) > now else ""


def is_overdue(item: Item, now: Instant) -> bool:
    """
    Tell whether a live item's due day lies before the UTC day of *now*.
    """
    return item.status in LIVE and item.due_date != "" and item.due_date < day_of(now)
