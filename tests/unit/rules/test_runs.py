"""
Runs: what a complete one may close and reopen, what proves nothing, and what a person decides.
"""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from msgspec.structs import replace

from backlog_store.backlog import Backlog
from backlog_store.commands import ApplyPolicy, BeginRun, CompleteRun, Edit, RunScope
from backlog_store.errors import Conflict, InvalidInput, NotAllowed, NotFound
from backlog_store.instants import add_seconds
from backlog_store.model import Draft, Item
from backlog_store.rules.runs import named
from backlog_store.running import Ended, Running
from backlog_store.testing.clocks import StepClock

DAY_S = 86_400.0


def a_draft(number: int, *, service: str = "checkout", source: str = "ruff", rule: str = "E501") -> Draft:
    """
    Return the draft of a finding.
    """
    return Draft(title=f"finding {number}", service=service, source=source, dedupe_key=f"{source}:{service}:{number}",
                 key_inputs={"rule": rule})  # fmt: skip


class Scanner:
    """
    Runs over one scope, a day apart.
    """

    def __init__(self, backlog: Backlog, clock: StepClock, source: str = "ruff", **scope: object) -> None:
        self.backlog = backlog
        self.clock = clock
        self.source = source
        self.scope = {"services": ["checkout"]} | scope

    def __call__(self, drafts: Iterable[Draft], expected: int | None = None, **more: str) -> Ended:
        """
        Report these in a run of its own, and complete it.
        """
        self.clock.advance(DAY_S)
        run = self.backlog.begin_run(self.source, **self.scope)  # type: ignore[arg-type]
        list(run.report(drafts))
        return run.complete(expected, **more)


@pytest.fixture
def scan(machine: Backlog, clock: StepClock) -> Scanner:
    """
    Return a scanner of the service checkout.
    """
    return Scanner(machine, clock)


def live(backlog: Backlog, query: str = "") -> set[str]:
    """
    Return the titles of the items that are not closed.
    """
    return {item.title for item in backlog.each() if item.status in ("open", "in_progress", "blocked")}


def the_item(backlog: Backlog, number: int) -> Item:
    """
    Return the item of a finding.
    """
    item = backlog.get_by_key(f"ruff:checkout:{number}")
    assert item is not None
    return item


def crash_after(run: Running, some: list[Draft]) -> None:
    """
    Report some findings, and fail.
    """
    list(run.report(some))
    raise RuntimeError("the scanner crashed")


def drafts(*numbers: int) -> list[Draft]:
    """
    Return the drafts of these findings.
    """
    return [a_draft(number) for number in numbers]


def test_what_two_complete_runs_did_not_see_is_closed_with_its_proof(machine: Backlog, scan: Scanner) -> None:
    """
    The first miss says nothing; the second closes, and the event names both runs and when it was last seen.
    """
    scan(drafts(1, 2, 3))
    first = scan(drafts(1, 2))
    assert (first.state, first.counts()) == ("completed", {"held": 1})
    second = scan(drafts(1, 2))

    assert (second.state, second.counts()) == ("completed", {"closed": 1})
    item = the_item(machine, 3)
    assert (item.status, item.closed_reason, item.closed_by) == ("done", "fixed", "scanner")
    proof = machine.trail(item.id)[-1].meta
    assert proof == {"proof": "absent", "source": "ruff", "runs": [second.id, first.id],
                     "last_seen_at": item.claims["ruff"].last_at}  # fmt: skip


def test_a_run_does_not_pass_a_guard_of_the_workflow(machine: Backlog, person: Backlog, scan: Scanner) -> None:
    """Where only people close, complete runs that miss an item leave it open and say which guard did."""
    guard = "workflow:\n  guards:\n    - {name: people, to: [done], by: person}\n"
    person.apply_policy(guard, over=0)
    for numbers in ((1, 2), (1,), (1,), (1,)):
        scan(drafts(*numbers))
    kept = the_item(machine, 2)
    assert kept.status == "open"
    assert "guard 'people', line 3" in machine.trail(kept.id)[-1].meta["kept_open"]


def test_what_a_person_held_for_a_time_is_closed_after_it(machine: Backlog, person: Backlog, scan: Scanner) -> None:
    """A hold that is over keeps nothing open."""
    scan(drafts(1, 2))
    until = add_seconds(machine.clock(), 3_600)
    person.execute(Edit(id=the_item(machine, 2).id, fields={"owner": "ann"}, hold_until=until))
    for _ in range(3):
        scan(drafts(1))
    assert the_item(machine, 2).status == "done"


def test_nothing_is_closed_that_was_seen_a_moment_ago(machine: Backlog) -> None:
    """
    Runs that follow each other within minutes hold back: the minimum age has not passed.
    """
    reasons = []
    for numbers in ((1, 2), (1,), (1,), (1,)):
        run = machine.begin_run("ruff", services=["checkout"])
        list(run.report(drafts(*numbers)))
        reasons += [outcome.why for outcome in run.complete().outcomes]

    assert live(machine) == {"finding 1", "finding 2"}
    assert [reason.partition(",")[2] for reason in reasons[1:]] == [" less than 1 hours ago"] * 2


def test_defectdojo_8100_the_same_report_again_closes_nothing(machine: Backlog, clock: StepClock) -> None:
    """
    A report that leaves out 46 of 78 findings, taken in again and again within the hour, is one run, not many misses.
    """
    scan = Scanner(machine, clock)
    scan([a_draft(number) for number in range(78)])
    part = [a_draft(number) for number in range(45)]
    scan(part, digest="of the part")
    for _ in range(5):
        run = machine.begin_run("ruff", services=["checkout"])
        list(run.report(part))
        ended = run.complete(digest="of the part")
        assert ended.state == "repeated"

    assert len(live(machine)) == 78


def test_defectdojo_8100_a_report_that_would_close_46_of_78_is_parked(machine: Backlog, scan: Scanner) -> None:
    """
    Too much for a machine alone: nothing is closed, and the proposal names what would be.
    """
    scan([a_draft(number) for number in range(78)])
    rest = [a_draft(number) for number in range(46, 78)] + [a_draft(number) for number in range(100, 140)]
    scan(rest)
    ended = scan(rest)

    assert (ended.state, ended.counts()) == ("parked", {"held": 46})
    assert ended.why == "it would close 46 items; of 118 in its scope at most 23 go unasked"
    assert len(live(machine)) == 118


def test_defectdojo_11320_the_report_of_another_service_closes_nothing(machine: Backlog, clock: StepClock) -> None:
    """
    What lies outside of the declared scope is no business of a run, whoever reported it.
    """
    scan = Scanner(machine, clock)
    search = Scanner(machine, clock, services=["search"])
    scan(drafts(1, 2, 3))
    for _ in range(4):
        search([a_draft(9, service="search")])

    assert live(machine) == {"finding 1", "finding 2", "finding 3", "finding 9"}


def test_a_run_over_another_branch_closes_nothing(machine: Backlog, clock: StepClock) -> None:
    """
    What was last seen on one ref is closed by runs over that ref alone.
    """
    main = Scanner(machine, clock, ref="main")
    release = Scanner(machine, clock, ref="release-1")
    main(drafts(1, 2))
    for _ in range(3):
        release(drafts(1))
    assert live(machine) == {"finding 1", "finding 2"}

    for _ in range(2):
        main(drafts(1))
    assert live(machine) == {"finding 1"}


def test_a_run_with_some_rules_closes_only_what_they_found(machine: Backlog, clock: StepClock) -> None:
    """
    A rule that was switched off does not make its findings disappear.
    """
    Scanner(machine, clock)([a_draft(1), a_draft(2, rule="B101"), a_draft(3, rule="B101")])
    some = Scanner(machine, clock, rules=["B101"])
    some([a_draft(2, rule="B101"), a_draft(3, rule="B101")])
    for _ in range(3):
        some([a_draft(2, rule="B101")])

    assert live(machine) == {"finding 1", "finding 2"}


def test_a_wider_run_closes_what_a_narrower_one_saw_last(machine: Backlog, clock: StepClock) -> None:
    """
    A scope that grows takes over what lies inside of it.
    """
    Scanner(machine, clock)(drafts(1, 2))
    wide = Scanner(machine, clock, services=["checkout", "search"])
    for _ in range(2):
        wide(drafts(1))

    assert live(machine) == {"finding 1"}


@pytest.mark.parametrize("last", [[], drafts(1)])
def test_gitlab_536314_a_failed_scan_proves_nothing(machine: Backlog, scan: Scanner, last: list[Draft]) -> None:
    """
    Empty, or far shorter than the runs before: a thousand findings stay as they are, however often it comes.
    """
    some = [a_draft(number) for number in range(1_000)]
    scan(some)
    states = {scan(last).state for _ in range(4)}

    assert states == ({"short"} if last else {"empty"})
    assert len(live(machine)) == 1_000


def test_a_run_with_fewer_findings_than_expected_proves_nothing(machine: Backlog, scan: Scanner) -> None:
    """
    Whoever knows how many there should be says so.
    """
    scan(drafts(1, 2, 3))
    for _ in range(3):
        ended = scan(drafts(1, 2), expected=3)
        assert (ended.state, ended.why) == ("short", "2 findings were reported, 3 expected")

    assert len(live(machine)) == 3


def test_a_run_that_fails_half_way_proves_nothing(machine: Backlog, clock: StepClock, scan: Scanner) -> None:
    """
    An exception aborts it; what was reported so far stays reported.
    """
    scan(drafts(1, 2))
    for _ in range(3):
        clock.advance(DAY_S)
        run = machine.begin_run("ruff", services=["checkout"])
        with pytest.raises(RuntimeError, match="crashed"), run:
            crash_after(run, drafts(1, 3))
        assert machine.run(run.id)[1].why == "RuntimeError: the scanner crashed"

    assert live(machine) == {"finding 1", "finding 2", "finding 3"}


def test_a_refused_finding_makes_a_run_short(machine: Backlog, scan: Scanner) -> None:
    """
    A draft that could not be taken in may be the very problem that looks absent.
    """
    scan(drafts(1, 2))
    bad = Draft(title="", service="checkout", source="ruff", dedupe_key="x")
    for _ in range(3):
        assert scan([*drafts(1), bad]).state == "short"

    assert len(live(machine)) == 2


def test_what_a_person_has_taken_over_stays_open(machine: Backlog, person: Backlog, scan: Scanner) -> None:
    """
    In progress, assigned, snoozed, reopened or filed by a person: the claim is withdrawn, with the reason, once.
    """
    scan(drafts(1, 2, 3, 4, 5, 6))
    ids = [the_item(machine, number).id for number in range(1, 6)]
    person.move(ids[0], "in_progress")
    person.edit(ids[1], owner="bob")
    person.snooze(ids[2], "2030-01-01T00:00:00.000000Z")
    person.close_item(ids[3], "fixed")
    person.reopen(ids[3], "it is still there")
    filed = person.create({"title": "filed", "service": "checkout", "dedupe_key": "ruff:checkout:7"}).id
    scan(drafts(5, 6, 7))
    first, second, third = (scan(drafts(5, 6)) for _ in range(3))

    assert (first.counts(), second.counts(), third.counts()) == ({"updated": 4, "held": 1}, {"updated": 1}, {})
    assert live(machine) == {*(f"finding {number}" for number in range(1, 7)), "filed"}
    assert machine.trail(ids[0])[-1].meta["kept_open"] == "ann has taken it over"
    assert machine.trail(filed)[-1].meta["kept_open"] == "a person filed it"


def test_what_another_source_still_reports_stays_open_until_that_one_misses_it_too(
    machine: Backlog, clock: StepClock
) -> None:
    """
    The last source that sees a problem decides, whichever opened it.
    """
    ruff, bandit = Scanner(machine, clock), Scanner(machine, clock, "bandit")
    both = Draft(title="both", service="checkout", dedupe_key="shared")
    ruff([replace(both, source="ruff"), *drafts(1)])
    bandit([replace(both, source="bandit"), a_draft(2, source="bandit")])
    ended = [ruff(drafts(1)) for _ in range(2)][-1]
    assert [outcome.why for outcome in ended.outcomes] == ["bandit still reports it"]
    assert "both" in live(machine)

    for _ in range(2):
        bandit([a_draft(2, source="bandit")])
    assert "both" not in live(machine)


def test_a_person_undoes_a_close_and_it_stands(machine: Backlog, person: Backlog, scan: Scanner) -> None:
    """
    What was closed for its absence and set back by a person is not closed again on the same grounds.
    """
    scan(drafts(1, 2))
    scan(drafts(1))
    batch = scan(drafts(1)).batch
    assert live(machine) == {"finding 1"}
    person.undo(batch)
    scan(drafts(1))

    assert live(machine) == {"finding 1", "finding 2"}


def test_an_item_without_a_key_is_never_closed_by_absence(machine: Backlog, scan: Scanner) -> None:
    """
    It cannot be recognised when it is reported again, so its absence says nothing.
    """
    scan([Draft(title="unkeyed", service="checkout", source="ruff"), *drafts(1)])
    for _ in range(3):
        scan(drafts(1))

    assert live(machine) == {"unkeyed", "finding 1"}


def test_what_returns_in_a_run_is_reopened_when_it_ends(machine: Backlog, scan: Scanner) -> None:
    """
    Held until then, so that a run that would reopen too much can be parked; also where the run fails.
    """
    scan(drafts(1, 2))
    scan(drafts(1))
    scan(drafts(1))
    run = machine.begin_run("ruff", services=["checkout"])
    assert [outcome.verdict for _, outcome in run.report(drafts(1, 2))] == ["unchanged", "held"]
    assert live(machine) == {"finding 1"}
    ended = run.abort("out of memory")

    assert (ended.state, ended.counts()) == ("aborted", {"reopened": 1})
    item = the_item(machine, 2)
    assert (item.status, item.episode, item.claims["ruff"].run) == ("open", 2, run.id)
    assert machine.occurrences(item) == 2


def close_many(machine: Backlog, person: Backlog, scan: Scanner) -> None:
    """
    Let sixty items be known, and forty of them be closed.
    """
    scan([a_draft(number) for number in range(60)])
    for number in range(20, 60):
        person.close_item(the_item(machine, number).id, "fixed")


def test_a_run_that_reopens_too_much_is_parked(machine: Backlog, person: Backlog, scan: Scanner) -> None:
    """
    Accepted by a person it reopens what it was parked with; a machine may not accept it.
    """
    close_many(machine, person, scan)
    parked = scan([a_draft(number) for number in range(60)])
    assert (parked.state, parked.why) == (
        "parked",
        "it would reopen 40 items; of 20 in its scope at most 10 go unasked",
    )
    assert len(live(machine)) == 20
    with pytest.raises(NotAllowed, match="only a person"):
        machine.accept_run(parked.id)

    accepted = person.accept_run(parked.id, message="the branch was reset")
    assert (accepted.state, accepted.counts()) == ("completed", {"reopened": 40})
    run = machine.run(parked.id)[1]
    assert (run.reopened, run.judged_by, run.message) == (40, "ann", "the branch was reset")
    assert len(live(machine)) == 60


def test_a_rejected_run_changes_nothing_and_loses_no_report(machine: Backlog, person: Backlog, scan: Scanner) -> None:
    """
    What it reported again is counted, its proposals are gone, and it never was a complete run.
    """
    close_many(machine, person, scan)
    before = machine.occurrences(the_item(machine, 59))
    parked = scan([a_draft(number) for number in range(60)])
    rejected = person.reject_run(parked.id)

    assert (rejected.state, len(live(machine))) == ("rejected", 20)
    assert machine.occurrences(the_item(machine, 59)) == before + 1
    assert machine.read(lambda reader: reader.scan("proposal", "", "", 10)) == []


def test_an_accepted_proposal_leaves_what_changed_since(machine: Backlog, person: Backlog, scan: Scanner) -> None:
    """
    It closes just the items it was parked with, at the revisions it was parked with, and unseen since.
    """
    scan([a_draft(number) for number in range(40)])
    some = [a_draft(number) for number in range(21)]
    scan(some)
    parked = scan(some)
    assert (parked.state, parked.counts()) == ("parked", {"held": 19})
    person.comment(the_item(machine, 30).id, "I look into this")
    machine.upsert(a_draft(31))
    accepted = person.accept_run(parked.id)

    why = {outcome.item.title: outcome.why for outcome in accepted.outcomes if outcome.verdict == "held"}
    assert why == {"finding 30": "it was changed since", "finding 31": "it was reported again since"}
    assert accepted.counts() == {"closed": 17, "held": 2}
    assert len(live(machine)) == 23


def test_a_person_says_that_a_short_run_was_complete(machine: Backlog, person: Backlog, scan: Scanner) -> None:
    """
    Then it counts as a miss, and as what the next runs are measured by.
    """
    scan([a_draft(number) for number in range(30)])
    short = scan(drafts(1, 2))
    assert (short.state, person.accept_run(short.id).counts()) == ("short", {"held": 28})
    parked = scan(drafts(1, 2))
    assert (parked.state, parked.why) == ("parked", "it would close 28 items; of 30 in its scope at most 10 go unasked")
    accepted = person.accept_run(parked.id)

    assert (accepted.state, accepted.counts()) == ("completed", {"closed": 28})
    assert scan(drafts(1, 2)).state == "completed"


def test_repeating_a_run_is_harmless(machine: Backlog, scan: Scanner, clock: StepClock) -> None:
    """
    The same name begins the same run; the same reports are the same parts; completing again answers the same.
    """
    scan(drafts(1, 2))
    clock.advance(DAY_S)
    ids = set()
    for _ in range(2):
        run = machine.begin_run("ruff", services=["checkout"], name="ci-4711")
        for _ in range(2):
            list(run.report(drafts(1)))
        assert run.complete(1, digest="d").state == "completed"
        assert machine.run("ci-4711")[1].reported == 1
        ids.add(run.id)

    assert len(ids) == 1
    assert live(machine) == {"finding 1", "finding 2"}


def test_a_run_completed_twice_with_other_content_is_refused(machine: Backlog, scan: Scanner) -> None:
    """
    Saying something else about a run that ended is a mistake, not news.
    """
    run = machine.begin_run("ruff", services=["checkout"])
    list(run.report(drafts(1)))
    run.complete(digest="one")
    with pytest.raises(Conflict, match="completed already, with other content"):
        run.complete(digest="another")
    with pytest.raises(Conflict, match="is completed already"):
        run.abort("too late")


def test_a_run_completed_by_another_source_is_refused(machine: Backlog) -> None:
    """
    Each source ends its own runs.
    """
    run = machine.begin_run("ruff", services=["checkout"])
    with pytest.raises(NotAllowed, match="it is a run of ruff"):
        machine.execute(CompleteRun(run=run.id, source="bandit"))


def test_a_scope_that_matches_nothing_is_refused(machine: Backlog) -> None:
    """
    A misspelt service: nothing that was reported lies inside, and no item does.
    """
    run = machine.begin_run("ruff", services=["chekcout"])
    list(run.report(drafts(1)))
    with pytest.raises(InvalidInput, match="chekcout: matches no item, and none of the 1 findings"):
        run.complete()
    with pytest.raises(InvalidInput, match="name at least one service"):
        machine.begin_run("ruff", services=[])
    with pytest.raises(NotFound):
        machine.execute(CompleteRun(run="nothing", source="ruff"))


def test_a_large_run_closes_in_bounded_steps(machine: Backlog, person: Backlog, clock: StepClock) -> None:
    """
    1,200 items are closed by several transactions of 500 at most, all of one batch, and undone by one command.
    """
    scan = Scanner(machine, clock)
    scan([a_draft(number) for number in range(7_000)])
    some = [a_draft(number) for number in range(5_800)]
    scan(some)
    ended = scan(some)

    assert (ended.state, ended.counts()) == ("completed", {"closed": 1_200})
    assert machine.run(ended.id)[1].closed == 1_200
    assert len(live(machine)) == 5_800


def test_a_clock_that_goes_back_makes_no_run_older_than_the_one_before(machine: Backlog, clock: StepClock) -> None:
    """
    The order of runs is the order in which they began.
    """
    first = machine.begin_run("ruff", services=["checkout"])
    clock.advance(-3_600)
    second = machine.begin_run("ruff", services=["checkout"])

    assert machine.run(first.id)[1].started_at < machine.run(second.id)[1].started_at


def test_the_scope_is_the_same_in_any_order() -> None:
    """
    Services named in another order are the same lane.
    """
    one = BeginRun(source="ruff", scope=RunScope(services=("a", "b")), name="n")
    other = BeginRun(source="ruff", scope=RunScope(services=("b", "a", "b")), name="n")
    assert named(one) == named(other)


def test_the_policy_says_how_many_misses_it_takes(machine: Backlog, person: Backlog, scan: Scanner) -> None:
    """
    The section `closing` replaces the built-in bounds from the next run on.
    """
    scan([a_draft(number) for number in range(30)])
    text = "closing: {misses: 1, close_share: 0, close_floor: 3}"
    person.execute(ApplyPolicy(text=text, format="yaml", over=0))
    assert scan([a_draft(number) for number in range(3, 30)]).counts() == {"closed": 3}
    assert scan([a_draft(number) for number in range(7, 30)]).state == "parked"


def test_a_complete_run_supersedes_what_was_parked_before_it(machine: Backlog, person: Backlog, scan: Scanner) -> None:
    """
    What waits for a person is only what the newest look would do; the older proposal is gone and cannot be accepted.
    """
    drafts = [a_draft(number) for number in range(40)]
    scan(drafts)
    scan(drafts[:25])
    first = scan(drafts[:25])
    assert first.state == "parked"
    aborted = machine.begin_run("ruff", services=["checkout"])
    aborted.abort("it crashed")
    assert machine.run(first.id)[1].state == "parked"
    second = scan(drafts[:26])
    assert (second.state, machine.run(first.id)[1].state) == ("parked", "superseded")
    assert machine.run(first.id)[1].why == f"the run {second.id} looked again"
    with pytest.raises(Conflict, match="superseded"):
        person.accept_run(first.id)
    assert [record.id for record in machine.read(lambda reader: reader.scan("proposal", first.id, "", 10))] == []
    third = scan(drafts)
    assert (third.state, machine.run(second.id)[1].state) == ("completed", "superseded")
    assert len(live(machine)) == 40


def test_a_parked_run_that_was_judged_is_not_superseded(machine: Backlog, person: Backlog, scan: Scanner) -> None:
    """
    What a person decided stays decided.
    """
    drafts = [a_draft(number) for number in range(40)]
    scan(drafts)
    scan(drafts[:25])
    parked = scan(drafts[:25])
    person.reject_run(parked.id)
    scan(drafts)
    assert machine.run(parked.id)[1].state == "rejected"


def test_runs_are_let_go_long_after_they_ended(machine: Backlog, scan: Scanner, clock: StepClock) -> None:
    """
    A run goes with its parts once it ended, or began and never ended, half a year ago; its lane goes on as before.
    """
    drafts = [a_draft(number) for number in range(40)]
    first = scan(drafts)
    short = scan(drafts[:5])
    begun = machine.begin_run("ruff", services=["checkout"], name="lost")
    list(begun.report(drafts[:25]))
    assert machine.maintain().expired == 0
    clock.advance(181 * DAY_S)
    assert machine.maintain(None).expired >= 3
    known = machine.read(lambda reader: reader.scan("run", f"{first.id.partition('/')[0]}/", "", 10))
    assert [record.id for record in known if record.id.startswith((first.id, short.id, begun.id))] == []
    scan(drafts[:30])
    assert scan(drafts[:30]).counts()["closed"] == 10
