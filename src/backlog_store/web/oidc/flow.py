"""
A sign-in by OIDC, from the button to the session: authorization code with PKCE, bound to the browser that began it.

Between its two requests everything is one random secret in a cookie of the browser: state, nonce and verifier are
digests of it. Nothing is kept here for who has not signed in yet, and each server can end what another one began. That
the secret is used once the store says: it is the request id of the command that lets somebody in.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import logging
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any
from urllib.parse import urlencode

from litestar import Request
from litestar.datastructures import Cookie
from msgspec import Struct

from backlog_store.commands import AdmitPerson, EndSessions
from backlog_store.credentials import Person, drawn_secret
from backlog_store.errors import AlreadyExists, InvalidInput, NotAllowed, RequestReused
from backlog_store.instants import to_datetime
from backlog_store.rules.admitted import person_of
from backlog_store.web.oidc.config import OidcConfig, Unfit, name_of, scope_of
from backlog_store.web.oidc.idtoken import Untrusted
from backlog_store.web.oidc.provider import Provider, ProviderFault, is_error, plain
from backlog_store.web.problems import HttpProblem
from backlog_store.web.signing_in import Accounts, note_entry

__all__ = ["Entered", "OidcSignIn"]

_COOKIE = "backlog_oidc"
_WITHIN_S = 600
_LEEWAY_S = 60  # between the clocks of two of our servers
_BACK_MAX = 1_500
_CODE_MAX = 4_096
_AGAIN = "Begin again; a sign-in takes ten minutes at most, in one browser."
#: What people are told of errors that a provider says; all others are told by their name.
_SAID: Mapping[str, str] = {
    "access_denied": "the provider says that access was denied, or was not wanted",
    "temporarily_unavailable": "the provider is away for a while",
    "server_error": "the provider had a fault of its own",
}
_log = logging.getLogger("backlog_store.web.sign_in")


class Entered(Struct, frozen=True):
    """
    Who came in: the cookie of the session, and where the browser was before.
    """

    cookie: Cookie
    back: str


class _Begun(Struct, frozen=True):
    """
    What a browser brings back of the sign-in that it began.
    """

    secret: str
    back: str

    def derived(self, what: str) -> str:
        """
        Return the state, nonce or verifier: what cannot be turned back into the secret, nor into the others.
        """
        return hashlib.sha256(f"{what}:{self.secret}".encode()).hexdigest()


class OidcSignIn:
    """
    Signing in at one provider.
    """

    def __init__(self, provider: Provider) -> None:
        self._provider = provider

    @property
    def config(self) -> OidcConfig:
        """
        Return how it is set up.
        """
        return self._provider.config

    def knows(self, person: Person) -> bool:
        """
        Tell whether this provider signs a person in.
        """
        return person.subject.startswith(f"{self.config.issuer} ")

    def begin(self, accounts: Accounts, request: Request[Any, Any, Any], back: str) -> tuple[str, Cookie]:
        """
        Return where to send the browser, and the cookie that binds the answer to it. Raises `HttpProblem`.
        """
        accounts.check_way(request)
        try:
            metadata = self._provider.metadata()
        except ProviderFault as fault:
            raise _away(request, fault) from fault
        begun = _Begun(drawn_secret(accounts.backlog.ids), back if len(back) <= _BACK_MAX else "")
        verifier = hashlib.sha256(begun.derived("verifier").encode()).digest()
        query = {
            "response_type": "code", "client_id": self.config.client_id, "redirect_uri": self.config.redirect_uri,
            "scope": " ".join(self.config.scopes), "state": begun.derived("state"), "nonce": begun.derived("nonce"),
            "code_challenge": base64.urlsafe_b64encode(verifier).rstrip(b"=").decode(),
            "code_challenge_method": "S256",
        }  # fmt: skip
        place = metadata.authorization_endpoint
        now = int(_seconds(accounts))
        value = f"{begun.secret}.{now}.{base64.urlsafe_b64encode(begun.back.encode()).rstrip(b'=').decode()}"
        return f"{place}{'&' if '?' in place else '?'}{urlencode(query)}", accounts.cookie_of(
            request, _COOKIE, value, _WITHIN_S
        )

    def back(self, accounts: Accounts, request: Request[Any, Any, Any]) -> str:
        """
        Return where the browser was before the sign-in that it has under way, if it has one.
        """
        return self._brought(accounts, request)[0].back

    def over(self, accounts: Accounts, request: Request[Any, Any, Any]) -> Cookie:
        """
        Return what takes the cookie of a sign-in away.
        """
        return accounts.cookie_of(request, _COOKIE)

    def finish(
        self, accounts: Accounts, request: Request[Any, Any, Any], parameters: Mapping[str, Sequence[str]]
    ) -> Entered:
        """
        Let somebody in by what the provider answered through the browser. Raises `HttpProblem` that says why not.
        """
        accounts.check_way(request)
        try:
            begun = self._begun(accounts, request, parameters)
            code = self._code(parameters)
            claims = self._provider.claims(
                code, begun.derived("verifier"), begun.derived("nonce"), partial(_seconds, accounts)
            )
        except ProviderFault as fault:
            raise _away(request, fault) from fault
        except Untrusted as error:
            raise _refused(request, 403, "oidc_untrusted", str(error), hint=_AGAIN) from error
        except Unfit as error:
            raise _refused(request, 400, error.code, str(error), hint=_AGAIN) from error
        name, cookie = self._admitted(accounts, request, begun, claims)
        note_entry(request, "OIDC", name)
        return Entered(cookie, begun.back)

    def _begun(
        self, accounts: Accounts, request: Request[Any, Any, Any], parameters: Mapping[str, Sequence[str]]
    ) -> _Begun:
        """
        Return the sign-in that an answer belongs to. Raises `Unfit` for one that this browser did not begin.
        """
        if any(len(values) > 1 for values in parameters.values()):
            raise Unfit("oidc_answer", "the answer says one thing twice")
        begun, at = self._brought(accounts, request)
        state = _one(parameters, "state")
        is_ours = len(begun.secret) == 64 and at.isascii() and at.isdigit() and len(at) < 12
        own = begun.derived("state").encode()
        if not is_ours or not hmac.compare_digest(state.encode("utf-8", "replace"), own):
            raise Unfit("oidc_state", "this browser did not begin this sign-in, or too long ago")
        if not -_LEEWAY_S <= _seconds(accounts) - int(at) <= _WITHIN_S:
            raise Unfit("oidc_state", "this sign-in was begun too long ago")
        return begun

    def _brought(self, accounts: Accounts, request: Request[Any, Any, Any]) -> tuple[_Begun, str]:
        """
        Return the sign-in that a browser's cookie tells of, whatever that is, and when it says that it began.
        """
        secret, _, rest = accounts.cookie(request, _COOKIE).partition(".")
        at, _, back = rest.partition(".")
        return _Begun(secret, _decoded(back)), at

    def _code(self, parameters: Mapping[str, Sequence[str]]) -> str:
        """
        Return the code of an answer that is the provider's own. Raises `Unfit`, `ProviderFault`.
        """
        issuer = _one(parameters, "iss")
        if issuer != self.config.issuer and (issuer or self._provider.metadata().names_issuer):
            raise Unfit("oidc_issuer", "the answer comes from another provider than the one that was asked")
        error = _one(parameters, "error")
        if error:
            name = error if is_error(error) else "no error that has a name"
            _log.warning("the OIDC provider answered %s: %s", name, plain(_one(parameters, "error_description")))
            raise Unfit("oidc_denied", _SAID.get(error, f"the provider says {name}"))
        code = _one(parameters, "code")
        if not code or len(code) > _CODE_MAX or not code.isascii() or not code.isprintable():
            raise Unfit("oidc_answer", "the answer brings no code")
        return code

    def _admitted(
        self, accounts: Accounts, request: Request[Any, Any, Any], begun: _Begun, claims: Mapping[str, Any]
    ) -> tuple[str, Cookie]:
        subject = f"{self.config.issuer} {claims['sub']}"
        try:
            scope, name = scope_of(self.config, claims), name_of(self.config, claims)
            body = AdmitPerson(name=name, subject=subject, scope=scope, digest="", expires_at="")
            # One secret lets in once: another session by it would be another body under the same id.
            return accounts.enter_by(request, body, request_id=begun.derived("request"))
        except Unfit as error:
            code, reason, hint = error.code, str(error), "Somebody who administers groups there can change that."
            self._put_out(accounts, subject)
        except AlreadyExists as error:
            code, reason = "oidc_name", f"the name {error.id!r} is somebody else's here"
            hint = "An administrator of this backlog can say that both are you."
        except NotAllowed:
            code, reason = "oidc_removed", "this account was removed from this backlog"
            hint = "An administrator of this backlog can let you in again."
        except InvalidInput as error:
            code, reason, hint = "oidc_name", f"the name that the provider says cannot be one here: {error}", ""
        except RequestReused:
            code, reason, hint = "oidc_state", "this sign-in was completed already", _AGAIN
        raise _refused(request, 403, code, reason, hint=hint, subject=subject)

    def _put_out(self, accounts: Accounts, subject: str) -> None:
        """
        End the sessions of somebody who would not be let in any more.
        """
        person = accounts.backlog.read(lambda reader: person_of(reader, subject))
        if person is not None:
            accounts.backlog.acting_as("sign-in").execute(EndSessions(name=person.name))


def _away(request: Request[Any, Any, Any], fault: ProviderFault) -> HttpProblem:
    # What is wrong may tell of addresses within a network: that is for the log alone.
    note_entry(request, "OIDC", "", f"oidc_provider: {plain(str(fault))}")
    id = request.scope["state"].get("request_id", "this hour")
    return HttpProblem(502, "the provider gave no answer that can be used", code="oidc_provider",
                       hint=f"Try again; whoever runs this service finds more in its log, under {id}.")  # fmt: skip


def _refused(
    request: Request[Any, Any, Any], status: int, code: str, reason: str, *, hint: str, subject: str = ""
) -> HttpProblem:
    note_entry(request, "OIDC", "", f"{code}: {plain(reason)}" + (f" (subject '{subject}')" if subject else ""))
    return HttpProblem(status, reason, code=code, hint=hint)


def _seconds(accounts: Accounts) -> float:
    return to_datetime(accounts.backlog.clock()).timestamp()


def _one(parameters: Mapping[str, Sequence[str]], name: str) -> str:
    values = parameters.get(name, ())
    return values[0] if values else ""


def _decoded(text: str) -> str:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        return ""
