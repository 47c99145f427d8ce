"""
Steps of escalation: when they are due, and that each fires once an episode, whoever asks and however often.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from backlog_store.backlog import Backlog
from backlog_store.commands import ApplyPolicy, Comment, Escalate, ShortenHistory
from backlog_store.executors.local import LocalExecutor
from backlog_store.instants import add_seconds, day_of, plus_days
from backlog_store.model import LIMITS, Item
from backlog_store.rules.escalating import StepState, steps_of
from backlog_store.rules.policies import policy_in_force
from backlog_store.testing.clocks import CountingIds, StepClock
from backlog_store.verify import verify
from tests.stores import new_stores

HOUR_S = 3_600.0
DAY_S = 24 * HOUR_S
STEPS = """
escalation:
  rules:
    - name: ordinary
      steps:
        - {name: nudge, untouched_hours: 24, notify: [owner]}
        - {name: lead, untouched_hours: 72, notify: [lead]}
        - {name: late, overdue_hours: 0, notify: [lead, desk], message: it is over}
    - {name: lint rests, when: {category: lint}, steps: []}
"""


def put(person: Backlog, text: str = STEPS) -> None:
    """
    Put a policy in force over whatever is.
    """
    person.execute(ApplyPolicy(text=text, over=person.read(policy_in_force).revision))


def filed(machine: Backlog, key: str = "k", **fields: str) -> str:
    """
    Return the id of an item that a machine reports.
    """
    return machine.upsert({"title": key, "dedupe_key": key, "source": "scanner", **fields}).id


def states(backlog: Backlog, id: str, now: str = "") -> dict[str, StepState]:
    """
    Return how an item stands to its steps.
    """
    policy = backlog.read(policy_in_force)
    found = steps_of(backlog.get(id), backlog.trail(id), policy, now or backlog.clock())
    return {one.step: one for one in found}


def fired(backlog: Backlog) -> list[tuple[str, str]]:
    """
    Let fire what is due, and return title and step of each.
    """
    return [(item.title, step.step) for item, step in backlog.work.escalate()]


def test_a_step_is_due_at_its_instant_and_says_since_when(machine: Backlog, person: Backlog) -> None:
    """Before it the time that is left is told, from then on it is due, with its rule and line."""
    put(person)
    id = filed(machine)
    touched = machine.trail(id)[-1].ts
    before = states(machine, id, add_seconds(touched, DAY_S - 1))["nudge"]
    assert (before.state, before.ends_at) == ("coming", add_seconds(touched, DAY_S))
    at = states(machine, id, add_seconds(touched, DAY_S))["nudge"]
    assert (at.state, at.spent_s, at.rule, at.line) == ("due", DAY_S, "ordinary", 6)
    later = states(machine, id, add_seconds(touched, 2 * DAY_S))
    assert (later["nudge"].state, later["nudge"].since) == ("due", add_seconds(touched, DAY_S))
    assert (later["lead"].state, later["late"].state) == ("coming", "idle")


def test_each_step_fires_once_an_episode(machine: Backlog, person: Backlog, clock: StepClock) -> None:
    """The event says which step, by which rule and for whom; a second time it fires in the next episode alone."""
    put(person)
    id = filed(machine)
    clock.advance(25 * HOUR_S)
    assert fired(machine) == [("k", "nudge")]
    event = machine.trail(id)[-1]
    assert (event.type, event.meta["step"], event.meta["rule"], event.meta["notify"]) == (
        "escalated", "nudge", "ordinary", ["owner"])  # fmt: skip
    assert fired(machine) == []
    clock.advance(50 * HOUR_S)
    assert fired(machine) == [("k", "lead")]
    person.close_item(id)
    clock.advance(HOUR_S)
    filed(machine)
    assert machine.get(id).escalated == {}
    clock.advance(25 * HOUR_S)
    assert fired(machine) == [("k", "nudge")]


def test_reports_and_steps_are_no_touch_and_what_somebody_does_is(
    machine: Backlog, person: Backlog, clock: StepClock
) -> None:
    """A machine that goes on reporting does not keep an item fresh; a comment, a move, an edit do."""
    put(person)
    id = filed(machine)
    clock.advance(23 * HOUR_S)
    machine.upsert(title="in other words", dedupe_key="k", source="scanner")
    clock.advance(2 * HOUR_S)
    assert states(machine, id)["nudge"].state == "due"
    person.comment(id, "I look at it")
    assert states(machine, id)["nudge"].state == "coming"
    clock.advance(25 * HOUR_S)
    assert fired(machine) == [("in other words", "nudge")]
    clock.advance(46 * HOUR_S)
    assert states(machine, id)["lead"].state == "coming"
    clock.advance(2 * HOUR_S)
    assert states(machine, id)["lead"].state == "due"


def test_an_overdue_step_waits_for_the_end_of_the_day(machine: Backlog, person: Backlog) -> None:
    """The day that it is due is still in time; without a due date there is nothing to be late for."""
    put(person)
    day = plus_days(day_of(machine.clock()), 3)
    id, other = filed(machine, "dated", due_date=day), filed(machine, "undated")
    assert states(machine, id, f"{day}T23:59:59.000000Z")["late"].state == "idle"
    assert states(machine, id, f"{plus_days(day, 1)}T00:00:00.000000Z")["late"].state == "due"
    assert states(machine, other, f"{plus_days(day, 9)}T00:00:00.000000Z")["late"].state == "idle"


def test_what_sleeps_is_left_alone(machine: Backlog, person: Backlog, clock: StepClock) -> None:
    """While it sleeps nothing fires and no time passes."""
    put(person)
    id = filed(machine, due_date=day_of(clock()))
    person.snooze(id, add_seconds(clock(), 10 * DAY_S))
    clock.advance(9 * DAY_S)
    assert fired(machine) == []
    assert states(machine, id)["late"].state == "paused"
    clock.advance(DAY_S + HOUR_S)
    assert [step for _, step in fired(machine)] == ["late"]


def test_only_working_hours_count_where_a_calendar_is_named(machine: Backlog, person: Backlog) -> None:
    """Eight working hours after Friday noon are Monday afternoon."""
    put(
        person,
        """
calendars: {named: {office: {hours: [09:00-17:00]}}}
escalation: {rules: [{calendar: office, steps: [{name: nudge, untouched_hours: 8}]}]}
""",
    )
    id = filed(machine)
    friday = "2026-03-06T12:00:00.000000Z"
    machine.execute(Comment(id=id, message="looked at it", ts=friday))
    step = states(machine, id, "2026-03-08T12:00:00.000000Z")["nudge"]
    assert (step.state, step.spent_s) == ("coming", 5 * HOUR_S)
    assert step.ends_at == "2026-03-09T12:00:00.000000Z"


def test_the_last_rule_that_matches_wins_also_with_no_steps(
    machine: Backlog, person: Backlog, clock: StepClock
) -> None:
    """A rule with an empty list takes its items out."""
    put(person)
    filed(machine, "lint", category="lint")
    clock.advance(100 * HOUR_S)
    assert fired(machine) == []


def test_a_step_fires_once_though_its_event_was_let_go(machine: Backlog, person: Backlog, clock: StepClock) -> None:
    """Old history may go; that a step fired stays with the item."""
    put(person)
    id = filed(machine)
    clock.advance(25 * HOUR_S)
    assert fired(machine) == [("k", "nudge")]
    clock.advance(DAY_S)
    machine.execute(ShortenHistory(ids=(id,), before=clock()))
    assert [event.type for event in machine.trail(id)] == ["baseline"]
    clock.advance(100 * HOUR_S)
    assert fired(machine) == [("k", "lead")]


@pytest.mark.parametrize("beginning", ["move", "snooze"])
def test_a_pause_whose_beginning_was_let_go_is_still_one(
    machine: Backlog, person: Backlog, clock: StepClock, beginning: str
) -> None:
    """It was blocked or asleep all along, as the history that is left tells, before the next change and after it."""
    steps = "steps: [{name: late, overdue_hours: 100}]"
    put(person, f"escalation: {{rules: [{{name: o, pauses: [blocked, snoozed], {steps}}}]}}")
    id = filed(machine, due_date=day_of(clock()))
    clock.advance(2 * DAY_S)
    if beginning == "move":
        person.move(id, "blocked")
    else:
        person.snooze(id, until=add_seconds(clock(), 100 * DAY_S))
    clock.advance(3 * DAY_S)
    person.comment(id, "still waiting")
    commented_at = machine.trail(id)[-1].ts
    clock.advance(10 * DAY_S)
    machine.execute(ShortenHistory(ids=(id,), before=commented_at))
    assert [event.type for event in machine.trail(id)] == ["comment", "baseline"]
    assert (states(machine, id)["late"].state, states(machine, id)["late"].spent_s) == ("paused", 0.0)
    if beginning == "move":
        person.move(id, "open")
    else:
        person.snooze(id, until="")
    clock.advance(HOUR_S)
    found = states(machine, id)["late"]
    assert (found.state, HOUR_S <= found.spent_s < 2 * HOUR_S) == ("coming", True)


def test_undo_goes_past_a_step_and_does_not_unsay_it(machine: Backlog, person: Backlog, clock: StepClock) -> None:
    """What was told was told: an edit before it can still be undone, and the step does not fire again."""
    put(person)
    id = filed(machine)
    person.edit(id, priority="P0")
    batch = machine.trail(id)[-1].batch
    clock.advance(25 * HOUR_S)
    assert fired(machine) == [("k", "nudge")]
    told = machine.trail(id)[-1].batch
    assert person.undo(batch).outcomes[0].verdict == "updated"
    assert machine.get(id).priority == "P2"
    assert person.undo(told).outcomes[0].verdict == "refused"
    assert list(machine.get(id).escalated) == ["nudge"]


def test_a_step_that_somebody_came_before_fires_later(machine: Backlog, person: Backlog, clock: StepClock) -> None:
    """Who touches an item between the listing and the step puts it off; weeks later it fires, and so do the others."""
    put(person)
    ids = [filed(machine, key) for key in "ab"]
    clock.advance(25 * HOUR_S)
    running = machine.work.escalate()
    told = next(running)[0].id
    (other,) = set(ids) - {told}
    person.comment(other, "I look at it")
    assert list(running) == []
    assert states(machine, other)["nudge"].state == "coming"
    clock.advance(25 * HOUR_S)
    assert [item.id for item, _ in machine.work.escalate()] == [other]
    clock.advance(25 * DAY_S)
    machine.maintain()
    assert {item.id for item, _ in machine.work.escalate()} == set(ids)


def test_the_longest_id_and_step_fire(machine: Backlog, person: Backlog, clock: StepClock) -> None:
    """Every id and every name that is accepted can escalate."""
    id, step = "x" * LIMITS.id, "n" * 100
    put(person, f"escalation: {{rules: [{{steps: [{{name: {step}, untouched_hours: 24}}]}}]}}")
    person.create({"title": "long", "id": id})
    clock.advance(25 * HOUR_S)
    assert fired(machine) == [("long", step)]


def test_an_undone_reopening_brings_back_the_steps_of_its_episode(
    machine: Backlog, person: Backlog, clock: StepClock
) -> None:
    """In the episode that goes on nothing fires a second time, and what had not fired in it still does."""
    put(person)
    id = filed(machine)
    clock.advance(25 * HOUR_S)
    assert fired(machine) == [("k", "nudge")]
    first = machine.get(id).escalated
    person.close_item(id)
    closing = machine.trail(id)[-1].batch
    filed(machine)
    reopening = machine.trail(id)[-1].batch
    clock.advance(25 * HOUR_S)
    assert fired(machine) == [("k", "nudge")]
    second = machine.get(id).escalated
    person.undo(reopening)
    undoing = machine.trail(id)[-1].batch
    assert (machine.get(id).episode, machine.get(id).escalated) == (1, first)
    person.undo(undoing)
    assert (machine.get(id).episode, machine.get(id).escalated) == (2, second)
    person.undo(machine.trail(id)[-1].batch)
    person.undo(closing)
    assert (machine.get(id).status, machine.get(id).escalated) == ("open", first)
    clock.advance(25 * HOUR_S)
    assert fired(machine) == []
    clock.advance(50 * HOUR_S)
    assert fired(machine) == [("k", "lead")]
    assert machine.read(verify).faults == []


@pytest.mark.parametrize("fires", [False, True])
def test_an_undone_reopening_forgets_the_steps_of_the_episode_that_is_not(
    machine: Backlog, person: Backlog, clock: StepClock, fires: bool
) -> None:
    """Where none fired in the old episode each still does, though one fired in the new one."""
    put(person)
    id = filed(machine)
    person.close_item(id)
    closing = machine.trail(id)[-1].batch
    filed(machine)
    reopening = machine.trail(id)[-1].batch
    if fires:
        clock.advance(25 * HOUR_S)
        assert fired(machine) == [("k", "nudge")]
    person.undo(reopening)
    person.undo(closing)
    assert machine.get(id).escalated == {}
    clock.advance(25 * HOUR_S)
    assert fired(machine) == [("k", "nudge")]


@pytest.mark.parametrize(("step", "episode"), [("nudge", 9), ("nobody", 0), ("lead", 0)])
def test_what_is_not_due_does_not_fire_and_says_why(
    machine: Backlog, person: Backlog, clock: StepClock, step: str, episode: int
) -> None:
    """Whoever asks for a step of another episode, of no rule or too early gets the reason, and no event."""
    put(person)
    id = filed(machine)
    clock.advance(25 * HOUR_S)
    outcome = machine.execute(Escalate(id=id, step=step, episode=episode)).outcomes[0]
    assert outcome.verdict == "unchanged"
    assert outcome.why
    assert machine.trail(id)[-1].type == "created"


def test_every_item_is_looked_at_however_many_there_are(machine: Backlog, person: Backlog, clock: StepClock) -> None:
    """Pages follow each other by id; no item is passed over and none is told twice."""
    put(person)
    ids = sorted(filed(machine, f"k{number}") for number in range(450))
    clock.advance(25 * HOUR_S)
    assert [item.id for item, _ in machine.work.due_steps()] == ids


@pytest.mark.parametrize("name", ["memory", "jsonl", "sqlite", "postgres"])
def test_two_that_escalate_at_once_tell_each_step_once(
    request: pytest.FixtureRequest, tmp_path: Path, name: str
) -> None:
    """Both see the same steps as due; each step is told by one of them, on every backend."""
    clock = StepClock()
    executor = LocalExecutor(new_stores(name, request, tmp_path)()())
    with Backlog(executor, actor="cron a", clock=clock, ids=CountingIds()) as one:
        other = one.acting_as("cron b")
        put(one.acting_as("ann", person=True))
        ids = [filed(one, key) for key in "abc"]
        clock.advance(25 * HOUR_S)
        told: list[tuple[Item, StepState]] = []
        first = other.work.escalate()
        told.append(next(first))  # it has read all that is due, and fired one
        told += one.work.escalate()
        told += first
        assert sorted(item.id for item, _ in told) == sorted(ids)
        assert [event.type for id in ids for event in one.trail(id)] == ["created", "escalated"] * 3
        assert one.read(verify).faults == []
