"""
All that a store holds, in one canonical form: what makes two stores equal.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import get_args

from backlog_store.backends.port import Backend, Reader
from backlog_store.codec import encode, encode_event, encode_item
from backlog_store.model import Record, RecordKind
from backlog_store.query import EventQuery, ItemQuery

__all__ = ["KINDS", "contents", "records_of"]

KINDS: tuple[RecordKind, ...] = get_args(RecordKind)
_PAGE = 1_000


def contents(backend: Backend) -> list[bytes]:
    """
    Return everything in *backend* as canonical lines: items by id, events in their order, records by kind and id.

    Positions belong to a backend and revisions of sightings to its way of counting, so neither is part of it.
    """
    return backend.read(lambda reader: list(_lines(reader)))


def records_of(reader: Reader, kind: RecordKind, prefix: str = "", *, page: int = _PAGE) -> Iterator[Record]:
    """
    Return every record of this kind whose id starts with *prefix*, read page by page.
    """
    after = ""
    while found := reader.scan(kind, prefix, after, page):
        yield from found
        after = found[-1].id


def _lines(reader: Reader) -> Iterator[bytes]:
    for item in reader.search(ItemQuery(order="id", limit=None)):
        yield b"item " + encode_item(item)
    for event in reader.events(EventQuery(limit=None)):
        yield b"event " + encode_event(event)
    for kind in KINDS:
        for record in records_of(reader, kind):
            body = record.body if kind == "sighting" else record
            yield b" ".join((b"record", kind.encode(), encode(record.id), encode(body)))
