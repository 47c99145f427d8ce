"""
Items: created, changed, loaded and purged; keys; all or nothing; values come back as they were given.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from msgspec.structs import replace

from backlog_store.backends.port import (
    Backend,
    Change,
    DropRecord,
    Load,
    Purge,
    Put,
    PutRecord,
    Reader,
    Require,
    Sighting,
    Writer,
)
from backlog_store.codec import encode_event, encode_item
from backlog_store.errors import AlreadyExists, BacklogError, Conflict, InvalidInput, RevisionConflict
from backlog_store.model import LIMITS, Claim, Item
from backlog_store.query import EventQuery, In, ItemQuery
from backlog_store.testing.clocks import START
from backlog_store.testing.conformance.base import Boom, Suite, apply, events_of, item_of, record_of
from backlog_store.testing.contents import contents
from backlog_store.testing.samples import NASTY, Sampler, a_record, an_event, an_item, first, then

A = an_item("bl_a", dedupe_key="ka")
B = an_item("bl_b", dedupe_key="kb")

#: A list in which every kind of change occurs once, on top of `PREPARED`.
PREPARED: tuple[Change, ...] = (
    first(A),
    first(B),
    first(an_item("bl_taken")),
    PutRecord(a_record("old")),
    PutRecord(a_record("gone")),
)
GOOD: tuple[Change, ...] = (
    first(an_item("bl_c", dedupe_key="kc")),
    then(A, title="changed"),
    Load(an_item("bl_d", revision=2), (an_event(an_item("bl_d")), an_event(an_item("bl_d", revision=2)))),
    PutRecord(a_record("new")),
    PutRecord(a_record("old", revision=2, x=1)),
    DropRecord("view", "gone", 1),
    Sighting("bl_b", "ruff", START, START, 3),
    Purge("bl_b", 1),
)
BAD: dict[str, Change] = {
    "a taken id": first(an_item("bl_taken")),
    "a taken key": first(an_item("bl_x", dedupe_key="ka")),
    "a revision ahead": Put(replace(B, revision=3), an_event(replace(B, revision=3))),
    "a change of nothing": then(an_item("bl_nobody")),
    "a load of a taken id": Load(A, (an_event(A),)),
    "a purge of an old revision": Purge("bl_a", 9),
    "a record ahead": PutRecord(a_record("other", revision=5)),
    "a record that is there": PutRecord(a_record("old")),
    "a drop of an old revision": DropRecord("view", "old", 9),
    "a requirement that fails": Require("item", "bl_a", 9),
}


class Puts(Suite):
    """
    Items and their events.
    """

    def test_a_created_item_is_there_with_its_event(self, backend: Backend) -> None:
        """One put makes the item findable by id and key, and its event beside it."""
        apply(backend, first(A))
        found = backend.read(lambda reader: (reader.items(["bl_a"]), reader.items_by_key([("prod", "ka")])))
        assert found == ({"bl_a": A}, {("prod", "ka"): A})
        assert [encode_event(event) for event in events_of(backend)] == [encode_event(first(A).event)]

    def test_a_change_replaces_the_item_and_keeps_the_trail(self, backend: Backend) -> None:
        """After revision 2 the item is the new one, and both events are there in their order."""
        change = then(A, title="new", status="done")
        apply(backend, first(A))
        apply(backend, change)
        assert item_of(backend, "bl_a") == change.item
        assert [event.revision for event in events_of(backend, "bl_a")] == [1, 2]

    def test_a_returning_item_goes_on_from_its_last_revision(self, backend: Backend) -> None:
        """A created item may start at any revision: one that was purged and returns does."""
        item = replace(A, revision=8)
        apply(backend, first(item))
        apply(backend, then(item))
        assert [event.revision for event in events_of(backend, "bl_a")] == [8, 9]

    def test_a_taken_id_is_refused(self, backend: Backend) -> None:
        """A second item of the same id is refused, and the first one stays."""
        apply(backend, first(A))
        with pytest.raises(AlreadyExists):
            apply(backend, first(an_item("bl_a", title="usurper")))
        assert item_of(backend, "bl_a") == A
        assert len(events_of(backend)) == 1

    def test_a_taken_key_is_refused_and_names_its_holder(self, backend: Backend) -> None:
        """A second item of the same key is refused; the error says which item holds it."""
        apply(backend, first(A))
        with pytest.raises(AlreadyExists) as error:
            apply(backend, first(an_item("bl_z", dedupe_key="ka")))
        assert error.value.held_by == "bl_a"
        assert item_of(backend, "bl_z") is None
        assert events_of(backend, "bl_z") == []

    def test_the_same_key_in_another_env_is_another_key(self, backend: Backend) -> None:
        """Keys are pairs: two envs may use one dedupe key for two items."""
        other = replace(B, env="staging", dedupe_key="ka")
        apply(backend, first(A), first(other))
        keys = [("prod", "ka"), ("staging", "ka"), ("prod", "kb")]
        assert backend.read(lambda reader: reader.items_by_key(keys)) == {keys[0]: A, keys[1]: other}

    def test_empty_keys_never_collide(self, backend: Backend) -> None:
        """Items without a dedupe key are unique by themselves, and an empty key finds none of them."""
        items = [an_item(f"bl_{number}") for number in range(3)]
        apply(backend, first(items[0]), first(items[1]))
        apply(backend, first(items[2]))
        assert len(backend.read(lambda reader: reader.items(["bl_0", "bl_1", "bl_2"]))) == 3
        assert backend.read(lambda reader: reader.items_by_key([("prod", "")])) == {}

    def test_a_key_moves_with_its_item(self, backend: Backend) -> None:
        """An item that gets another key is found by that one, no longer by the old one, which is free again."""
        moved = then(A, dedupe_key="moved", env="staging")
        apply(backend, first(A))
        apply(backend, moved)
        keys = [("prod", "ka"), ("staging", "moved")]
        assert backend.read(lambda reader: reader.items_by_key(keys)) == {("staging", "moved"): moved.item}
        apply(backend, first(an_item("bl_heir", dedupe_key="ka")))
        assert list(backend.read(lambda reader: reader.items_by_key(keys))) != [("staging", "moved")]

    def test_a_change_cannot_take_a_held_key(self, backend: Backend) -> None:
        """There is at most one item a key, whichever way it would come by it."""
        apply(backend, first(A), first(B))
        before = contents(backend)
        with pytest.raises(Conflict):
            apply(backend, then(B, dedupe_key="ka"))
        assert contents(backend) == before

    @pytest.mark.parametrize("revision", [1, 2, 4])
    def test_a_wrong_revision_is_refused_and_both_are_named(self, backend: Backend, revision: int) -> None:
        """A change that is not the next one says which revision it expected and which is stored."""
        change = then(A)
        apply(backend, first(A))
        apply(backend, change)
        stale = replace(A, revision=revision)
        with pytest.raises(RevisionConflict) as error:
            apply(backend, Put(stale, an_event(stale)))
        assert (error.value.id, error.value.expected, error.value.found) == ("bl_a", stale.revision - 1, 2)
        assert item_of(backend, "bl_a") == change.item
        assert len(events_of(backend)) == 2

    def test_a_change_of_an_absent_item_is_refused(self, backend: Backend) -> None:
        """Only a created item may be absent before."""
        with pytest.raises(RevisionConflict) as error:
            apply(backend, then(A))
        assert error.value.found == 0
        assert contents(backend) == []

    @pytest.mark.parametrize("fields", [{"item_id": "bl_b"}, {"revision": 2}])
    def test_an_event_of_something_else_is_refused(self, backend: Backend, fields: dict[str, Any]) -> None:
        """An item is written with the event of this item and this revision, or not at all."""
        with pytest.raises((InvalidInput, RevisionConflict)):
            apply(backend, first(A, **fields))
        assert contents(backend) == []

    def test_one_list_puts_an_item_once(self, backend: Backend) -> None:
        """Two states of one item in one list are a mistake of the caller, and nothing is written."""
        with pytest.raises(InvalidInput):
            apply(backend, first(A), then(A))
        assert contents(backend) == []

    @pytest.mark.parametrize("bad", BAD)
    def test_a_list_is_applied_whole_or_not_at_all(self, backend: Backend, bad: str) -> None:
        """One failing change, in whatever place of the list, leaves everything as it was."""
        apply(backend, *PREPARED)
        before = contents(backend)
        for place in range(len(GOOD) + 1):
            changes = (*GOOD[:place], BAD[bad], *GOOD[place:])
            with pytest.raises((RevisionConflict, AlreadyExists)):
                apply(backend, *changes)
            assert contents(backend) == before
        apply(backend, *GOOD)
        assert contents(backend) != before

    def test_an_earlier_apply_of_a_failing_write_is_undone_too(self, backend: Backend) -> None:
        """A transaction is the whole function, not one of its applies."""

        def twice(writer: Writer) -> None:
            writer.apply([first(B)])
            writer.apply([first(A), first(an_item("bl_x", dedupe_key="ka"))])

        with pytest.raises(AlreadyExists):
            backend.write(twice)
        assert contents(backend) == []

    def test_a_function_that_raises_leaves_nothing(self, backend: Backend) -> None:
        """What was applied before the function raised is as if it had never been."""

        def fail(writer: Writer) -> None:
            writer.apply(GOOD[:1])
            raise Boom

        apply(backend, *PREPARED)
        before = contents(backend)
        with pytest.raises(Boom):
            backend.write(fail)
        assert contents(backend) == before

    def test_a_swallowed_refusal_writes_no_half(self, backend: Backend) -> None:
        """Where a function goes on after a refused apply, nothing of that apply is written."""

        def swallow(writer: Writer) -> None:
            try:
                writer.apply([first(B), first(A)])
            except BacklogError:
                return

        apply(backend, first(A))
        before = contents(backend)
        with suppress(AlreadyExists):  # A backend may also refuse the whole write then.
            backend.write(swallow)
        assert contents(backend) == before

    def test_a_write_reads_its_own_changes(self, backend: Backend) -> None:
        """Every way of reading sees, inside the transaction, what the same function applied before."""

        def use(writer: Writer) -> list[Any]:
            before = look(writer)
            writer.apply([first(A), PutRecord(a_record("r/1")), Sighting("bl_a", "ruff", START, START, 2)])
            changed = then(A, title="later")
            writer.apply([changed])
            return [before, look(writer)]

        def look(reader: Reader) -> tuple[Any, ...]:
            sighting = reader.records("sighting", ["bl_a/ruff"]).get("bl_a/ruff")
            return (
                [item.title for item in reader.items(["bl_a"]).values()],
                [item.title for item in reader.items_by_key([("prod", "ka")]).values()],
                [item.title for item in reader.search(ItemQuery(where=In("dedupe_key", ("ka",))))],
                reader.tally(In("status", ("open",)), ("env",)),
                [event.revision for event in reader.events(EventQuery(item_ids=("bl_a",)))],
                [record.id for record in reader.scan("view", "r/", "", 9)],
                sighting.body["n"] if sighting else 0,
            )

        nothing, all_of_it = backend.write(use)
        assert nothing == ([], [], [], {}, [], [], 0)
        assert all_of_it == (["later"], ["later"], ["later"], {("prod",): 1}, [1, 2], ["r/1"], 2)
        assert backend.read(look) == all_of_it

    def test_unknown_ids_and_keys_are_left_out(self, backend: Backend) -> None:
        """Asking for what is not there, twice or not at all is no error."""
        apply(backend, first(A))
        assert backend.read(lambda reader: reader.items(["bl_a", "bl_a", "bl_no", "", "'"])) == {"bl_a": A}
        assert backend.read(lambda reader: reader.items([])) == {}
        assert backend.read(lambda reader: reader.items_by_key([("prod", "ka"), ("x", "ka"), ("", "")])) == {A.key: A}
        assert backend.read(lambda reader: reader.items_by_key([])) == {}

    def test_thousands_are_read_and_written_at_once(self, backend: Backend) -> None:
        """A command's 2,000 drafts are one transaction, and a page of 10,000 ids or keys is one question."""
        items = [an_item(f"bl_{number}", dedupe_key=f"k{number}") for number in range(LIMITS.drafts_per_command)]
        apply(backend, *(first(item) for item in items))
        ids = [f"bl_{number}" for number in range(LIMITS.page)]
        keys = [("prod", f"k{number}") for number in range(LIMITS.page)]
        assert backend.read(lambda reader: len(reader.items(ids))) == len(items)
        assert backend.read(lambda reader: len(reader.items_by_key(keys))) == len(items)
        assert backend.read(lambda reader: reader.tally(In("id", tuple(ids)), ())) == {(): len(items)}

    def test_values_come_back_byte_for_byte(self, backend: Backend) -> None:
        """Whatever texts, numbers and nestings an item holds, its canonical form is the one that was given."""
        items = Sampler(1).items(60)
        changes = [first(item, message=NASTY[item.revision], meta=item.meta) for item in items]
        apply(backend, *changes)
        stored = backend.read(lambda reader: reader.items([item.id for item in items]))
        assert sorted(encode_item(item) for item in stored.values()) == sorted(encode_item(item) for item in items)
        assert [encode_event(event) for event in events_of(backend)] == [encode_event(put.event) for put in changes]

    def test_a_value_at_every_limit_is_kept(self, backend: Backend) -> None:
        """An item and an event as large as the limits allow, in letters of four bytes, survive."""
        item = _at_every_limit()
        event = an_event(item, message=_long(LIMITS.message), meta=item.meta, request=_long(LIMITS.request_id))
        apply(backend, Put(item, event, created=True))
        assert item_of(backend, item.id) == item
        assert encode_event(events_of(backend)[0]) == encode_event(event)
        assert backend.read(lambda reader: reader.items_by_key([(item.env, item.dedupe_key)])) == {item.key: item}
        apply(backend, then(item, title="short"))

    def test_fields_of_a_newer_version_survive(self, backend: Backend) -> None:
        """What this version does not know is kept in `extra` and given back."""
        item = replace(A, extra={"colour": {"rgb": [1, 2, 3]}, "\u00e9": None})
        apply(backend, first(item, extra={"why": "newer"}))
        assert item_of(backend, "bl_a") == item
        assert events_of(backend)[0].extra == {"why": "newer"}

    def test_later_mutation_does_not_reach_the_store(self, backend: Backend) -> None:
        """Free objects are plain dicts; changing one that was given or read changes nothing that is stored."""
        given: dict[str, Any] = {"list": [1]}
        apply(backend, first(replace(A, meta=given), meta=given), PutRecord(replace(a_record("r"), body=given)))
        given["list"].append(2)
        for _ in range(2):
            item, record, event = item_of(backend, "bl_a"), record_of(backend, "view", "r"), events_of(backend)[0]
            assert item is not None
            assert record is not None
            assert (item.meta, record.body, event.meta) == ({"list": [1]}, {"list": [1]}, {"list": [1]})
            for found in (item.meta, record.body, event.meta):
                found["list"].append(3)
                found["new"] = 1

    def test_a_loaded_item_has_its_whole_trail(self, backend: Backend) -> None:
        """A load brings an item at its revision with every event, and changes go on from there."""
        trail = tuple(an_event(replace(A, revision=revision), message=str(revision)) for revision in (1, 2, 3))
        loaded = replace(A, revision=3)
        apply(backend, Load(loaded, trail))
        apply(backend, then(loaded))
        assert [event.message for event in events_of(backend, "bl_a")] == ["1", "2", "3", ""]
        assert backend.read(lambda reader: reader.items_by_key([("prod", "ka")])) == {A.key: item_of(backend, "bl_a")}

    @pytest.mark.parametrize("id", ["bl_a", "bl_other"])
    def test_a_load_onto_something_is_refused(self, backend: Backend, id: str) -> None:
        """An import overwrites neither an item nor a key."""
        apply(backend, first(A))
        before = contents(backend)
        with pytest.raises(AlreadyExists):
            apply(backend, Load(replace(A, id=id), (an_event(replace(A, id=id)),)))
        assert contents(backend) == before

    def test_a_purge_removes_an_item_with_all_that_is_its(self, backend: Backend) -> None:
        """Item, events, sightings and key are gone, and nothing of items with similar ids is."""
        near = [an_item(name) for name in ("bl_", "bl_ab", "bl_A", "bl%a", "%", "bl_a/x")]
        apply(backend, *(first(item) for item in near), Sighting("bl_ab", "ruff", START, START))
        before = contents(backend)
        apply(backend, first(A), Sighting("bl_a", "ruff", START, START), Sighting("bl_a", "a/b", START, START))
        apply(backend, then(A))
        apply(backend, Purge("bl_a", 2))
        assert contents(backend) == before
        assert backend.read(lambda reader: reader.tally(In("id", ("bl_a",)), ())) == {}
        apply(backend, first(replace(A, id="bl_new")))

    @pytest.mark.parametrize(("revision", "found"), [(1, 2), (3, 2)])
    def test_a_purge_of_another_revision_is_refused(self, backend: Backend, revision: int, found: int) -> None:
        """What was changed meanwhile is not purged."""
        apply(backend, first(A))
        apply(backend, then(A))
        with pytest.raises(RevisionConflict) as error:
            apply(backend, Purge("bl_a", revision))
        assert error.value.found == found
        assert item_of(backend, "bl_a") is not None

    def test_a_purge_of_nothing_is_refused(self, backend: Backend) -> None:
        """An item that is not there has no revision to purge."""
        with pytest.raises(RevisionConflict):
            apply(backend, Purge("bl_a", 1))

    def test_a_purged_item_may_return_in_the_same_write(self, backend: Backend) -> None:
        """A purge and a new start of the same id and key follow each other in one transaction."""

        def anew(writer: Writer) -> None:
            writer.apply([Purge("bl_a", 1)])
            writer.apply([first(replace(A, revision=2, title="again"))])

        apply(backend, first(A))
        backend.write(anew)
        assert [event.revision for event in events_of(backend)] == [2]


def _long(length: int, *, start: str = "") -> str:
    return (start + "\U0001f4a5 é" * length)[:length]


def _at_every_limit() -> Item:
    names = [_long(LIMITS.tag, start=f"{number:03}") for number in range(LIMITS.tags)]
    claim = Claim(priority="P3", digest="d" * 26, reports=10**9, first_at=START, last_at=START, live=False)
    claims = {_long(LIMITS.name, start=f"{number:02}"): claim for number in range(LIMITS.sources)}
    return an_item(
        _long(LIMITS.id, start="bl_"), env=_long(LIMITS.env), title=_long(LIMITS.title), owner=_long(LIMITS.name),
        description=_long(LIMITS.description), service=_long(LIMITS.name), category=_long(LIMITS.name),
        dedupe_key=_long(LIMITS.dedupe_key), tags=tuple(names), meta={"x": "y" * (LIMITS.meta_bytes - 8)},
        evidence_refs={"log": ["z" * (LIMITS.evidence_bytes // LIMITS.evidence_kept)] * LIMITS.evidence_kept},
        claims=claims, claims_under={_long(LIMITS.dedupe_key, start="0"): claims},
    )  # fmt: skip
