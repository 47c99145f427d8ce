"""
Other names of a key: each leads to the key that it is another name of, which in turn names it among its aliases.

::

    k0 --alias_of--> kA --alias_of--> kB, held by an item
       <--aliases--     <--aliases--

So a report of any of them finds the one item (`Context.holder`), and from the item all its names are found.
"""

from __future__ import annotations

from collections.abc import Iterator

from msgspec.structs import replace

from backlog_store.errors import AlreadyExists, NotAllowed
from backlog_store.model import LIMITS, Item, ItemId, Key, KeyState
from backlog_store.rules.view import Context

__all__ = ["attach", "check_key_free", "detach", "names_of", "rekey"]


def attach(context: Context, key: Key, to: str, item_id: ItemId, state: KeyState | None = None) -> None:
    """
    Make *key* another name of *to*, a dedupe key of its env; *state* is what else is remembered about *key*.
    """
    above = (key[0], to)
    known = context.key_state(above) or KeyState(item_id=item_id)
    if key[1] not in known.aliases:
        if len(known.aliases) >= LIMITS.aliases:
            raise NotAllowed(f"making {key[1]!r} another name of {to!r}", f"it has {LIMITS.aliases} of them already")
        context.put_key_state(above, replace(known, aliases=(*known.aliases, key[1])))
    context.put_key_state(key, replace(state or KeyState(), item_id=item_id, alias_of=to))


def detach(context: Context, key: Key) -> None:
    """
    Take *key* out of the names of the key that it is another name of; its own record is the caller's to put.
    """
    state = context.key_state(key)
    if state is None or not state.alias_of:
        return
    above = (key[0], state.alias_of)
    known = context.key_state(above)
    if known is not None and key[1] in known.aliases:
        rest = tuple(name for name in known.aliases if name != key[1])
        context.put_key_state(above, replace(known, aliases=rest), whole=True)


def names_of(context: Context, key: Key) -> Iterator[tuple[str, KeyState]]:
    """
    Yield *key* and all names that lead to it, each with what is remembered about it.
    """
    seen: set[str] = set()
    front = [key[1]]
    while front:
        name = front.pop(0)
        if name in seen:
            continue
        seen.add(name)
        state = context.key_state((key[0], name)) or KeyState()
        yield name, state
        front += state.aliases


def rekey(context: Context, old: Item, new: Item) -> None:
    """
    Keep the old key of an item as another name of it, within its env; what was decided about it goes with the item.

    The new key is no longer another name of anything.
    """
    known = context.key_state(old.key) if old.key is not None else None
    verdict = known.verdict if known is not None else None
    if new.key is not None:
        state = context.key_state(new.key)
        detach(context, new.key)
        if state is not None or verdict is not None:
            context.put_key_state(new.key, KeyState(item_id=new.id, verdict=verdict))
    if old.key is not None and new.key is not None and old.env == new.env:
        attach(context, old.key, new.dedupe_key, new.id)
    elif old.key is not None:
        # Also where it is no name any more: the id of this item was made from it, and stays this item's.
        context.put_key_state(old.key, KeyState(item_id=new.id))


def check_key_free(context: Context, item: Item) -> None:
    """
    Refuse to give an item a key that another one holds, or that a purged one held. Raises `AlreadyExists`.
    """
    holder = context.by_key(item.key) if item.key is not None else None
    if holder is not None and holder.id != item.id:
        raise AlreadyExists("key", item.dedupe_key, held_by=f"the item {holder.id} ({holder.title!r})")
    state = context.key_state(item.key) if item.key is not None else None
    if state is not None and state.purged_at:
        raise AlreadyExists("key", item.dedupe_key, held_by=f"{state.item_id}, which was purged")
