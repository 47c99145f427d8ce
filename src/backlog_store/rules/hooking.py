"""
Outgoing webhooks: who is told of events, and how far each has come.

Subscriptions are part of what is decided about access, and stand in its trail: what leaves the backlog is a matter of
who reaches it. What becomes of deliveries is work, in records without events: those would be delivered in turn.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from msgspec.structs import replace

from backlog_store.backends.port import Reader
from backlog_store.backends.scanning import each_record, end_of_log, within_log
from backlog_store.codec import from_builtins, to_builtins
from backlog_store.commands import NoteDeliveries, Outcome, Redeliver, RemoveWebhook, SetWebhook, Webhooks
from backlog_store.errors import AlreadyExists, InvalidQuery, NotFound, RevisionConflict
from backlog_store.hooks import (
    LEASE,
    Aside,
    Progress,
    Webhook,
    aside_record,
    is_secret,
    log_record,
    progress_record,
    webhook_record,
)
from backlog_store.model import LIMITS, Record
from backlog_store.query import EventQuery
from backlog_store.rules.accesstrail import check_scope_of, tell
from backlog_store.rules.checks import Checker
from backlog_store.rules.view import Context

__all__ = ["asides", "hook", "progress_of", "standings", "webhook_named", "webhooks"]

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}\Z")
_TYPE = re.compile(r"[a-z0-9_.:-]{1,100}\Z")
_URL_MAX = 2_000
_QUERY_MAX = 4_000


def webhooks(reader: Reader) -> Iterator[tuple[int, Webhook]]:
    """
    Yield every subscription, by name, with the revision of its record.
    """
    for record in each_record(reader, "access", "webhook/"):
        found = from_builtins(record.body, Webhook)
        if not found.removed_at:
            yield record.revision, found


def webhook_named(reader: Reader, name: str) -> tuple[int, Webhook]:
    """
    Return a subscription and the revision of its record. Raises `NotFound`.
    """
    return _there(reader.records("access", [webhook_record(name)]).get(webhook_record(name)), name)


def asides(reader: Reader, name: str) -> Iterator[Aside]:
    """
    Yield what is kept aside for a subscription, in commit order.
    """
    return (from_builtins(record.body, Aside) for record in each_record(reader, "delivery", f"{name}/aside/"))


def progress_of(reader: Reader, name: str) -> tuple[int, Progress]:
    """
    Return the revision of the record of a subscription's progress (0: there is none), and that progress.

    Without a record, after an import say, positions are others now: it begins anew behind what is there.
    """
    record = reader.records("delivery", [progress_record(name)]).get(progress_record(name))
    if record is None:
        return 0, Progress(cursor=end_of_log(reader))
    return record.revision, from_builtins(record.body, Progress)


def standings(reader: Reader, most: int) -> Iterator[tuple[int, Webhook, Progress, int]]:
    """
    Yield each subscription with the revision of its record, how far it has come, and how many events are behind that.

    They are counted up to *most*.
    """
    for revision, webhook in webhooks(reader):
        _, progress = progress_of(reader, webhook.name)
        yield revision, webhook, progress, len(reader.events(EventQuery(after=progress.cursor, limit=most)))


def _there(record: Record | None, name: str) -> tuple[int, Webhook]:
    found = from_builtins(record.body, Webhook) if record is not None else None
    if record is None or found is None or found.removed_at:
        raise NotFound("webhook", name, hint="`backlog webhook list` shows them.")
    return record.revision, found


def _set(context: Context, body: SetWebhook) -> Outcome:
    """
    Tell a receiver of events, or change that.
    """
    record = context.record("access", webhook_record(body.name))
    old = from_builtins(record.body, Webhook) if record is not None else None
    if old is not None and old.removed_at:
        old = None
    _check(context, body, old)
    found = record.revision if record is not None and old is not None else 0
    if old is not None and not body.over:
        raise AlreadyExists("webhook", body.name, held_by=old.url, hint="`backlog webhook remove` frees the name.")
    if body.over != found:
        raise RevisionConflict(f"webhook {body.name}", expected=body.over, found=found)
    kept = old.secret if old is not None else ""
    new = Webhook(name=body.name, url=body.url, by=context.actor.name, at=context.now, types=body.types,
                  query=body.query, scope=body.scope, off=body.off,
                  secret=kept if body.secret is None else body.secret)  # fmt: skip
    context.put_record("access", webhook_record(body.name), to_builtins(new))
    if old is None:
        start = Progress(cursor=end_of_log(context.reader))
        context.put_record("delivery", progress_record(body.name), to_builtins(start))
    told = {name: value for name, value in to_builtins(new).items() if name not in ("secret", "by", "at")}
    revision = tell(context, "webhook_set", body.message, {**told, "secret": body.secret is not None})
    return Outcome(verdict="updated" if old is not None else "created", id=body.name, revision=revision)


def _check(context: Context, body: SetWebhook, old: Webhook | None) -> None:
    """
    Refuse what cannot be. Address and query that stand already are let be: what holds them can still be paused.
    """
    check = Checker()
    if not _NAME.match(body.name):
        check.fault("name", body.name, "1 to 63 of a-z, 0-9, dot, dash and underscore")
    check.text("url", body.url, _URL_MAX, required=True)
    if (old is None or body.url != old.url) and not _is_address(body.url):
        check.fault("url", body.url, "an http or https address of a possible host, without user, password and spaces")
    if old is None and body.secret is None:
        check.fault("secret", "", "a new one needs a secret")
    if body.secret is not None and not is_secret(body.secret):
        check.fault("secret", "", "whsec_ and 24 to 64 bytes in base64")
    for index, type in enumerate(body.types or ()):
        if not _TYPE.match(type):
            check.fault(f"types/{index}", type, "the type of an event, such as created or closed")
    check.text("query", body.query, _QUERY_MAX)
    if body.query and len(body.query) <= _QUERY_MAX and (old is None or body.query != old.query):
        _check_query(check, context, body.query)
    check.text("off", body.off, LIMITS.name)
    check.text("message", body.message, LIMITS.message)
    if body.scope is not None:
        check_scope_of(check, body.scope)
    check.done("webhook")


def _is_address(url: str) -> bool:
    if len(url) > _URL_MAX or not re.match(r"https?://[^/\s@]+(/\S*)?\Z", url):
        return False
    try:
        parts = urlsplit(url)
        _ = parts.port
        return bool((parts.hostname or "").encode("idna"))  # as it is looked up: no label is empty or beyond 63 letters
    except ValueError:  # or brackets that do not close, or a port that is none
        return False


def _check_query(check: Checker, context: Context, query: str) -> None:
    from backlog_store.querylang import parse_query  # it takes a while to load, and few subscribe

    try:
        parse_query(query, now=context.now, me=context.actor.name)
    except InvalidQuery as error:
        check.fault("query", query, f"{error.reason}, at character {error.offset + 1}")


def _remove(context: Context, body: RemoveWebhook) -> Outcome:
    """
    Tell a receiver nothing any more.
    """
    check = Checker()
    check.text("message", body.message, LIMITS.message)
    check.done("webhook")
    _, old = _there(context.record("access", webhook_record(body.name)), body.name)
    gone = replace(old, secret="", removed_at=context.now, by=context.actor.name)
    context.put_record("access", webhook_record(body.name), to_builtins(gone))
    for record in list(each_record(context.reader, "delivery", f"{body.name}/")):
        if record.id != progress_record(body.name):
            context.drop_record("delivery", record.id)
    # Emptied and kept, so that its revisions never begin again: a late note would be taken for one of a namesake.
    context.put_record("delivery", progress_record(body.name), {})
    revision = tell(context, "webhook_removed", body.message, {"name": body.name})
    return Outcome(verdict="updated", id=body.name, revision=revision)


def _redeliver(context: Context, body: Redeliver) -> Outcome:
    """
    Deliver again what was delivered, or what was kept aside. Raises `InvalidInput` for what is no position.
    """
    _there(context.record("access", webhook_record(body.name)), body.name)
    count = 0
    if body.aside:
        for kept in asides(context.reader, body.name):
            again = replace(kept, attempts=0, next_at=context.now)
            context.put_record("delivery", aside_record(body.name, kept.position), to_builtins(again))
            count += 1
    _, progress = progress_of(context.reader, body.name)
    if body.after is not None:
        progress = replace(progress, cursor=within_log(context.reader, body.after))
    if body.aside:
        progress = replace(progress, kept=count, due_at=context.now if count else "")
    # Whoever asks for it has mended the receiver: what waits is tried now. That it was written stops who delivers.
    context.put_record("delivery", progress_record(body.name), to_builtins(
        replace(progress, attempts=0, next_at="", error="")))  # fmt: skip
    revision = tell(context, "webhook_replayed", body.message, {"name": body.name, "after": body.after, "aside": count})
    return Outcome(verdict="updated", id=body.name, revision=revision, why=f"{count} kept aside")


def _note(context: Context, body: NoteDeliveries) -> Outcome:
    """
    Note what became of deliveries.
    """
    lease = context.record("delivery", LEASE)
    held = lease.body if lease is not None else {}
    if held.get("holder") not in ("", None, body.holder) and held.get("until", "") > context.now:
        return Outcome(verdict="unchanged", id=str(held["holder"]), why="another process delivers")
    context.put_record("delivery", LEASE, {"holder": body.holder if body.until else "", "until": body.until})
    if not body.name:
        return Outcome(verdict="updated")
    record = context.record("delivery", progress_record(body.name))
    if (record.revision if record is not None else 0) != body.over or body.progress is None:
        return Outcome(verdict="unchanged", why="somebody had it delivered anew, or removed it")
    _there(context.record("access", webhook_record(body.name)), body.name)
    context.put_record("delivery", progress_record(body.name), to_builtins(body.progress))
    for attempt in body.log:
        context.put_record("delivery", log_record(body.name, attempt.number), to_builtins(attempt))
    for position in body.gone:
        context.drop_record("delivery", aside_record(body.name, position))
    for kept in body.aside:
        context.put_record("delivery", aside_record(body.name, kept.position), to_builtins(kept))
    return Outcome(verdict="updated", id=body.name)


_RULES: Mapping[type, Callable[[Context, Any], Outcome]] = {
    SetWebhook: _set,
    RemoveWebhook: _remove,
    Redeliver: _redeliver,
    NoteDeliveries: _note,
}


def hook(context: Context, body: Webhooks) -> Outcome:
    """
    Decide what is asked about webhooks.
    """
    return _RULES[type(body)](context, body)
