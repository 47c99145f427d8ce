"""
The list: a query, an order, counted facets, saved views; the address says all of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from backlog_store.backends.port import Reader
from backlog_store.errors import InvalidInput, InvalidQuery
from backlog_store.model import PRIORITIES, STATUSES
from backlog_store.query import All, ItemQuery, Where, live
from backlog_store.web.inputs import CONDITIONS, ListQuery, cursor_of, list_query
from backlog_store.web.pages.render import page, standing
from backlog_store.web.routing import Ask, Param, Reply, Routes
from backlog_store.web.tables import csv_of

__all__ = ["routes"]

routes = Routes()

_FACETS = (("status", STATUSES), ("priority", PRIORITIES), ("service", ()), ("owner", ()), ("source", ()))
_SHOWN = 8
_LIST = (Param("q", "A query."), Param("sort", "An order."), Param("after", "Where the page before ended."))


@routes.add("GET", "/items", action="read", params=_LIST, gives="text/html")
def items_page(ask: Ask) -> Reply:
    """
    Show the list of items.
    """
    backlog, now, live_behind = ask.backlog, ask.site.backlog.clock(), standing(ask)
    wrong: InvalidInput | None = None
    given = {name: values for name, values in ask.parameters.items() if name not in ("did", "batch", "ids")}
    try:
        asked = list_query(given, now=now, me=ask.asker.name, page_max=200)
    except InvalidInput as error:
        wrong, asked = error, list_query({}, now=now, me=ask.asker.name, page_max=200)
    view = backlog.read(lambda reader: _seen(reader, asked))
    if wrong:  # what was asked for is not known: rows of something else would pass for the answer
        view |= {"items": [], "next": ""}
    views = backlog.views()
    return page(ask, "list.html", live=live_behind, code=422 if wrong else 200, wrong=wrong, asked=asked, views=views,
                q=ask.text("q"), caret=wrong.offset if isinstance(wrong, InvalidQuery) else -1,
                conditions=[(name, value) for name in CONDITIONS for value in ask.parameters.get(name, [])],
                sort=ask.text("sort"), is_later=bool(ask.text("after")), **view)  # fmt: skip


def _seen(reader: Reader, asked: ListQuery) -> dict[str, Any]:
    query = ItemQuery(where=asked.where, order=asked.order, descending=asked.descending,  # type: ignore[arg-type]
                      limit=asked.limit + 1, after=asked.after)  # fmt: skip
    found = reader.search(query)
    items = found[: asked.limit]
    return {
        "items": items,
        "next": cursor_of(items[-1], asked.order) if len(found) > len(items) else "",
        "facets": [_facet(reader, name, order) for name, order in _FACETS],
    }


def _facet(reader: Reader, name: str, order: Sequence[str]) -> tuple[str, list[tuple[str, int]]]:
    # Of all live items, not of the query: those are counted as they are written, so no list looks at all of them.
    where: Where = All(()) if name == "status" else live()
    counts = {values[0]: n for values, n in reader.tally(where, (name,)).items()}  # type: ignore[arg-type]
    names = [one for one in order if one in counts] or sorted(counts, key=lambda one: (-counts[one], one))
    return name, [(one, counts[one]) for one in names[:_SHOWN]]


@routes.add("GET", "/items.csv", action="read", params=_LIST, gives="text/csv")
def items_csv(ask: Ask) -> Reply:
    """
    Give the whole list as CSV, page by page; no cell is taken for a formula.
    """
    return csv_of(
        ask, {name: values for name, values in ask.parameters.items() if name not in ("did", "batch", "after")}
    )
