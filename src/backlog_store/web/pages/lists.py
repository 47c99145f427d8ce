"""
The list: a query, an order, counted facets, saved views; the address says all of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from backlog_store.backends.port import Reader
from backlog_store.errors import FAULTS_TOLD, InvalidInput, InvalidQuery
from backlog_store.query import ItemQuery, Where
from backlog_store.web.inputs import CONDITIONS, ListQuery, condition, cursor_of, list_query
from backlog_store.web.pages.facets import Count, Counting, within
from backlog_store.web.pages.render import page, standing
from backlog_store.web.routing import Ask, Param, Reply, Routes
from backlog_store.web.tables import csv_of

__all__ = ["routes"]

routes = Routes()

_LIST = (Param("q", "A query."), Param("sort", "An order."), Param("after", "Where the page before ended."))
Given = Mapping[str, Sequence[str]]


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

    def where_of(given: Given) -> Where:
        return within(ask.asker.scope, condition(given, now=now, me=ask.asker.name)[0])

    # Of a fault what was asked for is not known: rows and counts of something else would pass for the answer.
    nothing = {"items": [], "next": "", "count": Count({}), "facets": []}
    view = nothing if wrong else backlog.read(lambda reader: _seen(reader, asked, given, where_of))
    views = backlog.views()
    return page(ask, "list.html", live=live_behind, code=422 if wrong else 200, wrong=wrong, asked=asked, views=views,
                faults=wrong.faults[:FAULTS_TOLD] if wrong else (), q=ask.text("q"),
                caret=wrong.offset if isinstance(wrong, InvalidQuery) else -1,
                conditions=[(name, value) for name in CONDITIONS for value in ask.parameters.get(name, [])],
                sort=ask.text("sort"), is_later=bool(ask.text("after")), **view)  # fmt: skip


def _seen(reader: Reader, asked: ListQuery, given: Given, where_of: Callable[[Given], Where]) -> dict[str, Any]:
    query = ItemQuery(where=asked.where, order=asked.order, descending=asked.descending,  # type: ignore[arg-type]
                      limit=asked.limit + 1, after=asked.after)  # fmt: skip
    found = reader.search(query)
    items = found[: asked.limit]
    whole = items if len(found) == len(items) and asked.after is None else None

    def where_without(name: str) -> Where:
        # Without any word on the status live items are meant; the facet says what any word on it would give.
        anything = {"closed": ["true"]} if name == "status" else {}
        return where_of({key: values for key, values in given.items() if key != name} | anything)

    counting = Counting(reader)
    return {
        "items": items,
        "next": cursor_of(items[-1], asked.order) if len(found) > len(items) else "",
        "count": counting.count(where_of(given), are_many=True) if whole is None else Count({"": len(whole)}),
        "facets": counting.facets(where_without, given, whole),
    }


@routes.add("GET", "/items.csv", action="read", params=_LIST, gives="text/csv")
def items_csv(ask: Ask) -> Reply:
    """
    Give the whole list as CSV, page by page; no cell is taken for a formula.
    """
    return csv_of(
        ask, {name: values for name, values in ask.parameters.items() if name not in ("did", "batch", "after")}
    )
