"""
People: who signs in, how far that reaches, and their sessions. For admins who are bound to no part.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from backlog_store import commands as c
from backlog_store.access import Scope
from backlog_store.admission import ended_session, kept_password, open_sessions, person_told, session_told
from backlog_store.credentials import Person
from backlog_store.rules.admitted import people, person_named
from backlog_store.web.inputs import etag, paged, request_id, revision_asked
from backlog_store.web.routing import LIMIT, Ask, Param, Reply, Routes

__all__ = ["routes"]

routes = Routes("/api/v1")

_PERSON, _SESSIONS = "/people/{name:str}", "/people/{name:str}/sessions"
_PAGE = (LIMIT, Param("after", "Go on behind this name."))


class PersonIn(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    Who may sign in, and how far that reaches. Without a password only a proxy signs this person in.

    With `subject` (the issuer, a space, and who this is to it) a provider of OIDC does, and nothing else.
    """

    name: str
    scope: Scope
    password: str = ""
    subject: str | msgspec.UnsetType = msgspec.UNSET
    message: str = ""


class PersonEditIn(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    What to change; what is not named stays. A new password ends every session; an empty one takes it away.

    So does another `subject`: who this is to a provider of OIDC, which alone signs this person in then.
    """

    scope: Scope | msgspec.UnsetType = msgspec.UNSET
    password: str | msgspec.UnsetType = msgspec.UNSET
    subject: str | msgspec.UnsetType = msgspec.UNSET
    message: str = ""


@routes.add("GET", "/people", action="administer", whole=True, collects=True, params=_PAGE, answers={200: dict})
def list_people(ask: Ask) -> Reply:
    """
    List who may sign in, by name.
    """
    found = ask.site.backlog.read(lambda reader: list(people(reader)))
    page, next = paged(found, lambda pair: pair[1].name, ask.parameters, ask.strays())
    return Reply(data={"people": [_told(*pair) for pair in page], "next": next})


@routes.add("POST", "/people", action="administer", whole=True, body=PersonIn, headers=("Idempotency-Key",),
            answers={201: dict})  # fmt: skip
def add_person(ask: Ask) -> Reply:
    """
    Let a person sign in. Of the password a slow hash is kept.
    """
    given = ask.body_as(PersonIn)
    kept = _kept(ask, given.password)
    body = c.SetPerson(name=given.name, scope=given.scope, over=0, password=kept, message=given.message,
                       subject=_subject(given))  # fmt: skip
    ask.backlog.execute(body, request_id=request_id(ask.request))
    return _shown(ask, given.name, status=201)


@routes.add("GET", _PERSON, action="administer", whole=True, answers={200: dict})
def get_person(ask: Ask) -> Reply:
    """
    Show a person: role, reach, whether there is a password.
    """
    return _shown(ask, ask.path["name"])


@routes.add("PATCH", _PERSON, action="administer", whole=True, body=PersonEditIn,
            headers=("If-Match", "Idempotency-Key"), answers={200: dict})  # fmt: skip
def edit_person(ask: Ask) -> Reply:
    """
    Give a person another role, reach or password; `If-Match` says on which revision this rests.
    """
    name, given = ask.path["name"], ask.body_as(PersonEditIn)
    asked = revision_asked(ask.request, required=True)
    revision, old = ask.site.backlog.read(lambda reader: person_named(reader, name))
    password = given.password
    kept = None if password is msgspec.UNSET else _kept(ask, password)
    scope = old.scope if given.scope is msgspec.UNSET else given.scope
    body = c.SetPerson(name=name, scope=scope, over=asked or revision, password=kept, message=given.message,
                       subject=_subject(given))  # fmt: skip
    ask.backlog.execute(body, request_id=request_id(ask.request))
    return _shown(ask, name)


@routes.add("DELETE", _PERSON, action="administer", whole=True, answers={204: None})
def remove_person(ask: Ask) -> Reply:
    """
    Let a person sign in no longer; every session ends at once. What they did stays theirs.
    """
    ask.backlog.execute(c.RemovePerson(name=ask.path["name"]))
    return Reply(status=204)


@routes.add("GET", _SESSIONS, action="administer", whole=True, answers={200: dict})
def list_sessions(ask: Ask) -> Reply:
    """
    List the sessions of a person that hold now, the one used last first.
    """
    found = open_sessions(ask.site.backlog, ask.path["name"])
    return Reply(data={"sessions": [session_told(digest, one) for digest, one in found]})


@routes.add("DELETE", _SESSIONS, action="administer", whole=True, answers={204: None})
def end_sessions(ask: Ask) -> Reply:
    """
    End every session of a person; signing in again is open to them.
    """
    name = ask.path["name"]
    ask.backlog.read(lambda reader: person_named(reader, name))
    ask.backlog.execute(c.EndSessions(name=name))
    return Reply(status=204)


@routes.add("DELETE", _SESSIONS + "/{id:str}", action="administer", whole=True, answers={204: None})
def end_session(ask: Ask) -> Reply:
    """
    End one session of a person.
    """
    name = ask.path["name"]
    ask.backlog.execute(ended_session(open_sessions(ask.site.backlog, name), name, ask.path["id"]))
    return Reply(status=204)


def _kept(ask: Ask, password: str) -> str:
    return kept_password(ask.backlog, password, request_id=request_id(ask.request)) if password else ""


def _subject(given: PersonIn | PersonEditIn) -> str | None:
    return None if given.subject is msgspec.UNSET else given.subject


def _shown(ask: Ask, name: str, status: int = 200) -> Reply:
    # Whether there is a password is read where it is seen: an asker's own view leaves out what is kept of secrets.
    revision, person = ask.site.backlog.read(lambda reader: person_named(reader, name))
    return Reply(data=_told(revision, person), status=status, headers={"ETag": etag(revision)})


def _told(revision: int, person: Person) -> dict[str, Any]:
    return {**person_told(person), "revision": revision}
