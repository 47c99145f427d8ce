"""
The page to sign in, and signing out: plain forms.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlencode

from msgspec.structs import replace

from backlog_store.web.oidc.config import CALLBACK
from backlog_store.web.pages.changes import FORM, form_of, one_of, own_place
from backlog_store.web.pages.render import plain_page
from backlog_store.web.problems import HttpProblem
from backlog_store.web.routing import Ask, Param, Reply, Routes
from backlog_store.web.signing_in import Accounts

if TYPE_CHECKING:
    from backlog_store.web.oidc.flow import OidcSignIn

__all__ = ["routes"]

routes = Routes()

_BEGIN = "/sign-in/oidc"
_ANSWER = {
    "code": "What the provider gives for tokens.", "state": "Which sign-in this answers.",
    "iss": "Which provider answers.", "error": "Why it does not.",
    "error_description": "The same in its own words; for the log alone.",
}  # fmt: skip


def _accounts(ask: Ask) -> Accounts:
    if not isinstance(ask.site.sign_in, Accounts):
        raise HttpProblem(404, "nobody has to sign in here")
    return ask.site.sign_in


def _oidc(ask: Ask) -> tuple[Accounts, OidcSignIn]:
    accounts = _accounts(ask)
    if accounts.oidc is None:
        raise HttpProblem(404, "nobody signs in by OIDC here")
    return accounts, accounts.oidc


def _form(ask: Ask, back: str, *, name: str = "", problem: HttpProblem | None = None) -> Reply:
    """
    Return the page to sign in, where it was refused with the reason.
    """
    accounts = _accounts(ask)
    refused = f"{problem.message}. {problem.hint}".strip() if problem else ""
    reply = plain_page("sign-in.html", back=back, name=name, secret=accounts.is_secret(ask.request),
                       refused=refused[:1].upper() + refused[1:], by_name=problem is not None and bool(name),
                       provider=accounts.oidc.config.name if accounts.oidc is not None else "",
                       begin=f"{_BEGIN}?{urlencode({'back': back})}")  # fmt: skip
    if problem is None:
        return reply
    return replace(reply, status=problem.status, headers={**reply.headers, **problem.headers})


@routes.add("GET", "/sign-in", action=None, params=(Param("back", "Where to go then."),), gives="text/html")
def sign_in_page(ask: Ask) -> Reply:
    """
    Show the form to sign in.
    """
    return _form(ask, own_place(ask.text("back"), "/now"))


@routes.add("POST", "/sign-in", action=None, takes=FORM, gives="text/html")
def sign_in(ask: Ask) -> Reply:
    """
    Sign a person in by name and password.
    """
    accounts, form = _accounts(ask), form_of(ask)
    name, back = one_of(form, "name"), own_place(one_of(form, "back"), "/now")
    try:
        cookie = accounts.enter(ask.request, name, form.get("password", [""])[-1])
    except HttpProblem as error:
        if error.status not in (422, 429):
            raise
        return _form(ask, back, name=name, problem=error)
    return Reply(status=303, headers={"Location": back}, cookies=(cookie,))


@routes.add("GET", _BEGIN, action=None, params=(Param("back", "Where to go then."),), gives="text/html")
def begin_oidc(ask: Ask) -> Reply:
    """
    Send the browser to the provider, to sign in there.
    """
    accounts, oidc = _oidc(ask)
    back = own_place(ask.text("back"), "/now")
    is_sent = ask.request.headers.get("sec-fetch-site", "") in ("cross-site", "same-site")
    is_here = ask.request.headers.get("host", "").lower() == oidc.config.host
    if is_sent or not is_here:
        # Somebody else's page leads here: people sign in because they want to, not because they were sent. And under
        # another name of this service the answer, which comes to the public one, would not find the browser's cookie.
        place = "" if is_here else oidc.config.public_url.rstrip("/")
        return Reply(status=303, headers={"Location": f"{place}/sign-in?{urlencode({'back': back})}"})
    try:
        place, cookie = oidc.begin(accounts, ask.request, back)
    except HttpProblem as error:
        if error.own_code != "oidc_provider":
            raise
        return _form(ask, back, problem=error)
    return Reply(status=303, headers={"Location": place, "Cache-Control": "no-store"}, cookies=(cookie,))


@routes.add("GET", CALLBACK, action=None, gives="text/html",
            params=tuple(Param(name, what) for name, what in _ANSWER.items()))  # fmt: skip
def finish_oidc(ask: Ask) -> Reply:
    """
    Let in whom the provider sends back.
    """
    accounts, oidc = _oidc(ask)
    over = oidc.over(accounts, ask.request)
    try:
        entered = oidc.finish(accounts, ask.request, ask.parameters)
    except HttpProblem as error:
        if not error.own_code.startswith("oidc_"):
            raise
        # Who was sent here with another's answer keeps the sign-in that is under way.
        form = _form(ask, own_place(oidc.back(accounts, ask.request), "/now"), problem=error)
        return replace(form, cookies=() if error.own_code == "oidc_state" else (over,))
    headers = {"Location": own_place(entered.back, "/now"), "Cache-Control": "no-store"}
    return Reply(status=303, headers=headers, cookies=(entered.cookie, over))


@routes.add("POST", "/sign-out", action=None, takes=FORM, gives="text/html")
def sign_out(ask: Ask) -> Reply:
    """
    End the session.
    """
    return Reply(status=303, headers={"Location": "/sign-in"}, cookies=(_accounts(ask).leave(ask.request),))
