"""
For whoever runs the service: is it alive, may it be sent requests, and what does it count.
"""

from __future__ import annotations

from backlog_store.web.metrics import MEDIA_TYPE
from backlog_store.web.routing import Ask, Reply, Routes

__all__ = ["routes"]

routes = Routes()


@routes.add("GET", "/healthz", action=None, answers={200: dict}, at_once=True)
def alive(ask: Ask) -> Reply:  # noqa: ARG001
    """
    Tell that the process answers, also while every thread is at work.
    """
    return Reply(data={"status": "ok"})


@routes.add("GET", "/readyz", action=None, answers={200: dict, 503: dict})
def ready(ask: Ask) -> Reply:
    """
    Tell whether to send requests here: 503 while the store is away, or this process is about to stop.
    """
    found = ask.site.readiness()
    is_ready = found in ("ok", "degraded")
    return Reply(data={"status": found}, status=200 if is_ready else 503, headers={"Cache-Control": "no-store"})


@routes.add("GET", "/metrics", action="read", gives="text/plain")
def metrics(ask: Ask) -> Reply:
    """
    Tell Prometheus what is counted: requests, streams, the spool; items as far as who asks reaches.
    """
    return Reply(
        data=ask.site.metrics.text(ask.site.backlog, ask.backlog),
        media=MEDIA_TYPE,
        headers={"Cache-Control": "no-store"},
    )
