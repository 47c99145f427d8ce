"""Files of the original module: opened as they are, followed while old processes write, never changed."""

from __future__ import annotations

import errno
import json
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from backlog_store import JsonlBacklogStore
from backlog_store.backends.jsonl import open_jsonl
from backlog_store.compat import files
from backlog_store.errors import StorageFull
from backlog_store.verify import verify
from tests.compat.samples import an_item
from tests.crash.files import Fails

ASSETS = Path(__file__).parents[1] / "assets" / "legacy"
ITEMS, EVENTS = "items.jsonl", "events.jsonl"


def a_row(id: str, **fields: Any) -> dict[str, Any]:
    """Return an item's row as the original module writes it."""
    times = {"created_at": "2025-03-01T08:00:00+00:00", "updated_at": "2025-03-01T08:00:00+00:00"}
    return an_item(id=id, title=f"About {id}", **times).to_dict() | fields


def write(path: str, *rows: dict[str, Any], end: str = "\n") -> None:
    """Append rows as an old process does."""
    with Path(path).open("a", encoding="utf-8") as file:
        file.write("\n".join(json.dumps(row) for row in rows) + end)


@pytest.fixture
def dirty(tmp_path: Path) -> JsonlBacklogStore:
    """Open a copy of the assets; the tests' folder is the working folder."""
    for name in (ITEMS, EVENTS):
        shutil.copyfile(ASSETS / name, tmp_path / name)
    return JsonlBacklogStore(ITEMS, EVENTS)


def test_everything_that_can_be_read_is_there(dirty: JsonlBacklogStore) -> None:
    """Torn lines, bad bytes, blocks of NUL and odd values hide nothing; the last line of an id wins."""
    items = {item.title: item for item in dirty.list_items()}
    assert {
        "About bl_000000000001", "Behind a torn line", "Gr\ufffd\ufffde", "About bl_000000000006",
        "About bl_000000000007", "Nameless", "Odd id", "About bl_000000000013", "About bl_000000000014",
        "About bl_000000000015", "About bl_000000000016",
    } == items.keys()  # fmt: skip
    first = items["About bl_000000000001"]
    assert ("in_progress", "anna") == (first.status, first.owner)
    done = items["About bl_000000000016"]
    assert ("done", "2024-01-02T08:00:00Z") == (done.status, done.updated_at)


def test_duplicate_keys_become_one_item_with_all_evidence(dirty: JsonlBacklogStore) -> None:
    """The earliest stays; the other's id leads to it, and its evidence, tags and events are there."""
    first = dirty.get("bl_000000000001")
    assert first is not None
    assert first == dirty.get("bl_000000000002") == dirty.get_by_dedupe_key("slo:checkout")
    assert {"incidents": ["inc-1", "inc-2"], "digests": ["d-9"]} == first.evidence_refs
    assert ["burn", "late", "slo"] == first.tags
    assert ["ev_000000000001", "ev_000000000003", "ev_000000000002"] == [
        event.id for event in dirty.get_events("bl_000000000002") if event.message != "another event of this id"
    ]
    other_env = dirty.get("bl_000000000014")
    assert other_env is not None
    assert "staging" == other_env.env


def test_impossible_values_are_mapped_and_kept(dirty: JsonlBacklogStore) -> None:
    """What an item holds is possible; what stood there is in `meta["legacy"]`."""
    item = dirty.get("bl_000000000006")
    assert item is not None
    assert ("a-b", "in_progress", "P2", "", ["a,b"], {"value": ["x"]}) == (
        item.env, item.status, item.priority, item.due_date, item.tags, item.evidence_refs,
    )  # fmt: skip
    assert {
        "env": "a/b", "status": "wip", "priority": "urgent", "due_date": "next week", "tags": "a,b",
        "evidence_refs": ["x"],
    } == item.meta["legacy"]  # fmt: skip
    odd, bad, unknown = dirty.get("bl 11/ä"), dirty.get("bl_000000000005"), dirty.get("bl_000000000015")
    assert odd is not None
    assert bad is not None
    assert unknown is not None
    assert {"id": "bl 11/ä"} == odd.meta["legacy"]
    assert "Gr\\xf6\\xdfe" in bad.meta["legacy"]["line"]
    assert {"assignee": "berta", "updated_at": "2025-03-04T08:00:00+00:00"} == unknown.meta["legacy"]


@pytest.mark.parametrize("told", [
    r"events.jsonl, line 5 .*no JSON", r"events.jsonl, line 8 .*noon", r"items.jsonl, line 4 .*no JSON",
    r"items.jsonl, line 5 .*no UTF-8", r"items.jsonl, line 6 .*'urgent'", r"items.jsonl, line 6 .*'wip'",
    r"items.jsonl, line 7 .*64 NUL bytes", r"items.jsonl, line 8 .*no JSON", r"items.jsonl, line 11 .*'yesterday'",
    r"items.jsonl, line 12 .*'bl 11/ä'", r"items.jsonl, line 13 .*not an object", r"items.jsonl, line 16 .*assignee",
    r"items.jsonl, line 18 .*the file ends inside this line", r"bl_000000000002 has the same key",
    r"ev_000000000002: this id stands for two events", r"ev_000000000004: belongs to no item: 'bl_gone'",
])  # fmt: skip
def test_each_oddity_is_told(told: str, dirty: JsonlBacklogStore) -> None:
    """The user can read what was wrong and where, now and later."""
    import re

    assert [note for note in dirty.legacy_notes() if re.search(told, note)]
    again = JsonlBacklogStore(ITEMS, EVENTS)
    assert dirty.legacy_notes() == again.legacy_notes()


def test_every_trail_explains_its_item(dirty: JsonlBacklogStore) -> None:
    """The store's own event first, then those of callers; the chain holds."""
    assert [] == dirty.backlog.read(verify).faults
    trail = dirty.backlog.trail("bl_000000000001")
    assert ("created", False) == (trail[0].type, trail[0].added)
    assert 4 == sum(event.added for event in trail)


def test_the_old_files_are_not_touched(dirty: JsonlBacklogStore) -> None:
    """Whatever is done to the store, they are byte for byte what they were."""
    item = dirty.get("bl_000000000001")
    assert item is not None
    item.title = "T"
    dirty.update(item)
    dirty.create(an_item())
    dirty.cleanup(1)
    for name in (ITEMS, EVENTS):
        assert (ASSETS / name).read_bytes() == Path(name).read_bytes()


def test_opening_again_takes_nothing_in_again(dirty: JsonlBacklogStore) -> None:
    """Neither items nor events double, and what was changed since stays."""
    item = dirty.get("bl_000000000001")
    assert item is not None
    item.title = "T"
    dirty.update(item)
    before = [(item, dirty.get_events(item.id)) for item in dirty.list_items()]
    Path(ITEMS).touch()
    again = JsonlBacklogStore(ITEMS, EVENTS)
    assert before == [(item, again.get_events(item.id)) for item in again.list_items()]


def test_a_missing_file_is_an_empty_one() -> None:
    """Events without items, items without events, and neither."""
    with JsonlBacklogStore(ITEMS, EVENTS) as store:
        assert [] == store.list_items()
        write(ITEMS, a_row("bl_1"))
        assert ["bl_1"] == [item.id for item in store.list_items()]


# --- while old processes write ---------------------------------------------------------------------------------------


def test_what_an_old_process_appends_is_taken_in() -> None:
    """New items, changes, moves across the workflow, and events; at the next call of an open store."""
    write(ITEMS, a_row("bl_1"), a_row("bl_2", status="done"))
    store = JsonlBacklogStore(ITEMS, EVENTS)
    assert 2 == len(store.list_items())
    write(ITEMS, a_row("bl_1", status="done", title="T"), a_row("bl_2", status="open"), a_row("bl_3"))
    write(EVENTS, {"id": "ev_1", "item_id": "bl_1", "ts": "2025-03-01T09:00:00+00:00", "message": "m"})
    assert [("bl_1", "done", "T"), ("bl_2", "open", "About bl_2"), ("bl_3", "open", "About bl_3")] == [
        (item.id, item.status, item.title) for item in store.list_items()
    ]
    assert ["m"] == [event.message for event in store.get_events("bl_1")]
    assert [] == store.backlog.read(verify).faults


def test_an_old_process_does_not_undo_what_was_done_here() -> None:
    """Its line says all fields as it knew them; only those that it changed since are taken."""
    write(ITEMS, a_row("bl_1"))
    store = JsonlBacklogStore(ITEMS, EVENTS)
    item = store.get("bl_1")
    assert item is not None
    item.owner, item.tags = "anna", ["new"]
    store.update(item)
    write(ITEMS, a_row("bl_1", title="T", tags=["old"]))
    found = store.get("bl_1")
    assert found is not None
    assert ("anna", "T", ["new", "old"]) == (found.owner, found.title, found.tags)
    write(ITEMS, a_row("bl_1", title="T2", tags=["old"]))
    found = store.get("bl_1")
    assert found is not None
    assert ("anna", "T2") == (found.owner, found.title)


def test_a_field_changed_on_both_sides_stays_and_is_told() -> None:
    """The store's value stays; the old process's one is in the trail and in the notes."""
    write(ITEMS, a_row("bl_1"))
    store = JsonlBacklogStore(ITEMS, EVENTS)
    item = store.get("bl_1")
    assert item is not None
    item.owner = "anna"
    store.update(item)
    write(ITEMS, a_row("bl_1", owner="berta"))
    found = store.get("bl_1")
    assert found is not None
    assert "anna" == found.owner
    assert [note for note in store.legacy_notes() if "'berta'" in note and "'anna'" in note]
    assert {"owner": "berta"} == store.backlog.trail("bl_1")[-1].meta["legacy"]["not_taken"]


def test_a_line_that_is_being_written_is_taken_in_when_it_is_whole() -> None:
    """Half a line is told, not lost; once it is whole, nothing is told any more."""
    line = json.dumps(a_row("bl_1"))
    Path(ITEMS).write_text(line[:50], encoding="utf-8")
    store = JsonlBacklogStore(ITEMS, EVENTS)
    assert [] == store.list_items()
    assert 1 == len(store.legacy_notes())
    Path(ITEMS).write_text(line, encoding="utf-8")
    assert ["bl_1"] == [item.id for item in store.list_items()]
    Path(ITEMS).write_text(line + "\n", encoding="utf-8")
    assert ["bl_1"] == [item.id for item in store.list_items()]
    assert [] == store.legacy_notes()


def test_retention_of_an_old_process_loses_nothing_here() -> None:
    """It rewrites the file with fewer lines: what it dropped stays here, what it changed later is taken in."""
    write(ITEMS, a_row("bl_1", status="done"), a_row("bl_2"))
    store = JsonlBacklogStore(ITEMS, EVENTS)
    assert 2 == len(store.list_items())
    Path(ITEMS).write_text(json.dumps(a_row("bl_2", title="T")) + "\n", encoding="utf-8")
    assert [("bl_1", "About bl_1"), ("bl_2", "T")] == [(item.id, item.title) for item in store.list_items()]


def test_what_was_purged_here_does_not_come_back() -> None:
    """The old file still holds it; only a line that is younger than the purge counts."""
    old = {"created_at": "2020-01-01T00:00:00+00:00", "updated_at": "2020-01-01T00:00:00+00:00"}
    write(ITEMS, a_row("bl_1", status="done", **old), a_row("bl_2"))
    store = JsonlBacklogStore(ITEMS, EVENTS)
    assert 1 == store.cleanup(30)
    Path(ITEMS).write_text(Path(ITEMS).read_text() + "\n", encoding="utf-8")
    Path(EVENTS).write_text("", encoding="utf-8")
    Path(ITEMS).write_text("\n" + Path(ITEMS).read_text(), encoding="utf-8")
    assert ["bl_2"] == [item.id for item in store.list_items()]
    write(ITEMS, a_row("bl_1", updated_at="2999-01-01T00:00:00+00:00"))
    assert {"About bl_1", "About bl_2"} == {item.title for item in store.list_items()}
    found = store.get("bl_1")
    assert found is not None
    assert "About bl_1" == found.title
    write(ITEMS, a_row("bl_1", updated_at="2999-01-02T00:00:00+00:00", title="T"))
    assert {"T", "About bl_2"} == {item.title for item in store.list_items()}
    assert [] == store.backlog.read(verify).faults


def test_a_key_that_is_held_here_is_not_taken_twice() -> None:
    """An old process reports what was reported here: one item, both ids, all evidence."""
    store = JsonlBacklogStore(ITEMS, EVENTS)
    mine = store.create(an_item(dedupe_key="k", evidence_refs={"e": ["1"]}))
    write(ITEMS, a_row("bl_old", dedupe_key="k", evidence_refs={"e": ["2"]}))
    found = store.get("bl_old")
    assert found is not None
    assert (mine.id, {"e": ["2", "1"]}) in [
        (found.id, found.evidence_refs),
        (found.id, {"e": found.evidence_refs["e"][::-1]}),
    ]
    assert 1 == len(store.list_items())


# --- size, crashes, several at once ----------------------------------------------------------------------------------


def test_many_rows_and_many_events() -> None:
    """More than one transaction takes in: every item and event is there, in order."""
    write(ITEMS, *(a_row(f"bl_{number:04d}", description="x" * 2000) for number in range(1200)))
    write(EVENTS, *({"id": f"ev_{number:04d}", "item_id": f"bl_{number % 1200:04d}", "ts": "2025-03-01T09:00:00+00:00",
                     "message": str(number)} for number in range(2400)))  # fmt: skip
    with JsonlBacklogStore(ITEMS, EVENTS) as store:
        assert 1200 == store.dashboard()["total"]
        assert ["7", "1207"] == [event.message for event in store.get_events("bl_0007")]


def test_a_disk_that_fills_up_on_the_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is an error, not a backlog with a part of the items; with room again, opening goes on to the end."""
    write(ITEMS, *(a_row(f"bl_{number:04d}", description="x" * 2000) for number in range(1200)))
    fs = Fails()
    monkeypatch.setattr(files, "open_jsonl", partial(open_jsonl, fs=fs))
    written = fs.write

    def fill_up(fd: int, data: bytes, offset: int) -> int:
        if sum(done == "write" for done in fs.done) == 3:
            fs.errors["write"] = errno.EFBIG
        return written(fd, data, offset)

    monkeypatch.setattr(fs, "write", fill_up)
    store = JsonlBacklogStore(ITEMS, EVENTS)
    with pytest.raises(StorageFull):
        store.list_items()
    monkeypatch.setattr(fs, "write", written)
    fs.errors.clear()
    assert 1200 == len(store.list_items(limit=None))
    assert [] == store.backlog.read(verify).faults


def test_processes_that_open_the_old_files_at_once() -> None:
    """Each finds all of it; nothing is there twice."""
    write(ITEMS, *(a_row(f"bl_{number:04d}", dedupe_key=f"k{number % 500}") for number in range(600)))
    write(EVENTS, *({"id": f"ev_{number}", "item_id": f"bl_{number:04d}", "message": "m"} for number in range(600)))
    program = (
        "from backlog_store import JsonlBacklogStore as J\n"
        f"s = J({ITEMS!r}, {EVENTS!r})\n"
        "items = s.list_items(limit=None)\n"
        "print(len(items), sum(len(s.get_events(item.id)) for item in items))"
    )
    running = [subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) for _ in range(3)]
    assert ["500 600\n"] * 3 == [process.communicate()[0] for process in running]
    with JsonlBacklogStore(ITEMS, EVENTS) as store:
        assert [] == store.backlog.read(verify).faults
