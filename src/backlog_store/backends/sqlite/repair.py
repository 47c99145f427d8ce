"""
Repair, when a person asks for it (``backlog doctor --repair``): indexes are made anew, readable rows saved.

Indexes hold nothing that the tables do not: they are made anew in place. Where the tables themselves are damaged the
store is left as it is, and every row that can still be read goes into a new store beside it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec

from backlog_store.backends.port import Reader, Writer
from backlog_store.backends.sqlite import tallies, words
from backlog_store.backends.sqlite.audit import audit_view
from backlog_store.backends.sqlite.backend import SqliteBackend, open_sqlite
from backlog_store.backends.sqlite.faults import NAME, backend_error
from backlog_store.backends.sqlite.writer import SqliteWriter
from backlog_store.backends.wholefile import whole_file
from backlog_store.codec import decode_event, decode_item, decode_record
from backlog_store.errors import BackendError, DataCorrupt

__all__ = ["Saved", "repair"]

_TABLES = ("items", "events", "records", "sightings")
#: Tables whose rows have numbers: behind a damaged page each number is tried by itself, so many at most.
_NUMBERED = {"items": "num", "events": "position"}
_TRIED_MAX = 5_000_000
_DECODERS: dict[str, Any] = {"items": decode_item, "events": decode_event, "records": decode_record}
#: What the audit says of that which indexes alone can have wrong.
_OF_INDEXES = (
    "index of words:", "counts:", "pages: row ", "pages: wrong # of entries in index",
    "pages: non-unique entry in index",
)  # fmt: skip


class Saved(msgspec.Struct, frozen=True, kw_only=True):
    """
    What a repair did: made indexes anew (*remade*), or saved *rows* by table into the new store *file*.

    *unreadable* counts, by table, rows that were reached and hold no document; how many were not reached nobody knows.
    """

    remade: bool = False
    file: str = ""
    rows: dict[str, int] = {}
    unreadable: dict[str, int] = {}


def repair(path: str | Path) -> Saved:
    """
    Mend the store in the file *path* as far as that is possible without a loss; else save what can be read.

    The damaged file is never written to then: the new store lies beside it. Raises `BackendError` for a file that
    SQLite cannot read at all, `FileExistsError` where a store was saved there before.
    """
    path = Path(path).absolute()
    try:
        store = open_sqlite(path)
    except DataCorrupt:
        return _save(path)
    try:
        found = _faults(store)
        if not found:
            return Saved()
        if all(fault.startswith(_OF_INDEXES) or "the index of words" in fault for fault in found):
            store.write(_make_anew)
            if not _faults(store):
                return Saved(remade=True)
    except BackendError:
        pass  # of the damage; what follows reads each row by itself
    finally:
        store.close()
    return _save(path)


def _faults(store: SqliteBackend) -> list[str]:
    def run(reader: Reader) -> list[str]:
        return list(audit_view(reader, lambda *_: None))

    return store.read(run)


def _make_anew(writer: Writer) -> None:
    assert isinstance(writer, SqliteWriter)
    connection = writer._connection
    try:
        connection.execute("REINDEX")
        connection.execute("INSERT INTO item_words (item_words) VALUES ('rebuild')")
        connection.execute("DELETE FROM item_words")
        connection.execute("DELETE FROM stale_words")
        connection.execute("UPDATE marks SET words_mark = 0")
        words.catch_up(connection)
        tallies.start_anew(connection)
    except sqlite3.Error as error:
        raise backend_error("repair", writer._path, error) from error


def _save(path: Path) -> Saved:
    target = path.with_name(f"{path.stem}.saved{path.suffix}")
    rows: dict[str, int] = {}
    unreadable: dict[str, int] = {}
    with whole_file(target, force=False) as part:
        open_sqlite(part).close()
        part.with_name(f"{part.name}-lock").unlink()
        url = f"file:{quote(str(path))}?mode=rw"  # a log beside it is part of it, and is read through shared memory
        try:
            with (
                closing(sqlite3.connect(url, uri=True, isolation_level=None)) as old,
                closing(sqlite3.connect(part, isolation_level=None)) as new,
            ):
                old.execute("PRAGMA query_only = ON")
                old.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()  # without a schema nothing has a name
                old.text_factory = bytes
                new.execute("PRAGMA journal_mode = DELETE")
                new.execute("BEGIN")
                for table in _TABLES:
                    rows[table], unreadable[table] = _save_table(old, new, table)
                new.execute("COMMIT")
        except (sqlite3.Error, UnicodeDecodeError) as error:
            raise BackendError(
                NAME, "repair", f"nothing can be read from {path} ({error})",
                hint="Nothing was changed. Bring a backup back: backlog restore.",
            ) from error  # fmt: skip
    return Saved(file=str(target), rows=rows, unreadable={name: n for name, n in unreadable.items() if n})


def _save_table(old: sqlite3.Connection, new: sqlite3.Connection, table: str) -> tuple[int, int]:
    columns = [row[1] for row in new.execute(f"PRAGMA table_info({table})")]
    insert = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"  # noqa: S608
    saved = lost = 0
    for row in _readable(old, table, columns):
        try:
            if table in _DECODERS and row[-1] != b"":
                _DECODERS[table](row[-1])
            texts = [value.decode() if isinstance(value, bytes) and name != "doc" else value
                     for name, value in zip(columns, row, strict=True)]  # fmt: skip
            new.execute(insert, texts)
            saved += 1
        except (msgspec.MsgspecError, UnicodeDecodeError, sqlite3.Error):
            lost += 1  # it stays where it is, in the damaged file
    return saved, lost


def _readable(old: sqlite3.Connection, table: str, columns: list[str]) -> Iterator[tuple[Any, ...]]:
    """
    Yield every row that can be read: from the front to the damage, from the back to it, then one by one between.
    """
    order = _NUMBERED.get(table) or ("kind, id" if table == "records" else "id")
    backwards = ", ".join(f"{name} DESC" for name in order.split(", "))
    listed = ", ".join(columns)
    key = [columns.index(name) for name in order.split(", ")]
    seen: list[Any] = [None, None]
    for side, direction in enumerate((order, backwards)):
        try:
            for row in old.execute(f"SELECT {listed} FROM {table} NOT INDEXED ORDER BY {direction}"):  # noqa: S608
                place = [row[at] for at in key]
                if side and seen[0] is not None and place <= seen[0]:
                    return
                seen[side] = place
                yield row
            return
        except (sqlite3.Error, UnicodeDecodeError):
            continue
    if table not in _NUMBERED or seen[1] is None:
        return
    first = seen[0][0] + 1 if seen[0] is not None else 1
    for number in range(first, min(seen[1][0], first + _TRIED_MAX)):
        try:
            yield from old.execute(f"SELECT {listed} FROM {table} WHERE {order} = ?", (number,))  # noqa: S608
        except sqlite3.Error:
            continue
