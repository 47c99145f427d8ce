"""
Tokens, for admins: what programs sign in with. A secret is shown on one page, once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

from backlog_store import commands as c
from backlog_store.access import ROLES
from backlog_store.admission import Handed, issue_token, reach_of, rotate_token
from backlog_store.credentials import state_of
from backlog_store.errors import BacklogError
from backlog_store.rules.admitted import token_named, tokens
from backlog_store.web.inputs import paged
from backlog_store.web.pages.administering import attempted, made_at, once, request_of, scope_of
from backlog_store.web.pages.changes import FORM, back_to, form_of, moment, one_of
from backlog_store.web.pages.render import page
from backlog_store.web.problems import HttpProblem
from backlog_store.web.routing import Ask, Param, Reply, Routes

__all__ = ["routes"]

routes = Routes()

_LIST = (Param("after", "Go on behind this one."), Param("all", "Also those that hold no longer."))


@routes.add("GET", "/tokens", action="administer", whole=True, params=_LIST, gives="text/html")
def tokens_page(ask: Ask) -> Reply:
    """
    Show the tokens that hold, and the form to issue one.
    """
    return _listed(ask)


def _listed(ask: Ask, code: int = 200, refused: BacklogError | None = None,
            given: Mapping[str, str] | None = None) -> Reply:  # fmt: skip
    now, everything = ask.site.backlog.clock(), bool(ask.text("all"))
    found = [(one, state_of(one, now)) for one in ask.backlog.read(lambda reader: list(tokens(reader)))]
    wanted = [pair for pair in found if everything or pair[1] == "holds"]
    shown, next = paged(wanted, lambda pair: f"{pair[0].name}/{pair[0].key}", {"after": [ask.text("after")]}, [])
    return page(ask, "tokens.html", code=code, tokens=shown, next=next, everything=everything, roles=ROLES,
                reach=reach_of, quote=quote, refused=refused, given=given or {"role": "reporter"}, once=once(ask),
                over=len(found) - len(wanted))  # fmt: skip


@routes.add("POST", "/tokens", action="administer", whole=True, takes=FORM, gives="text/html")
def issue_here(ask: Ask) -> Reply:
    """
    Issue a token, and show its secret, this once.
    """
    form = form_of(ask)
    name, now = one_of(form, "name"), made_at(form, ask.site.backlog.clock())

    def do() -> Reply:
        kind: Any = "person" if one_of(form, "kind") == "person" else "machine"
        handed = issue_token(ask.backlog, name, scope_of(form), kind=kind, expires_at=moment(form, "expires_at", now),
                             request_id=request_of(form))  # fmt: skip
        return _shown(ask, name, handed=handed)

    fields = ("name", "role", "envs", "services", "sources", "kind", "expires_at")
    typed = {field: one_of(form, field) for field in fields}
    return attempted(do, lambda code, error: _listed(ask, code, error, typed))


@routes.add("GET", "/tokens/{name:path}", action="administer", whole=True, gives="text/html")
def token_page(ask: Ask) -> Reply:
    """
    Show a token: reach, expiry, and how to rotate or revoke it.
    """
    return _shown(ask, ask.path["name"].removeprefix("/"))


def _shown(ask: Ask, name: str, code: int = 200, refused: BacklogError | None = None,
           handed: Handed | None = None) -> Reply:  # fmt: skip
    now = ask.site.backlog.clock()
    _, token = ask.backlog.read(lambda reader: token_named(reader, name, now))
    return page(ask, "token.html", code=code, token=token, state=state_of(token, now), reach=reach_of, refused=refused,
                handed=handed, place=f"/tokens/{quote(name)}", once=once(ask))  # fmt: skip


@routes.add("POST", "/tokens/{name:path}", action="administer", whole=True, takes=FORM, gives="text/html")
def change_token(ask: Ask) -> Reply:
    """
    Give a token a new secret and show it, this once; or revoke it.
    """
    form, now, name = form_of(ask), ask.site.backlog.clock(), ask.path["name"].removeprefix("/")

    def rotated() -> Reply:
        until = moment(form, "until", made_at(form, now))
        handed = rotate_token(ask.backlog, name, until=until, request_id=request_of(form))
        return _shown(ask, name, handed=handed)

    def revoked() -> Reply:
        ask.backlog.execute(c.RevokeToken(name=name))
        return back_to({}, "revoked", "", default=f"/tokens/{quote(name)}")

    verbs: dict[str, Callable[[], Reply]] = {"rotate": rotated, "revoke": revoked}
    verb = one_of(form, "do")
    if verb not in verbs:
        raise HttpProblem(422, f"there is no {verb[:40]!r} of a token")
    ask.backlog.read(lambda reader: token_named(reader, name, now))  # what is not there is 404, whatever is asked of it
    return attempted(verbs[verb], lambda code, error: _shown(ask, name, code, error))
