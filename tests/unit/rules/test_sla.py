"""
Clocks of targets, computed from the trail: they stop, pause and end where the item says, and none means none.
"""

from __future__ import annotations

import pytest

from backlog_store.backlog import Backlog
from backlog_store.commands import Close, Create, Move, Reopen, ShortenHistory, Snooze
from backlog_store.instants import add_seconds
from backlog_store.model import Draft, Item
from backlog_store.policy import Policy
from backlog_store.policy.loading import load_policy
from backlog_store.rules.sla import SlaState, sla_of
from backlog_store.testing.clocks import StepClock

HOUR = 3_600.0
RULES = """
sla:
  targets:
    - {name: all, first_move_hours: 10, close_hours: 100, pauses: [blocked, snoozed]}
    - {name: never, when: {category: lint}, none: true}
    - {name: only close, when: {priority: P3}, close_hours: 100}
"""


def policy(text: str = RULES) -> Policy:
    """
    Return the policy of a text.
    """
    found = load_policy(text)
    assert found.policy is not None, found.findings
    return found.policy


def filed(person: Backlog, *, category: str = "", priority: str = "P2") -> Item:
    """
    Return a new item.
    """
    draft = Draft(title="a", priority=priority, category=category)
    item = person.execute(Create(draft=draft)).outcomes[0].item
    assert item is not None
    return item


def clocks(person: Backlog, item: Item, now: str, rules: Policy | None = None) -> dict[str, SlaState]:
    """
    Return the clocks of an item at an instant.
    """
    fresh = person.find(item.id)
    assert fresh is not None
    return {one.clock: one for one in sla_of(fresh, person.trail(item.id), rules or policy(), now)}


def test_none_means_none(person: Backlog) -> None:
    """DefectDojo #10657: what has no target is not breached at once, however old it is."""
    item = filed(person, category="lint")
    later = add_seconds(item.created_at, 10_000 * HOUR)
    assert clocks(person, item, later) == {}
    assert clocks(person, filed(person, priority="P3"), later).keys() == {"close"}
    assert clocks(person, item, later, policy("priority: {rules: []}")) == {}


def test_a_clock_runs_and_is_breached_at_its_instant(person: Backlog) -> None:
    """Exactly at its end it is not over yet; an instant later it is, and says since when."""
    item = filed(person)
    end = add_seconds(item.created_at, 10 * HOUR)
    before = clocks(person, item, end)["first_move"]
    assert (before.state, before.left_s, before.ends_at, before.rule, before.line) == ("running", 0.0, end, "all", 4)
    after = clocks(person, item, add_seconds(end, HOUR))["first_move"]
    assert (after.state, after.left_s, after.ends_at) == ("breached", -HOUR, end)


def test_a_clock_that_stopped_goes_on_no_more(person: Backlog, clock: StepClock) -> None:
    """A closed item is measured to its closing, not to today: met stays met, and late stays just as late."""
    item = filed(person)
    clock.advance(5 * HOUR)
    person.execute(Move(id=item.id, to="in_progress"))
    clock.advance(200 * HOUR)
    person.execute(Close(id=item.id))
    found = clocks(person, item, add_seconds(clock(), 5_000 * HOUR))
    assert found["first_move"].state == "met"
    assert found["close"].state == "breached"
    assert -106 * HOUR < found["close"].left_s < -104 * HOUR


def test_no_time_passes_while_it_is_blocked_or_asleep(person: Backlog, clock: StepClock) -> None:
    """Waiting for others costs nothing: blocked, then asleep until it wakes by itself, without an event."""
    item = filed(person)
    clock.advance(5 * HOUR)
    person.execute(Move(id=item.id, to="blocked"))
    clock.advance(500 * HOUR)
    assert clocks(person, item, clock())["close"].state == "paused"
    person.execute(Move(id=item.id, to="in_progress"))
    woken = add_seconds(clock(), 300 * HOUR)
    person.execute(Snooze(id=item.id, until=woken))
    asleep = clocks(person, item, add_seconds(woken, -1))["close"]
    assert (asleep.state, asleep.ends_at) == ("paused", "")
    awake = clocks(person, item, add_seconds(woken, 10 * HOUR))["close"]
    assert awake.state == "running"
    assert 84 * HOUR < awake.left_s < 86 * HOUR


def test_an_item_that_returns_starts_anew(person: Backlog, clock: StepClock) -> None:
    """The clock of an episode that is over says nothing about the next one."""
    item = filed(person)
    clock.advance(500 * HOUR)
    person.execute(Close(id=item.id))
    clock.advance(500 * HOUR)
    person.execute(Reopen(id=item.id, message="back"))
    assert {one.state for one in clocks(person, item, clock()).values()} == {"running"}


def test_only_working_hours_count_where_a_calendar_is_named(person: Backlog) -> None:
    """Sixteen working hours from Sunday 1 March 2026 end on Tuesday evening, by the clock of Berlin."""
    rules = policy("""
calendars: {named: {office: {zone: Europe/Berlin}}}
sla: {targets: [{close_hours: 16, calendar: office}]}
""")
    created = Create(draft=Draft(title="a"), created_at="2026-03-01T12:00:00.000000Z")
    item = person.execute(created).outcomes[0].item
    assert item is not None
    found = clocks(person, item, "2026-03-01T20:00:00.000000Z", rules)["close"]
    assert (found.state, found.spent_s, found.ends_at) == ("running", 0.0, "2026-03-03T16:00:00.000000Z")
    late = clocks(person, item, "2026-03-04T12:00:00.000000Z", rules)["close"]
    assert (late.state, late.left_s, late.ends_at) == ("breached", -4 * HOUR, "2026-03-03T16:00:00.000000Z")


def test_a_history_that_was_let_go_is_unknown_not_met(person: Backlog) -> None:
    """What can no longer be known is said, not guessed."""
    item = filed(person)
    states = sla_of(item, (), policy(), add_seconds(item.created_at, 1_000 * HOUR))
    assert {one.state for one in states} == {"unknown"}


def test_a_history_that_was_shortened_moves_nothing(person: Backlog, clock: StepClock) -> None:
    """What is written where old history goes is no first move: nobody began with the item."""
    item = filed(person)
    person.execute(Close(id=item.id))
    clock.advance(HOUR)
    person.execute(Reopen(id=item.id, message="back"))
    clock.advance(5 * HOUR)
    person.execute(ShortenHistory(ids=(item.id,), before=person.trail(item.id)[-1].ts))
    assert [event.type for event in person.trail(item.id)] == ["reopened", "baseline"]
    assert clocks(person, item, clock())["first_move"].state == "running"
    person.execute(Move(id=item.id, to="in_progress"))
    assert clocks(person, item, clock())["first_move"].state == "met"


@pytest.mark.parametrize("status", ["in_progress", "blocked", "done"])
def test_what_is_created_elsewhere_than_open_has_moved(person: Backlog, clock: StepClock, status: str) -> None:
    """Work had begun, or was over, when it was filed: nothing is breached later, and nothing waits for ever."""
    item = person.get(person.create({"title": "a"}, status=status).id)
    found = clocks(person, item, add_seconds(clock(), 50 * HOUR))
    assert (found["first_move"].state, found["first_move"].spent_s) == ("met", 0.0)
    expected = {"in_progress": "running", "blocked": "paused", "done": "met"}
    assert found["close"].state == expected[status]


def test_an_imported_item_is_measured_by_what_it_brings(person: Backlog, clock: StepClock) -> None:
    """From its creation to its closing elsewhere, not to the day on which it was imported."""
    created_at = clock()
    clock.advance(1_000 * HOUR)
    bodies = [
        Create(draft=Draft(title=status), status=status, created_at=created_at, updated_at=updated_at)
        for status, updated_at in (("done", add_seconds(created_at, 8 * HOUR)), ("in_progress", clock()))
    ]
    done, begun = (person.execute(body).outcomes[0].item for body in bodies)
    assert done is not None
    assert begun is not None
    found = clocks(person, done, clock())
    assert {(one.state, one.spent_s) for one in found.values()} == {("met", 8 * HOUR)}
    found = clocks(person, begun, clock())
    assert (found["first_move"].state, found["close"].state) == ("met", "breached")


def test_attainment_counts_what_lives_and_what_was_closed_lately(
    machine: Backlog, person: Backlog, clock: StepClock
) -> None:
    """Each target and clock by itself; what was closed before, what has no target and other envs are not counted."""
    person.apply_policy(RULES, over=0)
    for wait_h, close_after_h in ((0, 5), (3_000, 5), (0, 50), (0, 150)):
        clock.advance(wait_h * HOUR)
        item = filed(person)
        clock.advance(close_after_h * HOUR)
        person.execute(Close(id=item.id))
    filed(person)
    filed(person, category="lint")
    assert [(one.rule, one.clock, one.met, one.breached, one.running, one.share) for one in machine.attainment()] == [
        ("all", "first_move", 1, 2, 1, 0.3333), ("all", "close", 2, 1, 1, 0.6667),
    ]  # fmt: skip
    assert machine.attainment("staging") == []


def test_attainment_goes_through_all_pages(machine: Backlog, person: Backlog) -> None:
    """However many items there are, each is counted once."""
    person.apply_policy(RULES, over=0)
    for number in range(700):
        machine.upsert(title=f"{number}", dedupe_key=f"{number}", source="scanner")
    assert [one.running for one in machine.attainment()] == [700, 700]
