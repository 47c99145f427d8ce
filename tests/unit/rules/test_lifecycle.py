"""
Moving, closing, snoozing, editing, linking, undoing, purging; and asking twice.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args

import pytest
from msgspec import Struct

from backlog_store.backlog import Backlog
from backlog_store.commands import (
    Body,
    Bulk,
    Cleanup,
    Close,
    Comment,
    Create,
    Edit,
    LiftVerdict,
    Move,
    Reopen,
    Report,
    Single,
    Undo,
)
from backlog_store.errors import (
    AlreadyExists,
    AmbiguousId,
    InvalidInput,
    NotAllowed,
    NotFound,
    RequestExpired,
    RequestReused,
    RevisionConflict,
    TransitionNotAllowed,
)
from backlog_store.instants import add_seconds
from backlog_store.model import STATUSES, Draft
from backlog_store.policy import DEFAULT_TRANSITIONS
from backlog_store.query import EventQuery
from backlog_store.testing.clocks import START, StepClock
from backlog_store.workflow import effective_status

DAY_S = 86_400
PATHS: dict[str, list[str]] = {
    "open": [], "in_progress": ["in_progress"], "blocked": ["blocked"], "done": ["in_progress", "done"],
    "canceled": ["canceled"],
}  # fmt: skip


@pytest.mark.parametrize("start", STATUSES)
@pytest.mark.parametrize("to", STATUSES)
def test_moves_are_those_of_the_table(machine: Backlog, start: str, to: str) -> None:
    """
    Every pair of statuses is either a move of the table or refused, naming those that are.
    """
    id = machine.upsert(title="x").id
    for step in PATHS[start]:
        machine.move(id, step)

    if to == start:
        assert machine.move(id, to).verdict == "unchanged"
    elif to in DEFAULT_TRANSITIONS[start]:
        assert machine.move(id, to).item.status == to
    else:
        with pytest.raises(TransitionNotAllowed) as caught:
            machine.move(id, to)
        assert caught.value.allowed == tuple(sorted(DEFAULT_TRANSITIONS[start]))
        assert machine.get(id).status == start


def test_stale_revision_is_refused_and_nothing_written(machine: Backlog) -> None:
    """
    A writer who read an older state is told both revisions.
    """
    id = machine.upsert(title="x").id
    machine.edit(id, title="y")

    with pytest.raises(RevisionConflict) as caught:
        machine.edit(id, title="z", revision=1)

    assert (caught.value.expected, caught.value.found) == (1, 2)
    assert machine.get(id).title == "y"


def test_machine_does_not_touch_what_a_person_holds(machine: Backlog, person: Backlog) -> None:
    """
    A machine's edit, move or close of held fields is refused, naming the holder.
    """
    id = machine.upsert(title="x").id
    person.move(id, "in_progress")
    person.edit(id, title="mine")

    acts: list[Callable[[], Any]] = [
        lambda: machine.edit(id, title="its"), lambda: machine.move(id, "done"), lambda: machine.close_item(id)
    ]  # fmt: skip
    for act in acts:
        with pytest.raises(NotAllowed, match="ann holds it"):
            act()
    assert machine.edit(id, priority="P0").item.priority == "P0"


def test_closing_needs_its_conditions(person: Backlog) -> None:
    """
    An acceptance needs approver and an end ahead, within a year; a duplicate needs its original.
    """
    id = person.upsert(title="x").id
    cases: list[tuple[dict[str, Any], set[str]]] = [
        ({"reason": "accepted_risk"}, {"/approver", "/expires_at"}),
        ({"reason": "accepted_risk", "approver": "cto", "expires_at": START}, {"/expires_at"}),
        (
            {"reason": "accepted_risk", "approver": "cto", "expires_at": add_seconds(START, 400 * DAY_S)},
            {"/expires_at"},
        ),
        ({"reason": "because"}, {"/reason"}),
        ({"reason": "duplicate"}, {"/duplicate_of"}),
        ({"reason": "fixed", "approver": "cto"}, {"/reason"}),
    ]

    for fields, pointers in cases:
        with pytest.raises(InvalidInput) as caught:
            person.execute(Close(id=id, **fields))
        assert {fault.pointer for fault in caught.value.faults} == pointers
    with pytest.raises(InvalidInput, match="of itself"):
        person.close_item(id, "duplicate", duplicate_of=id)
    assert person.get(id).status == "open"


def test_closed_item_tells_reason_and_who(person: Backlog) -> None:
    """
    ``fixed`` ends in done, any other reason in canceled.
    """
    one, two = person.upsert(title="x").id, person.upsert(title="y").id

    fixed = person.close_item(one, message="deployed").item
    copy = person.close_item(two, "duplicate", duplicate_of=one).item

    assert (fixed.status, fixed.closed_reason, fixed.closed_by) == ("done", "fixed", "ann")
    assert (copy.status, copy.duplicate_of) == ("canceled", one)


def test_items_are_not_closed_as_duplicates_of_each_other(person: Backlog) -> None:
    """
    Of a circle of duplicates no report would open any: the one that would close it stays open, however long it is.
    """
    one, two, three = (person.upsert(title=key, dedupe_key=key).id for key in ("one", "two", "three"))
    person.close_item(one, "duplicate", duplicate_of=two)
    with pytest.raises(NotAllowed, match=f"{one} is itself closed as a duplicate of {two}"):
        person.close_item(two, "duplicate", duplicate_of=one)
    person.close_item(two, "duplicate", duplicate_of=three)
    with pytest.raises(NotAllowed, match=f"{two} is itself closed as a duplicate of {three}"):
        person.close_item(three, "duplicate", duplicate_of=one)
    assert person.get(three).status == "open"
    person.reopen(two, message="they differ")
    assert person.close_item(three, "duplicate", duplicate_of=one).verdict == "closed"


def test_snoozed_item_wakes_by_itself(person: Backlog, clock: StepClock) -> None:
    """
    Sleeping is read from the instant; no job has to wake an item.
    """
    id = person.upsert(title="x").id
    item = person.snooze(id, add_seconds(START, DAY_S)).item
    assert item is not None

    assert effective_status(item, add_seconds(START, DAY_S - 1)) == "snoozed"
    assert effective_status(item, add_seconds(START, DAY_S)) == "open"
    with pytest.raises(InvalidInput, match="past"):
        person.snooze(id, add_seconds(START, -1))
    assert person.snooze(id, "").item.wake_at == ""


def test_comment_changes_no_field(person: Backlog) -> None:
    """
    A comment is an event of the item; `updated_at` stays.
    """
    item = person.upsert(title="x").item

    after = person.comment(item.id, "hello").item

    assert (after.revision, after.updated_at) == (2, item.updated_at)
    assert [event.message for event in person.trail(item.id) if event.added] == ["hello"]


def test_edit_names_every_fault(person: Backlog) -> None:
    """
    Unknown fields, wrong types and impossible values are listed together; nothing is written.
    """
    id = person.upsert(title="x").id

    with pytest.raises(InvalidInput) as caught:
        person.edit(id, titel="y", priority="P7", due_date="2026-02-30", status="doing", title="")

    pointers = {fault.pointer for fault in caught.value.faults}
    assert pointers == {"/fields/titel", "/fields/priority", "/fields/due_date", "/fields/status", "/fields/title"}
    assert person.get(id).revision == 1


def test_changed_key_leaves_the_old_one_as_another_name(machine: Backlog, person: Backlog) -> None:
    """
    Reports under the old key still find their item; a taken key is refused.
    """
    id = machine.upsert(title="x", dedupe_key="old").id
    machine.upsert(title="y", dedupe_key="taken")

    person.edit(id, dedupe_key="new")

    assert machine.upsert(title="x", dedupe_key="old").id == id
    assert machine.upsert(title="x", dedupe_key="new").id == id
    with pytest.raises(AlreadyExists):
        person.edit(id, dedupe_key="taken")


def test_create_refuses_taken_ids_and_keys(machine: Backlog) -> None:
    """
    Adding is not reporting: what is there already is an error that names it.
    """
    machine.create({"title": "x", "dedupe_key": "k", "id": "bl_mine"})

    with pytest.raises(AlreadyExists, match="bl_mine"):
        machine.create({"title": "y", "dedupe_key": "k"})
    with pytest.raises(AlreadyExists, match="bl_mine"):
        machine.create({"title": "y", "id": "bl_mine"})


def test_importer_keeps_status_and_times(machine: Backlog) -> None:
    """
    A created item may bring its past.
    """
    body = Create(draft=Draft(title="x", dedupe_key="k"), status="done", created_at="2020-01-01T00:00:00.000000Z",
                  updated_at="2020-02-01T00:00:00.000000Z")  # fmt: skip

    item = machine.execute(body).outcomes[0].item

    assert item is not None
    assert (item.status, item.closed_reason, item.closed_at) == ("done", "fixed", item.updated_at)
    assert item.created_at == "2020-01-01T00:00:00.000000Z"


@pytest.mark.parametrize("kind", ["blocks", "parent"])
def test_links_that_order_work_have_no_cycles(machine: Backlog, kind: Any) -> None:
    """
    The closing edge of a cycle is refused, however long; other kinds of links may go round.
    """
    a, b, c = (machine.upsert(title=title).id for title in "abc")
    machine.link(a, kind, b)
    machine.link(b, kind, c)

    with pytest.raises(NotAllowed, match="cycle"):
        machine.link(c, kind, a)

    machine.link(c, "relates", a)
    assert set(machine.links(a)) == {(kind, b), ("~relates", c)}
    machine.link(a, kind, b, remove=True)
    assert machine.link(c, kind, a).verdict == "updated"


def test_request_asked_twice_happens_once(machine: Backlog) -> None:
    """
    The first answer is given again, and nothing is counted or written.
    """
    first = machine.upsert(title="x", dedupe_key="k", request_id="r1")
    again = machine.upsert(title="x", dedupe_key="k", request_id="r1")

    assert (again.verdict, again.id) == (first.verdict, first.id) == ("created", first.id)
    assert machine.sightings(first.id) == {}


def test_request_id_of_another_body_is_refused(machine: Backlog) -> None:
    """
    A reused request id is an error, not a second request; another actor's is its own.
    """
    machine.upsert(title="x", dedupe_key="k", request_id="r1")

    with pytest.raises(RequestReused):
        machine.upsert(title="y", dedupe_key="k", request_id="r1")
    assert machine.acting_as("other").upsert(title="y", dedupe_key="k", request_id="r1").verdict == "updated"


def test_request_older_than_its_answer_expires(machine: Backlog, clock: StepClock) -> None:
    """
    After 14 days the answer is gone, and the request is refused rather than run again.
    """
    machine.comment(machine.upsert(title="x").id, "once", request_id="r1")
    clock.advance(15 * DAY_S)

    with pytest.raises(RequestExpired):
        machine.comment(machine.search()[0].id, "once", request_id="r1")


@pytest.mark.parametrize("kind", sorted({*get_args(Body)} - {*get_args(Single)}, key=str))
def test_bulk_takes_changes_of_one_item_alone(machine: Backlog, kind: type[Struct]) -> None:
    """
    Whatever else can be asked of the store is refused by name, before anything of it is read.
    """
    body: Any = kind(**dict.fromkeys(kind.__struct_fields__))
    with pytest.raises(InvalidInput, match="not a change of one item"):
        machine.execute(Bulk(bodies=(body,)))


def test_bulk_is_one_transaction(machine: Backlog) -> None:
    """
    A refused body takes the whole bulk with it, unless it may go on without.
    """
    id = machine.upsert(title="x").id
    bodies = (Edit(id=id, fields={"title": "y"}), Move(id=id, to="done"), Comment(id="bl_nothing", message="?"))

    with pytest.raises(TransitionNotAllowed):
        machine.execute(Bulk(bodies=bodies))
    assert machine.get(id).title == "x"

    answer = machine.execute(Bulk(bodies=bodies, keep_going=True))
    assert [(o.verdict, o.code) for o in answer.outcomes] == [
        ("updated", ""), ("refused", "transition_not_allowed"), ("refused", "not_found")
    ]  # fmt: skip


def test_undo_sets_back_a_batch_where_nobody_changed_anything(person: Backlog, machine: Backlog) -> None:
    """
    An item changed since is refused with the reason; the others are as they were before.
    """
    one, two = (machine.upsert(title=title, dedupe_key=title).id for title in ("one", "two"))
    bodies = tuple(Close(id=id, reason="wont_fix") for id in (one, two))
    batch = person.execute(Bulk(bodies=bodies)).batch
    person.comment(two, "wait")

    outcomes = {outcome.id: outcome for outcome in person.undo(batch).outcomes}

    assert (outcomes[one].verdict, outcomes[two].code) == ("updated", "revision_conflict")
    assert (person.get(one).status, person.get(one).held) == ("open", {})
    assert [key for key, _ in person.verdicts()] == ["prod/two"]
    with pytest.raises(NotFound):
        person.undo("cm_nothing")


def test_undoing_goes_on_further_back(person: Backlog, machine: Backlog) -> None:
    """
    What was undone is no change since, so batch after batch can be set back; a change that stands still bars the way.
    """
    id = machine.upsert(title="x", dedupe_key="k").id
    first = person.execute(Edit(id=id, fields={"priority": "P1"})).batch
    second = person.execute(Edit(id=id, fields={"priority": "P0"})).batch

    person.undo(second)
    assert person.undo(first).outcomes[0].verdict == "updated"
    assert person.get(id).priority == "P2"

    third = person.execute(Edit(id=id, fields={"owner": "ana"})).batch
    person.execute(Edit(id=id, fields={"priority": "P3"}))
    assert person.undo(third).outcomes[0].code == "revision_conflict"


def test_undone_creation_closes_and_lets_the_problem_return(machine: Backlog, person: Backlog) -> None:
    """
    What was created by mistake is closed, and no verdict is left behind.
    """
    answer = machine.execute(Report(drafts=(Draft(title="x", dedupe_key="k"),)))

    person.undo(answer.batch)

    assert machine.get(answer.outcomes[0].id).status == "canceled"
    assert machine.upsert(title="x", dedupe_key="k").verdict == "reopened"


def test_undoing_makes_no_circle_of_duplicates(machine: Backlog, person: Backlog) -> None:
    """
    A closing that is done again by undoing is held to what closings are held to, also where a lift is taken back.
    """
    one, two = (machine.upsert(title=key, dedupe_key=key).id for key in ("one", "two"))
    person.execute(Close(id=one, reason="duplicate", duplicate_of=two))
    batch = person.execute(Reopen(id=one, message="no")).batch
    person.execute(Close(id=two, reason="duplicate", duplicate_of=one))
    refused = person.undo(batch).outcomes[0]
    assert (refused.verdict, refused.code) == ("refused", "not_allowed")
    assert f"{two} is itself closed as a duplicate of {one}" in refused.why

    person.reopen(two, "neither")
    assert person.undo(batch).outcomes[0].verdict == "updated"
    batch = person.execute(LiftVerdict(env="prod", dedupe_key="one")).batch
    person.execute(Close(id=two, reason="duplicate", duplicate_of=one))
    assert "is itself closed as a duplicate" in person.undo(batch).outcomes[0].why


def test_purged_key_keeps_its_verdict(machine: Backlog, person: Backlog, clock: StepClock) -> None:
    """
    What was judged long ago does not come back as new; what was fixed returns under its old id, history counted on.
    """
    judged, fixed, loose = (machine.upsert(title=t, dedupe_key=t if t != "loose" else "").id
                            for t in ("judged", "fixed", "loose"))  # fmt: skip
    person.close_item(judged, "false_positive", message="test code")
    person.close_item(fixed)
    person.close_item(loose)
    clock.advance(200 * DAY_S)
    machine.upsert(title="still open")

    assert machine.cleanup(180) == 3

    with pytest.raises(NotFound, match="purged at"):
        machine.get(judged)
    assert machine.events(EventQuery(item_ids=(loose,), limit=None)) == []
    suppressed = machine.upsert(title="judged", dedupe_key="judged")
    assert (suppressed.verdict, suppressed.id) == ("suppressed", judged)
    back = machine.upsert(title="fixed", dedupe_key="fixed")
    assert (back.verdict, back.id, back.revision, back.item.episode) == ("reopened", fixed, 4, 2)
    person.lift_verdict("judged")
    assert machine.upsert(title="judged", dedupe_key="judged").verdict == "reopened"


def test_a_machine_does_not_touch_what_a_person_decided_about_a_purged_key(
    machine: Backlog, person: Backlog, clock: StepClock
) -> None:
    """
    It neither lifts that, nor creates what it bars; what a machine decided, or a person's hold that is over, it may.
    """
    ids = {}
    for key in ("judged", "lent", "own"):
        ids[key] = machine.upsert(title=key, dedupe_key=key).id
    person.close_item(ids["judged"], "wont_fix")
    until = add_seconds(clock(), 300 * DAY_S)
    person.execute(Edit(id=ids["lent"], fields={"status": "canceled"}, hold_until=until))
    machine.close_item(ids["own"], "obsolete")
    clock.advance(200 * DAY_S)
    assert machine.cleanup(180) == 3

    for key in ("judged", "lent"):
        with pytest.raises(NotAllowed, match="ann decided"):
            machine.lift_verdict(key)
        with pytest.raises(NotAllowed, match="ann decided"):
            machine.create(Draft(title=key, dedupe_key=key))
        assert machine.upsert(title=key, dedupe_key=key).verdict == "suppressed"
    machine.lift_verdict("own")
    clock.advance(200 * DAY_S)
    machine.lift_verdict("lent")
    for key in ("own", "lent"):
        assert machine.upsert(title=key, dedupe_key=key).verdict == "reopened"
    person.lift_verdict("judged")
    assert machine.upsert(title="judged", dedupe_key="judged").verdict == "reopened"


@pytest.mark.parametrize("days", [-1, 36_501, True])
def test_impossible_retention_is_refused(machine: Backlog, days: int) -> None:
    """
    A negative retention would purge everything.
    """
    with pytest.raises(InvalidInput):
        machine.execute(Cleanup(retention_days=days))


def test_clock_that_goes_back_does_not_take_updated_at_with_it(machine: Backlog, clock: StepClock) -> None:
    """
    An item's instant of change never goes backwards.
    """
    item = machine.upsert(title="x").item
    clock.advance(-3600)

    assert item.updated_at < machine.edit(item.id, title="y").item.updated_at


@pytest.mark.parametrize("id", ["", "\0", "bl_a\0b", "\ud800"])
def test_what_can_be_no_id_names_nothing(machine: Backlog, id: str) -> None:
    """
    An empty text, NUL and half a character are not found, on any backend alike.
    """
    machine.upsert(title="only")
    assert machine.find(id) is None
    with pytest.raises(NotFound):
        machine.get(id)


def test_the_beginning_of_all_ids_names_none(machine: Backlog) -> None:
    """
    ``bl_`` is ambiguous even where there is one item: an unfinished id must not mean that.
    """
    machine.upsert(title="only")
    with pytest.raises(AmbiguousId):
        machine.get("bl_")


def test_short_prefix_names_an_item_and_an_ambiguous_one_is_refused(machine: Backlog) -> None:
    """
    People need not type 29 characters.
    """
    machine.create({"title": "a", "id": "bl_abcd1"})
    machine.create({"title": "b", "id": "bl_abce2"})

    assert machine.get("abcd").title == "a"
    assert machine.get("bl_abce").title == "b"
    with pytest.raises(NotFound, match="more than one"):
        machine.get("abc")
    with pytest.raises(NotFound):
        machine.get("x")


def test_machines_take_back_no_decision_of_a_person(machine: Backlog, person: Backlog) -> None:
    """
    What a person closed stays closed for every report: no machine releases, undoes or lifts that; a person may.
    """
    id = machine.upsert(title="t", dedupe_key="k", source="scanner").id
    batch = person.execute(Close(id=id, reason="wont_fix")).batch
    for body in (Edit(id=id, release=("status",)), LiftVerdict(env="prod", dedupe_key="k")):
        with pytest.raises(NotAllowed, match="ann holds it"):
            machine.execute(body)
    (undone,) = machine.execute(Undo(batch=batch)).outcomes
    assert (undone.verdict, undone.code) == ("refused", "not_allowed")
    assert machine.get(id).held == {"status": "ann"}
    assert machine.upsert(title="t", dedupe_key="k", source="scanner").verdict == "suppressed"

    assert [one.verdict for one in person.execute(Undo(batch=batch)).outcomes] == ["updated"]
    assert machine.get(id).status == "open"
