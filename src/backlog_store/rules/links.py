"""
Links between items: one edge a link, found from both ends; blocks and parent free of cycles.

The rule "no cycles" is one over a set, so it owns a guard record, ``graph/<env>``: two writers that each add half of a
cycle put the same guard, and the second one decides again on what the first has written.
"""

from __future__ import annotations

from backlog_store.backends.port import DropRecord
from backlog_store.commands import Link, LinkKind, Outcome
from backlog_store.errors import Fault, InvalidInput, NotAllowed
from backlog_store.model import LIMITS, Item, ItemId
from backlog_store.rules.view import Context

__all__ = ["LINK_KINDS", "link", "link_ids"]

LINK_KINDS: tuple[LinkKind, ...] = ("blocks", "parent", "relates", "duplicates", "caused_by")
_ACYCLIC = ("blocks", "parent")
_DEPTH_MAX = 10_000


def link_ids(id: ItemId, kind: str, other: ItemId) -> tuple[str, str]:
    """
    Return the ids of the two records of a link: as seen from its start, and from its end.
    """
    return f"{id}/{kind}/{other}", f"{other}/~{kind}/{id}"


def link(context: Context, body: Link) -> Outcome:
    """
    Join or part two items. The event stands with the first one.
    """
    if body.kind not in LINK_KINDS:
        raise InvalidInput([Fault("/kind", str(body.kind), f"one of {', '.join(LINK_KINDS)}")], what="link")
    item, other = context.item(body.id), context.item(body.other)
    if item.id == other.id:
        raise InvalidInput([Fault("/other", other.id, "an item cannot be linked with itself")], what="link")
    forth, back = link_ids(item.id, body.kind, other.id)
    known = context.record("link", forth)
    if (known is not None) != body.remove:
        return Outcome(verdict="unchanged", id=item.id, revision=item.revision, item=item)
    if not body.remove:
        context.require(other)
        _check_room(context, item)
        if body.kind in _ACYCLIC:
            _guard(context, item.env)
            _check_cycle(context, item, body.kind, other)
    result = context.put(item, item, "unlinked" if body.remove else "linked",
                         meta={"link": {"kind": body.kind, "other": other.id}})  # fmt: skip
    for id in (forth, back):
        if body.remove:
            record = context.record("link", id)
            if record is not None:
                context.changes.append(DropRecord("link", id, record.revision))
        else:
            context.put_record("link", id, {"at": context.now, "by": context.actor.name})
    return Outcome(verdict="updated", id=item.id, revision=result.revision, item=result)


def _guard(context: Context, env: str) -> None:
    context.put_record("guard", f"graph/{env}", {})


def _check_room(context: Context, item: Item) -> None:
    if len(context.reader.scan("link", f"{item.id}/", "", LIMITS.links_per_item)) >= LIMITS.links_per_item:
        raise NotAllowed(f"linking {item.id}", f"it has {LIMITS.links_per_item} links already")


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
        for record in context.reader.scan("link", f"{here}/{kind}/", "", LIMITS.links_per_item):
            there = record.id.rsplit("/", 1)[1]
            if there not in seen:
                seen.add(there)
                front.append(there)
