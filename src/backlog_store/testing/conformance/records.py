"""
Records: put, forced, dropped, scanned; sightings, which add up.
"""

from __future__ import annotations

from itertools import pairwise

import pytest

from backlog_store.backends.port import Backend, Change, DropRecord, PutRecord, Reader, Sighting
from backlog_store.codec import encode
from backlog_store.errors import AlreadyExists, NotFound, RevisionConflict
from backlog_store.instants import add_seconds
from backlog_store.model import LIMITS, Record
from backlog_store.testing.clocks import START
from backlog_store.testing.conformance.base import Suite, apply, events_of, item_of, record_of
from backlog_store.testing.contents import KINDS, contents, records_of
from backlog_store.testing.samples import NASTY, Sampler, a_record, an_event, an_item, first

A = an_item("bl_a", dedupe_key="ka")


class Records(Suite):
    """
    Small documents and counted sightings.
    """

    def test_a_record_is_put_and_changed(self, backend: Backend) -> None:
        """A record starts at revision 1 and each change gives it the next one."""
        apply(backend, PutRecord(a_record("r", x=1)))
        apply(backend, PutRecord(a_record("r", revision=2, x=2)))
        assert record_of(backend, "view", "r") == a_record("r", revision=2, x=2)

    @pytest.mark.parametrize(("stored", "given"), [(0, 2), (1, 1), (1, 3), (2, 1), (2, 2)])
    def test_a_wrong_revision_of_a_record_is_refused(self, backend: Backend, stored: int, given: int) -> None:
        """Only revision 1 of an absent record, or the next one of a stored one, is written."""
        for revision in range(1, stored + 1):
            apply(backend, PutRecord(a_record("r", revision=revision)))
        before = contents(backend)
        with pytest.raises((RevisionConflict, AlreadyExists)):
            apply(backend, PutRecord(a_record("r", revision=given, x="new")))
        assert contents(backend) == before

    @pytest.mark.parametrize(("stored", "given"), [(0, 7), (1, 1), (2, 1), (1, 5)])
    def test_a_forced_record_is_written_whatever_is_stored(self, backend: Backend, stored: int, given: int) -> None:
        """An import writes the record with the revision that it had."""
        for revision in range(1, stored + 1):
            apply(backend, PutRecord(a_record("r", revision=revision)))
        forced = a_record("r", revision=given, x="new")
        apply(backend, PutRecord(forced, force=True))
        assert record_of(backend, "view", "r") == forced
        apply(backend, PutRecord(a_record("r", revision=given + 1)))

    def test_a_record_of_exactly_this_revision_is_dropped(self, backend: Backend) -> None:
        """A drop removes the record of its revision, refuses any other, and refuses where nothing is."""
        apply(backend, PutRecord(a_record("r")), PutRecord(a_record("r2")), PutRecord(a_record("r", kind="link")))
        for wrong in (0, 2):
            with pytest.raises(RevisionConflict):
                apply(backend, DropRecord("view", "r", wrong))
        apply(backend, DropRecord("view", "r", 1))
        with pytest.raises(RevisionConflict):
            apply(backend, DropRecord("view", "r", 1))
        assert record_of(backend, "view", "r") is None
        assert record_of(backend, "view", "r2") is not None
        assert record_of(backend, "link", "r") is not None
        apply(backend, PutRecord(a_record("r", x="anew")))

    def test_kinds_are_apart(self, backend: Backend) -> None:
        """One id in every kind is as many records."""
        kinds = [kind for kind in KINDS if kind != "sighting"]
        apply(backend, *(PutRecord(a_record("same", kind=kind, of=kind)) for kind in kinds))
        found = [record_of(backend, kind, "same") for kind in kinds]
        assert [record.body["of"] for record in found if record] == kinds
        counts = backend.read(lambda reader: [len(reader.scan(kind, "", "", 9)) for kind in kinds])
        assert counts == [1 for _ in kinds]

    def test_a_judging_record_comes_with_its_event(self, backend: Backend) -> None:
        """Record and event are written together, also where the item they tell of is gone."""
        event = an_event(an_item("bl_gone", revision=4), type="verdict_lifted")
        apply(backend, PutRecord(a_record("prod/k", kind="key", verdict=None), event))
        assert [found.type for found in events_of(backend, "bl_gone")] == ["verdict_lifted"]
        with pytest.raises((RevisionConflict, AlreadyExists)):
            apply(backend, PutRecord(a_record("prod/k", kind="key"), an_event(an_item("bl_gone", revision=5))))
        assert len(events_of(backend)) == 1

    def test_a_record_comes_back_byte_for_byte(self, backend: Backend) -> None:
        """Bodies hold any JSON object, ids any text, and an expiry stays what it was."""
        sampler = Sampler(2)
        records = [
            Record(kind="view", id=text, revision=1, body=sampler.document(), expires_at=sampler.maybe((START,)))
            for text in NASTY
        ]
        apply(backend, *(PutRecord(record) for record in records))
        found = backend.read(lambda reader: reader.records("view", NASTY))
        assert sorted(found) == sorted(NASTY)
        assert sorted(encode(record) for record in found.values()) == sorted(encode(record) for record in records)

    def test_unknown_records_are_left_out(self, backend: Backend) -> None:
        """Asking for what is not there, or for nothing, is no error."""
        apply(backend, PutRecord(a_record("r")))
        assert list(backend.read(lambda reader: reader.records("view", ["r", "no", "r", ""]))) == ["r"]
        assert backend.read(lambda reader: reader.records("link", ["r"])) == {}
        assert backend.read(lambda reader: reader.records("view", [])) == {}

    def test_a_large_record_is_kept(self, backend: Backend) -> None:
        """The answer to a command of 2,000 drafts, and a key at its longest, fit into a record."""
        long_id = f"{'é' * LIMITS.env}/{'日' * LIMITS.dedupe_key}"
        body = {"answers": [{"id": f"bl_{number:026}", "what": "created"} for number in range(2_000)]}
        apply(backend, PutRecord(Record(kind="answer", id=long_id, revision=1, body=body)))
        found = record_of(backend, "answer", long_id)
        assert found is not None
        assert found.body == body

    @pytest.mark.parametrize(
        "prefix", ["", "a", "A", "p/", "p/%", "p/_", "p/\\", "p/'", "é", "p/\U0001f600", "zz", "p/é"]
    )
    def test_a_scan_holds_to_its_prefix_in_bytewise_order(self, backend: Backend, prefix: str) -> None:
        """Exactly the ids that start with the prefix come, by code point, whatever letters and wildcards they hold."""
        ids = sorted({*NASTY, *(f"p/{text}" for text in NASTY), *(f"p/{text}/x" for text in NASTY), "p", "p0", "P/a"})
        apply(backend, *(PutRecord(a_record(one)) for one in reversed(ids)))
        expected = [one for one in ids if one.startswith(prefix)]
        assert [record.id for record in backend.read(lambda r: list(records_of(r, "view", prefix)))] == expected
        assert [record.id for record in backend.read(lambda r: list(records_of(r, "view", prefix, page=3)))] == expected

    def test_a_scan_goes_on_after_an_id_and_stops_at_its_limit(self, backend: Backend) -> None:
        """`after` is excluded, need not exist, and may lie outside of the prefix; a limit of 0 gives nothing."""
        apply(backend, *(PutRecord(a_record(f"p/{letter}")) for letter in "abcd"))

        def scan(prefix: str, after: str, limit: int) -> list[str]:
            return [record.id for record in backend.read(lambda reader: reader.scan("view", prefix, after, limit))]

        assert scan("p/", "", 2) == ["p/a", "p/b"]
        assert scan("p/", "p/b", 2) == ["p/c", "p/d"]
        assert scan("p/", "p/bb", 1) == ["p/c"]
        assert scan("p/", "a", 9) == ["p/a", "p/b", "p/c", "p/d"]
        assert scan("p/", "z", 9) == []
        assert scan("p/", "", 0) == []

    def test_sightings_add_up(self, backend: Backend) -> None:
        """Counts are summed a source; the first and last instants are the least and the greatest, in any order."""
        moments = [add_seconds(START, seconds) for seconds in range(6)]
        apply(backend, first(A))
        apply(backend, Sighting("bl_a", "ruff", moments[2], moments[3], 5, "run1"))
        apply(
            backend, Sighting("bl_a", "ruff", moments[4], moments[5], 2, "run2"), Sighting("bl_a", "slo", START, START)
        )
        apply(backend, Sighting("bl_a", "ruff", moments[1], moments[4], 1))
        found = backend.read(lambda reader: reader.records("sighting", ["bl_a/ruff", "bl_a/slo"]))
        assert found["bl_a/ruff"].body == {"n": 8, "first_at": moments[1], "last_at": moments[5], "run": "run2"}
        assert found["bl_a/slo"].body["n"] == 1
        assert [r.id for r in backend.read(lambda r: r.scan("sighting", "bl_a/", "", 9))] == ["bl_a/ruff", "bl_a/slo"]

    def test_a_sighting_changes_no_item(self, backend: Backend) -> None:
        """Seeing a problem again is no change: same bytes, same revision, no event."""
        apply(backend, first(A))
        before = [line for line in contents(backend) if not line.startswith(b"record sighting")]
        for _ in range(3):
            apply(backend, Sighting("bl_a", "a/b'%", START, START, 2))
        assert [line for line in contents(backend) if not line.startswith(b"record sighting")] == before
        assert item_of(backend, "bl_a") == A

    def test_an_item_may_be_created_and_sighted_in_one_list(self, backend: Backend) -> None:
        """A report that names one problem twice creates the item and counts the other."""
        apply(backend, first(A), Sighting("bl_a", "ruff", START, START), Sighting("bl_a", "ruff", START, START, 2))
        found = record_of(backend, "sighting", "bl_a/ruff")
        assert found is not None
        assert found.body["n"] == 3

    def test_many_sightings_are_one_write(self, backend: Backend) -> None:
        """An unchanged report of thousands is one list of sightings, and every one counts."""
        items = [an_item(f"bl_{number}") for number in range(1_000)]
        apply(backend, *(first(item) for item in items))
        seen: list[Change] = [Sighting(item.id, "ruff", START, START) for item in items]
        apply(backend, *seen)
        apply(backend, *seen)
        total = backend.read(lambda reader: sum(record.body["n"] for record in records_of(reader, "sighting")))
        assert total == 2 * len(items)

    def test_a_sighting_of_nothing_is_refused(self, backend: Backend) -> None:
        """What is not there cannot be seen again; nothing of the list is written."""
        with pytest.raises(NotFound):
            apply(backend, PutRecord(a_record("r")), Sighting("bl_nobody", "ruff", START, START))
        assert contents(backend) == []

    def test_ids_are_in_order_across_pages(self, backend: Backend) -> None:
        """Reading page by page gives each record once, in ascending order."""
        apply(backend, *(PutRecord(a_record(f"{number * 7919 % 997:x}")) for number in range(300)))

        def ids(reader: Reader) -> list[str]:
            return [record.id for record in records_of(reader, "view", page=7)]

        found = backend.read(ids)
        assert len(found) == 300
        assert all(one < other for one, other in pairwise(found))
