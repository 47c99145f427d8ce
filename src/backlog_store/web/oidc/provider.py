"""
The provider as it is asked: its own description, its keys, and a code for tokens. Bounded in time, size and number.

Description and keys are kept for an hour; keys are looked at again where a token names one that is not there, once in
30 s at most. What failed is not tried again for some seconds: a provider that is away costs each of those who wait at
the door nothing more.
"""

from __future__ import annotations

import base64
import logging
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from threading import BoundedSemaphore, Lock
from time import monotonic
from typing import Any, Generic, TypeVar
from urllib.parse import quote_plus, urlencode

import msgspec

from backlog_store.redacting import redacted
from backlog_store.web.oidc.config import OidcConfig, is_address
from backlog_store.web.oidc.idtoken import ALGORITHMS, Expected, Key, UnknownKey, Untrusted, keys_of, verified
from backlog_store.webhooks.outlets import Answer, Refused, ask

__all__ = ["Asked", "Metadata", "Provider", "ProviderFault", "is_error"]

T = TypeVar("T")

_KEPT_S = 3_600.0
_KEYS_AGAIN_S = 30.0
_FAILED_S = 5.0
_DOCUMENT_MAX = 256 * 1024
_AT_ONCE = 8  # requests to the provider: one that is slow must not hold up all our threads
_ERROR = re.compile(r"[a-z_]{1,60}\Z")
#: The member of a provider's description that says in which ways it takes a client's secret.
_WAYS = "token_endpoint_auth_methods_supported"
#: What is needed of a provider, one of several: by the member of its description, with what is meant without that.
_OFFERS: Mapping[str, tuple[list[str], tuple[str, ...]]] = {
    "response_types_supported": ([], ("code",)),
    "code_challenge_methods_supported": (["S256"], ("S256",)),  # not said by all who do it
    "id_token_signing_alg_values_supported": (["RS256"], tuple(ALGORITHMS)),
    _WAYS: (["client_secret_basic"], ("client_secret_basic", "client_secret_post")),
}
_log = logging.getLogger("backlog_store.web.sign_in")

#: How `outlets.ask` looks, for who puts another one in its place.
Asked = Callable[..., Answer]


class ProviderFault(Exception):
    """
    The provider is away, slow, or said what cannot be used; the text says which.
    """


class Metadata(msgspec.Struct, frozen=True, kw_only=True):
    """
    What the provider says of itself, as far as it is used.
    """

    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    by_form: bool = False  # the secret goes into the form, because the provider takes it no other way
    userinfo_endpoint: str = ""
    names_issuer: bool = False  # in each answer through the browser (RFC 9207)


class _Kept(Generic[T]):
    """
    What is fetched once and kept for a while; one thread fetches at a time, and a failure is kept shortly.
    """

    def __init__(self, fetch: Callable[[], T], now: Callable[[], float]) -> None:
        self._fetch = fetch
        self._now = now
        self._lock = Lock()
        self._found: tuple[T, float] | None = None
        self._failed: tuple[str, float] = ("", float("-inf"))

    def get(self, *, younger_s: float = _KEPT_S) -> T:
        """
        Return it, not older than *younger_s*. Raises `ProviderFault`.
        """
        found = self._fresh(younger_s)
        if found is not None:
            return found
        with self._lock:
            found = self._fresh(younger_s)  # another thread may have fetched it meanwhile
            if found is not None:
                return found
            if self._now() - self._failed[1] < _FAILED_S:
                raise ProviderFault(self._failed[0])
            try:
                found = self._fetch()
            except ProviderFault as fault:
                self._failed = (str(fault), self._now())
                raise
            self._found = (found, self._now())
            return found

    def _fresh(self, younger_s: float) -> T | None:
        kept = self._found
        return kept[0] if kept is not None and self._now() - kept[1] < younger_s else None


class Provider:
    """
    One provider, as *config* names it; *secret* is that of this service there.
    """

    def __init__(
        self, config: OidcConfig, secret: str, *, asked: Asked = ask, now: Callable[[], float] = monotonic
    ) -> None:
        self.config = config
        self._secret = secret
        self._asked = asked
        self._metadata = _Kept(self._described, now)
        self._keys = _Kept(self._shown, now)
        self._slots = BoundedSemaphore(_AT_ONCE)

    def metadata(self) -> Metadata:
        """
        Return what the provider says of itself. Raises `ProviderFault`.
        """
        with self._slot():
            return self._metadata.get()

    def claims(self, code: str, verifier: str, nonce: str, now: Callable[[], float]) -> Mapping[str, Any]:
        """
        Give a code for tokens, and return what the ID token says; *now* in seconds since 1970.

        Where that lacks groups or a name, UserInfo is asked: by default some providers say there what the scopes bring.

        Raises `ProviderFault`, and `idtoken.Untrusted` for an answer that is not to be believed.
        """
        with self._slot():
            metadata = self._metadata.get()
            given = self._tokens(metadata, code, verifier)
            token, access_token = given.get("id_token"), given.get("access_token", "")
            if not isinstance(token, str) or not isinstance(access_token, str):
                raise ProviderFault("the provider gave no ID token; does the client there have the scope openid?")
            expected = Expected(issuer=self.config.issuer, client_id=self.config.client_id, nonce=nonce, now=now(),
                                access_token=access_token)  # fmt: skip
            try:
                claims = verified(token, self._keys.get(), expected)
            except UnknownKey:
                claims = verified(token, self._keys.get(younger_s=_KEYS_AGAIN_S), expected)
            is_whole = self.config.groups_claim in claims and any(name in claims for name in self.config.name_claims)
            if is_whole or not access_token or not metadata.userinfo_endpoint:
                return claims
            told = self._document(metadata.userinfo_endpoint, {"Authorization": f"Bearer {access_token}"})
            if told.get("sub") != claims["sub"]:  # OIDC Core 5.3.4: else it may be about somebody else
                raise Untrusted("UserInfo is about somebody else (sub)")
            return {**told, **claims}

    @contextmanager
    def _slot(self) -> Iterator[None]:
        if not self._slots.acquire(blocking=False):
            raise ProviderFault("too many are being signed in at this moment; try again in a few seconds")
        try:
            yield
        finally:
            self._slots.release()

    def _described(self) -> Metadata:
        issuer = self.config.issuer
        document = self._document(issuer.rstrip("/") + "/.well-known/openid-configuration")
        if document.get("issuer") != issuer:
            raise ProviderFault(f"the description at {issuer} is of another issuer; write it as it stands there")
        for name, (usual, ours) in _OFFERS.items():
            offered = document.get(name, usual)
            if not isinstance(offered, list) or not any(one in ours for one in offered if isinstance(one, str)):
                raise ProviderFault(f"the provider offers none of {', '.join(ours)} ({name})")
        return Metadata(
            authorization_endpoint=self._endpoint(document, "authorization_endpoint"),
            token_endpoint=self._endpoint(document, "token_endpoint"),
            jwks_uri=self._endpoint(document, "jwks_uri"),
            by_form="client_secret_basic" not in document.get(_WAYS, _OFFERS[_WAYS][0]),
            userinfo_endpoint=self._endpoint(document, "userinfo_endpoint") if "userinfo_endpoint" in document else "",
            names_issuer=document.get("authorization_response_iss_parameter_supported") is True,
        )

    def _endpoint(self, document: Mapping[str, Any], name: str) -> str:
        url, is_plain = document.get(name), self.config.issuer.startswith("http:")
        if not isinstance(url, str) or not is_address(url) or (url.startswith("http:") and not is_plain):
            raise ProviderFault(f"the provider says no https address for {name}")
        return url

    def _shown(self) -> tuple[Key, ...]:
        try:
            return keys_of(self._document(self._metadata.get().jwks_uri))
        except Untrusted as error:
            raise ProviderFault(str(error)) from error

    def _document(self, url: str, headers: Mapping[str, str] | None = None) -> Mapping[str, Any]:
        answer = self._answer("GET", url, headers or {}, b"")
        if answer.status != 200:
            raise ProviderFault(f"{url} answered {answer.status}" + (
                "; redirects are not followed" if 300 <= answer.status < 400 else ""))  # fmt: skip
        return self._json(url, answer)

    def _tokens(self, metadata: Metadata, code: str, verifier: str) -> Mapping[str, Any]:
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": self.config.redirect_uri,
                "code_verifier": verifier}  # fmt: skip
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        if metadata.by_form:
            form |= {"client_id": self.config.client_id, "client_secret": self._secret}
        else:
            # Each part is encoded as a form is, and only then both are joined (RFC 6749, 2.3.1).
            pair = f"{quote_plus(self.config.client_id)}:{quote_plus(self._secret)}"
            headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        answer = self._answer("POST", metadata.token_endpoint, headers, urlencode(form).encode())
        given = self._json(metadata.token_endpoint, answer)
        if answer.status == 200:
            return given
        error, described = given.get("error"), given.get("error_description")
        name = error if isinstance(error, str) and is_error(error) else "no error that has a name"
        _log.warning("the OIDC provider gave no tokens: %s (%d): %s", name, answer.status, plain(described))
        if name == "invalid_grant":
            raise Untrusted("the provider does not know this sign-in, or it was completed already")
        raise ProviderFault(f"the provider gave no tokens: {name}")

    def _answer(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        own = {"Accept": "application/json", **headers}
        try:
            answer = self._asked(method, url, own, body, self.config.outlets, most=_DOCUMENT_MAX)
        except (Refused, OSError) as error:
            raise ProviderFault(f"the provider cannot be asked: {error}") from error
        if len(answer.body) > _DOCUMENT_MAX:
            raise ProviderFault(f"{url} answered more than {_DOCUMENT_MAX // 1024} KiB")
        return answer

    def _json(self, url: str, answer: Answer) -> Mapping[str, Any]:
        try:
            found = msgspec.json.decode(answer.body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise ProviderFault(f"{url} answered {answer.status}, with what is no JSON") from error
        if not isinstance(found, dict):
            raise ProviderFault(f"{url} answered {answer.status}, with what is no JSON object")
        return found


def is_error(name: str) -> bool:
    """
    Tell whether something may be shown as the name of an error: of letters and underscores, as all of them are.
    """
    return _ERROR.match(name) is not None


def plain(said: Any) -> str:
    """
    Return what a provider says in its own words, for a log: one line, printable, short, without what is secret.
    """
    text = said if isinstance(said, str) else ""
    return redacted("".join(letter if letter.isprintable() else "\ufffd" for letter in text[:300]))
