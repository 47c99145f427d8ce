"""
People, for admins: who signs in, how far that reaches, their sessions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from urllib.parse import quote

from backlog_store import commands as c
from backlog_store.access import ROLES
from backlog_store.admission import ended_session, kept_password, open_sessions, reach_of, session_told, way_of
from backlog_store.errors import BacklogError
from backlog_store.rules.admitted import people, person_named
from backlog_store.web.inputs import paged
from backlog_store.web.pages.administering import attempted, scope_of, typed_of
from backlog_store.web.pages.changes import FORM, back_to, form_of, one_of, revision_of
from backlog_store.web.pages.render import page
from backlog_store.web.problems import HttpProblem
from backlog_store.web.routing import Ask, Param, Reply, Routes
from backlog_store.web.signing_in import Accounts

__all__ = ["check_secret", "is_secret", "routes"]

routes = Routes()


@routes.add("GET", "/people", action="administer", whole=True, params=(Param("after", "Go on behind this name."),),
            gives="text/html")  # fmt: skip
def people_page(ask: Ask) -> Reply:
    """
    Show who may sign in, and the form to add somebody.
    """
    return _listed(ask)


def _listed(ask: Ask, code: int = 200, refused: BacklogError | None = None,
            given: Mapping[str, str] | None = None) -> Reply:  # fmt: skip
    found = ask.site.backlog.read(lambda reader: list(people(reader)))
    shown, next = paged(found, lambda pair: pair[1].name, {"after": [ask.text("after")]}, [])
    return page(ask, "people.html", code=code, people=[one for _, one in shown], next=next, total=len(found),
                roles=ROLES, reach=reach_of, way=way_of, quote=quote, refused=refused,
                given=given or {"role": "worker"}, secret=is_secret(ask),
                signs_in=isinstance(ask.site.sign_in, Accounts))  # fmt: skip


@routes.add("POST", "/people", action="administer", whole=True, takes=FORM, gives="text/html")
def add_person_here(ask: Ask) -> Reply:
    """
    Let a person sign in.
    """
    form = form_of(ask)
    name, password = one_of(form, "name"), form.get("password", [""])[-1]

    def do() -> Reply:
        scope = scope_of(form)
        kept = _kept(ask, password)
        ask.backlog.execute(c.SetPerson(name=name, scope=scope, over=0, password=kept))
        return back_to({}, "created", "", default=_place(name))

    typed = {field: one_of(form, field) for field in ("name", "role", "envs", "services", "sources")}
    return attempted(do, lambda code, error: _listed(ask, code, error, typed))


@routes.add("GET", "/people/{name:path}", action="administer", whole=True, gives="text/html")
def person_page(ask: Ask) -> Reply:
    """
    Show a person: role, reach, sessions, and how to change them.
    """
    return _shown(ask)


def _name(ask: Ask) -> str:
    return ask.path["name"].removeprefix("/")


def _place(name: str) -> str:
    return f"/people/{quote(name)}"


def _shown(ask: Ask, code: int = 200, refused: BacklogError | None = None,
           given: Mapping[str, str] | None = None) -> Reply:  # fmt: skip
    name = _name(ask)
    revision, person = ask.site.backlog.read(lambda reader: person_named(reader, name))
    sessions = [session_told(digest, one) for digest, one in open_sessions(ask.site.backlog, name)]
    return page(ask, "person.html", code=code, person=person, revision=revision, sessions=sessions, roles=ROLES,
                reach=reach_of, way=way_of, refused=refused, given=given or typed_of(person.scope),
                secret=is_secret(ask))  # fmt: skip


@routes.add("POST", "/people/{name:path}", action="administer", whole=True, takes=FORM, gives="text/html")
def change_person(ask: Ask) -> Reply:
    """
    Do what a form of a person says: role and reach, a password, ending sessions, removing.
    """
    form, name = form_of(ask), _name(ask)
    revision, person = ask.site.backlog.read(lambda reader: person_named(reader, name))
    seen = revision_of(one_of(form, "revision")) or revision

    def scoped() -> Reply:
        ask.backlog.execute(c.SetPerson(name=name, scope=scope_of(form), over=seen))
        return back_to({}, "updated", "", default=_place(name))

    def secured() -> Reply:
        kept = _kept(ask, form.get("password", [""])[-1])
        ask.backlog.execute(c.SetPerson(name=name, scope=person.scope, over=seen, password=kept))
        return back_to({}, "updated", "", default=_place(name))

    def ended() -> Reply:
        id = one_of(form, "session")
        found = open_sessions(ask.site.backlog, name)
        ask.backlog.execute(ended_session(found, name, id) if id else c.EndSessions(name=name))
        return back_to({}, "ended", "", default=_place(name))

    def removed() -> Reply:
        ask.backlog.execute(c.RemovePerson(name=name))
        return back_to({}, "removed", "", default="/people")

    verbs: dict[str, Callable[[], Reply]] = {
        "scope": scoped, "password": secured, "end": ended, "remove": removed,
    }  # fmt: skip
    verb = one_of(form, "do")
    if verb not in verbs:
        raise HttpProblem(422, f"there is no {verb[:40]!r} of a person")
    typed = {field: one_of(form, field) for field in ("role", "envs", "services", "sources")}
    return attempted(verbs[verb], lambda code, error: _shown(ask, code, error, typed if verb == "scope" else None))


def is_secret(ask: Ask) -> bool:
    """
    Tell whether a password may be asked for: nobody reads along.
    """
    accounts = ask.site.sign_in
    return not isinstance(accounts, Accounts) or accounts.is_secret(ask.request)


def check_secret(ask: Ask) -> None:
    """
    Refuse a password that could be read on its way. Raises `HttpProblem` (403).
    """
    if not is_secret(ask):
        raise HttpProblem(403, "a password would travel unencrypted", code="not_encrypted", hint="Come by https.")


def _kept(ask: Ask, password: str) -> str:
    if not password:
        return ""
    check_secret(ask)
    return kept_password(ask.backlog, password)
