"""
Who may sign in: tokens, people, sessions.

What is decided about tokens and people stands in one trail, `model.ACCESS_TRAIL`, whose head is the record ``access``
``current``: every such command rewrites it, so two of them never decide on the same view. No event tells a digest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from msgspec.structs import replace

from backlog_store.access import ROLES, Scope
from backlog_store.backends.port import Reader
from backlog_store.backends.scanning import each_record
from backlog_store.codec import from_builtins, to_builtins
from backlog_store.commands import (
    Access,
    BeginSession,
    EndSessions,
    IssueToken,
    Outcome,
    RemovePerson,
    RevokeToken,
    RotateToken,
    SetPerson,
    TouchSession,
)
from backlog_store.credentials import Person, Session, Token
from backlog_store.errors import AlreadyExists, NotFound, RevisionConflict
from backlog_store.ids import event_id
from backlog_store.instants import Instant
from backlog_store.model import ACCESS_TRAIL, ACTOR_KINDS, LIMITS, TRAILS, Event, Record
from backlog_store.rules.checks import Checker
from backlog_store.rules.view import Context
from backlog_store.trail import sealed

__all__ = [
    "access_records", "check_scope_of", "grant", "people", "person_named", "person_record", "sessions",
    "state_of", "tell", "token_named", "tokens", "without_secrets",
]  # fmt: skip

_CURRENT = TRAILS[ACCESS_TRAIL]
_SECRETS = ("digest", "before", "password", "secret")


def access_records(reader: Reader) -> Iterator[Record]:
    """
    Yield every record of tokens and people, and the head of their trail.
    """
    yield from each_record(reader, "access")


def tokens(reader: Reader) -> Iterator[Token]:
    """
    Yield every token, also those that hold no longer.
    """
    return (from_builtins(record.body, Token) for record in each_record(reader, "access", "token/"))


def token_named(reader: Reader, name: str, now: Instant) -> tuple[int, Token]:
    """
    Return the token of a name and the revision of its record: the one that holds, else the newest. Raises `NotFound`.
    """
    found = [record for record in each_record(reader, "access", "token/") if record.body.get("name") == name]
    if not found:
        raise NotFound("token", name, hint="`backlog token list` shows them.")
    record = max(found, key=lambda one: (state_of(from_builtins(one.body, Token), now) == "holds", one.body["at"]))
    return record.revision, from_builtins(record.body, Token)


def state_of(token: Token, now: Instant) -> str:
    """
    Return whether a token ``holds``, is ``expired`` or ``revoked``.
    """
    if token.revoked_at:
        return "revoked"
    return "expired" if token.expires_at and token.expires_at <= now else "holds"


def people(reader: Reader) -> Iterator[tuple[int, Person]]:
    """
    Yield every person that may sign in, with the revision of the record.
    """
    for record in each_record(reader, "access", "person/"):
        person = from_builtins(record.body, Person)
        if not person.removed_at:
            yield record.revision, person


def person_named(reader: Reader, name: str) -> tuple[int, Person]:
    """
    Return who signs in under a name, and the revision of the record. Raises `NotFound`.
    """
    id = person_record(name)
    return _there(reader.records("access", [id]).get(id), name)


def sessions(reader: Reader, name: str) -> Iterator[tuple[str, Session]]:
    """
    Yield the sessions of a person, each with the digest of its secret; those among them that ended by themselves, too.
    """
    for record in each_record(reader, "session"):
        if record.body.get("name") == name:
            yield record.id, from_builtins(record.body, Session)


def person_record(name: str) -> str:
    """
    Return the id of a person's record.
    """
    return f"person/{name}"


def without_secrets(record: Record) -> Record:
    """
    Return a record of a token or person without what is kept of its secret.
    """
    return replace(record, body={name: value for name, value in record.body.items() if name not in _SECRETS})


# --- tokens -----------------------------------------------------------------------------------------------------------


def _issue_token(context: Context, body: IssueToken) -> Outcome:
    """
    Issue a token.
    """
    check = Checker()
    check.id("key", body.key)
    check.one_of("kind", body.kind, ACTOR_KINDS)
    check.instant("expires_at", body.expires_at)
    _check(check, body.name, body.scope, body.message)
    _check_secret(check, body.digest, body.last)
    check.done("token")
    held = _live_token(context, body.name)
    if held is not None:
        raise AlreadyExists("token", body.name, held_by=held.key,
                            hint="`backlog token rotate` renews its secret, `revoke` frees the name.")  # fmt: skip
    if context.record("access", f"token/{body.key}") is not None:
        raise AlreadyExists("token", body.key, held_by=body.key)
    token = Token(key=body.key, name=body.name, scope=body.scope, last=body.last, by=context.actor.name,
                  at=context.now, digest=body.digest, kind=body.kind, expires_at=body.expires_at)  # fmt: skip
    return _put_token(context, token, "token_issued", body.message, "created")


def _rotate_token(context: Context, body: RotateToken) -> Outcome:
    """
    Give a token a new secret.
    """
    check = Checker()
    check.text("message", body.message, LIMITS.message)
    check.instant("until", body.until)
    check.instant("expires_at", body.expires_at or "")
    _check_secret(check, body.digest, body.last)
    check.done("token")
    token = _the_token(context, body.name)
    expires_at = token.expires_at if body.expires_at is None else body.expires_at
    new = replace(token, digest=body.digest, last=body.last, rotated_at=context.now, expires_at=expires_at,
                  before=token.digest if body.until else "", before_until=body.until)  # fmt: skip
    return _put_token(context, new, "token_rotated", body.message, "updated")


def _revoke_token(context: Context, body: RevokeToken) -> Outcome:
    """
    Let a token hold no longer.
    """
    check = Checker()
    check.text("message", body.message, LIMITS.message)
    check.done("token")
    token = _the_token(context, body.name)
    new = replace(token, digest="", before="", before_until="", revoked_at=context.now, revoked_by=context.actor.name)
    return _put_token(context, new, "token_revoked", body.message, "updated")


def _live_token(context: Context, name: str) -> Token | None:
    found = (one for one in tokens(context.reader) if one.name == name and not one.revoked_at)
    return next((one for one in found if not one.expires_at or one.expires_at > context.now), None)


def _the_token(context: Context, name: str) -> Token:
    token = _live_token(context, name)
    if token is None:
        raise NotFound("token", name, hint="`backlog token list` shows them; what expired is issued anew.")
    return token


def _put_token(context: Context, token: Token, type: str, message: str, verdict: Any) -> Outcome:
    context.put_record("access", f"token/{token.key}", to_builtins(token))
    meta = {"token": token.key, "name": token.name, "last": token.last, "kind": token.kind,
            "scope": to_builtins(token.scope), "expires_at": token.expires_at}  # fmt: skip
    if token.before_until and type == "token_rotated":
        meta["before_until"] = token.before_until
    return Outcome(verdict=verdict, id=token.key, revision=tell(context, type, message, meta))


# --- people -----------------------------------------------------------------------------------------------------------


def _set_person(context: Context, body: SetPerson) -> Outcome:
    """
    Let a person sign in, or change how far that reaches.
    """
    check = Checker()
    _check(check, body.name, body.scope, body.message)
    if body.password:
        check.text("password", body.password, LIMITS.name)
    check.done("person")
    record = context.record("access", person_record(body.name))
    old = from_builtins(record.body, Person) if record is not None else None
    is_there = old is not None and not old.removed_at
    found = record.revision if record is not None and is_there else 0
    if is_there and not body.over:
        raise AlreadyExists("person", body.name, held_by=body.name,
                            hint="`backlog person edit` changes role, reach and password.")  # fmt: skip
    if body.over != found:
        raise RevisionConflict(f"person {body.name}", expected=body.over, found=found)
    kept = old.password if old is not None and is_there else ""
    new = Person(name=body.name, scope=body.scope, by=context.actor.name, at=context.now,
                 password=kept if body.password is None else body.password)  # fmt: skip
    context.put_record("access", person_record(body.name), to_builtins(new))
    if body.password is not None:
        _end(context, body.name)
    meta = {"name": body.name, "scope": to_builtins(body.scope), "password": body.password is not None}
    revision = tell(context, "person_set", body.message, meta)
    return Outcome(verdict="updated" if is_there else "created", id=body.name, revision=revision)


def _remove_person(context: Context, body: RemovePerson) -> Outcome:
    """
    Let a person sign in no longer.
    """
    check = Checker()
    check.text("message", body.message, LIMITS.message)
    check.done("person")
    person = _the_person(context, body.name)
    gone = replace(person, password="", removed_at=context.now, by=context.actor.name)
    context.put_record("access", person_record(body.name), to_builtins(gone))
    _end(context, body.name)
    revision = tell(context, "person_removed", body.message, {"name": body.name})
    return Outcome(verdict="updated", id=body.name, revision=revision)


def _the_person(context: Context, name: str) -> Person:
    return _there(context.record("access", person_record(name)), name)[1]


def _there(record: Record | None, name: str) -> tuple[int, Person]:
    person = from_builtins(record.body, Person) if record is not None else None
    if record is None or person is None or person.removed_at:
        raise NotFound("person", name, hint="`backlog person list` shows who may sign in.")
    return record.revision, person


# --- sessions ---------------------------------------------------------------------------------------------------------


def _begin_session(context: Context, body: BeginSession) -> Outcome:
    """
    Begin a session.
    """
    _the_person(context, body.name)
    session = Session(name=body.name, begun_at=context.now, seen_at=context.now, expires_at=body.expires_at)
    context.put_record("session", body.digest, to_builtins(session), expires_at=body.expires_at)
    return Outcome(verdict="created", id=body.name)


def _touch_session(context: Context, body: TouchSession) -> Outcome:
    """
    Note that a session is in use; one that ended meanwhile stays ended.
    """
    record = context.record("session", body.digest)
    if record is None:
        return Outcome(verdict="unchanged")
    session = replace(from_builtins(record.body, Session), seen_at=context.now)
    context.put_record("session", body.digest, to_builtins(session), expires_at=record.expires_at)
    return Outcome(verdict="updated", id=session.name)


def _end_sessions(context: Context, body: EndSessions) -> Outcome:
    """
    End one session, or all of a person.
    """
    ended = _end(context, body.name, body.digest)
    return Outcome(verdict="updated" if ended else "unchanged", id=body.name, why=f"{ended} ended")


def _end(context: Context, name: str, digest: str = "") -> int:
    if digest:
        there = context.record("session", digest)
        context.drop_record("session", digest)
        return there is not None
    own = [id for id, _ in sessions(context.reader, name)]
    for id in own:
        context.drop_record("session", id)
    return len(own)


# --- the trail --------------------------------------------------------------------------------------------------------


def _check(check: Checker, name: str, scope: Scope, message: str) -> None:
    check.text("name", name, LIMITS.name, required=True)
    if name != name.strip() or not name.isprintable():
        check.fault("name", name, "give a printable name, without space around it")
    check.text("message", message, LIMITS.message)
    check_scope_of(check, scope)


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


def _check_secret(check: Checker, digest: str, last: str) -> None:
    if len(digest) != 64 or set(digest) - set("0123456789abcdef"):
        check.fault("digest", digest, "the SHA-256 of a token is 64 hexadecimal digits")
    check.text("last", last, 4, required=True)


def tell(context: Context, type: str, message: str, meta: Mapping[str, Any]) -> int:
    """
    Write an event into the trail of access, and return its revision there.
    """
    current = context.record(*_CURRENT)
    revision = current.body["revision"] + 1 if current is not None else 1
    event = sealed(Event(
        id=event_id(ACCESS_TRAIL, revision),
        item_id=ACCESS_TRAIL,
        revision=revision,
        ts=context.now,
        type=type,
        actor=context.actor.name,
        actor_kind=context.actor.kind,
        message=message,
        meta=dict(meta),
        batch=context.batch,
        request=context.command.request_id,
        policy=context.policy.revision,
        salt=context.salts.next(),
        prev=current.body["head"] if current is not None else "",
    ))  # fmt: skip
    context.put_record(*_CURRENT, {"revision": revision, "head": event.hash, "at": context.now}, event=event)
    return revision


_RULES: Mapping[type, Callable[[Context, Any], Outcome]] = {
    IssueToken: _issue_token,
    RotateToken: _rotate_token,
    RevokeToken: _revoke_token,
    SetPerson: _set_person,
    RemovePerson: _remove_person,
    BeginSession: _begin_session,
    TouchSession: _touch_session,
    EndSessions: _end_sessions,
}


def grant(context: Context, body: Access) -> Outcome:
    """
    Decide what is asked about who may sign in.
    """
    return _RULES[type(body)](context, body)
