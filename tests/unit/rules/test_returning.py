"""
What a report does to a closed problem: by default as ever, and by the windows of a policy.
"""

from __future__ import annotations

import pytest

from backlog_store.backlog import Backlog
from backlog_store.commands import ApplyPolicy, BeginRun, CompleteRun, Outcome, Report, RunScope
from backlog_store.instants import add_seconds
from backlog_store.model import CLOSING_REASONS, Draft
from backlog_store.rules.explaining import reasons
from backlog_store.rules.policies import policy_in_force
from backlog_store.rules.sla import sla_of
from backlog_store.testing.clocks import StepClock

DAY_S = 86_400.0
WINDOWS = """
reopen:
  rules:
    - {name: flaps, reason: [fixed], within: 7d, then: same_episode}
    - {name: a year, reason: [wont_fix, obsolete], after: 52w, then: new_episode}
    - {name: noise, reason: [fixed], when: {source: chatty}, within: 1d, then: stay_closed}
"""
DUE = "\ndue: {rules: [{name: month, days: 30}]}\nsla: {targets: [{name: all, close_hours: 100}]}\n"


def put(person: Backlog, text: str) -> None:
    """
    Put a policy in force over whatever is.
    """
    person.execute(ApplyPolicy(text=text, over=person.read(policy_in_force).revision))


def report(machine: Backlog, key: str = "k", source: str = "scanner", **fields: str) -> Outcome:
    """
    Report one problem.
    """
    return machine.upsert({"title": key, "dedupe_key": key, "source": source, **fields})


def closed(machine: Backlog, person: Backlog, reason: str = "fixed", key: str = "k") -> str:
    """
    Return the id of an item that a person closed for a reason.
    """
    id = report(machine, key).id
    if reason == "accepted_risk":
        person.accept(id, approver="bob", expires_at=add_seconds(machine.clock(), 30 * DAY_S))
    elif reason == "duplicate":
        person.close_item(id, reason, duplicate_of=report(machine, f"{key}-original").id)
    else:
        person.close_item(id, reason)
    return id


def test_a_policy_that_says_nothing_of_it_changes_nothing(machine: Backlog, person: Backlog, clock: StepClock) -> None:
    """
    An empty section decides as none does: what is fixed returns, an ended acceptance too, all else stays closed.
    """
    found = {}
    for text in ("", "reopen: {}"):
        put(person, text)
        for reason in CLOSING_REASONS:
            closed(machine, person, reason, f"{reason}{text}")
        clock.advance(40 * DAY_S)
        found[text] = [
            (answer.verdict, answer.why) for answer in (report(machine, f"{one}{text}") for one in CLOSING_REASONS)
        ]
    assert found[""] == found["reopen: {}"]
    verdicts = dict(zip(CLOSING_REASONS, [verdict for verdict, _ in found[""]], strict=True))
    assert {reason for reason, verdict in verdicts.items() if verdict == "reopened"} == {"fixed", "accepted_risk"}
    assert set(verdicts.values()) == {"reopened", "suppressed"}


def test_a_return_within_the_window_goes_on_with_the_episode(
    machine: Backlog, person: Backlog, clock: StepClock
) -> None:
    """
    A fix that did not hold is the same work: its due date, its owner and what people hold stay.
    """
    put(person, WINDOWS + DUE)
    id = closed(machine, person)
    before = machine.get(id)
    clock.advance(6 * DAY_S)

    assert report(machine).verdict == "reopened"

    after = machine.get(id)
    assert (after.episode, after.status, after.due_date) == (1, "open", before.due_date)
    assert after.held == {"status": "ann"}
    event = machine.trail(id)[-1]
    assert (event.type, event.meta["reopen"]) == ("reopened", {"rule": "flaps", "line": 4})


def test_a_return_after_the_window_is_a_new_episode(machine: Backlog, person: Backlog, clock: StepClock) -> None:
    """
    At the very end of the window the problem is new: another due date, and nobody holds it.
    """
    put(person, WINDOWS + DUE)
    id = closed(machine, person)
    before = machine.get(id)
    clock.advance(7 * DAY_S)

    assert report(machine).verdict == "reopened"

    after = machine.get(id)
    assert (after.episode, after.held) == (2, {})
    assert after.due_date > before.due_date
    assert "reopen" not in machine.trail(id)[-1].meta


def test_the_clock_of_an_episode_that_goes_on_counts_no_closed_time(
    machine: Backlog, person: Backlog, clock: StepClock
) -> None:
    """
    What was spent before the closing counts on; what passed while it was closed does not.
    """
    put(person, WINDOWS + DUE)
    id = report(machine).id
    clock.advance(50 * 3_600.0)
    person.close_item(id)
    clock.advance(6 * DAY_S)
    report(machine)
    clock.advance(10 * 3_600.0)

    (state,) = sla_of(machine.get(id), machine.trail(id), machine.read(policy_in_force), clock())

    assert state.state == "running"
    assert state.spent_s == pytest.approx(60 * 3_600.0, abs=60)


def test_a_closing_that_is_undone_breaks_no_clock(machine: Backlog, person: Backlog, clock: StepClock) -> None:
    """
    Undoing a closing goes on with the episode, so the clock does not begin anew.
    """
    put(person, DUE)
    id = report(machine).id
    clock.advance(50 * 3_600.0)
    person.close_item(id)
    person.undo(machine.trail(id)[-1].batch)
    clock.advance(10 * 3_600.0)

    (state,) = sla_of(machine.get(id), machine.trail(id), machine.read(policy_in_force), clock())

    assert state.spent_s == pytest.approx(60 * 3_600.0, abs=60)


@pytest.mark.parametrize(("weeks", "verdict"), [(51, "suppressed"), (52, "reopened")])
def test_a_decision_is_looked_at_again_after_its_time(
    machine: Backlog, person: Backlog, clock: StepClock, weeks: int, verdict: str
) -> None:
    """
    What nobody wanted to fix comes back for a look once its window begins, and not before.
    """
    put(person, WINDOWS)
    closed(machine, person, "wont_fix")
    clock.advance(weeks * 7 * DAY_S)
    assert report(machine).verdict == verdict


def test_the_verdict_of_a_purged_item_follows_the_same_windows(
    machine: Backlog, person: Backlog, clock: StepClock
) -> None:
    """
    The time counts from the decision, not from the purge; what is gone has no episode to go on with.
    """
    put(person, WINDOWS)
    closed(machine, person, "wont_fix")
    closed(machine, person, "fixed", "flap")
    clock.advance(DAY_S)
    assert machine.cleanup(0) == 2
    assert report(machine).verdict == "suppressed"
    back = report(machine, "flap")
    assert back.verdict == "reopened"
    assert machine.get(back.id).episode == 2
    clock.advance(52 * 7 * DAY_S)
    assert report(machine).verdict == "reopened"


def test_a_report_from_before_a_purge_is_one_from_behind_the_close(
    machine: Backlog, person: Backlog, clock: StepClock
) -> None:
    """
    What was seen after a problem was fixed returns, though it comes in once the item was let go; older reports do not.
    """
    before = clock()
    closed(machine, person, "fixed")
    seen_at = clock()
    clock.advance(DAY_S)
    assert machine.cleanup(0) == 1
    assert report(machine, observed_at=before).verdict == "suppressed"
    assert report(machine, observed_at=seen_at).verdict == "reopened"


def test_what_is_held_for_a_run_returns_though_it_is_purged_meanwhile(
    machine: Backlog, person: Backlog, clock: StepClock
) -> None:
    """
    A run that goes on while the item it saw again is let go reopens it all the same when it ends.
    """
    id = closed(machine, person, "fixed")
    item = machine.get(id)
    run = machine.execute(BeginRun(source=item.source, scope=RunScope(services=("shop",)))).outcomes[0].id
    draft = Draft(title="again", dedupe_key=item.dedupe_key, source=item.source, service="shop")
    assert machine.execute(Report(drafts=(draft,), run=run)).outcomes[0].verdict == "held"
    clock.advance(DAY_S)
    assert machine.cleanup(0) == 1
    machine.execute(CompleteRun(run=run, source=item.source))
    assert machine.get(id).status == "open"


def test_the_last_rule_that_matches_the_report_wins(machine: Backlog, person: Backlog, clock: StepClock) -> None:
    """
    A rule about a source sees who reports it now; the answer names rule and line.
    """
    put(person, WINDOWS)
    closed(machine, person)
    clock.advance(3_600.0)
    held = report(machine, source="chatty")
    assert (held.verdict, held.why) == ("suppressed", "closed as fixed, and stays so (policy rule noise, line 6)")
    assert report(machine).verdict == "reopened"


def test_sentry_44881_an_old_report_reopens_nothing_whatever_a_rule_says(
    machine: Backlog, person: Backlog, clock: StepClock
) -> None:
    """
    What counts as a return is frozen at the closing: an older sighting is none, in no window.
    """
    put(person, "reopen: {rules: [{reason: [fixed, wont_fix], then: same_episode}]}")
    seen_at = clock()
    for reason in ("fixed", "wont_fix"):
        clock.advance(60)
        closed(machine, person, reason, reason)
        assert report(machine, reason, observed_at=seen_at).verdict == "suppressed"
        assert report(machine, reason).verdict == "reopened"


def test_an_accepted_risk_stays_so_until_its_end(machine: Backlog, person: Backlog, clock: StepClock) -> None:
    """
    No rule ends an acceptance early, and the window begins at its end.
    """
    put(person, "reopen: {rules: [{reason: [accepted_risk], within: 2d, then: stay_closed}]}")
    closed(machine, person, "accepted_risk")
    assert report(machine).why.startswith("accepted until")
    clock.advance(31 * DAY_S)
    assert "stays so" in report(machine).why
    clock.advance(2 * DAY_S)
    assert report(machine).verdict == "reopened"


def test_a_lifted_verdict_asks_no_rule(machine: Backlog, person: Backlog) -> None:
    """
    A person who lifts a verdict wants the next report to open it.
    """
    put(person, "reopen: {rules: [{reason: [wont_fix], then: stay_closed}]}")
    closed(machine, person, "wont_fix")
    person.lift_verdict("k")
    assert report(machine).verdict == "reopened"


def test_explain_says_what_one_more_report_would_do(machine: Backlog, person: Backlog, clock: StepClock) -> None:
    """
    Of a closed item the answer that its next report gets is told, with the rule.
    """
    put(person, WINDOWS)
    id = closed(machine, person)
    policy = machine.read(policy_in_force)
    found = {one.field: one for one in reasons(machine.get(id), machine.trail(id), policy, clock())}
    assert (found["reopen"].value, found["reopen"].why) == (
        "same_episode", "if it is reported now: policy rule flaps, line 4")  # fmt: skip
    later = {one.field: one for one in reasons(machine.get(id), machine.trail(id), policy,
                                               add_seconds(clock(), 8 * DAY_S))}  # fmt: skip
    assert later["reopen"].value == "new_episode"


def test_defectdojo_14012_a_closed_match_neither_stops_dedup_nor_makes_a_copy(
    machine: Backlog, person: Backlog, clock: StepClock
) -> None:
    """
    Whatever a rule makes of the return, the key has its one item: closed, gone on with, or in a new episode.
    """
    put(person, WINDOWS)
    ids = set()
    for reason, wait_s in (("fixed", 60.0), ("fixed", 30 * DAY_S), ("wont_fix", 60.0), ("wont_fix", 400 * DAY_S)):
        item = machine.get_by_key("k")
        ids.add(closed(machine, person, reason) if item is None or item.status == "open" else item.id)
        clock.advance(wait_s)
        ids.add(report(machine).id)
    assert len(ids) == 1
    assert len(list(machine.each())) == 1


def test_alertmanager_3959_an_acknowledgement_is_for_its_episode(
    machine: Backlog, person: Backlog, clock: StepClock
) -> None:
    """
    Who took the old incident does not hold the new one, unless the policy says that it is the same work.
    """
    put(person, WINDOWS)
    id = report(machine).id
    person.edit(id, owner="ann")
    person.move(id, "in_progress")
    person.close_item(id)
    clock.advance(DAY_S)
    report(machine)
    assert machine.get(id).held == {"owner": "ann", "status": "ann"}
    person.close_item(id)
    clock.advance(8 * DAY_S)
    report(machine)
    assert (machine.get(id).status, machine.get(id).held) == ("open", {})


def test_sentry_34948_what_retention_let_go_does_not_come_back_as_new(
    machine: Backlog, person: Backlog, clock: StepClock
) -> None:
    """
    The verdict of a key outlives its item for ever: years later the report is told what was decided.
    """
    put(person, "retention: {closed_days: 30, history_days: 30}")
    id = closed(machine, person, "false_positive")
    clock.advance(2_000 * DAY_S)
    assert machine.maintain().purged == 1
    outcome = report(machine)
    assert (outcome.verdict, outcome.id, outcome.why) == ("suppressed", id, "closed as false_positive")
