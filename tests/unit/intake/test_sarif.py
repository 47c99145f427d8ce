from typing import Any

import pytest

from backlog_store.intake import Looked, Notice, ReportContext
from tests.unit.intake.reading import (
    DEMO,
    SHOP,
    claims,
    drafts,
    keys,
    load,
    notices,
    read,
    refusals,
    result,
    sarif,
)


@pytest.mark.parametrize("tool", ["bandit", "ruff", "semgrep"])
def test_the_same_findings_after_code_moved_50_lines(tool: str) -> None:
    """Real reports before and after: equal keys, and nothing that would count as a change of an item."""
    before, after = drafts(load(f"{tool}.sarif")), drafts(load(f"{tool}-moved.sarif"))
    assert [draft.dedupe_key for draft in before] == [draft.dedupe_key for draft in after]
    assert [claims(draft) for draft in before] == [claims(draft) for draft in after]
    moved = [(a.evidence_refs["locations"], b.evidence_refs["locations"]) for a, b in zip(before, after, strict=True)]
    assert all(int(b[0].split(":")[1]) - int(a[0].split(":")[1]) == 50 for a, b in moved)


@pytest.mark.parametrize(
    ("package", "old", "new", "same"),
    [("bottle", "0.12.25", "0.13.2", 35), ("gunicorn", "20.1.0", "23.0.0", 62)],
)
def test_findings_are_recognised_across_releases(package: str, old: str, new: str, same: int) -> None:
    """Of two releases of a real package, most findings are the same ones at other lines, unchanged."""
    context = ReportContext(service=package)
    both: list[dict[str, Any]] = []
    for release in (old, new):
        files = [DEMO / f"{package}-{release}.{tool}.sarif" for tool in ("ruff", "bandit")]
        both.append({draft.dedupe_key: draft for file in files for draft in drafts(read(file.read_bytes(), context))})
    before, after = both
    known = before.keys() & after.keys()
    assert len(known) >= same
    assert all(claims(before[key]) == claims(after[key]) for key in known)
    lines = [before[key].evidence_refs != after[key].evidence_refs for key in known]
    assert sum(lines) >= 0.8 * len(known)


def test_a_key_holds_no_line_number() -> None:
    """The same finding at any line, column and with any number in its message about lines has one key."""
    one = read(sarif(result(line=7, message="unused, see line 12")))
    other = read(sarif(result(line=900, message="unused, see line 905")))
    assert keys(one) == keys(other)
    assert claims(drafts(one)[0]) == claims(drafts(other)[0])


IDENTITIES: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    # what the result has, what then makes no difference, what the key was made of
    ({"fingerprints": {"a/v1": "0123456789ab"}, "partialFingerprints": {"x": "9999999999"}, "snippet": "x = 1"},
     {"path": "other.py", "partialFingerprints": {"x": "8888888888"}, "snippet": "y = 1"}, "fingerprints"),
    ({"partialFingerprints": {"own/v1": "0123456789ab", "primaryLocationLineHash": "aaaaaaaaaaa:1"}, "snippet": "x"},
     {"partialFingerprints": {"own/v1": "0123456789ab", "primaryLocationLineHash": "bbbbbbb12:1"}, "snippet": "y"},
     "partialFingerprints"),
    ({"partialFingerprints": {"primaryLocationLineHash": "39fa2ee980eb94b0:1"}, "snippet": "x = 1"},
     {"snippet": "x = 2"}, "primaryLocationLineHash"),
    ({"snippet": "  x = f( 1 )\n"}, {"snippet": "x  =  f( 1 )", "message": "told otherwise"}, "snippet"),
    ({"message": "Line too long (130 > 120)"}, {"message": "Line too long (131 > 120)"}, "message"),
]  # fmt: skip


@pytest.mark.parametrize(("has", "ignores", "by"), IDENTITIES, ids=[by for _, _, by in IDENTITIES])
def test_identity_is_the_first_of_the_chain(has: dict[str, Any], ignores: dict[str, Any], by: str) -> None:
    """Fingerprints before partial ones before the line's hash before the snippet before the message."""
    (draft,) = drafts(read(sarif(result(**has))))
    (other,) = drafts(read(sarif(result(**{**has, **ignores}))))
    assert by == draft.key_inputs["by"]
    assert draft.dedupe_key == other.dedupe_key


@pytest.mark.parametrize("change", [{"rule": "R2"}, {"path": "src/b.py"}, {"snippet": "y = 1"}])
def test_rule_file_and_snippet_tell_findings_apart(change: dict[str, Any]) -> None:
    """Another rule, file or line of code is another problem."""
    base: dict[str, Any] = {"rule": "R1", "path": "src/a.py", "snippet": "x = 1"}
    assert keys(read(sarif(result(**base)))) != keys(read(sarif(result(**{**base, **change}))))


def test_two_tools_never_share_a_key() -> None:
    """The tool's name is part of the key."""
    one = read(sarif(result(), tool={"driver": {"name": "one"}}))
    other = read(sarif(result(), tool={"driver": {"name": "other"}}))
    assert keys(one) != keys(other)


@pytest.mark.parametrize("stand_in", ["requires login", "", "unknown", "0", None, 12, {"value": "0123456789"}])
def test_a_stand_in_for_a_fingerprint_is_none(stand_in: object) -> None:
    """Tools write a word, a number or nothing where they have no fingerprint; findings must not merge by that."""
    first, second = drafts(
        read(sarif(*(result(snippet=code, fingerprints={"id/v1": stand_in}) for code in ("a = 1", "b = 2"))))
    )
    assert "snippet" == first.key_inputs["by"] == second.key_inputs["by"]
    assert first.dedupe_key != second.dedupe_key


def test_people_and_commits_are_no_identity() -> None:
    """What gitleaks writes as partial fingerprints neither makes the key nor is stored."""
    found = drafts(load("gitleaks.sarif"))
    assert ["message"] * 3 == [draft.key_inputs["by"] for draft in found]
    assert not [draft for draft in found if "dev@example.test" in repr(draft) or "A Developer" in repr(draft)]


def test_a_newer_version_of_a_fingerprint_beside_the_old_changes_nothing() -> None:
    """A tool that starts to write version 2 as well keeps its findings."""
    old = {"id/v1": "0123456789ab"}
    assert keys(read(sarif(result(fingerprints=old)))) == keys(
        read(sarif(result(fingerprints={**old, "id/v2": "ba9876543210"})))
    )


def test_equal_findings_are_numbered_and_none_is_lost() -> None:
    """Three equal lines are three problems, and which of them comes first makes no difference to the keys."""
    three = [result(line=line, snippet="call()") for line in (3, 8, 21)]
    first = keys(read(sarif(*three)))
    assert 3 == len(set(first))
    assert set(first) == set(keys(read(sarif(*reversed(three)))))
    assert first[:2] == keys(read(sarif(*three[:2])))


def test_a_finding_said_twice_counts_once() -> None:
    """The same place, rule and message in one report is one finding; the second is told, not lost."""
    parsed = read(sarif(result(line=3), result(line=4), result(line=3)))
    assert 2 == len(drafts(parsed))
    assert [Notice("/runs/0/results/2", "the same problem as /runs/0/results/0")] == notices(parsed)


def test_a_large_snippet_is_no_identity() -> None:
    """A snippet that is the whole file would make each edit of it a new problem."""
    (draft,) = drafts(read(sarif(result(snippet="x = 1\n" * 400))))
    assert "message" == draft.key_inputs["by"]


@pytest.mark.parametrize(
    ("uri", "root", "expected"),
    [
        ("src/a.py", "", "src/a.py"),
        ("./src/a.py", "", "src/a.py"),
        ("src\\a.py", "", "src/a.py"),
        ("src/my%20file.py", "", "src/my file.py"),
        ("file:///builds/acme/shop/src/a.py", "/builds/acme/shop", "src/a.py"),
        ("file:///builds/acme/shop/src/a.py", "/builds/acme/shop/", "src/a.py"),
        ("/builds/acme/shop/src/a.py", "/builds/acme/shop", "src/a.py"),
        ("file:///C:/shop/src/a.py", "C:\\shop", "src/a.py"),
        ("src/x/../a.py", "", "src/a.py"),
        ("file:src/a.py", "", "src/a.py"),
        ("file:/builds/acme/shop/src/a.py", "/builds/acme/shop", "src/a.py"),
        ("file://localhost/builds/acme/shop/src/a.py", "/builds/acme/shop", "src/a.py"),
        ("file://C:/shop/src/a.py", "C:\\shop", "src/a.py"),
    ],
)
def test_paths_are_relative_to_the_root(uri: str, root: str, expected: str) -> None:
    """However a tool writes a path, the key has the same one."""
    parsed = read(sarif(result(path=uri)), ReportContext(service="acme/shop", root=root))
    assert [f"{expected}:1"] == drafts(parsed)[0].evidence_refs["locations"]
    assert keys(parsed) == keys(read(sarif(result(path=expected))))
    assert [] == notices(parsed)


def test_an_absolute_path_without_a_root_is_told_once() -> None:
    """A key that holds only on this machine is not made in silence."""
    parsed = read(sarif(*(result(path=f"file:///builds/x/{name}.py") for name in "ab")))
    assert ["--root" in notice.reason for notice in notices(parsed)] == [True]


def test_named_bases_are_part_of_the_path_unless_they_are_a_machines_folder() -> None:
    """`uriBaseId` is followed through relative bases; an absolute one is the checkout."""
    bases = {"ROOT": {"uri": "file:///builds/shop/"}, "LIB": {"uri": "lib/", "uriBaseId": "ROOT"}}
    place = {"artifactLocation": {"uri": "a.py", "uriBaseId": "LIB"}, "region": {"startLine": 1}}
    found = {**result(), "locations": [{"physicalLocation": place}]}
    assert ["lib/a.py:1"] == drafts(read(sarif(found, originalUriBaseIds=bases)))[0].evidence_refs["locations"]


def test_a_file_may_be_given_by_its_index() -> None:
    """A location may name an entry of the run's artifacts instead of a path."""
    place = {"artifactLocation": {"index": 1}, "region": {"startLine": 5}}
    found = {**result(), "locations": [{"physicalLocation": place}]}
    artifacts = [{"location": {"uri": "a.py"}}, {"location": {"uri": "b.py"}}]
    assert ["b.py:5"] == drafts(read(sarif(found, artifacts=artifacts)))[0].evidence_refs["locations"]


def test_rules_of_extensions_are_found() -> None:
    """CodeQL's rules stand in an extension: score, weakness and category come from there."""
    injection, _, unused = drafts(load("codeql.sarif"))
    assert ("P1", "security", ["CWE-89"]) == (injection.priority, injection.category, injection.meta["cwe"])
    assert ("P3", "code_quality") == (unused.priority, unused.category)
    assert "[user-provided value](1)" not in injection.title


def test_a_message_may_be_named_in_the_rule() -> None:
    """A message given by id takes the rule's text and the arguments."""
    rules = [{"id": "R1", "messageStrings": {"default": {"text": "'{0}' hides '{1}'"}}}]
    found = {**result(), "message": {"id": "default", "arguments": ["a", "b"]}}
    (draft,) = drafts(read(sarif(found, tool={"driver": {"name": "lint", "rules": rules}})))
    assert draft.title.startswith("'a' hides 'b'")


def test_arguments_are_put_in_once_and_doubled_braces_are_one() -> None:
    """An argument may look like a placeholder; a brace of the text is doubled (SARIF 3.11.5)."""
    rules = [{"id": "R1", "messageStrings": {"default": {"text": "'{0}' and '{1}' in f'{{x}}' {9}"}}}]
    found = {**result(), "message": {"id": "default", "arguments": ["{1}", "b"]}}
    (draft,) = drafts(read(sarif(found, tool={"driver": {"name": "lint", "rules": rules}})))
    assert draft.title.startswith("'{1}' and 'b' in f'{x}' {9} (")


def test_an_argument_of_a_number_that_none_has_stays_as_it_is() -> None:
    """However long: Python makes no number of more than 4,300 digits."""
    found = {**result(), "message": {"text": "a {%s}" % ("9" * 5_000), "arguments": ["b"]}}
    (draft,) = drafts(read(sarif(found)))
    assert "{999" in draft.title


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ({"index": 0}, "P0"),
        ({"name": "pack"}, "P0"),
        ({"guid": "0b0b0b0b-0000-1111-8888-000000000000"}, "P0"),
        ({"name": "driver"}, "P3"),
        ({}, "P3"),
        ({"name": "unknown"}, "P2"),
    ],
)
def test_a_rules_component_is_found_by_index_guid_or_name(reference: dict[str, Any], expected: str) -> None:
    """A reference that names an extension does not mean the driver's rule of the same index (SARIF 3.54)."""
    pack = {"name": "pack", "guid": "0b0b0b0b-0000-1111-8888-000000000000",
            "rules": [{"id": "X1", "properties": {"security-severity": "9.8"}}]}  # fmt: skip
    driver = {"name": "driver", "rules": [{"id": "D1", "defaultConfiguration": {"level": "note"}}]}
    found = {**result(rule="Z"), "rule": {"index": 0, "toolComponent": reference}}
    (draft,) = drafts(read(sarif(found, tool={"driver": driver, "extensions": [pack]})))
    assert expected == draft.priority


@pytest.mark.parametrize(
    ("rule", "more", "expected"),
    [
        ({}, {}, "P2"),
        ({}, {"level": "error"}, "P1"),
        ({}, {"level": "note"}, "P3"),
        ({"defaultConfiguration": {"level": "error"}}, {}, "P1"),
        ({"defaultConfiguration": {"level": "error"}}, {"level": "note"}, "P3"),
        ({"properties": {"security-severity": "9.8"}}, {"level": "note"}, "P0"),
        ({"properties": {"security-severity": "7.0"}}, {}, "P1"),
        ({"properties": {"security-severity": 4}}, {}, "P2"),
        ({"properties": {"security-severity": "0.1"}}, {"level": "error"}, "P3"),
        ({"properties": {"security-severity": "n/a"}}, {"level": "error"}, "P1"),
        ({"properties": {"security-severity": "9.8"}}, {"properties": {"security-severity": "5"}}, "P2"),
    ],
)
def test_score_before_level_before_the_rules_default(rule: dict[str, Any], more: dict[str, Any], expected: str) -> None:
    """Priority comes from the security score, else the result's level, else the rule's, else `warning`."""
    tool = {"driver": {"name": "lint", "rules": [{"id": "R1", **rule}]}}
    assert expected == drafts(read(sarif(result(**more), tool=tool)))[0].priority


def test_tools_that_call_everything_an_error_are_no_alarm() -> None:
    """Ruff gives each violation the level `error`; that is P2 unless told otherwise."""
    assert {"P2"} == {draft.priority for draft in drafts(load("ruff.sarif"))}
    told = ReportContext(service="s", severities={"warning": "P3"})
    assert {"P3"} == {draft.priority for draft in drafts(load("ruff.sarif", told))}


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"suppressions": [{"kind": "inSource"}]}, "suppressed in the source"),
        ({"suppressions": [{"kind": "external", "status": "accepted"}]}, "suppressed in the source"),
        ({"baselineState": "absent"}, "absent"),
    ],
)
def test_what_is_suppressed_or_gone_is_told_and_not_reported(more: dict[str, Any], told: str) -> None:
    """A decision in the code not to report stands."""
    parsed = read(sarif(result(**more)))
    assert [] == drafts(parsed)
    assert told in notices(parsed)[0].reason


@pytest.mark.parametrize(
    "more",
    [
        {"suppressions": []},
        {"suppressions": [{"kind": "external", "status": "rejected"}]},
        {"suppressions": [{"kind": "inSource"}, {"kind": "external", "status": "underReview"}]},
        {"suppressions": [{"kind": "external", "status": "accepted"}, {"kind": "external", "status": "rejected"}]},
        {"kind": "open"},
        {"kind": "review"},
    ],
)
def test_a_rejected_suppression_does_not_hide(more: dict[str, Any]) -> None:
    """Only a standing suppression hides a finding, and one under review beside it stands for it."""
    assert 1 == len(drafts(read(sarif(result(**more)))))


@pytest.mark.parametrize("kind", ["pass", "notApplicable", "informational"])
def test_what_passed_or_only_informs_is_no_finding(kind: str) -> None:
    """A result may say that a check passed, or that there is no problem at all."""
    assert [] == drafts(read(sarif(result(kind=kind))))


def test_a_tool_that_found_nothing_is_named() -> None:
    """Its run may be complete all the same; of two tools in one report only the one without a finding is told."""
    assert [Looked("lint")] == read(sarif())
    both = sarif(result())
    both["runs"].append({"tool": {"driver": {"name": "Other Tool"}}, "results": []})
    assert [Looked("other-tool")] == [one for one in read(both) if isinstance(one, Looked)]
    assert {Looked("mine")} == set(read(sarif(), ReportContext(service="s", source="mine")))


def test_a_failed_run_is_told_as_incomplete() -> None:
    """A run that did not succeed proves nothing about what it does not name."""
    (told,) = notices(read(sarif(result(), invocations=[{"executionSuccessful": False}])))
    assert told.incomplete


def test_one_bad_result_is_refused_and_the_rest_go_on() -> None:
    """The refusal points at the member; every other finding is taken in."""
    parsed = read(
        sarif(result(line=1), {**result(), "ruleId": 5}, result("R2"), {**result(), "locations": [{"x": 1}, 7]})
    )
    assert 2 == len([one for one in parsed if hasattr(one, "draft")])
    assert ["/runs/0/results/1", "/runs/0/results/3"] == [one.pointer for one in refusals(parsed)]
    assert "/runs/0/results/1/ruleId" == refusals(parsed)[0].faults[0].pointer
    assert "/runs/0/results/3/locations/1" == refusals(parsed)[1].faults[0].pointer
    assert "str" in refusals(parsed)[0].reason


def test_a_bad_run_is_refused_and_the_next_is_read() -> None:
    """Runs stand by themselves."""
    report = sarif(result())
    report["runs"].insert(0, {"tool": {}})
    parsed = read(report)
    assert ["/runs/0"] == [one.pointer for one in refusals(parsed)]
    assert ["/runs/1/results/0"] == [one.pointer for one in parsed if hasattr(one, "draft")]


def test_a_nul_in_a_message_refuses_that_finding() -> None:
    """No store holds a NUL; a lone finding with one is refused, the others stand."""
    parsed = read(sarif(result(message="a\0b"), result("R2")))
    assert ["/runs/0/results/0"] == [one.pointer for one in refusals(parsed)]
    assert "NUL" in refusals(parsed)[0].reason
    assert 1 == len([one for one in parsed if hasattr(one, "draft")])


def test_null_members_are_absent_members() -> None:
    """Go programs write null for empty lists."""
    found = {**result(), "fingerprints": None, "suppressions": None, "properties": None, "level": None, "kind": None}
    run = sarif(found, invocations=None, artifacts=None, originalUriBaseIds=None)
    assert 1 == len(drafts(read(run)))
    assert [] == read({"version": "2.1.0", "runs": None})
    assert [Looked("x")] == read({"version": "2.1.0", "runs": [{"tool": {"driver": {"name": "x"}}, "results": None}]})


def test_one_fix_a_rule_and_file() -> None:
    """Findings of one rule in one file are cleared together."""
    same, also, other = drafts(read(sarif(result(line=1), result(line=9), result(path="src/b.py")), SHOP))
    assert same.fix == also.fix == "rule:R1:src/a.py"
    assert other.fix != same.fix


def test_hostile_text_stays_text() -> None:
    """Control characters, terminal colours, fences and links to scripts do no harm in what is stored."""
    rules = [{"id": "R1", "helpUri": "javascript:alert(1)"}]
    found = result(message="\x1b[31mred\x1b[0m\x07 text", snippet="```\n# not a heading")
    (draft,) = drafts(read(sarif(found, tool={"driver": {"name": "lint", "rules": rules}})))
    assert "\x1b" not in draft.title + draft.description
    assert draft.title.startswith("red")
    assert "javascript" not in draft.description + repr(draft.evidence_refs)
    assert "````\n```" in draft.description


def test_long_names_fit_the_store() -> None:
    """Paths, rules and messages of any length make a draft within the limits."""
    long = result("R" * 3_000, "d/" * 3_000 + "a.py", message="m" * 200_000, snippet="s" * 900)
    assert 1 == len(drafts(read(sarif(long))))
    other = {**long, "ruleId": "R" * 2_999 + "S"}
    assert keys(read(sarif(long))) != keys(read(sarif(other)))


@pytest.mark.parametrize("version", ["1.0.0", "3.0"])
def test_other_versions_of_sarif_are_refused(version: str) -> None:
    """Version 1 has another shape; it is named, not guessed at."""
    with pytest.raises(ValueError, match="not SARIF 2"):
        read({"version": version, "runs": []})
