"""
The trail of who may sign in and who is told: what is written there, and what every command about that is checked for.

It is one trail, `model.ACCESS_TRAIL`, whose head is the record ``access`` ``current``: every such command rewrites it,
so two of them never decide on the same view. No event tells a digest.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from backlog_store.access import ROLES, Scope
from backlog_store.model import ACCESS_TRAIL, LIMITS, TRAILS
from backlog_store.rules.checks import Checker
from backlog_store.rules.view import Context

__all__ = ["check_scope_of", "check_secret", "check_subject", "check_who", "tell"]

_CURRENT = TRAILS[ACCESS_TRAIL]


def check_who(check: Checker, name: str, scope: Scope, message: str) -> None:
    """
    Look whether somebody may be called *name* and have *scope*.
    """
    check.text("name", name, LIMITS.name, required=True)
    if name != name.strip() or not name.isprintable():
        check.fault("name", name, "give a printable name, without space around it")
    check.text("message", message, LIMITS.message)
    check_scope_of(check, scope)


def check_subject(check: Checker, subject: str) -> None:
    """
    Look whether *subject* says who somebody is to a provider of OIDC.
    """
    issuer, _, who = subject.partition(" ")
    if not issuer.startswith(("https://", "http://")) or not who or not subject.isascii() or not subject.isprintable():
        check.fault("subject", subject, "the issuer, a space, and who that is to it: 'https://id.example 248289761001'")
    check.text("subject", subject, LIMITS.title)


def check_scope_of(check: Checker, scope: Scope) -> None:
    """
    Look whether a scope is one that can be kept.
    """
    check.one_of("scope/role", scope.role, ROLES)
    for field in ("envs", "services", "sources"):
        values = getattr(scope, field)
        if values is not None and len(values) > LIMITS.tags:
            check.fault(f"scope/{field}", f"{len(values)} names", f"at most {LIMITS.tags}")
        for index, value in enumerate(values or ()):
            check.text(f"scope/{field}/{index}", value, LIMITS.name, required=field != "services")


def check_secret(check: Checker, digest: str, last: str) -> None:
    """
    Look whether this is what may be kept of a token.
    """
    if len(digest) != 64 or set(digest) - set("0123456789abcdef"):
        check.fault("digest", digest, "the SHA-256 of a token is 64 hexadecimal digits")
    check.text("last", last, 4, required=True)


def tell(context: Context, type: str, message: str, meta: Mapping[str, Any]) -> int:
    """
    Write an event into the trail of access, and return its revision there.
    """
    current = context.record(*_CURRENT)
    revision = current.body["revision"] + 1 if current is not None else 1
    prev = current.body["head"] if current is not None else ""
    event = context.event(ACCESS_TRAIL, revision, type, message, prev=prev, meta=dict(meta))
    context.put_record(*_CURRENT, {"revision": revision, "head": event.hash, "at": context.now}, event=event)
    return revision
