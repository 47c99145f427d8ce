"""
The tables: which migrations there are, which a store has, and bringing it up to date.

A migration is a file ``NNNN_name.sql`` in `migrations/`, run once, all missing ones in one transaction under an
advisory lock, and recorded with the checksum of its text. Its first line ``-- works-since: N`` names the oldest program
version (counted in migrations) that may still use the tables after it: releases N and N - 1 share one store.
"""

# ruff: noqa: S608 - the only name put into SQL is the schema's, which `PostgresBackend` has checked; quoted, as
# it may be a word that is reserved.
from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Sequence
from importlib import resources
from typing import NamedTuple

from backlog_store.backends.postgres.deadlines import moment_after, seconds_until
from backlog_store.backends.postgres.failures import NAME
from backlog_store.backends.postgres.statements import COMMIT, ROLLBACK
from backlog_store.backends.postgres.wire import Link, Refused, Rows, Statement
from backlog_store.errors import SchemaMismatch

__all__ = ["MIGRATIONS", "Migration", "lock_number", "migrate", "schema_version"]

#: How long a change of tables may wait for a lock. Whoever comes after it waits as well, so not for long; in seconds.
DDL_LOCK_S = 5


class Migration(NamedTuple):
    """
    One step; *version* counts from 1 without gaps.
    """

    version: int
    name: str
    sql: str
    works_since: int

    @property
    def checksum(self) -> str:
        """
        Return SHA-256 of the text, in hexadecimal.
        """
        return hashlib.sha256(self.sql.encode()).hexdigest()


def _load() -> tuple[Migration, ...]:
    folder = resources.files("backlog_store.backends.postgres") / "migrations"
    found = []
    for file in sorted(folder.iterdir(), key=lambda file: file.name):
        named = re.fullmatch(r"([0-9]{4})_(\w+)\.sql", file.name)
        if named:
            sql = file.read_text(encoding="utf-8").replace("\r\n", "\n")
            since = re.match(r"-- works-since: ([0-9]+)\n", sql)
            found.append(Migration(int(named[1]), named[2], sql, int(since[1]) if since else int(named[1])))
    return tuple(found)


MIGRATIONS = _load()


def migrate(
    link: Link, schema: str, moment: float, *, look_s: float = math.inf, migrations: Sequence[Migration] = MIGRATIONS
) -> int:
    """
    Bring the tables in *schema* up to date and return their version. Safe for any number of processes at once.

    Only changing tables may last until *moment*; looking at them takes *look_s* seconds at most. Raises
    `SchemaMismatch` for tables of a newer program, or of none that this one knows; `LinkError`.
    """
    look = min(moment, moment_after(look_s))
    if _missing(_applied(link, schema, look), migrations) or _clock_is_behind(link, schema, look):
        try:
            _bring_up(link, schema, moment, migrations)
        except Refused:
            link.send(ROLLBACK)
            raise
    return schema_version(link, schema, min(moment, moment_after(look_s)))


def schema_version(link: Link, schema: str, moment: float) -> int:
    """
    Return the version of the tables in *schema*; 0 if there are none.
    """
    return max((version for version, *_ in _applied(link, schema, moment)), default=0)


def lock_number(schema: str) -> int:
    """
    Return the number of the advisory lock under which the tables in *schema* are changed.
    """
    return int.from_bytes(hashlib.sha256(f"backlog-store/{schema}".encode()).digest()[:8], "big", signed=True)


def _bring_up(link: Link, schema: str, moment: float, migrations: Sequence[Migration]) -> None:
    link.exchange(
        [
            Statement("BEGIN ISOLATION LEVEL READ COMMITTED"),
            Statement(f"SET LOCAL statement_timeout = {max(1, int(seconds_until(moment) * 1000))}"),
            # Others may be at it right now: wait for them as long as the deadline allows. (READ COMMITTED: what they
            # did is seen by the statements after this one.)
            Statement("SELECT pg_advisory_xact_lock($1)", (lock_number(schema),)),
        ],
        moment,
    )
    missing = _missing(_applied(link, schema, moment), migrations)
    if not _exists(link, schema, moment):
        link.script(f'CREATE SCHEMA "{schema}"', moment)
    link.script(
        f"SET LOCAL search_path = \"{schema}\"; SET LOCAL lock_timeout = '{DDL_LOCK_S}s';"
        " SET LOCAL client_min_messages = warning;"
        " CREATE TABLE IF NOT EXISTS migrations (version integer PRIMARY KEY, name text NOT NULL,"
        " checksum text NOT NULL, works_since integer NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())",
        moment,
    )
    for migration in missing:
        link.script(migration.sql, moment)
        recorded = (migration.version, migration.name, migration.checksum, migration.works_since)
        link.exchange(
            [
                Statement(
                    "INSERT INTO migrations (version, name, checksum, works_since) VALUES ($1, $2, $3, $4)", recorded
                )
            ],
            moment,
        )
    # Restored from a dump: this cluster's transaction ids are below those in the positions. Go on above them.
    link.exchange(
        [Statement(f"UPDATE clock SET base = (SELECT max(tx) + 1 FROM events) WHERE {_BEHIND}"), COMMIT], moment
    )


_BEHIND = "(SELECT max(tx) FROM events) >= base + pg_snapshot_xmax(pg_current_snapshot())::text::bigint"


def _clock_is_behind(link: Link, schema: str, moment: float) -> bool:
    behind = _BEHIND.replace("FROM events", f'FROM "{schema}".events')
    rows = link.exchange([Statement(f'SELECT 1 FROM "{schema}".clock WHERE {behind}')], moment)[0]
    return bool(rows)


def _exists(link: Link, schema: str, moment: float) -> bool:
    rows = link.exchange([Statement("SELECT 1 FROM pg_namespace WHERE nspname = $1", (schema,))], moment)[0]
    return bool(rows)


def _applied(link: Link, schema: str, moment: float) -> list[tuple[int, str, int]]:
    """
    Return version, checksum and oldest program of each migration that the store has.
    """
    # A query, not to_regclass(): that answers from a cache which nothing refreshes while we wait for another program.
    there = Statement("SELECT 1 FROM pg_tables WHERE schemaname = $1 AND tablename = 'migrations'", (schema,))
    if not link.exchange([there], moment)[0]:
        return []
    rows: Rows = link.exchange(
        [Statement(f'SELECT version, checksum, works_since FROM "{schema}".migrations ORDER BY version')], moment
    )[0]
    return [(int(version), checksum.decode(), int(since)) for version, checksum, since in rows]


def _missing(applied: Sequence[tuple[int, str, int]], migrations: Sequence[Migration]) -> Sequence[Migration]:
    known = {migration.version: migration for migration in migrations}
    newest = max(known)
    for version, checksum, since in applied:
        if version in known and checksum != known[version].checksum:
            raise SchemaMismatch(
                NAME,
                found=f"{version} with another text (checksum {checksum[:12]})",
                expected=f"{version} ({known[version].name}, checksum {known[version].checksum[:12]})",
                hint="The tables were made by a changed or unreleased program. Use that one, or another schema.",
            )
        if since > newest:
            raise SchemaMismatch(
                NAME, found=str(version), expected=str(newest), hint="Install the newer backlog-store."
            )
    have = {version for version, *_ in applied}
    return [migration for migration in migrations if migration.version not in have]
