"""
The stream of changes as they are committed (server-sent events).
"""

from __future__ import annotations

from backlog_store.access import Scope
from backlog_store.web.routing import Ask, Param, Reply, Routes

__all__ = ["routes"]

routes = Routes("/api/v1")


@routes.add("GET", "/stream", action="read", gives="text/event-stream", headers=("Last-Event-ID",),
            params=(Param("after", "Go on behind this position; without it, behind what is there now."),))  # fmt: skip
def stream(ask: Ask) -> Reply:
    """
    Stream every change that may be seen, in the order of the commits; `Last-Event-ID` goes on where it broke off.
    """
    last: str | None = ask.request.headers.get("last-event-id")
    if last is None and "after" in ask.parameters:
        last = ask.text("after")
    asker, state = ask.asker, ask.request.scope["state"]
    state["listens"] = True  # which is no use of a session: a page left open does not keep it

    def again() -> Scope | None:
        return ask.site.sign_in(ask.request).scope

    return Reply(live=lambda: ask.site.tail.follow(last, asker.scope, again), media="text/event-stream",
                 headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})  # fmt: skip
