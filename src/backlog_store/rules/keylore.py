"""
What is known of a key, for people: what it was made of, which names lead where, what stands about it.
"""

from __future__ import annotations

from msgspec import Struct

from backlog_store.backends.port import Reader
from backlog_store.codec import from_builtins
from backlog_store.model import LIMITS, Item, ItemId, Key, KeyState, Verdict, key_record_id

__all__ = ["KeyLore", "Made", "made_of", "tell_key"]

_NAMES_MAX = 1_000


class Made(Struct, frozen=True, kw_only=True):
    """
    How a key was made: the kind of its source, the version of the rule, and the inputs with their values.

    A key without inputs was given by its reporter (or the store did not keep inputs yet). *version* is that of the rule
    by which the source's keys are made; rules from the second one on are stored among the inputs, as ``v``.
    """

    kind: str
    version: int
    inputs: dict[str, str]


class KeyLore(Struct, frozen=True, kw_only=True):
    """
    All that is known of a key. *path*: the names that it is another name of, up to the one that the item holds.

    *names*: all that lead there, this one too. *apart*: what it was split from. *item* is ``None`` where no item holds
    it (any more); *item_id* is then the one that did.
    """

    env: str
    key: str
    path: tuple[str, ...]
    names: tuple[str, ...]
    apart: tuple[str, ...]
    made: Made
    item: Item | None
    item_id: ItemId
    merged: ItemId
    verdict: Verdict | None
    purged_at: str


def made_of(key: str, inputs: dict[str, str]) -> Made:
    """
    Return how a key was made; the kind is its first part.
    """
    version = inputs.get("v", "1")
    named = {name: value for name, value in inputs.items() if name != "v"}
    kind = key.partition(":")[0] if ":" in key and inputs else ""
    return Made(kind=kind or "given", version=int(version) if version.isdecimal() else 1, inputs=named)


def tell_key(reader: Reader, key: Key) -> KeyLore | None:
    """
    Return all that is known of a key; ``None`` if nothing is.
    """
    env, name = key
    states: dict[str, KeyState | None] = {}

    def state_of(one: str) -> KeyState | None:
        if one not in states:
            record = reader.records("key", [key_record_id((env, one))]).get(key_record_id((env, one)))
            states[one] = None if record is None else from_builtins(record.body, KeyState)
        return states[one]

    path = [name]
    while True:
        item = reader.items_by_key([(env, path[-1])]).get((env, path[-1]))
        above = None if item is not None else state_of(path[-1])
        if above is None or not above.alias_of or above.alias_of in path or len(path) > LIMITS.aliases:
            break
        path.append(above.alias_of)
    own, root = state_of(name), state_of(path[-1])
    if item is None and own is None:
        return None
    names: dict[str, None] = {}
    front = [path[-1]]
    while front and len(names) < _NAMES_MAX:
        one = front.pop(0)
        if one not in names:
            names[one] = None
            front += (state_of(one) or KeyState()).aliases
    # A name from before names were noted is found from below only.
    names.update(dict.fromkeys(path))
    # What was reported under another name says nothing of how this one was made.
    source = item if not path[1:] else reader.items([own.merged]).get(own.merged) if own and own.merged else None
    return KeyLore(
        env=env,
        key=name,
        path=tuple(path[1:]),
        names=tuple(names),
        apart=own.apart if own else (),
        made=made_of(name, dict(source.key_inputs) if source is not None else {}),
        item=item,
        item_id=item.id if item else root.item_id if root else "",
        merged=own.merged if own else "",
        verdict=root.verdict if root else None,
        purged_at=root.purged_at if root else "",
    )
