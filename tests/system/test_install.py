"""
The package as a newcomer installs it: from the source tree, by plain pip, into an empty environment.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import backlog_store
from backlog_store import open_backlog
from backlog_store.model import Draft
from backlog_store.settings import path_url
from tests.sizes import LISTED

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """
    An environment that holds the package without extras, and nothing else.
    """
    folder = tmp_path_factory.mktemp("install") / "environment"
    for command in (
        [sys.executable, "-m", "venv", str(folder)],
        [str(folder / "bin/pip"), "install", "--quiet", "--only-binary", ":all:", str(ROOT)],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    return folder


def backlog(environment: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """
    Run the installed command in *folder*, as a person who has set nothing.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("BACKLOG_", "PYTHON", "XDG_"))}
    return subprocess.run(
        [str(environment / "bin/backlog"), *arguments],
        cwd=folder,
        env={**kept, "HOME": str(folder), "PYTHONWARNINGS": "error"},
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def test_the_installed_command_names_its_version(environment: Path, tmp_path: Path) -> None:
    """
    `backlog --version` answers with the version of the package.
    """
    done = backlog(environment, tmp_path, "--version")
    assert (0, "") == (done.returncode, done.stderr)
    assert backlog_store.__version__ in done.stdout


def test_the_demonstration_runs_from_the_installed_package(environment: Path, tmp_path: Path) -> None:
    """
    All that the demonstration shows travels inside the package.
    """
    done = backlog(environment, tmp_path, "demo")
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr
    assert "unchanged" in done.stdout


def test_a_missing_extra_is_named(environment: Path, tmp_path: Path) -> None:
    """
    A PostgreSQL URL without the extra is refused with the words that install it, and no traceback.
    """
    done = backlog(environment, tmp_path, "--store", "postgresql://127.0.0.1:1/none", "list")
    assert done.returncode != 0
    assert "pip install 'backlog-store[postgres]'" in done.stderr
    assert "Traceback" not in done.stderr


#: What `backlog list` may cost, in instructions: a promise of docs/performance.md.
INSTRUCTIONS_MAX = 300_000_000


def instructions(environment: Path, folder: Path, count: int) -> int:
    """
    Return how many instructions `backlog list` takes with a store of so many items.
    """
    store = folder / f"{count}.db"
    with open_backlog(path_url("sqlite", store)) as backlog:
        drafts = (Draft(title=f"item {n}", dedupe_key=f"k{n}", priority=f"P{n % 4}") for n in range(count))
        assert count == sum(outcome.verdict == "created" for _, outcome in backlog.report(drafts))
    command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={os.devnull}",
               str(environment / "bin/python"), str(environment / "bin/backlog"), "list"]  # fmt: skip
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=True,
        env={"PATH": os.environ["PATH"], "HOME": str(folder), "BACKLOG_URL": path_url("sqlite", store), "USER": "ana"},
    )  # fmt: skip
    assert done.stdout.count("\n") == 1 + min(50, count)
    return int(re.findall(r"Collected : (\d+)", done.stderr)[0])


def test_a_list_costs_few_instructions_however_many_items_there_are(environment: Path, tmp_path: Path) -> None:
    """
    Most of a short command is its start; that is counted, not timed, and a backlog that is larger changes little.
    """
    instructions(environment, tmp_path, 1)  # compiles what is compiled once
    small, large = (instructions(environment, tmp_path, count) for count in (10_000, LISTED))
    print(f"\nbacklog list: {small / 1e6:.0f} M instructions with 10,000 items, {large / 1e6:.0f} M with {LISTED:,}")  # noqa: T201  (what documentation quotes)
    assert small <= INSTRUCTIONS_MAX
    assert large <= 1.1 * small
