"""
Items as CSV, page by page as they are sent; no cell is taken for a formula.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence

from backlog_store.backlog import Backlog
from backlog_store.instants import Instant
from backlog_store.model import Item
from backlog_store.query import OrderKey, order_key
from backlog_store.shown import csv_cell, field
from backlog_store.web.inputs import ListQuery, list_query
from backlog_store.web.routing import Ask, Reply

__all__ = ["COLUMNS", "csv_of"]

#: What a table has, unless fields are named.
COLUMNS = ("id", "priority", "effective_status", "due_date", "owner", "service", "category", "source", "title",
           "dedupe_key", "tags", "created_at", "updated_at")  # fmt: skip
_PAGE = 1_000


def csv_of(ask: Ask, parameters: Mapping[str, Sequence[str]]) -> Reply:
    """
    Answer with all that a query finds, the names of the columns first, page by page as they are sent.

    The first page is read now: a fault of the query must be told before an answer begins. Raises `InvalidInput`.
    """
    backlog, now = ask.backlog, ask.site.backlog.clock()
    asked = list_query(parameters, now=now, me=ask.asker.name, page_max=ask.site.limits.page)
    rows = _rows(backlog, asked, now, _page(backlog, asked, asked.after))
    headers = {"Content-Disposition": 'attachment; filename="backlog.csv"'}
    return Reply(stream=rows, media="text/csv", headers=headers)


def _rows(backlog: Backlog, asked: ListQuery, now: Instant, items: Sequence[Item]) -> Iterator[bytes]:
    names = asked.fields or COLUMNS
    yield _line(names)
    while items:
        yield b"".join(_line([csv_cell(field(item, name, now)) for name in names]) for item in items)
        if len(items) < _PAGE:
            return
        items = _page(backlog, asked, order_key(items[-1], asked.order))


def _page(backlog: Backlog, asked: ListQuery, after: OrderKey | None) -> Sequence[Item]:
    return backlog.search(asked.where, order=asked.order, descending=asked.descending, limit=_PAGE, after=after)


def _line(cells: Sequence[str]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerow(cells)
    return text.getvalue().encode()
