"""
The schema of a store: making a new one, bringing an old one up to date, refusing one that is too new.
"""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

from backlog_store.backends.sqlite.faults import NAME
from backlog_store.errors import ConfigError, SchemaMismatch

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

__all__ = ["APPLICATION_ID", "SCHEMA", "needs_change", "read_version", "upgrade"]

#: The schema that this program writes: the number of the last file in migrations/.
SCHEMA = 5
#: Says in the file's header whose it is ("bklg"), see https://www.sqlite.org/fileformat2.html#application_id.
APPLICATION_ID = 0x626B6C67


def needs_change(connection: sqlite3.Connection, path: str) -> bool:
    """
    Tell whether the store is new or old. Raises `SchemaMismatch` if it is too new, `ConfigError` if it is no store.
    """
    found = read_version(connection)
    if found == 0:
        _require_empty(connection, path)
        return True
    _require_own(connection, path)
    if found > SCHEMA:
        needed = connection.execute("SELECT needs_schema FROM marks").fetchone()[0]
        if needed > SCHEMA:
            hint = f"A newer version of backlog-store wrote {path}: upgrade this one. Nothing was changed."
            raise SchemaMismatch(NAME, found=str(found), expected=f"at most {SCHEMA}", hint=hint)
    return found < SCHEMA


def read_version(connection: sqlite3.Connection) -> int:
    """
    Return the schema of the file; 0 for a new one.
    """
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def upgrade(connection: sqlite3.Connection, *, to: int = SCHEMA, fresh: bool = True) -> None:
    """
    Bring the store to the schema *to*, in the transaction that the caller has open for writing.

    A new store is made from schema.sql at once, or with ``fresh=False`` step by step as an old one was.
    """
    found = read_version(connection)
    if found == 0 and fresh:
        _run(connection, "schema.sql")
    else:
        folder = _files() / "migrations"
        steps = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".sql"))
        for name in steps[found:to]:
            _run(connection, f"migrations/{name}")
    # PRAGMA takes no parameters; both are numbers of this program.
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID:d}")
    connection.execute(f"PRAGMA user_version = {to:d}")


def _files() -> Traversable:
    from importlib.resources import files  # it costs a tenth of a command, and a store that is there needs none

    return files(__package__)


def _run(connection: sqlite3.Connection, name: str) -> None:
    # Not `executescript`, which would commit what is open before it starts.
    statement = ""
    for line in (_files() / name).read_text(encoding="utf-8").splitlines(keepends=True):
        if not statement and (not line.strip() or line.startswith("--")):
            continue
        statement += line
        if sqlite3.complete_statement(statement):
            connection.execute(statement)
            statement = ""


def _require_empty(connection: sqlite3.Connection, path: str) -> None:
    if connection.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()[0]:
        raise ConfigError("path", path, "it is a database of another program", hint="Name a file of your own.")


def _require_own(connection: sqlite3.Connection, path: str) -> None:
    if connection.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
        raise ConfigError("path", path, "it is a database of another program", hint="Name a file of your own.")
