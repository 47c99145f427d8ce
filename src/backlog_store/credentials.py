"""
Secrets: how they look, what is kept of them, and how one is held against what is kept.

A token is ``blt_``, 16 digits that name it, ``_``, and 256 random bits in hexadecimal. Of it only the SHA-256 is kept:
a random secret of that length needs no slow hash. A password does: scrypt with a salt of its own. Nothing is drawn
here: random bits come from the store's source of ids (`clock.IdSource`).
"""

from __future__ import annotations

import hashlib
import hmac
import re
import threading
from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from backlog_store.access import Scope
from backlog_store.clock import IdSource
from backlog_store.codec import from_builtins
from backlog_store.instants import Instant, add_seconds
from backlog_store.model import ActorKind
from backlog_store.redacting import TOKEN_PREFIX

__all__ = [
    "IDLE_S", "NEVER", "PASSWORD_MAX", "PASSWORD_MIN", "SESSION_S", "Person", "Session", "Token", "administers",
    "digest_of", "drawn_secret", "drawn_token", "hashed", "is_password", "key_of", "session_holds", "state_of",
    "token_holds",
]  # fmt: skip

PASSWORD_MIN = 12
PASSWORD_MAX = 1_000
IDLE_S = 12 * 3_600
SESSION_S = 7 * 86_400

_TOKEN = re.compile(rf"{TOKEN_PREFIX}([0-9a-f]{{16}})_[0-9a-f]{{64}}\Z")
_N, _R, _P = 2**15, 8, 1
_MEMORY = 2 * 128 * _N * _R
#: Each hash takes 32 MiB: what many ask at the same time is done two by two.
_hashing = threading.BoundedSemaphore(2)
#: What a name that nobody has is held against, so that it takes as long as any other; no password makes it.
NEVER = f"scrypt${_N}${_R}${_P}${'0' * 32}${'0' * 64}"


class Token(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """
    What is kept of a token: the body of the record ``access`` ``token/<key>``.
    """

    key: str
    name: str
    scope: Scope
    last: str
    by: str
    at: Instant
    digest: str = ""
    kind: ActorKind = "machine"
    expires_at: Instant = ""
    rotated_at: Instant = ""
    before: str = ""  # the digest of the secret before
    before_until: Instant = ""
    revoked_at: Instant = ""
    revoked_by: str = ""


class Person(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """
    What is kept of a person: the body of the record ``access`` ``person/<name>``.
    """

    name: str
    scope: Scope
    by: str
    at: Instant
    password: str = ""  # empty: only a proxy signs this person in, or a provider of OIDC
    subject: str = ""  # there: the issuer, a space, and who this is to it; then nothing else signs this person in
    removed_at: Instant = ""


class Session(Struct, frozen=True, kw_only=True):
    """
    What is kept of a session: the body of the record ``session`` ``<digest>``.
    """

    name: str
    begun_at: Instant
    seen_at: Instant
    expires_at: Instant


def drawn_secret(ids: IdSource) -> str:
    """
    Return 256 random bits in hexadecimal.
    """
    return ids() + ids()


def drawn_token(ids: IdSource, key: str = "") -> str:
    """
    Return a new token; *key* is that of the token whose secret it replaces.
    """
    return f"{TOKEN_PREFIX}{key or ids()[-16:]}_{drawn_secret(ids)}"


def key_of(token: str) -> str:
    """
    Return the part that names a token; empty for what is none.
    """
    found = _TOKEN.match(token)
    return found[1] if found else ""


def digest_of(secret: str) -> str:
    """
    Return the SHA-256 of a random secret, in hexadecimal.
    """
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()


def hashed(password: str, ids: IdSource) -> str:
    """
    Return what is kept of a password. It takes about 32 MiB and a tenth of a second, on purpose.
    """
    salt = ids()
    return f"scrypt${_N}${_R}${_P}${salt}${_scrypt(password, salt, _N, _R, _P)}"


def is_password(password: str, kept: str) -> bool:
    """
    Tell whether *password* is the one that *kept* was made of.
    """
    kind, *rest = kept.split("$")
    if kind != "scrypt" or len(rest) != 5 or len(password) > PASSWORD_MAX:
        return False
    n, r, p, salt, digest = rest
    return hmac.compare_digest(_scrypt(password, salt, int(n), int(r), int(p)), digest)


def _scrypt(password: str, salt: str, n: int, r: int, p: int) -> str:
    with _hashing:
        return hashlib.scrypt(password.encode("utf-8", "surrogatepass"), salt=bytes.fromhex(salt), n=n, r=r, p=p,
                              maxmem=_MEMORY, dklen=32).hex()  # fmt: skip


def token_holds(body: Mapping[str, Any] | None, secret: str, now: Instant) -> Token | None:
    """
    Return the token that *secret* is, if it holds now; *body* is that of its record, if there is one.
    """
    digest = digest_of(secret)
    if body is None:
        return None
    token = from_builtins(dict(body), Token)
    is_new = hmac.compare_digest(digest, token.digest)
    is_before = hmac.compare_digest(digest, token.before) and now < token.before_until
    return token if state_of(token, now) == "holds" and (is_new or is_before) else None


def state_of(token: Token, now: Instant) -> str:
    """
    Return whether a token ``holds``, is ``expired`` or ``revoked``.
    """
    if token.revoked_at:
        return "revoked"
    return "expired" if token.expires_at and token.expires_at <= now else "holds"


def administers(one: Person | Token, now: Instant) -> bool:
    """
    Tell whether a person or a token may administer everything now.
    """
    return one.scope.is_admin and (state_of(one, now) == "holds" if isinstance(one, Token) else not one.removed_at)


def session_holds(body: Mapping[str, Any] | None, now: Instant) -> Session | None:
    """
    Return the session of a record, if it holds now.
    """
    if body is None:
        return None
    session = from_builtins(dict(body), Session)
    return session if now < min(session.expires_at, add_seconds(session.seen_at, IDLE_S)) else None
