"""
Completion: commands, options, ids, fields, views and fixes; in four shells.
"""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from backlog_store.cli.main import cli as root
from tests.cli.conftest import REPORTS, Cli


def completed(cli: Cli, words: str, incomplete: str, shell: str = "bash") -> list[str]:
    """
    Return what a shell would be offered behind `backlog` *words*.
    """
    line = f"backlog {words} {incomplete}".replace("  ", " ")
    position = incomplete if shell == "powershell" else str(len(line.split()) - (1 if incomplete else 0))
    env = {**cli.env, "_BACKLOG_COMPLETE": f"{shell}_complete", "COMP_WORDS": line, "COMP_CWORD": position}
    told = CliRunner(env=env).invoke(root, []).stdout.splitlines()
    return [row.split("\t")[0] if shell == "powershell" else row.split(",", 1)[-1] for row in told if row]


def test_names_and_values_are_completed(cli: Cli) -> None:
    """
    What exists in this store is offered, by its beginning.
    """
    cli("report", str(REPORTS / "npm-audit.json"), "--service", "web")
    cli("view", "save", "mine", "owner:@me")
    id = cli.ids()[0]

    assert completed(cli, "", "sn") == ["snooze"]
    assert "--priority" in completed(cli, "edit", "--pr")
    assert completed(cli, "show", id[3:6]) == [id[3:11]]
    assert completed(cli, "show", id[:6]) == [id]
    assert completed(cli, "list --view", "m") == ["mine"]
    assert completed(cli, "list --fields", "id,ti") == ["id,title"]
    assert completed(cli, "edit --fix", "upgrade:npm/l") == ["upgrade:npm/lodash"]
    assert completed(cli, "close x --reason", "wo") == ["wont_fix"]
    assert completed(cli, "", "sn", "powershell") == ["snooze"]
    assert completed(cli, "show", id[3:6], "powershell") == [id[3:11]]


def test_a_store_that_cannot_be_opened_completes_nothing(cli: Cli) -> None:
    """
    In the middle of a line there are no errors.
    """
    cli.env["BACKLOG_URL"] = "sqlite:nosuch/x.db"
    assert completed(cli, "show", "b") == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish", "powershell"])
def test_each_shell_has_a_script(cli: Cli, shell: str) -> None:
    """
    The script asks this program by the variable that it listens to.
    """
    script = cli("completion", shell).stdout

    assert "_BACKLOG_COMPLETE" in script
    assert f"{shell}_complete" in script
