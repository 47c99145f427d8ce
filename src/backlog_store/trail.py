"""
The trail of an item: events that rebuild it, chained by hashes.

Each event holds the hash of its predecessor, the item the newest one (`head`). The canonical JSON of an event falls in
two: the circumstances (which item, who, when, why, the hash before), and from `salt` on the content, which may hold
people's words. The hash covers the content through a digest of its own, so that words can be erased later: the digest
stays, the chain and the circumstances still verify, and the salt, erased with them, prevents guessing them. What stays
of that event's content is said anew by the event that records the erasure.

    leaf = BLAKE2b(content)
    hash = first 128 bits of BLAKE2b(circumstances | leaf)

A *baseline* is an event that names every field as a creation does, though nothing changed. An item can be rebuilt from
it alone, so what stands before it may be forgotten; what is left of that still has its hashes and links.

Bytes are hashed that are stored anyway: an event is encoded once. BLAKE2b without parameters: of the hashes that Python
brings it costs the least, also after a wait for the disk.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import compress
from operator import is_not
from typing import Any

import msgspec
from msgspec.structs import astuple, replace

from backlog_store.codec import encode, encode_event, keep_form, to_builtins
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
    "is_baseline",
    "plain_fields",
    "rebuild",
    "sealed",
]

#: Item fields that events explain; `revision` and `head` follow from the events themselves.
_UNTRACKED = frozenset({"id", "revision", "head"})
_FIELDS: tuple[str, ...] = Item.__struct_fields__
TRACKED: tuple[str, ...] = tuple(name for name in _FIELDS if name not in _UNTRACKED)
_STRUCTURED = frozenset({"claims", "claims_under", "tags"})
_HASH_BYTES = 16


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
    if old is None:
        fields: dict[str, Any] = msgspec.to_builtins(new)
        del fields["id"], fields["revision"]
        fields.pop("head", None)
        if new.updated_at == ts:
            del fields["updated_at"]
        return {name: (None, value) for name, value in fields.items()}
    before, after = astuple(old), astuple(new)
    changes: dict[str, tuple[Any, Any]] = {}
    # What a change leaves alone is the very same object: few fields are looked at.
    for name, was, now in compress(zip(_FIELDS, before, after, strict=True), map(is_not, before, after)):
        if was != now and name not in _UNTRACKED:
            changes[name] = (_plain(name, was), _plain(name, now))
    if changes and changes.keys() != {"updated_at"}:
        if new.updated_at == ts:
            changes.pop("updated_at", None)
        else:
            changes["updated_at"] = (old.updated_at, new.updated_at)
    return changes


def event_hash(event: Event) -> str:
    """
    Return the hash of an event over its content and `prev`, in hexadecimal.
    """
    bare = replace(event, hash="", extra={}, position="")
    return _hash(encode_event(bare), encode(event.extra) if event.extra else b"")


def sealed(event: Event) -> Event:
    """
    Return *event* with its hash; one that is new holds its canonical JSON from here on.
    """
    if event.extra or event.hash or event.position:
        return replace(event, hash=event_hash(event))
    form = encode_event(event)
    hash = _hash(form, b"")
    event = replace(event, hash=hash)
    # The hash is the last member.
    keep_form(event, b'%s,"hash":"%s"}' % (form[:-1], hash.encode()))
    return event


def _hash(form: bytes, extra: bytes) -> str:
    # No text holds these bytes, for JSON escapes its quotes.
    circumstances, salt, content = form.partition(b',"salt":')
    leaf = blake2b(salt + content + extra).digest()
    return blake2b(circumstances + leaf).digest()[:_HASH_BYTES].hex()


def is_baseline(event: Event) -> bool:
    """
    Tell whether the item can be rebuilt from this event on. One that a caller added is none, whatever its type.
    """
    return event.type == "baseline" and not event.added


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
        if is_baseline(event) or (event.type == "purged" and not event.added):
            fields.clear()
        apply_changes(fields, event)
        last = event
    if last is None or not fields:
        raise ValueError("no events")
    return msgspec.convert({**fields, "id": last.item_id, "revision": last.revision, "head": last.hash}, Item)


def faults_of_trail(item: Item, events: Sequence[Event]) -> list[str]:
    """
    Return what is wrong with an item's trail: a gap, a broken link, a changed byte, a field that events do not explain.

    The trail of an item that came back after a purge begins with the event of that purge. A trail that has forgotten
    its beginning holds a baseline; what stands before a baseline, if it can be rebuilt, must come to the same.
    """
    if not events:
        return ["no events"]
    faults: list[str] = []
    prev = events[0].prev
    is_whole = not prev or (events[0].type == "purged" and not events[0].added)
    if not is_whole and not any(map(is_baseline, events)):
        faults.append(f"event {events[0].id}: the trail begins behind an unknown event")
    for number, event in enumerate(events):
        if number and event.revision != events[number - 1].revision + 1:
            faults.append(f"event {event.id}: revision {event.revision} follows {events[number - 1].revision}")
        if event.prev != prev:
            faults.append(f"event {event.id}: does not follow its predecessor")
        if event_hash(event) != event.hash:
            faults.append(f"event {event.id}: was changed after it was written")
        prev = event.hash
        if number and is_whole and is_baseline(event) and not _explains(events[: number + 1]):
            faults.append(f"event {event.id}: tells other fields than the events before it")
        is_whole = is_whole or is_baseline(event)
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


def _explains(events: Sequence[Event]) -> bool:
    """
    Tell whether the last event, a baseline, names the fields that those before it come to.
    """
    *before, baseline = events
    if before[-1].type == "purged" or not baseline.changes:
        return not baseline.changes  # of a key that no item holds: there are no fields
    try:
        then, now = rebuild(before), rebuild([baseline])
    except (ValueError, msgspec.ValidationError):
        return False
    return then == replace(now, revision=then.revision, head=then.head)


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
        if event_hash(event) != event.hash:
            faults.append(f"event {event.id}: was changed after it was written")
        if head and event.prev != head:
            faults.append(f"event {event.id}: does not follow its predecessor")
        head = event.hash
    if head != newest:
        faults.append("its head is not its newest event")
    return faults
