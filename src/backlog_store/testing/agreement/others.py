"""
Random commands about identities, claims and access: what the machine of commands draws beside items and runs.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from backlog_store import commands as c
from backlog_store.access import ROLES, Scope
from backlog_store.backends.port import Backend
from backlog_store.codec import from_builtins
from backlog_store.instants import Instant, add_seconds
from backlog_store.model import Item, Key, KeyState
from backlog_store.testing.samples import NASTY

__all__ = ["names_of_keys", "some_access_body", "some_claim_body", "some_identity_body"]

_ENVS = ("prod", "staging")
_RECORDS = 200
_NAMES = ("ci", "eve") * 6 + ("a b", " ci")
#: Few, so that sessions and secrets are met again.
_DIGESTS = tuple(f"{number:064x}" for number in range(1, 4))
_SUBJECTS = ("https://id.example 1", "https://id.example 2", "no subject")


def names_of_keys(model: Backend) -> list[tuple[Key, KeyState]]:
    """
    Return keys of a store that something is remembered about.
    """
    records = [one for env in _ENVS
               for one in model.read(lambda reader, env=env: reader.scan("key", f"{env}/", "", _RECORDS))]  # type: ignore[misc]  # fmt: skip
    return [((env, key), from_builtins(record.body, KeyState))
            for record in records for env, _, key in [record.id.partition("/")]]  # fmt: skip


def some_identity_body(rng: random.Random, items: Sequence[Item], names: Sequence[tuple[Key, KeyState]]) -> Any:
    """
    Draw a merge, a split or the lifting of one: mostly a sensible one.
    """
    if rng.random() < 0.55 or not names:
        into = rng.choice(items)
        likely = [item for item in items if item.env == into.env and item.key is not None] or items
        ids = tuple(rng.choice(likely if rng.random() < 0.9 else items).id for _ in range(rng.choice((1, 1, 1, 2, 0))))
        return c.Merge(ids=ids, into=into.id, message=rng.choice(("", "one cause")))
    lift = rng.random() < 0.4
    likely_names = [one for one, state in names if (state.apart if lift else state.alias_of)]
    key = rng.choice(likely_names) if likely_names and rng.random() < 0.9 else rng.choice(names)[0]
    return c.Split(env=key[0], dedupe_key=key[1], lift=lift, message=rng.choice(("", "two causes")))


def some_claim_body(rng: random.Random, items: Sequence[Item]) -> Any:
    """
    Draw a command about who works on what; tokens are small numbers, so they are met by chance.
    """
    taken = [item for item in items if item.status == "in_progress"]
    id = rng.choice(taken if taken and rng.random() < 0.6 else items).id
    lease_s = rng.choice((60, 3_600, 3_600, 86_400, 0))
    kind = rng.random()
    if kind < 0.4:
        return c.ClaimItem(id=rng.choice((id, id, "")), env=rng.choice(("", *_ENVS)), lease_s=lease_s)
    if kind < 0.75:
        return c.RenewClaim(id=id, token=rng.choice((0, 1, 1, 2)), lease_s=lease_s)
    return c.ReleaseItem(id=id, token=rng.choice((0, 0, 1, 2)), message=rng.choice(("", "not mine")))


def some_access_body(rng: random.Random, now: Instant) -> Any:
    """
    Draw a command about who may sign in.
    """
    name, later = rng.choice(_NAMES), add_seconds(now, rng.choice((-60, 3_600, 7 * 86_400)))
    parts: list[tuple[str, ...] | None] = [None, (), ("prod",), NASTY[:2]]
    scope = Scope(role=rng.choice(ROLES), envs=rng.choice(parts), services=rng.choice(parts))
    digest, last = rng.choice(_DIGESTS), rng.choice(("abcd", "abcd", ""))
    made: tuple[Any, ...] = (
        c.IssueToken(key=f"{rng.randrange(20):016x}", digest=digest, last=last, name=name, scope=scope,
                     kind=rng.choice(("machine", "person")), expires_at=rng.choice(("", later))),
        c.RotateToken(name=name, digest=digest, last=last, until=rng.choice(("", later)),
                      expires_at=rng.choice((None, "", later))),
        c.RevokeToken(name=name, message=rng.choice(("", "it leaked"))),
        c.SetPerson(name=name, scope=scope, over=rng.choice((0, 0, 0, 1, 2)),
                    password=rng.choice((None, "", "hashed")), subject=rng.choice((None, None, "", *_SUBJECTS))),
        c.RemovePerson(name=name),
        c.AdmitPerson(name=name, subject=rng.choice(_SUBJECTS), scope=scope, digest=digest, expires_at=later),
        c.BeginSession(name=name, digest=digest, expires_at=later),
        c.TouchSession(digest=digest),
        c.EndSessions(name=name, digest=rng.choice(("", digest))),
    )  # fmt: skip
    return rng.choice(made)
