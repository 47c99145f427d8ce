"""
Values for tests: items, events and trees, plain ones by hand and nasty ones from a seed.

Ordinary helpers (`an_item`, `first`, `then`) keep tests short; `Sampler` draws from pools of texts on which stores are
known to differ: quotes, wildcards, case, accents, astral characters, empty values.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from backlog_store.backends.port import Put
from backlog_store.instants import Instant, add_seconds
from backlog_store.model import CLOSING_REASONS, PRIORITIES, STATUSES, Claim, Event, Item, Record, RecordKind
from backlog_store.query import FIELDS, All, Any_, Compare, HasWords, In, Not, Where, item_text, value_of
from backlog_store.testing.clocks import START
from backlog_store.words import words_of

__all__ = ["NASTY", "Sampler", "a_record", "an_event", "an_item", "first", "then"]

#: Texts that trip stores up: wildcards, quotes, case, accents in two forms, and the two sides of the surrogate gap.
NASTY: tuple[str, ...] = (
    "a", "A", "b", "B", "Z", "z", "ab", "a b", "a_b", "a%b", "a\\b", "a'b", 'a"b', "_", "%", "\\", "'", "''", "--", ";",
    "é", "e\u0301", "ß", "ss", "ﬁ", "fi", "İ", "日本", "\uffee", "\U0001f600", "\u200b", " ", " a", "a ", "0", "00",
    "-1", "null", "NULL", "true", "a/b", "a\nb", "a\tb", "{}", "$1", ":x", "?", "é%", "ÿ",
)  # fmt: skip
_WORDS = (
    "burn", "rate", "Burn", "BURN", "rates", "Straße", "STRASSE", "naïve", "naïve", "ﬁnance", "finance", "日本語", "x",
    "x_y", "100%", "don't", "a.b", "ab", "İstanbul", "Ångström", "ＦＵＬＬ", "full", "²", "2", "\U00010400",
)  # fmt: skip
_ENVS = ("prod", "Prod", "staging", "dév", "p_od", "p%", "'")


def an_item(id: str = "bl_1", *, revision: int = 1, **fields: Any) -> Item:
    """
    Return a small valid item; *fields* replace its fields.
    """
    plain: dict[str, Any] = {
        "env": "prod", "status": "open", "priority": "P2", "created_at": START, "updated_at": START,
        "title": f"About {id}",
    }  # fmt: skip
    return Item(id=id, revision=revision, **(plain | fields))


def an_event(item: Item, **fields: Any) -> Event:
    """
    Return an event that explains *item*'s revision; *fields* replace its fields.
    """
    plain: dict[str, Any] = {
        "id": f"ev_{item.id}_{item.revision}", "item_id": item.id, "revision": item.revision, "ts": item.updated_at,
        "type": "created" if item.revision == 1 else "edited", "actor": "monitor",
    }  # fmt: skip
    return Event(**(plain | fields))


def a_record(id: str = "r", *, kind: RecordKind = "view", revision: int = 1, **body: Any) -> Record:
    """
    Return a record with this body.
    """
    return Record(kind=kind, id=id, revision=revision, body=body)


def first(item: Item, **event: Any) -> Put:
    """
    Return the change that creates *item*.
    """
    return Put(item, an_event(item, **event), created=True)


def then(item: Item, **fields: Any) -> Put:
    """
    Return the change that gives *item* its next revision with these fields.
    """
    following = replace(item, revision=item.revision + 1, **fields)
    return Put(following, an_event(following))


class Sampler:
    """
    A seeded source of values: the same seed gives the same values on every machine.
    """

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)  # noqa: S311  (repeatable on purpose; no secret hangs on it)

    def item(self, number: int, **fields: Any) -> Item:
        """
        Draw an item at revision 1. Its id and key come from *number*, all else from the pools.
        """
        rng = self.rng
        closed = rng.random() < 0.3
        moment = self.instant()
        claim = Claim(priority="P1", digest="d", reports=1, first_at=moment, last_at=moment)
        drawn: dict[str, Any] = {
            "env": rng.choice(_ENVS), "status": rng.choice(STATUSES[3:] if closed else STATUSES[:3]),
            "priority": rng.choice(PRIORITIES), "created_at": moment, "updated_at": self.instant(after=moment),
            "service": self.maybe(NASTY), "category": self.maybe(NASTY), "owner": self.maybe(NASTY),
            "source": self.maybe(("ruff", "Ruff", "ru_f", "slo")), "title": self.text(), "description": self.text(),
            "due_date": self.maybe(tuple(f"2026-0{month}-1{day}" for month in (3, 4) for day in range(5))),
            "dedupe_key": f"{rng.choice(NASTY)}:{number}" if rng.random() < 0.8 else "", "fix": self.maybe(NASTY[:8]),
            "tags": tuple(sorted(set(rng.choices(NASTY, k=rng.randrange(4))))),
            "wake_at": self.maybe((self.instant(),)), "blocked_by": (0, 0, 1, 3)[number % 4],
            "claimed_by": ("", "", "ann")[number % 3],
            "closed_at": moment if closed else "", "closed_reason": rng.choice(CLOSING_REASONS) if closed else "",
            "expires_at": self.maybe((self.instant(),)), "meta": self.document(), "held": {"title": rng.choice(NASTY)},
            "claims": {rng.choice(NASTY): claim}, "claims_under": {NASTY[number % len(NASTY)]: {"slo": claim}},
        }  # fmt: skip
        return Item(id=f"bl_{self.prefix()}{number}", revision=1, **(drawn | fields))

    def items(self, count: int) -> list[Item]:
        """
        Draw *count* items with ids and keys of their own.
        """
        return [self.item(number) for number in range(count)]

    def prefix(self) -> str:
        """
        Draw the start of an id, so that the order of ids is not the order of creation.
        """
        return self.rng.choice(("a", "B", "b", "_", "z0", "Z"))

    def maybe(self, pool: Sequence[str]) -> str:
        """
        Draw one of *pool*, or the empty text one time in three.
        """
        return self.rng.choice(pool) if self.rng.random() < 0.66 else ""

    def text(self) -> str:
        """
        Draw a few words, some of them nasty.
        """
        return " ".join(self.rng.choices(_WORDS + NASTY, k=self.rng.randrange(8)))

    def instant(self, after: Instant = START) -> Instant:
        """
        Draw an instant within a day of *after*; few distinct ones, so that ties are common.
        """
        return add_seconds(after, self.rng.randrange(24) * 3600 + self.rng.randrange(2) / 1_000_000)

    def document(self) -> dict[str, Any]:
        """
        Draw a small free JSON object.
        """
        rng = self.rng
        leaves: tuple[Any, ...] = (None, True, False, 0, -1, 2**53 + 1, 1.5, 1e300, -0.25, "", *NASTY[:12])
        members = {name: rng.choice(leaves) for name in rng.sample(NASTY, k=rng.randrange(4))}
        return members | {"list": [rng.choice(leaves), {"in": rng.choice(leaves)}]} if rng.random() < 0.3 else members

    def where(self, items: Sequence[Item], *, depth: int = 3) -> Where:
        """
        Draw a condition about *items*: most values occur in them, some nearly.
        """
        rng = self.rng
        kind = rng.randrange(8 if depth else 5)
        if kind < 2:
            name = rng.choice(FIELDS)
            return In(name, tuple(self.value(items, name) for _ in range(rng.randrange(4))))
        if kind < 4:
            name = rng.choice([name for name in FIELDS if name != "tag"])
            return Compare(name, rng.choice(("<", "<=", ">", ">=")), self.value(items, name))
        if kind == 4:
            return self.words(items)
        if kind == 5:
            return Not(self.where(items, depth=depth - 1))
        parts = tuple(self.where(items, depth=depth - 1) for _ in range(rng.randrange(4)))
        return All(parts) if kind == 6 else Any_(parts)

    def value(self, items: Sequence[Item], name: str) -> str:
        """
        Draw a value of a field from the items, or something near it.
        """
        rng = self.rng
        if not items or rng.random() < 0.2:
            return rng.choice((*NASTY, ""))
        item = rng.choice(items)
        found = rng.choice((*item.tags, "")) if name == "tag" else value_of(item, name)
        return found if rng.random() < 0.8 else found[:-1]

    def words(self, items: Sequence[Item]) -> HasWords:
        """
        Draw a condition on one to three words that stand together in an item, sometimes the last one cut short.
        """
        rng = self.rng
        words = words_of(item_text(rng.choice(items))) if items else []
        if not words:
            return HasWords(("x",))
        start = rng.randrange(len(words))
        found = words[start : start + rng.randrange(1, 4)]
        if rng.random() < 0.4:
            return HasWords((*found[:-1], found[-1][: rng.randrange(1, 4)]), prefix=True)
        if rng.random() < 0.2:
            found.reverse()
        return HasWords(tuple(found))
