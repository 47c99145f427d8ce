"""
Subscriptions: what the command line, the API and the pages do alike about them.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from msgspec.structs import replace

from backlog_store.backends.port import Reader
from backlog_store.backlog import Backlog
from backlog_store.codec import from_builtins
from backlog_store.commands import Answer, Redeliver, SetWebhook
from backlog_store.credentials import drawn_secret
from backlog_store.errors import NotAllowed
from backlog_store.hooks import Aside, Attempt, Progress, Webhook
from backlog_store.instants import Instant
from backlog_store.query import EventQuery
from backlog_store.rules.hooking import asides, standings, webhook_named
from backlog_store.webhooks.messages import MEDIA_TYPE, headers_of, ping, secret_from
from backlog_store.webhooks.outlets import NotNamed, Outlets, Refused, Sender, send

__all__ = ["WAITING_MAX", "as_it_is", "change", "kept_aside", "pinged", "replay", "standing", "subscribe", "tries"]

#: So many events that still wait are counted.
WAITING_MAX = 1_000


def subscribe(backlog: Backlog, body: SetWebhook, outlets: Outlets, *, request_id: str = "") -> str:
    """
    Set a subscription up, or give it a new secret; return that, or nothing where it was handed over before.

    Raises `NotAllowed` for where webhooks may not go, and what `rules.hooking` raises.
    """
    _may_go(outlets, body.url)
    secret = secret_from(drawn_secret(backlog.ids))
    answer = backlog.execute(replace(body, secret=secret), request_id=request_id)
    return "" if answer.replayed else secret


def as_it_is(old: Webhook, over: int) -> SetWebhook:
    """
    Return the command that leaves a subscription as it was seen at the revision *over*; to be changed.
    """
    return SetWebhook(name=old.name, url=old.url, over=over, types=old.types, query=old.query, scope=old.scope,
                      off=old.off)  # fmt: skip


def change(backlog: Backlog, body: SetWebhook, old: Webhook, outlets: Outlets, *, request_id: str = "") -> Answer:
    """
    Change a subscription that was seen as *old*. Raises as `subscribe`, for an address only where it is another one.
    """
    if body.url != old.url:
        _may_go(outlets, body.url)
    return backlog.execute(body, request_id=request_id)


def _may_go(outlets: Outlets, url: str) -> None:
    try:
        outlets.check(url)
    except NotNamed as error:
        hosts = ",".join((*outlets.hosts, urlsplit(url).hostname or ""))
        hint = f"Whoever runs the service names them: BACKLOG_WEBHOOK_HOSTS={hosts}"
        raise NotAllowed("this webhook", str(error), hint=hint) from error
    except Refused:
        pass  # it is no address: that is told with all else that is wrong


def pinged(backlog: Backlog, name: str, outlets: Outlets, sender: Sender = send) -> int:
    """
    Send a signed ``backlog.ping`` from here, now, and return the status that the receiver answered.

    Raises `NotFound`, `NotAllowed` where the secret is not seen from here, `Refused`, and `OSError` for no answer.
    """
    found = backlog.read(lambda reader: webhook_named(reader, name))[1]
    if not found.secret:
        raise NotAllowed("signing", "the secret stays where the store is", hint="Run it on the server.")
    at, id = backlog.clock(), f"ping_{backlog.ids()[:16]}"
    body = ping(id, at, "urn:backlog-store")
    headers = {**headers_of(found.secret, id, at, body), "Content-Type": MEDIA_TYPE}
    return sender(found.url, headers, body, outlets).status


def replay(backlog: Backlog, name: str, since: Instant = "", *, message: str = "",
           request_id: str = "") -> tuple[str | None, Answer]:  # fmt: skip
    """
    Deliver again every event since then (``all``: from the beginning); without *since*, what is kept aside.

    Return the position behind which all are delivered (``None``: none is). Raises `NotFound`.
    """
    after: str | None = None
    if since:
        backlog.read(lambda reader: webhook_named(reader, name))
        events = [] if since == "all" else backlog.events(EventQuery(until=since, newest_first=True, limit=1))
        after = events[0].position if events else ""
    body = Redeliver(name=name, after=after, aside=not since, message=message)
    return after, backlog.execute(body, request_id=request_id)


def standing(backlog: Backlog) -> list[dict[str, Any]]:
    """
    Return every subscription as data, and how it stands: `waiting` counts up to `WAITING_MAX` events.
    """
    return [_told(*one) for one in backlog.read(lambda reader: list(standings(reader, WAITING_MAX)))]


def _told(revision: int, one: Webhook, progress: Progress, waiting: int) -> dict[str, Any]:
    state = f"off: {one.off}" if one.off else f"tries again {progress.next_at[:19]}" if progress.next_at else "on"
    parts = [", ".join(one.types or ()), one.query, *(", ".join(names or ()) for names in
             ((one.scope.envs, one.scope.services) if one.scope else ()))]  # fmt: skip
    return {"name": one.name, "url": one.url, "of": "; ".join(filter(None, parts)) or "everything", "state": state,
            "error": progress.error, "waiting": waiting, "kept": progress.kept, "delivered": progress.delivered,
            "by": one.by, "at": one.at, "types": one.types, "query": one.query, "scope": one.scope, "off": one.off,
            "revision": revision}  # fmt: skip


def tries(backlog: Backlog, name: str) -> list[Attempt]:
    """
    Return the tries that are remembered, newest first. Raises `NotFound`.
    """
    backlog.read(lambda reader: webhook_named(reader, name))
    found = (from_builtins(record.body, Attempt) for record in backlog.records("delivery", f"{name}/log/"))
    return sorted(found, key=lambda one: -one.number)


def kept_aside(backlog: Backlog, name: str) -> list[Aside]:
    """
    Return what is kept aside: to be tried again, and dead letters, in commit order. Raises `NotFound`.
    """

    def look(reader: Reader) -> list[Aside]:
        webhook_named(reader, name)
        return list(asides(reader, name))

    return backlog.read(look)
