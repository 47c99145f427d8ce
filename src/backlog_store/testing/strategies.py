"""
Hypothesis strategies for the values of the store. The only module here that needs Hypothesis.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from backlog_store import commands as c
from backlog_store.instants import Day, Instant, format_instant
from backlog_store.model import CLOSING_REASONS, PRIORITIES, STATUSES, Actor, Draft, Event, Item, Record
from backlog_store.query import FIELDS, ORDERS, All, Any_, Compare, HasWords, In, ItemQuery, Not, Where
from backlog_store.testing.contents import KINDS
from backlog_store.testing.samples import NASTY
from backlog_store.words import words_of

__all__ = [
    "actors", "commands", "days", "documents", "drafts", "events", "instants", "item_queries", "items", "names",
    "records", "texts", "wheres",
]  # fmt: skip

_EARLIEST, _LATEST = datetime(1990, 1, 1), datetime(2199, 12, 31)  # noqa: DTZ001  (bounds of naive draws)


def texts(*, max_size: int = 20) -> SearchStrategy[str]:
    """
    Any text that a store takes (no NUL, no lone surrogate), the troublesome ones often.
    """
    letters = st.characters(codec="utf-8", exclude_characters="\0")
    return st.one_of(st.sampled_from(NASTY).map(lambda text: text[:max_size]), st.text(letters, max_size=max_size))


def names() -> SearchStrategy[str]:
    """
    A short text without control characters, perhaps empty: a service, an owner, a category.
    """
    return st.one_of(st.just(""), st.text(st.characters(categories=("L", "N", "P", "S")), max_size=12))


def instants() -> SearchStrategy[Instant]:
    """
    A canonical instant.
    """
    return st.datetimes(_EARLIEST, _LATEST).map(lambda moment: format_instant(moment.replace(tzinfo=UTC)))


def days() -> SearchStrategy[Day]:
    """
    A canonical day.
    """
    return st.dates(_EARLIEST.date(), _LATEST.date()).map(lambda day: day.isoformat())


def documents() -> SearchStrategy[dict[str, Any]]:
    """
    A free JSON object of a few levels; integers within 64 bits, floats finite.
    """
    leaves = st.one_of(
        st.none(), st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False, allow_infinity=False),
        texts(),
    )  # fmt: skip
    values = st.recursive(
        leaves, lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(texts(), inner, max_size=3))
    )
    return st.dictionaries(texts(), values, max_size=4)


def actors() -> SearchStrategy[Actor]:
    """
    A person or a machine.
    """
    return st.builds(Actor, st.sampled_from(("ann", "bob", "ci", "slo")), st.sampled_from(("person", "machine")))


def items() -> SearchStrategy[Item]:
    """
    An item that a backend takes; not all of them could come out of the rules.
    """
    return st.builds(
        Item, id=texts(max_size=30).map(lambda text: f"bl_{text}"), revision=st.integers(1, 10**9), env=texts(),
        status=st.sampled_from(STATUSES), priority=st.sampled_from(PRIORITIES), created_at=instants(),
        updated_at=instants(), service=texts(), category=texts(), title=texts(), description=texts(), owner=texts(),
        due_date=st.one_of(st.just(""), days()), source=texts(), dedupe_key=texts(), evidence_refs=documents(),
        tags=st.lists(texts(), max_size=4, unique=True).map(lambda tags: tuple(sorted(tags))), meta=documents(),
        fix=texts(), wake_at=st.one_of(st.just(""), instants()), closed_at=st.one_of(st.just(""), instants()),
        closed_reason=st.sampled_from(("", *CLOSING_REASONS)), expires_at=st.one_of(st.just(""), instants()),
        episode=st.integers(1, 9), generation=st.integers(0, 9), blocked_by=st.integers(0, 2), links=st.integers(0, 2),
        claimed_by=texts(), escalated=st.dictionaries(texts(), instants(), max_size=2),
        held=st.dictionaries(texts(), texts(), max_size=2),
    )  # fmt: skip


def events() -> SearchStrategy[Event]:
    """
    An event without a position, as it is before it is stored.
    """
    return st.builds(
        Event, id=texts(), item_id=texts(), revision=st.integers(1, 10**9), ts=instants(), type=texts(), actor=texts(),
        actor_kind=st.sampled_from(("person", "machine")), message=texts(), meta=documents(), added=st.booleans(),
        changes=st.dictionaries(texts(), st.tuples(texts(), documents()), max_size=2), batch=texts(), request=texts(),
        policy=st.integers(0, 99), salt=texts(), prev=texts(), hash=texts(),
    )  # fmt: skip


def records() -> SearchStrategy[Record]:
    """
    A record of any kind but the sightings, which a backend keeps itself.
    """
    return st.builds(
        Record, kind=st.sampled_from([kind for kind in KINDS if kind != "sighting"]), id=texts(),
        revision=st.integers(1, 10**9), body=documents(), expires_at=st.one_of(st.just(""), instants()),
    )  # fmt: skip


def drafts(*, keys: SearchStrategy[str] | None = None) -> SearchStrategy[Draft]:
    """
    A valid draft; *keys* draws its dedupe key (by default one of five, or none).
    """
    return st.builds(
        Draft, title=names().map(lambda name: name or "untitled"), env=st.sampled_from(("prod", "staging")),
        service=names(), category=names(), description=names(), priority=st.sampled_from(PRIORITIES), owner=names(),
        due_date=st.one_of(st.just(""), days()), source=st.sampled_from(("ruff", "slo")), fix=names(),
        dedupe_key=st.sampled_from(("", "k1", "k2", "k3", "k4", "k5")) if keys is None else keys,
        tags=st.sets(st.sampled_from(("flaky", "perf", "sec"))).map(lambda tags: tuple(sorted(tags))),
        meta=st.dictionaries(st.sampled_from(("a", "b")), st.integers(0, 3), max_size=2),
    )  # fmt: skip


def wheres() -> SearchStrategy[Where]:
    """
    A condition: any tree over any field, few levels deep.
    """
    words = texts().map(lambda text: tuple(words_of(text)))
    leaves: SearchStrategy[Where] = st.one_of(
        st.builds(In, st.sampled_from(FIELDS), st.lists(texts(), max_size=3).map(tuple)),
        st.builds(
            Compare, st.sampled_from([name for name in FIELDS if name != "tag"]),
            st.sampled_from(("<", "<=", ">", ">=")), texts(),
        ),
        st.builds(HasWords, words, st.booleans()),
    )  # fmt: skip
    return st.recursive(
        leaves,
        lambda inner: st.one_of(
            st.builds(Not, inner),
            st.builds(All, st.lists(inner, max_size=3).map(tuple)),
            st.builds(Any_, st.lists(inner, max_size=3).map(tuple)),
        ),
        max_leaves=6,
    )


def item_queries() -> SearchStrategy[ItemQuery]:
    """
    A query of items, without a cursor.
    """
    return st.builds(
        ItemQuery, where=wheres(), order=st.sampled_from(list(ORDERS)), descending=st.booleans(),
        limit=st.one_of(st.none(), st.integers(0, 20)), offset=st.integers(0, 5),
    )  # fmt: skip


def commands() -> SearchStrategy[c.Command]:
    """
    A command of any kind about few keys, items and people, so that commands meet.
    """
    ids = st.sampled_from(("bl_1", "bl_2", "bl_none", ""))
    singles: SearchStrategy[Any] = st.one_of(
        st.builds(c.Create, draft=drafts(), status=st.sampled_from(STATUSES)),
        st.builds(c.Edit, id=ids, fields=st.dictionaries(st.sampled_from(("title", "owner", "nonsense")), names())),
        st.builds(c.Move, id=ids, to=st.sampled_from((*STATUSES, "gone")), revision=st.integers(0, 3)),
        st.builds(c.Close, id=ids, reason=st.sampled_from(CLOSING_REASONS), message=names()),
        st.builds(c.Reopen, id=ids, message=names()),
        st.builds(c.Snooze, id=ids, until=st.one_of(st.just(""), instants())),
        st.builds(c.Comment, id=ids, message=texts(), meta=documents()),
        st.builds(c.Link, id=ids, kind=st.sampled_from(("blocks", "parent")), other=ids, remove=st.booleans()),
        st.builds(c.LiftVerdict, env=st.just("prod"), dedupe_key=st.sampled_from(("k1", "k2"))),
    )
    bodies: SearchStrategy[Any] = st.one_of(
        singles,
        st.builds(c.Report, drafts=st.lists(drafts(), max_size=3).map(tuple), opens=st.booleans()),
        st.builds(c.Resolve, env=st.just("prod"), source=st.just("slo"), dedupe_keys=st.just(("k1",)), proof=names()),
        st.builds(c.Cleanup, retention_days=st.integers(0, 400), limit=st.integers(1, 9)),
        st.builds(c.Undo, batch=texts()),
        st.builds(c.Deactivate, ids=st.sampled_from(((), ("bl_1",), ("bl_1", "bl_2")))),
        st.builds(c.Escalate, id=st.just("bl_1"), step=names(), episode=st.integers(0, 2)),
        st.builds(c.Bulk, bodies=st.lists(singles, max_size=3).map(tuple), keep_going=st.booleans()),
    )
    return st.builds(
        c.Command, body=bodies, actor=actors(), at=instants(), request_id=st.sampled_from(("", "r1", "r2")),
        seed=st.integers(0, 2**128 - 1).map(lambda number: f"{number:032x}"),
    )  # fmt: skip
