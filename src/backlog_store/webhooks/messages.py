"""
What is sent to a receiver, and when it is tried again.

Pure: nothing here sends, waits or draws. Signatures are those of Standard Webhooks, bodies are CloudEvents 1.0.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from typing import Any

from backlog_store.codec import encode
from backlog_store.hooks import SECRET_PREFIX
from backlog_store.instants import Instant, to_datetime
from backlog_store.model import Event, Item

__all__ = ["MEDIA_TYPE", "backoff_s", "cloud_event", "headers_of", "ping", "secret_from"]

MEDIA_TYPE = "application/cloudevents+json; charset=utf-8"
_FIRST_S, _TIMES, _LONGEST_S = 5.0, 4.0, 6 * 3_600.0
_BODY_MAX = 64 * 1024
_ITEM = ("id", "revision", "env", "service", "category", "title", "status", "priority", "owner", "due_date", "source",
         "dedupe_key", "tags")  # fmt: skip


def secret_from(drawn: str) -> str:
    """
    Return a secret as Standard Webhooks writes it; *drawn* is 256 random bits in hexadecimal.
    """
    return SECRET_PREFIX + base64.b64encode(bytes.fromhex(drawn)).decode()


def headers_of(secret: str, id: str, at: Instant, body: bytes) -> Mapping[str, str]:
    """
    Return the headers of Standard Webhooks: id, second of sending, and the signature of both with the body.
    """
    second = int(to_datetime(at).timestamp())
    key = base64.b64decode(secret.removeprefix(SECRET_PREFIX))
    signed = hmac.digest(key, b"%s.%d.%s" % (id.encode(), second, body), hashlib.sha256)
    return {"webhook-id": id, "webhook-timestamp": str(second),
            "webhook-signature": f"v1,{base64.b64encode(signed).decode()}"}  # fmt: skip


def cloud_event(event: Event, item: Item | None, source: str) -> bytes:
    """
    Return what is sent of an event: CloudEvents 1.0 as JSON, 64 KiB at most.

    The item is as it is now, which may be later than the event: its revision says so. ``None``: it was purged. Long
    texts are left out where all would not fit; `truncated` says so.
    """
    data: dict[str, Any] = {
        "type": event.type, "revision": event.revision, "actor": event.actor, "actor_kind": event.actor_kind,
        "message": event.message, "changes": event.changes, "meta": event.meta, "batch": event.batch,
        "item": None if item is None else {name: getattr(item, name) for name in _ITEM},
    }  # fmt: skip
    told = {
        "specversion": "1.0", "id": event.id, "source": source, "type": f"backlog.item.{event.type}",
        "subject": event.item_id, "time": event.ts, "datacontenttype": "application/json", "data": data,
    }  # fmt: skip
    body = encode(told)
    if len(body) > _BODY_MAX:
        data |= {"changes": dict.fromkeys(event.changes), "message": "", "meta": {}, "truncated": True}
        body = encode(told)
    return body


def backoff_s(attempts: int, jitter: float) -> float:
    """
    Return how long to wait after so many tries: 5 s, each time four times as long, six hours at most.

    *jitter*, from 0 to 1, spreads that from half of it to all of it.
    """
    return min(_LONGEST_S, _FIRST_S * _TIMES ** (attempts - 1)) * (0.5 + 0.5 * jitter)


def ping(id: str, at: Instant, source: str) -> bytes:
    """
    Return what is sent to try a receiver out.
    """
    return encode({"specversion": "1.0", "id": id, "source": source, "type": "backlog.ping", "time": at,
                   "datacontenttype": "application/json", "data": {}})  # fmt: skip
