"""
Bad input, as a user hands it in: one clear refusal with its exit code, and a store that is what it was.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from backlog_store.codec import encode
from backlog_store.errors import EXIT_CODES, BackendError, InvalidInput, NotFound, RevisionConflict, exit_code

if TYPE_CHECKING:
    from tests.cli.conftest import Cli

REPORTS = Path(__file__).parents[1] / "assets" / "reports"
_BOMB = b'<!DOCTYPE l [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]><testsuite><testcase name="&b;"/></testsuite>'


def _exported(cli: Cli) -> bytes:
    return cli("export").stdout_bytes


@pytest.mark.parametrize(
    ("content", "told"),
    [
        pytest.param(b"neither this nor that", "not a known format", id="unknown format"),
        pytest.param(b"", "empty", id="empty"),
        pytest.param((REPORTS / "bandit.sarif").read_bytes()[:2000], "cut off", id="truncated JSON"),
        pytest.param((REPORTS / "pytest.xml").read_bytes()[:300], "cut off", id="truncated XML"),
        pytest.param(_BOMB, "document type", id="entity bomb"),
        pytest.param(b'[{"title": NaN}]', "not valid JSON", id="NaN"),
        pytest.param(b'[{"title": "a\\ud800"}]', "lone surrogate", id="lone surrogate"),
    ],
)
def test_a_report_that_cannot_be_read_is_refused_whole(cli: Cli, content: bytes, told: str) -> None:
    """
    The refusal says what is wrong, and nothing of the report is taken in.
    """
    cli.add("One that is there")
    before = _exported(cli)
    result = cli("report", "-", "-s", "app", input=content, expect=EXIT_CODES[InvalidInput])
    assert told in result.stderr
    assert _exported(cli) == before


@pytest.mark.parametrize(
    ("draft", "pointer"),
    [
        pytest.param(b'{"title": 5}', "/title", id="wrong type"),
        pytest.param(b'{"title": "x", "foo": 1}', "/foo", id="unknown field"),
        pytest.param(b'{"title": "' + b"x" * 100_000 + b'"}', "/title", id="too long"),
        pytest.param(b'{"title": "a\\u0000b"}', "/title", id="NUL"),
        pytest.param(b'{"title": "x", "due_date": "2026-02-30"}', "/due_date", id="no such day"),
    ],
)
def test_a_faulty_draft_is_refused_by_field(cli: Cli, draft: bytes, pointer: str) -> None:
    """
    The account names the field of the draft that was refused; nothing is written.
    """
    cli.add("One that is there")
    before = _exported(cli)
    result = cli("report", "-", "-s", "app", input=b"[" + draft + b"]", expect=1)
    assert pointer in result.output
    assert _exported(cli) == before


def test_unknown_ids_and_stale_revisions_are_refused(cli: Cli) -> None:
    """
    What is not there, and what changed since it was read, are told apart by the exit code.
    """
    id = cli.add("One that is there")
    before = _exported(cli)
    assert "zzzz" in cli("close", "zzzz", expect=EXIT_CODES[NotFound]).stderr
    stale = exit_code(RevisionConflict(id, expected=9, found=1))
    assert "revision 9" in cli("edit", id, "--title", "x", "--if-revision", "9", expect=stale).stderr
    assert _exported(cli) == before


@pytest.mark.parametrize("kind", ["event", "sighting"])
def test_an_export_without_its_items_is_refused(cli: Cli, kind: str) -> None:
    """
    An event or a sighting that belongs to nothing is named by its line, before anything is written.
    """
    cli("report", str(REPORTS / "bandit.sarif"), "-s", "app")
    cli("report", str(REPORTS / "bandit.sarif"), "-s", "app")
    before = _exported(cli)
    lines = before.splitlines(keepends=True)
    start = b'{"event"' if kind == "event" else b'{"record"'
    orphan = next(line for line in lines if line.startswith(start))
    counts = {"events": int(kind == "event"), "items": 0, "records": int(kind != "event")}
    content = lines[0] + orphan + encode({"end": counts}) + b"\n"
    result = cli("import", "-", input=content, expect=EXIT_CODES[InvalidInput])
    assert "/line/2" in result.stderr
    assert _exported(cli) == before


def test_a_store_to_copy_from_that_is_not_there(cli: Cli) -> None:
    """
    The refusal names the path, and no store is made on either side.
    """
    result = cli("--store", "sqlite:nothere.db", "migrate", "--to", "jsonl:new", expect=EXIT_CODES[BackendError])
    assert "there is no backlog at nothere.db" in result.stderr.replace(f"{cli.folder}/", "")
    assert list(cli.folder.iterdir()) == []


def test_a_file_that_is_no_store_is_left_alone(cli: Cli) -> None:
    """
    A damaged or foreign file is told with its path, and not written over.
    """
    file = cli.folder / "bad.db"
    file.write_bytes(b"garbage\n")
    assert "bad.db" in cli("--store", "sqlite:bad.db", "add", "x", expect=EXIT_CODES[BackendError]).stderr
    assert file.read_bytes() == b"garbage\n"


def test_a_misspelt_backend_is_corrected(cli: Cli) -> None:
    """
    The nearest backend is named.
    """
    assert "sqlite://" in cli("--store", "sqllite:///x", "list", expect=2).stderr
