"""
A policy file is checked completely: every fault is told with its line, a caret and what was probably meant.
"""

from __future__ import annotations

import textwrap

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backlog_store.errors import InvalidInput
from backlog_store.policy import PolicyFormat
from backlog_store.policy.findings import Finding
from backlog_store.policy.loading import Loaded, load_policy, require_policy
from backlog_store.policy.stored import digest_of


def load(text: str) -> Loaded:
    """
    Read a policy written with an indent.
    """
    return load_policy(textwrap.dedent(text).strip("\n"))


def placed(finding: Finding) -> tuple[int, int]:
    """
    Return line and column of a finding.
    """
    assert finding.mark is not None
    return finding.mark.line, finding.mark.column


def test_an_empty_file_is_the_built_in_policy() -> None:
    """A file that says nothing changes nothing."""
    assert load_policy("").policy == load_policy("# nothing yet\n").policy
    assert load_policy("").findings == ()


def test_all_faults_are_told_at_once() -> None:
    """Whoever mends a file sees every fault of it, each at its own line and column, in the order of the file."""
    loaded = load("""
        workflow:
          acceptance_days_max: 0
          transitions:
            open: [in_progres]
          guards:
            - {name: one, by: persons}
        nonsense: 1
    """)
    assert loaded.policy is None
    assert [placed(fault) for fault in loaded.faults] == [(2, 24), (4, 12), (6, 23), (7, 1)]
    assert [fault.suggestion for fault in loaded.faults] == ["", "in_progress", "person", ""]


def test_a_fault_is_drawn_below_its_line() -> None:
    """The line of the file is shown with a caret under what is wrong."""
    loaded = load("""
        workflow:
          acceptance_days_max: many
    """)
    assert list(loaded.drawn("p.yaml")) == [
        "p.yaml:2:24: error: /workflow/acceptance_days_max: 'many' is no whole number",
        "    2 |   acceptance_days_max: many",
        "      |                        ^^^^",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [", "is not YAML"),
        ("- 1", "is no table of sections"),
        ("workflow:", "is no table"),
        ("workflow: {}\nworkflow: {}", "stands twice; first in line 1"),
        ("workflow: !!python/object:os.system {}", "has the YAML tag"),
        ("workflow: {transitions: {open: done}}", "is no list"),
        ("workflow: {guards: [{by: person}]}", "lacks name"),
        ("workflow: {guards: [{name: a, message: yes}]}", "is neither true nor false"),
        ("workflow: {guards: [{name: a}]}", "demands nothing"),
        ("workflow: {guards: [{name: a, by: person, when: {sevrity: x}}]}", "Did you mean severity?"),
        ("workflow: {guards: [{name: a, by: person, when: {priority: P9}}]}", "matches nothing"),
        ("[" * 2_000, "nested too deeply"),
        ("[" * 60 + "]" * 60, "values inside each other"),
        ("x" * 300_000, "at most 262,144"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(text: str, said: str) -> None:
    """A file that cannot be understood is refused with the reason, never understood as something else."""
    loaded = load_policy(text)
    assert loaded.policy is None
    assert any(said in fault.text for fault in loaded.faults), loaded.faults


def test_a_plain_word_of_yaml_is_a_text() -> None:
    """A service called no, a name that looks like a number: they are what they look like, not what YAML 1.1 makes."""
    loaded = load("""
        workflow:
          guards:
            - {name: 0123, by: person, when: {service: [no, 22:30, 1e3]}}
    """)
    assert loaded.faults == ()
    guard = loaded.policy.workflow.guards[0]
    assert (guard.name, guard.when) == ("0123", {"service": ("no", "22:30", "1e3")})


def test_toml_says_the_same_as_yaml() -> None:
    """The format of the file is a matter of taste: the policy is the same, and so are the places of its faults."""
    yaml = load("""
        workflow:
          acceptance_days_max: 90
          guards:
            - name: people close
              by: person
              when: {service: ["pay-*", web]}
    """)
    toml = load_policy(
        '[workflow]\nacceptance_days_max = 90\n[[workflow.guards]]\nname = "people close"\nby = "person"\n'
        'when.service = ["pay-*", "web"]\n',
        format="toml",
    )
    assert yaml.policy is not None
    assert toml.policy is not None
    assert digest_of(yaml.policy) == digest_of(toml.policy)
    assert toml.policy.lines == {"/workflow/guards/0": 4}


def test_a_fault_of_toml_has_its_place() -> None:
    """Carets stand below values of TOML, too, inside of tables and arrays."""
    text = '[workflow]\n[[workflow.guards]]\nname = "a"\nwhen = { sevrity = "high" }\nby = "person"\n'
    loaded = load_policy(text, format="toml")
    assert [placed(fault) for fault in loaded.faults] == [(4, 10)]
    broken = load_policy("[workflow\n", format="toml")
    assert "is not TOML" in broken.faults[0].text
    assert placed(broken.faults[0])[0] == 1


def test_a_faulty_policy_cannot_be_required() -> None:
    """Whoever needs a sound policy gets every fault with its place as an error."""
    with pytest.raises(InvalidInput) as caught:
        require_policy("workflow:\n  transitons: {}\n")
    (fault,) = caught.value.faults
    assert (fault.pointer, fault.value) == ("/workflow/transitons", "line 2, column 3")
    assert "transitions" in fault.reason


_WORDS = st.sampled_from([
    "workflow", "guards", "priority", "rules", "owners", "suppression", "windows", "when", "unless", "set", "name",
    "P0", "until", "2026-12-01", "service", "pay-*", "true", "[", "]", "{", "}", ": ", ":", "- ", "\n", "\n  ",
    "\n    ", " = ", "=", '"', "'", "#", "&a ", "*a", "|", ">", "!!x ", ",", "\t", "é", "\u2028", "[[", "]]", '"""',
])  # fmt: skip


@given(st.lists(_WORDS, max_size=30).map("".join), st.sampled_from(["yaml", "toml"]))
def test_no_text_is_too_odd_to_be_judged(text: str, format: PolicyFormat) -> None:
    """Whatever a file holds, the answer is a policy or faults; each place lies in the file, and can be drawn."""
    loaded = load_policy(text, format=format)
    assert (loaded.policy is None) == bool(loaded.faults)
    for finding in loaded.findings:
        if finding.mark is not None:
            assert 1 <= finding.mark.line <= len(loaded.lines)
            assert finding.mark.column >= 1
    assert isinstance(list(loaded.drawn("p")), list)
