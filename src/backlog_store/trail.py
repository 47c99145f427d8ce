"""
The trail of an item: events that rebuild it, chained by hashes.

Each event holds the hash of its predecessor, the item the newest one (`head`). The hash covers the public fields of
the event as they are, and every field that can hold people's words through a salted digest: such a text can be erased
later, its digest kept, and the chain still verifies, while the salt (dropped with the text) prevents guessing it.

    keys     = BLAKE2b(event salt | "0") | BLAKE2b(event salt | "1") | …: 16 bytes for each private field of the event
    leaf(i)  = BLAKE2b(key(i) | value as JSON)
    hash     = first 128 bits of BLAKE2b([previous hash, public fields, names of the private ones] as JSON | leaf | …)

BLAKE2b without parameters: of the hashes that Python brings it costs the least, also after a wait for the disk.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import compress
from operator import is_not
from typing import Any

import msgspec
from msgspec.structs import astuple, replace

from backlog_store.codec import encode, to_builtins
from backlog_store.digests import blake2b
from backlog_store.model import Event, Item, KeyState

__all__ = [
    "TRACKED",
    "apply_changes",
    "difference",
    "event_hash",
    "faults_of_chain",
    "faults_of_key_trail",
    "faults_of_trail",
    "plain_fields",
    "rebuild",
    "sealed",
]

#: Item fields that events explain; `revision` and `head` follow from the events themselves.
_UNTRACKED = frozenset({"id", "revision", "head"})
_FIELDS: tuple[str, ...] = Item.__struct_fields__
TRACKED: tuple[str, ...] = tuple(name for name in _FIELDS if name not in _UNTRACKED)
#: Fields whose values may hold people's words or secrets; they enter the hash as salted digests.
PRIVATE: frozenset[str] = frozenset(
    {
        "title", "description", "owner", "evidence_refs", "meta", "key_inputs", "tags", "held", "closed_by", "approver",
        "extra",
    }
)  # fmt: skip
_STRUCTURED = frozenset({"claims", "tags"})
_KEY_SIZE = 16
_KEYS_A_BLOCK = 4  # BLAKE2b gives 64 bytes
_HEX_DIGITS = 32


def plain_fields(item: Item | None) -> dict[str, Any]:
    """
    Return the tracked fields of *item* as plain JSON data (none for ``None``).
    """
    if item is None:
        return {}
    return {name: _plain(name, getattr(item, name)) for name in TRACKED}


def _plain(name: str, value: Any) -> Any:
    return to_builtins(value) if name in _STRUCTURED else value


def difference(old: Item | None, new: Item, ts: str) -> dict[str, tuple[Any, Any]]:
    """
    Return each field that differs, with its old and new value. For a new item: each that is not empty.

    `updated_at` is named just where a change did not set it to *ts*, the event's own instant: `rebuild` relies on it.
    """
    changes: dict[str, tuple[Any, Any]]
    if old is None:
        fields: dict[str, Any] = msgspec.to_builtins(new)
        changes = {name: (None, value) for name, value in fields.items() if name not in _UNTRACKED}
    else:
        before, after = astuple(old), astuple(new)
        changes = {}
        # What a change leaves alone is the very same object: few fields are looked at.
        for name, was, now in compress(zip(_FIELDS, before, after, strict=True), map(is_not, before, after)):
            if was != now and name not in _UNTRACKED:
                changes[name] = (_plain(name, was), _plain(name, now))
    if changes and changes.keys() != {"updated_at"}:
        if new.updated_at == ts:
            changes.pop("updated_at", None)
        elif old is not None:
            changes["updated_at"] = (old.updated_at, new.updated_at)
    return changes


def event_hash(event: Event) -> str:
    """
    Return the hash of an event over its content and `prev`, in hexadecimal.
    """
    public: dict[str, Any] = dict(event.changes)
    names = sorted(PRIVATE.intersection(public))
    private = [public.pop(name) for name in names]
    if event.message:
        names.append("message")
        private.append(event.message)
    if event.meta:
        names.append("event_meta")
        private.append(event.meta)
    if event.extra:
        names.append("event_extra")
        private.append(event.extra)
    head = encode((
        event.prev, event.id, event.item_id, event.revision, event.ts, event.type, event.actor, event.actor_kind,
        event.added, event.batch, event.request, event.policy, public, names,
    ))  # fmt: skip
    parts = [head]
    keys = b""
    for number, value in enumerate(private):
        block, place = divmod(number, _KEYS_A_BLOCK)
        if not place:
            keys = blake2b(f"{event.salt}{block}".encode()).digest()
        at = place * _KEY_SIZE
        parts.append(blake2b(keys[at : at + _KEY_SIZE] + encode(value)).digest())
    return blake2b(b"".join(parts)).hexdigest()[:_HEX_DIGITS]


def sealed(event: Event) -> Event:
    """
    Return *event* with its hash; a salt stays only where there are words to guess.
    """
    if event.salt and not _has_private(event):
        event = replace(event, salt="")
    return replace(event, hash=event_hash(event))


def _has_private(event: Event) -> bool:
    return bool(event.message or event.meta or event.extra or not PRIVATE.isdisjoint(event.changes))


def _was_changed(event: Event) -> bool:
    # A salt that no leaf is made with is in no hash: it may not be there.
    return event_hash(event) != event.hash or (event.salt != "" and not _has_private(event))


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
        if _was_changed(event):
            faults.append(f"event {event.id}: was changed after it was written")
        prev = event.hash
    if item.head != prev:
        faults.append("the item's head is not its newest event")
    try:
        rebuilt = rebuild(events)
    except (ValueError, msgspec.ValidationError) as error:
        return [*faults, f"the events do not make an item: {error}"]
    if rebuilt != item:
        wrong = [name for name in _FIELDS if getattr(rebuilt, name) != getattr(item, name)]
        faults.append(f"the events do not explain: {', '.join(wrong)}")
    return faults


def faults_of_key_trail(state: KeyState, events: Iterable[Event]) -> list[str]:
    """
    Return what is wrong with the events that explain a purged key: a changed byte, a broken link, another head.
    """
    return faults_of_chain(state.head, events)


def faults_of_chain(newest: str, events: Iterable[Event]) -> list[str]:
    """
    Return what is wrong with events that end in the hash *newest*: a changed byte, a broken link, another head.
    """
    faults: list[str] = []
    head = ""
    for event in sorted(events, key=lambda event: event.revision):
        if _was_changed(event):
            faults.append(f"event {event.id}: was changed after it was written")
        if head and event.prev != head:
            faults.append(f"event {event.id}: does not follow its predecessor")
        head = event.hash
    if head != newest:
        faults.append("its head is not its newest event")
    return faults
