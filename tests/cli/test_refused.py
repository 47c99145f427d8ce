"""
What a policy, a run and a plan must not be: each refused as a user sees it, with its place in the file or the reason.

A plan that is applied late: `test_runs.test_a_plan_applied_late_is_refused_and_shows_what_changed`.
"""

from __future__ import annotations

import pytest

from tests.cli.conftest import REPORTS, Cli

RUFF = str(REPORTS / "ruff.sarif")


@pytest.fixture
def run(cli: Cli) -> str:
    """
    Return the id of a run of ruff over a shop, in which its eight findings were reported.
    """
    cli("run", "begin", "--source", "ruff", "--service", "shop", "--name", "ci-7")
    cli("report", RUFF, "--service", "shop", "--run", "ci-7")
    (found,) = cli.json("run", "list")
    id: str = found["id"]
    return id


@pytest.mark.parametrize(
    ("text", "place", "said", "caret"),
    [
        pytest.param(
            "owners:\n  rules:\n    - {name: a, owner: x, wen: {env: prod}}\n",
            "3:27: error: /owners/rules/0/wen",
            "there is no key 'wen'. Did you mean when?",
            "- {name: a, owner: x, wen: {env: prod}}\n" + " " * 6 + "|" + " " * 27 + "^^^",
            id="unknown rule",
        ),
        pytest.param(
            "owners: {rules: []}\nguards: {}\n",
            "2:1: error: /guards",
            "there is no section 'guards'; known are workflow, priority, owners",
            "guards: {}\n" + " " * 6 + "| ^^^^^^",
            id="unknown section",
        ),
        pytest.param(
            "owners:\n  rules:\n    - {name: web, when: {service: web}, owner: x}\n    - {name: all, owner: y}\n",
            "3:8: error: /owners/rules/0",
            "never decides: 'all' in line 4 matches all of this",
            "- {name: web, when: {service: web}, owner: x}\n" + " " * 6 + "|" + " " * 8 + "^^^^",
            id="unreachable rule",
        ),
        pytest.param(
            "activation:\n  rules:\n    - {name: a, sightings: 3, close_below: 0}\n",
            "3:44: error: /activation/rules/0/close_below",
            "a threshold that can never be left: nothing is reported fewer than 0 times",
            "- {name: a, sightings: 3, close_below: 0}\n" + " " * 6 + "|" + " " * 44 + "^",
            id="a threshold that can never be left",
        ),
        pytest.param(
            "activation:\n  rules:\n    - {name: a, sightings: 2, close_below: 3}\n",
            "3:44: error: /activation/rules/0/close_below",
            "is not lower than the 2 sightings that open it",
            "- {name: a, sightings: 2, close_below: 3}\n" + " " * 6 + "|" + " " * 44 + "^",
            id="a threshold that is left at once",
        ),
        pytest.param(
            "owners:\n  rules:\n    - {when: {env: prod}, owner: a}\n    - {when: {env: [prod]}, owner: b}\n",
            "3:8: error: /owners/rules/0",
            "overlapping owners: 'rule 2' in line 4",
            "- {when: {env: prod}, owner: a}\n" + " " * 6 + "|" + " " * 8 + "^^^^",
            id="overlapping owners",
        ),
        pytest.param(
            "calendars:\n  named:\n    office: {holidays: XX}\n",
            "3:24: error: /calendars/named/office/holidays",
            "no holidays are known of a country 'XX'",
            "office: {holidays: XX}\n" + " " * 6 + "|" + " " * 24 + "^^",
            id="a holiday calendar that does not exist",
        ),
        pytest.param(
            "calendars:\n  named:\n    office: {}\ndue:\n  rules:\n    - {business_days: 2, calendar: offise}\n",
            "6:36: error: /due/rules/0/calendar",
            "there is no calendar 'offise'. Did you mean office?",
            "- {business_days: 2, calendar: offise}\n" + " " * 6 + "|" + " " * 36 + "^^^^^^",
            id="a calendar that does not exist",
        ),
    ],
)
def test_a_rule_that_cannot_be_meant_is_drawn_and_never_in_force(
    cli: Cli, text: str, place: str, said: str, caret: str
) -> None:
    """`policy check` names line, column and section, and draws it; `policy apply` says the same and does nothing."""
    cli("init")
    (cli.folder / "p.yaml").write_text(text)
    checked = cli("policy", "check", "p.yaml", expect=1).stdout
    assert f"p.yaml:{place}: " in checked
    assert said in checked
    assert caret in checked
    refused = cli("policy", "apply", "p.yaml", "-y", expect=2).stderr
    assert checked.strip() in refused
    assert "1 fault; nothing was done" in refused
    assert cli.json("policy", "show")["revision"] == 0


def test_a_scope_that_matches_nothing_is_refused(cli: Cli) -> None:
    """A misspelt service: no item has it, and no finding of the run; without one nobody can know what was looked at."""
    assert "Name it with --service" in cli("run", "begin", "--source", "ruff", expect=2).stderr
    cli("run", "begin", "--source", "ruff", "--service", "shpo", "--name", "ci-7")
    cli("report", RUFF, "--service", "shop", "--run", "ci-7")
    refused = cli("run", "complete", "ci-7", expect=2).stderr
    assert "/scope/services = shpo: matches no item, and none of the 8 findings reported" in refused
    assert "Abort it, and begin one" in refused
    assert cli.json("run", "list", "--state", "begun")[0]["scope"]["services"] == ["shpo"]
    assert len(cli.ids("is:live")) == 8


def test_a_run_that_saw_nothing_of_its_scope_says_so(cli: Cli) -> None:
    """A rule that nothing was found by: no finding of the report is of the scope, and nothing is closed by it."""
    cli("report", RUFF, "--service", "shop")
    told = cli("plan", RUFF, "--service", "shop", "--complete", "--rule", "E999")
    assert "empty: it proves nothing (none of the 8 findings reported in it is of its scope)" in told.stdout
    assert "nothing to do" in told.stdout


def test_a_run_completed_twice_is_harmless_or_refused(cli: Cli, run: str) -> None:
    """The same again answers the same and writes nothing; another count, or aborting it, is refused."""
    first = cli.json("run", "complete", "ci-7", "--expect", "8")
    before = cli("export").stdout_bytes
    again = cli.json("run", "complete", run, "--expect", "8")
    assert (first["state"], again["state"], again["counts"]) == ("completed", "completed", {})
    other = cli("run", "complete", "ci-7", "--expect", "9", expect=5).stderr
    assert f"the run {run} is completed already, with 8 findings expected" in other
    assert "is completed already" in cli("run", "complete", "ci-7", expect=5).stderr
    assert "is completed already" in cli("run", "abort", "ci-7", "-m", "too late", expect=5).stderr
    assert before == cli("export").stdout_bytes


def test_a_run_completed_by_another_source_is_refused(cli: Cli, run: str) -> None:
    """Who says which source it ends a run for ends no other one's; the run goes on."""
    for command in (("complete",), ("abort", "-m", "it failed")):
        refused = cli("run", command[0], "ci-7", "--source", "bandit", *command[1:], expect=4).stderr
        assert f"ending the run {run} as bandit" in refused
        assert "it is a run of ruff" in refused
    assert "it is empty" in cli("run", "complete", "ci-7", "--source", "", expect=2).stderr
    assert cli.json("run", "show", "ci-7")["state"] == "begun"
    assert cli.json("run", "complete", "ci-7", "--source", "ruff")["state"] == "completed"


def test_a_report_that_is_no_part_of_its_run_says_so(cli: Cli, run: str) -> None:
    """Of another source, or after the run is over: it is taken in as a report, and proves nothing."""
    told = cli("report", str(REPORTS / "bandit.sarif"), "--service", "shop", "--run", "ci-7").stdout
    assert "goes on (what bandit reported is no part of it)" in told
    cli("run", "complete", "ci-7")
    late = cli("report", str(REPORTS / "ruff-moved.sarif"), "--service", "shop", "--run", "ci-7").stdout
    assert f"run {run} of ruff: complete (it was over before this report)" in late
