"""
Lines written over reserved space: whatever part of one reached the disk, what was acknowledged is there and stays.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest

from backlog_store.backends.fs import FileSystem
from backlog_store.backends.jsonl import JsonlBackend, open_jsonl, repair
from backlog_store.backends.jsonl.files import FileLock, Paths
from backlog_store.backends.port import PutRecord
from backlog_store.errors import DataCorrupt, StorageFull
from backlog_store.testing.conformance.base import apply, record_of
from backlog_store.testing.contents import contents
from backlog_store.testing.samples import a_record
from tests.crash.files import Logged, Small

SECTOR = 512
#: So many lines of one handle are written before it reserves space.
FIRST = 4


def journal_of(folder: Path) -> Path:
    """
    Return the path of the journal.
    """
    return folder / "journal.jsonl"


def put(store: JsonlBackend, id: str, *, text: str = "") -> None:
    """
    Write one small transaction.
    """
    apply(store, PutRecord(a_record(id, text=text)))


def has_filler(folder: Path) -> bool:
    """
    Tell whether the journal has reserved space.
    """
    return journal_of(folder).read_bytes().endswith(b"\n\n")


def reserved(folder: Path, *, fs: FileSystem | None = None) -> JsonlBackend:
    """
    Return an open store whose journal has reserved space behind its last line.
    """
    store = open_jsonl(folder, fs=fs)
    for number in range(FIRST + 1):
        put(store, f"r{number}")
    assert has_filler(folder)
    return store


def overwritten(image: bytes, offset: int, data: bytes) -> bytes:
    """
    Return what a file is after a write; a gap in front of it is zeros.
    """
    image = image.ljust(offset, b"\0")
    return image[:offset] + data + image[offset + len(data) :]


def power_cuts(durable: bytes, after: bytes, start: int, end: int) -> Iterator[bytes]:
    """
    Yield what a disk may hold of a write without its sync: any sectors of the line, of filler all, half or none.
    """
    line_end = start + len(after[start:end].rstrip(b"\n")) + 1
    grid = [start, *range(start - start % SECTOR + SECTOR, line_end, SECTOR)]
    before = durable.ljust(len(after), b"\0")
    behind = grid[-1] - grid[-1] % SECTOR + SECTOR
    for chosen in product((False, True), repeat=len(grid)):
        image = bytearray(before)
        for at, came in zip(grid, chosen, strict=True):
            stop = min(at - at % SECTOR + SECTOR, end)
            if came:
                image[at:stop] = after[at:stop]
        for every in (0, 1, 2) if end > behind else (1,):
            for number, at in enumerate(range(behind, end, SECTOR)):
                if every and number % every == 0:
                    image[at : at + SECTOR] = after[at : at + SECTOR]
            yield bytes(image)
        yield bytes(image[: max(len(durable), line_end)])
        yield bytes(image[: len(durable)])


def crash_images(start: bytes, log: list[tuple[str, int, bytes]]) -> Iterator[tuple[int, bytes]]:
    """
    Yield how many transactions are acknowledged and what the file may be, for a crash at each point of *log*.
    """
    durable = current = start
    done = 0
    for operation, offset, data in log:
        if operation == "acknowledged":
            done += 1
        elif operation == "sync":
            durable = current
        elif operation == "truncate":
            current = current[:offset]
            yield done, durable
            yield done, current
        else:
            after = overwritten(current, offset, data)
            line = len(data.rstrip(b"\n")) + 1
            for length in (*range(0, line, max(1, line // 250)), line - 1, line, line + 1):  # the process is killed
                yield done, overwritten(current, offset, data[:length])
            for image in power_cuts(durable, after, offset, offset + len(data)):
                yield done, image
            current = after


def test_a_crash_at_any_byte_or_with_any_sectors_loses_nothing_acknowledged(tmp_path: Path) -> None:
    """Appends, the first reserve, lines over it and its cutting: acknowledged ⊆ found ⊆ begun, and it goes on."""
    fs = Logged("journal.jsonl")
    store = open_jsonl(tmp_path / "model", fs=fs)
    for number in range(FIRST - 1):
        put(store, f"r{number}")
    start = journal_of(tmp_path / "model").read_bytes()
    expected = [contents(store)]
    fs.log.clear()
    for number, text in enumerate(("", "", "", "x" * 1_500, "\\n" * 300), FIRST - 1):
        put(store, f"r{number}", text=text)
        fs.log.append(("acknowledged", 0, b""))
        expected.append(contents(store))
    store.close()
    assert [operation for operation, _, _ in fs.log[-1:]] == ["truncate"]

    folder = tmp_path / "store"
    open_jsonl(folder).close()
    tried = set()
    for done, image in crash_images(start, fs.log):
        if (done, image) in tried:
            continue
        tried.add((done, image))
        check_image(folder, image, expected[done : done + 2])
    assert len(tried) > 800


def check_image(folder: Path, image: bytes, expected: list[list[bytes]]) -> None:
    """
    Check that a store with these bytes holds one of *expected*, and keeps it beside what is written next.
    """
    shutil.rmtree(folder / "cut", ignore_errors=True)
    journal_of(folder).write_bytes(image)
    store = open_jsonl(folder)
    found = contents(store)
    assert found in expected
    assert image == journal_of(folder).read_bytes()
    put(store, "next")
    store.close()
    store = open_jsonl(folder)
    assert [line for line in contents(store) if b'"next"' not in line] == found
    assert record_of(store, "view", "next") is not None
    assert store.check().ok
    store.close()
    for kept in (folder / "cut").glob("*"):
        assert kept.read_bytes() in image


@pytest.mark.parametrize("has_space", [True, False])
def test_a_damaged_last_line_is_no_unfinished_one(tmp_path: Path, has_space: bool) -> None:
    """A changed byte leaves no hole and an end where one belongs: it was acknowledged, and is not cut away silently."""
    folder = tmp_path / "store"
    store = reserved(folder)
    put(store, "last", text="x" * 600)
    whole = journal_of(folder).read_bytes()
    store.close()
    if not has_space:
        whole = whole.rstrip(b"\n") + b"\n"
    end = len(whole.rstrip(b"\n")) + 1
    start = whole.rindex(b'\n{"sum"', 0, end) + 1
    for at in range(start, end - len("\t]}\n")):
        damaged = bytearray(whole)
        damaged[at] ^= 0x01
        journal_of(folder).write_bytes(damaged)
        with pytest.raises(DataCorrupt) as error:
            open_jsonl(folder)
        assert start == error.value.offset
        assert damaged == journal_of(folder).read_bytes()
    repaired = repair(folder)
    assert [(start, end - start)] == [(piece.offset, piece.size) for piece in repaired.pieces]


def test_damage_in_front_of_filler_is_named(tmp_path: Path) -> None:
    """Filler or zeros in an acknowledged line, with others behind it, are damage; a repair loses that one."""
    folder = tmp_path / "store"
    reserved(folder)
    whole = journal_of(folder).read_bytes()
    lines = whole.rstrip(b"\n").splitlines(keepends=True)
    at = sum(map(len, lines[:3]))
    for hole in (b"\n", b"\n" * 60, bytes(60)):
        for inside in (0, 1, 50, len(lines[3]) - len(hole)):
            journal_of(folder).write_bytes(overwritten(whole, at + inside, hole))
            if overwritten(whole, at + inside, hole) == whole:
                continue
            with pytest.raises(DataCorrupt) as error:
                open_jsonl(folder)
            assert at == error.value.offset
    repair(folder)
    store = open_jsonl(folder)
    assert [record_of(store, "view", f"r{number}") is not None for number in range(FIRST + 1)] == [
        True, False, True, True, True,
    ]  # fmt: skip


def test_other_handles_see_lines_over_reserved_space(tmp_path: Path) -> None:
    """The file does not grow, and still each handle sees at once what another one wrote, and writes behind it."""
    folder = tmp_path / "store"
    one = reserved(folder)
    two = open_jsonl(folder)
    size = journal_of(folder).stat().st_size
    for number in range(20):
        writer, reader = (one, two) if number % 2 else (two, one)
        put(writer, f"n{number}")
        assert record_of(reader, "view", f"n{number}") is not None
    assert size == journal_of(folder).stat().st_size
    assert contents(one) == contents(open_jsonl(folder))


def test_a_copy_of_the_same_length_that_was_put_back_is_noticed(tmp_path: Path) -> None:
    """A handle whose last line is filler again, because an older copy was restored in place, reads it anew."""
    folder = tmp_path / "store"
    store = reserved(folder)
    old, before = journal_of(folder).read_bytes(), contents(store)
    put(store, "later")
    assert len(old) == journal_of(folder).stat().st_size
    journal_of(folder).write_bytes(old)
    assert before == contents(store)
    put(store, "again")
    assert contents(store) == contents(open_jsonl(folder))


def test_a_closed_store_is_a_plain_file(tmp_path: Path) -> None:
    """Closing gives the space back; who finds it closed finds lines and nothing else."""
    folder = tmp_path / "store"
    store = reserved(folder)
    before = contents(store)
    store.close()
    assert not has_filler(folder)
    assert b"" not in journal_of(folder).read_bytes().splitlines()
    assert before == contents(open_jsonl(folder))


def test_closing_beside_a_process_at_work_does_not_wait_for_it(tmp_path: Path) -> None:
    """Where another process holds the lock, filler stays behind, harms nobody, and the next line goes over it."""
    folder = tmp_path / "store"
    store = reserved(folder)
    before = contents(store)
    lock = FileLock(FileSystem(), Paths(folder).lock, timeout_s=1)
    with lock.held(exclusive=True):
        store.close()
    assert has_filler(folder)
    size = journal_of(folder).stat().st_size
    again = open_jsonl(folder)
    assert before == contents(again)
    put(again, "next")
    assert size == journal_of(folder).stat().st_size
    health = again.check()
    assert health.ok
    assert health.warnings == ()
    assert int(health.facts["reserved bytes"]) == size - int(health.facts["bytes"])


def test_a_few_writes_reserve_nothing(tmp_path: Path) -> None:
    """A command that writes once does not pay for space that it will not use."""
    folder = tmp_path / "store"
    store = open_jsonl(folder)
    for number in range(FIRST):
        put(store, f"r{number}")
    assert not has_filler(folder)


def written_until_full(store: JsonlBackend) -> int:
    """
    Write until the disk is full; return how many writes went through.
    """
    for number in range(200):
        try:
            put(store, f"r{number:03d}")
        except StorageFull:
            return number
    raise AssertionError("the disk never was full")


def test_a_disk_without_room_for_more_than_lines_takes_lines(tmp_path: Path) -> None:
    """Reserving is no part of a write: what fits is written to the last byte, then the disk is called full."""
    folder = tmp_path / "store"
    store = open_jsonl(folder, fs=Small(10_000))
    number = written_until_full(store)
    size = len(journal_of(folder).read_bytes().rstrip(b"\n")) + 1
    line = size - journal_of(folder).read_bytes().rindex(b'{"sum"')
    assert 10_000 - line < size <= 10_000
    found = open_jsonl(folder)
    assert [record_of(found, "view", f"r{at:03d}") is not None for at in range(number + 1)] == [True] * number + [False]
    store.close()
    assert found.check().ok


def test_tools_for_lines_of_json_pass_over_filler(tmp_path: Path) -> None:
    """Reserved space is empty lines, which JSON readers and ``grep`` skip; all else is one object a line."""
    folder = tmp_path / "store"
    reserved(folder)
    lines = journal_of(folder).read_text(encoding="utf-8").split("\n")
    found = [json.loads(line) for line in lines if line]
    assert [line.get("seq") for line in found] == [None, *range(1, FIRST + 3)]


def test_a_program_that_ends_with_an_open_store_is_silent(tmp_path: Path) -> None:
    """Nobody is shown an error of the interpreter's end."""
    program = """
import os
import sys
from backlog_store import open_backlog
from backlog_store.model import Draft
backlog = open_backlog(sys.argv[1])
backlog.upsert(Draft(title="left open", dedupe_key="k"))
os.kept = backlog  # what a module holds outlives the modules that would close it
"""
    done = subprocess.run(
        [sys.executable, "-c", program, f"jsonl://{tmp_path}/store"], capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
