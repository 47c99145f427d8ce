"""
The shape of the code: what may import what, how long things are, what nobody calls, what is drawn and what is so.
"""

from __future__ import annotations

import ast
import re
import runpy
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import grimp
import pytest

from backlog_store import errors, workflow
from backlog_store.model import STATUSES
from backlog_store.policy import DEFAULT_TRANSITIONS

ROOT = Path(__file__).parents[2]
SRC = ROOT / "src" / "backlog_store"
SOURCES = sorted(SRC.rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
MODULE_LINES_MAX = 400
FUNCTION_LINES_MAX = 60

#: Longer than they should be, and why that hurts less than cutting them.
LONG: Mapping[str, str] = {
    "src/backlog_store/backlog.py": "the public face: one short method a command or query, looked up in one place",
    "src/backlog_store/executors/failover/executor.py": "one face of the executor, whose steps are short",
}
#: Modules that nothing of the package imports: doors for others, or opened by name.
DOORS: Mapping[str, str] = {
    "backlog_store.cli.main": "the command `backlog`",
    "backlog_store.compat": "imported by existing callers, and lazily by the package itself",
    "backlog_store.demo": "data for `backlog demo`, opened as a resource",
    "backlog_store.testing": "imported by tests, ours and those of third parties",
}
#: Reads of the clock and of randomness, which belong to `clock.py` alone.
BANNED = (
    "datetime.now", "datetime.utcnow", "datetime.today", "date.today", "datetime.datetime.now", "datetime.date.today",
    "time.time", "time.time_ns", "time.localtime", "time.gmtime", "os.urandom",
)  # fmt: skip
BANNED_IMPORTS = {"random", "secrets", "uuid"}
#: Speak SQL outside of the backends, and why.
SQL_ELSEWHERE: Mapping[str, str] = {
    "src/backlog_store/legacy/tables.py": "reads the tables of the original system, which are no store of ours",
}
#: A statement of SQL as we write it: upper-case keywords.
SQL = re.compile(
    r"\bSELECT\b.*\bFROM\b|\bINSERT INTO\b|\bDELETE FROM\b|\bUPDATE \w+\s+SET\b|\bCREATE (TABLE|INDEX)\b", re.DOTALL
)


def name_of(path: Path) -> str:
    """
    Return a path as it is shown: from the root of the repository.
    """
    return path.relative_to(ROOT).as_posix()


@cache
def tree_of(path: Path) -> ast.Module:
    """
    Return the syntax tree of a file.
    """
    return ast.parse(path.read_text(encoding="utf-8"))


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """
    Yield every function and method of a file.
    """
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def texts(path: Path) -> Iterator[ast.Constant]:
    """
    Yield every text of a file that is no docstring.
    """
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree_of(path))
        if isinstance(node, documented) and node.body and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node


def called(path: Path) -> Iterator[tuple[str, int]]:
    """
    Yield every dotted name of a file, called or not, with its line.
    """
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Attribute):
            yield ast.unparse(node), node.lineno


def imported(path: Path) -> Iterator[tuple[str, int]]:
    """
    Yield the top-level name of every import of a file, with its line.
    """
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            yield from ((alias.name.partition(".")[0], node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.partition(".")[0], node.lineno


def test_imports_point_downwards() -> None:
    """The contracts in pyproject.toml hold: layers, and who knows no backend and no drawing of output."""
    # As a program of its own: run in this one, it sets up logging anew and silences every logger there is.
    linter = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([linter, "--no-logo", "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_modules_fit_on_a_few_screens() -> None:
    """No module is longer than 400 lines, but for those with a reason; a reason no longer needed is removed."""
    lengths = {name_of(path): len(path.read_text(encoding="utf-8").splitlines()) for path in SOURCES}
    assert {name for name, length in lengths.items() if length > MODULE_LINES_MAX} == set(LONG)


def test_functions_fit_on_a_screen() -> None:
    """No function is longer than 60 lines."""
    long = [
        f"{name_of(path)}: {node.name}"
        for path in [*SOURCES, *TESTS]
        for node in functions(path)
        if (node.end_lineno or 0) - node.lineno >= FUNCTION_LINES_MAX
    ]
    assert long == []


def test_only_one_module_reads_the_clock_and_randomness() -> None:
    """Instants and ids are arguments everywhere else, so that the same input gives the same bytes."""
    found = []
    for path in SOURCES:
        if path == SRC / "clock.py" or SRC / "testing" in path.parents:
            continue
        found += [f"{name_of(path)}:{line} {name}" for name, line in imported(path) if name in BANNED_IMPORTS]
        found += [f"{name_of(path)}:{line} {name}" for name, line in called(path) if name in BANNED]
    assert found == []


def test_only_backends_speak_sql() -> None:
    """No statement stands outside of the backends that need it."""
    speakers = {"sql", "sqlite", "postgres"}
    found = [
        f"{name_of(path)}:{text.lineno}"
        for path in SOURCES
        if not (SRC / "backends" in path.parents and speakers & set(path.parts)) and name_of(path) not in SQL_ELSEWHERE
        for text in texts(path)
        if SQL.search(str(text.value))
    ]
    assert found == []


def test_every_module_is_reachable() -> None:
    """Each module is imported by another one, opened by its name, or a door that the list above explains."""
    graph = grimp.build_graph("backlog_store", cache_dir=None)
    named = {str(text.value) for path in SOURCES for text in texts(path)}
    dead = [
        module
        for module in sorted(graph.modules - {"backlog_store"})
        if not graph.find_modules_that_directly_import(module)
        and not graph.find_children(module)
        and not any(module == door or module.startswith(f"{door}.") for door in DOORS)
        and not {module, module.removeprefix("backlog_store."), module.rpartition(".")[2]} & named
    ]
    assert dead == []


def test_every_test_says_what_it_holds() -> None:
    """Each test has a docstring of one sentence or more that says what a user may rely on."""
    suite = [path for path in SOURCES if SRC / "testing" / "conformance" in path.parents]
    silent = [
        f"{name_of(path)}: {node.name}"
        for path in [*TESTS, *suite]
        for node in functions(path)
        if node.name.startswith("test_") and not ast.get_docstring(node)
    ]
    assert silent == []


def test_no_test_sleeps_or_is_skipped() -> None:
    """A test waits for what it waits for, and a test that cannot run fails."""
    banned = re.compile(r"\b(time|asyncio|anyio)\.sleep$|\bpytest\.(skip|importorskip|mark\.skip\w*)$")
    found = [
        f"{name_of(path)}:{line} {name}"
        for path in [*TESTS, *(path for path in SOURCES if SRC / "testing" / "conformance" in path.parents)]
        for name, line in called(path)
        if banned.search(name)
    ]
    assert found == []


def drawn_tree(text: str) -> dict[str, str]:
    """
    Return each class of the drawing in a docstring with the class that it hangs on.
    """
    parents: dict[str, str] = {}
    path: list[str] = []
    for line in text.splitlines():
        found = re.match(r"    ((?:│  |   )*)(├─ |└─ )?([A-Z]\w+)", line)
        if not found:
            continue
        depth = len(found[1]) // 3 + (1 if found[2] else 0)
        path[depth:] = [found[3]]
        parents[found[3]] = path[depth - 1] if depth else ""
    return parents


def test_the_drawing_of_the_errors_is_so() -> None:
    """Every error class stands in the drawing at the head of its module, below the class that it derives from."""
    classes = [
        value for value in vars(errors).values() if isinstance(value, type) and value.__module__ == errors.__name__
    ]
    actual = {
        cls.__name__: cls.__bases__[0].__name__ if cls is not errors.BacklogError else ""
        for cls in classes
        if issubclass(cls, errors.BacklogError)
    }
    assert drawn_tree(errors.__doc__ or "") == actual


def test_the_drawing_names_the_other_bases() -> None:
    """Where an error is also one of Python's own, the drawing says so in brackets."""
    drawn = dict(re.findall(r"(\w+) \((\w+)\)", errors.__doc__ or ""))
    assert drawn == {
        cls.__name__: cls.__bases__[1].__name__
        for cls in vars(errors).values()
        if isinstance(cls, type) and issubclass(cls, errors.BacklogError) and len(cls.__bases__) > 1
    }


def test_the_drawing_of_the_workflow_is_so() -> None:
    """The moves drawn in `workflow` are those of the table, status by status."""
    drawn = {
        found[1]: tuple(found[2].split(", ")) if found[2] else ()
        for line in (workflow.__doc__ or "").splitlines()
        if (found := re.match(r"    (\w+)\s+->\s*(.*?)\s*$", line))
    }
    assert drawn == DEFAULT_TRANSITIONS
    assert set(drawn) == set(STATUSES)


def error_reference() -> dict[str, Any]:
    """
    Return what the script that makes the page of errors defines.
    """
    return runpy.run_path(str(ROOT / "scripts" / "make_error_reference.py"))


def test_every_error_is_documented() -> None:
    """The reference page is what the script makes of the classes: run scripts/make_error_reference.py."""
    render: Callable[[], str] = error_reference()["render"]
    assert (ROOT / "docs" / "reference" / "errors.md").read_text(encoding="utf-8") == render()


def test_every_error_has_a_code_of_its_own() -> None:
    """Callers tell errors apart by their codes, so no two classes share one."""
    codes = [cls.code for cls in error_reference()["classes"]()]
    assert len(codes) == len(set(codes)) == len(drawn_tree(errors.__doc__ or ""))
    assert all(re.fullmatch(r"[a-z_]+", code) for code in codes)


@pytest.mark.parametrize("path", LONG)
def test_a_reason_is_given_for_what_is_long(path: str) -> None:
    """Whatever may be longer than the rest exists and says why."""
    assert (ROOT / path).is_file()
    assert len(LONG[path].split()) > 4
