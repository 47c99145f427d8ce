"""What the rules hold for callers that keep copies of items, and for importers."""

from __future__ import annotations

from typing import Any

import pytest

from backlog_store.backends.memory import MemoryBackend
from backlog_store.backlog import Backlog
from backlog_store.commands import Answer, Body, Cleanup, Comment, Create, Edit, Report
from backlog_store.errors import AlreadyExists, InvalidInput, RevisionConflict
from backlog_store.executors.local import LocalExecutor
from backlog_store.model import Draft, Item
from backlog_store.query import EventQuery
from backlog_store.testing.clocks import CountingIds, StepClock
from backlog_store.trail import faults_of_trail


def a_backlog(*, step_s: float = 1.0) -> Backlog:
    """Return an empty backlog whose clock moves *step_s* seconds at each reading."""
    return Backlog(LocalExecutor(MemoryBackend()), clock=StepClock(step_s=step_s), ids=CountingIds())


def item_of(answer: Answer) -> Item:
    """Return the first item of an answer."""
    item = answer.outcomes[0].item
    assert item is not None
    return item


def create(backlog: Backlog, **fields: Any) -> Item:
    """Add an item."""
    return item_of(backlog.execute(Create(draft=Draft(title="A", **fields))))


def test_edit_refuses_when_an_expected_field_changed() -> None:
    """An edit that relies on a value is refused, naming the field, once somebody else has changed it."""
    backlog = a_backlog()
    item = create(backlog, owner="anna")
    backlog.edit(item.id, owner="berta")

    with pytest.raises(RevisionConflict, match="owner was anna, is berta"):
        backlog.execute(Edit(id=item.id, fields={"owner": "clara"}, expect={"owner": "anna"}))

    assert "berta" == backlog.get(item.id).owner


def test_edit_goes_on_when_another_field_changed() -> None:
    """What somebody else did to another field is no conflict, and stays."""
    backlog = a_backlog()
    item = create(backlog, owner="anna")
    backlog.edit(item.id, title="B")

    backlog.execute(Edit(id=item.id, fields={"tags": ("x",)}, expect={"tags": [], "owner": "anna"}))

    assert ("B", ("x",)) == (backlog.get(item.id).title, backlog.get(item.id).tags)


def test_edit_refuses_to_expect_what_is_no_field() -> None:
    """A misspelt expectation is a fault, not one that always holds."""
    backlog = a_backlog()
    item = create(backlog)

    with pytest.raises(InvalidInput, match="/expect/ownr"):
        backlog.execute(Edit(id=item.id, fields={"owner": "x"}, expect={"ownr": ""}))


def test_each_change_has_its_own_updated_at() -> None:
    """Also on a clock that stands still, so that an old copy never looks like the stored state."""
    backlog = a_backlog(step_s=0)
    item = create(backlog)
    edited = item_of(backlog.execute(Edit(id=item.id, fields={"owner": "x"})))

    assert item.updated_at < edited.updated_at
    assert [] == faults_of_trail(edited, backlog.trail(item.id))


def test_a_report_that_names_its_fields_sets_them_over_an_edit() -> None:
    """The second, equal report of a named field counts when the field was edited in between and nobody holds it."""
    backlog = a_backlog()
    body: Body = Report(drafts=(Draft(title="A", dedupe_key="k"),), refresh=("title",))
    item = item_of(backlog.execute(body))
    backlog.edit(item.id, title="B")

    again = backlog.execute(body).outcomes[0]

    assert ("updated", "A") == (again.verdict, again.item.title if again.item else "")


def test_an_importers_members_are_kept_beside_the_fields() -> None:
    """`extra` of an item and of an event comes back as it was given, and the trail explains it."""
    backlog = a_backlog()
    item = item_of(backlog.execute(Create(draft=Draft(title="A"), extra={"x_given": {"at": "noon"}})))
    backlog.execute(Comment(id=item.id, message="m", extra={"x_given": 1}))

    stored = backlog.get(item.id)
    assert {"x_given": {"at": "noon"}} == stored.extra
    assert [{"x_given": 1}] == [event.extra for event in backlog.events(EventQuery(added=True))]
    assert [] == faults_of_trail(stored, backlog.trail(item.id))


@pytest.mark.parametrize("body", [Create(draft=Draft(title="A"), extra={"title": "B"}),
                                  Comment(id="bl_x", message="m", extra={"hash": ""})])  # fmt: skip
def test_an_importers_members_do_not_hide_fields(body: Body) -> None:
    """A member named like a field is refused: the file would hold it twice."""
    with pytest.raises(InvalidInput, match="is a field of its own"):
        a_backlog().execute(body)


def test_a_callers_event_called_purged_purges_nothing() -> None:
    """Callers name their events as they like; the trail is not taken in."""
    backlog = a_backlog()
    item = create(backlog)
    backlog.execute(Comment(id=item.id, message="m", type="purged"))

    assert [] == faults_of_trail(backlog.get(item.id), backlog.trail(item.id))


@pytest.mark.parametrize("body", [Create(draft=Draft(title="A", dedupe_key="k", id="bl_mine")),
                                  Report(drafts=(Draft(title="A", dedupe_key="k", id="bl_mine"),))])  # fmt: skip
def test_a_given_id_finds_the_item_that_its_key_goes_on_with(body: Body) -> None:
    """A key that returns after a purge keeps its item's id; the id that an importer brings leads to it."""
    backlog = a_backlog()
    item = create(backlog, dedupe_key="k")
    backlog.close_item(item.id)
    backlog.execute(Cleanup(retention_days=0))

    again = item_of(backlog.execute(body))

    assert item.id == again.id
    assert again == backlog.get("bl_mine")


def test_a_given_id_that_is_taken_is_refused_for_a_key_that_returns() -> None:
    """It would lead to two items."""
    backlog = a_backlog()
    item = create(backlog, dedupe_key="k")
    other = create(backlog)
    backlog.close_item(item.id)
    backlog.execute(Cleanup(retention_days=0))

    with pytest.raises(AlreadyExists):
        backlog.execute(Create(draft=Draft(title="A", dedupe_key="k", id=other.id)))
