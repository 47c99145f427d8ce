"""
An id once given stays with its item: whatever becomes of its key, nobody else gets it.
"""

from __future__ import annotations

import io
from collections.abc import Iterator

import pytest

from backlog_store.backends.memory import open_memory
from backlog_store.backlog import Backlog
from backlog_store.commands import Create
from backlog_store.errors import AlreadyExists
from backlog_store.executors.local import LocalExecutor
from backlog_store.model import Draft
from backlog_store.query import EventQuery
from backlog_store.transfer import export_store, import_store


@pytest.fixture(autouse=True)
def _travels(machine: Backlog) -> Iterator[None]:
    """
    Whatever a test left must survive an export and an import byte for byte.
    """
    yield
    first, second = io.BytesIO(), io.BytesIO()
    assert isinstance(machine.executor, LocalExecutor)
    export_store(machine.executor.backend, first)
    first.seek(0)
    other = open_memory()
    import_store(other, first)
    export_store(other, second)
    assert first.getvalue() == second.getvalue()
    assert len(machine.events(EventQuery(limit=None))) == first.getvalue().count(b'{"event":')


def _purge(backlog: Backlog, id: str, reason: str = "fixed") -> None:
    backlog.close_item(id, reason, message="done")
    assert backlog.cleanup(0) == 1


def test_a_key_left_for_another_env_gives_a_new_item(machine: Backlog, person: Backlog) -> None:
    """The problem that is reported under the old key is another one, with an id of its own."""
    moved = machine.upsert(title="x", dedupe_key="k")
    person.edit(moved.id, env="staging")
    again = machine.upsert(title="y", dedupe_key="k")
    assert (again.verdict, again.revision) == ("created", 1)
    assert again.id != moved.id
    assert machine.get(again.id).generation == 1
    assert machine.get(moved.id).env == "staging"
    assert machine.upsert(title="y", dedupe_key="k").id == again.id


@pytest.mark.parametrize("by_hand", [True, False])
def test_names_that_lead_to_one_key_open_one_item(machine: Backlog, person: Backlog, by_hand: bool) -> None:
    """Where the item of a key is elsewhere by now, reports under its former names and its own are of one problem."""
    moved = machine.upsert(title="x", dedupe_key="k1")
    person.edit(moved.id, dedupe_key="k2")
    person.edit(moved.id, env="staging")
    again = machine.create(Draft(title="y", dedupe_key="k1")) if by_hand else machine.upsert(title="y", dedupe_key="k1")
    assert (again.verdict, again.item.dedupe_key) == ("created", "k2")
    assert [machine.upsert(title="y", dedupe_key=key).id for key in ("k2", "k1")] == [again.id] * 2


def test_a_key_taken_off_gives_a_new_item(machine: Backlog, person: Backlog) -> None:
    """An item that lost its key keeps its id; the key's next problem gets another."""
    old = machine.upsert(title="x", dedupe_key="k")
    person.edit(old.id, dedupe_key="")
    assert machine.create(Draft(title="y", dedupe_key="k")).id != old.id


def test_an_id_is_not_used_again_after_a_purge(machine: Backlog, person: Backlog) -> None:
    """Moved to another env and purged there, an item still owns the id that its first key gave it."""
    moved = machine.upsert(title="x", dedupe_key="k")
    person.edit(moved.id, env="staging")
    _purge(person, moved.id)
    assert machine.upsert(title="y", dedupe_key="k").id != moved.id
    assert machine.upsert(title="z", env="staging", dedupe_key="k").id == moved.id


def test_a_given_id_is_not_used_again_after_a_purge(machine: Backlog, person: Backlog) -> None:
    """An importer's id belongs to the item that had it first, also when that one is gone."""
    machine.create(Draft(title="x", dedupe_key="k", id="bl_given"))
    _purge(person, "bl_given")
    with pytest.raises(AlreadyExists, match="purged"):
        machine.execute(Create(draft=Draft(title="y", dedupe_key="other", id="bl_given")))
    assert next(iter(machine.report([Draft(title="y", dedupe_key="o", id="bl_given")])))[1].verdict == "refused"


def test_a_returning_problem_has_its_old_id(machine: Backlog, person: Backlog) -> None:
    """A purged key that comes back goes on with its id and revision, whatever id the draft would like."""
    old = machine.upsert(title="x", dedupe_key="k")
    _purge(person, old.id)
    back = machine.create(Draft(title="x", dedupe_key="k", id="bl_other"))
    assert back.id == old.id
    assert back.revision > old.revision


@pytest.mark.parametrize(("reason", "verdict"), [("wont_fix", "suppressed"), ("fixed", "reopened")])
def test_an_old_name_leads_to_what_was_judged(machine: Backlog, person: Backlog, reason: str, verdict: str) -> None:
    """A report under a former key of a purged item meets its verdict; where that lets it, it returns as itself."""
    old = machine.upsert(title="x", dedupe_key="old")
    person.edit(old.id, dedupe_key="new")
    _purge(person, old.id, reason)
    answer = machine.upsert(title="x", dedupe_key="old")
    assert (answer.verdict, answer.id) == (verdict, old.id)
    if verdict == "reopened":
        assert machine.get(old.id).dedupe_key == "new"
        assert machine.upsert(title="x", dedupe_key="old").id == old.id


def test_the_key_of_a_purged_item_is_not_for_others(machine: Backlog, person: Backlog) -> None:
    """No item is given the key of a purged one, whose verdict and last revision would be lost."""
    old = machine.upsert(title="x", dedupe_key="k")
    _purge(person, old.id, "wont_fix")
    other = machine.upsert(title="y", dedupe_key="other")
    with pytest.raises(AlreadyExists, match="purged"):
        person.edit(other.id, dedupe_key="k")
    assert machine.upsert(title="x", dedupe_key="k").verdict == "suppressed"
