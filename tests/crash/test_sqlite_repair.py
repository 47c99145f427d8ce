"""
Repairing an SQLite store: indexes are made anew in place, rows are saved beside it; nothing damaged is ever destroyed.
"""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from backlog_store.backends.registry import open_backend
from backlog_store.backends.sqlite.repair import Saved, repair
from backlog_store.errors import BackendError
from backlog_store.query import HasWords, ItemQuery
from backlog_store.testing.contents import contents
from tests.crash.stored import fill, proof_of


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """
    A store, closed, large enough for several pages a table, its index of words caught up.
    """
    path = tmp_path / "store.db"
    fill(f"sqlite:{path}", count=200)
    store = open_backend(f"sqlite:{path}")
    store.read(lambda reader: reader.search(ItemQuery(where=HasWords(("burns",)))))
    store.close()
    return path


def change(path: Path, *statements: str) -> None:
    """
    Change a file behind the store's back.
    """
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


def all_of(path: Path) -> list[bytes]:
    """
    Return all that a store says.
    """
    store = open_backend(f"sqlite:{path}")
    try:
        return contents(store)
    finally:
        store.close()


def test_a_sound_store_is_left_alone(path: Path) -> None:
    """Nothing is damaged, so nothing is done, and nothing is made beside it."""
    before = sorted(entry.name for entry in path.parent.iterdir())
    assert Saved() == repair(path)
    assert before == sorted(entry.name for entry in path.parent.iterdir())


def test_a_wrong_index_of_words_is_made_anew(path: Path) -> None:
    """Words that the index lost or made up are found by verify, and mended in place; no item is touched."""
    before = all_of(path)
    for statement in (
        "UPDATE item_words SET words = 'nonsense' WHERE rowid = 3",
        "DELETE FROM item_words_data WHERE id > 10",
    ):
        change(path, statement)
        assert any("index of words" in fault for fault in proof_of(f"sqlite:{path}").faults)
        assert repair(path).remade
        assert proof_of(f"sqlite:{path}").faults == []
    assert before == all_of(path)


def damage_page_of(path: Path, table: str) -> None:
    """
    Fill one leaf page of a table, near its middle, with noise.
    """
    with closing(sqlite3.connect(path)) as connection:
        (size,) = connection.execute("PRAGMA page_size").fetchone()
        (root,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (table,)).fetchone()
    data = bytearray(path.read_bytes())
    start = (root - 1) * size
    assert data[start] == 5  # an inner page of a table, see https://www.sqlite.org/fileformat2.html#b_tree_pages
    cells = int.from_bytes(data[start + 3 : start + 5], "big")
    at = start + 12 + 2 * (cells // 2)
    cell = start + int.from_bytes(data[at : at + 2], "big")
    child = int.from_bytes(data[cell : cell + 4], "big")
    data[(child - 1) * size : (child - 1) * size + size] = b"\xa5" * size
    path.write_bytes(data)


@pytest.mark.parametrize("table", ["items", "events"])
def test_readable_rows_are_saved_beside_a_damaged_file(path: Path, table: str) -> None:
    """Rows before and behind the damage are in the new store; what is missing is told; the old file stays as it is."""
    before = {line for line in all_of(path) if line.startswith((b"item ", b"event "))}
    damage_page_of(path, table)
    damaged = path.read_bytes()
    assert proof_of(f"sqlite:{path}").fault_count
    done = repair(path)
    assert damaged == path.read_bytes()
    saved = Path(done.file)
    found = proof_of(f"sqlite:{saved}")
    after = {line for line in all_of(saved) if line.startswith((b"item ", b"event "))}
    assert after < before
    assert len(before) - len(after) < len(before) / 4
    assert found.fault_count
    with pytest.raises(FileExistsError):
        repair(path)


def test_a_file_that_cannot_be_read_at_all_is_left_as_it_is(path: Path, tmp_path: Path) -> None:
    """Without its first page nothing can be saved: the error says so, and names what helps."""
    data = b"\xa5" * 4096 + path.read_bytes()[4096:]
    other = tmp_path / "other.db"
    shutil.copy(path, other)
    other.write_bytes(data)
    with pytest.raises(BackendError, match="backlog restore"):
        repair(other)
    assert data == other.read_bytes()
    assert not other.with_name("other.saved.db").exists()
