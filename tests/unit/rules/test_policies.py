"""
What a policy in force does to problems: named after the pains of the field that it removes.
"""

from __future__ import annotations

from typing import Any

import pytest

from backlog_store.backlog import Backlog
from backlog_store.commands import ApplyPolicy, Edit, Outcome, Report
from backlog_store.instants import add_seconds
from backlog_store.model import Item
from backlog_store.policy import DEFAULT_POLICY, Policy, rule_in_words
from backlog_store.policy.loading import load_policy
from backlog_store.rules import draft_from
from backlog_store.rules.backtest import IdleConditions, compare_items, compare_report
from backlog_store.rules.explaining import reasons, ways
from backlog_store.rules.policies import policy_in_force
from backlog_store.testing.clocks import START, StepClock

OWNERS = """
owners:
  names: {"@org/web": web}
  rules:
    - owner: oncall
    - codeowners: CODEOWNERS
    - name: security
      when: {category: security}
      owner: security
"""
FILES = {"CODEOWNERS": "*.js @org/web @org/all\n/db/ @dba\n"}
PRIORITY = """
priority:
  rules:
    - name: lint
      when: {category: lint}
      set: P3
    - name: money
      when: {service: [checkout, "pay-*"], severity: critical}
      set: P0
"""
WINDOW = """
suppression:
  windows:
    - {name: upgrade, when: {service: db}, until: 2026-03-02}
"""


def put(person: Backlog, text: str, files: dict[str, str] | None = None) -> int:
    """
    Put a policy in force over whatever is, and return its revision.
    """
    over = person.read(policy_in_force).revision
    outcome = person.execute(ApplyPolicy(text=text, over=over, files=files or {})).outcomes[0]
    return outcome.revision


def report(machine: Backlog, key: str = "k", **fields: object) -> Outcome:
    """
    Report one problem.
    """
    return machine.upsert({"title": key, "dedupe_key": key, "source": "scanner", **fields})


def item(outcome: Outcome) -> Item:
    """
    Return the item of an outcome.
    """
    assert outcome.item is not None
    return outcome.item


def test_ownership_rules_surprise__the_last_match_wins_and_the_rule_is_named(machine: Backlog, person: Backlog) -> None:
    """Sentry #67459: whose a problem is follows from the last rule that matches; event and explanation name it."""
    put(person, OWNERS, FILES)
    web = item(report(machine, "a", key_inputs={"path": "src/app.js"}, category="security"))
    assert web.owner == "security"
    plain = item(report(machine, "b", evidence_refs={"locations": ["./src/app.js:12"]}))
    assert plain.owner == "web"
    assert machine.trail(plain.id)[-1].meta["owner"] == {
        "rule": "/owners/rules/1", "line": 6, "file": "CODEOWNERS", "file_line": 1,
    }  # fmt: skip
    assert item(report(machine, "c")).owner == "oncall"
    why = {one.field: one for one in reasons(web, machine.trail(web.id), machine.read(policy_in_force), web.updated_at)}
    assert why["owner"].why == "policy rule security, line 7"
    told = reasons(plain, machine.trail(plain.id), machine.read(policy_in_force), plain.updated_at)
    assert next(one for one in told if one.field == "owner").why == (
        "rule 2 of the policy's owners, line 6, CODEOWNERS line 1"
    )


@pytest.mark.parametrize(("rule", "line", "words"), [
    ("urgent", 9, "policy rule urgent, line 9"), ("urgent", 0, "policy rule urgent"),
    ("/owners/rules/0", 10, "rule 1 of the policy's owners, line 10"),
    ("/sla/targets/2", 0, "target 3 of the policy's sla"),
    ("/escalation/rules/0/steps/1", 4, "step 2 of rule 1 of the policy's escalation, line 4"),
    ("/bin", 0, "policy rule /bin"), ("/a/b/c", 0, "policy rule /a/b/c"), ("/", 0, "policy rule /"),
    ("", 0, "policy rule "),
])  # fmt: skip
def test_a_rule_is_told_by_its_name_or_its_place(rule: str, line: int, words: str) -> None:
    """A rule without a name is told by its section and number, as people count; a name stands as it was given."""
    assert rule_in_words(rule, line) == words


def test_ownership_rules_surprise__an_owner_that_a_person_gave_stands(machine: Backlog, person: Backlog) -> None:
    """A new rule moves nothing that somebody assigned by hand."""
    first = item(report(machine))
    person.edit(first.id, owner="bob")
    put(person, OWNERS, FILES)
    assert item(report(machine, description="changed")).owner == "bob"


def test_ownership_rules_surprise__a_dry_run_shows_what_would_move(machine: Backlog, person: Backlog) -> None:
    """Before a policy is applied every item that would move is listed, and those that people hold are told apart."""
    one = item(report(machine, "a", category="security"))
    two = item(report(machine, "b", category="security"))
    person.edit(two.id, owner="bob")
    new = load_policy(OWNERS, files=FILES).policy
    assert new is not None
    found = list(compare_items([machine.get(one.id), machine.get(two.id)], DEFAULT_POLICY, new, one.updated_at))
    assert [(one.id, d.field, d.after, d.held_by) for d in found if d.id == one.id] == [
        (one.id, "owner", "security", "")
    ]
    assert [d.held_by for d in found if d.id == two.id] == ["ann"]
    assert machine.get(one.id).owner == ""


def test_a_priority_is_given_by_rules_and_the_reason_kept(machine: Backlog, person: Backlog) -> None:
    """The event says which rule decided and what was reported; what no rule speaks of stays as reported."""
    put(person, PRIORITY)
    paid = item(report(machine, service="pay-api", meta={"severity": "CRITICAL"}, priority="P2"))
    assert paid.priority == "P0"
    assert machine.trail(paid.id)[-1].meta["priority"] == {"rule": "money", "line": 7, "reported": "P2"}
    assert item(report(machine, "other", priority="P1")).priority == "P1"


def test_a_persons_priority_wins_until_its_end(machine: Backlog, person: Backlog, clock: StepClock) -> None:
    """A hold with an end is over at that instant: the next report, the same one even, sets the field by the rules."""
    put(person, PRIORITY)
    paid = item(report(machine, service="checkout", meta={"severity": "critical"}))
    person.execute(Edit(id=paid.id, fields={"priority": "P3"}, hold_until=add_seconds(START, 7 * 86_400)))
    assert item(report(machine, service="checkout", meta={"severity": "critical"})).priority == "P3"
    clock.advance(7 * 86_400)
    back = report(machine, service="checkout", meta={"severity": "critical"})
    assert (back.verdict, item(back).priority, item(back).held, item(back).held_until) == ("updated", "P0", {}, {})


def test_a_new_policy_takes_hold_with_the_next_report(machine: Backlog, person: Backlog) -> None:
    """No job walks over the store: the same report again brings an item under the rules in force, once."""
    report(machine, service="checkout", meta={"severity": "critical"}, priority="P1")
    put(person, PRIORITY)
    again = report(machine, service="checkout", meta={"severity": "critical"}, priority="P1")
    assert (again.verdict, item(again).priority) == ("updated", "P0")
    assert report(machine, service="checkout", meta={"severity": "critical"}, priority="P1").verdict == "unchanged"
    put(person, "priority: {rules: []}")
    assert item(report(machine, service="checkout", meta={"severity": "critical"}, priority="P1")).priority == "P1"


def test_a_window_holds_back_and_counts(machine: Backlog, person: Backlog, clock: StepClock) -> None:
    """In maintenance nothing of it opens or reopens; each problem held back is counted, and opens after the end."""
    known = item(report(machine, "old", service="db"))
    person.close_item(known.id, "fixed")
    put(person, WINDOW)
    assert report(machine, "new", service="db").verdict == "suppressed"
    held = report(machine, "new", service="db")
    assert (held.verdict, "window 'upgrade' until 2026-03-02" in held.why) == ("suppressed", True)
    assert report(machine, "old", service="db").verdict == "suppressed"
    assert report(machine, "else", service="web").verdict == "created"
    records = machine.read(lambda reader: reader.scan("suppressed", "", "", 10))
    assert [(record.id, record.body["n"]) for record in records] == [("upgrade/prod/new", 2), ("upgrade/prod/old", 1)]
    clock.advance(86_400)
    assert report(machine, "new", service="db").verdict == "created"
    assert report(machine, "old", service="db").verdict == "reopened"


def test_known_problems_go_on_within_a_window(machine: Backlog, person: Backlog) -> None:
    """A window keeps problems from opening, it does not hide what is open."""
    report(machine, "old", service="db")
    put(person, WINDOW)
    assert report(machine, "old", service="db", description="worse").verdict == "updated"


def test_a_policy_change_is_tried_on_past_reports_before_it_is_applied(machine: Backlog, person: Backlog) -> None:
    """The same rules decide the same report under both policies, nothing is written, and applying does just that."""
    report(machine, "a", service="checkout", meta={"severity": "critical"})
    put(person, PRIORITY + WINDOW)
    new = load_policy(PRIORITY.replace("set: P0", "set: P1")).policy
    assert new is not None
    drafts: list[dict[str, Any]] = [
        {"title": "a", "dedupe_key": "a", "source": "scanner", "service": "checkout", "meta": {"severity": "critical"}},
        {"title": "b", "dedupe_key": "b", "source": "scanner", "service": "db"},
    ]
    command = machine.command(Report(drafts=tuple(draft_from(draft) for draft in drafts)))
    before = machine.read(lambda reader: reader.scan("suppressed", "", "", 10))
    found = machine.read(lambda reader: list(compare_report(reader, command, policy_in_force(reader), new)))
    assert [(d.field, d.before, d.after) for d in found] == [
        ("priority", "P0", "P1"),
        ("verdict", "suppressed", "created"),
    ]
    assert machine.read(lambda reader: reader.scan("suppressed", "", "", 10)) == before
    put(person, PRIORITY.replace("set: P0", "set: P1"))
    outcomes = machine.execute(command.body).outcomes
    assert [item(one).priority for one in outcomes] == ["P1", "P2"]
    assert [one.verdict for one in outcomes] == ["updated", "created"]


def test_a_scope_that_matches_nothing_is_told(machine: Backlog) -> None:
    """A rule about a service that there is not is a likely slip: it is told with the nearest name."""
    found = item(report(machine, service="checkout", meta={"severity": "critical"}))
    policy = load_policy(
        "priority: {rules: [{when: {service: chekout}, set: P0}, {when: {env: prod}, set: P1}]}"
    ).policy
    assert isinstance(policy, Policy)
    looking = IdleConditions(policy)
    assert list(looking.findings()) == [], "nothing was looked at"
    looking.see([found])
    (idle,) = looking.findings()
    assert (idle.pointer, idle.suggestion, idle.warning) == ("/priority/rules/0", "checkout", True)


def test_an_explanation_says_where_an_item_may_go(machine: Backlog, person: Backlog) -> None:
    """Guards are told before somebody runs into them."""
    put(person, "workflow:\n  guards:\n    - {name: people, to: [canceled], by: person}\n")
    found = item(report(machine))
    refused = {(way.to, way.reason): way.refused for way in ways(found, machine.read(policy_in_force), machine.actor)}
    assert refused["canceled", "wont_fix"] == "a person does this (guard 'people', line 3)"
    assert refused["in_progress", ""] == ""


def test_a_resolved_alert_does_not_pass_a_guard(machine: Backlog, person: Backlog) -> None:
    """What a machine may not close, a resolved alert does not close either: it stays open, saying why."""
    put(person, "workflow:\n  guards:\n    - {name: people, to: [done], by: person}\n")
    found = item(report(machine))
    machine.resolve("prod", "scanner", ["k"], proof="gone")
    assert machine.get(found.id).status == "open"
    assert "a person does this" in machine.trail(found.id)[-1].meta["kept_open"]
