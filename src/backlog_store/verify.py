"""
Proof that a store is whole: the events rebuild every item, and each trail's chain of hashes holds.
"""

from __future__ import annotations

from msgspec import Struct

from backlog_store.backends.port import Reader
from backlog_store.codec import from_builtins
from backlog_store.model import Event, KeyState
from backlog_store.query import EventQuery, ItemQuery, order_key
from backlog_store.trail import faults_of_key_trail, faults_of_trail

__all__ = ["Verified", "verify"]

_PAGE = 500


class Verified(Struct, kw_only=True):
    """
    What was looked at, and what is wrong: each fault names its item. No faults: the store is whole.
    """

    items: int = 0
    events: int = 0
    keys: int = 0
    faults: list[str] = []


def verify(reader: Reader) -> Verified:
    """
    Rebuild every item from its events, check every chain, and that each key's record names what is there.
    """
    result = Verified(faults=[])
    after = None
    while items := reader.search(ItemQuery(order="id", limit=_PAGE, after=after)):
        after = order_key(items[-1], "id")
        trails: dict[str, list[Event]] = {item.id: [] for item in items}
        for event in reader.events(EventQuery(item_ids=tuple(trails), limit=None)):
            trails[event.item_id].append(event)
        for item in items:
            trail = sorted(trails[item.id], key=lambda event: event.revision)
            result.items += 1
            result.events += len(trail)
            result.faults += [f"{item.id}: {fault}" for fault in faults_of_trail(item, trail)]
    _verify_keys(reader, result)
    return result


def _verify_keys(reader: Reader, result: Verified) -> None:
    after = ""
    while records := reader.scan("key", "", after, _PAGE):
        after = records[-1].id
        for record in records:
            result.keys += 1
            state = from_builtins(record.body, KeyState)
            env, dedupe_key = record.id.split("/", 1)
            if state.alias_of:
                continue
            holder = reader.items_by_key([(env, dedupe_key)]).get((env, dedupe_key))
            if state.purged_at:
                events = reader.events(EventQuery(item_ids=(state.item_id,), limit=None))
                result.events += len(events)
                result.faults += [f"{record.id}: {fault}" for fault in faults_of_key_trail(state, events)]
                if holder is not None:
                    result.faults.append(f"{record.id}: is said to be purged, but {holder.id} holds it")
            elif holder is not None and state.item_id and holder.id != state.item_id:
                result.faults.append(f"{record.id}: names {state.item_id}, but {holder.id} holds it")
