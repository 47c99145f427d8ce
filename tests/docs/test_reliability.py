"""
The page on reliability names tests and sizes that there are, and a test for every promise.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reliability.md"
TEXT = PAGE.read_text(encoding="utf-8")
NAMED = sorted(set(re.findall(r"`((?:tests|src)/[\w/]+\.py)(?:::(\w+))?`", TEXT)))


def functions(path: Path) -> set[str]:
    """
    Return the names of all functions and methods of a module.
    """
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize(("file", "function"), NAMED)
def test_every_test_of_the_page_exists(file: str, function: str) -> None:
    """A test that was renamed or removed leaves no promise behind that nothing holds."""
    assert (ROOT / file).is_file()
    assert not function or function in functions(ROOT / file)


def test_every_promise_has_its_tests() -> None:
    """The table has a row for each numbered promise, and each row names tests."""
    promises = re.findall(r"^(\d)\. \*\*", TEXT, re.MULTILINE)
    rows = dict(re.findall(r"^\| (\d) \| (.*) \|$", TEXT, re.MULTILINE))
    assert promises == [str(number) for number in range(1, 8)]
    assert all("::test_" in rows[promise] for promise in promises)


def test_every_size_of_the_page_exists() -> None:
    """Each variable is one that the tests read, and its short value is the one they have without it."""
    source = (ROOT / "tests" / "sizes.py").read_text(encoding="utf-8")
    sizes = {name: int(short) for name, short in re.findall(r'environ\.get\("(TEST_\w+)", "(\d+)"\)', source)}
    assert set(re.findall(r"\bTEST_\w+", TEXT)) <= sizes.keys()
    rows = re.findall(r"\| `(TEST_\w+)` \| ([\d,]+) \|", TEXT)
    assert {name: int(short.replace(",", "")) for name, short in rows} == {name: sizes[name] for name, _ in rows}


def test_every_link_leads_somewhere() -> None:
    """The page links to nothing that is not there."""
    links = re.findall(r"\]\((?!http)([^)#]+)\)", TEXT)
    assert links
    assert all((PAGE.parent / link).exists() for link in links)


def test_the_seeded_faults_are_counted() -> None:
    """The page says how many faults there are as it is."""
    from tests.gate.mutants import MUTANTS

    assert f"| {len(MUTANTS)} of {len(MUTANTS)} |" in TEXT
