"""
The trail of an item: events that rebuild it, chained by hashes.

Each event holds the hash of its predecessor, the item the newest one (`head`). The hash covers the public fields of
the event as they are, and every field that can hold people's words through a salted digest: such a text can be erased
later, its digest kept, and the chain still verifies, while the salt (dropped with the text) prevents guessing it.

    key(i)   = bytes 16 i … 16 i + 15 of SHAKE-256(event salt), one for each private field
    leaf(i)  = blake2b-128(value as JSON, key = key(i))
    hash     = blake2b-128([previous hash, public fields, names of the private ones] as JSON | leaf | leaf | …)
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import blake2b, shake_256
from typing import Any

import msgspec
from msgspec.structs import astuple, replace

from backlog_store.codec import encode, to_builtins
from backlog_store.model import Event, Item, KeyState

__all__ = [
    "TRACKED",
    "apply_changes",
    "difference",
    "event_hash",
    "faults_of_key_trail",
    "faults_of_trail",
    "plain_fields",
    "rebuild",
    "sealed",
]

#: Item fields that events explain; `revision` and `head` follow from the events themselves.
_UNTRACKED = frozenset({"id", "revision", "head"})
TRACKED: tuple[str, ...] = tuple(name for name in Item.__struct_fields__ if name not in _UNTRACKED)
#: Fields whose values may hold people's words or secrets; they enter the hash as salted digests.
PRIVATE: frozenset[str] = frozenset(
    {
        "title", "description", "owner", "evidence_refs", "meta", "key_inputs", "tags", "held", "closed_by", "approver",
        "extra",
    }
)  # fmt: skip
_PRIVATE_SORTED = tuple(sorted(PRIVATE))
_STRUCTURED = frozenset({"claims", "tags"})
_SIZE = 16
#: Where each private field's key begins. A new field goes to the end: the places are part of every hash.
_SLOTS = {
    name: number * _SIZE
    for number, name in enumerate(
        ("approver", "closed_by", "description", "event_extra", "event_meta", "evidence_refs", "extra", "held",
         "key_inputs", "message", "meta", "owner", "tags", "title")
    )
}  # fmt: skip
_KEYS_SIZE = len(_SLOTS) * _SIZE


def plain_fields(item: Item | None) -> dict[str, Any]:
    """
    Return the tracked fields of *item* as plain JSON data (none for ``None``).
    """
    if item is None:
        return {}
    return {name: _plain(name, getattr(item, name)) for name in TRACKED}


def _plain(name: str, value: Any) -> Any:
    return to_builtins(value) if name in _STRUCTURED else value


_BLANK = astuple(Item(id="", revision=0, env="", status="", priority="", created_at="", updated_at=""))


def difference(old: Item | None, new: Item, ts: str) -> dict[str, tuple[Any, Any]]:
    """
    Return each field that differs, with its old and new value. For a new item: each that is not empty.

    `updated_at` is named just where a change did not set it to *ts*, the event's own instant: `rebuild` relies on it.
    """
    changes: dict[str, tuple[Any, Any]] = {}
    base = _BLANK if old is None else astuple(old)
    for name, before, after in zip(Item.__struct_fields__, base, astuple(new), strict=True):
        if before is not after and before != after and name not in _UNTRACKED:
            changes[name] = (None if old is None else _plain(name, before), _plain(name, after))
    if changes and changes.keys() != {"updated_at"}:
        if new.updated_at == ts:
            changes.pop("updated_at", None)
        else:
            changes["updated_at"] = (old.updated_at if old else None, new.updated_at)
    return changes


def event_hash(event: Event) -> str:
    """
    Return the hash of an event over its content and `prev`, in hexadecimal.
    """
    public = dict(event.changes)
    private: list[tuple[str, Any]] = [(name, public.pop(name)) for name in _PRIVATE_SORTED if name in public]
    if event.message:
        private.append(("message", event.message))
    if event.meta:
        private.append(("event_meta", event.meta))
    if event.extra:
        private.append(("event_extra", event.extra))
    head = [
        event.prev, event.id, event.item_id, event.revision, event.ts, event.type, event.actor, event.actor_kind,
        event.added, event.batch, event.request, event.policy, public, [name for name, _ in private],
    ]  # fmt: skip
    parts = [encode(head)]
    if private:
        keys = shake_256(event.salt.encode()).digest(_KEYS_SIZE)
        for name, value in private:
            slot = _SLOTS[name]
            parts.append(blake2b(encode(value), key=keys[slot : slot + _SIZE], digest_size=_SIZE).digest())
    return blake2b(b"".join(parts), digest_size=_SIZE).hexdigest()


def sealed(event: Event, prev: str) -> Event:
    """
    Return *event* chained behind *prev*.
    """
    chained = replace(event, prev=prev)
    return replace(chained, hash=event_hash(chained))


def apply_changes(fields: dict[str, Any], event: Event) -> None:
    """
    Bring plain *fields* from before *event* to after it, in place.
    """
    for name, (_, after) in event.changes.items():
        fields[name] = after
    if event.changes and "updated_at" not in event.changes:
        fields["updated_at"] = event.ts


def rebuild(events: Iterable[Event]) -> Item:
    """
    Return the item that its events, in order of revision, explain. Raises `ValueError` if there are none.
    """
    fields: dict[str, Any] = {}
    last: Event | None = None
    for event in events:
        if event.type == "purged" and not event.added:
            fields.clear()
        apply_changes(fields, event)
        last = event
    if last is None or not fields:
        raise ValueError("no events")
    return msgspec.convert({**fields, "id": last.item_id, "revision": last.revision, "head": last.hash}, Item)


def faults_of_trail(item: Item, events: Sequence[Event]) -> list[str]:
    """
    Return what is wrong with an item's trail: a gap, a broken link, a changed byte, a field that events do not explain.

    The trail of an item that came back after a purge begins with the event of that purge.
    """
    if not events:
        return ["no events"]
    faults: list[str] = []
    prev = events[0].prev
    if prev and (events[0].type != "purged" or events[0].added):
        faults.append(f"event {events[0].id}: the trail begins behind an unknown event")
    for number, event in enumerate(events):
        if number and event.revision != events[number - 1].revision + 1:
            faults.append(f"event {event.id}: revision {event.revision} follows {events[number - 1].revision}")
        if event.prev != prev:
            faults.append(f"event {event.id}: does not follow its predecessor")
        if event_hash(event) != event.hash:
            faults.append(f"event {event.id}: was changed after it was written")
        prev = event.hash
    if item.head != prev:
        faults.append("the item's head is not its newest event")
    try:
        rebuilt = rebuild(events)
    except (ValueError, msgspec.ValidationError) as error:
        return [*faults, f"the events do not make an item: {error}"]
    if rebuilt != item:
        wrong = [name for name in Item.__struct_fields__ if getattr(rebuilt, name) != getattr(item, name)]
        faults.append(f"the events do not explain: {', '.join(wrong)}")
    return faults


def faults_of_key_trail(state: KeyState, events: Iterable[Event]) -> list[str]:
    """
    Return what is wrong with the events that explain a purged key: a changed byte, a broken link, another head.
    """
    faults: list[str] = []
    head = ""
    for event in sorted(events, key=lambda event: event.revision):
        if event_hash(event) != event.hash:
            faults.append(f"event {event.id}: was changed after it was written")
        if head and event.prev != head:
            faults.append(f"event {event.id}: does not follow its predecessor")
        head = event.hash
    if head != state.head:
        faults.append("its head is not its newest event")
    return faults
