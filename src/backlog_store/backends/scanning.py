"""
What readers of every backend are asked: all records of a kind, and where the log ends.
"""

from __future__ import annotations

from collections.abc import Iterator

from backlog_store.backends.port import Reader
from backlog_store.model import Record, RecordKind
from backlog_store.query import EventQuery

__all__ = ["each_record", "end_of_log", "within_log"]

_PAGE = 500


def each_record(reader: Reader, kind: RecordKind, prefix: str = "") -> Iterator[Record]:
    """
    Yield every record of one view whose id starts with *prefix*, in bytewise id order.
    """
    after = ""
    while True:
        page = reader.scan(kind, prefix, after, _PAGE)
        yield from page
        if len(page) < _PAGE:
            return
        after = page[-1].id


def end_of_log(reader: Reader) -> str:
    """
    Return the position of the newest event behind which nothing older can still come; empty where there is none.

    That is a place to go on from, and the newest event alone is not: an older one may be on its way (see `events`).
    """
    before, most = "", 2
    while True:
        page = reader.events(EventQuery(newest_first=True, after=before, limit=most))
        before = page[-1].position if len(page) == most else ""
        settled = reader.events(EventQuery(after=before, limit=len(page) + 1))
        if settled or not before:
            return settled[-1].position if settled else ""
        most *= 8


def within_log(reader: Reader, after: str) -> str:
    """
    Return where who stood at a position goes on: there, but at the end if that is beyond it.

    It is beyond the end if the store was set back since, to a backup say: who waited there would miss all up to it.
    Raises `InvalidInput` for what is no position.
    """
    reader.events(EventQuery(after=after, limit=0))  # which is refused, if it is none
    return min(after, end_of_log(reader))
