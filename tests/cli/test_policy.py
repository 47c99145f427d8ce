"""
Policies on the command line: check, try, apply, show and explain.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import REPORTS, Cli

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "policy" / "policy.yaml"
OWNERS = "owners:\n  rules:\n    - name: all of it\n      owner: oncall\n"


@pytest.fixture
def policy(cli: Cli) -> Path:
    """
    Return a policy file in the working folder.
    """
    path = cli.folder / "policy.yaml"
    path.write_text(OWNERS)
    return path


def test_a_file_is_checked_without_a_store(cli: Cli) -> None:
    """Every fault is drawn with its line and a caret; the exit code tells a pipeline; no store is made."""
    (cli.folder / "bad.yaml").write_text("ownres: {}\nworkflow: {acceptance_days_max: 0}\n")
    result = cli("policy", "check", "bad.yaml", expect=1)
    assert "bad.yaml:1:1: error: /ownres: there is no section 'ownres'. Did you mean owners?" in result.stdout
    assert "    1 | ownres: {}\n      | ^^^^^^" in result.stdout
    assert "bad.yaml:2:33" in result.stdout
    found = cli.json("policy", "check", "bad.yaml", expect=1)
    assert [(one["line"], one["column"], one["suggestion"]) for one in found["faults"]] == [
        (1, 1, "owners"),
        (2, 33, ""),
    ]
    assert not (cli.folder / ".backlog").exists()


def test_the_example_of_the_guide_is_sound(cli: Cli) -> None:
    """The file that is shipped as an example has no fault and no warning."""
    assert cli("policy", "check", str(EXAMPLE)).stdout == "sound\n"


def test_applying_shows_first_what_changes(cli: Cli, policy: Path) -> None:
    """The preview lists what would move; after the yes the policy is in force, and the next report moves it."""
    cli("report", str(REPORTS / "trivy.json"), "--service", "web")
    tried = cli("policy", "apply", str(policy), "--dry-run")
    assert "owner  none -> oncall" in tried.stdout
    assert "Nothing was written; revision 0 is in force" in tried.stderr
    assert cli.json("policy", "show")["revision"] == 0
    cli("policy", "apply", str(policy), "-y", "-m", "somebody has to")
    assert cli("policy", "show").stdout == OWNERS
    assert "somebody has to" in cli("policy", "show", "--history").stdout
    cli("report", str(REPORTS / "trivy.json"), "--service", "web")
    assert set(cli.ids("owner:oncall")) == set(cli.ids())


def test_a_preview_that_is_out_of_date_is_refused(cli: Cli, policy: Path) -> None:
    """Whoever looked at revision 0 does not replace another one unseen."""
    cli("init")
    cli("policy", "apply", str(policy), "-y")
    refused = cli("policy", "apply", str(policy), "-y", "--if-revision", "0", expect=5)
    assert "revision 1 is in force, not 0" in refused.stderr


def test_a_policy_is_applied_just_as_it_was_shown(cli: Cli, policy: Path) -> None:
    """
    The token of a preview puts that file in force over that revision, and no other one.
    """
    cli("init")
    token = cli.json("policy", "apply", str(policy), "--dry-run")["token"]
    shown = policy.read_text()
    policy.write_text(shown.replace("oncall", "nobody"))
    assert "not what was shown" in cli("policy", "apply", str(policy), "-y", "--token", token, expect=5).stderr
    assert cli.json("policy", "show")["revision"] == 0
    policy.write_text(shown)
    cli("policy", "apply", str(policy), "-y", "--token", token)
    assert cli.json("policy", "show")["revision"] == 1
    refused = cli("policy", "apply", str(policy), "-y", "--token", token, expect=5)
    assert "revision 1, and was revision 0" in refused.stderr


def test_a_machine_applies_no_policy(cli: Cli, policy: Path) -> None:
    """Automation may try a policy; putting it in force is a person's."""
    cli("init")
    assert "machine" in cli("--as-machine", "policy", "apply", str(policy), "-y", expect=4).stderr


def test_reports_are_tried(cli: Cli) -> None:
    """What would become of a report under another policy is told without writing anything."""
    cli("init")
    (cli.folder / "p.yaml").write_text("priority:\n  rules:\n    - {name: calm, set: P3}\n")
    tried = cli.json("policy", "test", "p.yaml", "--on", str(REPORTS / "trivy.json"), "--service", "web")
    assert tried["findings"] > 0
    assert {(one["field"], one["after"]) for one in tried["differences"]} == {("priority", "P3")}
    assert cli.ids() == []


def test_a_rule_that_matches_nothing_is_drawn(cli: Cli) -> None:
    """A misspelt service is told at its line, with the name that is there."""
    cli.add("one", "--service", "checkout")
    (cli.folder / "p.yaml").write_text("owners:\n  rules:\n    - {when: {service: chekout}, owner: a}\n")
    told = cli("policy", "test", "p.yaml").stderr
    assert "p.yaml:3:7: warning: /owners/rules/0: matches none of the 1 problems looked at" in told
    assert "Did you mean checkout?" in told


def test_an_item_is_explained(cli: Cli, policy: Path) -> None:
    """Rule and line of the owner are named; what a person set says so."""
    cli("init")
    cli("policy", "apply", str(policy), "-y")
    cli("report", str(REPORTS / "trivy.json"), "--service", "web")
    id = cli.ids()[0]
    assert "policy rule all of it, line 3" in cli("policy", "explain", id).stdout
    cli("edit", id, "--priority", "P3", "--hold-until", "2999-01-01", "-y")
    reasons = {one["field"]: one for one in cli.json("policy", "explain", id)["reasons"]}
    assert reasons["priority"]["why"] == "ana holds it until 2999-01-01T00:00:00.000000Z"


def test_a_hosts_file_is_a_warning_and_never_in_force(cli: Cli, policy: Path) -> None:
    """The file of the settings changes nothing by itself: doctor and apply say that it differs."""
    cli("init")
    cli("config", "set", "--project", "policy", "policy.yaml")
    assert any("differs from revision 0" in one for one in cli.json("doctor")["warnings"])
    cli("policy", "apply", str(policy), "-y")
    assert not any("differs" in one for one in cli.json("doctor")["warnings"])
    other = cli.folder / "other.yaml"
    other.write_text("")
    assert "differs from revision 2" in cli("policy", "apply", str(other), "-y").stderr


def test_codeowners_are_read_beside_the_policy(cli: Cli) -> None:
    """The file that a rule names is found from the policy file, and applied with it."""
    (cli.folder / ".github").mkdir()
    (cli.folder / "p.yaml").write_text("owners: {rules: [{codeowners: .github/CODEOWNERS}]}\n")
    missing = cli("policy", "apply", "p.yaml", "-y", expect=2)
    assert "is not there" in missing.stderr
    (cli.folder / ".github" / "CODEOWNERS").write_text("* @team\n")
    cli("init")
    cli("policy", "apply", "p.yaml", "-y")
    (cli.folder / ".github" / "CODEOWNERS").unlink()
    kept = cli.json("policy", "show")
    assert kept["files"] == {".github/CODEOWNERS": "* @team\n"}


def test_what_a_window_held_back_is_listed(cli: Cli) -> None:
    """Nothing that was suppressed is lost: each problem stands there with its count."""
    cli("init")
    (cli.folder / "p.yaml").write_text(
        "suppression: {windows: [{name: move, until: 2999-01-01, when: {service: web}}]}\n"
    )
    cli("policy", "apply", "p.yaml", "-y")
    account = cli.json("report", str(REPORTS / "trivy.json"), "--service", "web")
    assert account["counts"]["suppressed"] == account["findings"]
    held = cli.json("policy", "suppressed")
    assert sum(one["n"] for one in held) == account["findings"]
    assert cli.ids() == []


def test_an_applied_policy_is_replaced_not_undone(cli: Cli, policy: Path) -> None:
    """Undo passes over policies and says how an older one comes back."""
    cli.add("one")
    cli("policy", "apply", str(policy), "-y")
    batch = cli.json("batch")[0]["batch"]
    assert "not undone" in cli("undo", batch, expect=1).stderr
    assert "one" in cli("undo").stdout


def test_steps_of_escalation_are_listed_and_fire_once(cli: Cli) -> None:
    """A dry run lists what is due and records nothing; then each step fires once, is printed as JSON and shown."""
    (cli.folder / "p.yaml").write_text(
        "escalation:\n  rules:\n    - name: all\n      steps:\n"
        "        - {name: desk, untouched_hours: 0, notify: [desk]}\n"
    )
    cli("add", "Disk fills")
    cli("policy", "apply", "p.yaml", "-y")
    (id,) = cli.ids()
    assert cli("escalate", "--dry-run").stdout.splitlines()[1].split()[:4] == ["P2", "desk", id, "desk"]
    assert "due after 0 hours untouched, to tell desk" in cli("show", id).stdout
    (told,) = cli.json("escalate")
    assert (told["fired"], told["step"], told["rule"], told["line"], told["notify"], told["item"]["id"]) == (
        True, "desk", "all", 5, ["desk"], id)  # fmt: skip
    assert cli.json("escalate") == []
    assert "step desk, to tell desk" in cli("log", "--type", "escalated").stdout
    explained = cli.json("policy", "explain", id)
    assert [(one["step"], one["state"]) for one in explained["escalation"]] == [("desk", "fired")]


def test_the_dashboard_counts_targets_only_when_asked(cli: Cli) -> None:
    """Met and missed targets are a part of the data with --sla alone, because that reads every trail."""
    (cli.folder / "p.yaml").write_text("sla: {targets: [{name: soon, close_hours: 100}]}")
    cli("add", "Disk fills")
    cli("policy", "apply", "p.yaml", "-y")
    assert "sla" not in cli.json("dashboard")
    (target,) = cli.json("dashboard", "--sla", "30")["sla"]
    assert (target["rule"], target["clock"], target["running"]) == ("soon", "close", 1)
    assert "soon" in cli("dashboard", "--sla", "30").stdout
