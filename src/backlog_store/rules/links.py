"""
Links between items: one edge a link, found from both ends; those that order work are free of cycles.

Both ends count their links (`Item.links`) and hold an event of each, so an item without links costs nothing: only one
that has some is asked for them when it is closed, reopened or purged. What waits for it is told in the same
transaction: `Item.blocked_by` counts the live items that block an item, and each change of it is an event of that item.
So nobody has to join anything to know what is ready.

The rule "no cycles" is one over a set, so it owns a guard record, ``graph``: two writers that each add half of a cycle
put the same guard, and the second one decides again on what the first has written. It is one for all envs, since a
cycle can lead through several.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from msgspec.structs import replace

from backlog_store.commands import Link, LinkKind, Outcome
from backlog_store.errors import Fault, InvalidInput, NotAllowed
from backlog_store.model import LIMITS, LIVE, Item, ItemId
from backlog_store.rules.view import Context

__all__ = ["LINK_KINDS", "join", "link", "link_ids", "part", "part_all"]

LINK_KINDS: tuple[LinkKind, ...] = ("blocks", "parent", "relates", "duplicates", "caused_by")
_ACYCLIC = ("blocks", "parent", "caused_by")
_DEPTH_MAX = 10_000


def link_ids(id: ItemId, kind: str, other: ItemId) -> tuple[str, str]:
    """
    Return the ids of the two records of a link: as seen from *id*, and from *other*.
    """
    return f"{id}/{kind}/{other}", f"{other}/{mirrored(kind)}/{id}"


def mirrored(kind: str) -> str:
    """
    Return how a link's kind is called from its other end.
    """
    return kind[1:] if kind.startswith("~") else f"~{kind}"


def link(context: Context, body: Link) -> Outcome:
    """
    Join or part two items.
    """
    if body.kind not in LINK_KINDS:
        raise InvalidInput([Fault("/kind", str(body.kind), f"one of {', '.join(LINK_KINDS)}")], what="link")
    item, other = context.item(body.id), context.item(body.other)
    if item.id == other.id:
        raise InvalidInput([Fault("/other", other.id, "an item cannot be linked with itself")], what="link")
    known = context.record("link", link_ids(item.id, body.kind, other.id)[0])
    if (known is not None) != body.remove:
        return Outcome(verdict="unchanged", id=item.id, revision=item.revision, item=item)
    result = (part if body.remove else join)(context, item, body.kind, other)
    return Outcome(verdict="updated", id=item.id, revision=result.revision, item=result)


def join(context: Context, item: Item, kind: str, other: Item, meta: Mapping[str, Any] | None = None) -> Item:
    """
    Link two items that this kind does not link yet; return the first one. *meta* goes with its event.
    """
    for end in (item, other):
        if end.links >= LIMITS.links_per_item:
            raise NotAllowed(f"linking {item.id} {kind} {other.id}", f"{end.id} has {end.links} links already")
    if kind in _ACYCLIC:
        context.put_record("guard", "graph", {})
        _check_cycle(context, item, kind, other)
    result = _put_ends(context, item, kind, other, 1, meta)
    for id in link_ids(item.id, kind, other.id):
        context.put_record("link", id, {"at": context.now, "by": context.actor.name})
    return result


def part(context: Context, item: Item, kind: str, other: Item, meta: Mapping[str, Any] | None = None) -> Item:
    """
    Take a link away; return the first item. *meta* goes with its event.
    """
    result = _put_ends(context, item, kind, other, -1, meta)
    for id in link_ids(item.id, kind, other.id):
        context.drop_record("link", id)
    return result


def part_all(context: Context, item: Item) -> None:
    """
    Take away every link of a closed item that is about to be purged; the other ends are told.
    """
    if not item.links:
        return
    for kind, id in list(_ends(context, f"{item.id}/")):
        for other in context.wherever([id]):
            _put_end(context, other, mirrored(kind), item, -1, {"purged": True})
        for name in link_ids(item.id, kind, id):
            context.drop_record("link", name)


def _put_ends(
    context: Context, item: Item, kind: str, other: Item, step: int, meta: Mapping[str, Any] | None = None
) -> Item:
    result = _put_end(context, item, kind, other, step, meta)
    _put_end(context, other, mirrored(kind), item, step)
    return result


def _put_end(
    context: Context, end: Item, kind: str, other: Item, step: int, meta: Mapping[str, Any] | None = None
) -> Item:
    """
    Count a link more or less at one of its ends: *end* is what *kind* begins at.
    """
    counted = replace(end, links=end.links + step)
    if kind == "~blocks" and other.status in LIVE:
        updated_at = max(context.now, end.updated_at)
        counted = replace(counted, blocked_by=end.blocked_by + step, updated_at=updated_at)
    named = {"link": {"kind": kind, "other": other.id}, **(meta or {})}
    return context.put(end, counted, "linked" if step > 0 else "unlinked", meta=named)


def _ends(context: Context, prefix: str) -> Iterator[tuple[str, ItemId]]:
    for id in context.scan("link", prefix):
        _, kind, other = id.rsplit("/", 2)
        yield kind, other


def _check_cycle(context: Context, item: Item, kind: str, other: Item) -> None:
    """
    Walk from *other* along links of this kind; reaching *item* would close a cycle.
    """
    seen = {other.id}
    front = [other.id]
    while front:
        here = front.pop()
        if here == item.id:
            raise NotAllowed(
                f"linking {item.id} {kind} {other.id}", f"{other.id} already leads to {item.id}, which makes a cycle"
            )
        if len(seen) > _DEPTH_MAX:
            raise NotAllowed(f"linking {item.id} {kind} {other.id}", f"more than {_DEPTH_MAX} items hang together")
        for _, there in _ends(context, f"{here}/{kind}/"):
            if there not in seen:
                seen.add(there)
                front.append(there)
