"""
What sections refuse, with the place in the file: rules that can never apply, and names of what is not there.
"""

from __future__ import annotations

import pytest

from backlog_store.model import Draft
from backlog_store.policy.codeowners import owner_of_path, parse_codeowners
from backlog_store.policy.loading import load_policy
from backlog_store.policy.matching import covers


def told(text: str, **files: str) -> list[tuple[int, bool, str]]:
    """
    Return line, whether it is a warning, and text of every finding.
    """
    loaded = load_policy(text, files=files)
    return [(one.mark.line if one.mark else 0, one.warning, one.text) for one in loaded.findings]


def test_a_rule_that_a_later_one_takes_everything_from_is_refused() -> None:
    """The last one that matches wins, so a specific rule before a general one never decides: its line is named."""
    text = "priority:\n  rules:\n    - {when: {service: pay-api}, set: P0}\n    - {when: {service: pay-*}, set: P2}\n"
    ((line, warning, said),) = told(text)
    assert (line, warning) == (3, False)
    assert "never decides: 'rule 2' in line 4" in said


def test_the_general_rule_first_is_sound() -> None:
    """The same two rules the other way round are what was meant."""
    assert told("priority: {rules: [{when: {service: pay-*}, set: P2}, {when: {service: pay-api}, set: P0}]}") == []


def test_overlapping_owners_are_refused() -> None:
    """Two rules about exactly the same contradict each other; the file is refused, naming both."""
    text = "owners:\n  rules:\n    - {when: {env: prod}, owner: a}\n    - {when: {env: [prod]}, owner: b}\n"
    ((line, warning, said),) = told(text)
    assert (line, warning) == (3, False)
    assert "overlapping owners: 'rule 2' in line 4" in said


def test_of_owners_that_overlap_in_part_the_later_one_decides() -> None:
    """Neither rule takes everything from the other, so the order says whose that is which both are about."""
    rules = ["{when: {env: prod}, owner: a}", "{when: {service: checkout}, owner: b}"]
    for first, later in (rules, reversed(rules)):
        loaded = load_policy(f"owners:\n  rules:\n    - {first}\n    - {later}\n", files={})
        assert loaded.findings == ()
        assert loaded.policy is not None
        assert loaded.policy.owners is not None
        found = loaded.policy.owners.decide(Draft(title="t", env="prod", service="checkout"), {})
        assert found is not None
        assert (found.number, found.owner) == (1, later[-2])


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("owners:\n  rules:\n    - {codeowners: CODEOWNERS}", 3, "is not there"),
        ("owners:\n  rules:\n    - {owner: a, codeowners: x}", 3, "one of the two"),
        ("owners:\n  rules:\n    - {when: {env: prod}}", 3, "one of the two"),
        ("owners:\n  rules:\n    - {when: {owner: a}, owner: b}", 3, "changes with the work"),
        ("priority:\n  rules:\n    - {when: {status: open}, set: P0}", 3, "changes with the work"),
        ("priority:\n  rules:\n    - {set: P0, when: {service: []}}", 3, "matches nothing"),
        ("priority:\n  rules:\n    - {name: a, set: P0}\n    - {name: a, set: P1, when: {env: x}}", 4, "in line 3"),
        ("suppression:\n  windows:\n    - {name: a}", 3, "lacks until"),
        ("suppression:\n  windows:\n    - {name: a, until: tomorrow}", 3, "is no instant"),
        ("suppression:\n  windows:\n    - {name: a/b, until: 2030-01-01}", 3, "is no name for this"),
        ("suppression:\n  windows:\n    - {name: a, from: 2030-01-02, until: 2030-01-01}", 3, "not after it begins"),
        ("reopen:\n  rules:\n    - {reason: [fixt], then: new_episode}", 3, "Did you mean fixed?"),
        ("reopen:\n  rules:\n    - {reason: [fixed]}", 3, "lacks then"),
        ("reopen:\n  rules:\n    - {reason: [], then: new_episode}", 3, "is empty"),
        ("reopen:\n  rules:\n    - {reason: [fixed], within: 1 year, then: new_episode}", 3, "is no length of time"),
        ("reopen:\n  rules:\n    - {reason: [fixed], after: 2d, within: 1d, then: new_episode}", 3, "it never holds"),
        ("reopen:\n  rules:\n    - {when: {status: done}, then: new_episode}", 3, "none of what is reported again"),
        (
            "reopen:\n  rules:\n    - {reason: [fixed], within: 1d, then: same_episode}\n    - {then: stay_closed}",
            3,
            "never decides: 'rule 2' in line 4",
        ),
        ("escalation:\n  rules:\n    - {steps: [{name: a}]}", 3, "one of the two"),
        (
            "escalation:\n  rules:\n    - {steps: [{name: a, overdue_hours: 1, untouched_hours: 1}]}",
            3,
            "one of the two",
        ),
        (
            (
                "escalation:\n  rules:\n    - steps:\n      - {name: a, overdue_hours: 8}\n"
                "      - {name: b, overdue_hours: 8}"
            ),
            5,
            "comes no later than 'a'",
        ),
        (
            (
                "escalation:\n  rules:\n    - steps:\n      - {name: a, overdue_hours: 8}\n"
                "      - {name: a, untouched_hours: 8}"
            ),
            5,
            "already the name in line 4",
        ),
        ("escalation:\n  rules:\n    - {calendar: ofice, steps: []}", 3, "there is no calendar 'ofice'"),
        ("escalation:\n  rules:\n    - {when: {status: [done, canceled]}, steps: []}", 3, "only live items"),
        ("escalation:\n  rules:\n    - {when: {env: prod}, steps: []}\n    - {steps: []}", 3, "never decides"),
        ("retention:\n  closed_days: 180d", 2, "is no whole number"),
        (
            "activation:\n  rules:\n    - {name: a, sightings: 3, close_below: 0}",
            3,
            "a threshold that can never be left",
        ),
        (
            "activation:\n  rules:\n    - {name: a, sightings: 3, close_below: 3}",
            3,
            "is not lower than the 3 sightings",
        ),
        ("activation:\n  rules:\n    - {name: a, sightings: 3, close_hours: 3}", 3, "give it, too"),
        (
            "activation:\n  rules:\n    - {name: a, sightings: 3, within_hours: 24, close_below: 1, close_hours: 12}",
            3,
            "may be below it at once",
        ),
        ("activation:\n  rules:\n    - {name: a, sightings: 3}\n    - {name: b, sightings: 2}", 4, "is never reached"),
        ("retention:\n  request_days: 7", 2, "from 14"),
        ("workflow:\n  transitions:\n    open: [open]", 3, "is no move"),
        ("workflow:\n  guards:\n    - {name: a, by: person, reason: [fixed], to: [canceled]}", 3, "guards nothing"),
    ],
)
def test_what_can_never_work_is_refused(text: str, line: int, said: str) -> None:
    """A rule that no problem can ever meet, or that nobody can satisfy, is told at its line."""
    assert any(place == line and not warning and said in reason for place, warning, reason in told(text)), told(text)


def test_windows_of_other_reasons_and_times_take_nothing_from_each_other() -> None:
    """Two rules about the same problems are sound where their reasons or their windows lie apart."""
    text = """
reopen:
  rules:
    - {reason: [fixed], within: 7d, then: same_episode}
    - {reason: [wont_fix], after: 52w, then: new_episode}
    - {reason: [fixed], within: 1h, then: stay_closed}
"""
    assert told(text) == []


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ("{reason: [wont_fix], then: new_episode}", "undoes what people decide as wont_fix"),
        ("{reason: [fixed], then: stay_closed}", "is never open again"),
    ],
)
def test_a_window_that_forgets_what_was_decided_or_fixed_is_told(rule: str, said: str) -> None:
    """Both are possible, and both surprise: a warning says so."""
    ((_, warning, reason),) = told(f"reopen: {{rules: [{rule}]}}")
    assert warning
    assert said in reason


def test_a_threshold_that_can_never_be_left_is_drawn_at_its_place() -> None:
    """The caret stands under the number that no problem can fall below."""
    loaded = load_policy("activation:\n  rules:\n    - {name: a, sightings: 3, close_below: 0}\n")
    assert list(loaded.drawn("p.yaml"))[1:] == [
        "    3 |     - {name: a, sightings: 3, close_below: 0}",
        "      |                                            ^",
    ]


def test_a_window_that_is_longer_than_items_stay_is_told() -> None:
    """What is purged meanwhile can no longer go on; the two sections are held against each other."""
    window = "reopen: {rules: [{name: long, reason: [fixed], within: 52w, then: same_episode}]}\n"
    ((line, warning, reason),) = told(f"{window}retention: {{closed_days: 90}}")
    assert (line, warning) == (2, True)
    assert "the window of 'long' in reopen is longer" in reason
    assert told(f"{window}retention: {{closed_days: 364}}") == []


def test_a_status_without_a_way_out_is_told() -> None:
    """A table in which work can get stuck is possible, and told."""
    assert [(1, True)] == [(line, warning) for line, warning, _ in told(
        "workflow: {transitions: {open: [blocked, done]}}")]  # fmt: skip


def test_faults_of_codeowners_have_their_own_places() -> None:
    """What is wrong with a CODEOWNERS file is told with that file's name and line."""
    text = "owners: {rules: [{codeowners: CODEOWNERS}]}"
    loaded = load_policy(text, files={"CODEOWNERS": "# ours\n*.js nobody\n!a @b\n/x/[ab] @c\n/docs @d\n* @e\n"})
    assert [(one.file, one.mark.line if one.mark else 0, one.warning) for one in loaded.findings] == [
        ("CODEOWNERS", 2, False), ("CODEOWNERS", 3, False), ("CODEOWNERS", 4, False), ("CODEOWNERS", 5, True),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("pattern", "inside", "outside"),
    [
        ("*", ["a", "a/b.py"], []),
        ("*.js", ["a.js", "x/y/a.js"], ["a.jsx"]),
        ("/build/logs/", ["build/logs/a", "build/logs/x/y"], ["x/build/logs/a", "build/logs"]),
        ("docs/*", ["docs/a.md"], ["docs/build/a.md", "x/docs/a.md"]),
        ("apps/", ["apps/a", "x/apps/y/z"], ["myapps/a"]),
        ("/docs/", ["docs/a/b"], ["x/docs/a"]),
        ("/scripts", ["scripts/a", "scripts"], ["x/scripts/a"]),
        ("**/logs", ["logs/a", "build/logs/a", "deeply/nested/logs"], ["catalogs/a"]),
        ("/apps/github", ["apps/github/a"], ["apps/gitlab/a"]),
        ("a?c", ["abc", "x/abc/d"], ["ac", "abbc"]),
    ],
)
def test_patterns_of_codeowners_mean_what_github_says(pattern: str, inside: list[str], outside: list[str]) -> None:
    """The examples of GitHub's documentation match what it says they match."""
    owned = parse_codeowners(f"{pattern} @a")
    assert [path for path in inside if owner_of_path(owned, path) is None] == []
    assert [path for path in outside if owner_of_path(owned, path) is not None] == []


def test_a_pattern_without_owners_frees_its_files() -> None:
    """As GitHub has it: a later line without owners takes the owner of an earlier one away."""
    owned = parse_codeowners("/apps/ @octo\n/apps/github\n")
    assert owner_of_path(owned, "apps/x").owners == ("@octo",)
    assert owner_of_path(owned, "apps/github/x").owners == ()


def test_covering_is_never_guessed() -> None:
    """A rule counts as covered only where every problem it can match is surely matched by the other."""
    assert covers({"service": "pay-*"}, {}, {"service": ["pay-api", "pay-*"]}, {})
    assert covers({}, {}, {"env": "prod"}, {})
    assert not covers({"service": "pay-?"}, {}, {"service": "pay-*"}, {})
    assert not covers({"service": "pay-*"}, {"env": "dev"}, {"service": "pay-api"}, {})
    assert covers({"service": "pay-*"}, {"env": "dev"}, {"service": "pay-api"}, {"env": ["dev", "test"]})
    assert not covers({"owner": "*"}, {}, {"owner": "none"}, {})
