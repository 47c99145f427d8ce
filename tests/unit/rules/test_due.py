"""
Due dates by policy: which day an item gets when it is opened, and whose word stands.
"""

from __future__ import annotations

from backlog_store.backlog import Backlog
from backlog_store.commands import ApplyPolicy, Close, Create, Edit, Outcome, Reopen, Report
from backlog_store.model import Draft, Item
from backlog_store.policy.loading import load_policy
from backlog_store.rules.dates import dated
from backlog_store.rules.explaining import reasons
from backlog_store.rules.policies import policy_in_force
from backlog_store.testing.clocks import StepClock

DUE = """
calendars:
  named:
    office: {zone: Europe/Berlin, closed: [2026-03-02]}
due:
  rules:
    - {name: by the week, days: 7}
    - {name: lint never, when: {category: lint}, none: true}
    - {name: urgent, when: {priority: [P0, P1]}, business_days: 2, calendar: office}
"""


def put(person: Backlog, text: str = DUE) -> None:
    """
    Put a policy in force over whatever is.
    """
    person.execute(ApplyPolicy(text=text, over=person.read(policy_in_force).revision))


def report(backlog: Backlog, key: str = "k", **fields: str) -> Outcome:
    """
    Report one problem.
    """
    return backlog.upsert({"title": key, "dedupe_key": key, "source": "scanner", **fields})


def item(outcome: Outcome) -> Item:
    """
    Return the item of an outcome.
    """
    assert outcome.item is not None
    return outcome.item


def test_sunday_evening_counts_working_days_and_skips_the_closed_one(machine: Backlog, person: Backlog) -> None:
    """Two business days after Sunday 1 March 2026, with Monday closed, is Wednesday; the event says by which rule."""
    put(person)
    found = item(report(machine, priority="P0", observed_at="2026-03-01T20:00:00.000000Z"))
    assert found.due_date == "2026-03-04"
    said = {"rule": "urgent", "line": 9, "calendar": "office", "business_days": 2}
    assert machine.trail(found.id)[0].meta["due_date"] == said
    due = next(one for one in reasons(found, machine.trail(found.id), machine.read(policy_in_force), found.created_at)
               if one.field == "due_date")  # fmt: skip
    assert due.why == "policy rule urgent, line 9: 2 business days after it was seen, calendar office"


def test_none_means_none(machine: Backlog, person: Backlog) -> None:
    """DefectDojo #10657: what has no term is not due at once; neither `none` nor the report's own days make it so."""
    put(person)
    draft = Draft(title="a", dedupe_key="a", source="scanner", category="lint")
    found = machine.execute(Report(drafts=(draft,), due_days={"P2": 5})).outcomes[0]
    assert item(found).due_date == ""


def test_without_the_section_the_days_of_the_report_hold(machine: Backlog, person: Backlog) -> None:
    """A policy about something else leaves due dates as they were."""
    put(person, "priority: {rules: []}")
    draft = Draft(title="a", dedupe_key="a", source="scanner", observed_at="2026-03-01T20:00:00.000000Z")
    assert item(machine.execute(Report(drafts=(draft,), due_days={"P2": 5})).outcomes[0]).due_date == "2026-03-06"
    assert item(report(machine, "b")).due_date == ""


def test_a_day_that_is_named_stands(machine: Backlog, person: Backlog) -> None:
    """Who opens an item knows better: neither a draft's day nor a person's is replaced, when it comes back either."""
    put(person)
    assert item(report(machine, "a", due_date="2026-04-01")).due_date == "2026-04-01"
    found = item(report(machine, "b"))
    person.execute(Edit(id=found.id, fields={"due_date": "2026-05-05"}))
    machine.execute(Close(id=found.id))
    again = report(machine, "b", observed_at="2027-01-01T00:00:00.000000Z")
    assert (again.verdict, item(again).due_date) == ("reopened", "2026-05-05")


def test_an_item_that_returns_is_not_overdue_at_once(machine: Backlog, person: Backlog, clock: StepClock) -> None:
    """The day of the episode that is over is none of the next one's, whoever opens it again."""
    put(person)
    first = item(report(machine, "a"))
    machine.execute(Close(id=first.id))
    clock.advance(60 * 86_400)
    by_hand = item(person.execute(Reopen(id=first.id, message="it is back")).outcomes[0])
    assert by_hand.due_date > clock()[:10] > first.due_date
    assert person.trail(first.id)[-1].meta["due_date"]["rule"] == "by the week"
    person.execute(Close(id=first.id))
    clock.advance(60 * 86_400)
    assert item(report(machine, "a")).due_date > clock()[:10] > by_hand.due_date


def test_what_a_person_files_gets_a_day_and_what_is_imported_keeps_its_own(person: Backlog) -> None:
    """An import of old items does not promise new days for them."""
    put(person)
    new = item(person.execute(Create(draft=Draft(title="a", priority="P2"))).outcomes[0])
    assert new.due_date > new.created_at[:10]
    old = Create(draft=Draft(title="b"), created_at="2020-01-01T00:00:00.000000Z")
    assert item(person.execute(old).outcomes[0]).due_date == ""


def test_the_same_day_with_every_clock_that_is_not_asked() -> None:
    """The day follows from policy, item and instant alone: deciding again gives the same."""
    policy = load_policy(DUE).policy
    assert policy is not None
    one = Item(id="bl_a", title="a", env="prod", status="open", priority="P1", created_at="", updated_at="", revision=1)
    seen_at = "2026-03-06T23:30:00.000000Z"  # it is Saturday in Berlin by then
    assert {dated(policy, one, {}, seen_at)[0].due_date for _ in range(3)} == {"2026-03-10"}


def test_an_undated_report_gives_no_date_whatever_the_policy_says(machine: Backlog, person: Backlog) -> None:
    """`--no-due`: what it opens and reopens has no day; a day that a draft names stands all the same."""
    put(person)
    drafts = (Draft(title="a", dedupe_key="a"), Draft(title="b", dedupe_key="b", due_date="2030-01-01"))
    first = machine.execute(Report(drafts=drafts, undated=True)).outcomes
    assert [item(one).due_date for one in first] == ["", "2030-01-01"]
    machine.execute(Close(id=first[0].id))
    assert item(machine.execute(Report(drafts=drafts[:1], undated=True)).outcomes[0]).due_date == ""
    assert item(report(machine, "c")).due_date != ""
