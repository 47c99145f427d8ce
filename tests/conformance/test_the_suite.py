"""
The suite bites: each promise, once broken, is noticed by the test that is named for it.
"""

from __future__ import annotations

import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from tests.conformance.mutants import MUTANTS

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def failures(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """
    Return which of the named tests failed on their mutants, in a run of their own.
    """
    report = tmp_path_factory.mktemp("mutants") / "report.xml"
    nodes = [f"tests/conformance/mutants.py::TestMutant{n}::{test}" for n, (_, test) in enumerate(MUTANTS.values())]
    options = ["-q", "-p", "no:randomly", "-p", "no:cacheprovider", "--tb=no", f"--junitxml={report}"]
    command = [sys.executable, "-m", "pytest", *options, *nodes]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stdout + done.stderr
    cases = ET.parse(report).getroot().iter("testcase")
    return {case.attrib["classname"].rpartition(".")[2] for case in cases if case.find("failure") is not None}


@pytest.mark.parametrize("number", range(len(MUTANTS)), ids=list(MUTANTS))
def test_a_broken_promise_is_noticed(failures: set[str], number: int) -> None:
    """The backend with this fault fails the test that holds the promise."""
    assert f"TestMutant{number}" in failures
