"""
A FAKE OIDC provider: keys, tokens and answers made in this process, so that a test can make any of them wrong.

It is no provider, only what one says. A real one, certified by the OpenID Foundation, is tried by
`tests/system/test_oidc.py`.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any
from urllib.parse import parse_qs

from joserfc import jws
from joserfc.jwk import ECKey, RSAKey

from backlog_store.webhooks.outlets import Answer, Outlets

__all__ = ["CLIENT", "ISSUER", "SECRET", "FakeProvider", "by_hand", "ec_key", "rsa_key", "signed"]

ISSUER = "https://id.example"
CLIENT = "backlog"
SECRET = "it is 'secret' & has signs"


@cache
def rsa_key(id: str = "rsa-1") -> RSAKey:
    """
    Return a key of RSA of this id.
    """
    return RSAKey.generate_key(2_048, {"kid": id, "use": "sig", "alg": "RS256"})


@cache
def ec_key(id: str = "ec-1") -> ECKey:
    """
    Return a key of P-256 of this id.
    """
    return ECKey.generate_key("P-256", {"kid": id, "use": "sig"})


def signed(claims: Any, key: Any = None, **header: Any) -> str:
    """
    Return *claims* as a token; *header* goes before what would stand there.
    """
    key = key or rsa_key()
    alg = {"RSA": "RS256", "EC": "ES256"}[key.key_type]
    full = {"alg": alg, "kid": key.as_dict().get("kid", ""), **header}
    full = {name: value for name, value in full.items() if value is not None}
    payload = claims if isinstance(claims, bytes) else json.dumps(claims).encode()
    registry = jws.JWSRegistry(algorithms=["RS256", "ES256"], strict_check_header=False)
    return jws.serialize_compact(full, payload, key, registry=registry)


def by_hand(claims: Any, alg: str, secret: bytes | None = None, kid: Any = "rsa-1") -> str:
    """
    Return a token that no library would make: unsigned, or with a code of HS256 by *secret*.
    """
    parts = [_text(json.dumps(part).encode()) for part in ({"alg": alg, "kid": kid, "typ": "JWT"}, claims)]
    code = hmac.digest(secret, ".".join(parts).encode(), "sha256") if secret else b""
    return ".".join([*parts, _text(code)])


def _text(part: bytes) -> str:
    return base64.urlsafe_b64encode(part).rstrip(b"=").decode()


class FakeProvider:
    """
    What a provider says, and to whom: `asked` holds each request. Whatever is in `said` is said instead, by path.
    """

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, Mapping[str, str], bytes]] = []
        self.keys: list[Any] = [rsa_key(), ec_key()]
        self.key: Any = None
        self.header: dict[str, Any] = {}
        self.claims: dict[str, Any] = {}
        self.info: dict[str, Any] = {}
        self.metadata: dict[str, Any] = {}
        self.said: dict[str, Callable[[], Answer] | Answer] = {}
        self.nonces: dict[str, tuple[str, str]] = {}  # of each code: nonce and challenge
        self.now = 0.0

    def code(self, address: Mapping[str, list[str]]) -> str:
        """
        Return the code for a request of a browser, as after somebody signed in there.
        """
        code = f"code-{len(self.nonces)}"
        self.nonces[code] = (address["nonce"][0], address["code_challenge"][0])
        return code

    def ask(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes, outlets: Outlets, *, most: int
    ) -> Answer:
        """
        Answer a request as `outlets.ask` would bring it.
        """
        self.asked.append((method, url, headers, body))
        path = url.removeprefix(ISSUER)
        instead = self.said.get(path)
        if instead is not None:
            return instead() if callable(instead) else instead
        if path == "/.well-known/openid-configuration":
            return _json(self.discovery())
        if path == "/jwks":
            return _json({"keys": [key.as_dict(private=False) for key in self.keys]})
        if path == "/me":
            assert headers["Authorization"] == "Bearer opaque"
            return _json(self.info)
        assert path == "/token", path
        return self._token(parse_qs(body.decode()))

    def discovery(self) -> dict[str, Any]:
        """
        Return the document that says where what is.
        """
        return {
            "issuer": ISSUER, "authorization_endpoint": f"{ISSUER}/auth", "token_endpoint": f"{ISSUER}/token",
            "jwks_uri": f"{ISSUER}/jwks", "response_types_supported": ["code"],
            "id_token_signing_alg_values_supported": ["RS256", "ES256"],
            "code_challenge_methods_supported": ["S256"], **self.metadata,
        }  # fmt: skip

    def _token(self, form: Mapping[str, list[str]]) -> Answer:
        nonce, challenge = self.nonces.pop(form["code"][0], ("", ""))
        own = _text(hashlib.sha256(form["code_verifier"][0].encode()).digest())
        if not challenge or own != challenge:
            told = {"error": "invalid_grant", "error_description": "<b>used</b> or not <script>yours"}
            return _json(told, status=400)
        claims = {"iss": ISSUER, "aud": CLIENT, "sub": "1234", "nonce": nonce, "iat": self.now, "exp": self.now + 300,
                  "preferred_username": "ann", "groups": ["sre"], **self.claims}  # fmt: skip
        claims = {name: value for name, value in claims.items() if value is not None}
        token = signed(claims, self.key, **self.header)
        return _json({"access_token": "opaque", "token_type": "Bearer", "id_token": token})


def _json(body: Any, status: int = 200) -> Answer:
    return Answer(status=status, body=json.dumps(body).encode())
