"""
ID tokens: which keys sign them, and whether one is to be believed. Pure; signatures are joserfc's (ADR 11).

Only RS256 and ES256 are taken, each with a key of its own kind out of the provider's set: a header chooses among those,
it brings none. What is believed is a token from this issuer, for this service, of this very sign-in, in its time.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

__all__ = ["ALGORITHMS", "Expected", "Key", "UnknownKey", "Untrusted", "keys_of", "verified"]

#: The algorithms that are taken, and the kind of key of each.
ALGORITHMS: Mapping[str, str] = {"RS256": "RSA", "ES256": "EC"}
LEEWAY_S = 60.0  # between two clocks
FRESH_S = 600.0  # so long ago may a token be issued: as long as a sign-in may take
TOKEN_MAX = 32 * 1024
KEYS_MAX = 100
_RSA_BITS = range(2_048, 8_193)
_SUBJECT = re.compile(r"[\x20-\x7e]{1,255}")
_MEMBERS = {"RSA": ("kty", "n", "e"), "EC": ("kty", "crv", "x", "y")}


class Untrusted(Exception):
    """
    A token that is not believed; the text says why.
    """


class UnknownKey(Untrusted):
    """
    A token signed by a key that is not in the set: the provider may have a new one.
    """


class Key(Struct, frozen=True):
    """
    One key of a provider: its id (empty: none), the algorithm that it is for, and the key itself.
    """

    id: str
    algorithm: str
    key: Any


class Expected(Struct, frozen=True, kw_only=True):
    """
    What a token must say, and when it is: *now* in seconds since 1970. *access_token* is what came with it.
    """

    issuer: str
    client_id: str
    nonce: str
    now: float
    access_token: str = ""


def keys_of(document: Any) -> tuple[Key, ...]:
    """
    Return the keys of a JWK set that can sign an ID token. Others are left out, as RFC 7517 (5) asks for.

    Raises `Untrusted` for what is no such set.
    """
    listed = document.get("keys") if isinstance(document, Mapping) else None
    if not isinstance(listed, list):
        raise Untrusted("the provider's keys are no JWK set")
    if len(listed) > KEYS_MAX:
        raise Untrusted(f"the provider has {len(listed)} keys; at most {KEYS_MAX} are looked at")
    return tuple(key for one in listed if isinstance(one, Mapping) and (key := _key(one)) is not None)


def _key(jwk: Mapping[str, Any]) -> Key | None:
    from joserfc.errors import JoseError
    from joserfc.jwk import ECKey, RSAKey

    kind, id = jwk.get("kty"), jwk.get("kid", "")
    algorithm = next((name for name, of in ALGORITHMS.items() if of == kind), "")
    if not algorithm or jwk.get("use", "sig") != "sig" or jwk.get("alg", algorithm) != algorithm:
        return None
    public: Any = {name: jwk.get(name) for name in _MEMBERS[str(kind)]}
    if not all(isinstance(text, str) for text in (id, *public.values())):
        return None
    try:
        if kind == "EC":
            return Key(id, algorithm, ECKey.import_key(public)) if public["crv"] == "P-256" else None
        n = base64.urlsafe_b64decode(public["n"] + "=" * (-len(public["n"]) % 4))
        return Key(id, algorithm, RSAKey.import_key(public)) if len(n) * 8 in _RSA_BITS else None
    except (JoseError, ValueError, TypeError):  # a point that is not on the curve, say
        return None


def verified(token: str, keys: Sequence[Key], expected: Expected) -> Mapping[str, Any]:
    """
    Return the claims of an ID token that is to be believed. Raises `Untrusted`, `UnknownKey`.
    """
    claims = _signed(token, keys)
    if claims.get("iss") != expected.issuer:
        raise Untrusted("the ID token is another issuer's (iss)")
    _check_audience(claims, expected.client_id)
    _check_time(claims, expected.now)
    nonce = claims.get("nonce")
    if not isinstance(nonce, str) or not hmac.compare_digest(nonce.encode("utf-8", "replace"), expected.nonce.encode()):
        raise Untrusted("the ID token belongs to another sign-in (nonce)")
    subject = claims.get("sub")
    if not isinstance(subject, str) or not _SUBJECT.fullmatch(subject):
        raise Untrusted("the ID token does not say of whom it is, in at most 255 characters (sub)")
    if "at_hash" in claims:
        _check_access_token(claims["at_hash"], expected.access_token)
    return claims


def _signed(token: str, keys: Sequence[Key]) -> Mapping[str, Any]:
    """
    Return what a token says whose signature holds.
    """
    import json

    from joserfc import jws
    from joserfc.errors import JoseError

    if len(token) > TOKEN_MAX or not token.isascii():
        raise Untrusted(f"the ID token is longer than {TOKEN_MAX:,} bytes, or no token at all")
    registry = jws.JWSRegistry(algorithms=list(ALGORITHMS), strict_check_header=False)
    registry.max_header_length = 4_096
    registry.max_payload_length = TOKEN_MAX
    try:
        header = jws.extract_compact(token.encode(), registry=registry).headers()
        key = _chosen(header, keys)
        signed = jws.deserialize_compact(token, key.key, algorithms=[key.algorithm], registry=registry)
        claims = json.loads(signed.payload or b"")
    except JoseError as error:
        raise Untrusted(f"the signature of the ID token does not hold ({type(error).__name__})") from error
    except (ValueError, TypeError, RecursionError) as error:
        raise Untrusted("the ID token cannot be read") from error
    if not isinstance(claims, dict):
        raise Untrusted("the ID token holds no claims")
    return claims


def _chosen(header: Mapping[str, Any], keys: Sequence[Key]) -> Key:
    algorithm, id, kind = header.get("alg"), header.get("kid", ""), header.get("typ", "JWT")
    if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
        raise Untrusted(f"the ID token is signed with {str(algorithm)[:20]!r}; taken are {', '.join(ALGORITHMS)}")
    if "crit" in header or "b64" in header:
        raise Untrusted("the ID token asks for extensions of its header that nobody here understands")
    if not isinstance(kind, str) or kind.upper() != "JWT":
        raise Untrusted(f"this is a token of another kind: {str(kind)[:20]!r} (typ)")
    if not isinstance(id, str):
        raise Untrusted("the ID token names its key by what is no text (kid)")
    fit = [key for key in keys if key.algorithm == algorithm and (not id or key.id == id)]
    if not fit:
        raise UnknownKey("the ID token is signed by a key that the provider does not show")
    if len(fit) > 1:
        raise Untrusted("the ID token does not say which of several keys it is signed with (kid)")
    return fit[0]


def _check_audience(claims: Mapping[str, Any], client_id: str) -> None:
    said = claims.get("aud")
    audience = [said] if isinstance(said, str) else said
    if not isinstance(audience, list) or client_id not in audience:
        raise Untrusted("the ID token is for another service (aud)")
    if (len(audience) > 1 or "azp" in claims) and claims.get("azp") != client_id:
        raise Untrusted("the ID token was issued to another service (azp)")


def _check_time(claims: Mapping[str, Any], now: float) -> None:
    expires, issued = _moment(claims, "exp"), _moment(claims, "iat")
    if now >= expires + LEEWAY_S:
        raise Untrusted("the ID token has expired (exp)")
    if issued > now + LEEWAY_S:
        raise Untrusted("the ID token was issued in the future: do the clocks of both machines go right? (iat)")
    if issued < now - FRESH_S - LEEWAY_S:
        raise Untrusted("the ID token was issued long ago: do the clocks of both machines go right? (iat)")
    if "nbf" in claims and _moment(claims, "nbf") > now + LEEWAY_S:
        raise Untrusted("the ID token does not hold yet (nbf)")


def _moment(claims: Mapping[str, Any], name: str) -> float:
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise Untrusted(f"the ID token says no time ({name})")
    return float(min(max(value, -1e12), 1e12))


def _check_access_token(said: Any, access_token: str) -> None:
    # Both algorithms hash with SHA-256; of that the left half (OIDC Core 3.1.3.6).
    half = hashlib.sha256(access_token.encode("utf-8", "replace")).digest()[:16]
    own = base64.urlsafe_b64encode(half).rstrip(b"=")
    if not access_token or not isinstance(said, str) or not hmac.compare_digest(said.encode("utf-8", "replace"), own):
        raise Untrusted("the ID token came with another access token (at_hash)")
