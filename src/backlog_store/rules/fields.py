"""
Who owns which field, and how reported values are merged into known ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from backlog_store.codec import encode, to_builtins
from backlog_store.digests import blake2b
from backlog_store.model import LIMITS, Draft

__all__ = [
    "EDITABLE", "EPISODE_FIELDS", "HOLDABLE", "MACHINE_FIELDS", "draft_digest", "merge_evidence", "merge_meta",
    "merge_tags", "sorted_tags", "total_evidence",
]  # fmt: skip

#: Fields that a report may refresh until a person holds them.
MACHINE_FIELDS: tuple[str, ...] = (
    "title", "description", "service", "category", "priority", "owner", "due_date", "tags", "meta", "fix", "key_inputs",
)  # fmt: skip
#: Fields that a person holds by setting them.
HOLDABLE: frozenset[str] = frozenset({*MACHINE_FIELDS, "evidence_refs", "status"})
#: Held for the episode only: a reopened item starts anew in these.
EPISODE_FIELDS: frozenset[str] = frozenset({"status", "owner"})
#: Fields that `Edit` can set.
EDITABLE: tuple[str, ...] = (
    "title", "description", "service", "category", "priority", "owner", "due_date", "tags", "meta", "fix",
    "evidence_refs", "status", "env", "dedupe_key", "source",
)  # fmt: skip


def sorted_tags(tags: Iterable[str]) -> tuple[str, ...]:
    """
    Return tags as the sorted set that an item keeps.
    """
    return tuple(sorted(set(tags)))


def merge_tags(known: tuple[str, ...], reported: Iterable[str]) -> tuple[str, ...]:
    """
    Return the union, at most `LIMITS.tags`; known ones stay.
    """
    new = sorted(set(reported) - set(known))
    return sorted_tags([*known, *new[: max(0, LIMITS.tags - len(known))]]) if new else known


def merge_meta(known: Mapping[str, Any], reported: Mapping[str, Any]) -> dict[str, Any]:
    """
    Return the known members with the reported ones over them; too large a result keeps the reported ones alone.
    """
    merged: dict[str, Any] = to_builtins({**known, **reported})
    if len(encode(merged)) > LIMITS.meta_bytes:
        merged = to_builtins(dict(reported))
    return merged


def merge_evidence(known: Mapping[str, Any], reported: Mapping[str, Any]) -> dict[str, Any]:
    """
    Return a bounded sample of both.

    Of each kind that is a list the newest 50 distinct references stay, the newest last; a value that is no list is
    replaced. Oldest references give way when the whole would grow beyond `LIMITS.evidence_bytes`.
    """
    merged: dict[str, Any] = dict(known)
    for kind, value in reported.items():
        old = merged.get(kind)
        if isinstance(value, list | tuple):
            before = old if isinstance(old, list) else ([] if old is None else [old])
            fresh = [reference for reference in value if reference not in before]
            merged[kind] = _newest([*before, *fresh])
        elif isinstance(old, list):
            merged[kind] = _newest(old if value in old else [*old, value])
        else:
            merged[kind] = value
    if len(merged) > LIMITS.evidence_kinds:
        for kind in [kind for kind in merged if kind not in reported][: len(merged) - LIMITS.evidence_kinds]:
            del merged[kind]
    merged = to_builtins(merged)
    while len(encode(merged)) > LIMITS.evidence_bytes:
        longest = max(merged, key=lambda kind: (len(encode(merged[kind])), kind))
        value = merged[longest]
        if isinstance(value, list) and len(value) > 1:
            merged[longest] = value[len(value) // 2 :]
        else:
            del merged[longest]
    return merged


def _newest(references: list[Any]) -> list[Any]:
    distinct: list[Any] = []
    for reference in references:
        if reference not in distinct:
            distinct.append(reference)
    return distinct[-LIMITS.evidence_kept :]


def total_evidence(totals: Mapping[str, int], known: Mapping[str, Any], reported: Mapping[str, Any]) -> dict[str, int]:
    """
    Return how many references of each kind were ever taken in, where that is more than the sample can hold.

    A kind is counted once it outgrows the sample; below that the sample is the total.
    """
    result = dict(totals)
    for kind, value in reported.items():
        if not isinstance(value, list | tuple):
            continue
        before = known.get(kind)
        old = before if isinstance(before, list) else ([] if before is None else [before])
        fresh = len({encode(reference) for reference in value} - {encode(reference) for reference in old})
        total = result.get(kind, len(old)) + fresh
        if total > LIMITS.evidence_kept:
            result[kind] = total
    return result


def draft_digest(draft: Draft) -> str:
    """
    Return the digest of what a report claims: all but evidence, declared-volatile meta, and when it was seen.
    """
    meta = draft.meta
    if draft.volatile:
        meta = {name: value for name, value in meta.items() if name not in draft.volatile}
    claimed = (
        draft.title, draft.description, draft.service, draft.category, draft.priority, draft.owner, draft.due_date,
        sorted(set(draft.tags)), meta, draft.fix, draft.key_inputs,
    )  # fmt: skip
    return blake2b(encode(claimed)).hexdigest()[:32]
