"""
The same commands on PostgreSQL, and the tables of the original module in it.
"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import psycopg

from tests.cli.conftest import REPORTS, Cli


def test_a_backlog_moves_to_postgresql_and_back(cli: Cli, postgres_dsn: str, tmp_path: Path) -> None:
    """
    What comes back is byte-equal, and the commands work there as on a file.
    """
    cli("report", str(REPORTS / "trivy.json"), "--service", "shop")
    cli("close", cli.ids()[0], "--reason", "wont_fix")
    cli("export", str(tmp_path / "a.ndjson"))
    place = urlsplit(postgres_dsn)
    cli.env["PGPASSWORD"] = place.password  # on the command line it is refused
    cli("migrate", "--to", postgres_dsn.replace(f":{place.password}@", "@"))
    cli.env["BACKLOG_URL"] = postgres_dsn
    cli("export", str(tmp_path / "b.ndjson"))
    counts = cli.json("report", str(REPORTS / "trivy.json"), "--service", "shop")["counts"]

    assert (tmp_path / "a.ndjson").read_bytes() == (tmp_path / "b.ndjson").read_bytes()
    assert (counts["unchanged"], counts["suppressed"]) == (6, 1)
    assert len(cli.ids("priority:<=P1 lodash*")) == 1
    assert cli.json("doctor")["ok"]
    assert cli.json("verify")["ok"]


def _has_store(dsn: str) -> bool:
    with psycopg.connect(dsn) as connection:
        row = connection.execute("SELECT to_regnamespace('backlog_store') IS NOT NULL").fetchone()
    return bool(row and row[0])


def test_a_database_without_old_tables_stays_as_it_is(cli: Cli, postgres_dsn: str) -> None:
    """
    There is nothing to migrate: the refusal leaves no store behind.
    """
    cli.env["BACKLOG_URL"] = postgres_dsn
    for more in ((), ("--dry-run",), ("--finish",)):
        assert "no tables of the original module" in cli("migrate", "--in-place", "--yes", *more, expect=2).stderr
    assert not _has_store(postgres_dsn)


def test_old_tables_are_migrated_in_place(cli: Cli, postgres_dsn: str) -> None:
    """
    First a look, then a yes; old processes go on until --finish.
    """
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        connection.execute(
            "CREATE TABLE backlog_items (id text PRIMARY KEY, created_at timestamptz, updated_at timestamptz, "
            "env text, service text, category text, title text, description text, priority text, status text, "
            "owner text, due_date date, source text, dedupe_key text UNIQUE, evidence_refs jsonb, "
            "tags jsonb, meta jsonb)"
        )
        connection.execute(
            "CREATE TABLE backlog_events (id text PRIMARY KEY, item_id text, ts timestamptz, type text, message text, "
            "actor text, meta jsonb)"
        )
        connection.execute(
            "INSERT INTO backlog_items (id, created_at, updated_at, env, title, priority, status, dedupe_key) "
            "VALUES ('bl_0123456789ab', now(), now(), 'prod', 'Old', 'P1', 'open', 'k')"
        )
    cli.env["BACKLOG_URL"] = postgres_dsn
    assert cli.json("migrate", "--in-place", "--dry-run")["created"] == 1
    assert "Nobody can be asked" in cli("migrate", "--in-place", expect=2).stderr
    assert "not taken in yet" in cli("migrate", "--in-place", "--finish", "--yes", expect=5).stderr
    assert not _has_store(postgres_dsn)
    cli("migrate", "--in-place", "--yes")
    assert [row["title"] for row in cli.json("list")] == ["Old"]

    cli("migrate", "--in-place", "--finish", "--yes")
    assert "no tables of the original module" in cli("migrate", "--in-place", expect=2).stderr
