"""
Now and the dashboard: what needs a look, and exact counts; every number opens its list.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

from backlog_store.backends.port import Reader
from backlog_store.dashboard import Dashboard, dashboard
from backlog_store.model import PRIORITIES, STATUSES
from backlog_store.query import EventQuery
from backlog_store.web.pages.items import told
from backlog_store.web.pages.news import shown
from backlog_store.web.pages.render import page, standing
from backlog_store.web.pages.trends import Trend, trend
from backlog_store.web.routing import Ask, Param, Reply, Routes

__all__ = ["routes"]

routes = Routes()

_LATEST = 15
#: Each queue: its name, what it holds, and the query of its list.
QUEUES = (
    ("urgent", "P0 and P1, awake", "priority:<=P1 -is:snoozed"),
    ("overdue", "Overdue", "is:overdue -is:snoozed"),
    ("due_soon", "Due within a week", "due:<=7d -is:overdue -is:snoozed"),
    ("woken", "Woken up", "wake:<=now"),
    ("expiring", "Acceptances that end within a week", "reason:accepted_risk expires:<=7d"),
)


@routes.add("GET", "/", action="read", gives="text/html")
def home(ask: Ask) -> Reply:  # noqa: ARG001  (the same for all)
    """
    Lead to what needs a look now.
    """
    return Reply(status=303, headers={"Location": "/now"})


@routes.add("GET", "/now", action="read", params=(Param("env", "Of this env alone."),), gives="text/html")
def now_page(ask: Ask) -> Reply:
    """
    Show what needs a look now, and what happened last.
    """
    live, new = standing(ask), shown(ask)
    found = ask.backlog.attention(ask.text("env"), limit=5)
    queues = [
        {"name": name, "title": title, "items": getattr(found, name), "count": getattr(found, f"{name}_count"),
         "link": f"/items?q={quote(query)}"}
        for name, title, query in QUEUES
    ]  # fmt: skip
    events = ask.backlog.events(EventQuery(newest_first=True, limit=_LATEST))
    ids = {event.item_id for event in events}
    known = ask.backlog.read(lambda reader: reader.items(ids))
    latest = [(known[event.item_id], told(event)) for event in events if event.item_id in known]
    return page(
        ask,
        "now.html",
        queues=queues,
        live=live,
        total=found.live,
        unowned=found.unowned_count,
        latest=latest,
        **new,
    )


@routes.add("GET", "/dashboard", action="read", params=(Param("env", "Of this env alone."),), gives="text/html")
def dashboard_page(ask: Ask) -> Reply:
    """
    Show exact counts, and what happened in the last days.
    """
    env = ask.text("env")
    now = ask.site.backlog.clock()
    found, drawn = ask.backlog.read(lambda reader: _drawn(reader, env, now))
    also = f" env:{env}" if env else ""
    charts = [
        ("Status", "status", [(name, found.status_counts[name]) for name in STATUSES if name in found.status_counts]),
        ("Priority of live items", "priority",
         [(name, found.priority_counts[name]) for name in PRIORITIES if name in found.priority_counts]),
        ("Services with most live items", "service", list(found.top_services)),
        ("Categories of live items", "category", _most(found.category_counts)),
        ("Owners of live items", "owner", _most(found.owner_counts)),
        ("Sources of live items", "source", _most(found.source_counts)),
    ]  # fmt: skip
    return page(ask, "dashboard.html", found=found, charts=charts, env=env, also=also, quote=quote,
                trend=drawn, high=max([1, *(max(day.opened, day.closed) for day in drawn.days)]),
                most=max([1, *(day.live for day in drawn.days)]))  # fmt: skip


def _drawn(reader: Reader, env: str, now: str) -> tuple[Dashboard, Trend]:
    found = dashboard(reader, env=env, now=now)
    return found, trend(reader, env=env, now=now, counts=found.status_counts)


def _most(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))[:10]
