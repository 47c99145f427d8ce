"""
What is kept apart from items: verdicts of keys, saved views, plans.
"""

from __future__ import annotations

import re
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from backlog_store.backends.port import DropRecord
from backlog_store.backends.scanning import within_log
from backlog_store.codec import from_builtins, to_builtins
from backlog_store.commands import DropView, KeepPlan, LiftVerdict, MarkSeen, Outcome, SaveView
from backlog_store.errors import NotFound
from backlog_store.instants import Instant, add_seconds, is_instant
from backlog_store.model import CLOSED, LIMITS, Record
from backlog_store.rules.checks import Checker
from backlog_store.rules.forgetting import key_event
from backlog_store.rules.lifecycle import check_holder
from backlog_store.rules.returning import check_verdict, clear_verdict
from backlog_store.rules.view import Context

__all__ = ["Mark", "drop_view", "keep_plan", "lift_verdict", "mark_in", "mark_seen", "save_view"]


class Mark(Struct, frozen=True, kw_only=True):
    """
    Up to where somebody has seen what happened: the body of the record ``seen`` of their name.
    """

    position: str
    at: Instant


_TOKEN = re.compile(r"[0-9a-z]{16}")
_PART_MAX, _PARTS_MAX = 500_000, 100_000
_DAY_S = 86_400


def lift_verdict(context: Context, body: LiftVerdict) -> Outcome:
    """
    Lift a key's verdict, of a closed item as of a purged one.
    """
    check = Checker()
    check.env(body.env)
    check.text("dedupe_key", body.dedupe_key, LIMITS.dedupe_key, required=True)
    check.text("message", body.message, LIMITS.message)
    check.done("lift")
    key = (body.env, body.dedupe_key)
    item = context.by_key(key)
    state = context.key_state(key)
    if item is not None:
        if item.status not in CLOSED or item.verdict_lifted:
            return Outcome(verdict="unchanged", id=item.id, revision=item.revision, item=item)
        check_holder(context, item, "status")
        lifted = replace(item, verdict_lifted=True, updated_at=max(context.now, item.updated_at))
        result = context.put(item, lifted, "verdict_lifted", message=body.message)
        clear_verdict(context, result)
        return Outcome(verdict="updated", id=item.id, revision=result.revision, item=result)
    if state is None or not state.purged_at:
        raise NotFound("key", f"{body.env}/{body.dedupe_key}")
    if state.verdict is None:
        return Outcome(verdict="unchanged", id=state.item_id, revision=state.last_revision)
    check_verdict(context, f"lifting the verdict of {body.dedupe_key!r}", state)
    event = key_event(context, state, "verdict_lifted", body.message)
    context.put_key_state(key, replace(state, verdict=None, last_revision=event.revision, head=event.hash), event=event)
    return Outcome(verdict="updated", id=state.item_id, revision=event.revision)


def save_view(context: Context, body: SaveView) -> Outcome:
    """
    Keep a query under a name, over an older one of that name. Raises `InvalidQuery` for one that cannot be asked.
    """
    from backlog_store.querylang import parse_query  # it takes a while to load, and few save one

    _check_view_name(body.name, body.query)
    parse_query(body.query, now=context.now, me=context.actor.name)
    context.put_record("view", body.name, {"query": body.query, "by": context.actor.name, "at": context.now})
    return Outcome(verdict="updated", id=body.name)


def drop_view(context: Context, body: DropView) -> Outcome:
    """
    Forget a saved view. Raises `NotFound`.
    """
    _check_view_name(body.name, "")
    record = context.record("view", body.name)
    if record is None:
        raise NotFound("view", body.name)
    context.changes.append(DropRecord("view", body.name, record.revision))
    return Outcome(verdict="purged", id=body.name)


def mark_seen(context: Context, body: MarkSeen) -> Outcome:
    """
    Note up to where somebody has seen what happened. Raises `InvalidInput` for what is ahead, or no position.
    """
    check = Checker()
    check.instant("at", body.at, required=True)
    if is_instant(body.at) and body.at > context.now:
        check.fault("at", body.at, "an instant that is not ahead")
    check.done("mark")
    name = context.actor.name
    old = mark_in(context.record("seen", name))
    if old is not None and old.at >= body.at:
        return Outcome(verdict="unchanged", id=name, why="a later mark is set")
    mark = Mark(position=within_log(context.reader, body.position), at=body.at)
    context.put_record("seen", name, to_builtins(mark))
    return Outcome(verdict="updated", id=name)


def mark_in(record: Record | None) -> Mark | None:
    """
    Return the mark that a record of kind ``seen`` holds, if there is one.
    """
    return from_builtins(record.body, Mark) if record is not None else None


def keep_plan(context: Context, body: KeepPlan) -> Outcome:
    """
    Keep a part of a plan. It is a working record: what the plan does is said by the events of what is applied.

    It holds what its report held, so it is seen by those alone who see the same items as its maker did then, or all.
    """
    check = Checker()
    if not _TOKEN.fullmatch(body.token):
        check.fault("token", body.token[:60], "a plan's token is 16 letters and digits")
    if not 0 <= body.number < _PARTS_MAX or not 0 <= body.parts <= _PARTS_MAX:
        check.fault("number", str(body.number), f"at most {_PARTS_MAX:,} parts")
    if len(body.text) > _PART_MAX:
        check.fault("text", f"{len(body.text)} characters", f"at most {_PART_MAX:,}")
    if not is_instant(body.until) or body.until > add_seconds(context.now, LIMITS.answer_days * _DAY_S):
        check.fault("until", body.until, f"an instant, {LIMITS.answer_days} days from now at the latest")
    check.done("plan")
    told: dict[str, Any] = {"text": body.text}
    scope = context.command.scope
    if scope is not None and not scope.is_whole:
        told["reach"] = scope.reach
    if body.parts:
        told |= {"parts": body.parts, "by": context.actor.name}
    id = body.token if body.parts else f"{body.token}/{body.number:06d}"
    context.put_record("plan", id, told, expires_at=body.until)
    return Outcome(verdict="updated", id=id)


def _check_view_name(name: str, query: str) -> None:
    check = Checker()
    check.id("name", name)
    check.text("query", query, LIMITS.message)
    check.done("view")
