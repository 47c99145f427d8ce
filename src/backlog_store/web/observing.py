"""
Each request from outside: its id, what is counted, the line in the log.
"""

from __future__ import annotations

import re
from time import perf_counter
from typing import Any

from litestar.types import ASGIApp, Message, Receive, Scope, Send

from backlog_store.clock import system_ids
from backlog_store.web.logs import REQUEST_ID, log_request
from backlog_store.web.site import Site

__all__ = ["observe"]

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}\Z")
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_ENDLESS = b"text/event-stream"


class _Seen:
    """
    What was seen of one request so far.
    """

    def __init__(self) -> None:
        self.began = perf_counter()
        self.status = 500  # where the answer never began
        self.is_told = False


async def observe(site: Site, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    """
    Let *app* answer a request, count it, and log it under an id: the caller's own if it is a plain one.

    The id is said in the answer. A stream is told when it begins: when it ends nobody knows.
    """
    state: dict[str, Any] = scope.setdefault("state", {})
    given = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"x-request-id"), "")
    own = given if _REQUEST_ID.match(given) else system_ids()[:16]
    state["request_id"] = own
    seen = _Seen()
    site.metrics.running.inc()
    # What is logged on the way, in whatever thread, is logged of this request.
    before = REQUEST_ID.set(own)

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = [*message["headers"], (b"x-request-id", own.encode())]
            if as_of := state.get("copy_as_of"):  # an old answer must not pass for one of now
                headers.append((b"backlog-copy-as-of", as_of.encode()))
            if site.is_draining:
                headers.append((b"connection", b"close"))
            message["headers"] = headers
            seen.status = message["status"]
            if any(name.lower() == b"content-type" and value.startswith(_ENDLESS) for name, value in headers):
                _tell(site, scope, seen)
        await send(message)

    try:
        await app(scope, receive, sending)
    finally:
        if not seen.is_told:
            _tell(site, scope, seen)
        REQUEST_ID.reset(before)


def _tell(site: Site, scope: Any, seen: _Seen) -> None:
    seen.is_told = True
    seconds = perf_counter() - seen.began
    method = scope["method"] if scope["method"] in _METHODS else "(other)"
    route = scope.get("path_template") or "(none)"
    metrics = site.metrics
    metrics.running.dec()
    metrics.requests.labels(method, route, str(seen.status)).inc()
    metrics.seconds.labels(method, route).observe(seconds)
    log_request(method=method, path=scope["path"], route=route, status=seen.status, seconds=seconds,
                actor=scope["state"].get("asker", ""), client=(scope.get("client") or ("",))[0])  # fmt: skip
