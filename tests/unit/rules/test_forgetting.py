"""
What is let go, and what stays provable: baselines, shortened trails, purged keys, expired answers.
"""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from backlog_store.access import Scope
from backlog_store.backlog import Backlog
from backlog_store.commands import Comment, DropExpired, Edit, Report, ShortenHistory
from backlog_store.errors import InvalidInput, NotAllowed, RequestExpired
from backlog_store.instants import Instant
from backlog_store.model import LIMITS, Draft, Event
from backlog_store.query import EventQuery
from backlog_store.testing.clocks import StepClock
from backlog_store.trail import faults_of_trail, is_baseline, rebuild
from backlog_store.verify import verify

DAY_S = 86_400


def trail(backlog: Backlog, id: str) -> list[Event]:
    """
    Return the events of an item, or of a purged one.
    """
    return list(backlog.events(EventQuery(item_ids=(id,), limit=None)))


def grown(machine: Backlog, person: Backlog, clock: StepClock) -> tuple[str, Instant]:
    """
    Return an item with three old events and two new ones, and the instant between them.
    """
    id = machine.upsert(title="burn", dedupe_key="burn", tags=("a",)).id
    person.edit(id, title="burns", owner="ann")
    person.edit(id, owner="")
    clock.advance(100 * DAY_S)
    between = clock()
    person.comment(id, "seen again")
    person.move(id, "in_progress")
    return id, between


def test_a_shortened_item_is_the_same_item(machine: Backlog, person: Backlog, clock: StepClock) -> None:
    """Old events are gone, newer ones stand, a baseline proves every field, and the item says what it said."""
    id, between = grown(machine, person, clock)
    before, newer = machine.get(id), trail(machine, id)[3:]
    outcome = machine.execute(ShortenHistory(ids=(id,), before=between)).outcomes[0]
    assert (outcome.verdict, outcome.events, outcome.revision) == ("shortened", 3, 6)
    after, events = machine.get(id), trail(machine, id)
    assert replace(after, revision=before.revision, head=before.head) == before
    assert events[:-1] == newer
    assert is_baseline(events[-1])
    assert rebuild(events) == after
    assert machine.read(verify).shortened == 1


def test_a_shortened_item_goes_on(machine: Backlog, person: Backlog, clock: StepClock) -> None:
    """Reports, edits and undo work behind a baseline; only what was forgotten can no longer be undone."""
    id, between = grown(machine, person, clock)
    edited = person.edit(id, owner="bob")
    batch = trail(machine, id)[-1].batch
    machine.execute(ShortenHistory(ids=(id,), before=between))
    assert machine.upsert(title="burn", dedupe_key="burn", tags=("a",)).verdict == "unchanged"
    assert person.undo(batch).counts() == {"updated": 1}
    assert (edited.item.owner, machine.get(id).owner) == ("bob", "")
    person.close_item(id)


def test_an_untouched_item_keeps_its_baseline_alone(machine: Backlog, clock: StepClock) -> None:
    """Where all events are old a baseline takes their place, and later a new one takes its."""
    id = machine.upsert(title="burn", dedupe_key="burn").id
    for revision in (2, 3):
        clock.advance(500 * DAY_S)
        assert machine.execute(ShortenHistory(ids=(id,), before=clock())).outcomes[0].events == 1
        assert [(event.type, event.revision) for event in trail(machine, id)] == [("baseline", revision)]
        assert machine.read(verify).faults == []


def test_shortening_again_writes_no_second_baseline(machine: Backlog, person: Backlog, clock: StepClock) -> None:
    """What the newest baseline stands behind can go without another one, and where nothing is old nothing happens."""
    id, between = grown(machine, person, clock)
    machine.execute(ShortenHistory(ids=(id,), before=between))
    revision = machine.get(id).revision
    second = trail(machine, id)[1].ts
    outcome = machine.execute(ShortenHistory(ids=(id,), before=second)).outcomes[0]
    assert (outcome.verdict, outcome.events, machine.get(id).revision) == ("shortened", 1, revision)
    assert machine.execute(ShortenHistory(ids=(id,), before=second)).outcomes[0].verdict == "unchanged"


def test_a_caller_s_event_is_no_baseline(machine: Backlog, clock: StepClock) -> None:
    """A caller may call an event of its own so; no item is ever rebuilt from it."""
    id = machine.upsert(title="burn", dedupe_key="burn").id
    machine.execute(Comment(id=id, message="mine", type="baseline"))
    clock.advance(DAY_S)
    between = clock()
    machine.execute(Comment(id=id, message="mine", type="baseline"))
    machine.execute(ShortenHistory(ids=(id,), before=between))
    assert [(event.type, event.added) for event in trail(machine, id)] == [("baseline", True), ("baseline", False)]


def test_a_backdated_event_behind_a_newer_one_stays(machine: Backlog, clock: StepClock) -> None:
    """Only a beginning can be forgotten: what was added later goes when all before it goes."""
    id = machine.upsert(title="burn", dedupe_key="burn").id
    old = clock()
    clock.advance(100 * DAY_S)
    between = clock()
    machine.comment(id, "new")
    machine.execute(Comment(id=id, message="old", ts=old))
    machine.execute(ShortenHistory(ids=(id,), before=between))
    assert [event.message for event in trail(machine, id)] == ["new", "old", ""]


def test_a_purged_key_keeps_its_verdict_and_its_proof(machine: Backlog, person: Backlog, clock: StepClock) -> None:
    """The event of the purge goes too; a baseline of the key takes its place, and the key is judged as before."""
    id = machine.upsert(title="burn", dedupe_key="burn").id
    person.close_item(id, "wont_fix")
    clock.advance(200 * DAY_S)
    assert machine.cleanup(180) == 1
    clock.advance(500 * DAY_S)
    outcome = machine.execute(ShortenHistory(ids=(id,), before=clock())).outcomes[0]
    assert (outcome.verdict, outcome.events) == ("shortened", 1)
    assert [event.type for event in trail(machine, id)] == ["baseline"]
    assert machine.read(verify).faults == []
    assert machine.upsert(title="burn", dedupe_key="burn").verdict == "suppressed"
    person.lift_verdict("burn")
    back = machine.upsert(title="burn", dedupe_key="burn")
    assert (back.verdict, back.id) == ("reopened", id)
    assert machine.read(verify).faults == []
    clock.advance(500 * DAY_S)
    machine.execute(ShortenHistory(ids=(id,), before=clock()))
    assert [event.type for event in trail(machine, id)] == ["baseline"]


def test_what_was_said_of_a_purged_key_later_stays_and_is_proved(
    machine: Backlog, person: Backlog, clock: StepClock
) -> None:
    """The purge is old and goes, a newer word on the key stays: the problem comes back with a whole trail."""
    id = machine.upsert(title="burn", dedupe_key="burn").id
    person.close_item(id, "wont_fix")
    clock.advance(200 * DAY_S)
    assert machine.cleanup(180) == 1
    clock.advance(500 * DAY_S)
    between = clock()
    person.lift_verdict("burn")
    (lifted,) = [event for event in trail(machine, id) if event.ts >= between]

    outcome = machine.execute(ShortenHistory(ids=(id,), before=between)).outcomes[0]

    assert (outcome.verdict, outcome.events) == ("shortened", 1)
    assert trail(machine, id)[0] == lifted
    assert machine.read(verify).faults == []
    again = machine.execute(ShortenHistory(ids=(id,), before=between)).outcomes[0]
    assert again.verdict == "unchanged"
    assert machine.upsert(title="burn", dedupe_key="burn").verdict == "reopened"
    assert machine.read(verify).faults == []


def test_a_baseline_that_tells_something_else_is_found(machine: Backlog, person: Backlog, clock: StepClock) -> None:
    """While the events before it are there, it must come to the same; behind an unknown beginning one is needed."""
    id, between = grown(machine, person, clock)
    whole = trail(machine, id)
    machine.execute(ShortenHistory(ids=(id,), before=between))
    item, short = machine.get(id), trail(machine, id)
    assert faults_of_trail(item, [*whole, short[-1]]) == []
    lies = [*whole[:1], *whole[2:], short[-1]]
    assert any("tells other fields" in fault for fault in faults_of_trail(item, lies))
    assert any("unknown event" in fault for fault in faults_of_trail(item, short[:-1]))
    assert any("was changed" in fault for fault in faults_of_trail(item, [replace(short[0], ts=between), *short[1:]]))


def test_a_step_is_bounded(machine: Backlog, clock: StepClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Items with more events than fit are left for the next step, but for the first one."""
    ids = tuple(machine.upsert(title=name, dedupe_key=name).id for name in "abc")
    for id in ids:
        machine.comment(id, "one")
    clock.advance(DAY_S)
    monkeypatch.setattr("backlog_store.rules.forgetting.LIMITS", replace(LIMITS, step_rows=5))
    assert len(machine.execute(ShortenHistory(ids=ids, before=clock())).outcomes) == 2
    monkeypatch.setattr("backlog_store.rules.forgetting.LIMITS", replace(LIMITS, step_rows=1))
    assert len(machine.execute(ShortenHistory(ids=ids, before=clock())).outcomes) == 1


@pytest.mark.parametrize("body", [ShortenHistory(ids=("bl_a", "bl_a"), before="2026-01-01T00:00:00.000000Z"),
                                  ShortenHistory(ids=("bl_a",), before=""), ShortenHistory(ids=("bl_a",), before="x"),
                                  DropExpired(kind="answer", ids=("a",) * 2)])  # fmt: skip
def test_impossible_commands_are_refused(machine: Backlog, body: ShortenHistory | DropExpired) -> None:
    """An id twice, or no instant."""
    with pytest.raises(InvalidInput):
        machine.execute(body)


def test_an_expired_answer_is_let_go_and_its_request_never_run_again(machine: Backlog, clock: StepClock) -> None:
    """First what was said is let go, much later that it was said; in between the request is refused as before."""
    body = Report(drafts=(Draft(title="burn", dedupe_key="burn"),))
    machine.execute(body, request_id="r1")
    name = "7:scanner/r1"

    def stored() -> list[str]:
        return [record.id for record in machine.read(lambda reader: reader.scan("answer", "", "", 9))]

    def drop() -> str:
        return machine.execute(DropExpired(kind="answer", ids=(name,))).outcomes[0].verdict

    assert drop() == "unchanged"
    clock.advance(15 * DAY_S)
    assert (drop(), drop(), stored()) == ("purged", "unchanged", [name])
    record = machine.read(lambda reader: reader.records("answer", [name]))[name]
    assert list(record.body) == ["digest"]
    with pytest.raises(RequestExpired):
        machine.execute(body, request_id="r1")
    clock.advance(LIMITS.request_days * DAY_S)
    assert (drop(), stored()) == ("purged", [])


def test_maintenance_tells_what_it_did(machine: Backlog, person: Backlog, clock: StepClock) -> None:
    """Each number is of what is gone: items, events, answers, steps and the rows of the largest of them."""
    id, _ = grown(machine, person, clock)
    closed = machine.upsert(title="closed", dedupe_key="closed", request_id="r1").id
    person.close_item(closed)
    clock.advance(200 * DAY_S)
    machine.comment(id, "new")
    done = machine.maintain(180, history_days=100)
    assert (done.purged, done.shortened, done.events, done.expired) == (1, 1, 5, 1)
    assert (done.steps, done.rows_max) == (3, 7)
    again = machine.maintain(180, history_days=100)
    assert (again.purged, again.shortened, again.expired, again.steps) == (0, 0, 0, 0)


def test_undoing_in_steps_is_undoing(machine: Backlog, person: Backlog, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch of many events is set back step by step, each item once; begun again, nothing is left to do."""
    ids = [machine.upsert(title=str(number), dedupe_key=str(number)).id for number in range(7)]
    for id in ids:
        for owner in ("ann", "bob"):
            machine.executor.execute(replace(person.command(Edit(id=id, fields={"owner": owner})), batch="cm_all"))
    person.edit(ids[3], owner="eve")
    monkeypatch.setattr("backlog_store.backlog._UNDONE_A_STEP", 3)
    first = next(person.undo_steps("cm_all"))  # … and no further
    assert (len(first.outcomes), bool(first.next)) == (2, True)
    answer = person.undo("cm_all")
    assert answer.counts() == {"unchanged": 2, "updated": 4, "refused": 1}
    assert [machine.get(id).owner for id in ids] == ["", "", "", "eve", "", "", ""]
    assert person.undo("cm_all").counts() == {"unchanged": 6, "refused": 1}
    assert person.undo(answer.batch).counts()["updated"] == 4


def test_who_may_not_administer_lets_nothing_go(machine: Backlog) -> None:
    """Forgetting is for administrators."""
    worker = machine.acting_as("worker", scope=Scope(role="worker"))
    with pytest.raises(NotAllowed):
        worker.execute(DropExpired(kind="answer", ids=()))


RETENTION = "retention: {closed_days: 30, history_days: 60, request_days: 20}\n"


def test_the_policy_says_how_long_what_is_over_stays(machine: Backlog, person: Backlog, clock: StepClock) -> None:
    """Maintenance lets go what the policy in force says, no less and no more; what was decided outlives its item."""
    person.apply_policy(RETENTION, over=0)
    long_lived, _ = grown(machine, person, clock)
    person.close_item(machine.upsert(title="noise", dedupe_key="noise").id, "wont_fix")
    clock.advance(29 * DAY_S)
    assert machine.maintain().purged == 0
    clock.advance(2 * DAY_S)
    person.close_item(machine.upsert(title="fresh", dedupe_key="fresh").id)
    clock.advance(40 * DAY_S)
    done = machine.maintain()
    assert (done.purged, done.shortened) == (2, 1)
    assert is_baseline(trail(machine, long_lived)[-1])
    assert machine.upsert(title="noise", dedupe_key="noise").why == "closed as wont_fix"


def test_less_than_the_policy_says_is_refused(machine: Backlog, person: Backlog, clock: StepClock) -> None:
    """Whoever asks for less gets the rule, also a person; nothing is let go. More may be asked for."""
    person.apply_policy(RETENTION, over=0)
    id, between = grown(machine, person, clock)
    person.close_item(id)
    with pytest.raises(NotAllowed, match=r"closed items stay 30 days \(policy 1, retention/closed_days\)"):
        person.cleanup(29)
    with pytest.raises(NotAllowed, match="history stays 60 days"):
        machine.maintain(history_days=59)
    with pytest.raises(NotAllowed, match="history stays 60 days"):
        person.execute(ShortenHistory(ids=(id,), before=between))
    clock.advance(50 * DAY_S)
    assert machine.cleanup(60) == 0
    assert machine.maintain(30).purged == 1


def test_a_request_id_is_known_for_as_long_as_the_policy_says(
    machine: Backlog, person: Backlog, clock: StepClock
) -> None:
    """After its answer went it is refused, and taken for a new one only when the policy's time is over, too."""
    person.apply_policy(RETENTION, over=0)
    machine.execute(Report(drafts=(Draft(title="a", dedupe_key="a"),)), request_id="r1")
    clock.advance((LIMITS.answer_days + 19) * DAY_S)
    machine.maintain()
    with pytest.raises(RequestExpired):
        machine.execute(Report(drafts=(Draft(title="a", dedupe_key="a"),)), request_id="r1")
    clock.advance(2 * DAY_S)
    machine.maintain()
    assert machine.execute(Report(drafts=(Draft(title="b", dedupe_key="b"),)), request_id="r1").counts() == {
        "created": 1
    }
