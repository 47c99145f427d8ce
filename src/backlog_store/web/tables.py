"""
Items as CSV, page by page as they are sent; no cell is taken for a formula.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence

from backlog_store.backlog import Backlog
from backlog_store.instants import Instant
from backlog_store.query import ItemQuery, order_key
from backlog_store.shown import csv_cell, field
from backlog_store.web.inputs import ListQuery

__all__ = ["COLUMNS", "csv_of"]

#: What a table has, unless fields are named.
COLUMNS = ("id", "priority", "effective_status", "due_date", "owner", "service", "category", "source", "title",
           "dedupe_key", "tags", "created_at", "updated_at")  # fmt: skip
_PAGE = 1_000


def csv_of(backlog: Backlog, asked: ListQuery, now: Instant) -> Iterator[bytes]:
    """
    Yield all that the query finds, the names of the columns first. Each page is read as it is asked for.
    """
    names = asked.fields or COLUMNS
    yield _line(names)
    after = asked.after
    while True:
        query = ItemQuery(where=asked.where, order=asked.order, descending=asked.descending,  # type: ignore[arg-type]
                          limit=_PAGE, after=after)  # fmt: skip
        items = backlog.read(lambda reader, query=query: reader.search(query))  # type: ignore[misc]
        if items:
            yield b"".join(_line([csv_cell(field(item, name, now)) for name in names]) for item in items)
        if len(items) < _PAGE:
            return
        after = order_key(items[-1], asked.order)


def _line(cells: Sequence[str]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerow(cells)
    return text.getvalue().encode()
