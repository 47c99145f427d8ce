"""
Runs and plans at the command line: what is closed for its absence, what is shown before, what a person decides.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from backlog_store.backlog import open_backlog
from backlog_store.commands import ApplyPolicy
from backlog_store.model import Actor
from tests.cli.conftest import REPORTS, Cli

RUFF = REPORTS / "ruff.sarif"


@pytest.fixture
def eager(cli: Cli) -> Cli:
    """
    A store whose policy closes at the first miss, without waiting, with the eight findings of a report of ruff.
    """
    cli.env["BACKLOG_URL"] = f"sqlite://{cli.folder}/b.db"
    cli("report", str(RUFF), "--service", "shop", "--complete")
    with open_backlog(f"sqlite://{cli.folder}/b.db", actor=Actor("ana", "person")) as backlog:
        backlog.execute(ApplyPolicy(text="closing: {misses: 1, min_age_hours: 0, close_floor: 5}", over=0))
    return cli


def without(count: int, folder: Path) -> str:
    """
    Write the report of ruff without its last findings.
    """
    data = json.loads(RUFF.read_text())
    results = data["runs"][0]["results"]
    data["runs"][0]["results"] = results[: len(results) - count]
    path = folder / f"without-{count}.sarif"
    path.write_text(json.dumps(data))
    return str(path)


def live(cli: Cli) -> int:
    """
    Return how many items are not closed.
    """
    return len(cli.ids("status:open"))


@pytest.mark.parametrize(("report", "source"), [
    ('{"version": "2.1.0", "runs": [{"tool": {"driver": {"name": "ruff"}}, "results": []}]}', "ruff"),
    ('{"dependencies": []}', "pip-audit"),
    ('{"auditReportVersion": 2, "vulnerabilities": {}}', "npm-audit"),
    ('{"SchemaVersion": 2, "Results": []}', "trivy"),
    ('{"results": []}', "osv-scanner"),
    ("<testsuites/>", "junit"),
])  # fmt: skip
def test_a_complete_report_of_nothing_is_a_run_for_a_person_to_judge(eager: Cli, report: str, source: str) -> None:
    """
    It proves nothing by itself and closes nothing; accepted, it closes what its source had reported.
    """
    (eager.folder / "clean").write_text(report)
    (run,) = eager.json("report", "clean", "--service", "shop", "--complete")["runs"]
    assert (source, "empty", 8) == (run["source"], run["state"], live(eager))

    eager("run", "accept", run["id"], "-m", "all is fixed")
    assert (0 if source == "ruff" else 8) == live(eager)


def test_a_complete_report_of_another_branch_names_the_option(eager: Cli) -> None:
    """
    What is refused says what to say instead, as this command says it.
    """
    told = eager("report", str(RUFF), "--service", "shop", "--complete", "--ref", "feature", expect=2).stderr
    assert "`--opens` takes it" in told


def test_a_complete_report_of_nobody_is_told(eager: Cli) -> None:
    """
    Where nothing says who looked there is no run; --source says it.
    """
    (eager.folder / "clean").write_text('{"version": "2.1.0", "runs": []}')
    told = eager("report", "clean", "--service", "shop", "--complete")
    assert "name the source with --source" in told.stderr
    assert "run" not in told.stdout
    named = eager("report", "clean", "--service", "shop", "--complete", "--source", "ruff")
    assert "of ruff: " in named.stdout


def test_a_complete_report_closes_what_it_names_no_more(eager: Cli) -> None:
    """
    And says so; the same report without --complete closes nothing.
    """
    report = without(2, eager.folder)
    eager("report", report, "--service", "shop")
    assert live(eager) == 8
    told = eager("report", report, "--service", "shop", "--complete").stdout

    assert "2 closed for their absence  (2 missed by 1 complete run)" in told
    assert live(eager) == 6


def test_a_plan_shows_what_applying_it_does(eager: Cli) -> None:
    """
    Nothing is written by the plan; the counts of both are the same.
    """
    report = without(2, eager.folder)
    plan = eager.json("plan", report, "--service", "shop", "--complete")
    assert plan["counts"]["closed"] == 2
    assert {row["why"] for row in plan["changes"]} == {"missed by 1 complete run"}
    assert live(eager) == 8

    applied = eager.json("apply", plan["token"])
    assert applied["counts"] == {"begun": 1, "closed": 2, "completed": 1, "unchanged": 6}
    assert sorted(row["id"] for row in applied["outcomes"]) == sorted(row["id"] for row in plan["changes"])
    assert live(eager) == 6
    assert eager.json("apply", plan["token"])["again"]


def test_a_plan_as_text_names_each_change(eager: Cli) -> None:
    """
    Like that of a tool for infrastructure: a sign, the item, the reason, and a line that adds up.
    """
    told = eager("plan", without(1, eager.folder), "--service", "shop", "--complete", "--severity", "warning=P0")

    assert "- close" in told.stdout
    assert "~ change" in told.stdout
    assert "priority P2 → P0" in told.stdout
    assert "Plan: 7 to change, 1 to close." in told.stdout
    assert "apply with: backlog apply " in told.stderr


@pytest.mark.parametrize(("lacking", "code"), [(0, 0), (2, 10)])
def test_a_plan_tells_a_pipeline_whether_there_is_something_to_do(eager: Cli, lacking: int, code: int) -> None:
    """
    With --detailed-exitcode: 10 if there is, 0 if not.
    """
    report = without(lacking, eager.folder)
    eager("plan", report, "--service", "shop", "--complete", "--detailed-exitcode", expect=code)
    eager("plan", report, "--service", "shop", "--complete")


def test_a_plan_applied_late_is_refused_and_shows_what_changed(eager: Cli) -> None:
    """
    Exit code 5; nothing is written.
    """
    plan = eager.json("plan", without(1, eager.folder), "--service", "shop", "--complete")
    (change,) = plan["changes"]
    eager("comment", change["id"], "-m", "I know why")
    refused = eager("apply", plan["token"], expect=5).stderr

    assert "is not what would be done now; nothing was written" in refused
    assert f"{change['id']}: was closed (revision 2), is now closed (revision 3)" in refused
    assert live(eager) == 8


def test_a_plan_can_be_carried_over_as_a_file(eager: Cli) -> None:
    """
    One job plans, another one applies; a file that was changed is refused.
    """
    path = eager.folder / "shop.plan"
    eager("plan", without(1, eager.folder), "--service", "shop", "--complete", "--out", str(path))
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b'"closed"', b'"held"'))
    assert "it was changed" in eager("apply", str(path), expect=2).stderr
    path.write_bytes(whole[: len(whole) // 2])
    eager("apply", str(path), expect=2)
    path.write_bytes(whole)
    eager("apply", str(path))

    assert live(eager) == 7
    eager("apply", "nothing-of-the-kind", expect=3)


def test_several_reports_are_planned_as_one(cli: Cli) -> None:
    """
    What the first one would create is known to the second; applying them creates each once.
    """
    both = (str(RUFF), str(REPORTS / "ruff-moved.sarif"))
    plan = cli.json("plan", *both, "--service", "shop")
    assert (plan["counts"]["created"], plan["counts"]["unchanged"]) == (8, 8)
    assert cli.json("apply", plan["token"])["counts"] == {"created": 8, "unchanged": 8}


def test_a_run_that_would_close_too_much_waits_for_a_person(eager: Cli) -> None:
    """
    Parked, shown, and rejected or accepted.
    """
    told = eager("report", without(6, eager.folder), "--service", "shop", "--complete")
    assert "it would close 6 items; of 8 in its scope at most 5 go unasked" in told.stdout
    (run,) = eager.json("run", "list", "--state", "parked")
    assert (run["closes"], live(eager)) == (6, 8)
    assert len(eager.json("run", "show", run["id"])["would_close"]) == 6
    assert eager("run", "show", run["id"]).stdout.count("would close  bl_") == 6
    eager("run", "accept", run["id"], "--as-machine", expect=4)
    accepted = eager.json("run", "accept", run["id"], "-m", "we deleted the module")

    assert (accepted["state"], accepted["counts"], live(eager)) == ("completed", {"closed": 6}, 2)
    eager("undo", accepted["batch"])
    assert live(eager) == 8


def test_a_run_of_several_reports(eager: Cli) -> None:
    """
    Begun, reported into, and completed; a run with fewer findings than expected proves nothing.
    """
    id = eager("run", "begin", "--source", "ruff", "--service", "shop", "--name", "ci-7").stdout.strip()
    eager("report", without(3, eager.folder), "--service", "shop", "--run", "ci-7")
    short = eager.json("run", "complete", "ci-7", "--expect", "8")
    assert (short["id"], short["state"], short["why"]) == (id, "short", "5 findings were reported, 8 expected")
    assert eager.json("run", "accept", "ci-7")["counts"] == {"closed": 3}

    eager("run", "begin", "--source", "ruff", "--service", "shop", "--name", "ci-8")
    aborted = eager.json("run", "abort", "ci-8", "-m", "the disk was full")
    assert (aborted["state"], aborted["why"]) == ("aborted", "the disk was full")
    assert [run["state"] for run in eager.json("run", "list")] == ["aborted", "completed", "completed"]


def test_completeness_is_for_the_default_branch_and_a_known_service(cli: Cli) -> None:
    """
    What a feature branch lacks is not gone, and nobody guesses what was looked at.
    """
    refused = cli("report", str(RUFF), "--service", "shop", "--complete", "--ref", "feature", expect=2).stderr
    assert "default branch" in refused
    assert "--service" in cli("report", str(RUFF), "--complete", expect=2).stderr
    said = cli("report", str(RUFF), "--service", "shop", "--expect", "8", expect=2).stderr
    assert "--expect: this says something of a complete report" in said


def test_sentry_80365_a_preview_of_a_bulk_edit_stands_for_exactly_that_edit(cli: Cli) -> None:
    """
    The token is of what would be done, not only of the items: another priority is another edit.
    """
    cli("report", str(RUFF), "--service", "shop")
    query = ("edit", "--query", "service:shop", "--priority")
    token = cli.json(*query, "P1", "--dry-run")["token"]
    assert "not what was shown" in cli(*query, "P0", "--yes", "--token", token, expect=5).stderr
    assert cli.json("apply", token)["counts"] == {"updated": 8}
    assert cli.ids("priority:P1") == cli.ids("service:shop")
