"""
Signing in: from a token, a session's cookie or a proxy's header to who asks.

Credentials that a browser sends by itself (a cookie, what a proxy adds) change nothing unless the request says that it
comes from a page of this site: `Origin` must be there, and name it. A token is never sent by itself.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Collection, Sequence
from contextlib import suppress
from http.cookies import CookieError, SimpleCookie
from threading import Lock
from typing import TYPE_CHECKING, Any

from litestar import Request
from litestar.datastructures import Cookie
from msgspec import Struct
from msgspec.structs import replace

from backlog_store.backlog import Backlog
from backlog_store.codec import from_builtins
from backlog_store.commands import AdmitPerson, BeginSession, EndSessions, TouchSession
from backlog_store.credentials import (
    NEVER,
    SESSION_S,
    Person,
    Token,
    digest_of,
    drawn_secret,
    is_password,
    key_of,
    session_holds,
    token_holds,
)
from backlog_store.errors import BackendError
from backlog_store.instants import Instant, add_seconds, to_datetime
from backlog_store.redacting import TOKEN_PREFIX
from backlog_store.rules.admitted import administering, person_record
from backlog_store.web.problems import HttpProblem
from backlog_store.web.site import Asker

if TYPE_CHECKING:
    from backlog_store.web.oidc.flow import OidcSignIn

__all__ = ["Accounts", "Proxy", "Tries", "check_origin", "has_admin", "note_entry"]

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_COOKIE = "backlog_session"
_TOUCH_S = 15 * 60
_HERE = frozenset({"127.0.0.1", "::1"})
_WAIT_MAX_S, _KEPT = 900, 10_000
_log = logging.getLogger("backlog_store.web.sign_in")


def has_admin(backlog: Backlog) -> bool:
    """
    Tell whether anybody could sign in who may administer everything; those of a provider of OIDC are not counted.
    """
    now = backlog.clock()
    found = backlog.read(lambda reader: list(administering(reader, now)))
    return any(isinstance(one, Token) or not one.subject for one in found)


def check_origin(request: Request[Any, Any, Any], hosts: Collection[str], *, required: bool) -> None:
    """
    Refuse what writes and comes from a page elsewhere; *required*: also what does not say where it comes from.
    """
    if request.method in SAFE:
        return
    origin = request.headers.get("origin", "")
    if not origin and required and request.headers.get("sec-fetch-site", "") != "same-origin":
        raise HttpProblem(403, "this does not say which page it comes from", code="foreign_origin",
                          hint="Browsers send Origin; a program signs in with a token.")  # fmt: skip
    if origin and origin.partition("://")[2] not in hosts:
        raise HttpProblem(403, "a page of another origin may not write here", code="foreign_origin")


def note_entry(request: Request[Any, Any, Any], way: str, name: str, refused: str = "") -> None:
    """
    Log that *name* signed in by *way*, or why nobody did; and let the line of the request say who it was.
    """
    told = {"actor": name, "client": _peer(request)}
    if refused:
        _log.warning("sign-in by %s refused: %s", way, refused, extra={"told": told})
    else:
        request.scope["state"]["asker"] = name
        _log.info("signed in by %s", way, extra={"told": told})


class Tries:
    """
    How often signing in failed: past a few times each further try has to wait, twice as long as the one before.

    Counted by name and address together, by address, and by name (many there, so that nobody is kept out by others
    who try their name). Bounded: of more than 10,000 counts, those touched longest ago are forgotten.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._failed: OrderedDict[tuple[str, str], tuple[int, Instant]] = OrderedDict()

    def check(self, name: str, address: str, now: Instant) -> None:
        """
        Refuse a try that comes too soon. Raises `HttpProblem` (429).
        """
        with self._lock:
            free_at = max(self._failed.get(of, (0, ""))[1] for of, _ in _counted(name, address))
        if now < free_at:
            wait = max(1, int((to_datetime(free_at) - to_datetime(now)).total_seconds()) + 1)
            raise HttpProblem(429, "too many tries to sign in failed", code="too_many_tries",
                              hint=f"Try again in {wait} s.", headers={"Retry-After": str(wait)})  # fmt: skip

    def failed(self, name: str, address: str, now: Instant) -> None:
        """
        Note a try that failed.
        """
        with self._lock:
            for of, free in _counted(name, address):
                count = self._failed.pop(of, (0, ""))[0] + 1
                wait = min(2 ** min(count - free, 20), _WAIT_MAX_S) if count >= free else 0
                self._failed[of] = (count, add_seconds(now, wait))
            while len(self._failed) > _KEPT:
                self._failed.popitem(last=False)

    def worked(self, name: str, address: str) -> None:
        """
        Forget what failed under a name from there: who has it is in.
        """
        with self._lock:
            self._failed.pop((name, address), None)


def _counted(name: str, address: str) -> tuple[tuple[tuple[str, str], int], ...]:
    return ((name, address), 3), (("", address), 15), ((name, ""), 50)


class Proxy(Struct, frozen=True, kw_only=True):
    """
    Proxies that are believed, by their addresses, and the header in which they say who asks (empty: none).
    """

    addresses: tuple[str, ...] = ()
    header: str = ""


class Accounts:
    """
    The `site.SignIn` of a service where everybody signs in.
    """

    def __init__(
        self, backlog: Backlog, *, hosts: Sequence[str] = (), proxy: Proxy | None = None, oidc: OidcSignIn | None = None
    ) -> None:
        self.backlog = backlog
        self.oidc = oidc
        self.hosts = frozenset(hosts)  # empty: whatever name it is reached by
        self.proxy = proxy or Proxy()
        self.tries = Tries()

    def __call__(self, request: Request[Any, Any, Any]) -> Asker:
        """
        Return who asks. Raises `HttpProblem`: 401 for nobody it knows, 400, 403, 421.
        """
        self._check_address(request)
        given = request.headers.get("authorization", "")
        if given:
            return self._by_token(given)
        asker = self._by_proxy(request) if self.proxy.header and self._is_proxied(request) else self._by_cookie(request)
        check_origin(request, [request.headers.get("host", "")], required=True)
        return asker

    def _check_address(self, request: Request[Any, Any, Any]) -> None:
        address = bytes(request.scope.get("query_string", b"")).decode("latin-1") + request.url.path
        if TOKEN_PREFIX in address:
            raise HttpProblem(400, "a token does not belong in an address, which logs keep", code="token_in_url",
                              hint="Send it as Authorization: Bearer …, and rotate this one.")  # fmt: skip
        host = request.headers.get("host", "")
        if self.hosts and host not in self.hosts:
            raise HttpProblem(421, f"this service is not {host[:100]!r}")

    # Programs

    def _by_token(self, given: str) -> Asker:
        scheme, _, secret = given.partition(" ")
        key = key_of(secret.strip()) if scheme.lower() == "bearer" else ""
        record = self.backlog.read(lambda reader: reader.records("access", [f"token/{key}"])) if key else {}
        found = record.get(f"token/{key}")
        token = token_holds(found.body if found else None, secret.strip(), self.backlog.clock())
        if token is None:
            raise _nobody("this token is not known, or holds no longer")
        return Asker(name=token.name, person=token.kind == "person", scope=token.scope)

    # People

    def _by_proxy(self, request: Request[Any, Any, Any]) -> Asker:
        names = request.headers.getall(self.proxy.header.lower(), [])
        if len(names) != 1 or not names[0].strip():
            raise _nobody(f"the proxy does not say who asks, once, in {self.proxy.header}")
        return self._person(names[0].strip(), proxied=True)

    def _by_cookie(self, request: Request[Any, Any, Any]) -> Asker:
        now = self.backlog.clock()
        digest = self._session(request)
        record = self.backlog.read(lambda reader: reader.records("session", [digest])).get(digest) if digest else None
        session = session_holds(record.body if record else None, now)
        if session is None:
            raise _nobody("nobody is signed in here")
        asker = self._person(session.name)
        if now >= add_seconds(session.seen_at, _TOUCH_S) and not request.scope["state"].get("listens"):
            with suppress(BackendError):  # it is used, which is what matters; a later request notes that
                self.backlog.acting_as(session.name, person=True).execute(TouchSession(digest=digest))
        return asker

    def _person(self, name: str, *, proxied: bool = False) -> Asker:
        person = self._known(name)
        # Each signs in one way: of whom a provider knows, no proxy says anything, and no session outlives the provider.
        if person is None or (person.subject and (proxied or self.oidc is None or not self.oidc.knows(person))):
            raise _nobody("this person may not sign in here")
        return Asker(name=person.name, person=True, scope=person.scope)

    def _known(self, name: str) -> Person | None:
        if "\0" in name or not name.isprintable():
            return None
        id = person_record(name)
        record = self.backlog.read(lambda reader: reader.records("access", [id])).get(id)
        person = from_builtins(record.body, Person) if record is not None else None
        return None if person is None or person.removed_at else person

    def enter(self, request: Request[Any, Any, Any], name: str, password: str) -> Cookie:
        """
        Sign a person in; return the cookie of the new session. The one before ends.

        Raises `HttpProblem`: 403 for a foreign page or where the password could be read on its way, 422, 429.
        """
        self._check_page(request)
        self.check_way(request)
        person = self.prove(request, name, password)
        body = BeginSession(name=person.name, digest="", expires_at="")
        _, cookie = self.enter_by(request, body)
        note_entry(request, "password", person.name)
        return cookie

    def prove(self, request: Request[Any, Any, Any], name: str, password: str) -> Person:
        """
        Return the person whose name and password go together. Raises `HttpProblem`: 422, 429 for too many tries.
        """
        now, address = self.backlog.clock(), self._address(request)
        self.tries.check(name, address, now)
        person = self._known(name)
        kept = person.password if person is not None and person.password else NEVER
        if not is_password(password, kept) or person is None:
            self.tries.failed(name, address, now)
            # A name that nobody has may be a password in the wrong field: that is for no log.
            note_entry(request, "password", person.name if person else "", "name and password do not go together")
            raise HttpProblem(422, "name and password do not go together", code="wrong_password")
        self.tries.worked(name, address)
        return person

    def enter_by(
        self, request: Request[Any, Any, Any], body: BeginSession | AdmitPerson, *, request_id: str = ""
    ) -> tuple[str, Cookie]:
        """
        Begin a session by a command that lacks its digest and end; return whose it is and the cookie.

        The session before ends. Raises what the command does.
        """
        secret = drawn_secret(self.backlog.ids)
        body = replace(body, digest=digest_of(secret), expires_at=add_seconds(self.backlog.clock(), SESSION_S))
        answer = self.backlog.acting_as("sign-in").execute(body, request_id=request_id)
        name = answer.outcomes[0].id
        self._end(request, name)
        return name, self.cookie_of(request, _COOKIE, secret, SESSION_S)

    def check_way(self, request: Request[Any, Any, Any]) -> None:
        """
        Refuse to sign anybody in under another name of this service, or where others read along. Raises `HttpProblem`.
        """
        self._check_address(request)
        if not self.is_secret(request):
            raise HttpProblem(403, "what signs somebody in would travel unencrypted", code="not_encrypted",
                              hint="Put a proxy with TLS before it, and name that: --trusted-proxy.")  # fmt: skip

    def session(self, request: Request[Any, Any, Any]) -> str:
        """
        Return the digest of the session that a request names, whether it holds or not; empty for none.
        """
        return self._session(request)

    def leave(self, request: Request[Any, Any, Any]) -> Cookie:
        """
        End the session of a request, if there is one; return what takes its cookie away.
        """
        self._check_page(request)
        self._end(request, "")
        return self.cookie_of(request, _COOKIE)

    def _check_page(self, request: Request[Any, Any, Any]) -> None:
        self._check_address(request)
        check_origin(request, [request.headers.get("host", "")], required=True)

    def _end(self, request: Request[Any, Any, Any], name: str) -> None:
        digest = self._session(request)
        if digest:
            self.backlog.acting_as(name or "sign-out", person=True).execute(EndSessions(name=name, digest=digest))

    # Cookies

    def _is_proxied(self, request: Request[Any, Any, Any]) -> bool:
        return _peer(request) in self.proxy.addresses

    def _address(self, request: Request[Any, Any, Any]) -> str:
        told = request.headers.get("x-forwarded-for", "") if self._is_proxied(request) else ""
        return told.rpartition(",")[2].strip()[:64] or _peer(request)

    def _is_https(self, request: Request[Any, Any, Any]) -> bool:
        told = request.headers.get("x-forwarded-proto", "") if self._is_proxied(request) else ""
        return (told or request.url.scheme) == "https"

    def is_secret(self, request: Request[Any, Any, Any]) -> bool:
        """
        Tell whether nobody reads along: the way is encrypted, or does not leave this machine.
        """
        return self._is_https(request) or (_peer(request) in _HERE and not self._is_proxied(request))

    def _cookie_name(self, request: Request[Any, Any, Any], name: str) -> str:
        # Over https one that no other host and no plain connection can set.
        return f"__Host-{name}" if self._is_https(request) else name

    def cookie_of(self, request: Request[Any, Any, Any], name: str, value: str = "", within_s: int = 0) -> Cookie:
        """
        Return a cookie of ours for the browser that asks, that lasts so long; without a value, what takes it away.
        """
        return Cookie(key=self._cookie_name(request, name), value=value, path="/", max_age=within_s, httponly=True,
                      samesite="lax", secure=self._is_https(request))  # fmt: skip

    def cookie(self, request: Request[Any, Any, Any], name: str) -> str:
        """
        Return the value of a cookie of ours; empty for none.
        """
        try:
            found = SimpleCookie(request.headers.get("cookie", "")).get(self._cookie_name(request, name))
        except CookieError:
            return ""
        return found.value if found is not None else ""

    def _session(self, request: Request[Any, Any, Any]) -> str:
        secret = self.cookie(request, _COOKIE)
        return digest_of(secret) if len(secret) == 64 and secret.isascii() else ""


def _peer(request: Request[Any, Any, Any]) -> str:
    return request.client.host if request.client is not None else ""


def _nobody(message: str) -> HttpProblem:
    return HttpProblem(401, message, headers={"WWW-Authenticate": 'Bearer realm="backlog"'},
                       hint="Send a token as Authorization: Bearer …, or sign in at /sign-in.")  # fmt: skip
