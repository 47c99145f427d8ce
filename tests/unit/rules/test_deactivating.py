"""
The lower threshold: what is reported too seldom is closed, with its proof, and returns as it was opened.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from backlog_store.backlog import Backlog
from backlog_store.commands import ApplyPolicy, BeginRun, CompleteRun, Deactivate, Outcome, Report, RunScope
from backlog_store.executors.local import LocalExecutor
from backlog_store.model import Draft, Item
from backlog_store.rules.policies import policy_in_force
from backlog_store.rules.runs import RUN_REOPENS
from backlog_store.testing.clocks import CountingIds, StepClock
from backlog_store.verify import verify
from tests.stores import new_stores

HOUR_S = 3_600.0
RULE = """
activation:
  rules:
    - {name: flaky, when: {source: [fuzzer, probe]}, sightings: 4, within_hours: 24, close_below: 2, close_hours: 48}
"""


def put(person: Backlog, text: str = RULE) -> None:
    """
    Put a policy in force over whatever is.
    """
    person.execute(ApplyPolicy(text=text, over=person.read(policy_in_force).revision))


def report(machine: Backlog, source: str = "fuzzer") -> Outcome:
    """
    Report the problem once.
    """
    return machine.upsert(title="crash", dedupe_key="k", source=source)


def opened(machine: Backlog) -> Item:
    """
    Report the problem until it is opened.
    """
    verdicts = [report(machine).verdict for _ in range(4)]
    assert verdicts == ["held", "held", "held", "created"]
    item = machine.get_by_key("k")
    assert item is not None
    return item


def closed(machine: Backlog) -> list[str]:
    """
    Close what is below its threshold, and return the ids.
    """
    return [outcome.id for outcome in machine.work.deactivate()]


def test_what_is_no_longer_reported_is_closed_with_its_proof(
    machine: Backlog, person: Backlog, clock: StepClock
) -> None:
    """Not before the whole window has passed; the event names rule, line, count and when it was last seen."""
    put(person)
    item = opened(machine)
    clock.advance(47 * HOUR_S)
    assert closed(machine) == []
    clock.advance(2 * HOUR_S)
    assert closed(machine) == [item.id]
    event = machine.trail(item.id)[-1]
    assert (event.type, machine.get(item.id).closed_reason) == ("closed", "fixed")
    assert event.meta == {
        "proof": "seldom", "rule": "flaky", "line": 4, "count": 0, "below": 2, "hours": 48.0,
        "last_seen_at": item.claims["fuzzer"].last_at,
    }  # fmt: skip
    assert closed(machine) == []


def test_what_is_reported_now_and_then_is_counted_over_the_window(
    machine: Backlog, person: Backlog, clock: StepClock
) -> None:
    """Two reports within the window keep it open, one does not; reports of each of its sources count."""
    put(person)
    item = opened(machine)
    for source in ("fuzzer", "probe", "fuzzer"):
        clock.advance(20 * HOUR_S)
        report(machine, source)
    assert closed(machine) == []
    clock.advance(20 * HOUR_S)
    assert closed(machine) == []
    clock.advance(10 * HOUR_S)
    assert closed(machine) == [item.id]
    assert machine.trail(item.id)[-1].meta["count"] == 1


def test_it_returns_as_it_was_opened(machine: Backlog, person: Backlog, clock: StepClock) -> None:
    """One report is not enough to be open again: between the two thresholds nothing flaps."""
    put(person)
    item = opened(machine)
    clock.advance(49 * HOUR_S)
    closed(machine)
    clock.advance(HOUR_S)
    assert [report(machine).verdict for _ in range(4)] == ["held", "held", "held", "reopened"]
    assert (machine.get(item.id).episode, machine.get(item.id).status) == (2, "open")
    assert closed(machine) == []


def test_it_returns_as_it_was_opened_after_a_purge(machine: Backlog, person: Backlog, clock: StepClock) -> None:
    """What was fixed and let go is no newer than what was fixed; all its reports count, and no budget is spent."""
    put(person, RULE + "budgets: {rules: [{name: flood, creations: 1, within_hours: 8000}]}")
    item = opened(machine)
    person.close_item(item.id, "fixed")
    clock.advance(HOUR_S)
    person.cleanup(0)
    assert machine.find(item.id) is None
    assert [(one.verdict, one.id) for one in (report(machine) for _ in range(4))] == [
        ("held", item.id), ("held", item.id), ("held", item.id), ("reopened", item.id),
    ]  # fmt: skip
    assert machine.occurrences(machine.get(item.id)) == 4


def test_what_returns_after_a_purge_waits_for_its_run_once(machine: Backlog, person: Backlog, clock: StepClock) -> None:
    """The run that reached the threshold reopens it when it ends, and is not asked for the threshold again."""
    put(person)
    item = opened(machine)
    person.close_item(item.id, "fixed")
    clock.advance(HOUR_S)
    person.cleanup(0)
    assert [report(machine).verdict for _ in range(3)] == ["held"] * 3
    fuzzer = machine.acting_as("fuzzer")
    run = fuzzer.execute(BeginRun(source="fuzzer", scope=RunScope(services=("shop",)))).outcomes[0].id
    draft = Draft(title="crash", dedupe_key="k", source="fuzzer", service="shop")
    assert fuzzer.execute(Report(drafts=(draft,), run=run)).outcomes[0].why == RUN_REOPENS
    fuzzer.execute(CompleteRun(run=run, source="fuzzer"))
    found = machine.get(item.id)
    assert (found.status, machine.occurrences(found)) == ("open", 4)


def test_nothing_is_concluded_from_what_was_not_counted(machine: Backlog, person: Backlog, clock: StepClock) -> None:
    """An item that is older than the policy is only judged once its reports were counted for a whole window."""
    report(machine)
    put(person)
    for _ in range(3):
        clock.advance(24 * HOUR_S)
        report(machine)
        put(person, RULE + f"# {clock()}\n")
    clock.advance(24 * HOUR_S)
    assert closed(machine) == []
    assert machine.execute(Deactivate(ids=(report(machine).id,))).outcomes[0].why.startswith("it is not below")


def test_what_people_hold_or_others_report_stays_open(machine: Backlog, person: Backlog, clock: StepClock) -> None:
    """A person's hand and a source that the rule is not about keep it open, and that is said."""
    put(person)
    item = opened(machine)
    report(machine, "alert")
    clock.advance(49 * HOUR_S)
    assert closed(machine) == []
    assert [one.kept_by for one in machine.work.quiet()] == ["alert reports it, and the rule is not about that"]
    machine.resolve("prod", "alert", ["k"], proof="over")
    person.edit(item.id, owner="ann")
    clock.advance(49 * HOUR_S)
    assert machine.execute(Deactivate(ids=(item.id,))).outcomes[0].why == "ann has taken it over"
    person.edit(item.id, release=("owner",))
    assert closed(machine) == [item.id]


def test_without_a_lower_threshold_nothing_is_counted_or_closed(
    machine: Backlog, person: Backlog, clock: StepClock
) -> None:
    """The rule as it was before costs what it did before: no record for what is open."""
    put(person, "activation: {rules: [{name: flaky, sightings: 4}]}")
    opened(machine)
    report(machine)
    assert machine.read(lambda reader: reader.scan("proposal", "active/", "", 10)) == []
    clock.advance(1_000 * HOUR_S)
    assert closed(machine) == []


@pytest.mark.parametrize("name", ["jsonl", "sqlite", "postgres"])
def test_every_backend_closes_the_same(request: pytest.FixtureRequest, tmp_path: Path, name: str) -> None:
    """What is counted is stored: the durable backends conclude what memory does, and a report in time is seen."""
    clock = StepClock()
    executor = LocalExecutor(new_stores(name, request, tmp_path)()())
    with Backlog(executor, actor="fuzzer", clock=clock, ids=CountingIds()) as backlog:
        put(backlog.acting_as("ann", person=True))
        item = opened(backlog)
        for _ in range(3):
            clock.advance(20 * HOUR_S)
            report(backlog)
        assert closed(backlog) == []
        clock.advance(30 * HOUR_S)
        assert closed(backlog) == [item.id]
        assert backlog.read(verify).faults == []
