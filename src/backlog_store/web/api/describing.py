"""
The API's own description, for programs and for people.
"""

from __future__ import annotations

from backlog_store.web.openapi import description
from backlog_store.web.routing import Ask, Reply, Routes

__all__ = ["routes"]

routes = Routes()


@routes.add("GET", "/api/v1/openapi.json", action=None, answers={200: dict})
def openapi(ask: Ask) -> Reply:  # noqa: ARG001  (the same for all)
    """
    Describe the API as OpenAPI 3.1.
    """
    from backlog_store.web.api import api_routes  # which holds this one, too

    return Reply(data=description(api_routes(), "/api/v1"))


@routes.add("GET", "/api", action=None, gives="text/html")
def reference(ask: Ask) -> Reply:
    """
    Show the reference of the API: every operation, its parameters, bodies and answers.
    """
    from backlog_store.web.api import api_routes
    from backlog_store.web.pages.render import plain_page

    del ask
    return plain_page("reference.html", api=description(api_routes(), "/api/v1"))
