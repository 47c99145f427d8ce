"""
What a report does to a closed problem: it opens a new episode, goes on with the old one, or the problem stays closed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Struct
from msgspec.structs import replace

from backlog_store.errors import NotAllowed
from backlog_store.instants import Instant
from backlog_store.model import Draft, Item, KeyState, Verdict
from backlog_store.policy import Policy, rule_in_words
from backlog_store.rules.fields import EPISODE_FIELDS
from backlog_store.rules.view import Context
from backlog_store.workflow import REOPENED_BY_REPORTS

if TYPE_CHECKING:
    from backlog_store.policy.matching import Subject  # a policy's alone; those without one do not pay for it

__all__ = ["NEW_EPISODE", "Return", "check_verdict", "clear_verdict", "is_barred", "put_verdict", "reopened",
           "return_of"]  # fmt: skip


class Return(Struct, frozen=True):
    """
    What becomes of a closed problem. *why* it stays closed; empty: it is open again.

    With *goes_on* it is so in the same episode. *said* is what the event keeps of the rule, if one decided.
    """

    why: str = ""
    goes_on: bool = False
    said: dict[str, Any] = {}


NEW_EPISODE = Return()


def return_of(policy: Policy, subject: Subject, reason: str, *, closed_at: Instant, expires_at: Instant, now: Instant,
              seen_at: Instant) -> Return:  # fmt: skip
    """
    Return what a report of *subject*, seen at an instant, does to what was closed for *reason*.
    """
    if reason == "accepted_risk" and expires_at > now:
        return Return(why=f"accepted until {expires_at}")
    if policy.reopen is not None:
        since = max(closed_at, expires_at)
        found = policy.reopen.decide(subject, reason, since, seen_at)
        if found is not None:
            number, rule = found
            said = policy.said_at(f"/reopen/rules/{number}", rule.name)
            if rule.then == "stay_closed":
                words = rule_in_words(said["rule"], said.get("line", 0))
                return Return(why=f"closed as {reason}, and stays so ({words})", said=said)
            why = _seen_before(closed_at, seen_at) if reason != "accepted_risk" else ""
            return Return(why=why, goes_on=rule.then == "same_episode", said=said)
    return Return(why=_why_suppressed(reason, closed_at, seen_at))


def _why_suppressed(reason: str, closed_at: Instant, seen_at: Instant) -> str:
    """
    Return why a report does not reopen what was closed for *reason*, where no rule speaks of it; empty if it does.
    """
    if reason == REOPENED_BY_REPORTS:
        return _seen_before(closed_at, seen_at)
    return "" if reason == "accepted_risk" else f"closed as {reason}"


def _seen_before(closed_at: Instant, seen_at: Instant) -> str:
    return "" if seen_at >= closed_at else f"seen at {seen_at}, before the close at {closed_at}"


def reopened(context: Context, item: Item, *, goes_on: bool = False) -> Item:
    """
    Return a closed item in a new episode: open, its closing forgotten, status and owner no longer held.

    If its old episode *goes_on*, what is held stays held.
    """
    ended = frozenset() if goes_on else EPISODE_FIELDS
    return replace(
        item,
        status="open",
        episode=item.episode + (not goes_on),
        updated_at=max(context.now, item.updated_at),
        wake_at="",
        escalated=item.escalated if goes_on else {},
        closed_at="",
        closed_reason="",
        closed_by="",
        approver="",
        expires_at="",
        duplicate_of="",
        verdict_lifted=False,
        held={name: holder for name, holder in item.held.items() if name not in ended},
        held_until={name: end for name, end in item.held_until.items() if name not in ended},
    )


def is_barred(context: Context, draft: Draft, state: KeyState) -> bool:
    """
    Tell whether what was decided about a purged key keeps a report that is seen now from opening it.
    """
    known = state.verdict
    return known is not None and return_of(
        context.policy, draft, known.reason, closed_at=known.at, expires_at=known.expires_at, now=context.now,
        seen_at=context.now,
    ).why != ""  # fmt: skip


def check_verdict(context: Context, action: str, state: KeyState | None) -> None:
    """
    Refuse a machine's hand on what a person decided about a key whose item is purged. Raises `NotAllowed`.
    """
    verdict = state.verdict if state is not None and state.purged_at else None
    if verdict is None or context.actor.kind != "machine" or "" < verdict.free_from <= context.now:
        return
    raise NotAllowed(action, f"{verdict.by} decided that it is {verdict.reason}", hint="A person may lift that.")


def clear_verdict(context: Context, item: Item) -> None:
    """
    Forget the verdict of an item's key, now that the item lives again.
    """
    if item.key is None:
        return
    state = context.key_state(item.key)
    if state is not None and state.verdict is not None:
        context.put_key_state(item.key, replace(state, verdict=None))


def put_verdict(context: Context, item: Item, verdict: Verdict) -> None:
    """
    Remember what was decided about an item's key. The item's own event explains it.
    """
    if item.key is not None:
        state = context.key_state(item.key) or KeyState(item_id=item.id)
        context.put_key_state(item.key, replace(state, item_id=item.id, verdict=verdict))
