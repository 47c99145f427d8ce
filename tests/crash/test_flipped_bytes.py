"""
Flip any byte of an item or an event: opening the store, or proving it, finds it. Places are drawn from a seed.
"""

from __future__ import annotations

import random
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import rows, sql

from backlog_store.backends.registry import open_backend
from backlog_store.errors import BackendError, ConfigError
from backlog_store.testing.contents import contents
from tests.crash.stored import fill, proof_of
from tests.sizes import SEEDS

#: How many places a test tries.
FLIPS = 150
#: Where a row stands, not what it says: in SQLite a row's number, in PostgreSQL the position and the month's table.
PLACES = {"num", "position", "tx", "n", "recorded"}
RNG = random.Random(SEEDS[0])


def test_the_store_is_whole_before(tmp_path: Path, postgres_dsn: str) -> None:
    """Without a flip nothing is found, on any backend."""
    for url in (f"jsonl:{tmp_path}/store", f"sqlite:{tmp_path}/store.db", postgres_dsn):
        fill(url)
        found = proof_of(url)
        assert found.faults == []
        assert found.items > 20
        assert found.events > 30
        assert found.keys > 2
        assert found.sightings > 5
        assert found.links == 2


def finds(url: str) -> bool:
    """
    Tell whether opening a store, or proving it, finds something.
    """
    try:
        return proof_of(url).fault_count > 0
    except (BackendError, ConfigError):  # the second one of a header that names another program
        return True


def said(url: str) -> list[bytes]:
    """
    Return all that a store says of items and events.
    """
    backend = open_backend(url)
    try:
        return [line for line in contents(backend) if not line.startswith(b"record ")]
    finally:
        backend.close()


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """
    The bytes of a journal.
    """
    folder = tmp_path_factory.mktemp("jsonl") / "store"
    fill(f"jsonl:{folder}")
    return (folder / "journal.jsonl").read_bytes()


def test_a_flipped_byte_of_a_journal_is_found(journal: bytes, tmp_path: Path) -> None:
    """Any byte of the file, of the first line and the last one, too: its line says that it was changed."""
    folder = tmp_path / "store"
    folder.mkdir(mode=0o700)
    last = journal[:-1].rindex(b"\n") + 1
    places = [0, 20, *range(last, len(journal), 97), len(journal) - 1, *RNG.sample(range(len(journal)), FLIPS)]
    for at in places:
        damaged = bytearray(journal)
        damaged[at] ^= 1 << RNG.randrange(8)
        (folder / "journal.jsonl").write_bytes(damaged)
        assert finds(f"jsonl:{folder}"), f"byte {at} of {len(journal)}"


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """
    An SQLite store, closed, whose index of words knows every item.
    """
    path = tmp_path_factory.mktemp("sqlite") / "whole.db"
    fill(f"sqlite:{path}")
    return path


def flipped(value: Any) -> Any:
    """
    Return a value of a row with one bit of it turned.
    """
    if isinstance(value, int):
        return value ^ 1 << RNG.randrange(40)
    data = bytearray(value if isinstance(value, bytes) else value.encode())
    data[RNG.randrange(len(data))] ^= 1 << RNG.randrange(8)
    return bytes(data)


def values(connection: sqlite3.Connection, table: str) -> Iterator[tuple[str, int, Any]]:
    """
    Yield column, row and value of everything in a table that has bytes to flip.
    """
    columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})") if row[1] not in PLACES]
    for rowid, *row in connection.execute(f"SELECT rowid, {', '.join(columns)} FROM {table}"):
        yield from ((name, rowid, value) for name, value in zip(columns, row, strict=True) if value not in ("", b""))


@pytest.mark.parametrize("table", ["items", "events"])
def test_a_flipped_byte_of_an_sqlite_row_is_found(file: Path, tmp_path: Path, table: str) -> None:
    """In any column of a row, the document or a copy of one of its fields."""
    path = tmp_path / "store.db"
    with closing(sqlite3.connect(file)) as source:
        cells = list(values(source, table))
    some_of_each = {name: cell for cell in RNG.sample(cells, len(cells)) for name in [cell[0]]}
    changed = 0
    for name, rowid, value in [*some_of_each.values(), *RNG.sample(cells, FLIPS)]:
        shutil.copy(file, path)
        with closing(sqlite3.connect(path, isolation_level=None)) as target:
            new = flipped(value)
            kept = "CAST(? AS TEXT)" if isinstance(value, str) else "?"
            try:
                target.execute(f"UPDATE {table} SET {name} = {kept} WHERE rowid = ?", (new, rowid))
            except sqlite3.IntegrityError:
                continue  # what the engine's own rules refuse, the engine has found
            changed += 1
        assert finds(f"sqlite:{path}"), f"{name} of row {rowid}: {value!r} became {new!r}"
    assert changed > FLIPS // 2


def test_a_flipped_byte_of_an_sqlite_file_is_found_or_says_nothing(file: Path, tmp_path: Path) -> None:
    """Anywhere in the file: what is not found has changed no item and no event, for it lies where nothing stands."""
    path = tmp_path / "store.db"
    whole = file.read_bytes()
    shutil.copy(file, path)
    before = said(f"sqlite:{path}")
    unseen = 0
    for at in RNG.sample(range(len(whole)), 2 * FLIPS):
        damaged = bytearray(whole)
        damaged[at] ^= 1 << RNG.randrange(8)
        path.write_bytes(damaged)
        if not finds(f"sqlite:{path}"):
            unseen += 1
            assert before == said(f"sqlite:{path}"), f"byte {at} of {len(whole)}"
    assert unseen < 2 * FLIPS  # some of them hit


KEYS = {"items": ("id",), "events": ("tx", "n"), "item_words": ("item_id",), "item_tags": ("item_id", "tag")}


def rows_of(connection: psycopg.Connection[Any], table: str) -> list[dict[str, Any]]:
    """
    Return the rows of a table, all but the lexemes, which have a form of their own.
    """
    with connection.cursor(row_factory=rows.dict_row) as cursor:
        cursor.execute(sql.SQL("SELECT * FROM {}").format(sql.Identifier(table)))
        return [{name: value for name, value in row.items() if name != "words"} for row in cursor]


def put(connection: psycopg.Connection[Any], table: str, row: dict[str, Any], name: str, value: Any) -> bool:
    """
    Write one value into a row; tell whether the server took it.
    """
    where = sql.SQL(" AND ").join(sql.SQL("{} = %s").format(sql.Identifier(key)) for key in KEYS[table])
    update = sql.SQL("UPDATE {} SET {} = %s WHERE {}").format(sql.Identifier(table), sql.Identifier(name), where)
    try:
        return connection.execute(update, (value, *(row[key] for key in KEYS[table]))).rowcount == 1
    except psycopg.Error:
        return False


@pytest.mark.parametrize("table", list(KEYS))
def test_a_flipped_byte_of_a_postgresql_row_is_found(postgres_dsn: str, table: str) -> None:
    """In any column that takes it, of items, events, tags and words; what the server refuses, the server has found."""
    fill(postgres_dsn)
    with psycopg.connect(postgres_dsn, autocommit=True, options="-c search_path=backlog_store") as connection:
        cells = [
            (row, name) for row in rows_of(connection, table) for name, value in row.items()
            if name not in PLACES and not isinstance(value, bool) and value != ""
        ]  # fmt: skip
        some_of_each = {name: (row, name) for row, name in RNG.sample(cells, len(cells))}
        tried = 0
        for row, name in [*some_of_each.values(), *RNG.sample(cells, min(len(cells), FLIPS // 2))]:
            new = flipped(row[name])
            if isinstance(new, bytes):
                try:
                    new = new.decode()
                except UnicodeDecodeError:
                    continue  # the server takes no such text
            if put(connection, table, row, name, new):
                tried += 1
                assert finds(postgres_dsn), f"{name} of {table}: {row[name]!r} became {new!r}"
                assert put(connection, table, {**row, name: new}, name, row[name])
        assert tried > 10
        assert not finds(postgres_dsn)
