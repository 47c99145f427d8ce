"""
My account: one's own role and reach, password and sessions.
"""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace

from backlog_store import commands as c
from backlog_store.admission import ended_session, kept_password, open_sessions, reach_of, session_told, way_of
from backlog_store.credentials import Person
from backlog_store.errors import BacklogError, Fault, InvalidInput, NotFound
from backlog_store.rules.admitted import person_named
from backlog_store.web.pages.administering import attempted
from backlog_store.web.pages.changes import FORM, back_to, form_of, one_of
from backlog_store.web.pages.people import check_secret, is_secret
from backlog_store.web.pages.render import page
from backlog_store.web.problems import HttpProblem
from backlog_store.web.routing import Ask, Reply, Routes
from backlog_store.web.signing_in import Accounts

__all__ = ["routes"]

routes = Routes()


@routes.add("GET", "/account", action="read", gives="text/html")
def account_page(ask: Ask) -> Reply:
    """
    Show who one is here, how far that reaches, and one's sessions.
    """
    return _shown(ask)


def _own(ask: Ask) -> tuple[int, Person] | None:
    """
    Return one's own record: nothing where nobody signs in, or a program does.
    """
    if not ask.asker.person or not isinstance(ask.site.sign_in, Accounts):
        return None
    try:
        return ask.site.backlog.read(lambda reader: person_named(reader, ask.asker.name))
    except NotFound:
        return None


def _shown(ask: Ask, code: int = 200, refused: BacklogError | None = None) -> Reply:
    found, accounts = _own(ask), ask.site.sign_in
    here = accounts.session(ask.request) if isinstance(accounts, Accounts) else ""
    sessions = [{**session_told(digest, one), "here": digest == here}
                for digest, one in (open_sessions(ask.site.backlog, ask.asker.name) if found else [])]  # fmt: skip
    scope = ask.asker.scope
    return page(ask, "account.html", code=code, way=way_of, person=found[1] if found else None, sessions=sessions,
                role=scope.role if scope else "", reach=reach_of(scope) if scope else "everything", refused=refused,
                alone=not isinstance(accounts, Accounts), secret=is_secret(ask))  # fmt: skip


@routes.add("POST", "/account", action="read", own=True, takes=FORM, gives="text/html")
def change_account(ask: Ask) -> Reply:
    """
    Change one's own password, or end one's own sessions.
    """
    form, found = form_of(ask), _own(ask)
    if found is None:
        raise HttpProblem(404, "who asks has no account here", hint="`backlog person add` makes one.")
    revision, person = found
    # Who may sign in is otherwise said by admins: this is the service's own word for who showed that they are they.
    own = ask.site.backlog.acting_as(person.name, person=True)

    def ended() -> Reply:
        id = one_of(form, "session")
        own.execute(ended_session(open_sessions(own, person.name), person.name, id) if id
                    else c.EndSessions(name=person.name))  # fmt: skip
        return back_to({}, "ended", "", default="/account")

    def secured() -> Reply:
        accounts, new = ask.site.sign_in, form.get("password", [""])[-1]
        check_secret(ask)
        if not isinstance(accounts, Accounts) or not person.password:
            raise InvalidInput([Fault("/password", "", "you sign in without one")], what="form")
        accounts.prove(ask.request, person.name, form.get("current", [""])[-1])
        if new != form.get("again", [""])[-1]:
            raise InvalidInput([Fault("/again", "", "the two new passwords differ")], what="form")
        kept = kept_password(own, new)
        own.execute(c.SetPerson(name=person.name, scope=person.scope, over=revision, password=kept))
        begun = c.BeginSession(name=person.name, digest="", expires_at="")  # every session ended, this one too
        _, cookie = accounts.enter_by(ask.request, begun)
        done = back_to({}, "updated", "", default="/account")
        return replace(done, cookies=(cookie,))

    verbs: dict[str, Callable[[], Reply]] = {"end": ended, "password": secured}
    verb = one_of(form, "do")
    if verb not in verbs:
        raise HttpProblem(422, f"there is no {verb[:40]!r} of an account")
    return attempted(verbs[verb], lambda code, error: _shown(ask, code, error))
