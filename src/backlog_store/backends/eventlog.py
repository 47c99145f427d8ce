"""
Events in memory: canonical bytes in the order of their positions.

A position is the number of the event in the store's life, as decimal text of one width, so that the order of the texts
is the order of the commits. Numbers of purged events are never given again.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence

import msgspec

from backlog_store import codec
from backlog_store.backends.positions import number_of, position_text
from backlog_store.instants import Instant
from backlog_store.model import Event, ItemId
from backlog_store.query import EventQuery, check_events

__all__ = ["EventLog"]


class _Facts(msgspec.Struct, frozen=True, gc=False):
    """
    The fields of an event that queries name, decoded alone.
    """

    item_id: str
    ts: Instant
    type: str
    actor: str
    added: bool = False
    batch: str = ""


class _Revision(msgspec.Struct, frozen=True, gc=False):
    revision: int


_decode_facts = msgspec.json.Decoder(_Facts).decode
_decode_revision = msgspec.json.Decoder(_Revision).decode


class EventLog:
    """
    All events. Which ones an item has is found out when it is first asked, and followed from then on.
    """

    def __init__(self) -> None:
        self.next = 1
        self._raw: dict[int, bytes] = {}
        self._order: list[int] = []  # ascending; may name events that were purged since
        self._of_item: dict[ItemId, tuple[int, ...]] | None = None

    def __len__(self) -> int:
        return len(self._raw)

    def __iter__(self) -> Iterator[tuple[int, bytes]]:
        """
        Yield number and bytes of each event, in order.
        """
        return ((number, self._raw[number]) for number in self._order if number in self._raw)

    def append(self, raw: bytes) -> None:
        """
        Add an event behind all others.
        """
        number = self.next
        self._raw[number] = raw
        self._order.append(number)
        self.next = number + 1
        if self._of_item is not None:
            item_id = _decode_facts(raw).item_id
            self._of_item[item_id] = (*self._of_item.get(item_id, ()), number)

    def take_back(self) -> int:
        """
        Undo the last `append`; return the bytes freed.
        """
        self.next = self._order.pop()
        raw = self._raw.pop(self.next)
        if self._of_item is not None:
            item_id = _decode_facts(raw).item_id
            self._of_item[item_id] = self._of_item[item_id][:-1]
        return len(raw)

    def remove(self, item_id: ItemId, below: int | None = None) -> dict[int, bytes]:
        """
        Remove the events of an item, or only those of a revision *below* this one, and return them by number.
        """
        own = self._by_item().pop(item_id, ())
        gone = own
        if below is not None:
            gone = tuple(number for number in own if _decode_revision(self._raw[number]).revision < below)
            if len(gone) < len(own):
                dropped = frozenset(gone)
                self._by_item()[item_id] = tuple(number for number in own if number not in dropped)
        return {number: self._raw.pop(number) for number in gone}

    def put_back(self, item_id: ItemId, removed: dict[int, bytes]) -> None:
        """
        Undo a `remove`.
        """
        self._raw.update(removed)
        if removed:
            self._by_item()[item_id] = tuple(sorted((*self._by_item().get(item_id, ()), *removed)))

    def tidy(self) -> None:
        """
        Forget the places of purged events where they outnumber the others. Not while a `remove` may be undone.
        """
        if len(self._order) > 2 * len(self._raw) + 1_000:
            self._order = [number for number in self._order if number in self._raw]

    def select(self, query: EventQuery) -> list[Event]:
        """
        Return the events that *query* asks for, in its order. Raises `InvalidInput` for an impossible query.
        """
        check_events(query)
        after = number_of(query.after) if query.after else None
        if query.limit == 0:
            return []
        found: list[Event] = []
        test = _test(query)
        for number in _from(self._candidates(query), after, newest_first=query.newest_first):
            raw = self._raw.get(number)
            if raw is not None and test(raw):
                found.append(codec.decode_event(raw, position=position_text(number)))
                if len(found) == query.limit:
                    break
        return found

    def _candidates(self, query: EventQuery) -> Sequence[int]:
        if query.item_ids is None:
            return self._order
        of_item = self._by_item()
        return sorted(number for item_id in set(query.item_ids) for number in of_item.get(item_id, ()))

    def _by_item(self) -> dict[ItemId, tuple[int, ...]]:
        if self._of_item is None:
            of_item: dict[ItemId, tuple[int, ...]] = {}
            for number, raw in self:
                item_id = _decode_facts(raw).item_id
                of_item[item_id] = (*of_item.get(item_id, ()), number)
            self._of_item = of_item
        return self._of_item


def _from(numbers: Sequence[int], after: int | None, *, newest_first: bool) -> Iterable[int]:
    if newest_first:
        stop = len(numbers) if after is None else bisect_left(numbers, after)
        return (numbers[at] for at in range(stop - 1, -1, -1))
    start = 0 if after is None else bisect_right(numbers, after)
    return (numbers[at] for at in range(start, len(numbers)))


def _test(query: EventQuery) -> Callable[[bytes], bool]:
    """
    Return the test of an event's bytes for everything but its item.
    """
    conditions = (query.types, query.actors, query.batch, query.added)
    if conditions == (None,) * 4 and not query.since and not query.until:
        return lambda _: True
    types = None if query.types is None else frozenset(query.types)
    actors = None if query.actors is None else frozenset(query.actors)
    # Canonical bytes hold the batch in exactly this form: most events are refused without being decoded.
    needle = b'"batch":' + codec.encode(query.batch) if query.batch else b""

    def test(raw: bytes) -> bool:
        if needle not in raw:
            return False
        facts = _decode_facts(raw)
        return (
            (types is None or facts.type in types)
            and (actors is None or facts.actor in actors)
            and (query.batch is None or facts.batch == query.batch)
            and (query.added is None or facts.added == query.added)
            and (not query.since or facts.ts >= query.since)
            and (not query.until or facts.ts < query.until)
        )

    return test
