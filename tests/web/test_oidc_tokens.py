"""
ID tokens, as they are believed and as they are forged; keys of a provider; claims as names and scopes; the file.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from backlog_store.access import Scope
from backlog_store.errors import InvalidInput
from backlog_store.web.oidc.config import OidcConfig, Unfit, load_config, name_of, scope_of
from backlog_store.web.oidc.idtoken import Expected, Key, UnknownKey, Untrusted, keys_of, verified
from tests.web.fake_provider import CLIENT, ISSUER, by_hand, ec_key, rsa_key, signed

NOW = 1_795_900_000.0
EXPECTED = Expected(issuer=ISSUER, client_id=CLIENT, nonce="n" * 64, now=NOW, access_token="opaque")
CLAIMS: dict[str, Any] = {"iss": ISSUER, "aud": CLIENT, "sub": "1234", "nonce": "n" * 64, "iat": NOW, "exp": NOW + 300}


def shown(*keys: Any) -> tuple[Key, ...]:
    """
    Return the keys that a provider shows.
    """
    return keys_of({"keys": [key.as_dict(private=False) for key in keys]})


def believed(token: str, **expected: Any) -> Any:
    """
    Return the claims of a token, held against both keys.
    """
    return verified(token, shown(rsa_key(), ec_key()), replace(EXPECTED, **expected))


def without(*names: str, **other: Any) -> dict[str, Any]:
    """
    Return the claims without some, or with other ones.
    """
    return {name: value for name, value in {**CLAIMS, **other}.items() if name not in names}


@pytest.mark.parametrize("made", [rsa_key, ec_key], ids=["RS256", "ES256"])
def test_a_token_of_the_provider_is_believed(made: Callable[[], Any]) -> None:
    """
    Signed by either kind of key, for this service alone or for several with this one as the party it was issued to.
    """
    key = made()
    half = base64.urlsafe_b64encode(hashlib.sha256(b"opaque").digest()[:16]).rstrip(b"=").decode()
    for more in ({}, {"aud": [CLIENT]}, {"aud": [CLIENT, "other"], "azp": CLIENT}, {"at_hash": half}, {"nbf": NOW}):
        assert believed(signed({**CLAIMS, **more}, key))["sub"] == "1234"
    assert believed(signed(CLAIMS, key), now=NOW + 300 + 59)["sub"] == "1234"


def test_a_provider_with_one_key_need_not_name_it() -> None:
    """
    Without a key id the only key of the algorithm is meant; of two, none is guessed.
    """
    token = signed(CLAIMS, rsa_key(), kid=None)
    assert believed(token)["sub"] == "1234"
    with pytest.raises(Untrusted):
        verified(token, shown(rsa_key(), rsa_key("rsa-2")), EXPECTED)


def _evil(**header: Any) -> str:
    return signed(CLAIMS, rsa_key("evil"), kid="rsa-1", **header)


#: Each is made where it is tried.
FORGED: dict[str, Callable[[], str]] = {
    "signed by a key of the attacker under the provider's key id": _evil,
    "the attacker's key in the header": lambda: _evil(jwk=rsa_key("evil").as_dict(private=False)),
    "an address of the attacker's keys": lambda: _evil(jku="https://evil.example/jwks"),
    "alg none": lambda: by_hand(CLAIMS, "none"),
    "alg NONE": lambda: by_hand(CLAIMS, "NONE"),
    "RS256 with an empty signature": lambda: by_hand(CLAIMS, "RS256"),
    "HS256 with the public key as its secret": lambda: by_hand(CLAIMS, "HS256", rsa_key().as_pem(private=False)),
    "RS256 with the code of HS256": lambda: by_hand(CLAIMS, "RS256", rsa_key().as_pem(private=False)),
    "ES256 named for a key of RSA": lambda: signed(CLAIMS, ec_key("evil"), kid="rsa-1"),
    "an extension that nobody knows": lambda: signed(CLAIMS, b64=True, crit=["b64"]),
    "a payload that is not encoded": lambda: signed(CLAIMS, b64=True),
    "a token of another kind": lambda: signed(CLAIMS, typ="at+jwt"),
    "a key id that is no text": lambda: by_hand(CLAIMS, "RS256", kid=7),
    "claims that are a list": lambda: signed([CLAIMS]),
    "claims that are no JSON": lambda: signed(b"{"),
    "claims nested without an end": lambda: signed(b"[" * 20_000),
    "five parts": lambda: "a.b.c.d.e",
    "nothing": lambda: "",
    "no ASCII": lambda: "\u00e9.\u00e9.\u00e9",
    "more than a token has": lambda: signed({**CLAIMS, "x": "x" * 40_000}),
    "changed after it was signed": lambda: signed(CLAIMS).replace(".", ".e30", 1),
}


@pytest.mark.parametrize("what", FORGED)
def test_a_forged_token_is_not_believed(what: str) -> None:
    """
    Whatever its header asks for: only the provider's keys count, with the algorithm that is theirs.
    """
    with pytest.raises(Untrusted):
        believed(FORGED[what]())


WRONG: dict[str, dict[str, Any]] = {
    "another issuer": without(iss="https://evil.example"),
    "another issuer by a slash": without(iss=ISSUER + "/"),
    "no issuer": without("iss"),
    "another audience": without(aud="other"),
    "another audience that holds the name": without(aud=f"{CLIENT}-2"),
    "audiences without this one": without(aud=["other"], azp=CLIENT),
    "several audiences and no party": without(aud=[CLIENT, "other"]),
    "issued to another party": without(azp="other"),
    "audience of another type": without(aud={CLIENT: 1}),
    "no audience": without("aud"),
    "expired": without(exp=NOW - 61),
    "no end": without("exp"),
    "an end that is a text": without(exp="2999"),
    "an end that is true": without(exp=True),
    "an end that is no number": without(exp=float("nan")),
    "an end without an end": without(exp=float("inf")),
    "issued in the future": without(iat=NOW + 61),
    "issued long ago": without(iat=NOW - 661),
    "no time of issue": without("iat"),
    "not yet": without(nbf=NOW + 61),
    "another nonce": without(nonce="m" * 64),
    "no nonce": without("nonce"),
    "a nonce of another type": without(nonce=["n" * 64]),
    "a nonce that is no ASCII": without(nonce="\ud800"),
    "nobody": without("sub"),
    "nobody at all": without(sub=""),
    "a number for somebody": without(sub=1234),
    "somebody with a line": without(sub="12\n34"),
    "somebody too long": without(sub="1" * 256),
    "another access token": without(at_hash="AAAAAAAAAAAAAAAAAAAAAA"),
    "a hash of another type": without(at_hash=1),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_token_for_another_purpose_is_not_believed(what: str) -> None:
    """
    Rightly signed, but by whom, for whom, when or in which sign-in does not fit.
    """
    with pytest.raises(Untrusted) as caught:
        believed(signed(WRONG[what]))
    assert not isinstance(caught.value, UnknownKey)


def test_a_hash_needs_the_access_token_that_it_is_of() -> None:
    """
    A token that says it came with an access token is refused where none came.
    """
    half = base64.urlsafe_b64encode(hashlib.sha256(b"").digest()[:16]).rstrip(b"=").decode()
    with pytest.raises(Untrusted):
        believed(signed({**CLAIMS, "at_hash": half}), access_token="")


def test_a_key_that_is_not_shown_is_told_apart() -> None:
    """
    A new key of the provider is no forgery: whoever asks may look for it once.
    """
    with pytest.raises(UnknownKey):
        believed(signed(CLAIMS, rsa_key("new")))


def test_keys_that_sign_no_id_token_are_left_out() -> None:
    """
    Keys for encryption, of other algorithms or curves, too short, damaged or symmetric are as if not there.
    """
    good = rsa_key().as_dict(private=False)
    point = ec_key().as_dict(private=False)
    odd = [
        {**good, "use": "enc"}, {**good, "alg": "RS512"}, {**good, "kid": 7}, {**good, "n": 7}, {**good, "n": "AQAB"},
        {"kty": "oct", "k": "AAAA"}, {"kty": "new"}, {}, [], "x", {**point, "crv": "P-384"}, {**point, "x": point["y"]},
    ]  # fmt: skip
    assert [key.id for key in keys_of({"keys": [*odd, good]})] == ["rsa-1"]


@pytest.mark.parametrize("document", [{}, [], {"keys": {}}, {"keys": [{}] * 101}, None])
def test_what_is_no_set_of_keys_is_refused(document: Any) -> None:
    """
    Another document, or more keys than any provider has.
    """
    with pytest.raises(Untrusted):
        keys_of(document)


def test_a_private_part_of_a_key_is_not_taken() -> None:
    """
    A provider that shows its private key by mistake gives us nothing to sign with.
    """
    assert not keys_of({"keys": [rsa_key().as_dict(private=True)]})[0].key.is_private


# --- the file and its rules -------------------------------------------------------------------------------------------

FILE = """
name = "Example"
issuer = "https://id.example"
client_id = "backlog"
public_url = "https://backlog.example"

[[groups]]
group = "sre"
role = "admin"

[[groups]]
group = "payments"
role = "worker"
envs = ["prod"]
services = ["checkout", "billing"]
"""
CONFIG = load_config(FILE, is_toml=True)


def test_the_first_group_of_the_file_counts() -> None:
    """
    Of several groups the one that stands first says what somebody may; one text is one group.
    """
    part = Scope(role="worker", envs=("prod",), services=("checkout", "billing"))
    told: tuple[tuple[Any, Scope], ...] = (
        (["payments", "sre"], Scope(role="admin")), (["x", "payments"], part), ("payments", part),
    )  # fmt: skip
    assert [scope_of(CONFIG, {"groups": said}) for said, _ in told] == [scope for _, scope in told]


@pytest.mark.parametrize("said", [None, [], ["SRE"], ["sre "], "sre,payments", "sre payments", ["s", "r", "e"]])
def test_nobody_comes_in_without_a_group(said: Any) -> None:
    """
    A group is its name, letter by letter: nothing is split, folded or joined.
    """
    with pytest.raises(Unfit) as caught:
        scope_of(CONFIG, {"groups": said} if said is not None else {})
    assert caught.value.code == "oidc_no_group"


@pytest.mark.parametrize("said", [{"sre": True}, 7, True, [["sre"]], ["sre", 7], [None]])
def test_groups_of_another_type_are_refused(said: Any) -> None:
    """
    A claim of groups that is no list of names is a mistake to be told, and lets nobody in.
    """
    with pytest.raises(Unfit) as caught:
        scope_of(CONFIG, {"groups": said})
    assert caught.value.code == "oidc_groups"


def test_groups_that_were_too_many_are_told_as_that() -> None:
    """
    A provider that leaves the groups out, and says where they are, is told apart from somebody without any.
    """
    with pytest.raises(Unfit, match="too many groups"):
        scope_of(CONFIG, {"_claim_names": {"groups": "src1"}, "_claim_sources": {}})


def test_everybody_comes_in_only_where_the_file_says_so() -> None:
    """
    The entry * stands for whoever the provider lets in, also without groups.
    """
    config = load_config(FILE + '[[groups]]\ngroup = "*"\nrole = "reader"\n', is_toml=True)
    assert [scope_of(config, {"groups": said}).role for said in (["sre"], ["x"], [])] == ["admin", "reader", "reader"]
    assert scope_of(config, {}).role == "reader"


def test_a_name_is_that_of_the_first_claim_there_is() -> None:
    """
    An address of e-mail that the provider has not verified is no name, nor is what is no text.
    """
    assert name_of(CONFIG, {"preferred_username": "ann", "email": "a@b.example"}) == "ann"
    assert name_of(CONFIG, {"preferred_username": "", "email": "a@b.example", "email_verified": True}) == "a@b.example"
    assert name_of(CONFIG, {"email": "a@b.example"}) == "a@b.example"
    for claims in ({}, {"email": "a@b.example", "email_verified": False}, {"preferred_username": 7}):
        with pytest.raises(Unfit):
            name_of(CONFIG, claims)


def test_every_fault_of_the_file_is_told_at_once_with_its_place() -> None:
    """
    A misspelt key, a role that there is not, and what is missing: each with its line.
    """
    text = 'issuer = "https://id.example"\nclientid = "x"\n[[groups]]\ngroup = "sre"\nrole = "owner"\n'
    with pytest.raises(InvalidInput) as caught:
        load_config(text, is_toml=True)
    assert {fault.pointer for fault in caught.value.faults} == {"/clientid", "/groups/0/role", ""}
    assert "client_id" in str(caught.value)
    assert "line 2" in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "pointer"),
    [
        ("https://id.example", "http://id.example", "/issuer"),
        ("https://id.example", "https://id.example?x", "/issuer"),
        ("https://id.example", "https://a:b@id.example", "/issuer"),
        ("https://id.example", "ldap://id.example", "/issuer"),
        ("https://id.example", "https://id.example:x", "/issuer"),
        ("https://backlog.example", "http://backlog.example", "/public_url"),
        ("https://backlog.example", "https://backlog.example/tools", "/public_url"),
        ('"payments"', '"sre"', "/groups/1/group"),
        ('"sre"', '"*"', "/groups/1/group"),
        ('name = "Example"', 'scopes = ["profile"]', "/scopes"),
        ('name = "Example"', 'scopes = ["openid", "a b"]', "/scopes/1"),
        ('name = "Example"', 'networks = ["10.0.0.1/8"]', "/networks"),
    ],
)
def test_what_could_not_work_is_refused_when_it_starts(old: str, new: str, pointer: str) -> None:
    """
    Addresses that are none or not encrypted, scopes without OIDC, groups that never count.
    """
    with pytest.raises(InvalidInput) as caught:
        load_config(FILE.replace(old, new, 1), is_toml=True)
    assert [fault.pointer for fault in caught.value.faults] == [pointer]


def test_yaml_says_the_same() -> None:
    """
    A file in YAML holds what one in TOML does.
    """
    plain = {"name": "Example", "issuer": ISSUER, "client_id": "backlog", "public_url": "https://backlog.example",
             "groups": [{"group": "sre", "role": "admin"}]}  # fmt: skip
    config = load_config(json.dumps(plain), is_toml=False)
    assert isinstance(config, OidcConfig)
    assert config == replace(CONFIG, groups=CONFIG.groups[:1])
