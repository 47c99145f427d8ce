"""
What one report means for the one item of its key.
"""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from backlog_store.backlog import Backlog
from backlog_store.commands import Outcome, Report, Resolve
from backlog_store.errors import InvalidInput, TransitionNotAllowed
from backlog_store.instants import add_seconds
from backlog_store.model import LIMITS, Draft
from backlog_store.testing.clocks import START, StepClock

DAY_S = 86_400


def report(backlog: Backlog, **fields: Any) -> Outcome:
    """
    Report one problem with the key ``k``, and what *fields* say.
    """
    return backlog.upsert({"title": "Disk fills", "dedupe_key": "k", "source": "monitor", **fields})


def test_first_report_creates_and_the_second_is_a_sighting(machine: Backlog) -> None:
    """
    An unchanged report writes no event and no revision; it is counted.
    """
    first = report(machine)
    second = report(machine)

    assert (first.verdict, second.verdict) == ("created", "unchanged")
    assert second.id == first.id
    assert [event.type for event in machine.trail(first.id)] == ["created"]
    assert machine.get(first.id).revision == 1
    assert machine.occurrences(machine.get(first.id)) == 2


def test_known_problems_of_a_large_report_are_told_without_reading_them_whole(machine: Backlog) -> None:
    """
    Of a report of several, what is unchanged is counted and answered with the item's priority; no item is decoded.
    """
    drafts = tuple(Draft(title=f"Disk {name} fills", dedupe_key=name, source="monitor") for name in "abc")
    first = machine.execute(Report(drafts=drafts))
    machine.acting_as("ann", person=True).edit(first.outcomes[0].id, priority="P0")

    second = machine.execute(Report(drafts=drafts))

    assert [outcome.verdict for outcome in second.outcomes] == ["unchanged"] * 3
    assert [outcome.id for outcome in second.outcomes] == [outcome.id for outcome in first.outcomes]
    assert [outcome.priority for outcome in second.outcomes] == ["P0", "P2", "P2"]
    assert [outcome.item for outcome in second.outcomes] == [None] * 3
    assert [machine.occurrences(machine.get(outcome.id)) for outcome in second.outcomes] == [2, 2, 2]


def test_drafts_of_one_key_in_one_report_see_each_other(machine: Backlog) -> None:
    """
    A draft that says what was stored before is no repetition where another one before it has changed the item.
    """
    known = Draft(title="Disk fills", dedupe_key="k", source="monitor")
    other = Draft(title="Disk is full", dedupe_key="k", source="monitor")
    machine.execute(Report(drafts=(known,)))

    answer = machine.execute(Report(drafts=(known, other, known, known)))

    assert [outcome.verdict for outcome in answer.outcomes] == ["unchanged", "updated", "updated", "unchanged"]
    assert machine.get(answer.outcomes[0].id).title == "Disk fills"


def test_same_problem_has_the_same_id_on_every_store(machine: Backlog) -> None:
    """
    The id follows from env and key alone, so that offline reporters agree on it.
    """
    other = Backlog(machine.executor, actor="other")

    assert report(machine).id == "bl_" + report(other, title="Other words").id[3:]
    assert report(machine, env="staging").id != report(machine).id


def test_items_without_a_key_never_collide(machine: Backlog) -> None:
    """
    An empty dedupe key is no identity.
    """
    ids = {machine.upsert(title="Note").id for _ in range(3)}

    assert len(ids) == 3


@pytest.mark.parametrize(
    ("field", "value"),
    [("title", "New words"), ("description", "More"), ("priority", "P1"), ("service", "checkout"), ("owner", "bob"),
     ("due_date", "2026-04-01"), ("category", "security"), ("fix", "upgrade:pypi/x"), ("meta", {"cwe": 79})],
)  # fmt: skip
def test_machine_refreshes_what_it_owns_until_a_person_edits(
    machine: Backlog, person: Backlog, field: str, value: Any
) -> None:
    """
    A changed report changes the machine's field once; after a person's edit the person's value stands.
    """
    id = report(machine).id
    assert report(machine, **{field: value}).verdict == "updated"
    assert getattr(machine.get(id), field) == value

    mine: Any = {"meta": {"mine": 1}, "priority": "P3", "due_date": "2026-05-05"}.get(field, "mine")
    person.edit(id, **{field: mine})
    after = report(machine, **{field: value, "description": "moved on"})

    assert getattr(after.item, field) == mine
    person.edit(id, release=[field])
    assert getattr(report(machine, **{field: value, "tags": ["x"]}).item, field) != mine


def test_tags_are_a_sorted_union(machine: Backlog) -> None:
    """
    The order of reported tags does not matter, and known ones stay.
    """
    report(machine, tags=["b", "a"])

    assert report(machine, tags=["a", "b"]).verdict == "unchanged"
    assert report(machine, tags=["c"]).item.tags == ("a", "b", "c")


def test_evidence_alone_is_a_sighting_unless_the_report_asks(machine: Backlog) -> None:
    """
    Alert ids that differ from report to report are no change of the item.
    """
    id = report(machine, evidence_refs={"alerts": ["1"]}).id

    assert report(machine, evidence_refs={"alerts": ["2"]}).verdict == "unchanged"
    draft = Draft(title="Disk fills", dedupe_key="k", source="monitor", evidence_refs={"alerts": ["2"]})
    answer = machine.execute(Report(drafts=(draft,), refresh=("evidence_refs",)))
    assert answer.outcomes[0].verdict == "updated"
    assert machine.get(id).evidence_refs == {"alerts": ["1", "2"]}


def test_evidence_is_a_bounded_sample_with_totals(machine: Backlog) -> None:
    """
    The newest references are kept, and how many there were.
    """
    many = [str(number) for number in range(LIMITS.evidence_kept + 7)]

    item = report(machine, evidence_refs={"alerts": many}).item

    assert item.evidence_refs == {"alerts": many[7:]}
    assert item.evidence_totals == {"alerts": LIMITS.evidence_kept + 7}


def test_evidence_of_later_reports_is_added(machine: Backlog) -> None:
    """
    What an earlier report pointed to stays, the newest last.
    """
    report(machine, evidence_refs={"alerts": ["a", "b"], "runs": ["1"]})
    report(machine, evidence_refs={"alerts": ["b", "c"]}, priority="P0")

    item = report(machine, evidence_refs={"alerts": ["d"]}, priority="P1").item

    assert item.evidence_refs == {"alerts": ["a", "b", "c", "d"], "runs": ["1"]}


def test_volatile_meta_is_no_change(machine: Backlog) -> None:
    """
    What a reporter declares volatile does not make an event a day.
    """
    report(machine, meta={"value": 1, "rule": "r"}, volatile=["value"])

    assert report(machine, meta={"value": 2, "rule": "r"}, volatile=["value"]).verdict == "unchanged"
    assert report(machine, meta={"value": 2, "rule": "s"}, volatile=["value"]).verdict == "updated"


def test_second_source_adds_its_claim_but_not_its_words(machine: Backlog) -> None:
    """
    The opening source owns the machine's fields; the priority is the highest of those who still claim it.
    """
    id = report(machine, priority="P2").id

    other = report(machine, source="digest", title="Other words", priority="P0", tags=["x"])

    assert other.verdict == "updated"
    assert (other.item.title, other.item.priority, other.item.tags) == ("Disk fills", "P0", ())
    assert report(machine, source="digest", title="Other words", priority="P0", tags=["x"]).verdict == "unchanged"
    machine.resolve("prod", "digest", ["k"], proof="gone there")
    assert report(machine, priority="P2", description="again").item.priority == "P2"
    assert machine.get(id).status == "open"


def test_fixed_problem_that_returns_is_reopened_with_an_event(machine: Backlog, person: Backlog) -> None:
    """
    The same item opens a new episode; status and owner are the machine's again.
    """
    id = report(machine, owner="team").id
    person.edit(id, owner="ann")
    person.move(id, "in_progress")
    person.move(id, "done")

    back = report(machine, owner="team")

    assert (back.verdict, back.id) == ("reopened", id)
    assert (back.item.status, back.item.episode, back.item.owner) == ("open", 2, "team")
    assert machine.trail(id)[-1].type == "reopened"


class Odd:
    """
    A value that has no JSON form.
    """


@pytest.mark.parametrize(
    ("pointer", "fields"),
    [
        ("/title", {"title": "Disk \ud800"}),
        ("/title", {"title": 7}),
        ("/tags", {"tags": (["disk"],)}),
        ("/source", {"source": ["monitor"]}),
        ("/meta", {"meta": {"a": Odd()}}),
        ("/meta", {"meta": {"a": 2**80}}),
        ("/meta", {"meta": {"a": float("nan")}}),
        ("/observed_at", {"observed_at": "yesterday"}),
        ("/evidence_refs", {"evidence_refs": {"runs": Odd()}}),
        ("/id", {"id": "no id"}),
        ("/volatile", {"volatile": (7,)}),
        ("/dedupe_key", {"dedupe_key": "k\0"}),
        ("/env", {"env": 7}),
    ],
)
def test_a_faulty_draft_of_a_known_problem_is_told_its_faults(
    machine: Backlog, pointer: str, fields: dict[str, Any]
) -> None:
    """
    A known problem is looked up before its draft is checked: a faulty one is refused all the same, and not counted.
    """
    known = Draft(title="Disk fills", dedupe_key="k", source="monitor", tags=("disk",))
    (first,) = machine.execute(Report(drafts=(known,))).outcomes
    faulty = replace(known, **fields)

    refused, unchanged = machine.execute(Report(drafts=(faulty, known))).outcomes

    assert (refused.verdict, unchanged.verdict) == ("refused", "unchanged")
    assert f"/drafts/0{pointer}" in refused.why
    assert machine.occurrences(machine.get(first.id)) == 2
    assert machine.get(first.id).revision == 1


@pytest.mark.parametrize("reason", ["wont_fix", "false_positive", "obsolete"])
def test_judgement_of_a_person_stands(machine: Backlog, person: Backlog, reason: str) -> None:
    """
    What people closed for another reason than "fixed" stays closed, however often it is reported.
    """
    id = report(machine).id
    person.close_item(id, reason, message="we know")

    again = report(machine, title="Louder", priority="P0")

    assert (again.verdict, again.id, again.why) == ("suppressed", id, f"closed as {reason}")
    assert machine.get(id).status == "canceled"


def test_lifted_verdict_lets_the_next_report_open(machine: Backlog, person: Backlog) -> None:
    """
    Lifting is recorded and does not itself open anything.
    """
    id = report(machine).id
    person.close_item(id, "wont_fix")
    assert [key for key, _ in machine.verdicts()] == ["prod/k"]

    person.lift_verdict("k", message="changed our mind")

    assert machine.get(id).status == "canceled"
    assert list(machine.verdicts()) == []
    assert report(machine).verdict == "reopened"


def test_accepted_risk_holds_until_it_expires(machine: Backlog, person: Backlog, clock: StepClock) -> None:
    """
    An acceptance suppresses reports until its end, and not a second longer.
    """
    id = report(machine).id
    person.accept(id, approver="cto", expires_at=add_seconds(START, 10 * DAY_S))

    assert report(machine).verdict == "suppressed"
    clock.advance(11 * DAY_S)
    assert report(machine).verdict == "reopened"


def test_report_observed_before_the_close_never_reopens(machine: Backlog, person: Backlog, clock: StepClock) -> None:
    """
    A late report of the old state is no return of the problem.
    """
    id = report(machine).id
    clock.advance(100)
    person.close_item(id)
    closed_at = machine.get(id).closed_at

    late = report(machine, observed_at=add_seconds(closed_at, -1))

    assert late.verdict == "suppressed"
    assert report(machine, observed_at=closed_at).verdict == "reopened"


def test_branch_report_neither_opens_nor_reopens(machine: Backlog, person: Backlog) -> None:
    """
    Only the default branch speaks for what is deployed.
    """
    draft = Draft(title="Disk fills", dedupe_key="k", source="monitor")
    closed = machine.execute(Report(drafts=(draft,), opens=False)).outcomes[0]
    assert (closed.verdict, machine.get_by_key("k")) == ("suppressed", None)
    id = report(machine).id
    person.close_item(id)

    assert machine.execute(Report(drafts=(draft,), opens=False)).outcomes[0].verdict == "suppressed"
    assert machine.get(id).status == "done"


def test_due_days_count_from_the_opening_and_not_for_a_baseline(machine: Backlog) -> None:
    """
    A first report taken in quietly starts no clocks; a later new problem has a due day that does not move.
    """
    old = Draft(title="Old", dedupe_key="old", priority="P1")
    new = Draft(title="New", dedupe_key="new", priority="P1")
    days = {"P1": 14}

    machine.execute(Report(drafts=(old,), baseline=True, due_days=days))
    machine.execute(Report(drafts=(new,), due_days=days))
    again = machine.execute(Report(drafts=(old, new), due_days=days))

    assert [outcome.verdict for outcome in again.outcomes] == ["unchanged", "unchanged"]
    assert machine.get_by_key("old").due_date == ""
    assert machine.get_by_key("old").tags == ("baseline",)
    assert machine.get_by_key("new").due_date == "2026-03-15"


def test_one_faulty_draft_is_refused_and_the_rest_go_on(machine: Backlog) -> None:
    """
    A refusal names every fault of its draft, with pointers.
    """
    bad = Draft(title=" ", priority="P9", due_date="2026-02-30", dedupe_key="bad")
    good = Draft(title="Good", dedupe_key="good")

    refused, created = machine.execute(Report(drafts=(bad, good))).outcomes

    assert (refused.verdict, created.verdict) == ("refused", "created")
    for pointer in ("/drafts/0/title", "/drafts/0/priority", "/drafts/0/due_date"):
        assert pointer in refused.why


def test_same_key_twice_in_one_report_is_one_item(machine: Backlog) -> None:
    """
    The second draft of a batch sees what the first one did.
    """
    drafts = (Draft(title="A", dedupe_key="k"), Draft(title="B", dedupe_key="k"), Draft(title="B", dedupe_key="k"))

    outcomes = machine.execute(Report(drafts=drafts)).outcomes

    assert [outcome.verdict for outcome in outcomes] == ["created", "updated", "unchanged"]
    assert len({outcome.id for outcome in outcomes}) == 1


def test_resolved_closes_only_what_its_source_alone_opened(machine: Backlog, person: Backlog) -> None:
    """
    Another source's claim, or a person's hand, keeps an item open; the claim is withdrawn all the same.
    """
    mine, shared, taken = (report(machine, dedupe_key=key).id for key in ("mine", "shared", "taken"))
    report(machine, dedupe_key="shared", source="digest")
    person.move(taken, "in_progress")

    answer = machine.resolve("prod", "monitor", ["mine", "shared", "taken", "unknown"], proof="alert resolved")

    assert [outcome.verdict for outcome in answer.outcomes] == ["closed", "updated", "updated", "unchanged"]
    assert [machine.get(id).status for id in (mine, shared, taken)] == ["done", "open", "in_progress"]
    assert machine.trail(mine)[-1].message == "alert resolved"


def test_unsound_draft_raises_every_fault_at_once(machine: Backlog) -> None:
    """
    A single upsert lists unknown fields, wrong types and bad values together.
    """
    with pytest.raises(InvalidInput) as caught:
        machine.upsert({"titel": "x", "priority": 1, "tags": "no list", "due_date": "2026-13-01"})

    assert {fault.pointer for fault in caught.value.faults} == {"/titel", "/priority", "/tags", "/due_date", "/title"}


@pytest.mark.parametrize(
    ("value", "reason"),
    [("a\0b", "NUL"), ("a\ud800", "surrogate"), ("x" * (LIMITS.title + 1), "at most")],
)
def test_texts_that_some_backend_cannot_hold_are_refused(machine: Backlog, value: str, reason: str) -> None:
    """
    What one store could not keep, none takes.
    """
    with pytest.raises(InvalidInput, match=reason):
        machine.upsert(title=value)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 2**63, object(), {1: 2}])
def test_values_that_json_cannot_hold_are_refused(machine: Backlog, value: Any) -> None:
    """
    NaN, infinities, integers beyond 64 bits and foreign objects have no place in meta.
    """
    with pytest.raises(InvalidInput):
        machine.upsert(title="x", meta={"value": value})


def test_text_at_its_limit_is_kept_whole(machine: Backlog) -> None:
    """
    The limit itself is allowed.
    """
    assert machine.upsert(title="x" * LIMITS.title).item.title == "x" * LIMITS.title


def test_closed_item_refuses_a_machine_s_move(machine: Backlog, person: Backlog) -> None:
    """
    The refusal names what is allowed: nothing, but reopening.
    """
    id = report(machine).id
    person.close_item(id, "wont_fix")

    with pytest.raises(TransitionNotAllowed, match="reopen"):
        machine.move(id, "open")


def test_an_old_resolution_does_not_close_what_fired_again_unchanged(machine: Backlog, clock: StepClock) -> None:
    """
    A resolution that comes late, behind a report that said nothing new, is of the time before it.
    """
    id = report(machine).id
    clock.advance(60)
    resolved_at = clock()
    clock.advance(60)
    assert report(machine).verdict == "unchanged"

    def resolve(observed_at: str) -> Outcome:
        body = Resolve(env="prod", source="monitor", dedupe_keys=("k",), proof="resolved", observed_at=observed_at)
        return machine.execute(body).outcomes[0]

    late = resolve(resolved_at)
    assert (late.verdict, machine.get(id).status) == ("unchanged", "open")
    assert "reported again at" in late.why
    assert resolve(clock()).verdict == "closed"


def test_what_a_source_resolved_while_it_was_closed_holds_no_later_episode_open(
    machine: Backlog, person: Backlog
) -> None:
    """
    A claim from before the close keeps nothing open, and sets no priority, until it is made again.
    """
    id = report(machine, priority="P0", source="pager").id
    report(machine)
    person.close_item(id)
    machine.resolve("prod", "pager", ["k"], proof="alert resolved")
    assert report(machine, priority="P3").verdict == "reopened"
    assert (machine.get(id).claims["pager"].live, machine.get(id).priority) == (False, "P3")
    assert machine.resolve("prod", "monitor", ["k"], proof="alert resolved").outcomes[0].verdict == "closed"

    report(machine)
    report(machine, source="pager", priority="P0")
    kept = machine.resolve("prod", "monitor", ["k"], proof="alert resolved").outcomes[0]
    assert (kept.verdict, kept.why) == ("updated", "pager still reports it")


def test_a_source_that_saw_it_after_the_close_still_claims_it(machine: Backlog, person: Backlog) -> None:
    """
    Reports that did not reopen, as of an accepted risk, were made in the time of the next episode all the same.
    """
    id = report(machine, source="pager").id
    report(machine)
    person.close_item(id, "wont_fix")
    assert report(machine, source="pager").verdict == "suppressed"
    person.lift_verdict("k")
    assert report(machine).verdict == "reopened"
    assert machine.get(id).claims["pager"].live
