"""
Floors: what each engine itself needs for one durable "select by key, upsert the item, insert its event".
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path

__all__ = ["Row", "jsonl_floor", "postgres_floor", "sqlite_floor"]

#: (item id, env, key, item document, event document)
Row = tuple[str, str, str, str, str]
Floor = Callable[[Sequence[Row]], None]


def sqlite_floor(folder: Path) -> Floor:
    """
    Return a function that writes each row in a transaction of its own: WAL, synchronous FULL.
    """
    connection = sqlite3.connect(folder / "floor.db", isolation_level=None)
    connection.executescript(
        """
        PRAGMA journal_mode = WAL;
        PRAGMA synchronous = FULL;
        CREATE TABLE items (id TEXT PRIMARY KEY, env TEXT NOT NULL, key TEXT NOT NULL, doc TEXT NOT NULL) STRICT;
        CREATE UNIQUE INDEX items_key ON items (env, key);
        CREATE TABLE events (position INTEGER PRIMARY KEY AUTOINCREMENT, item TEXT NOT NULL, doc TEXT NOT NULL) STRICT;
        CREATE INDEX events_item ON events (item);
        """
    )

    def run(rows: Sequence[Row]) -> None:
        for id, env, key, item, event in rows:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("SELECT doc FROM items WHERE env = ? AND key = ?", (env, key)).fetchone()
            connection.execute(
                "INSERT INTO items VALUES (?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET doc = excluded.doc",
                (id, env, key, item),
            )
            connection.execute("INSERT INTO events (item, doc) VALUES (?, ?)", (id, event))
            connection.execute("COMMIT")

    return run


def jsonl_floor(folder: Path) -> Floor:
    """
    Return a function that appends each row as one line: lock, write, fdatasync, unlock.
    """
    descriptor = os.open(folder / "floor.jsonl", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    lock = os.open(folder / "floor.lock", os.O_RDWR | os.O_CREAT)

    def run(rows: Sequence[Row]) -> None:
        for _, _, _, item, event in rows:
            fcntl.flock(lock, fcntl.LOCK_EX)
            os.write(descriptor, f"{item}{event}\n".encode())
            os.fdatasync(descriptor)
            fcntl.flock(lock, fcntl.LOCK_UN)

    return run


def postgres_floor(dsn: str) -> Floor:
    """
    Return a function that sends each row as five statements of one connection: begin, select, upsert, insert, commit.
    """
    import psycopg

    connection = psycopg.connect(dsn, autocommit=True)
    connection.execute(
        """
        CREATE TABLE floor_items (id text PRIMARY KEY, env text NOT NULL, key text NOT NULL, doc text NOT NULL);
        CREATE UNIQUE INDEX ON floor_items (env, key);
        CREATE TABLE floor_events (position bigserial PRIMARY KEY, item text NOT NULL, doc text NOT NULL);
        CREATE INDEX ON floor_events (item);
        """
    )

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
