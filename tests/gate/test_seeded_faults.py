"""
The tests bite: a store with a fault in it, run from a copy of the package, fails the test that is named for the fault.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.gate.mutants import MUTANTS, Mutant

ROOT = Path(__file__).parents[2]
SRC = ROOT / "src"
TESTS = sorted({mutant.caught_by for mutant in MUTANTS.values()})
FAILED = 1  # what pytest ends with where tests have run, and one has failed

#: Makes sure that it is the copy that is tested, and that the copy can be imported at all.
RUN = """
import importlib, sys, pytest
copy, module, *arguments = sys.argv[1:]
assert importlib.import_module(module).__file__.startswith(copy), "another package is tested"
sys.exit(pytest.main(arguments))
"""
OPTIONS = ("-q", "-x", "--tb=line", "-p", "no:randomly", "-p", "no:xdist", "-p", "no:cacheprovider")


def copied(folder: Path) -> Path:
    """
    Return the source folder of a copy of the package.
    """
    shutil.copytree(SRC, folder / "src")  # with compiled files, which know the source by time and size
    return folder / "src"


def run_on(copy: Path, module: str, tests: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """
    Run tests on a copy of the package; each process that they start uses the copy, too.
    """
    nodes = [f"tests/{test}" for test in tests]
    return subprocess.run(
        [sys.executable, "-c", RUN, str(copy), module, *OPTIONS, f"--basetemp={copy.parent / 'tmp'}", *nodes],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(copy)}, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip


def test_there_are_enough() -> None:
    """The gate has at least the twenty faults that it promises, each in its own words."""
    assert len(MUTANTS) >= 20
    assert len({(mutant.file, mutant.old, mutant.new) for mutant in MUTANTS.values()}) == len(MUTANTS)


def test_the_package_without_a_fault_passes(tmp_path: Path) -> None:
    """Each of the named tests passes on a copy where nothing was changed: it is the fault that fails it."""
    done = run_on(copied(tmp_path), "backlog_store", TESTS)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("mutant", MUTANTS.values(), ids=MUTANTS)
def test_a_fault_is_caught(mutant: Mutant, tmp_path: Path) -> None:
    """The test that is named for this fault fails on a package that has it."""
    copy = copied(tmp_path)
    path = copy / "backlog_store" / mutant.file
    source = path.read_text(encoding="utf-8")
    assert source.count(mutant.old) == 1, f"{mutant.file} has changed: bring its fault along: {mutant.old}"
    path.write_text(source.replace(mutant.old, mutant.new), encoding="utf-8")
    module = f"backlog_store/{mutant.file}".removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    done = run_on(copy, module, [mutant.caught_by])
    assert done.returncode == FAILED, f"{mutant.caught_by} does not notice it:\n{done.stdout}{done.stderr}"
