"""
What follows from the next state of an item for itself and for others, whatever the command was.

The view calls this for each item that is put, so no rule can forget it. An item without links that nobody has claimed
passes at the cost of two tests. What follows for an item that the command's credential does not reach happens as well:
a blocker that is closed blocks nobody any longer, whoever may see whom.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from backlog_store.model import LIVE, Event, Item

if TYPE_CHECKING:
    from backlog_store.rules.view import Context

__all__ = ["FOLLOWING", "follow", "is_consequence", "settled"]

#: Fields that follow from other items, links and leases: nobody sets them, and undoing leaves them alone.
FOLLOWING = frozenset({"links", "blocked_by", "claimed_by"})


def settled(new: Item) -> Item:
    """
    Return the next state of an item that was claimed or is linked: a claim ends when the item is closed.
    """
    return replace(new, claimed_by="") if new.claimed_by and new.status not in LIVE else new


def follow(context: Context, old: Item, new: Item) -> None:
    """
    Tell the items that *new* blocks that it is closed, or lives again.
    """
    is_live = new.status in LIVE
    if not new.links or is_live == (old.status in LIVE):
        return
    ids = [id.rsplit("/", 1)[1] for id in context.scan("link", f"{new.id}/blocks/")]
    for other in context.wherever(ids):
        told = replace(other, blocked_by=other.blocked_by + (1 if is_live else -1),
                       updated_at=max(context.now, other.updated_at))  # fmt: skip
        context.put(other, told, "blocked" if is_live else "unblocked", meta={"by": new.id})


def is_consequence(event: Event) -> bool:
    """
    Tell whether an event only followed from what was done to another item.
    """
    if event.added:
        return False
    return event.type in ("blocked", "unblocked") or (
        event.type == "unlinked" and ("purged" in event.meta or "absent" in event.meta)
    )
