"""
Tokens: what programs sign in with. For admins who are bound to no part; a secret stands in one answer alone.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from backlog_store import commands as c
from backlog_store.access import Scope
from backlog_store.admission import Handed, issue_token, rotate_token, token_told
from backlog_store.credentials import Token, state_of
from backlog_store.instants import Instant
from backlog_store.model import ActorKind
from backlog_store.rules.admitted import token_named, tokens
from backlog_store.web.inputs import as_instant, paged, request_id, truth
from backlog_store.web.routing import LIMIT, Ask, Param, Reply, Routes

__all__ = ["routes"]

routes = Routes("/api/v1")

_TOKEN = "/tokens/{name:str}"  # noqa: S105  (a path)
_LIST = (Param("all", "Also those that hold no longer.", schema={"type": "boolean"}), LIMIT,
         Param("after", "Go on behind this one: its name, a slash and its key."))  # fmt: skip


class TokenIn(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    As whom a program acts, and how far that reaches; until *expires_at*, or for good.
    """

    name: str
    scope: Scope
    kind: ActorKind = "machine"
    expires_at: Instant = ""
    message: str = ""


class RotateIn(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    *until* is until when the secret before still holds; without it, no longer. *expires_at*: of the token, if another.
    """

    until: Instant = ""
    expires_at: Instant | msgspec.UnsetType = msgspec.UNSET
    message: str = ""


@routes.add("GET", "/tokens", action="administer", whole=True, collects=True, params=_LIST, answers={200: dict})
def list_tokens(ask: Ask) -> Reply:
    """
    List the tokens that hold, by name: what each reaches, until when, its last four characters; no secret.
    """
    now = ask.site.backlog.clock()
    faults = ask.strays()
    everything = truth(ask.parameters, "all", faults)
    found = ask.backlog.read(lambda reader: list(tokens(reader)))
    listed = [one for one in found if everything or state_of(one, now) == "holds"]
    page, next = paged(listed, lambda one: f"{one.name}/{one.key}", ask.parameters, faults)
    return Reply(data={"tokens": [token_told(one, now) for one in page], "next": next})


@routes.add("POST", "/tokens", action="administer", whole=True, body=TokenIn, headers=("Idempotency-Key",),
            answers={201: dict})  # fmt: skip
def issue(ask: Ask) -> Reply:
    """
    Issue a token. `token` in the answer is the secret, this once: asked again with the same key, it is not there.
    """
    given = ask.body_as(TokenIn)
    handed = issue_token(ask.backlog, given.name, given.scope, kind=given.kind,
                         expires_at=as_instant(given.expires_at), message=given.message,
                         request_id=request_id(ask.request))  # fmt: skip
    return _handed(ask, given.name, handed, 201)


@routes.add("GET", _TOKEN, action="administer", whole=True, answers={200: dict})
def get_token(ask: Ask) -> Reply:
    """
    Show the token of a name: the one that holds, else the newest.
    """
    return Reply(data=token_told(_named(ask, ask.path["name"]), ask.site.backlog.clock()))


@routes.add("POST", _TOKEN + "/rotate", action="administer", whole=True, body=RotateIn, headers=("Idempotency-Key",),
            answers={200: dict})  # fmt: skip
def rotate(ask: Ask) -> Reply:
    """
    Give a token a new secret, shown as that of a new one is; name and reach stay.
    """
    name, given = ask.path["name"], ask.body_as(RotateIn)
    expires_at = None if given.expires_at is msgspec.UNSET else as_instant(given.expires_at)
    handed = rotate_token(ask.backlog, name, until=as_instant(given.until), expires_at=expires_at,
                          message=given.message, request_id=request_id(ask.request))  # fmt: skip
    return _handed(ask, name, handed)


@routes.add("DELETE", _TOKEN, action="administer", whole=True, answers={204: None})
def revoke_token(ask: Ask) -> Reply:
    """
    Let the token of a name hold no longer, at once and for good.
    """
    ask.backlog.execute(c.RevokeToken(name=ask.path["name"]))
    return Reply(status=204)


def _named(ask: Ask, name: str) -> Token:
    now = ask.site.backlog.clock()
    return ask.backlog.read(lambda reader: token_named(reader, name, now))[1]


def _handed(ask: Ask, name: str, handed: Handed, status: int = 200) -> Reply:
    data: dict[str, Any] = token_told(_named(ask, name), ask.site.backlog.clock())
    data |= {"token": handed.secret} if handed.secret else {"replayed": True}
    return Reply(data=data, status=status)
