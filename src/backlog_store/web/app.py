"""
The application: the tables of routes on Litestar.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import anyio
from litestar import Litestar, Request, Response
from litestar.config.compression import CompressionConfig
from litestar.enums import ScopeType
from litestar.handlers import HTTPRouteHandler
from litestar.response import Stream
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from backlog_store.clock import system_ids
from backlog_store.web.problems import HttpProblem, told
from backlog_store.web.routing import Ask, Reply, Route
from backlog_store.web.site import Site

__all__ = ["create_app"]

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}\Z")
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def create_app(site: Site, routes: Iterable[Route], *, threads: int = 16, **more: Any) -> Litestar:
    """
    Return the application of *site* with these *routes*. *threads* work at the same time; further requests wait.
    """
    limiter = anyio.CapacityLimiter(threads)
    methods: dict[str, set[str]] = {}
    routes = list(routes)
    for route in routes:
        methods.setdefault(route.path, set()).add(route.method)
    return Litestar(
        [*(_options(path, methods[path]) for path in methods), *(_handler(site, route, limiter) for route in routes)],
        exception_handlers={Exception: told},
        middleware=[_Identified],
        openapi_config=None,
        request_max_body_size=site.limits.body,
        compression_config=CompressionConfig(
            backend="gzip", minimum_size=1_024, gzip_compress_level=5, exclude=[r"^/api/v1/stream$"]
        ),
        **more,
    )


def _handler(site: Site, route: Route, limiter: anyio.CapacityLimiter) -> HTTPRouteHandler:
    async def answer(request: Request[Any, Any, Any]) -> Response[Any]:
        body = await _body(request) if route.method not in ("GET", "DELETE") else b""
        path = {name: str(value) for name, value in request.path_params.items()}

        def work() -> Reply:
            asker = site.sign_in(request) if route.action is not None else None
            if asker is not None:
                route.check(asker)
            return route.handler(Ask(site, request, asker, body, path))

        reply = await anyio.to_thread.run_sync(work, limiter=limiter)
        return _response(reply, limiter)

    answer.__name__ = route.name
    return HTTPRouteHandler(
        route.path, http_method=route.method, name=f"{route.method} {route.path}",  # type: ignore[arg-type]
        request_max_body_size=route.body_max or site.limits.body, status_code=200,
    )(answer)  # fmt: skip


def _options(path: str, methods: set[str]) -> HTTPRouteHandler:
    # The framework's own answer names the methods of one handler, and there is a handler a route.
    allow = ", ".join(sorted({*methods, "OPTIONS"}))

    async def answer() -> Response[None]:
        return Response(None, status_code=204, headers={**_HEADERS, "Allow": allow})

    return HTTPRouteHandler(path, http_method="OPTIONS", name=f"OPTIONS {path}", status_code=204)(answer)


async def _body(request: Request[Any, Any, Any]) -> bytes:
    if request.headers.get("content-encoding", "identity").lower() not in ("", "identity"):
        raise HttpProblem(415, "compressed bodies are not read", hint="Send it as it is.")
    return await request.body()


def _response(reply: Reply, limiter: anyio.CapacityLimiter) -> Response[Any]:
    headers = {**_HEADERS, **reply.headers}
    if reply.live is not None:
        return Stream(reply.live(), media_type=reply.media, status_code=reply.status, headers=headers)
    if reply.stream is not None:
        return Stream(_sent(reply.stream, limiter), media_type=reply.media, status_code=reply.status, headers=headers)
    return Response(reply.content(), media_type=reply.media, status_code=reply.status, headers=headers)


async def _sent(chunks: Iterator[bytes], limiter: anyio.CapacityLimiter) -> Any:
    while chunk := await anyio.to_thread.run_sync(next, chunks, b"", limiter=limiter):
        yield chunk


class _Identified:
    """
    Gives each request an id, the caller's own if it is a plain one, and says it in the response.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP:
            await self.app(scope, receive, send)
            return
        given = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"x-request-id"), "")
        own = given if _REQUEST_ID.match(given) else system_ids()[:16]
        scope.setdefault("state", {})["request_id"] = own

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"x-request-id", own.encode())]
            await send(message)

        await self.app(scope, receive, sending)


def all_routes(tables: Sequence[Sequence[Route]]) -> list[Route]:
    """
    Return the routes of several tables.
    """
    return [route for table in tables for route in table]
