"""
The page to sign in, and signing out: plain forms.
"""

from __future__ import annotations

from msgspec.structs import replace

from backlog_store.web.pages.changes import FORM, form_of, one_of, own_place
from backlog_store.web.pages.render import plain_page
from backlog_store.web.problems import HttpProblem
from backlog_store.web.routing import Ask, Param, Reply, Routes
from backlog_store.web.signing_in import Accounts

__all__ = ["routes"]

routes = Routes()


def _accounts(ask: Ask) -> Accounts:
    if not isinstance(ask.site.sign_in, Accounts):
        raise HttpProblem(404, "nobody has to sign in here")
    return ask.site.sign_in


@routes.add("GET", "/sign-in", action=None, params=(Param("back", "Where to go then."),), gives="text/html")
def sign_in_page(ask: Ask) -> Reply:
    """
    Show the form to sign in.
    """
    accounts = _accounts(ask)
    return plain_page("sign-in.html", back=own_place(ask.text("back"), "/now"), name="", refused="",
                      secret=accounts.is_secret(ask.request))  # fmt: skip


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
        again = plain_page("sign-in.html", back=back, name=name, refused=f"{error.message}. {error.hint}".strip(),
                           secret=True)  # fmt: skip
        return replace(again, status=error.status, headers={**again.headers, **error.headers})
    return Reply(status=303, headers={"Location": back, "Set-Cookie": cookie})


@routes.add("POST", "/sign-out", action=None, takes=FORM, gives="text/html")
def sign_out(ask: Ask) -> Reply:
    """
    End the session.
    """
    return Reply(status=303, headers={"Location": "/sign-in", "Set-Cookie": _accounts(ask).leave(ask.request)})
