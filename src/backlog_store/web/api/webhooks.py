"""
Webhooks: who is told of events, how that stands, trying it and doing it again. For admins who are bound to no part.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from backlog_store import commands as c
from backlog_store.access import Scope
from backlog_store.errors import NotFound
from backlog_store.instants import Instant
from backlog_store.rules.hooking import webhook_named
from backlog_store.web.inputs import as_instant, etag, paged, request_id, revision_asked
from backlog_store.web.problems import HttpProblem
from backlog_store.web.routing import LIMIT, Ask, Param, Reply, Routes
from backlog_store.webhooks.outlets import Refused
from backlog_store.webhooks.subscribing import as_it_is, change, kept_aside, pinged, replay, standing, subscribe, tries

__all__ = ["bound_to", "routes", "tried"]

routes = Routes("/api/v1")

_WEBHOOK = "/webhooks/{name:str}"
_PAGE = (LIMIT, Param("after", "Go on behind this name."))
_UNSET = msgspec.UNSET


class WebhookIn(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    Whom to tell of what: events of these types, of items that match the query, in these envs and services; or of all.
    """

    name: str
    url: str
    types: tuple[str, ...] | None = None
    query: str = ""
    envs: tuple[str, ...] | None = None
    services: tuple[str, ...] | None = None
    message: str = ""


class WebhookEditIn(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    What to change; what is not named stays. *off* is why nothing is sent for now; empty, it goes on where it was.
    """

    url: str | msgspec.UnsetType = _UNSET
    types: tuple[str, ...] | msgspec.UnsetType | None = _UNSET
    query: str | msgspec.UnsetType = _UNSET
    envs: tuple[str, ...] | msgspec.UnsetType | None = _UNSET
    services: tuple[str, ...] | msgspec.UnsetType | None = _UNSET
    off: str | msgspec.UnsetType = _UNSET
    message: str = ""


class ReplayIn(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    Every event since then, or ``all`` there are; without it, what is kept aside.
    """

    since: Instant = ""
    message: str = ""


class WhyIn(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    Why.
    """

    message: str = ""


@routes.add("GET", "/webhooks", action="administer", whole=True, collects=True, params=_PAGE, answers={200: dict})
def list_webhooks(ask: Ask) -> Reply:
    """
    List webhooks by name: where each goes, what of, how far it has come, and what it met; no secret.
    """
    page, next = paged(standing(ask.backlog), lambda one: str(one["name"]), ask.parameters, ask.strays())
    return Reply(data={"webhooks": page, "next": next})


@routes.add("POST", "/webhooks", action="administer", whole=True, body=WebhookIn, headers=("Idempotency-Key",),
            answers={201: dict})  # fmt: skip
def add_webhook(ask: Ask) -> Reply:
    """
    Send every change from now on to an address, of a host that the service lets webhooks go to.

    `secret` in the answer is what signatures are made with, this once: asked again with the same key, it is not there.
    """
    given = ask.body_as(WebhookIn)
    body = c.SetWebhook(name=given.name, url=given.url, over=0, types=given.types, query=given.query,
                        scope=bound_to(given.envs, given.services), message=given.message)  # fmt: skip
    return _handed(ask, given.name, subscribe(ask.backlog, body, ask.site.outlets, request_id=request_id(ask.request)),
                   201)  # fmt: skip


@routes.add("GET", _WEBHOOK, action="administer", whole=True, answers={200: dict})
def get_webhook(ask: Ask) -> Reply:
    """
    Show a webhook, and how it stands.
    """
    return _shown(ask, ask.path["name"])


@routes.add("PATCH", _WEBHOOK, action="administer", whole=True, body=WebhookEditIn,
            headers=("If-Match", "Idempotency-Key"), answers={200: dict})  # fmt: skip
def edit_webhook(ask: Ask) -> Reply:
    """
    Change where a webhook goes and what of, pause it or let it go on; `If-Match` says on which revision this rests.
    """
    name, given = ask.path["name"], ask.body_as(WebhookEditIn)
    asked = revision_asked(ask.request, required=True)
    revision, old = ask.backlog.read(lambda reader: webhook_named(reader, name))
    envs, services = (old.scope.envs, old.scope.services) if old.scope else (None, None)
    new = {field: value for field in ("url", "types", "query", "off")
           if (value := getattr(given, field)) is not _UNSET}  # fmt: skip
    scope = bound_to(envs if given.envs is _UNSET else given.envs,
                     services if given.services is _UNSET else given.services)  # fmt: skip
    body = msgspec.structs.replace(as_it_is(old, asked or revision), **new, scope=scope, message=given.message)
    change(ask.backlog, body, old, ask.site.outlets, request_id=request_id(ask.request))
    return _shown(ask, name)


@routes.add("DELETE", _WEBHOOK, action="administer", whole=True, answers={204: None})
def remove_webhook(ask: Ask) -> Reply:
    """
    Send nothing there any more, and forget what was kept aside.
    """
    ask.backlog.execute(c.RemoveWebhook(name=ask.path["name"]))
    return Reply(status=204)


@routes.add("POST", _WEBHOOK + "/rotate", action="administer", whole=True, body=WhyIn,
            headers=("If-Match", "Idempotency-Key"), answers={200: dict})  # fmt: skip
def rotate_webhook(ask: Ask) -> Reply:
    """
    Give a webhook a new secret, shown as that of a new one is. The one before signs nothing any more.
    """
    name, given = ask.path["name"], ask.body_as(WhyIn)
    asked = revision_asked(ask.request, required=True)
    revision, old = ask.backlog.read(lambda reader: webhook_named(reader, name))
    body = msgspec.structs.replace(as_it_is(old, asked or revision), message=given.message)
    return _handed(ask, name, subscribe(ask.backlog, body, ask.site.outlets, request_id=request_id(ask.request)))


@routes.add("POST", _WEBHOOK + "/test", action="administer", whole=True, answers={200: dict})
def test_webhook(ask: Ask) -> Reply:
    """
    Send a signed `backlog.ping`, now, and tell what the receiver answered: `delivered`, `status`, `error`.
    """
    return Reply(data=tried(ask, ask.path["name"]))


@routes.add("POST", _WEBHOOK + "/replay", action="administer", whole=True, body=ReplayIn, headers=("Idempotency-Key",),
            answers={200: dict})  # fmt: skip
def replay_webhook(ask: Ask) -> Reply:
    """
    Deliver again what was kept aside, dead letters too, now; or with `since` every event since then.
    """
    given, name = ask.body_as(ReplayIn), ask.path["name"]
    since = as_instant(given.since)  # which ``all`` is none of
    after, answer = replay(ask.backlog, name, since, message=given.message, request_id=request_id(ask.request))
    return Reply(data={"name": name, "after": after, "why": answer.outcomes[0].why, "replayed": answer.replayed})


@routes.add("GET", _WEBHOOK + "/deliveries", action="administer", whole=True, answers={200: dict})
def list_deliveries(ask: Ask) -> Reply:
    """
    Show the tries that are remembered, 200 at most, newest first, and what the receiver said.
    """
    return Reply(data={"deliveries": tries(ask.backlog, ask.path["name"])})


@routes.add("GET", _WEBHOOK + "/kept", action="administer", whole=True, answers={200: dict})
def list_kept(ask: Ask) -> Reply:
    """
    Show what is kept aside, 1,000 at most: to be tried again at `next_at`, or, without that, dead letters.
    """
    return Reply(data={"kept": kept_aside(ask.backlog, ask.path["name"])})


def bound_to(envs: tuple[str, ...] | None, services: tuple[str, ...] | None) -> Scope | None:
    """
    Return what bounds a webhook: ``None`` where nothing does.
    """
    return None if envs is None and services is None else Scope(role="reader", envs=envs, services=services)


def tried(ask: Ask, name: str) -> dict[str, Any]:
    """
    Send a ping and return what became of it. Raises `NotFound`, and `HttpProblem` where webhooks may go nowhere.
    """
    outlets = ask.site.outlets
    if not outlets.hosts:
        raise HttpProblem(409, "this service sends webhooks nowhere", code="no_outlets",
                          hint="Whoever runs it names hosts: BACKLOG_WEBHOOK_HOSTS=hooks.example.org")  # fmt: skip
    try:
        # The secret signs here, where the store is; it goes to nobody who asks.
        status = pinged(ask.site.backlog, name, outlets)
    except (Refused, OSError) as error:
        return {"name": name, "delivered": False, "status": 0, "error": str(error)}
    said = "" if 200 <= status < 300 else f"the receiver answered {status}; 200 to 299 would be taken as delivered"
    return {"name": name, "delivered": not said, "status": status, "error": said}


def _shown(ask: Ask, name: str, more: dict[str, Any] | None = None, status: int = 200) -> Reply:
    told = next((one for one in standing(ask.backlog) if one["name"] == name), None)
    if told is None:
        raise NotFound("webhook", name, hint="`backlog webhook list` shows them.")
    return Reply(data={**told, **(more or {})}, status=status, headers={"ETag": etag(told["revision"])})


def _handed(ask: Ask, name: str, secret: str, status: int = 200) -> Reply:
    return _shown(ask, name, {"secret": secret} if secret else {"replayed": True}, status)
