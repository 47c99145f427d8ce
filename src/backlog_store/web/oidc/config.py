"""
The file that says how people sign in by OIDC: read and checked completely, every fault with its line.

And the rule that it holds: from what a provider says of somebody to a name and a scope. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any
from urllib.parse import urlsplit

from msgspec import Meta, Struct

from backlog_store.access import Role, Scope
from backlog_store.codec import from_builtins
from backlog_store.errors import ConfigError, Fault, InvalidInput
from backlog_store.model import LIMITS
from backlog_store.policy.findings import Finding
from backlog_store.policy.nodes import Table, Unreadable, read_yaml
from backlog_store.policy.typed import Typist
from backlog_store.webhooks.outlets import Outlets, networks_from

__all__ = [
    "CALLBACK", "FILE_MAX", "Grant", "OidcConfig", "OidcSetup", "Unfit", "is_address", "load_config", "name_of",
    "scope_of",
]  # fmt: skip

FILE_MAX = 262_144
#: Where a provider sends people back to, below the public address.
CALLBACK = "/sign-in/oidc/callback"
#: In place of a group: whoever the provider lets in.
EVERYBODY = "*"
_URL = re.compile(r"[\x21-\x22\x24-\x7e]{1,2000}")  # printable ASCII without # and space
_LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})

_Name = Annotated[str, Meta(min_length=1, max_length=LIMITS.name)]
_Text = Annotated[str, Meta(min_length=1, max_length=2_000)]


class Grant(Struct, frozen=True, kw_only=True):
    """
    What one group may: a role, and the envs and services that it reaches (left out: all).
    """

    group: _Name
    role: Role
    envs: Annotated[tuple[_Name, ...], Meta(max_length=LIMITS.tags)] | None = None
    services: Annotated[tuple[_Name, ...], Meta(max_length=LIMITS.tags)] | None = None

    @property
    def scope(self) -> Scope:
        """
        Return it as the scope of a person.
        """
        return Scope(role=self.role, envs=self.envs, services=self.services)


class OidcConfig(Struct, frozen=True, kw_only=True):
    """
    How people sign in by OIDC. *groups* are in order: the first one that somebody is in says what they may.
    """

    issuer: _Text
    client_id: _Text
    public_url: _Text
    groups: Annotated[tuple[Grant, ...], Meta(min_length=1, max_length=1_000)]
    name: Annotated[str, Meta(min_length=1, max_length=60)] = "OIDC"
    client_secret_file: Annotated[str, Meta(max_length=2_000)] = ""
    scopes: Annotated[tuple[_Name, ...], Meta(min_length=1, max_length=50)] = ("openid", "profile", "email")
    name_claims: Annotated[tuple[_Name, ...], Meta(min_length=1, max_length=10)] = ("preferred_username", "email")
    groups_claim: _Name = "groups"
    networks: Annotated[tuple[_Name, ...], Meta(max_length=100)] = ()

    @property
    def redirect_uri(self) -> str:
        """
        Return where the provider sends people back to.
        """
        return self.public_url.rstrip("/") + CALLBACK

    @property
    def host(self) -> str:
        """
        Return the public name of the service, with its port where the address has one.
        """
        parts = urlsplit(self.public_url)
        usual = {"http": ":80", "https": ":443"}[parts.scheme]
        return parts.netloc.lower().removesuffix(usual)

    @property
    def outlets(self) -> Outlets:
        """
        Return where the provider may be asked: anywhere public, and in the networks that are named.

        Which hosts those are, the issuer's own document says; it is fetched from the issuer alone.
        """
        return Outlets(hosts=("*",), networks=networks_from(self.networks, setting="networks"), within_s=5.0,
                       hosts_in="oidc", networks_in="`networks` of the OIDC file")  # fmt: skip

    @property
    def has_admin(self) -> bool:
        """
        Tell whether anybody who comes this way may administer everything.
        """
        return any(one.scope.is_admin for one in self.groups)


class OidcSetup(Struct, frozen=True):
    """
    How people sign in by OIDC, with the secret of this service at the provider.
    """

    config: OidcConfig
    secret: str

    def __repr__(self) -> str:
        """
        Return it without the secret: what holds it may be logged.
        """
        return f"OidcSetup({self.config!r}, '***')"


class Unfit(Exception):
    """
    What a provider says of somebody does not do for signing in; the text says why. *code* is that of the problem.
    """

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code


def load_config(text: str, *, is_toml: bool) -> OidcConfig:
    """
    Read a file, TOML or YAML. Raises `InvalidInput` with every fault and its place.
    """
    typist = Typist()
    plain: dict[str, Any] | None = None
    try:
        plain = typist.section(_tree(text, typist, is_toml=is_toml), OidcConfig, "")
    except Unreadable as error:
        typist.findings.append(error.finding)
    config = from_builtins(plain, OidcConfig) if plain is not None else None
    if config is not None:
        typist.findings += [typist.placed(finding) for finding in _faults(config)]
    if typist.findings or config is None:
        faults = [Fault(one.pointer, one.place, one.text) for one in typist.findings]
        raise InvalidInput(faults, what="OIDC file", hint="docs/guides/oidc.md shows what belongs there.")
    return config


def _tree(text: str, typist: Typist, *, is_toml: bool) -> Table:
    if len(text) > FILE_MAX:
        raise Unreadable(Finding(pointer="", reason=f"has {len(text):,} characters; at most {FILE_MAX:,} are read"))
    if is_toml:
        from backlog_store.policy.tomltree import read_toml

        root, findings = read_toml(text)
    else:
        root, findings = read_yaml(text)
    typist.findings += findings
    if not isinstance(root, Table):
        raise Unreadable(Finding(pointer="", reason="is no table of keys and values"))
    return root


def _faults(config: OidcConfig) -> Iterator[Finding]:
    addresses = {"/issuer": _fault_of(config.issuer), "/public_url": _fault_of(config.public_url)}
    yield from (Finding(pointer=pointer, reason=reason) for pointer, reason in addresses.items() if reason)
    if any(addresses.values()):
        return
    public = urlsplit(config.public_url)
    if public.path.strip("/"):
        yield Finding(pointer="/public_url", reason="has a path; this service stands at the root of its host")
    if public.scheme == "http" and public.hostname not in _LOCAL:
        yield Finding(pointer="/public_url", reason="is not encrypted: give an https address")
    if config.issuer.startswith("http:") and not config.networks:
        yield Finding(pointer="/issuer", reason="is not encrypted: plain http goes to `networks` alone")
    if "openid" not in config.scopes:
        yield Finding(pointer="/scopes", reason="lacks openid, without which there is no OIDC")
    for index, scope in enumerate(config.scopes):
        if not scope.isascii() or not scope.isprintable() or " " in scope:
            yield Finding(pointer=f"/scopes/{index}", reason="is not one word")
    names = [grant.group for grant in config.groups]
    for index, name in enumerate(names):
        if name in names[:index] or EVERYBODY in names[:index]:
            yield Finding(pointer=f"/groups/{index}/group", reason="never counts: one further up is for all of them")
    try:
        networks_from(config.networks, setting="networks")
    except ConfigError as error:
        yield Finding(pointer="/networks", reason=f"{error.value} {error.reason}")


def _fault_of(url: str) -> str:
    if not is_address(url):
        return "is no https address"
    return "has a query, which this address never has" if "?" in url else ""


def is_address(url: str) -> bool:
    """
    Tell whether something is an address of http or https that can be asked and shown: no user, fragment or space in it.
    """
    try:
        parts = urlsplit(url)
        is_whole = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    return is_whole and parts.username is None and _URL.fullmatch(url) is not None


# --- from claims to a name and a scope --------------------------------------------------------------------------------


def scope_of(config: OidcConfig, claims: Mapping[str, Any]) -> Scope:
    """
    Return what somebody may: that of the first group in the file that they are in.

    A claim that is one text names one group, never several. Raises `Unfit`: of no group, or no groups at all.
    """
    said = claims.get(config.groups_claim)
    if said is None and _is_left_out(config, claims):
        raise Unfit("oidc_groups", f"the provider left out {config.groups_claim!r}: too many groups. Let it send those "
                    "alone that matter here, or roles of this application")  # fmt: skip
    held = [said] if isinstance(said, str) else [] if said is None else said
    if not isinstance(held, list) or not all(isinstance(one, str) for one in held):
        raise Unfit("oidc_groups", f"the claim {config.groups_claim!r} is no list of names")
    groups = {*held}
    for grant in config.groups:
        if grant.group in groups or grant.group == EVERYBODY:
            return grant.scope
    why = "is in no group that may use this backlog" if groups else f"comes without groups ({config.groups_claim!r})"
    raise Unfit("oidc_no_group", f"this account {why}")


def _is_left_out(config: OidcConfig, claims: Mapping[str, Any]) -> bool:
    # OIDC Core 5.6.2: what a provider does not send itself is named there, with where to ask for it.
    elsewhere = claims.get("_claim_names")
    return isinstance(elsewhere, Mapping) and config.groups_claim in elsewhere


def name_of(config: OidcConfig, claims: Mapping[str, Any]) -> str:
    """
    Return the name that somebody is to have here: the first of the claims that is there. Raises `Unfit`.

    An address of e-mail that the provider says is not verified does not do: anybody could claim it.
    """
    for claim in config.name_claims:
        name = claims.get(claim)
        if name is None or name == "":
            continue
        if not isinstance(name, str):
            raise Unfit("oidc_name", f"the claim {claim!r} is no text")
        if claim == "email" and claims.get("email_verified", True) not in (True, "true"):
            raise Unfit("oidc_name", "the provider has not verified the address of e-mail that would be the name here")
        return name
    raise Unfit("oidc_name", f"the provider says no name: none of {', '.join(config.name_claims)}")
