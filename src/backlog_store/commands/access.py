"""
The commands that say who may sign in: tokens of machines, people and their sessions.

None of them holds a secret: what is drawn and typed is turned into a digest before a command is made, see
`backlog_store.credentials`.
"""

from __future__ import annotations

from typing import ClassVar

from backlog_store.access import Scope
from backlog_store.commands.items import BodyOf
from backlog_store.instants import Instant
from backlog_store.model import ActorKind

__all__ = [
    "AdmitPerson", "BeginSession", "EndSessions", "IssueToken", "RemovePerson", "RevokeToken", "RotateToken",
    "SetPerson", "TouchSession",
]  # fmt: skip


class IssueToken(BodyOf, frozen=True, tag="issue_token"):
    """
    Let whoever has a secret act as *name*, within *scope*, until *expires_at* (empty: for good).

    *key* is the part of the secret that names it, *digest* the SHA-256 of the whole, *last* its last four characters.
    A name has one token that holds at a time; raises `AlreadyExists` for another one.
    """

    DRAWN: ClassVar[tuple[str, ...]] = ("key", "digest", "last")

    key: str
    digest: str
    last: str
    name: str
    scope: Scope
    kind: ActorKind = "machine"
    expires_at: Instant = ""
    message: str = ""


class RotateToken(BodyOf, frozen=True, tag="rotate_token"):
    """
    Give the token of *name* a new secret. The one before holds until *until* (empty: no longer).
    """

    DRAWN: ClassVar[tuple[str, ...]] = ("digest", "last")

    name: str
    digest: str
    last: str
    until: Instant = ""
    expires_at: Instant | None = None
    message: str = ""


class RevokeToken(BodyOf, frozen=True, tag="revoke_token"):
    """
    Let the token of *name* hold no longer, for good; *last_admin* as in `RemovePerson`.
    """

    name: str
    message: str = ""
    last_admin: bool = False


class SetPerson(BodyOf, frozen=True, tag="set_person"):
    """
    Let a person sign in, within *scope*; *password* is what `credentials.hashed` made of it (``None``: as it was).

    Empty: only a proxy signs this person in, or a provider of OIDC, where the person is *subject*: the issuer, a space,
    and who that is there (``None``: as it was; empty: nobody there). *over* is the revision that was seen (0: a new
    person). A new password and another subject end every session. *last_admin* as in `RemovePerson`.
    """

    DRAWN: ClassVar[tuple[str, ...]] = ("over",)

    name: str
    scope: Scope
    over: int
    password: str | None = None
    message: str = ""
    subject: str | None = None
    last_admin: bool = False


class RemovePerson(BodyOf, frozen=True, tag="remove_person"):
    """
    Let a person sign in no longer; every session ends.

    Raises `NotAllowed` where nobody would be left who may administer everything, unless *last_admin* says that this is
    meant; through a service it never is.
    """

    name: str
    message: str = ""
    last_admin: bool = False


class BeginSession(BodyOf, frozen=True, tag="begin_session"):
    """
    Begin a session of a person, until *expires_at* at most; *digest* is the SHA-256 of its secret.
    """

    name: str
    digest: str
    expires_at: Instant


class AdmitPerson(BodyOf, frozen=True, tag="admit_person"):
    """
    Let in who a provider of OIDC says is *subject*, within *scope*, and begin a session as `BeginSession` does.

    Who was never here becomes a person, called *name*; who was keeps the name of the first time. The outcome's id is
    the name. Raises `AlreadyExists` for a name that is somebody else's, `NotAllowed` for who was removed.

    Its digest is not among what is `DRAWN`, on purpose: under a request id that was used, another session is refused.
    """

    name: str
    subject: str
    scope: Scope
    digest: str
    expires_at: Instant


class TouchSession(BodyOf, frozen=True, tag="touch_session"):
    """
    Note that a session is in use.
    """

    digest: str


class EndSessions(BodyOf, frozen=True, tag="end_sessions"):
    """
    End the session of *digest*, or (empty) every session of the person *name*.
    """

    name: str
    digest: str = ""
