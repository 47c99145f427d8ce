"""
Records of a kind one by one, read page by page.
"""

from __future__ import annotations

from collections.abc import Iterator

from backlog_store.backends.port import Reader
from backlog_store.model import Record, RecordKind

__all__ = ["each_record"]

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
