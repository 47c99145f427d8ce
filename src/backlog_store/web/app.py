"""
The application: the tables of routes on Litestar.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator, Sequence
from contextlib import aclosing
from typing import Any, BinaryIO
from urllib.parse import unquote

import anyio
from anyio.to_thread import run_sync
from litestar import Litestar, Request, Response
from litestar.config.compression import CompressionConfig
from litestar.handlers import HTTPRouteHandler
from litestar.response import Stream
from litestar.types import Receive, Scope, Send

from backlog_store.web.inputs import refuse
from backlog_store.web.observing import observe
from backlog_store.web.problems import HEADERS, told
from backlog_store.web.receiving import received
from backlog_store.web.routing import Ask, Reply, Route
from backlog_store.web.site import Asker, Limits, Site

__all__ = ["create_app"]

_SLASH = re.compile(rb"%(2f|25)", re.IGNORECASE)


def create_app(site: Site, routes: Iterable[Route], *, threads: int = 16, **more: Any) -> Litestar:
    """
    Return the application of *site* with these *routes*. *threads* work at the same time; further requests wait.
    """
    limiter = anyio.CapacityLimiter(threads)
    methods: dict[str, set[str]] = {}
    routes = list(routes)
    for route in routes:
        methods.setdefault(route.path, set()).add(route.method)
    service = _Service(
        [*(_options(path, methods[path]) for path in methods), *(_handler(site, route, limiter) for route in routes)],
        exception_handlers={Exception: told},
        openapi_config=None,
        logging_config=None,  # whoever runs it says how it logs, see `logs`
        request_max_body_size=site.limits.body,
        compression_config=CompressionConfig(
            backend="gzip", minimum_size=1_024, gzip_compress_level=5, exclude=[r"^/api/v1/stream$"]
        ),
        **more,
    )
    service.site = site
    service.on_shutdown.append(site.close)
    return service


class _Service(Litestar):
    """
    The application, with each request observed from outside: also those that no route answers.
    """

    site: Site

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await observe(self.site, self._routed, scope, receive, send)
        else:
            await super().__call__(scope, receive, send)

    async def _routed(self, scope: Scope, receive: Receive, send: Send) -> None:
        # A slash that was sent encoded is part of a name: it, and what could be taken for it, stays so for the routes.
        raw = scope.get("raw_path", b"").partition(b"?")[0]
        if _SLASH.search(raw):
            scope["path"] = unquote(_SLASH.sub(lambda found: b"%25" + found[1].upper(), raw).decode("ascii"))
        await super().__call__(scope, receive, send)


def _handler(site: Site, route: Route, limiter: anyio.CapacityLimiter) -> HTTPRouteHandler:
    async def answer(request: Request[Any, Any, Any]) -> Response[Any]:
        path = {name: _name(str(value)) for name, value in request.path_params.items()}
        now = anyio.current_time()

        def enter() -> Asker | None:
            if route.action is None:
                return None
            asker = site.sign_in(request)
            request.scope["state"]["asker"] = asker.name
            if asker.scope is not None:  # who is on this machine alone waits for nobody
                site.rates.check(asker.name, now)
            route.check(asker)
            return asker

        def work(asker: Asker | None, body: bytes | BinaryIO) -> Reply:
            ask = Ask(site, request, asker, body, path, route.params)
            if route.path.startswith("/api/v1/") and not route.collects:
                refuse(ask.strays())
            try:
                return route.handler(ask)
            finally:
                if asker is not None:  # also where it is refused: what is not found may be on the database
                    request.scope["state"]["copy_as_of"] = site.copy_as_of()

        if route.at_once:
            return await _response(site, request, work(None, b""), limiter)
        if route.method in ("GET", "DELETE"):
            return await _response(site, request, await run_sync(lambda: work(enter(), b""), limiter=limiter), limiter)
        # Who may not ask sends no body either: nothing of it is kept for them.
        asker = await run_sync(enter, limiter=limiter)
        body = await received(request, site.limits, spooled=route.spooled)
        reply = None
        try:
            reply = await run_sync(work, asker, body, limiter=limiter)
            return await _response(site, request, reply, limiter)
        finally:
            if route.action != "read":
                site.wrote()  # also where it failed: part of it may be done
            if not isinstance(body, bytes) and (reply is None or reply.stream is None):
                body.close()  # else it is read while the answer is sent, which closes it

    answer.__name__ = route.name
    methods = ["GET", "HEAD"] if route.method == "GET" else [route.method]
    return HTTPRouteHandler(
        route.path, http_method=methods, name=f"{route.method} {route.path}",  # type: ignore[arg-type]
        request_max_body_size=_body_max(site.limits, route), status_code=200,
    )(answer)  # fmt: skip


def _name(part: str) -> str:
    return part.replace("%2F", "/").replace("%25", "%")


def _body_max(limits: Limits, route: Route) -> int:
    # Nobody keeps memory busy without a credential: a form to sign in is short.
    return limits.anonymous if route.action is None else limits.report if route.spooled else limits.body


def _options(path: str, methods: set[str]) -> HTTPRouteHandler:
    # The framework's own answer names the methods of one handler, and there is a handler a route.
    allow = ", ".join(sorted({*methods, "OPTIONS", *(("HEAD",) if "GET" in methods else ())}))

    async def answer() -> Response[None]:
        return Response(None, status_code=204, headers={**HEADERS, "Allow": allow})

    return HTTPRouteHandler(path, http_method="OPTIONS", name=f"OPTIONS {path}", status_code=204)(answer)


async def _response(
    site: Site, request: Request[Any, Any, Any], reply: Reply, limiter: anyio.CapacityLimiter
) -> Response[Any]:
    headers, is_head = {**HEADERS, **reply.headers}, request.method == "HEAD"
    chunks: AsyncGenerator[bytes] | None = None
    if reply.live is not None:
        chunks = _live(site, reply.live())
    elif reply.stream is not None:
        chunks = _sent(site, reply.stream, limiter)
    if chunks is not None:
        # What is wrong is said before the answer begins: behind a 200 it could only be cut off.
        first = await anext(chunks, b"")
        if is_head:
            await chunks.aclose()
            return Stream(iter(()), media_type=reply.media, status_code=reply.status, headers=headers)
        return Stream(_from(first, chunks), media_type=reply.media, status_code=reply.status, headers=headers)
    content = reply.content()
    if is_head and content:
        headers["Content-Length"], content = str(len(content)), b""
    return Response(content, media_type=reply.media, status_code=reply.status, headers=headers,
                    cookies=list(reply.cookies))  # fmt: skip


async def _from(first: bytes, rest: AsyncGenerator[bytes]) -> AsyncIterator[bytes]:
    async with aclosing(rest):
        yield first
        async for chunk in rest:
            yield chunk


async def _live(site: Site, chunks: AsyncIterator[bytes]) -> AsyncGenerator[bytes]:
    site.listen()
    site.metrics.listeners.inc()
    try:
        async with aclosing(chunks) as following:  # type: ignore[type-var]
            async for chunk in following:
                yield chunk
    finally:
        site.metrics.listeners.dec()


async def _sent(site: Site, chunks: Iterator[bytes], limiter: anyio.CapacityLimiter) -> AsyncGenerator[bytes]:
    while chunk := await run_sync(next, chunks, b"", limiter=limiter):
        yield chunk
    site.wrote()  # a batch is carried out while its verdicts are sent


def all_routes(tables: Sequence[Sequence[Route]]) -> list[Route]:
    """
    Return the routes of several tables.
    """
    return [route for table in tables for route in table]
