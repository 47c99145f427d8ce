"""
The command line as a user has it: a folder of its own, no settings from outside, a store made by the first write.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result

from backlog_store.cli.main import cli as root

REPORTS = Path(__file__).parents[1] / "assets" / "reports"


class Cli:
    """
    Runs `backlog` with arguments; *env* is what every run gets.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.env: dict[str, str | None] = {"BACKLOG_ACTOR": "ana"}

    def __call__(self, *args: str, input: str | bytes | None = None, expect: int | None = 0) -> Result:
        """
        Run, and hold the exit code against *expect* (``None``: any).
        """
        result = CliRunner(env=self.env).invoke(root, list(args), input=input)
        if expect is not None:
            assert expect == result.exit_code, f"{args}: {result.stdout}{result.stderr}"
        assert "Traceback" not in result.output
        return result

    def json(self, *args: str, expect: int = 0) -> Any:
        """
        Run with ``--json`` and return what was printed.
        """
        return msgspec.json.decode(self(*args, "--json", expect=expect).stdout)

    def add(self, title: str, *args: str) -> str:
        """
        Add an item and return its id.
        """
        id: str = self.json("add", title, *args)["outcomes"][0]["id"]
        return id

    def ids(self, *args: str) -> list[str]:
        """
        Return the ids that `list` prints.
        """
        return [row["id"] for row in self.json("list", *args, "--fields", "id")]


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """
    A command line whose working folder and settings are empty.
    """
    for name in list(os.environ):
        if name.startswith("BACKLOG_") or name in ("NO_COLOR", "FORCE_COLOR", "POSTGRES_DSN"):
            monkeypatch.delenv(name)
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    # A repository around the folder for temporary files would name the service.
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    return Cli(work)


@pytest.fixture
def reported(cli: Cli) -> Callable[..., Any]:
    """
    Report a file of tests/assets/reports and return the account.
    """

    def report(name: str, *args: str, expect: int = 0) -> Any:
        return cli.json("report", str(REPORTS / name), *args, expect=expect)

    return report
