"""
The pages: rendered on the server, every write a plain form, so that all of it works without JavaScript.
"""

from __future__ import annotations

from backlog_store.web.pages import (
    account,
    board,
    changes,
    items,
    lists,
    looking,
    news,
    people,
    plans,
    runs,
    signing_in,
    sources,
    static,
    tokens,
    triage,
    webhooks,
)
from backlog_store.web.routing import Route

__all__ = ["page_routes"]


def page_routes() -> list[Route]:
    """
    Return every route of the pages.
    """
    tables = (looking, news, triage, lists, items, board, sources, runs, plans, changes, people, tokens, webhooks,
              account, signing_in, static)  # fmt: skip
    return [route for table in tables for route in table.routes.routes]
