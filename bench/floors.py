"""
Floors: what each engine itself needs, equally durable, for the same documents.

One at a time: "select by key, upsert the item, insert its event", a transaction each. In bulk: all rows in one
transaction, in the way that the engine takes them fastest.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from psycopg import Connection

__all__ = [
    "Floor", "Row", "jsonl_bulk_floor", "jsonl_floor", "postgres_bulk_floor", "postgres_floor",
    "postgres_statement_floors", "sqlite_bulk_floor", "sqlite_floor",
]  # fmt: skip

#: (item id, env, key, item document, event document)
Row = tuple[str, str, str, str, str]
Floor = Callable[[Sequence[Row]], None]


_SQLITE = """
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;
    CREATE TABLE items (id TEXT PRIMARY KEY, env TEXT NOT NULL, key TEXT NOT NULL, doc TEXT NOT NULL) STRICT;
    CREATE UNIQUE INDEX items_key ON items (env, key);
    CREATE TABLE events (position INTEGER PRIMARY KEY AUTOINCREMENT, item TEXT NOT NULL, doc TEXT NOT NULL) STRICT;
    CREATE INDEX events_item ON events (item);
    """
_SQLITE_ITEM = "INSERT INTO items VALUES (?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET doc = excluded.doc"
_SQLITE_EVENT = "INSERT INTO events (item, doc) VALUES (?, ?)"


def sqlite_floor(folder: Path, *, any_thread: bool = False) -> Floor:
    """
    Return a function that writes each row in a transaction of its own: WAL, synchronous FULL.

    *any_thread*: it may be called by any one thread at a time, not only by this one.
    """
    connection = _sqlite(folder / "floor.db", any_thread=any_thread)

    def run(rows: Sequence[Row]) -> None:
        for id, env, key, item, event in rows:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("SELECT doc FROM items WHERE env = ? AND key = ?", (env, key)).fetchone()
            connection.execute(_SQLITE_ITEM, (id, env, key, item))
            connection.execute(_SQLITE_EVENT, (id, event))
            connection.execute("COMMIT")

    return run


def sqlite_bulk_floor(folder: Path) -> Floor:
    """
    Return a function that writes all rows in one transaction, by `executemany`: WAL, synchronous FULL.
    """
    connection = _sqlite(folder / "bulk.db")

    def run(rows: Sequence[Row]) -> None:
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(_SQLITE_ITEM, [row[:4] for row in rows])
        connection.executemany(_SQLITE_EVENT, [(row[0], row[4]) for row in rows])
        connection.execute("COMMIT")

    return run


def _sqlite(path: Path, *, any_thread: bool = False) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=not any_thread)
    connection.executescript(_SQLITE)
    return connection


def jsonl_floor(folder: Path) -> Floor:
    """
    Return a function that appends each row as one line: lock, write, fdatasync, unlock.
    """
    append = _jsonl(folder / "floor")

    def run(rows: Sequence[Row]) -> None:
        for _, _, _, item, event in rows:
            append(f"{item}{event}\n".encode())

    return run


def jsonl_bulk_floor(folder: Path) -> Floor:
    """
    Return a function that appends all rows as one line: lock, write, fdatasync, unlock.
    """
    append = _jsonl(folder / "bulk")

    def run(rows: Sequence[Row]) -> None:
        append("".join([f"{item}{event}" for _, _, _, item, event in rows]).encode() + b"\n")

    return run


def _jsonl(path: Path) -> Callable[[bytes], None]:
    descriptor = os.open(path.with_suffix(".jsonl"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    lock = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT)

    def append(line: bytes) -> None:
        fcntl.flock(lock, fcntl.LOCK_EX)
        os.write(descriptor, line)
        os.fdatasync(descriptor)
        fcntl.flock(lock, fcntl.LOCK_UN)

    return append


_POSTGRES = """
    CREATE TABLE floor_items (id text PRIMARY KEY, env text NOT NULL, key text NOT NULL, doc text NOT NULL);
    CREATE UNIQUE INDEX ON floor_items (env, key);
    CREATE TABLE floor_events (position bigserial PRIMARY KEY, item text NOT NULL, doc text NOT NULL);
    CREATE INDEX ON floor_events (item);
    """
_POSTGRES_STATEMENT = """
    WITH item AS (
      INSERT INTO floor_items VALUES (%s, %s, %s, %s) ON CONFLICT (id) DO UPDATE SET doc = excluded.doc
    )
    INSERT INTO floor_events (item, doc) VALUES (%s, %s)
    """
_POSTGRES_MERGE = """
    WITH items AS (
      INSERT INTO floor_items SELECT id, env, key, doc FROM loaded
      ON CONFLICT (id) DO UPDATE SET doc = excluded.doc
    )
    INSERT INTO floor_events (item, doc) SELECT id, event FROM loaded
    """


def postgres_floor(dsn: str) -> Floor:
    """
    Return a function that sends each row as five statements of one connection: begin, select, upsert, insert, commit.
    """
    connection = _postgres(dsn)

    def run(rows: Sequence[Row]) -> None:
        for id, env, key, item, event in rows:
            connection.execute("BEGIN")
            connection.execute("SELECT doc FROM floor_items WHERE env = %s AND key = %s", (env, key)).fetchone()
            connection.execute(
                "INSERT INTO floor_items VALUES (%s, %s, %s, %s) ON CONFLICT (id) DO UPDATE SET doc = excluded.doc",
                (id, env, key, item),
            )
            connection.execute("INSERT INTO floor_events (item, doc) VALUES (%s, %s)", (id, event))
            connection.execute("COMMIT")

    return run


def postgres_statement_floors(dsn: str, count: int) -> list[Floor]:
    """
    Return *count* functions, each with a connection of its own, that send each row as one statement, which commits.
    """
    connections = [_postgres(dsn)] + [_connect(dsn) for _ in range(1, count)]

    def floor(connection: Connection) -> Floor:
        def run(rows: Sequence[Row]) -> None:
            for id, env, key, item, event in rows:
                connection.execute(_POSTGRES_STATEMENT, (id, env, key, item, id, event))

        return run

    return [floor(connection) for connection in connections]


def postgres_bulk_floor(dsn: str) -> Floor:
    """
    Return a function that copies all rows into a temporary table and merges them from there, in one transaction.
    """
    connection = _postgres(dsn)
    connection.execute("CREATE TEMPORARY TABLE loaded (id text, env text, key text, doc text, event text)")

    def run(rows: Sequence[Row]) -> None:
        connection.execute("BEGIN")
        with connection.cursor().copy("COPY loaded FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)
        connection.execute(_POSTGRES_MERGE)
        connection.execute("TRUNCATE loaded")
        connection.execute("COMMIT")

    return run


def _postgres(dsn: str) -> Connection:
    connection = _connect(dsn)
    connection.execute(_POSTGRES)
    return connection


def _connect(dsn: str) -> Connection:
    import psycopg

    return psycopg.connect(dsn, autocommit=True)
