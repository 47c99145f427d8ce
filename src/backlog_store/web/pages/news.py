"""
What is new to who asks, and the mark up to which they have seen it: `backlog_store.news` as pages.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from backlog_store import commands as c
from backlog_store.backends.scanning import end_of_log
from backlog_store.errors import NotFound
from backlog_store.news import News, news
from backlog_store.rules.keeping import Mark
from backlog_store.web.pages.changes import FORM, back_to, form_of, one_of
from backlog_store.web.pages.render import page
from backlog_store.web.routing import Ask, Param, Reply, Routes

__all__ = ["routes", "shown"]

routes = Routes()

_TITLES = {"new": "New", "returned": "Returned"}


def _news(ask: Ask) -> News:
    now, asker, env = ask.site.backlog.clock(), ask.asker, ask.text("env")
    return ask.site.backlog.read(lambda reader: news(reader, asker.scope, name=asker.name, env=env, now=now))


def shown(ask: Ask) -> dict[str, Any]:
    """
    Return what the page Now shows of news, and the mark that its button sets. To be asked before all else is read.
    """
    now, env = ask.site.backlog.clock(), ask.text("env")
    position = ask.site.backlog.read(end_of_log)
    found = _news(ask)
    also = f"?env={quote(env)}" if env else ""
    numbers = [
        (("new", "new"), len(found.new), f"/now/new{also}"),
        (("returned", "returned"), len(found.returned), f"/now/returned{also}"),
        (("became overdue", "became overdue"), found.breaching, f"/items?q={quote(found.breaching_query)}"),
        (("acceptance nears its end", "acceptances near their end"), found.expiring,
         f"/items?q={quote(found.expiring_query)}"),
        (("run was parked", "runs were parked"), found.parked, "/runs?state=parked"),
        (("place went silent", "places went silent"), found.silent, "/sources"),
    ]  # fmt: skip
    told = [(names[n != 1], n, link) for names, n, link in numbers if n]
    return {"news": found, "numbers": told, "mark": Mark(position=position, at=now)}


@routes.add("GET", "/now/{what:str}", action="read", params=(Param("env", "Of this env alone."),), gives="text/html")
def news_page(ask: Ask) -> Reply:
    """
    Show the items that are new, or that returned, since the mark of who asks.
    """
    what = ask.path["what"]
    if what not in _TITLES:
        raise NotFound("queue", what, hint="There are new and returned.")
    found = _news(ask)
    return page(ask, "news.html", title=_TITLES[what], items=getattr(found, what), news=found)


@routes.add("POST", "/now/seen", action="read", own=True, takes=FORM, gives="text/html")
def mark_seen_here(ask: Ask) -> Reply:
    """
    Set the mark of who asks to what the page showed: from then on things are new.
    """
    form = form_of(ask)
    answer = ask.backlog.execute(c.MarkSeen(position=one_of(form, "position"), at=one_of(form, "at")))
    return back_to({}, "seen" if answer.outcomes[0].verdict == "updated" else "unchanged", "", default="/now")
