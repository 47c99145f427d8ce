"""
The HTTP API, version 1: one module a subject, each with its table of routes.
"""

from __future__ import annotations

from backlog_store.web.api import (
    batches,
    describing,
    exporting,
    items,
    looking,
    operating,
    people,
    plans,
    remote,
    reports,
    runs,
    stream,
    tokens,
    webhooks,
)
from backlog_store.web.routing import Route

__all__ = ["api_routes"]


def api_routes() -> list[Route]:
    """
    Return every route of the API.
    """
    return [
        *items.routes.routes,
        *exporting.routes.routes,
        *batches.routes.routes,
        *reports.routes.routes,
        *runs.routes.routes,
        *plans.routes.routes,
        *looking.routes.routes,
        *people.routes.routes,
        *tokens.routes.routes,
        *webhooks.routes.routes,
        *remote.routes.routes,
        *stream.routes.routes,
        *describing.routes.routes,
        *operating.routes.routes,
    ]
