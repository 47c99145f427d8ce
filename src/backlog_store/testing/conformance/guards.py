"""
Guards: what was read and relied on, the skew that must not happen, and reads that hold still.

Each test lets a rival write between the reading and the applying of another writer. A backend that locks makes the
rival wait, a backend that checks at the end runs the function again; the outcome is the same.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from backlog_store.backends.port import Backend, PutRecord, Reader, Require, Writer
from backlog_store.errors import AlreadyExists, RevisionConflict
from backlog_store.model import Item, Record
from backlog_store.query import EventQuery, In
from backlog_store.testing.conformance.base import Open, Suite, apply, events_of, item_of, record_of
from backlog_store.testing.contents import contents
from backlog_store.testing.samples import a_record, an_event, an_item, first, then

A = an_item("bl_a", dedupe_key="ka")
B = an_item("bl_b", dedupe_key="kb")
#: How long the first writer waits for its rival. A backend that locks uses it up; no outcome depends on it.
PATIENCE_S = 0.2


class Rival:
    """
    A second writer on a thread of its own, let loose once, in the middle of another transaction.
    """

    def __init__(self, act: Callable[[], Any]) -> None:
        self._act = act
        self._thread: threading.Thread | None = None
        self._answer: list[Any] = []

    def strike(self) -> None:
        """
        Start the rival if it has not started yet, and give it the time to finish if nothing holds it.
        """
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, daemon=True)
            self._thread.start()
            self._thread.join(PATIENCE_S)

    def answer(self) -> Any:
        """
        Wait for the rival to finish and return its answer, or raise its error.
        """
        assert self._thread is not None, "the rival was never let loose"
        self._thread.join(60)
        assert self._answer, "the rival never came to an end"
        if isinstance(self._answer[0], BaseException):
            raise self._answer[0]
        return self._answer[0]

    def _run(self) -> None:
        try:
            self._answer.append(self._act())
        except BaseException as error:  # noqa: BLE001  (handed over to the test's own thread by `answer`)
            self._answer.append(error)


class Guards(Suite):
    """
    Requirements and isolation.
    """

    @pytest.mark.parametrize(
        ("kind", "id", "revision", "holds"),
        [
            ("item", "bl_a", 1, True), ("item", "bl_a", 0, False), ("item", "bl_a", 2, False),
            ("item", "bl_no", 0, True), ("item", "bl_no", 1, False),
            ("view", "r", 2, True), ("view", "r", 1, False), ("view", "r", 0, False), ("view", "r", 3, False),
            ("view", "no", 0, True), ("view", "no", 1, False), ("link", "r", 0, True), ("link", "r", 2, False),
        ],
    )  # fmt: skip
    def test_a_requirement_holds_or_stops_everything(
        self, backend: Backend, kind: str, id: str, revision: int, holds: bool
    ) -> None:
        """A list is applied only while each item and record that it relies on is as it was read, or still absent."""
        apply(backend, first(A), PutRecord(a_record("r")), PutRecord(a_record("r", revision=2)))
        before = contents(backend)
        if holds:
            apply(backend, first(B), Require(kind, id, revision))
            assert item_of(backend, "bl_b") == B
        else:
            with pytest.raises(RevisionConflict) as error:
                apply(backend, first(B), Require(kind, id, revision))
            assert error.value.expected == revision
            assert contents(backend) == before

    def test_a_requirement_counts_in_its_place(self, backend: Backend) -> None:
        """What a list changes may be relied on in the same list: as it was before the change, and as it is after."""
        apply(backend, first(A), first(B), PutRecord(a_record("r")))
        change, record = then(A), PutRecord(a_record("r", revision=2))
        apply(backend, Require("item", "bl_a", 1), Require("view", "r", 1), change, record)
        apply(backend, then(change.item), Require("item", "bl_a", 3))
        with pytest.raises(RevisionConflict):
            apply(backend, then(B), Require("item", "bl_b", 1))
        assert [event.item_id for event in events_of(backend)] == ["bl_a", "bl_b", "bl_a", "bl_a"]

    def test_a_rule_over_a_set_holds_between_two_writers(self, backend: Backend) -> None:
        """Two writers read the same set and write disjoint items under one guard: one is first, the other sees it."""
        apply(backend, first(A), first(B), PutRecord(a_record("wip/prod/ann", kind="guard")))

        def start(id: str, pause: Callable[[], None]) -> str:
            return backend.write(lambda writer: _start_work(writer, id, pause))

        rival = Rival(lambda: start("bl_b", lambda: None))
        answers = [start("bl_a", rival.strike), rival.answer()]
        assert sorted(answers) == ["full", "started"]
        assert backend.read(lambda reader: reader.tally(In("status", ("in_progress",)), ())) == {(): 1}
        assert len(events_of(backend)) == 3

    def test_a_rule_over_a_set_holds_between_two_handles(self, backend: Backend, open_backend: Open) -> None:
        """The same between two handles to a shared store; the handles of an unshared one are no rivals at all."""
        apply(backend, first(A), first(B), PutRecord(a_record("wip/prod/ann", kind="guard")))
        if not backend.capabilities.shared:
            assert backend.write(lambda writer: _start_work(writer, "bl_a", lambda: None)) == "started"
            assert backend.write(lambda writer: _start_work(writer, "bl_b", lambda: None)) == "full"
            return
        other = open_backend()
        rival = Rival(lambda: other.write(lambda writer: _start_work(writer, "bl_b", lambda: None)))
        answers = [backend.write(lambda writer: _start_work(writer, "bl_a", rival.strike)), rival.answer()]
        other.close()
        assert sorted(answers) == ["full", "started"]
        assert backend.read(lambda reader: reader.tally(In("status", ("in_progress",)), ())) == {(): 1}

    def test_a_required_item_is_as_it_was_read(self, backend: Backend) -> None:
        """A copy made of an item under `Require` is never older than a change that was committed before it."""
        apply(backend, first(A), first(B))
        rival = Rival(lambda: backend.write(lambda writer: writer.apply([then(A, title="new")])))

        def copy(writer: Writer) -> None:
            source, target = writer.items(["bl_a"])["bl_a"], writer.items(["bl_b"])["bl_b"]
            rival.strike()
            writer.apply([Require("item", "bl_a", source.revision), then(target, title=source.title)])

        backend.write(copy)
        rival.answer()
        order = [event.item_id for event in events_of(backend)[2:]]
        copied = item_of(backend, "bl_b")
        assert copied is not None
        assert copied.title == ("new" if order == ["bl_a", "bl_b"] else A.title)

    def test_a_required_absence_holds(self, backend: Backend) -> None:
        """Relying on a record's absence and creating it exclude each other."""
        apply(backend, first(A), first(B))
        verdict = PutRecord(a_record("prod/ka", kind="key"), an_event(replace(A, revision=2), type="verdict"))
        rival = Rival(lambda: backend.write(lambda writer: writer.apply([verdict])))

        def decide(writer: Writer) -> str:
            if writer.records("key", ["prod/ka"]):
                return "judged"
            rival.strike()
            writer.apply([Require("key", "prod/ka", 0), then(B, title="not judged")])
            return "acted"

        answer = backend.write(decide)
        rival.answer()
        order = [event.item_id for event in events_of(backend)[2:]]
        assert (answer, order) in [("judged", ["bl_a"]), ("acted", ["bl_b", "bl_a"])]

    def test_two_writers_of_one_new_key_make_one_item(self, backend: Backend) -> None:
        """Both find the key absent and want to create it; one does, the other finds the item and changes it."""

        def report(id: str, pause: Callable[[], None]) -> str:
            def upsert(writer: Writer) -> str:
                held = writer.items_by_key([("prod", "ka")]).get(("prod", "ka"))
                pause()
                writer.apply([first(replace(A, id=id)) if held is None else then(held)])
                return "created" if held is None else "updated"

            return backend.write(upsert)

        rival = Rival(lambda: report("bl_rival", lambda: None))
        answers = [report("bl_a", rival.strike), rival.answer()]
        assert sorted(answers) == ["created", "updated"]
        assert [event.revision for event in events_of(backend)] == [1, 2]

    def test_two_writers_of_one_item_follow_each_other(self, backend: Backend) -> None:
        """Two changes of one item are two revisions, none lost, and each built on the one before."""
        apply(backend, first(A))

        def append(mark: str, pause: Callable[[], None]) -> None:
            def change(writer: Writer) -> None:
                item = writer.items(["bl_a"])["bl_a"]
                pause()
                writer.apply([then(item, tags=(*item.tags, mark))])

            backend.write(change)

        rival = Rival(lambda: append("rival", lambda: None))
        append("own", rival.strike)
        rival.answer()
        item = item_of(backend, "bl_a")
        assert item is not None
        assert (item.revision, sorted(item.tags)) == (3, ["own", "rival"])
        assert [event.revision for event in events_of(backend)] == [1, 2, 3]

    def test_two_writers_of_one_record_follow_each_other(self, backend: Backend) -> None:
        """Two counts up of one record are two revisions, whether it was there before or not."""

        def count(pause: Callable[[], None]) -> None:
            def change(writer: Writer) -> None:
                found = writer.records("view", ["n"]).get("n") or Record(kind="view", id="n", revision=0, body={"n": 0})
                pause()
                writer.apply([PutRecord(a_record("n", revision=found.revision + 1, n=found.body["n"] + 1))])

            backend.write(change)

        for _ in range(2):
            rival = Rival(lambda: count(lambda: None))
            count(rival.strike)
            rival.answer()
        assert record_of(backend, "view", "n") == a_record("n", revision=4, n=4)

    def test_a_function_that_runs_again_has_its_effects_once(self, backend: Backend) -> None:
        """However often a function is run, its answer is the last run's and its changes are there once."""
        apply(backend, first(A), PutRecord(a_record("g", kind="guard")))
        rival = Rival(lambda: apply(backend, PutRecord(a_record("g", kind="guard", revision=2))))
        runs: list[int] = []

        def use(writer: Writer) -> int:
            guard = writer.records("guard", ["g"])["g"]
            runs.append(guard.revision)
            rival.strike()
            writer.apply([first(B), PutRecord(a_record("g", kind="guard", revision=guard.revision + 1))])
            return guard.revision

        # A backend that locks lets the rival in afterwards, where the rival's own revision is no longer the next one.
        answer = backend.write(use)
        try:
            rival.answer()
        except (RevisionConflict, AlreadyExists):
            assert answer == 1
        else:
            assert answer == 2
        assert runs[-1] == answer
        assert len(events_of(backend, "bl_b")) == 1

    def test_a_read_is_one_consistent_view(self, backend: Backend) -> None:
        """Nothing that a function reads changes while it runs, however it reads."""
        apply(backend, first(A), first(B))

        def both(writer: Writer) -> None:
            items = writer.items(["bl_a", "bl_b"])
            writer.apply([then(item, title="new", status="blocked") for item in items.values()])

        rival = Rival(lambda: backend.write(both))

        def look(reader: Reader) -> tuple[Any, ...]:
            before = reader.items(["bl_a"])["bl_a"].title
            rival.strike()
            return (
                before == reader.items(["bl_b"])["bl_b"].title.replace("bl_b", "bl_a"),
                reader.tally(In("status", ("blocked",)), ()),
                len(reader.events(EventQuery())),
            )

        assert backend.read(look) in [(True, {}, 2), (True, {(): 2}, 4)]
        rival.answer()
        assert backend.read(lambda reader: len(reader.events(EventQuery()))) == 4

    def test_a_write_reads_one_consistent_view(self, backend: Backend) -> None:
        """What a writing function reads holds still too, on its last run at least."""
        apply(backend, first(A), first(B))

        def both(writer: Writer) -> None:
            items = writer.items(["bl_a", "bl_b"])
            writer.apply([then(item, owner="rival") for item in items.values()])

        rival = Rival(lambda: backend.write(both))

        def look(writer: Writer) -> set[str]:
            owners = {writer.items(["bl_a"])["bl_a"].owner}
            rival.strike()
            b = writer.items(["bl_b"])["bl_b"]
            writer.apply([then(b, title="seen")])
            return owners | {b.owner}

        assert len(backend.write(look)) == 1
        rival.answer()

    def test_what_was_read_by_key_stays_as_it_was_read(self, backend: Backend) -> None:
        """Items of several keys, looked up only after a change of one, are those of before; the next change holds."""
        apply(backend, first(A), first(B))
        second = then(A, title="second")
        third = then(second.item, title="third")

        def run(writer: Writer) -> list[Item]:
            found = writer.items_by_key([("prod", "ka"), ("prod", "kb")])
            writer.apply([second])
            seen = [found["prod", "ka"], found["prod", "kb"]]
            writer.apply([third])
            return [*seen, *writer.items_by_key([("prod", "ka"), ("prod", "gone")]).values()]

        assert backend.write(run) == [A, B, third.item]
        assert item_of(backend, "bl_a") == third.item


def _start_work(writer: Writer, id: str, pause: Callable[[], None]) -> str:
    """
    Put an item in progress where none is yet: a limit of one, held by a guard record.
    """
    guard = writer.records("guard", ["wip/prod/ann"])["wip/prod/ann"]
    busy = writer.tally(In("status", ("in_progress",)), ())
    item: Item = writer.items([id])[id]
    pause()
    if busy:
        return "full"
    writer.apply([then(item, status="in_progress"), PutRecord(replace(guard, revision=guard.revision + 1))])
    return "started"
