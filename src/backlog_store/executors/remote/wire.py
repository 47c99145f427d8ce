"""
What goes between a `RemoteExecutor` and the service: one command, or one question of the port, as JSON.

Both ends are here, so that they cannot differ: the client encodes a question and decodes its answer, the service
decodes the question, asks a `port.Reader` that is bound to who asks, and encodes what that said.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Literal

import msgspec
from msgspec import Raw, Struct, field

from backlog_store.backends.port import Reader
from backlog_store.codec import decode_event, decode_item, encode, encode_event, encode_item
from backlog_store.commands import Body
from backlog_store.errors import Fault, InvalidInput
from backlog_store.model import LIMITS, Event, Item, ItemId, Key, Record, RecordKind
from backlog_store.query import ANY, EventQuery, Facet, ItemQuery, Where, order_key

__all__ = ["CommandAsked", "PlanAsked", "Question", "WireReader", "answer"]

Method = Literal["items", "items_by_key", "search", "tally", "events", "records", "scan"]
_PAGE = 1_000


class CommandAsked(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """
    One command. Who asks comes from the credential; *source* reports as the machine of that name.
    """

    body: Body
    request_id: str = ""
    batch: str = ""
    expect: str = ""
    token: int = 0
    preview: bool = False
    source: str = ""


class PlanAsked(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    The token of a plan that the server keeps, and is to apply.
    """

    apply: str


class Question(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """
    One question of the port; only the members of its method count.
    """

    method: Method
    ids: tuple[str, ...] = ()
    keys: tuple[tuple[str, str], ...] = ()
    query: ItemQuery | None = None
    where: Where = ANY
    by: tuple[str, ...] = ()
    events: EventQuery | None = None
    kind: RecordKind = "view"
    prefix: str = ""
    after: str = ""
    limit: int = field(default=_PAGE)


class _Event(Struct, frozen=True, array_like=True):
    position: str
    event: Raw


def answer(reader: Reader, question: Question) -> bytes:
    """
    Return what *reader* says. Raises what it raises, and `InvalidInput` for a page beyond `LIMITS.page`.
    """
    sizes = [question.limit, len(question.ids), len(question.keys),
             *[asked.limit for asked in (question.query, question.events) if asked is not None]]  # fmt: skip
    if any(size is None or not 0 <= size <= LIMITS.page for size in sizes):
        raise InvalidInput([Fault("/limit", "", f"at most {LIMITS.page} at a time")], what="question")
    return encode(_ANSWERS[question.method](reader, question))


def _items(items: Collection[Item]) -> list[Raw]:
    return [Raw(encode_item(item)) for item in items]


_ANSWERS: Mapping[str, Callable[[Reader, Question], Any]] = {
    "items": lambda reader, asked: _items(reader.items(asked.ids).values()),
    "items_by_key": lambda reader, asked: _items(reader.items_by_key(asked.keys).values()),
    "search": lambda reader, asked: _items(reader.search(asked.query or ItemQuery())),
    "tally": lambda reader, asked: [[*values, n] for values, n in reader.tally(asked.where, asked.by).items()],  # type: ignore[arg-type]
    "events": lambda reader, asked: [
        _Event(event.position, Raw(encode_event(event))) for event in reader.events(asked.events or EventQuery())
    ],
    "records": lambda reader, asked: list(reader.records(asked.kind, asked.ids).values()),
    "scan": lambda reader, asked: reader.scan(asked.kind, asked.prefix, asked.after, asked.limit),
}

_raws = msgspec.json.Decoder(list[Raw])
_tallies = msgspec.json.Decoder(list[list[str | int]])
_events = msgspec.json.Decoder(list[_Event])
_records = msgspec.json.Decoder(list[Record])


class WireReader:
    """
    A `port.Reader` that asks through *send*, one exchange a question.

    Each question sees what is stored when it is asked: several of them are no one view.
    """

    def __init__(self, send: Callable[[bytes], bytes]) -> None:
        self._send = send

    def items(self, ids: Collection[ItemId]) -> Mapping[ItemId, Item]:
        """
        Return the items of these ids.
        """
        return {item.id: item for part in _parts(tuple(ids)) for item in self._ask_items(method="items", ids=part)}

    def items_by_key(self, keys: Collection[Key]) -> Mapping[Key, Item]:
        """
        Return the items that hold these keys now.
        """
        return {
            (item.env, item.dedupe_key): item
            for part in _parts(tuple(keys))
            for item in self._ask_items(method="items_by_key", keys=part)
        }

    def search(self, query: ItemQuery) -> Sequence[Item]:
        """
        Return a page of items; one without a limit is read by pages.
        """
        if query.limit is not None and query.limit <= LIMITS.page:
            return self._ask_items(method="search", query=query)
        found: list[Item] = []
        while query.limit is None or len(found) < query.limit:
            size = _PAGE if query.limit is None else min(_PAGE, query.limit - len(found))
            page = self._ask_items(method="search", query=msgspec.structs.replace(query, limit=size))
            found += page
            if len(page) < size:
                break
            query = msgspec.structs.replace(query, after=order_key(page[-1], query.order), offset=0)
        return found

    def tally(self, where: Where, by: Sequence[Facet]) -> Mapping[tuple[str, ...], int]:
        """
        Count items by facets.
        """
        rows = _tallies.decode(self._ask(method="tally", where=where, by=tuple(by)))
        return {tuple(str(value) for value in row[:-1]): int(row[-1]) for row in rows}

    def events(self, query: EventQuery) -> Sequence[Event]:
        """
        Return events; without a limit they are read by pages.
        """
        found: list[Event] = []
        while query.limit is None or len(found) < query.limit:
            size = _PAGE if query.limit is None else min(_PAGE, query.limit - len(found))
            data = self._ask(method="events", events=msgspec.structs.replace(query, limit=size))
            page = [decode_event(bytes(one.event), position=one.position) for one in _events.decode(data)]
            found += page
            if len(page) < size:
                break
            query = msgspec.structs.replace(query, after=page[-1].position)
        return found

    def records(self, kind: RecordKind, ids: Collection[str]) -> Mapping[str, Record]:
        """
        Return the records of these ids.
        """
        return {
            record.id: record
            for part in _parts(tuple(ids))
            for record in _records.decode(self._ask(method="records", kind=kind, ids=part))
        }

    def scan(self, kind: RecordKind, prefix: str, after: str, limit: int) -> Sequence[Record]:
        """
        Return records in the order of their ids.
        """
        return _records.decode(self._ask(method="scan", kind=kind, prefix=prefix, after=after, limit=limit))

    def _ask_items(self, **asked: Any) -> list[Item]:
        return [decode_item(bytes(one)) for one in _raws.decode(self._ask(**asked))]

    def _ask(self, **asked: Any) -> bytes:
        return self._send(encode(Question(**asked)))


def _parts(names: tuple[Any, ...]) -> list[tuple[Any, ...]]:
    return [names[start : start + _PAGE] for start in range(0, len(names), _PAGE)]
