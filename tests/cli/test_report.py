"""
`backlog report`: real reports in, the account that adds up out.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import REPORTS, Cli

Report = Callable[..., Any]


@pytest.mark.parametrize(
    "name", ["ruff.sarif", "bandit.sarif", "trivy.json", "npm-audit.json", "osv-scanner.json", "pytest.xml"]
)
def test_the_same_report_twice_changes_nothing(cli: Cli, reported: Report, name: str) -> None:
    """
    The second time all findings are unchanged, and no event is written.
    """
    first = reported(name, "--service", "shop")
    events = len(cli.json("log", "--limit", "0"))
    second = reported(name, "--service", "shop")

    assert first["findings"] == first["counts"]["created"] > 0
    assert second["findings"] == second["counts"]["unchanged"] == first["findings"]
    assert events == len(cli.json("log", "--limit", "0"))


@pytest.mark.parametrize("name", ["ruff", "bandit", "semgrep"])
def test_moved_code_is_recognised(reported: Report, name: str) -> None:
    """
    The same findings on other lines are unchanged.
    """
    before = reported(f"{name}.sarif", "--service", "shop")
    after = reported(f"{name}-moved.sarif", "--service", "shop")

    assert before["findings"] == after["counts"]["unchanged"] == after["findings"]


def test_the_account_adds_up(cli: Cli, reported: Report) -> None:
    """
    Created, updated, unchanged, reopened, suppressed, closed and refused together are the findings.
    """
    reported("ruff.sarif", "--service", "shop")
    one, two, *_ = cli.ids("source:ruff")
    cli("close", one, "--reason", "false_positive")
    cli("close", two)
    account = reported("ruff.sarif", "--service", "shop", "--severity", "error=P0", "--severity", "warning=P0")

    assert account["findings"] == sum(account["counts"].values())
    assert (account["counts"]["suppressed"], account["counts"]["reopened"]) == (1, 1)
    assert account["counts"]["updated"] == account["findings"] - 2


def test_a_dry_run_tells_the_same_and_writes_nothing(cli: Cli, reported: Report) -> None:
    """
    What a dry run says would happen is what then happens; before that there is not even a store.
    """
    dry = reported("trivy.json", "--service", "shop", "--dry-run")
    assert not (cli.folder.parent / "data").exists()
    wet = reported("trivy.json", "--service", "shop")

    assert dry["counts"] == wet["counts"]


@pytest.mark.parametrize("name", ["ruff.sarif", "trivy.json", "npm-audit.json", "osv-scanner.json", "pytest.xml"])
@pytest.mark.parametrize("dry", [(), ("--dry-run",)])
def test_without_a_service_the_refusal_says_what_to_do(cli: Cli, name: str, dry: tuple[str, ...]) -> None:
    """
    A report that nobody placed is one error with the option that helps, before there is a store.
    """
    result = cli("report", str(REPORTS / name), *dry, expect=2)

    assert result.stderr.count("error:") == 1
    assert "--service" in result.stderr
    assert result.stdout == ""
    assert not (cli.folder.parent / "data").exists()
    assert list(cli.folder.iterdir()) == []


def test_a_report_of_nothing_but_refusals_makes_no_store(cli: Cli) -> None:
    """
    Where every finding is refused, they are listed, and nothing was made.
    """
    result = cli("report", "-", input='[{"title": 5}, {"priority": "P1"}]', expect=1)

    assert "2 refused" in result.stdout
    assert not (cli.folder.parent / "data").exists()


@pytest.mark.parametrize(
    ("content", "place"),
    [(b'{"a":', "byte 5"), (b'[{"title": "x"},', "byte 16"), (b'{"title": "x"', "byte 13"), (b'{"a": 1]', "byte 7")],
)
def test_json_that_is_cut_off_is_told_as_that(cli: Cli, content: bytes, place: str) -> None:
    """
    Not as a format that nobody knows: the error says where the text ends, or what is wrong there.
    """
    result = cli("report", "-", input=content, expect=2)

    assert place in result.stderr
    assert "known format" not in result.stderr
    assert ("cut off" in result.stderr) == (content[-1:] != b"]")
    assert not (cli.folder.parent / "data").exists()


def test_a_long_dry_run_tells_the_same(cli: Cli, reported: Report, tmp_path: Path) -> None:
    """
    Two drafts of one key that lie thousands of others apart are told as one problem, as they then are.
    """
    file = tmp_path / "drafts.ndjson"
    keys = [*(f"k{number % 2100}" for number in range(2150)), *["k7"] * 5]
    file.write_text("".join(f'{{"title": "x{place}", "dedupe_key": "{key}"}}\n' for place, key in enumerate(keys)),
                    encoding="utf-8")  # fmt: skip
    dry = cli.json("report", str(file), "--dry-run")
    wet = cli.json("report", str(file))

    assert dry["counts"] == wet["counts"]
    assert wet["counts"]["created"] == 2100


def test_the_service_is_the_name_of_the_git_remote(cli: Cli, reported: Report) -> None:
    """
    In a repository its remote names the service.
    """
    for args in (["init", "--quiet"], ["remote", "add", "origin", "git@example.org:team/shop.git"]):
        subprocess.run(["git", *args], check=True)

    assert reported("ruff.sarif")["services"] == ["shop"]


@pytest.mark.parametrize(
    ("condition", "code"),
    [("new:P1", 1), ("new:P0", 1), ("new", 1), ("reopened", 0), ("any:p0", 1), ("reopened:P0,new:P2", 1)],
)
def test_a_pipeline_can_fail_on_what_is_new(cli: Cli, condition: str, code: int) -> None:
    """
    The exit code is 1 if something new has the priority or a higher one; the report is taken in all the same.
    """
    result = cli("report", str(REPORTS / "trivy.json"), "--service", "shop", "--fail-on", condition, expect=code)

    assert ("failing" in result.stderr) == (code == 1)
    assert len(cli.ids("source:trivy")) == 7


def test_known_problems_do_not_fail_a_pipeline(cli: Cli, reported: Report) -> None:
    """
    Reported again, nothing is new; ``any`` holds still.
    """
    reported("trivy.json", "--service", "shop")

    reported("trivy.json", "--service", "shop", "--fail-on", "new:P3")
    reported("trivy.json", "--service", "shop", "--fail-on", "any:P0", expect=1)


def test_another_branch_opens_nothing_and_still_fails_its_pipeline(cli: Cli, reported: Report) -> None:
    """
    On a branch that is not the default one nothing is created; what would be new counts for ``--fail-on``.
    """
    account = reported("trivy.json", "--service", "shop", "--ref", "feature", "--fail-on", "new:P1", expect=1)

    assert account["counts"]["suppressed"] == account["findings"] == 7
    assert cli.ids("--all") == []
    assert reported("trivy.json", "--service", "shop", "--ref", "refs/heads/main")["counts"]["created"] == 7


def test_what_is_held_back_fails_no_pipeline(cli: Cli, reported: Report) -> None:
    """
    Neither a problem seen too seldom nor a fixed one: the report that opens or reopens it does.
    """
    policy = cli.folder / "policy.yaml"
    rule = "{name: twice, sightings: 2, within_hours: 24, close_below: 1}"
    policy.write_text(f"activation: {{rules: [{rule}]}}\n", encoding="utf-8")
    cli("policy", "apply", str(policy), "-y")
    args = ("ruff.sarif", "--service", "shop", "--fail-on")

    assert reported(*args, "any")["counts"]["held"] == 8
    reported(*args, "new", expect=1)
    cli("close", *cli.ids("source:ruff"), "--yes")
    assert reported(*args, "any")["counts"]["held"] == 8
    reported(*args, "reopened", expect=1)


def test_what_a_storm_holds_fails_no_pipeline(cli: Cli, reported: Report) -> None:
    """
    It is held under the id of the storm, and yet nothing of it was open before.
    """
    policy = cli.folder / "policy.yaml"
    policy.write_text("budgets: {rules: [{name: flood, creations: 1}]}\n", encoding="utf-8")
    cli("policy", "apply", str(policy), "-y")

    assert reported("ruff.sarif", "--service", "shop", "--fail-on", "reopened")["counts"]["held"] == 7


def test_what_a_run_reopens_when_it_ends_fails_its_pipeline(cli: Cli, reported: Report) -> None:
    """
    It is held until then, and comes back for sure.
    """
    reported("ruff.sarif", "--service", "shop")
    cli("close", cli.ids("source:ruff")[0])

    reported("ruff.sarif", "--service", "shop", "--complete", "--fail-on", "reopened", expect=1)


def test_a_baseline_is_quiet(cli: Cli, reported: Report) -> None:
    """
    What a first report opens is tagged and not due; what a later one opens is due by its priority.
    """
    reported("ruff.sarif", "--service", "old", "--baseline")
    reported("ruff.sarif", "--service", "new", "--due", "P2=7")

    assert {row["due_date"] for row in cli.json("list", "tag:baseline")} == {""}
    assert len(cli.ids("service:new", "due:7d")) == 8


def test_a_resolved_alert_closes_what_it_opened(cli: Cli, tmp_path: Path) -> None:
    """
    Firing opens, resolved closes as fixed, firing again reopens.
    """
    alert = ('{{"version":"4","status":"{0}","alerts":[{{"status":"{0}",'
             '"labels":{{"alertname":"Burn","service":"pay"}},"startsAt":"2026-01-01T00:00:00Z",'
             '"endsAt":"{1}"}}]}}')  # fmt: skip
    file = tmp_path / "alert.json"
    verdicts = []
    for status, until in (("firing", "0001-01-01T00:00:00Z"), ("resolved", "2999-01-01T00:00:00Z")):
        file.write_text(alert.format(status, until), encoding="utf-8")
        counts = cli.json("report", str(file))["counts"]
        verdicts.append({verdict for verdict, count in counts.items() if count})

    assert verdicts == [{"created"}, {"closed"}]
    assert cli.json("list", "--all")[0]["closed_reason"] == "fixed"


def test_drafts_come_as_csv_with_a_mapping(cli: Cli, tmp_path: Path) -> None:
    """
    Columns fill the fields that the mapping names.
    """
    file = tmp_path / "findings.csv"
    file.write_text("Summary,Severity,Team\nRotate keys,high,sec\nOld lib,low,web\n", encoding="utf-8")
    cli("report", str(file), "--map", "title=Summary", "--map", "priority=Severity", "--map", "owner=Team")

    rows = cli.json("list", "--fields", "title,priority,owner")
    assert [tuple(row.values()) for row in rows] == [("Rotate keys", "P1", "sec"), ("Old lib", "P3", "web")]


def test_a_report_is_read_from_stdin(cli: Cli) -> None:
    """
    A dash is stdin.
    """
    cli("report", "-", "--service", "shop", input=(REPORTS / "ruff.sarif").read_bytes())

    assert len(cli.ids()) == 8


def test_faulty_findings_are_refused_with_place_and_reason(cli: Cli) -> None:
    """
    The rest of the report is taken in, the refusals are listed, the exit code says so.
    """
    lines = '{"title": "good"}\n{"title": "x", "priority": "P9"}\nnot json\n{"title": "", "due_date": "2026-02-30"}\n'
    result = cli("report", "-", "--format", "ndjson", input=lines, expect=1)

    assert "3 refused" in result.stdout
    for told in ("line 2", "P9", "line 3", "line 4", "must not be empty", "2026-02-30"):
        assert told in result.stderr
    assert [row["title"] for row in cli.json("list")] == ["good"]


@pytest.mark.parametrize(
    "content", [b"", b"{", b'{"runs": [', b"<testsuite", b"\xff\xfe\x00", b"hello", b"\x1f\x8b\x08"]
)
def test_what_is_no_report_is_refused_whole(cli: Cli, content: bytes) -> None:
    """
    Truncated and foreign files are refused with a reason, and nothing is written.
    """
    result = cli("report", "-", "--service", "shop", input=content, expect=2)

    assert result.stderr.startswith("error: report")
    assert cli.ids("--all") == []


def test_the_same_request_id_changes_nothing(cli: Cli, reported: Report) -> None:
    """
    Asked again with the same id, the answer is the first one.
    """
    first = reported("trivy.json", "--service", "shop", "--request-id", "build-7")
    again = reported("trivy.json", "--service", "shop", "--request-id", "build-7")

    assert first["counts"] == again["counts"]
    assert len(cli.json("log", "--limit", "0")) == 7


def test_a_report_acts_as_a_machine_of_its_source_and_can_be_undone(cli: Cli, reported: Report) -> None:
    """
    The history names the tool, and undoing the batch closes what was opened by mistake.
    """
    batch = reported("ruff.sarif", "--service", "shop")["batch"]
    assert {(event["actor"], event["actor_kind"]) for event in cli.json("log")} == {("ruff", "machine")}

    cli("undo", batch)
    assert cli.ids() == []


def test_what_a_person_set_stands_against_reports(cli: Cli, reported: Report) -> None:
    """
    A priority that a person set is not changed by the next report, until it is released.
    """
    reported("ruff.sarif", "--service", "shop")
    id = cli.ids()[0]
    cli("edit", id, "--priority", "P0")

    reported("ruff.sarif", "--service", "shop", "--priority", "P1")
    assert cli.json("show", id)["priority"] == "P0"

    cli("edit", id, "--release", "priority")
    reported("ruff.sarif", "--service", "shop", "--priority", "P3")
    assert cli.json("show", id)["priority"] == "P3"
