"""
The board: a column a status, the most urgent first. Cards are dragged, moved by keyboard, or by their menu.
"""

from __future__ import annotations

from typing import Any

from backlog_store.backends.port import Reader
from backlog_store.query import All, In, ItemQuery, Where
from backlog_store.rules.policies import policy_in_force
from backlog_store.web.inputs import list_query
from backlog_store.web.pages.facets import Count, Counting, within
from backlog_store.web.pages.render import page, standing
from backlog_store.web.routing import Ask, Param, Reply, Routes

__all__ = ["routes"]

routes = Routes()

COLUMNS = ("open", "in_progress", "blocked")
_CARDS = 50


@routes.add("GET", "/board", action="read", params=(Param("q", "A query."),), gives="text/html")
def board_page(ask: Ask) -> Reply:
    """
    Show live items by status.
    """
    live, now = standing(ask), ask.site.backlog.clock()
    given = {name: values for name, values in ask.parameters.items() if name in ("q", "service", "owner", "env")}
    asked = list_query(given, now=now, me=ask.asker.name, page_max=200)
    policy = ask.backlog.read(policy_in_force)
    where = within(ask.asker.scope, asked.where)
    columns = ask.backlog.read(lambda reader: _columns(reader, where))
    return page(ask, "board.html", live=live, columns=columns, transitions=policy.transitions, q=ask.text("q"))


def _columns(reader: Reader, where: Where) -> list[dict[str, Any]]:
    counting = Counting(reader)
    return [_column(reader, counting, where, name) for name in COLUMNS]


def _column(reader: Reader, counting: Counting, where: Where, status: str) -> dict[str, Any]:
    own = All((where, In("status", (status,))))
    items = reader.search(ItemQuery(where=own, order="priority", limit=_CARDS))
    counted = Count({"": len(items)}) if len(items) < _CARDS else counting.count(own, are_many=True)
    return {"status": status, "items": items, "total": counted.total, "exact": counted.exact}
