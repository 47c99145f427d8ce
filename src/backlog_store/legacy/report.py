"""
What is told about old rows: kept in the store, so that it can be read at any time after.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct

from backlog_store.backends.port import Change, DropRecord, PutRecord, Reader, Writer
from backlog_store.backends.scanning import each_record
from backlog_store.codec import from_builtins, to_builtins
from backlog_store.model import LEGACY_NOTES, Record

__all__ = ["Note", "notes", "write_notes", "write_record"]

_PAGE = 500


class Note(Struct, frozen=True, omit_defaults=True):
    """
    One thing to tell: about which old file or table, which place or row in it, and what.
    """

    source: str
    where: str
    text: str

    def __str__(self) -> str:
        return f"{self.source}, {self.where}: {self.text}"


def notes(reader: Reader) -> Iterator[Note]:
    """
    Yield all that is to tell, by source and place.
    """
    for record in each_record(reader, "store", LEGACY_NOTES):
        yield from (from_builtins(note, Note) for note in record.body["notes"])


def write_notes(writer: Writer, told: Mapping[str, Sequence[Note]]) -> None:
    """
    Keep what is to tell about each place, instead of what was told about it before; an empty list forgets.

    A place is a text in whose order the notes are read.
    """
    ids = [f"{LEGACY_NOTES}{place}" for place in told]
    before = writer.records("store", ids)
    changes: list[Change] = []
    for id, listed in zip(ids, told.values(), strict=True):
        known = before.get(id)
        body = {"notes": to_builtins(list(listed))}
        if listed and (known is None or known.body != body):
            revision = known.revision + 1 if known else 1
            changes.append(PutRecord(Record(kind="store", id=id, revision=revision, body=body)))
        elif not listed and known is not None:
            changes.append(DropRecord("store", id, known.revision))
    if changes:
        writer.apply(changes)


def write_record(writer: Writer, id: str, body: Mapping[str, Any]) -> None:
    """
    Keep how far something was taken in.
    """
    known = writer.records("store", [id]).get(id)
    revision = known.revision + 1 if known else 1
    writer.apply([PutRecord(Record(kind="store", id=id, revision=revision, body=dict(body)))])


def in_pages(told: Mapping[str, Sequence[Note]]) -> Iterable[dict[str, Sequence[Note]]]:
    """
    Cut what is to tell into parts that fit into one transaction each.
    """
    places = list(told)
    for start in range(0, len(places), _PAGE):
        yield {place: told[place] for place in places[start : start + _PAGE]}
