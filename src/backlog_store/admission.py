"""
Letting programs and people in: what the command line, the API and the pages do alike about who signs in.

Secrets are drawn here, turned into digests, and handed over once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from backlog_store.access import Scope
from backlog_store.backends.port import Reader
from backlog_store.backlog import Backlog
from backlog_store.codec import to_builtins
from backlog_store.commands import EndSessions, IssueToken, RotateToken
from backlog_store.credentials import (
    PASSWORD_MAX,
    PASSWORD_MIN,
    Person,
    Session,
    Token,
    digest_of,
    drawn_token,
    hashed,
    key_of,
    session_holds,
    state_of,
)
from backlog_store.errors import Fault, InvalidInput, NotFound
from backlog_store.instants import Instant
from backlog_store.model import ActorKind
from backlog_store.rules.admitted import SECRETS, person_named, sessions, token_named

__all__ = [
    "Handed", "ended_session", "issue_token", "kept_password", "open_sessions", "person_told", "reach_of",
    "rotate_token", "session_told", "token_told", "way_of",
]  # fmt: skip

_SESSION_ID = 16


class Handed(Struct, frozen=True, kw_only=True):
    """
    A token that was issued or rotated. *secret* is empty where the request was answered before: it is shown once.
    """

    key: str
    secret: str


def issue_token(backlog: Backlog, name: str, scope: Scope, *, kind: ActorKind = "machine", expires_at: Instant = "",
                message: str = "", request_id: str = "") -> Handed:  # fmt: skip
    """
    Let whoever is handed the secret act as *name*. Raises `AlreadyExists`, `InvalidInput`, `NotAllowed`.
    """
    secret = drawn_token(backlog.ids)
    body = IssueToken(key=key_of(secret), digest=digest_of(secret), last=secret[-4:], name=name, scope=scope, kind=kind,
                      expires_at=expires_at, message=message)  # fmt: skip
    answer = backlog.execute(body, request_id=request_id)
    return Handed(key=answer.outcomes[0].id, secret="" if answer.replayed else secret)


def rotate_token(backlog: Backlog, name: str, *, until: Instant = "", expires_at: Instant | None = None,
                 message: str = "", request_id: str = "") -> Handed:  # fmt: skip
    """
    Give the token of *name* a new secret; the one before holds until *until*. Raises `NotFound`, `InvalidInput`.
    """
    now = backlog.clock()
    secret = drawn_token(backlog.ids, backlog.read(lambda reader: token_named(reader, name, now))[1].key)
    body = RotateToken(name=name, digest=digest_of(secret), last=secret[-4:], until=until, expires_at=expires_at,
                       message=message)  # fmt: skip
    answer = backlog.execute(body, request_id=request_id)
    return Handed(key=answer.outcomes[0].id, secret="" if answer.replayed else secret)


def kept_password(backlog: Backlog, password: str, *, request_id: str = "") -> str:
    """
    Return what is kept of a new password. Raises `InvalidInput` for one that is too short or too long.

    With a *request_id* its salt follows from that and who asks, which no other password has: the same request again
    then asks for the same, and one with another password does not, by what takes as long to guess as a sign-in.
    """
    if not PASSWORD_MIN <= len(password) <= PASSWORD_MAX:
        fault = Fault("/password", f"{len(password)} characters", f"{PASSWORD_MIN} to {PASSWORD_MAX} characters")
        raise InvalidInput([fault], what="password", hint="Nothing was done.")
    asked = f"{backlog.actor.name}/{request_id}"
    return hashed(password, (lambda: digest_of(asked)[:32]) if request_id else backlog.ids)


def open_sessions(backlog: Backlog, name: str) -> list[tuple[str, Session]]:
    """
    Return the sessions of a person that hold now, each with its digest, the one used last first. Raises `NotFound`.
    """
    now = backlog.clock()

    def look(reader: Reader) -> list[tuple[str, Session]]:
        person_named(reader, name)
        return [(id, one) for id, one in sessions(reader, name) if session_holds(to_builtins(one), now)]

    return sorted(backlog.read(look), key=lambda pair: (pair[1].seen_at, pair[0]), reverse=True)


def ended_session(open: Sequence[tuple[str, Session]], name: str, id: str) -> EndSessions:
    """
    Return the command that ends one session of those that are *open* to *name*, by its `id`. Raises `NotFound`.
    """
    digest = next((digest for digest, _ in open if digest[:_SESSION_ID] == id), "")
    if not digest:
        raise NotFound("session", id, hint="It may have ended by itself.")
    return EndSessions(name=name, digest=digest)


def token_told(token: Token, now: Instant) -> dict[str, Any]:
    """
    Return a token as data, without what is kept of its secret; `state` is ``holds``, ``expired`` or ``revoked``.
    """
    told = {name: value for name, value in to_builtins(token).items() if name not in SECRETS}
    return {**told, "state": state_of(token, now)}


def person_told(person: Person) -> dict[str, Any]:
    """
    Return a person as data; `password` tells whether there is one, `subject` who that is to a provider of OIDC.
    """
    told = {name: value for name, value in to_builtins(person).items() if name not in SECRETS}
    return {**told, "password": bool(person.password), "subject": person.subject}


def way_of(person: Person) -> str:
    """
    Return in what way a person signs in.
    """
    return "by OIDC" if person.subject else "by password" if person.password else "by proxy"


def session_told(digest: str, session: Session) -> dict[str, Any]:
    """
    Return a session as data; `id` is the beginning of its digest, which lets nobody in.
    """
    return {"id": digest[:_SESSION_ID], "begun_at": session.begun_at, "seen_at": session.seen_at,
            "expires_at": session.expires_at}  # fmt: skip


def reach_of(scope: Scope) -> str:
    """
    Return how far a scope reaches, in words.
    """
    bounds = (("env", scope.envs), ("service", scope.services), ("source", scope.sources))
    parts = [f"{name} {', '.join(values) or 'none'}" for name, values in bounds if values is not None]
    return "; ".join(parts) or "everything"
