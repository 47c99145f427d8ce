"""
Journals whose bytes are not as they were written: a torn end is set aside, anything else is named and left alone.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from backlog_store.backends.jsonl import open_jsonl, repair
from backlog_store.backends.jsonl.lines import header_line
from backlog_store.backends.port import PutRecord, Sighting
from backlog_store.errors import DataCorrupt, SchemaMismatch
from backlog_store.testing.clocks import START
from backlog_store.testing.conformance.base import apply, events_of, item_of, record_of
from backlog_store.testing.contents import contents
from backlog_store.testing.samples import a_record, an_item, first, then

A = an_item("bl_a", dedupe_key="ka")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """
    A store of four transactions; the last one is small, so that each of its bytes can be tried.
    """
    folder = tmp_path / "store"
    store = open_jsonl(folder)
    apply(store, first(A), PutRecord(a_record("r1")))
    apply(store, then(A, title="changed"))
    apply(store, PutRecord(a_record("r2")), Sighting("bl_a", "ruff", START, START))
    apply(store, PutRecord(a_record("last")))
    store.close()
    return folder


def lines_of(folder: Path) -> list[bytes]:
    """
    Return the lines of the journal: the header, a line that says where events begin, and the transactions.
    """
    return (folder / "journal.jsonl").read_bytes().splitlines(keepends=True)


def write_lines(folder: Path, *lines: bytes) -> None:
    """
    Replace the journal's bytes.
    """
    (folder / "journal.jsonl").write_bytes(b"".join(lines))


def kept_aside(folder: Path) -> list[bytes]:
    """
    Return what was set aside.
    """
    cut = folder / "cut"
    return sorted(path.read_bytes() for path in cut.iterdir()) if cut.exists() else []


def check_recovery(folder: Path, tail: bytes) -> None:
    """
    Check that a journal with an unfinished *tail* opens without it, twice alike, and takes and keeps what follows.
    """
    store = open_jsonl(folder)
    assert record_of(store, "view", "last") is None
    before = contents(store)
    again = open_jsonl(folder)
    assert before == contents(again)
    again.close()
    if tail:
        assert any(f"{len(tail)} bytes" in warning for warning in store.check().warnings)
    apply(store, PutRecord(a_record("next")))
    store.close()

    store = open_jsonl(folder)
    assert before != contents(store)
    assert record_of(store, "view", "next") is not None
    assert record_of(store, "view", "r2") is not None
    assert [1, 2] == [event.revision for event in events_of(store)]
    health = store.check()
    store.close()
    assert health.ok
    assert kept_aside(folder) == ([tail] if tail else [])
    assert health.facts.get("cut", "0") == str(int(bool(tail)))
    for kept in (folder / "cut").glob("*"):
        kept.unlink()


def test_an_end_torn_at_any_byte_is_set_aside_and_the_store_goes_on(folder: Path) -> None:
    """Whatever part of the last transaction reached the disk, it is kept aside, told, and nothing else is lost."""
    *lines, last = lines_of(folder)
    for length in range(len(last)):
        write_lines(folder, *lines, last[:length])
        check_recovery(folder, last[:length])


@pytest.mark.parametrize("extra", [0, 1, 4_096])
def test_an_end_filled_with_zeros_is_set_aside(folder: Path, extra: int) -> None:
    """A file that grew before its bytes came ends in zeros; those are no transaction either."""
    *lines, last = lines_of(folder)
    for length in range(0, len(last), 16):
        tail = last[:length] + bytes(len(last) - length + extra)
        write_lines(folder, *lines, tail)
        check_recovery(folder, tail)


def test_an_end_whose_first_part_never_came_is_set_aside(folder: Path) -> None:
    """Of a write over several blocks the last one may arrive alone: a newline alone makes no whole line."""
    *lines, last = lines_of(folder)
    for length in (1, 16, len(last) // 2, len(last) - 1):
        tail = bytes(length) + last[length:]
        write_lines(folder, *lines, tail)
        check_recovery(folder, tail)


def test_reading_leaves_an_unfinished_end_alone(folder: Path) -> None:
    """Only a writer, which holds the lock alone, takes bytes away."""
    *lines, last = lines_of(folder)
    write_lines(folder, *lines, last[:-1])
    store = open_jsonl(folder)
    assert record_of(store, "view", "last") is None
    store.close()
    assert [*lines, last[:-1]] == lines_of(folder)
    assert kept_aside(folder) == []


def test_the_same_end_torn_again_is_cut_again(folder: Path) -> None:
    """A transaction that is repeated and torn at the same byte once more is cut once more."""
    *lines, last = lines_of(folder)
    for _ in range(2):
        write_lines(folder, *lines, last[:50])
        store = open_jsonl(folder)
        apply(store, PutRecord(a_record("next")))
        store.close()
        assert lines_of(folder)[:-1] == lines
        assert [last[:50]] == kept_aside(folder)


def test_any_damaged_byte_within_is_named_and_nothing_is_touched(folder: Path) -> None:
    """One changed byte of any line but the last makes the store refuse to open, and say which file and where."""
    lines = lines_of(folder)
    offset = 0
    for number, line in enumerate(lines[:-1]):
        for at in {*range(0, len(line), 37), len(line) - 1}:
            damaged = bytearray(line)
            damaged[at] ^= 0x01
            write_lines(folder, *lines[:number], bytes(damaged), *lines[number + 1 :])
            before = (folder / "journal.jsonl").read_bytes()
            with pytest.raises(DataCorrupt) as error:
                open_jsonl(folder)
            assert (str(folder / "journal.jsonl"), offset) == (error.value.path, error.value.offset)
            assert before == (folder / "journal.jsonl").read_bytes()
        offset += len(line)


def test_damage_is_noticed_while_a_store_is_open(folder: Path) -> None:
    """A handle that is open when the file is damaged says so in its check."""
    store = open_jsonl(folder)
    lines = lines_of(folder)
    write_lines(folder, *lines[:3], lines[3].replace(b"seq", b"sEq"), *lines[4:])
    health = store.check()
    assert not health.ok
    assert any("damaged at byte" in problem for problem in health.problems)
    store.close()


@pytest.mark.parametrize("number", [2, 3, 4])
def test_a_repair_sets_the_damaged_line_aside_and_keeps_all_others(folder: Path, number: int) -> None:
    """What a repair takes out is kept byte for byte and told; each other transaction is there, and positions stay."""
    whole = open_jsonl(folder)
    positions = {event.revision: event.position for event in events_of(whole)}
    whole.close()
    lines = lines_of(folder)
    damaged = lines[number].replace(b'"kind"', b'"kynd"').replace(b'"title"', b'"tytle"')
    write_lines(folder, *lines[:number], damaged, *lines[number + 1 :])
    done = repair(folder)
    assert [(sum(map(len, lines[:number])), len(damaged))] == [(piece.offset, piece.size) for piece in done.pieces]
    assert len(lines) - 2 == done.kept
    assert [damaged] == kept_aside(folder)

    store = open_jsonl(folder)
    item = item_of(store, "bl_a")
    found = [record_of(store, "view", id) is not None for id in ("r1", "r2", "last")]
    events = {event.revision: event.position for event in events_of(store)}
    apply(store, PutRecord(a_record("after")))
    assert store.check().ok
    store.close()
    assert found == [number != 2, number != 4, True]
    revision = number - 1 if number < 4 else 0
    assert {at: position for at, position in positions.items() if at != revision} == events
    assert (item.title if item else "") == ("About bl_a" if number == 3 else "changed")


def test_a_damaged_newline_costs_one_transaction(folder: Path) -> None:
    """Where two lines run into one, the second, which is whole, is no part of what a repair takes out."""
    lines = lines_of(folder)
    write_lines(folder, *lines[:-2], lines[-2][:-1] + b"\r", lines[-1])
    with pytest.raises(DataCorrupt):
        open_jsonl(folder)
    repair(folder)
    assert [lines[-2][:-1] + b"\r"] == kept_aside(folder)
    store = open_jsonl(folder)
    found = [record_of(store, "view", id) is not None for id in ("r1", "r2", "last")]
    store.close()
    assert found == [True, False, True]


def test_a_repair_of_a_sound_journal_changes_nothing(folder: Path) -> None:
    """Nothing is rewritten where nothing is wrong."""
    before = (folder / "journal.jsonl").read_bytes()
    done = repair(folder)
    assert done.pieces == ()
    assert before == (folder / "journal.jsonl").read_bytes()
    assert kept_aside(folder) == []


def test_a_missing_transaction_is_noticed(folder: Path) -> None:
    """A line that is gone altogether is damage too; a repair goes on with what is there, and says what is missing."""
    lines = lines_of(folder)
    write_lines(folder, *lines[:3], *lines[4:])
    with pytest.raises(DataCorrupt, match="transaction 3 should stand here"):
        open_jsonl(folder)
    assert ["the transactions 3 to 3 are missing"] == [piece.reason for piece in repair(folder).pieces]
    store = open_jsonl(folder)
    assert record_of(store, "view", "last") is not None
    store.close()


def test_a_transaction_that_is_there_twice_is_noticed(folder: Path) -> None:
    """A line that was copied is not carried out again; a repair keeps the first."""
    lines = lines_of(folder)
    write_lines(folder, *lines[:3], lines[2], *lines[3:])
    with pytest.raises(DataCorrupt):
        open_jsonl(folder)
    assert len(repair(folder).pieces) == 1
    store = open_jsonl(folder)
    assert [1, 2] == [event.revision for event in events_of(store)]
    store.close()


@pytest.mark.parametrize("header", [b"", b"\n", b"{}\n", b'{"format":"something else","version":1}\n', b"\0" * 80])
def test_a_journal_without_its_first_line_is_damaged(folder: Path, header: bytes) -> None:
    """A file that is no journal is never taken for an empty one; a repair keeps what follows the header."""
    write_lines(folder, header, *lines_of(folder)[1:])
    with pytest.raises(DataCorrupt) as error:
        open_jsonl(folder)
    assert error.value.offset == 0
    repair(folder)
    store = open_jsonl(folder)
    found = record_of(store, "view", "last")
    store.close()
    assert found is not None


def test_a_first_line_that_is_no_text_is_damaged(tmp_path: Path) -> None:
    """Bytes that are no UTF-8 in the header are told as damage at its place."""
    open_jsonl(tmp_path).close()
    path = tmp_path / "journal.jsonl"
    path.write_bytes(path.read_bytes().replace(b"journal", b"jo\xccrnal"))
    with pytest.raises(DataCorrupt) as error:
        open_jsonl(tmp_path)
    assert error.value.offset == 0


def test_an_emptied_journal_is_damaged(folder: Path) -> None:
    """A journal cut to nothing is damage, not an empty backlog, until a person has it repaired."""
    write_lines(folder)
    with pytest.raises(DataCorrupt):
        open_jsonl(folder)
    repair(folder)
    store = open_jsonl(folder)
    assert contents(store) == []
    store.close()


def test_a_journal_of_a_newer_version_is_refused(folder: Path) -> None:
    """What a later release writes in another form is neither read wrongly nor called damage, nor repaired."""
    newer = header_line(generation=1, first=1).replace(b'"version":1', b'"version":2')
    write_lines(folder, newer, b"in whatever form\n")
    for act in (open_jsonl, repair):
        with pytest.raises(SchemaMismatch) as error:
            act(folder)
        assert (error.value.found, error.value.expected) == ("2", "1")
    assert [newer, b"in whatever form\n"] == lines_of(folder)
