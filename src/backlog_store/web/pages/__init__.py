"""
The pages: rendered on the server, every write a plain form, so that all of it works without JavaScript.
"""

from __future__ import annotations

from backlog_store.web.pages import (
    board,
    changes,
    items,
    lists,
    looking,
    plans,
    runs,
    signing_in,
    sources,
    static,
    triage,
)
from backlog_store.web.routing import Route

__all__ = ["page_routes"]


def page_routes() -> list[Route]:
    """
    Return every route of the pages.
    """
    tables = (looking, triage, lists, items, board, sources, runs, plans, changes, signing_in, static)
    return [route for table in tables for route in table.routes.routes]
