"""
Claims: who works on what, for how long, and whose word still counts.

A claim is an event and `Item.claimed_by`; how long it lasts stands in its lease, a record that renewing puts without an
event. The token of a claim is the item's revision that the claim made: it grows with each claim of the item, for ever,
and a write that brings the token of an older one is refused. Time is the command's instant, which the store's clock
gave: nobody's own clock decides whether a lease is over.
"""

from __future__ import annotations

from msgspec.structs import replace

from backlog_store.commands import ClaimItem, Outcome, ReleaseItem, RenewClaim
from backlog_store.errors import Conflict, NotAllowed
from backlog_store.instants import add_seconds
from backlog_store.model import LIMITS, LIVE, Item, Record
from backlog_store.rules.checks import Checker
from backlog_store.rules.ready import next_item
from backlog_store.rules.view import Context
from backlog_store.rules.wip import check_room

__all__ = ["LEASE_MAX_S", "check_token", "claim", "release", "renew"]

LEASE_MAX_S = 7 * 86_400


def claim(context: Context, body: ClaimItem) -> Outcome:
    """
    Take an item that is ready.
    """
    check = Checker()
    _check_lease(check, body.lease_s)
    check.text("message", body.message, LIMITS.message)
    check.done("claim")
    if body.id:
        item = context.item(body.id)
    else:
        choice = next_item(context.reader, now=context.now, env=body.env)
        if choice is None:
            return Outcome(verdict="unchanged", why="nothing is ready")
        item = context.item(choice.item.id)
    lease = _lease(context, item)
    if lease is not None:
        whose = "you claimed" if item.claimed_by == context.actor.name else f"{item.claimed_by} claimed"
        hint = ("Whoever holds the token can renew it." if item.claimed_by == context.actor.name
                else "Take another one, or wait until then.")  # fmt: skip
        raise Conflict(f"{item.id} is taken: {whose} it until {lease.expires_at}.", hint=hint)
    _check_ready(context, item)
    check_room(context, context.actor.name, item)
    meta = {"until": add_seconds(context.now, body.lease_s)}
    if item.claimed_by:
        meta["taken_over_from"] = item.claimed_by
    taken = replace(item, claimed_by=context.actor.name, updated_at=max(context.now, item.updated_at))
    result = context.put(item, taken, "claimed", message=body.message, meta=meta)
    return _leased(context, result, result.revision, body.lease_s)


def renew(context: Context, body: RenewClaim) -> Outcome:
    """
    Keep a claim for longer.
    """
    check = Checker()
    _check_lease(check, body.lease_s)
    check.done("renew")
    item = context.item(body.id)
    _require_token(context, item, body.token)
    return _leased(context, item, body.token, body.lease_s)


def release(context: Context, body: ReleaseItem) -> Outcome:
    """
    Give an item back.
    """
    check = Checker()
    check.text("message", body.message, LIMITS.message)
    check.done("release")
    item = context.item(body.id)
    if body.token:
        _require_token(context, item, body.token)
    if not item.claimed_by:
        return Outcome(verdict="unchanged", id=item.id, revision=item.revision, item=item)
    if not body.token and context.actor.kind == "machine" and item.claimed_by != context.actor.name:
        raise NotAllowed(f"releasing {item.id}", f"{item.claimed_by} claimed it", hint="A person may release it.")
    free = replace(item, claimed_by="", updated_at=max(context.now, item.updated_at))
    result = context.put(item, free, "released", message=body.message)
    context.drop_record("lease", item.id)
    return Outcome(verdict="updated", id=item.id, revision=result.revision, item=result)


def check_token(context: Context, id: str, token: int) -> None:
    """
    Refuse a write under a claim that is over. Raises `Conflict`.
    """
    _require_token(context, context.item(id), token)


def _lease(context: Context, item: Item) -> Record | None:
    """
    Return the lease of an item that is claimed, unless it is over.
    """
    lease = context.record("lease", item.id)
    return lease if lease is not None and item.claimed_by and lease.expires_at > context.now else None


def _require_token(context: Context, item: Item, token: int) -> None:
    lease = _lease(context, item)
    if lease is not None and lease.body["token"] == token:
        return
    if lease is not None:
        why = f"{item.claimed_by} holds another one until {lease.expires_at}"
    else:
        why = "its lease is over" if item.claimed_by else "it was released, or the item was closed"
    raise Conflict(f"the claim of {item.id} with the token {token} does not hold: {why}.",
                   hint="Nothing was written. Claim it again before you go on.")  # fmt: skip


def _leased(context: Context, item: Item, token: int, lease_s: int) -> Outcome:
    until = add_seconds(context.now, lease_s)
    context.put_record("lease", item.id, {"by": item.claimed_by, "token": token}, expires_at=until)
    return Outcome(verdict="claimed", id=item.id, revision=item.revision, item=item, token=token, until=until)


def _check_lease(check: Checker, lease_s: int) -> None:
    if not 1 <= lease_s <= LEASE_MAX_S:
        check.fault("lease_s", lease_s, f"1 to {LEASE_MAX_S} seconds")


def _check_ready(context: Context, item: Item) -> None:
    why = ""
    if item.status not in LIVE:
        why = f"it is {item.status}"
    elif item.wake_at > context.now:
        why = f"it sleeps until {item.wake_at}"
    elif item.blocked_by:
        why = f"{item.blocked_by} live {'item blocks' if item.blocked_by == 1 else 'items block'} it"
    elif item.status == "blocked":
        why = "it is blocked"
    if why:
        raise NotAllowed(f"claiming {item.id}", why, hint="`backlog ready` lists what can be taken.")
