"""
The policy as the store keeps it.

``policy/current`` is small: which revision is in force, since when, by whom. The documents are ``policy/<8 digits>``:
what the sections say, and the text of the file as it was applied. So a command reads the small record alone, and
decodes a document once a process.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct, field

from backlog_store.codec import digest, encode, from_builtins, to_builtins
from backlog_store.instants import Instant
from backlog_store.policy import Policy
from backlog_store.policy.sections import SECTIONS

__all__ = ["InForce", "Kept", "digest_of", "document_of", "policy_of"]


class InForce(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """
    The body of ``policy/current``. `head` is the hash of the newest event of the trail of policies.
    """

    revision: int
    digest: str
    by: str
    at: Instant
    head: str
    message: str = ""


class Kept(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """
    The body of ``policy/<8 digits>``: one revision, for ever.
    """

    revision: int
    digest: str
    by: str
    at: Instant
    document: dict[str, Any]
    text: str
    format: str = "yaml"
    name: str = ""
    message: str = ""
    lines: dict[str, int] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)


def document_of(policy: Policy) -> dict[str, Any]:
    """
    Return what the sections say as plain data: the same for files that differ in comments and layout alone.
    """
    sections = {name: getattr(policy, name) for name in SECTIONS}
    return {name: to_builtins(section) for name, section in sections.items() if section is not None}


def digest_of(policy: Policy) -> str:
    """
    Return the digest of what a policy means: its sections, and the files that it names.
    """
    return digest(encode((document_of(policy), policy.files)))


def policy_of(body: Mapping[str, Any]) -> Policy:
    """
    Return the policy that a record holds. Raises `msgspec.ValidationError` where this version cannot read it.
    """
    kept = from_builtins(dict(body), Kept)
    unknown = [name for name in kept.document if name not in SECTIONS]
    if unknown:
        raise msgspec.ValidationError(f"this version knows no section {', '.join(unknown)}")
    sections: dict[str, Any] = {
        name: msgspec.convert(value, SECTIONS[name]) for name, value in kept.document.items()
    }  # fmt: skip
    return Policy(revision=kept.revision, lines=kept.lines, files=kept.files, **sections)
