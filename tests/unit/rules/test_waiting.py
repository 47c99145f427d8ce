"""
Problems that are not opened at once: seen too seldom, or more than their source may open.
"""

from __future__ import annotations

import pytest

from backlog_store.access import Scope
from backlog_store.backlog import Backlog
from backlog_store.commands import ApplyPolicy, Report
from backlog_store.errors import InvalidInput
from backlog_store.model import Draft, Item
from backlog_store.testing.clocks import StepClock
from backlog_store.verify import verify

HOUR_S = 3_600.0
STORM = "storm:fuzzer:flood"


def drafts(*numbers: int, source: str = "fuzzer") -> tuple[Draft, ...]:
    """
    Return the drafts of these crashes.
    """
    return tuple(Draft(title=f"crash {number}", source=source, dedupe_key=f"{source}:{number}") for number in numbers)


def report(backlog: Backlog, *some: Draft) -> list[str]:
    """
    Report, and return the verdicts.
    """
    return [outcome.verdict for outcome in backlog.execute(Report(drafts=some)).outcomes]


def the_item(backlog: Backlog, key: str) -> Item:
    """
    Return the item of a key.
    """
    item = backlog.get_by_key(key)
    assert item is not None
    return item


def policy(person: Backlog, text: str, over: int = 0) -> None:
    """
    Put a policy in force.
    """
    person.execute(ApplyPolicy(text=text, over=over))


def test_a_problem_opens_once_it_was_seen_often_enough(machine: Backlog, person: Backlog, clock: StepClock) -> None:
    """
    Within the window; what was counted before is counted of the item.
    """
    policy(person, "activation: {rules: [{name: flaky, when: {source: fuzzer}, sightings: 3, within_hours: 24}]}")
    assert report(machine, *drafts(1)) == ["held"]
    clock.advance(30 * HOUR_S)  # the first one is too long ago by now
    assert [report(machine, *drafts(1))[0] for _ in range(3)] == ["held", "held", "created"]

    item = the_item(machine, "fuzzer:1")
    assert machine.occurrences(item) == 4
    assert report(machine, *drafts(1)) == ["unchanged"]
    assert report(machine, *drafts(1, source="other")) == ["created"]


def test_clusterfuzz_2533_a_flood_is_one_item_and_no_signal_is_lost(machine: Backlog, person: Backlog) -> None:
    """
    1,000 new problems of one source: three items, and one that counts and lists the rest.
    """
    policy(person, "budgets: {rules: [{name: flood, when: {source: fuzzer}, creations: 3, within_hours: 24}]}")
    verdicts = report(machine, *drafts(*range(1_000)))
    assert (verdicts.count("created"), verdicts.count("held")) == (3, 997)
    assert len(list(machine.each())) == 4

    storm = the_item(machine, STORM)
    assert (storm.meta["held"], storm.evidence_totals["held"], storm.category) == (997, 997, "storm")
    report(machine, *drafts(*range(1_000)))
    assert the_item(machine, STORM).revision == storm.revision, "the same flood again is no news"
    assert report(machine, *drafts(1, source="other")) == ["created"]


def test_a_storm_dissolves(machine: Backlog, person: Backlog, clock: StepClock) -> None:
    """
    Once there is room, the next reports open what it held, with all that was counted; then it is closed.
    """
    policy(person, "budgets: {rules: [{name: flood, creations: 3, within_hours: 24}]}")
    for _ in range(2):
        report(machine, *drafts(*range(6)))
    assert the_item(machine, STORM).meta["held"] == 3
    clock.advance(26 * HOUR_S)
    assert report(machine, *drafts(*range(6))) == [*["unchanged"] * 3, *["created"] * 3]

    storm = the_item(machine, STORM)
    assert (storm.status, storm.meta["held"], machine.trail(storm.id)[-1].meta) == ("done", 0, {"proof": "dissolved"})
    assert machine.occurrences(the_item(machine, "fuzzer:5")) == 3
    report(machine, *drafts(*range(10, 20)))
    assert the_item(machine, STORM).meta["held"] == 10
    assert the_item(machine, STORM).episode == 2


def test_a_storm_that_a_person_closed_dissolves_again(machine: Backlog, person: Backlog, clock: StepClock) -> None:
    """
    That a person closed one flood holds nothing in the next one: it opens, and closes by itself.
    """
    policy(person, "budgets: {rules: [{name: flood, creations: 1, within_hours: 24}]}")
    report(machine, *drafts(1, 2))
    person.close_item(the_item(machine, STORM).id, "fixed")
    assert report(machine, *drafts(3)) == ["held"]
    storm = the_item(machine, STORM)
    assert (storm.status, storm.episode, storm.held) == ("open", 2, {})
    for number in (2, 3):
        clock.advance(26 * HOUR_S)
        assert report(machine, *drafts(number)) == ["created"]
    storm = the_item(machine, STORM)
    assert (storm.status, storm.meta["held"]) == ("done", 0)


def test_what_a_storm_holds_leaves_it_by_a_return_too(machine: Backlog, person: Backlog) -> None:
    """
    A person filed and closed it meanwhile; once its reports reopen it, the storm holds nothing more.
    """
    policy(
        person,
        """
activation: {rules: [{name: flaky, sightings: 2, within_hours: 24, close_below: 1}]}
budgets: {rules: [{name: flood, creations: 1, within_hours: 24}]}
""",
    )
    assert [report(machine, *drafts(1, 2)) for _ in range(2)] == [["held", "held"], ["created", "held"]]
    item = person.create({"title": "crash 2", "dedupe_key": "fuzzer:2"})
    person.close_item(item.id, "fixed")
    assert report(machine, *drafts(2)) == ["reopened"]
    assert (the_item(machine, STORM).status, the_item(machine, STORM).meta["held"]) == ("done", 0)


def test_a_storm_that_was_purged_comes_back(machine: Backlog, person: Backlog) -> None:
    """
    Under its old id, going on where it was.
    """
    policy(person, "budgets: {rules: [{name: flood, creations: 1}]}")
    report(machine, *drafts(1, 2))
    first = the_item(machine, STORM)
    person.close_item(first.id, "fixed")
    person.cleanup(0)
    assert machine.get_by_key(STORM) is None
    assert report(machine, *drafts(3)) == ["held"]
    storm = the_item(machine, STORM)
    assert (storm.id, storm.status, storm.episode) == (first.id, "open", 2)


def test_a_storm_that_was_moved_and_purged_leaves_its_id_alone(machine: Backlog, person: Backlog) -> None:
    """
    Another flood is another item: an id once given stays with its item, whose history would go on under it.
    """
    policy(person, "budgets: {rules: [{name: flood, creations: 1}]}")
    report(machine, *drafts(1, 2))
    first = the_item(machine, STORM)
    person.edit(first.id, env="staging")
    person.close_item(first.id, "fixed")
    person.cleanup(0)
    assert report(machine, *drafts(3)) == ["held"]
    storm = the_item(machine, STORM)
    assert (storm.id != first.id, storm.revision, storm.meta["held"]) == (True, 1, 1)
    assert report(machine, *drafts(4)) == ["held"]
    assert the_item(machine, STORM).meta["held"] == 2
    assert not machine.read(verify).faults


def test_what_a_purged_storm_held_opens_by_itself(machine: Backlog, person: Backlog, clock: StepClock) -> None:
    """
    Nothing is left that could count it, and nothing stands in its way.
    """
    policy(person, "budgets: {rules: [{name: flood, creations: 1, within_hours: 24}]}")
    report(machine, *drafts(1, 2))
    person.close_item(the_item(machine, STORM).id, "fixed")
    person.cleanup(0)
    clock.advance(26 * HOUR_S)
    assert report(machine, *drafts(2)) == ["created"]
    assert machine.get_by_key(STORM) is None


def test_a_reporter_of_one_service_shares_the_storm_of_its_source(machine: Backlog, person: Backlog) -> None:
    """
    It counts there although the credential does not reach the storm itself.
    """
    policy(person, "budgets: {rules: [{name: flood, creations: 1}]}")
    bound = machine.acting_as("fuzzer", scope=Scope(role="reporter", services=("checkout",)))
    for number in range(3):
        bound.execute(Report(drafts=(Draft(title="x", service="checkout", source="fuzzer", dedupe_key=f"c{number}"),)))
    assert the_item(machine, STORM).meta["held"] == 2


def test_a_raised_budget_lets_them_in(machine: Backlog, person: Backlog) -> None:
    """
    By the next report, under the policy that is in force then.
    """
    policy(person, "budgets: {rules: [{name: flood, creations: 1}]}")
    assert report(machine, *drafts(1, 2, 3)) == ["created", "held", "held"]
    policy(person, "budgets: {rules: [{name: flood, creations: 10}]}", over=1)
    assert report(machine, *drafts(1, 2, 3)) == ["unchanged", "created", "created"]


def test_a_plan_of_a_flood_is_what_happens(machine: Backlog, person: Backlog) -> None:
    """
    Also across chunks: the budget is spent once.
    """
    policy(person, "budgets: {rules: [{name: flood, creations: 3}]}")
    planner = machine.planner()
    shown = [planner.execute(Report(drafts=part)).counts() for part in (drafts(1, 2), drafts(3, 4, 5))]
    assert shown == [{"created": 2}, {"created": 1, "held": 2}]
    assert [answer.counts() for answer in machine.apply(planner.plan()).answers] == shown


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("budgets: {rules: [{name: a, creations: 1}, {name: b, creations: 2}]}", "is never reached"),
        (
            "budgets: {rules: [{name: a, when: {source: x}, creations: 1}, {name: a, creations: 2}]}",
            "is already the name",
        ),
        ("activation: {rules: [{name: a, sightings: 1}]}", "2"),
    ],
)
def test_rules_that_say_nothing_are_refused(person: Backlog, text: str, reason: str) -> None:
    """
    An unreachable rule, a name that stands twice, a threshold that holds nothing back.
    """
    with pytest.raises(InvalidInput, match=reason):
        policy(person, text)
