"""
The shipped example of a digest: the same bytes on every backend, and every number is what its query lists.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import pytest

from backlog_store import open_backlog
from backlog_store.backlog import Backlog
from backlog_store.cli.text import width
from backlog_store.query import EventQuery
from backlog_store.querylang import parse_query
from backlog_store.rules.escalating import due_steps
from backlog_store.rules.policies import policy_in_force
from tests.stores import RETAINING, url_of

ROOT = Path(__file__).parents[2]


def script() -> ModuleType:
    """
    Return the script that makes the example.
    """
    spec = importlib.util.spec_from_file_location("make_digest_example", ROOT / "scripts" / "make_digest_example.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def shipped(name: str) -> str:
    """
    Return a file of the example.
    """
    path: Path = script().FOLDER / name
    return path.read_bytes().decode()


@pytest.mark.parametrize("backend", RETAINING)
def test_the_digest_has_the_same_bytes_on_every_backend(
    backend: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """Two weeks of real findings, told in four formats, are byte for byte the shipped files wherever they are kept."""
    found = dict(script().tell(url_of(backend, request, tmp_path)))
    assert sorted(found) == sorted(path.name for path in script().FOLDER.iterdir())
    for name, text in found.items():
        assert shipped(name) == text, f"{name}: run scripts/make_digest_example.py"


@pytest.fixture
def told(tmp_path: Path) -> Iterator[Backlog]:
    """
    The store that the example tells of.
    """
    url = f"sqlite://{tmp_path / 'told.db'}"
    list(script().tell(url))
    with open_backlog(url) as backlog:
        yield backlog


def test_every_number_is_what_its_query_lists(told: Backlog) -> None:
    """The query beside a count, asked at the same instant, finds just so many items."""
    data = msgspec.json.decode(shipped("digest.json"))
    parts = {name: part for name, part in data.items() if isinstance(part, dict) and "query" in part}
    parts |= {row["source"]: {**row, "count": row["noise"]} for row in data["noisy"]}
    parts |= {row["priority"]: {**row, "count": row["live"]} for row in data["ageing"]}
    assert len(parts) > 10
    for name, part in parts.items():
        assert part["count"] == _listed(told, part["query"], data), name
    assert all(parts[name]["count"] for name in ("new", "fixed", "reopened", "otherwise", "overdue", "ending",
                                                      "steps_fired", "steps_due"))  # fmt: skip


def _listed(backlog: Backlog, command: str, data: dict[str, Any]) -> int:
    if command == "backlog escalate --dry-run":
        return len(backlog.read(lambda reader: due_steps(reader, policy_in_force(reader), data["at"]))[0])
    if found := re.match("backlog log --type ([a-z]+) ", command):
        of_type = EventQuery(types=(found[1],), since=data["since"], until=data["at"], limit=None)
        return len(backlog.events(of_type))
    query = command.removeprefix("backlog list '").removesuffix("'")
    return sum(backlog.tally(parse_query(query, now=data["at"], me="").where).values())


def test_who_fixed_is_told_apart() -> None:
    """Machines that proved it and people are counted apart, and together they are all that was fixed."""
    data = msgspec.json.decode(shipped("digest.json"))
    assert data["proven"] > 0
    assert data["by_people"] > 0
    assert data["fixed"]["count"] == data["proven"] + data["by_people"] + data["by_machines"]


def test_a_source_whose_runs_stopped_is_silent() -> None:
    """A scanner that looked at a service in the time before and no more is named; one without runs is not judged."""
    data = msgspec.json.decode(shipped("digest.json"))
    assert [("bandit", "bottle")] == [(one["source"], one["service"]) for one in data["silent"]]
    assert ["slo-monitor"] == data["unwatched"]


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.text = ""

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.names.add(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


def test_a_hostile_title_means_nothing_in_a_page() -> None:
    """No tag of it is one, and it is still read as it was written, its control characters made visible."""
    page = _Tags()
    page.feed(shipped("digest.html"))
    assert {"script", "a", "img"}.isdisjoint(page.names)
    assert "<script>alert(1)</script> | [click](http://example.com)" in page.text
    assert "\\x1b[31mred\\u202e &amp; **bold**" in page.text


def test_a_hostile_title_means_nothing_in_markdown() -> None:
    """Its line stays one row of the table, with as many cells as the others; no HTML, link or code begins in it."""
    rows = [line for line in shipped("digest.md").splitlines() if "alert(1)" in line]
    assert rows
    for row in rows:
        cells = row.replace("\\|", "").count("|") - 1
        assert cells == 5
        assert "<" not in row
        assert "\\[click\\](http\\://" in row
        assert "\\`code\\`" in row
        assert "www\\." in row


def test_the_text_is_80_columns_wide() -> None:
    """No line is wider, and nothing in it steers a terminal."""
    lines = shipped("digest.txt").splitlines()
    assert all(width(line) <= 80 for line in lines)
    assert all(line.isprintable() for line in lines)


def test_the_json_steers_no_terminal() -> None:
    """What is not printable is escaped, and comes back as it was written."""
    text = shipped("digest.json")
    assert all(letter.isprintable() or letter == "\n" for letter in text)
    assert script().HOSTILE in [item["title"] for item in msgspec.json.decode(text)["new"]["first"]]
