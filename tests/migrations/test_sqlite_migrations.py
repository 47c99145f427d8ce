"""
The schema of an SQLite store: new, old, too new, and not one at all.
"""

from __future__ import annotations

import re
import sqlite3
from collections import Counter
from importlib.resources import files
from itertools import product
from pathlib import Path

import pytest

from backlog_store.backends.port import Reader
from backlog_store.backends.sql.dialects import TALLIED, of_items
from backlog_store.backends.sqlite import open_sqlite, schema
from backlog_store.backends.sqlite.audit import audit
from backlog_store.backends.sqlite.writer import SqliteWriter
from backlog_store.errors import ConfigError, DataCorrupt, SchemaMismatch
from backlog_store.query import ANY, OPERATORS, All, Compare, In
from backlog_store.testing.conformance.base import apply, item_of
from backlog_store.testing.oracle import count_items
from backlog_store.testing.samples import an_item, first, then
from backlog_store.verify import silent

A = an_item("bl_a", dedupe_key="ka")


def _made(path: Path, *, fresh: bool) -> list[tuple[str, ...]]:
    """
    Return the schema of a new database, without comments and spaces.
    """
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    schema.upgrade(connection, fresh=fresh)
    connection.execute("COMMIT")
    rows = connection.execute(
        "SELECT type, name, tbl_name, IFNULL(sql, '') FROM sqlite_master ORDER BY 1, 2"
    ).fetchall()
    marks = connection.execute("SELECT * FROM marks").fetchall()
    connection.close()
    # ALTER TABLE sets its own spaces.
    bare = [(*row[:3], re.sub(r"\s*([(),])\s*|\s+", r" \1", re.sub(r"--.*", "", row[3]))) for row in rows]
    return [*bare, *(tuple(map(str, row)) for row in marks)]


def _change(path: Path, *statements: str) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    for statement in statements:
        connection.execute(statement)
    connection.close()


def _store(path: Path) -> Path:
    store = open_sqlite(path)
    apply(store, first(A))
    store.close()
    return path


def test_the_sum_of_the_migrations_is_the_fresh_schema(tmp_path: Path) -> None:
    """A store that went through every step has exactly the tables, indexes and marks of a new one."""
    assert _made(tmp_path / "stepped.db", fresh=False) == _made(tmp_path / "fresh.db", fresh=True)


def test_migrations_are_numbered_and_the_last_one_is_the_schema() -> None:
    """The files are 0001 and so on without a gap, up to the schema that this program writes."""
    names = sorted(entry.name for entry in (files("backlog_store.backends.sqlite") / "migrations").iterdir())
    numbers = [int(name[:4]) for name in names if name.endswith(".sql")]
    assert numbers == list(range(1, schema.SCHEMA + 1))


def test_a_new_store_says_whose_it_is_and_which_schema_it_has(tmp_path: Path) -> None:
    """The file's header names program and schema, as `file` and sqlite3 show them."""
    path = _store(tmp_path / "backlog.db")
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA application_id").fetchone()[0].to_bytes(4, "big") == b"bklg"
    assert connection.execute("PRAGMA user_version").fetchone()[0] == schema.SCHEMA
    connection.close()


def test_a_store_that_needs_a_newer_program_is_refused_and_left_alone(tmp_path: Path) -> None:
    """The error says which schema was found, which is understood, and what to do; no byte of the file changes."""
    path = _store(tmp_path / "backlog.db")
    _change(path, f"PRAGMA user_version = {schema.SCHEMA + 2}", f"UPDATE marks SET needs_schema = {schema.SCHEMA + 1}")
    before = path.read_bytes()
    with pytest.raises(SchemaMismatch) as error:
        open_sqlite(path)
    assert error.value.found == str(schema.SCHEMA + 2)
    assert str(schema.SCHEMA) in error.value.expected
    assert "upgrade" in str(error.value)
    assert path.read_bytes() == before


def test_a_store_that_a_newer_program_only_added_to_still_works(tmp_path: Path) -> None:
    """Releases N and N - 1 write one store together: an expanded schema opens, and `check` advises the upgrade."""
    path = _store(tmp_path / "backlog.db")
    _change(path, f"PRAGMA user_version = {schema.SCHEMA + 1}", "ALTER TABLE items ADD COLUMN colour TEXT DEFAULT ''")
    store = open_sqlite(path)
    apply(store, first(an_item("bl_b")))
    assert item_of(store, "bl_a") == A
    assert item_of(store, "bl_b") is not None
    health = store.check()
    assert health.ok
    assert any("newer version" in warning for warning in health.warnings)
    store.close()


@pytest.mark.parametrize("statement", ["CREATE TABLE notes (text TEXT)", "PRAGMA user_version = 1"])
def test_a_database_of_another_program_is_refused_and_left_alone(tmp_path: Path, statement: str) -> None:
    """A file that somebody else's program made is never written to."""
    path = tmp_path / "other.db"
    _change(path, statement)
    before = path.read_bytes()
    with pytest.raises(ConfigError, match="another program"):
        open_sqlite(path)
    assert path.read_bytes() == before


def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    """A text file is damage to a program that expects a database, and stays what it is."""
    path = tmp_path / "notes.db"
    path.write_text("not a database\n" * 100)
    with pytest.raises(DataCorrupt) as error:
        open_sqlite(path)
    assert error.value.path == str(path)
    assert path.read_text() == "not a database\n" * 100


def test_an_empty_file_becomes_a_store(tmp_path: Path) -> None:
    """A process killed right after making the file leaves an empty one, which is a new store."""
    path = tmp_path / "backlog.db"
    path.touch(mode=0o600)
    store = open_sqlite(path)
    assert item_of(store, "bl_a") is None
    store.close()


def test_a_failed_step_leaves_the_store_as_it_was(tmp_path: Path) -> None:
    """Making a schema is one transaction: what stands in the way leaves neither half a schema nor a version."""
    path = tmp_path / "backlog.db"
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("CREATE TABLE records (obstacle TEXT)")
    with pytest.raises(sqlite3.OperationalError, match="already exists"):
        schema.upgrade(connection)
    connection.execute("ROLLBACK")
    assert connection.execute("SELECT COUNT(*) FROM sqlite_master").fetchone() == (0,)
    assert schema.read_version(connection) == 0
    connection.close()


def test_sleepers_of_an_older_store_are_counted(tmp_path: Path) -> None:
    """From a store that did not count them, with counts that wait and items not counted yet: each count is exact."""
    path = tmp_path / "backlog.db"
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    schema.upgrade(connection, to=2, fresh=False)
    writer = SqliteWriter(connection, str(path))
    days = ("", "2026-03-01T00:00:00.000000Z", "2026-03-01T12:00:00.000000Z", "2026-04-02T00:00:00.000000Z")
    items = [an_item(f"bl_{n:02}", wake_at=days[n % 4], owner=("", "ann")[n % 2]) for n in range(24)]
    writer.apply([first(item) for item in items[:16]])
    for facet in (facet for facet in TALLIED if of_items(facet) == facet):
        connection.execute(
            f"INSERT INTO tallies SELECT '{facet}', env, status, {facet}, COUNT(*) FROM items GROUP BY 2, 3, 4"
        )
    connection.execute("UPDATE marks SET counted_mark = (SELECT MAX(num) FROM items)")
    changes = [then(items[3], status="done", wake_at=""), then(items[4], wake_at=days[3])]
    changes += [then(items[5], priority="P0"), then(items[6], owner="zoe"), *(first(item) for item in items[16:])]
    writer.apply(changes)
    writer.finish()
    connection.execute("DELETE FROM items WHERE id = ?", (items[7].id,))
    connection.execute("COMMIT")
    connection.close()
    for change in changes:
        items[int(change.item.id[3:])] = change.item
    del items[7]

    def check(reader: Reader) -> None:
        for op, instant in product(OPERATORS, days[1:]):
            asleep = Compare("wake_at", op, instant)  # type: ignore[arg-type]
            for where in (asleep, All((asleep, In("owner", ("",)))), All((asleep, In("priority", ("P0",))))):
                assert reader.tally(where, ()) == count_items(items, where, ()), where

    store = open_sqlite(path)
    store.read(check)
    assert store.read(lambda reader: [line for line in audit(store, reader, silent) if line.startswith("counts")]) == []
    store.close()


def test_days_of_an_older_store_are_counted(tmp_path: Path) -> None:
    """From a store that did not count days, with counts that wait and items not counted yet: each count is exact."""
    path = tmp_path / "backlog.db"
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    schema.upgrade(connection, to=4, fresh=False)
    writer = SqliteWriter(connection, str(path))
    created = ("2026-03-01T08:00:00.000000Z", "2026-03-01T23:59:59.999999Z", "2026-03-02T00:00:00.000000Z")
    items = [an_item(f"bl_{n:02}", created_at=created[n % 3]) for n in range(24)]
    writer.apply([first(item) for item in items[:16]])
    for facet in (facet for facet in TALLIED if of_items(facet) == facet):
        connection.execute(
            f"INSERT INTO tallies SELECT '{facet}', env, status, {facet}, '', COUNT(*) FROM items GROUP BY 2, 3, 4"
        )
    connection.execute("UPDATE marks SET counted_mark = (SELECT MAX(num) FROM items)")
    closed_at = "2026-04-01T10:00:00.000000Z"
    changes = [then(items[n], status="done", closed_at=closed_at) for n in (3, 4)]
    writer.apply([*changes, *(first(item) for item in items[16:])])
    writer.finish()
    connection.execute("DELETE FROM items WHERE id = ?", (items[7].id,))
    connection.execute("COMMIT")
    connection.close()
    alive = [n for n in range(24) if n != 7]

    store = open_sqlite(path)
    for number in (20, 21):  # as it was brought up, and after one more was closed and all was added up
        counted = store.read(lambda reader: reader.tally(ANY, ("created_on",)))
        assert counted == Counter((created[n % 3][:10],) for n in alive)
        assert store.read(lambda reader: reader.tally(ANY, ("closed_on",))) == {
            ("",): len(alive) - len(changes), ("2026-04-01",): len(changes)
        }  # fmt: skip
        assert [
            line for line in store.read(lambda reader: audit(store, reader, silent)) if line.startswith("counts")
        ] == []
        changes.append(then(items[number], status="done", closed_at=closed_at))
        apply(store, changes[-1])
    store.close()
