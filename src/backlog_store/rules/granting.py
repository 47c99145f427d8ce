"""
What is decided about who may sign in: tokens, people, sessions. It stands in one trail, see `rules.accesstrail`.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping
from typing import Any

from msgspec.structs import replace

from backlog_store.backends.scanning import each_record
from backlog_store.codec import from_builtins, to_builtins
from backlog_store.commands import (
    Access,
    AdmitPerson,
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
from backlog_store.credentials import Person, Session, Token, administers, state_of
from backlog_store.errors import AlreadyExists, NotAllowed, NotFound, RevisionConflict
from backlog_store.instants import Instant, is_instant
from backlog_store.model import ACTOR_KINDS, LIMITS
from backlog_store.rules.accesstrail import check_secret, check_subject, check_who, tell
from backlog_store.rules.admitted import administering, person_in, person_of, person_record, sessions, tokens
from backlog_store.rules.checks import Checker
from backlog_store.rules.view import Context

__all__ = ["grant"]

# --- tokens -----------------------------------------------------------------------------------------------------------


def _issue_token(context: Context, body: IssueToken) -> Outcome:
    """
    Issue a token.
    """
    check = Checker()
    check.id("key", body.key)
    check.one_of("kind", body.kind, ACTOR_KINDS)
    _check_ahead(check, "expires_at", body.expires_at, context.now)
    check_who(check, body.name, body.scope, body.message)
    check_secret(check, body.digest, body.last)
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


def _check_ahead(check: Checker, name: str, at: Instant, now: Instant) -> None:
    check.instant(name, at)
    if is_instant(at) and at <= now:
        check.fault(name, at, "lies in the past; give an instant ahead, or nothing")


def _rotate_token(context: Context, body: RotateToken) -> Outcome:
    """
    Give a token a new secret.
    """
    check = Checker()
    check.text("message", body.message, LIMITS.message)
    check.instant("until", body.until)
    _check_ahead(check, "expires_at", body.expires_at or "", context.now)
    check_secret(check, body.digest, body.last)
    check.done("token")
    token = _the_token(context, body.name)
    expires_at = token.expires_at if body.expires_at is None else body.expires_at
    new = replace(token, digest=body.digest, last=body.last, rotated_at=context.now, expires_at=expires_at,
                  before=token.digest if body.until else "", before_until=body.until)  # fmt: skip
    _check_admin_left(context, token, new)
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
    _check_admin_left(context, token, new, is_meant=body.last_admin)
    return _put_token(context, new, "token_revoked", body.message, "updated")


def _live_token(context: Context, name: str) -> Token | None:
    found = (one for one in tokens(context.reader) if one.name == name)
    return next((one for one in found if state_of(one, context.now) == "holds"), None)


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
    record = context.record("access", person_record(body.name))
    old = from_builtins(record.body, Person) if record is not None else None
    is_there = old is not None and not old.removed_at
    known = old.subject if old is not None else ""
    check = Checker()
    check_who(check, body.name, body.scope, body.message)
    if body.password:
        check.text("password", body.password, LIMITS.name)
        if known if body.subject is None else body.subject:
            check.fault("password", "", "a provider of OIDC signs this person in, and nothing else does")
    if body.subject:
        check_subject(check, body.subject)
    if known and not is_there and body.subject is None:
        check.fault("subject", known, "a provider of OIDC signed this person in, who was removed: give the same "
                    "subject again, or an empty one for somebody else of that name")  # fmt: skip
    check.done("person")
    found = record.revision if record is not None and is_there else 0
    if is_there and not body.over:
        raise AlreadyExists("person", body.name, held_by=body.name,
                            hint="`backlog person edit` changes role, reach and password.")  # fmt: skip
    if body.over != found:
        raise RevisionConflict(f"person {body.name}", expected=body.over, found=found)
    same = person_of(context.reader, body.subject) if body.subject else None
    if same is not None and same.name != body.name:
        raise AlreadyExists("subject", body.subject or "", held_by=same.name)
    subject = known if body.subject is None else body.subject
    kept = old.password if old is not None and is_there and not body.subject else ""
    new = Person(name=body.name, scope=body.scope, by=context.actor.name, at=context.now, subject=subject,
                 password=kept if body.password is None else body.password)  # fmt: skip
    if is_there and old is not None:
        _check_admin_left(context, old, new, is_meant=body.last_admin)
    if body.password is not None or subject != known:
        _end(context, body.name)
    revision = _put_person(context, new, body.message, password=body.password is not None)
    return Outcome(verdict="updated" if is_there else "created", id=body.name, revision=revision)


def _put_person(context: Context, person: Person, message: str, *, password: bool = False) -> int:
    context.put_record("access", person_record(person.name), to_builtins(person))
    meta = {"name": person.name, "scope": to_builtins(person.scope), "password": password}
    return tell(context, "person_set", message, meta | ({"subject": person.subject} if person.subject else {}))


def _remove_person(context: Context, body: RemovePerson) -> Outcome:
    """
    Let a person sign in no longer.
    """
    check = Checker()
    check.text("message", body.message, LIMITS.message)
    check.done("person")
    person = _the_person(context, body.name)
    gone = replace(person, password="", removed_at=context.now, by=context.actor.name)
    _check_admin_left(context, person, gone, is_meant=body.last_admin)
    context.put_record("access", person_record(body.name), to_builtins(gone))
    _end(context, body.name)
    revision = tell(context, "person_removed", body.message, {"name": body.name})
    return Outcome(verdict="updated", id=body.name, revision=revision)


def _the_person(context: Context, name: str) -> Person:
    return person_in(context.record("access", person_record(name)), name)[1]


# --- the last one who may administer ----------------------------------------------------------------------------------


def _check_admin_left(context: Context, old: Person | Token, new: Person | Token, *, is_meant: bool = False) -> None:
    """
    Refuse what would leave nobody who may administer everything: where all sign in, nobody could let anybody in then.

    That it *is_meant* counts only of who has the store at hand, and can let somebody in without signing in. Whom a
    provider of OIDC signs in is no loss: it lets in whoever is in the group.
    """
    if (is_meant and context.command.scope is None) or (isinstance(old, Person) and old.subject):
        return
    if not administers(old, context.now) or administers(new, context.now):
        return
    if all(one == old for one in administering(context.reader, context.now)):
        what = f"the {'person' if isinstance(old, Person) else 'token'} {old.name!r}"
        raise NotAllowed(f"this change of {what}", "nobody would be left who may administer everything",
                         hint="Make somebody else admin first: `backlog person add NAME --role admin`. Where the store "
                         "is, --last-admin says that nobody is to be left.")  # fmt: skip


# --- sessions ---------------------------------------------------------------------------------------------------------


def _begin_session(context: Context, body: BeginSession) -> Outcome:
    """
    Begin a session.
    """
    _the_person(context, body.name)
    return _begun(context, body.name, body.digest, body.expires_at)


def _begun(context: Context, name: str, digest: str, expires_at: Instant) -> Outcome:
    session = Session(name=name, begun_at=context.now, seen_at=context.now, expires_at=expires_at)
    context.put_record("session", digest, to_builtins(session), expires_at=expires_at)
    return Outcome(verdict="created", id=name)


def _admit_person(context: Context, body: AdmitPerson) -> Outcome:
    """
    Let in whom a provider knows, with the role and reach that this sign-in gives.
    """
    person = person_of(context.reader, body.subject, body.name)
    if person is not None and person.removed_at:
        raise NotAllowed(f"signing in as {person.name}", "this person was removed here",
                         hint="`backlog person add NAME --subject …` lets somebody in again.")  # fmt: skip
    if person is None:
        check = Checker()
        check_who(check, body.name, body.scope, "")
        check_subject(check, body.subject)
        check.done("person")
        _check_free(context, body.name)
    if person is None or person.scope != body.scope:
        person = Person(name=body.name if person is None else person.name, scope=body.scope, by=context.actor.name,
                        at=context.now, subject=body.subject)  # fmt: skip
        _put_person(context, person, "")
    return _begun(context, person.name, body.digest, body.expires_at)


def _check_free(context: Context, name: str) -> None:
    """
    Refuse a name that somebody has or had here, or one that reads like it: what they did would pass for another's.
    """
    for record in each_record(context.reader, "access", "person/"):
        held = str(record.body["name"])
        if _folded(held) == _folded(name):
            raise AlreadyExists("person", name, held_by=held, hint="`backlog person edit --subject` makes both one.")


def _folded(name: str) -> str:
    return unicodedata.normalize("NFKC", name).casefold()


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


_RULES: Mapping[type, Callable[[Context, Any], Outcome]] = {
    IssueToken: _issue_token,
    RotateToken: _rotate_token,
    RevokeToken: _revoke_token,
    SetPerson: _set_person,
    RemovePerson: _remove_person,
    AdmitPerson: _admit_person,
    BeginSession: _begin_session,
    TouchSession: _touch_session,
    EndSessions: _end_sessions,
}


def grant(context: Context, body: Access) -> Outcome:
    """
    Decide what is asked about who may sign in.
    """
    return _RULES[type(body)](context, body)
