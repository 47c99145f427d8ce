"""
Importing an export into a store that went on since.
"""

from __future__ import annotations

import io

import pytest

from backlog_store.backends.memory import open_memory
from backlog_store.backends.port import Backend, PutRecord
from backlog_store.backlog import Backlog
from backlog_store.commands import Merge
from backlog_store.errors import NotFound
from backlog_store.executors.local import LocalExecutor
from backlog_store.model import Draft, Record
from backlog_store.testing.clocks import CountingIds, StepClock
from backlog_store.transfer import export_store, foresee, import_store
from backlog_store.verify import verify


@pytest.fixture
def backend() -> Backend:
    """
    Return a store in memory.
    """
    return open_memory()


@pytest.fixture
def ann(backend: Backend) -> Backlog:
    """
    Return it as a person uses it.
    """
    store = Backlog(LocalExecutor(backend), clock=StepClock(), ids=CountingIds())
    return store.acting_as("ann", person=True)


def _exported(backend: Backend) -> io.BytesIO:
    file = io.BytesIO()
    export_store(backend, file)
    file.seek(0)
    return file


def _import(backend: Backend, file: io.BytesIO) -> list[str]:
    """
    Import as it was foreseen; return what was refused. Whatever that is, the store is whole.
    """
    planned = foresee(backend, file).done
    file.seek(0)
    done = import_store(backend, file)
    assert (done.items, done.records, done.refused) == (planned.items, planned.records, planned.refused)
    assert backend.read(verify).faults == []
    return done.refused


def test_what_was_purged_since_is_not_taken_in_again(backend: Backend, ann: Backlog) -> None:
    """
    The key of a purged item keeps what was decided and where its history goes on: an older file does not go past that.
    """
    id = ann.upsert(title="x", dedupe_key="k").id
    ann.close_item(id, "wont_fix")
    file = _exported(backend)
    assert ann.cleanup(0) == 1
    refused = _import(backend, file)
    assert [line for line in refused if line.startswith(f"{id}: ") and "purged there at" in line]
    assert ann.find(id) is None
    assert ann.upsert(title="x", dedupe_key="k").verdict == "suppressed"


def test_what_was_merged_away_and_purged_since_stays_merged(backend: Backend, ann: Backlog) -> None:
    """
    A key that became another name since leads to its item, whatever an older file says.
    """
    one, two = (ann.upsert(title=key, dedupe_key=key).id for key in ("one", "two"))
    file = _exported(backend)
    ann.execute(Merge(ids=(one,), into=two))
    assert ann.cleanup(0) == 1
    assert [line for line in _import(backend, file) if "another name of 'two'" in line]
    assert ann.upsert(title="one", dedupe_key="one").id == two


def test_what_lost_its_key_there_and_was_purged_here_is_not_taken_in(backend: Backend, ann: Backlog) -> None:
    """
    An item that was merged away there holds no key any more; that it was purged here is remembered by its id, too.
    """
    one, two = (ann.upsert(title=key, dedupe_key=key).id for key in ("one", "two"))
    ann.close_item(one, "wont_fix")
    there = Backlog(LocalExecutor(open_memory())).acting_as("ann", person=True)
    assert _import(there.executor.backend, _exported(backend)) == []
    there.execute(Merge(ids=(one,), into=two))
    assert ann.cleanup(0) == 1
    refused = _import(backend, _exported(there.executor.backend))
    assert [line for line in refused if line.startswith(f"{one}: was purged there at")]
    assert ann.find(one) is None


def test_an_item_is_not_taken_in_under_another_id_of_one_that_is_here(backend: Backend, ann: Backlog) -> None:
    """
    An id that leads to an item here stays that one's, whatever item has it elsewhere.
    """
    there = Backlog(LocalExecutor(open_memory())).acting_as("ann", person=True)
    there.upsert({"id": "bl_given", "title": "there"})
    here = ann.upsert(title="here", dedupe_key="k").id
    ann.close_item(here, "fixed")
    ann.cleanup(0)
    ann.upsert({"id": "bl_given", "title": "here", "dedupe_key": "k", "observed_at": ann.clock()})
    refused = _import(backend, _exported(there.executor.backend))
    assert refused == [f"bl_given: is another id of {here} there"]
    assert ann.get("bl_given").title == "here"


def test_the_end_of_an_item_is_not_taken_in_beside_another_history_of_it() -> None:
    """
    An item that got another key there, and was purged, is a living one here: what is told of its end is refused.
    """
    source, target = (Backlog(LocalExecutor(open_memory())).acting_as("ann", person=True) for _ in range(2))
    id = source.upsert(title="there", dedupe_key="first").id
    source.edit(id, dedupe_key="second")
    source.close_item(id, "wont_fix")
    assert source.cleanup(0) == 1
    assert target.upsert(title="here", dedupe_key="first").id == id
    refused = _import(target.executor.backend, _exported(source.executor.backend))
    assert [line for line in refused if line.startswith("key prod/second: ") and id in line]
    assert target.get(id).title == "here"


def test_another_id_of_what_is_refused_is_not_taken_in() -> None:
    """
    It would lead nowhere, and later to whatever gets that id.
    """
    source, target = (Backlog(LocalExecutor(open_memory()), actor="ann") for _ in range(2))
    list(source.report([Draft(title="one", dedupe_key="k", id="bl_first")]))
    alias = Record(kind="alias", id="bl_second", revision=1, body={"item_id": "bl_first"})
    source.executor.backend.write(lambda writer: writer.apply([PutRecord(alias)]))
    assert source.get("bl_second").id == "bl_first"
    target.upsert(title="one", dedupe_key="k")
    refused = _import(target.executor.backend, _exported(source.executor.backend))
    assert [line.split(":")[0].split(" ")[0] for line in refused if "bl_second" in line] == ["alias"]
    with pytest.raises(NotFound):
        target.get("bl_second")


def test_links_of_what_is_refused_are_not_taken_in(backend: Backend, ann: Backlog) -> None:
    """
    A link that was taken away since does not come back at items that do not count it.
    """
    one, two = (ann.upsert(title=key, dedupe_key=key).id for key in ("one", "two"))
    ann.link(one, "blocks", two)
    file = _exported(backend)
    ann.link(one, "blocks", two, remove=True)
    refused = _import(backend, file)
    assert sum(line.startswith("link ") for line in refused) == 2
    assert (ann.get(two).blocked_by, list(ann.links(one))) == (0, [])


@pytest.mark.parametrize("order", ["taken first", "refused first"])
def test_nothing_counts_a_link_of_which_one_end_is_refused(order: str) -> None:
    """
    What was taken in is told that what it was linked with is not there, and waits for that no more; the store is whole.
    """
    source, target = (Backlog(LocalExecutor(open_memory()), actor="ann") for _ in range(2))
    taken, refused = ("bl_1", "bl_2") if order == "taken first" else ("bl_2", "bl_1")
    list(source.report([Draft(title="t", dedupe_key="t", id=taken), Draft(title="r", dedupe_key="r", id=refused)]))
    source.link(refused, "blocks", taken)
    source.link(taken, "relates", refused)
    target.upsert(title="r", dedupe_key="r")
    _import(target.executor.backend, _exported(source.executor.backend))
    item = target.get(taken)
    assert (item.links, item.blocked_by, list(target.links(taken))) == (0, 0, [])
    assert [event.type for event in target.trail(taken)][-2:] == ["unlinked", "unlinked"]
    assert target.read(verify).faults == []


def test_what_is_remembered_of_the_key_of_what_is_refused_is_not_taken_in() -> None:
    """
    A verdict about an item that has another history, and is open, here would say that it is closed.
    """
    source, target = (Backlog(LocalExecutor(open_memory()), actor="ann") for _ in range(2))
    id = source.upsert(title="x", dedupe_key="k").id
    target.upsert(title="x of its own", dedupe_key="k")
    source.close_item(id, "wont_fix")
    assert any("key prod/k" in line for line in _import(target.executor.backend, _exported(source.executor.backend)))
    assert target.read(verify).faults == []
    assert target.upsert(title="x", dedupe_key="k").id == id


def test_a_key_that_an_item_holds_here_does_not_become_another_name() -> None:
    """
    The item that was merged away there, and not here, keeps its key, also once it is purged.
    """
    source, target = (Backlog(LocalExecutor(open_memory()), actor="ann") for _ in range(2))
    one, two = (source.upsert(title=key, dedupe_key=key).id for key in ("one", "two"))
    source.execute(Merge(ids=(one,), into=two))
    target.upsert(title="of its own", dedupe_key="one")
    refused = _import(target.executor.backend, _exported(source.executor.backend))
    assert [line for line in refused if line.startswith("key prod/one: is another name of 'two'")]
    target.close_item(one)
    assert target.cleanup(0) == 1
    assert target.upsert(title="one", dedupe_key="one").id == one
    assert target.read(verify).faults == []
