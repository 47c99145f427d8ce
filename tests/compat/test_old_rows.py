"""Whatever stands in an old file is read, mapped and told; nothing of it breaks the store."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from backlog_store.backends.memory import MemoryBackend
from backlog_store.backlog import Backlog
from backlog_store.executors.local import LocalExecutor
from backlog_store.legacy.files import OldFiles
from backlog_store.legacy.lines import Span, read_lines
from backlog_store.legacy.rows import read_event, read_item
from backlog_store.rules import draft_faults
from backlog_store.testing.clocks import START
from backlog_store.verify import verify

NAMES = [
    "id", "created_at", "updated_at", "env", "service", "category", "title", "description", "priority", "status",
    "owner", "due_date", "source", "dedupe_key", "evidence_refs", "tags", "meta", "item_id", "ts", "type", "message",
    "actor", "unknown",
]  # fmt: skip
SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats()
    | st.text(st.characters(codec=None, exclude_categories=()), max_size=12)
    | st.sampled_from(["", "prod", "P1", "done", "k", "2026-02-30", "2026-03-01T09:30:00Z", "0001-01-01T00:00:00+14:00",
                       "a/b", "x" * 2000, "9999-12-31T23:59:59-12:00", "[1]", "{", '{"a": 1}'])
)  # fmt: skip
VALUES = st.recursive(
    SCALARS, lambda part: st.lists(part, max_size=3) | st.dictionaries(st.text(max_size=3), part, max_size=3)
)
ROWS = st.dictionaries(st.sampled_from(NAMES), VALUES)


@given(ROWS)
def test_any_row_becomes_an_item_that_can_be(raw: dict[str, Any]) -> None:
    """Each member may hold anything; what is kept has no fault, and what was changed is told."""
    row = read_item(raw, now=START)
    assert [] == draft_faults(row.draft)
    assert row == read_item(raw, now=START)
    for name in ("priority", "status"):
        if raw.get(name) not in (None, row.draft.priority if name == "priority" else row.status):
            assert name in [one.field for one in row.mapped]


def test_more_kinds_of_evidence_than_an_item_keeps_do_not_shut_the_store() -> None:
    """The first fifty stay, the row says what there was, and every other row is taken in."""
    row = read_item({"id": "bl_1", "evidence_refs": {f"k{n:02d}": ["a"] for n in range(60)}}, now=START)
    assert [f"k{n:02d}" for n in range(50)] == list(row.draft.evidence_refs)
    assert 60 == len(row.draft.meta["legacy"]["evidence_refs"])
    assert ["evidence_refs"] == [one.field for one in row.mapped if one.field != "created_at"]


def test_however_many_objects_stand_on_one_line_each_is_read(tmp_path: Path) -> None:
    """A file that lost its newlines is one line; it is told, and all of it is there."""
    path = tmp_path / "items.jsonl"
    path.write_text("\r".join(json.dumps({"id": f"bl_{n}"}) for n in range(120)))
    (line,) = read_lines(path, Span(), path.stat().st_size)
    assert [f"bl_{n}" for n in range(120)] == [value["id"] for value in line.values]
    assert "120 objects" in line.fault


@settings(max_examples=60)
@given(st.lists(ROWS, max_size=8), st.lists(ROWS, max_size=8))
def test_any_rows_make_a_store_that_is_whole(items: list[dict[str, Any]], events: list[dict[str, Any]]) -> None:
    """Taken in once or twice, each trail explains its item, and the second time changes nothing."""
    backlog = Backlog(LocalExecutor(MemoryBackend()))
    with tempfile.TemporaryDirectory() as folder:
        files = OldFiles(Path(folder) / "i", Path(folder) / "e")
        for path, rows in ((files.items, items), (files.events, events)):
            path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="ascii")
        files.take_in(backlog)
        before = [(item, backlog.trail(item.id)) for item in backlog.each()]
        assert [] == backlog.read(verify).faults
        files.items.write_text("\n" + files.items.read_text())
        taken = files.take_in(backlog)
        assert (0, 0, 0, 0) == (taken.created, taken.changed, taken.merged, taken.events)
        assert before == [(item, backlog.trail(item.id)) for item in backlog.each()]


@given(st.lists(st.binary(max_size=40), max_size=12), st.integers(0, 5))
def test_junk_hides_no_whole_line(junk: list[bytes], cut: int) -> None:
    """Between any bytes every whole line is read, also from any later start."""
    lines = []
    for number, noise in enumerate(junk):
        lines += [noise.replace(b"\n", b" "), b'{"id": "bl_%d"}' % number]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "items.jsonl"
        path.write_bytes(b"\n".join(lines) + b"\n")
        size = path.stat().st_size
        found = [value.get("id") for line in read_lines(path, Span(), size) for value in line.values]
        assert {f"bl_{number}" for number in range(len(junk))} <= set(found)
        skipped = b"".join(line + b"\n" for line in lines[:cut])
        late = [line for line in read_lines(path, Span(len(skipped), cut), size) if len(lines) >= cut]
        assert [line for line in read_lines(path, Span(), size) if line.number > cut] == late


@given(ROWS)
def test_any_row_becomes_an_event_that_can_be(raw: dict[str, Any]) -> None:
    """An event has an id, a type and an actor, whatever stood there."""
    row = read_event(raw, now=START)
    assert row.id
    assert row.type
    assert row.actor
    assert row == read_event(raw, now=START)
