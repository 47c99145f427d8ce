"""
Merging and splitting identities: rules about keys that hold from then on, for every report, on every backend.

================  ====================================================  ==========================================
                   the keys                                              the items
================  ====================================================  ==========================================
merged             each becomes another name of the one merged into     closed as ``duplicate`` if live, with their
                                                                         own trails; nothing is moved out of them
split              a name of its own again, *apart* from the others     the item merged away has its key again, and
                                                                         the next report opens it
================  ====================================================  ==========================================

A split wins: keys that are apart are never merged, until a person lifts that. The item merged into takes over evidence,
tags and links, and keeps them after a split: they tell what was reported while both were one. What sources claim is
held by key (`rules.voices`), and goes with it.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from msgspec.structs import replace

from backlog_store.commands import Merge, Outcome, Split
from backlog_store.errors import Fault, InvalidInput, NotAllowed, NotFound
from backlog_store.model import CLOSED, LIMITS, LIVE, Claim, Event, Item, ItemId, Key, KeyState, closed_status
from backlog_store.rules.assigning import assigned, reported_priority
from backlog_store.rules.checks import Checker
from backlog_store.rules.fields import merge_evidence, sorted_tags
from backlog_store.rules.forgetting import key_event
from backlog_store.rules.lifecycle import check_holder, check_original, held_by_actor
from backlog_store.rules.links import join, link_ids
from backlog_store.rules.names import attach, detach, names_of
from backlog_store.rules.policies import check_guards
from backlog_store.rules.returning import check_verdict
from backlog_store.rules.view import Context
from backlog_store.rules.voices import every_claim, withdrawn, without_names

__all__ = ["MERGED", "SPLIT", "is_of_identity", "merge", "set_back_keys", "split"]

MERGED, SPLIT, LIFTED = "merged", "split", "split_lifted"


def merge(context: Context, body: Merge) -> tuple[Outcome, ...]:
    """
    Merge items into one, all or none.
    """
    check = Checker()
    check.text("message", body.message, LIMITS.message)
    if not 1 <= len(body.ids) <= LIMITS.aliases:
        check.fault("ids", f"{len(body.ids)} ids", f"1 to {LIMITS.aliases} items at once")
    check.done("merge")
    context.load_ids([*body.ids, body.into])
    into = context.item(body.into)
    ids = list(dict.fromkeys(context.item(id).id for id in body.ids))
    if into.id in ids:
        raise InvalidInput([Fault("/ids", into.id, "an item is not merged into itself")], what="merge")
    outcomes = [_merge_one(context, context.item(id), context.item(into.id), body.message) for id in ids]
    into = context.item(into.id)
    is_same = all(one.verdict == "unchanged" for one in outcomes)
    return (
        *outcomes,
        Outcome(verdict="unchanged" if is_same else "updated", id=into.id, revision=into.revision, item=into),
    )


def _merge_one(context: Context, item: Item, into: Item, message: str) -> Outcome:
    action = f"merging {item.id} into {into.id}"
    if item.duplicate_of == into.id and not item.dedupe_key:
        return Outcome(verdict="unchanged", id=item.id, revision=item.revision, item=item, why="it was merged before")
    if item.env != into.env:
        raise NotAllowed(action, f"one is of {item.env}, the other of {into.env}; a key is one of an env")
    if item.key is not None:
        if into.key is None:
            raise NotAllowed(action, f"{into.id} has no key that {item.dedupe_key!r} could be another name of",
                             hint="Merge the other way round, or give it a key first.")  # fmt: skip
        _check_apart(context, action, item.key, into.key)
    check_holder(context, item, "status")
    for one in check_original(context, action, item, into)[1:]:
        context.require(one)
    is_live = item.status in LIVE
    if is_live:
        check_guards(context, item, closed_status("duplicate"), reason="duplicate", message=message)
    joined = _joined(action, into, item)
    keys = [name for name, _ in names_of(context, item.key)] if item.key is not None else []
    if item.key is not None:
        known = context.key_state(item.key) or KeyState()
        attach(context, item.key, into.dedupe_key, into.id, replace(known, merged=item.id))
    context.put(into, joined, MERGED, message=message, meta={"merged": {"from": item.id, "keys": keys}})
    if is_live and item.links:
        _take_links(context, item, into.id)
        item = context.item(item.id)
    merged = replace(item, dedupe_key="", duplicate_of=into.id, updated_at=max(context.now, item.updated_at))
    if is_live:
        merged = replace(merged, status=closed_status("duplicate"), closed_at=context.now, closed_reason="duplicate",
                         closed_by=context.actor.name, wake_at="")  # fmt: skip
        merged = held_by_actor(context, merged, "status")
    told = {"into": into.id, "key": item.dedupe_key, "as": into.dedupe_key}
    result = context.put(item, merged, MERGED, message=message, meta={"merged": told})
    return Outcome(verdict="closed" if is_live else "updated", id=item.id, revision=result.revision, item=result)


def _check_apart(context: Context, action: str, key: Key, other: Key) -> None:
    """
    Refuse to join what a split has parted, under whichever of their names.
    """
    ours, theirs = (dict(names_of(context, one)) for one in (key, other))
    for some, others in ((ours, theirs), (theirs, ours)):
        for name, state in some.items():
            if from_ := sorted(others.keys() & set(state.apart)):
                raise NotAllowed(action, f"the key {name!r} was split from {from_[0]!r}",
                                 hint=f"`backlog split {name} --lift` lifts that.")  # fmt: skip


def _joined(action: str, into: Item, item: Item) -> Item:
    """
    Return *into* with what *item* has: refused where a limit would drop something.
    """
    tags = sorted_tags((*into.tags, *item.tags))
    # What is over claims nothing any more; what has no key is never reported again.
    own = item if item.status in LIVE else withdrawn(item)
    names = {**into.claims_under, **own.claims_under, **({item.dedupe_key: own.claims} if item.dedupe_key else {})}
    joined = replace(into, claims_under=names)
    sources = {source for _, source, _ in every_claim(joined)}
    kinds = {*into.evidence_refs, *item.evidence_refs}
    for what, count, most in (("tags", len(tags), LIMITS.tags), ("sources", len(sources), LIMITS.sources),
                              ("other names", len(names), LIMITS.aliases),
                              ("kinds of evidence", len(kinds), LIMITS.evidence_kinds)):  # fmt: skip
        if count > most:
            raise NotAllowed(action, f"together they have {count} {what}, and an item has {most} at most")
    evidence = merge_evidence(item.evidence_refs, into.evidence_refs)
    priority = into.priority
    if "priority" not in into.held and item.status in LIVE:
        priority = min(priority, item.priority)
    return replace(joined, tags=tags, evidence_refs=evidence, priority=priority,
                   evidence_totals=_totals(into, item, evidence))  # fmt: skip


def _totals(into: Item, item: Item, kept: dict[str, Any]) -> dict[str, int]:
    totals = {}
    for kind, value in kept.items():
        counts = [one.evidence_totals.get(kind, _size(one.evidence_refs.get(kind))) for one in (into, item)]
        if sum(counts) > LIMITS.evidence_kept or (isinstance(value, list) and max(counts) > len(value)):
            totals[kind] = sum(counts)
    return totals


def _size(value: Any) -> int:
    return len(value) if isinstance(value, list) else int(value is not None)


def _take_links(context: Context, item: Item, into: ItemId) -> None:
    """
    Link *into* with all that *item* is linked with; those links of *item* itself stay.
    """
    for id in context.scan("link", f"{item.id}/"):
        _, kind, other = id.rsplit("/", 2)
        if other == into or context.record("link", link_ids(into, kind, other)[0]) is not None:
            continue
        ends = (into, other) if not kind.startswith("~") else (other, into)
        join(context, context.item(ends[0]), kind.removeprefix("~"), context.item(ends[1]))


def split(context: Context, body: Split) -> Outcome:
    """
    Cut a name off from its item, or lift that it was.
    """
    check = Checker()
    check.env(body.env)
    check.text("dedupe_key", body.dedupe_key, LIMITS.dedupe_key, required=True)
    check.text("message", body.message, LIMITS.message)
    check.done("split")
    key = (body.env, body.dedupe_key)
    state = context.key_state(key)
    if body.lift:
        return _lift(context, key, state, body.message)
    if state is None or not state.alias_of or context.reader.items_by_key([key]):
        holder = context.by_key(key)
        if holder is None and state is None:
            raise NotFound("key", f"{body.env}/{body.dedupe_key}")
        raise NotAllowed(f"splitting {body.dedupe_key!r}", "it is no other name of an item, but a name of its own",
                         hint="`backlog key explain KEY` shows which names lead to an item.")  # fmt: skip
    holder, root, root_state = context.holder(key)
    if holder is None and not _reaches_all(context):
        raise NotFound("key", f"{body.env}/{body.dedupe_key}")
    if holder is None:
        check_verdict(context, f"splitting {body.dedupe_key!r}", root_state)
    apart = tuple(dict.fromkeys((*state.apart, state.alias_of, root[1])))
    if len(apart) > LIMITS.aliases:
        raise NotAllowed(f"splitting {body.dedupe_key!r}", f"it was split from {LIMITS.aliases} keys already")
    own = context.find(state.merged) if state.merged else None
    if own is not None and (own.dedupe_key or own.env != body.env):  # it has gone its own way since
        own = None
    if own is not None:
        check_holder(context, own, "status")
    told = {"key": key[1], "from": state.alias_of, "item": own.id if own else "", "merged": state.merged,
            "apart": [name for name in apart if name not in state.apart]}  # fmt: skip
    names = [name for name, _ in names_of(context, key)]
    claimed = {name: holder.claims_under[name] for name in names if name in holder.claims_under} if holder else {}
    detach(context, key)
    result = holder
    if holder is not None:
        rest, because = _without(context, holder, names)
        result = context.put(holder, rest, SPLIT, message=body.message, meta={**because, "split": told})
    elif root_state is not None and root_state.purged_at:  # else its item is elsewhere, with a history of its own
        root_state = context.key_state(root) or root_state
        event = key_event(context, root_state, SPLIT, body.message)
        context.put_key_state(
            root, replace(root_state, last_revision=event.revision, head=event.hash), event, whole=True
        )
    result = _given_back(context, own, key, state, apart, claimed, told, body.message) or result
    return Outcome(verdict="updated", id=result.id if result else "", revision=result.revision if result else 0,
                   item=result, why=_what_next(own, body.dedupe_key))  # fmt: skip


def _without(context: Context, holder: Item, names: Collection[str]) -> tuple[Item, dict[str, Any]]:
    """
    Return the item that names are cut off from, with what is claimed under the rest alone, and the priority by that.
    """
    rest = without_names(holder, names)
    because: dict[str, Any] = {}
    if rest is holder:
        return holder, because
    if "priority" not in rest.held:
        rest = replace(rest, priority=reported_priority(rest))
        rest, because = assigned(context.policy, rest, context.now, only=("priority",))
    return replace(rest, updated_at=max(context.now, holder.updated_at)), because


def _given_back(context: Context, own: Item | None, key: Key, state: KeyState, apart: tuple[str, ...],
                claimed: dict[str, dict[str, Claim]], told: dict[str, Any], message: str) -> Item | None:  # fmt: skip
    """
    Remember a key that is cut off, and give it back to the item that was merged away, if there is one.
    """
    verdict = state.verdict if own is not None and own.status in CLOSED and _stands(state, own) else None
    context.put_key_state(key, replace(state, item_id=own.id if own else "", alias_of="", merged="", apart=apart,
                                       verdict=verdict), whole=True)  # fmt: skip
    if own is None:
        return None
    back = replace(own, dedupe_key=key[1], updated_at=max(context.now, own.updated_at))
    if key[1] in claimed:  # with what is claimed by now
        back = replace(back, claims=claimed.pop(key[1]), claims_under=claimed)
    if own.status in CLOSED and own.closed_reason == "duplicate":
        back = replace(back, verdict_lifted=True)  # the merging closed it, and that is over
    elif own.status in CLOSED:
        back = replace(back, duplicate_of="")
    return context.put(own, back, SPLIT, message=message, meta={"split": told})


def _stands(state: KeyState, own: Item) -> bool:
    return state.verdict is not None and state.verdict.reason == own.closed_reason and own.closed_reason != "duplicate"


def _what_next(own: Item | None, key: str) -> str:
    if own is None:
        return f"the next report of {key} opens an item of its own"
    return f"{own.id} holds {key} again"


def _reaches_all(context: Context) -> bool:
    # What is remembered of a key names no service: bound to a part, one acts on it through the item that one sees.
    scope = context.command.scope
    return scope is None or scope.is_whole


def _lift(context: Context, key: Key, state: KeyState | None, message: str) -> Outcome:
    holder = context.by_key(key)
    if holder is None and (state is None or not _reaches_all(context)):
        raise NotFound("key", f"{key[0]}/{key[1]}")
    if state is None or not state.apart:
        return Outcome(
            verdict="unchanged", id=holder.id if holder else "", item=holder, why="it was split from nothing"
        )
    context.put_key_state(key, replace(state, apart=()), whole=True)
    if holder is None:
        return Outcome(verdict="updated", why=f"{key[1]} may be merged again")
    told = {"key": key[1], "apart": list(state.apart)}
    result = context.put(holder, holder, LIFTED, message=message, meta={"split": told})
    return Outcome(verdict="updated", id=holder.id, revision=result.revision, item=result,
                   why=f"{key[1]} may be merged again")  # fmt: skip


# Undoing


def is_of_identity(event: Event) -> bool:
    """
    Tell whether an event is one of those that merging and splitting write.
    """
    return event.type in (MERGED, SPLIT, LIFTED) and not event.added


def set_back_keys(context: Context, item: Item, event: Event) -> None:
    """
    Set the keys back to what they were before *event*, as far as they are *item*'s matter. Raises `NotAllowed`.

    Of a merge they are the matter of the item merged away; of a split that of the item that got its key back, or else
    of the one that the key was cut off from.
    """
    told: dict[str, Any] = event.meta.get(MERGED) or event.meta.get(SPLIT) or {}
    action = f"undoing {event.type} of {item.id}"
    key = (item.env, str(told.get("key", "")))
    if event.type == MERGED and "into" in told and key[1]:
        state = context.key_state(key)
        if state is None or state.merged != item.id or not state.alias_of:
            raise NotAllowed(action, f"the key {key[1]!r} was split or merged since")
        detach(context, key)
        context.put_key_state(key, replace(state, item_id=item.id, alias_of="", merged=""), whole=True)
    elif event.type == SPLIT and told.get("item") in ("", item.id):
        state = context.key_state(key) or KeyState()
        holder, _, _ = context.holder(key)
        if state.alias_of or (holder is not None and holder.id != told["item"]):
            raise NotAllowed(action, f"the key {key[1]!r} was reported or merged since")
        root, _, _ = context.holder((key[0], str(told["from"])))
        rest = tuple(name for name in state.apart if name not in told["apart"])
        cleared = replace(state, merged=str(told["merged"]), apart=rest)
        context.put_key_state(key, cleared, whole=True)
        attach(context, key, str(told["from"]), root.id if root else item.id, cleared)
    elif event.type == LIFTED:
        state = context.key_state(key) or KeyState()
        context.put_key_state(key, replace(state, apart=tuple(dict.fromkeys((*state.apart, *told["apart"])))))
