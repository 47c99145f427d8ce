"""
Webhooks, for admins: who is told, how that stands, what is kept aside; trying it and doing it again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

from msgspec.structs import replace

from backlog_store import commands as c
from backlog_store.errors import BacklogError
from backlog_store.rules.hooking import webhook_named
from backlog_store.web.api.webhooks import bound_to, tried
from backlog_store.web.pages.administering import attempted, names_of, once, request_of, text_of
from backlog_store.web.pages.changes import FORM, back_to, form_of, moment, one_of, revision_of
from backlog_store.web.pages.render import page
from backlog_store.web.problems import HttpProblem
from backlog_store.web.routing import Ask, Reply, Routes
from backlog_store.webhooks.subscribing import (
    WAITING_MAX,
    as_it_is,
    change,
    kept_aside,
    replay,
    standing,
    subscribe,
    tries,
)

__all__ = ["routes"]

routes = Routes()

_SHOWN = 50
_FIELDS = ("name", "url", "types", "query", "envs", "services")


@routes.add("GET", "/webhooks", action="administer", whole=True, gives="text/html")
def webhooks_page(ask: Ask) -> Reply:
    """
    Show who is told of what, how far each has come, and the form to add one.
    """
    return _listed(ask)


def _listed(ask: Ask, code: int = 200, refused: BacklogError | None = None,
            given: Mapping[str, str] | None = None) -> Reply:  # fmt: skip
    return page(ask, "webhooks.html", code=code, webhooks=standing(ask.backlog), hosts=ask.site.outlets.hosts,
                refused=refused, given=given or {}, once=once(ask), most=WAITING_MAX)  # fmt: skip


@routes.add("POST", "/webhooks", action="administer", whole=True, takes=FORM, gives="text/html")
def subscribe_here(ask: Ask) -> Reply:
    """
    Send changes to an address, and show the secret of its signatures, this once.
    """
    form = form_of(ask)
    name = one_of(form, "name")

    def do() -> Reply:
        body = c.SetWebhook(name=name, url=one_of(form, "url"), over=0, types=names_of(form, "types"),
                            query=one_of(form, "query"),
                            scope=bound_to(names_of(form, "envs"), names_of(form, "services")))  # fmt: skip
        secret = subscribe(ask.backlog, body, ask.site.outlets, request_id=request_of(form))
        return _shown(ask, name, secret=secret)

    return attempted(do, lambda code, error: _listed(ask, code, error, _typed(form)))


def _typed(form: Mapping[str, list[str]]) -> dict[str, str]:
    return {field: one_of(form, field) for field in _FIELDS}


@routes.add("GET", "/webhooks/{name:str}", action="administer", whole=True, gives="text/html")
def webhook_page(ask: Ask) -> Reply:
    """
    Show a webhook: what it met, the last tries, what is kept aside.
    """
    return _shown(ask, ask.path["name"])


def _shown(ask: Ask, name: str, code: int = 200, refused: BacklogError | None = None, *, secret: str | None = None,
           result: Mapping[str, Any] | None = None, given: Mapping[str, str] | None = None) -> Reply:  # fmt: skip
    revision, one = ask.backlog.read(lambda reader: webhook_named(reader, name))
    told = next((row for row in standing(ask.backlog) if row["name"] == name), {})
    scope = one.scope
    fields = given or {
        "name": name, "url": one.url, "types": text_of(one.types), "query": one.query,
        "envs": text_of(scope.envs if scope else None), "services": text_of(scope.services if scope else None),
    }  # fmt: skip
    log, kept = tries(ask.backlog, name), kept_aside(ask.backlog, name)
    return page(ask, "webhook.html", code=code, one=one, told=told, revision=revision, log=log[:_SHOWN],
                kept=kept[:_SHOWN], kept_count=len(kept), refused=refused, secret=secret, result=result, given=fields,
                once=once(ask), hosts=ask.site.outlets.hosts, most=WAITING_MAX,
                place=f"/webhooks/{quote(name)}")  # fmt: skip


@routes.add("POST", "/webhooks/{name:str}", action="administer", whole=True, takes=FORM, gives="text/html")
def change_webhook(ask: Ask) -> Reply:
    """
    Do what a form of a webhook says: change, pause, go on, test, deliver again, a new secret, remove.
    """
    form, name, now = form_of(ask), ask.path["name"], ask.site.backlog.clock()
    revision, old = ask.backlog.read(lambda reader: webhook_named(reader, name))
    seen = as_it_is(old, revision_of(one_of(form, "revision")) or revision)
    back = f"/webhooks/{quote(name)}"

    def changed(body: c.SetWebhook) -> Reply:
        change(ask.backlog, body, old, ask.site.outlets)
        return back_to({}, "updated", "", default=back)

    def edited() -> Reply:
        bound = bound_to(names_of(form, "envs"), names_of(form, "services"))
        return changed(replace(seen, url=one_of(form, "url"), types=names_of(form, "types"),
                               query=one_of(form, "query"), scope=bound))  # fmt: skip

    def again() -> Reply:
        replay(ask.backlog, name, _since(form, now))
        return back_to({}, "replayed", "", default=back)

    def removed() -> Reply:
        ask.backlog.execute(c.RemoveWebhook(name=name))
        return back_to({}, "removed", "", default="/webhooks")

    verbs: dict[str, Callable[[], Reply]] = {
        "edit": edited,
        "pause": lambda: changed(replace(seen, off="paused")),
        "resume": lambda: changed(replace(seen, off="")),
        "test": lambda: _shown(ask, name, result=tried(ask, name)),
        "replay": again,
        "rotate": lambda: _shown(ask, name, secret=subscribe(
            ask.backlog, seen, ask.site.outlets, request_id=request_of(form))),
        "remove": removed,
    }  # fmt: skip
    verb = one_of(form, "do")
    if verb not in verbs:
        raise HttpProblem(422, f"there is no {verb[:40]!r} of a webhook")
    given = {**_typed(form), "name": name} if verb == "edit" else None
    return attempted(verbs[verb], lambda code, error: _shown(ask, name, code, error, given=given))


def _since(form: Mapping[str, list[str]], now: str) -> str:
    text = one_of(form, "since")
    return text if text in ("", "all") else moment(form, "since", now)
