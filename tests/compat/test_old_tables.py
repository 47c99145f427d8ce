"""Tables of the original module: refused until migrated, migrated on demand, followed until set aside."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from backlog_store import AutoBacklogStore, PostgresBacklogStore, open_backlog
from backlog_store.backlog import Backlog
from backlog_store.cli.main import cli
from backlog_store.compat import postgres
from backlog_store.errors import Conflict, SchemaMismatch
from backlog_store.legacy.tables import OldTables
from backlog_store.verify import verify
from tests.compat.samples import an_item

# The columns of the original module; types differ from host to host, these are the two kinds that are in use.
SCHEMAS = {
    "typed": """
        CREATE TABLE backlog_items (
          id text PRIMARY KEY, created_at timestamptz NOT NULL, updated_at timestamptz NOT NULL, env text NOT NULL,
          service text, category text, title text, description text, priority text, status text, owner text,
          due_date date, source text, dedupe_key text UNIQUE, evidence_refs jsonb, tags jsonb, meta jsonb);
        CREATE TABLE backlog_events (
          id text PRIMARY KEY, item_id text NOT NULL, ts timestamptz NOT NULL, type text, message text, actor text,
          meta jsonb);""",
    "texts": """
        CREATE TABLE backlog_items (
          id varchar(64) PRIMARY KEY, created_at timestamp, updated_at timestamp, env varchar(32), service text,
          category text, title text, description text, priority text, status text, owner text, due_date text,
          source text, dedupe_key text UNIQUE, evidence_refs text, tags text[], meta text);
        CREATE TABLE backlog_events (
          id varchar(64) PRIMARY KEY, item_id varchar(64), ts timestamp, type text, message text, actor text,
          meta text);""",
}


class OldProcess:
    """Writes as a process of the original module does; a stand-in, which has its statements, not its code."""

    def __init__(self, dsn: str, schema: str) -> None:
        self.connection = psycopg.connect(dsn, autocommit=True, options="-c TimeZone=UTC")
        self.arrays = schema == "texts"

    def item(self, id: str, **fields: Any) -> None:
        time = "2025-03-01T08:00:00+00:00"
        row = an_item(id=id, title=f"About {id}", created_at=time, updated_at=time).to_dict() | fields
        row["due_date"] = row["due_date"] or None
        row["dedupe_key"] = row["dedupe_key"] or None
        for name in ("evidence_refs", "meta", *([] if self.arrays else ["tags"])):
            row[name] = json.dumps(row[name])
        names = list(row)
        self.connection.execute(
            f"INSERT INTO backlog_items ({', '.join(names)}) VALUES ({', '.join(['%s'] * len(names))}) "
            f"ON CONFLICT (id) DO UPDATE SET {', '.join(f'{name} = EXCLUDED.{name}' for name in names)}",
            list(row.values()),
        )

    def event(self, id: str, item_id: str, message: str = "m") -> None:
        self.connection.execute(
            "INSERT INTO backlog_events VALUES (%s, %s, '2025-03-01T09:00:00+00:00', 'comment', %s, 'anna', '{}')",
            (id, item_id, message),
        )


@pytest.fixture(params=SCHEMAS)
def old(request: pytest.FixtureRequest, postgres_dsn: str) -> Iterator[OldProcess]:
    """Make old tables with two items and two events."""
    process = OldProcess(postgres_dsn, request.param)
    process.connection.execute(SCHEMAS[request.param])
    process.item("bl_1", dedupe_key="slo:checkout", due_date="2031-01-02", tags=["b", "a"], meta={"n": [1]},
                 evidence_refs={"incidents": ["inc-1"]})  # fmt: skip
    process.item("bl_2", status="done", owner="anna")
    process.event("ev_1", "bl_1")
    process.event("ev_2", "bl_1", "n")
    yield process
    process.connection.close()


@pytest.fixture
def tables(postgres_dsn: str) -> Iterator[OldTables]:
    """Open the old tables."""
    found = OldTables(postgres_dsn)
    yield found
    found.close()


@pytest.fixture
def backlog(postgres_dsn: str) -> Iterator[Backlog]:
    """Open the store beside them with the new interface."""
    with open_backlog(postgres_dsn) as found:
        yield found


@pytest.fixture
def store(postgres_dsn: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[PostgresBacklogStore]:
    """Return the store of the original interface; it looks for news of old processes at each call."""
    monkeypatch.setattr(postgres, "FOLLOW_S", 0.0)
    with PostgresBacklogStore(postgres_dsn) as found:
        yield found


@pytest.mark.usefixtures("patient_auto")
def test_until_then_the_store_says_what_to_run(old: OldProcess, postgres_dsn: str) -> None:
    """Neither an empty backlog nor a second truth: every call is an error that names the command."""
    for store in (PostgresBacklogStore(postgres_dsn), AutoBacklogStore(postgres_dsn)):
        with pytest.raises(SchemaMismatch, match="backlog migrate --in-place"):
            store.list_items()
        with pytest.raises(SchemaMismatch, match="backlog migrate --in-place"):
            store.upsert(an_item())


def test_a_migration_takes_every_field_and_event(
    old: OldProcess, tables: OldTables, backlog: Backlog, store: PostgresBacklogStore
) -> None:
    """Values come back as they were, times in UTC; the trails explain the items."""
    taken = tables.migrate(backlog)
    assert (2, 0, 2, []) == (taken.created, taken.merged, taken.events, taken.notes)
    time = "2025-03-01T08:00:00+00:00"
    first = an_item(
        id="bl_1", title="About bl_1", created_at=time, updated_at=time, dedupe_key="slo:checkout",
        due_date="2031-01-02", tags=["a", "b"], meta={"n": [1]}, evidence_refs={"incidents": ["inc-1"]},
    )  # fmt: skip
    second = an_item(id="bl_2", title="About bl_2", created_at=time, updated_at=time, status="done", owner="anna")
    assert [first, second] == store.list_items()
    assert [("ev_1", "m", "2025-03-01T09:00:00+00:00"), ("ev_2", "n", "2025-03-01T09:00:00+00:00")] == [
        (event.id, event.message, event.ts) for event in store.get_events("bl_1")
    ]
    assert [] == backlog.read(verify).faults


def test_a_preview_tells_and_writes_nothing(old: OldProcess, tables: OldTables, backlog: Backlog) -> None:
    """It counts what a migration would take in, and lists what would be mapped."""
    old.item("bl_3", status="wip")
    taken = tables.preview(backlog)
    assert (3, 2) == (taken.created, taken.events)
    assert ["backlog_items, bl_3: status 'wip' cannot be; it is kept as 'in_progress'"] == [
        text for _, text in taken.notes
    ]
    assert [] == list(backlog.each())
    assert not tables.standing().is_followed


def test_a_migration_that_was_cut_off_is_not_taken_for_done(
    old: OldProcess, tables: OldTables, backlog: Backlog, postgres_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store still says what to run, and running it again takes in all of it once."""
    from backlog_store.legacy import tables as module

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "write_record", killed)
    with pytest.raises(KeyboardInterrupt):
        tables.migrate(backlog)
    monkeypatch.undo()
    with PostgresBacklogStore(postgres_dsn) as store, pytest.raises(SchemaMismatch, match="--in-place"):
        store.list_items()
    tables.migrate(backlog)
    with PostgresBacklogStore(postgres_dsn) as store:
        assert [2, 0] == [len(store.get_events(id)) for id in ("bl_1", "bl_2")]


def test_migrations_exclude_each_other(old: OldProcess, tables: OldTables, backlog: Backlog, postgres_dsn: str) -> None:
    """While one runs, a second one is refused and does nothing."""
    other = OldTables(postgres_dsn)
    with other._alone(), pytest.raises(Conflict, match="another migration"):
        tables.migrate(backlog)
    other.close()
    tables.migrate(backlog)


def test_old_processes_go_on_working_and_are_followed(
    old: OldProcess, tables: OldTables, backlog: Backlog, store: PostgresBacklogStore
) -> None:
    """What they write after the migration is there at the next look; what was done here stays."""
    tables.migrate(backlog)
    item = store.get("bl_1")
    assert item is not None
    item.owner = "anna"
    store.update(item)
    old.item("bl_1", title="T", dedupe_key="slo:checkout", due_date="2031-01-02", tags=["b", "a"], meta={"n": [1]},
             evidence_refs={"incidents": ["inc-1", "inc-2"]})  # fmt: skip
    old.item("bl_3")
    old.event("ev_3", "bl_3", "from an old process")
    found = store.get("bl_1")
    assert found is not None
    assert ("anna", "T", {"incidents": ["inc-1", "inc-2"]}) == (found.owner, found.title, found.evidence_refs)
    assert ["from an old process"] == [event.message for event in store.get_events("bl_3")]
    assert [] == backlog.read(verify).faults
    with pytest.raises(psycopg.errors.UniqueViolation):
        old.item("bl_4", dedupe_key="slo:checkout")


def test_migrating_again_takes_in_what_is_new(old: OldProcess, tables: OldTables, backlog: Backlog) -> None:
    """Also without any store of the original interface in use."""
    tables.migrate(backlog)
    old.item("bl_3")
    old.event("ev_3", "bl_1", "o")
    taken = tables.migrate(backlog)
    assert (1, 0, 1) == (taken.created, taken.changed, taken.events)
    assert ["bl_1", "bl_2", "bl_3"] == [item.id for item in backlog.each()]


def test_finishing_takes_in_the_rest_and_sets_the_tables_aside(
    old: OldProcess, tables: OldTables, backlog: Backlog, store: PostgresBacklogStore
) -> None:
    """Old processes fail from then on, nothing that they wrote is missing, and the old rows are still there."""
    with pytest.raises(Conflict, match="--in-place"):
        tables.finish(backlog)
    tables.migrate(backlog)
    assert 2 == len(store.list_items())
    old.item("bl_3")
    tables.finish(backlog)
    with pytest.raises(psycopg.errors.UndefinedTable):
        old.item("bl_4")
    assert {"bl_1", "bl_2", "bl_3"} == {item.id for item in store.list_items()}
    assert (3,) == old.connection.execute("SELECT count(*) FROM backlog_items_before_migration").fetchone()
    assert not tables.standing().is_there


def test_tables_in_a_schema_of_their_own_and_a_writer_without_rights(
    tables: OldTables, backlog: Backlog, postgres_dsn: str, postgres_server: Any
) -> None:
    """Old processes that may write the old tables and nothing else go on working."""
    with psycopg.connect(postgres_dsn, autocommit=True) as owner:
        owner.execute(SCHEMAS["typed"])
    database = postgres_dsn.rsplit("/", 1)[1]
    with psycopg.connect(postgres_server.dsn(database, user="postgres"), autocommit=True) as admin:
        admin.execute("CREATE ROLE reporter")
        admin.execute("GRANT SELECT, INSERT, UPDATE ON backlog_items, backlog_events TO reporter")
        tables.migrate(backlog)
        admin.execute("SET ROLE reporter")
        admin.execute(
            "INSERT INTO backlog_items (id, created_at, updated_at, env) VALUES ('bl_9', now(), now(), 'prod')"
        )
        admin.execute("RESET ROLE")
        tables.take_in_news(backlog)
        assert ["bl_9"] == [item.id for item in backlog.each()]
        admin.execute("DROP OWNED BY reporter")
        admin.execute("DROP ROLE reporter")


def test_the_command_line_migrates_in_place(
    old: OldProcess, postgres_dsn: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command that the error names does what it says."""
    monkeypatch.setenv("BACKLOG_URL", postgres_dsn)
    for arguments in (["--dry-run"], ["--yes"], ["--finish", "--yes"]):
        with pytest.raises(SystemExit) as ended:
            cli.main(["migrate", "--in-place", *arguments])
        assert not ended.value.code, capsys.readouterr().err
    with PostgresBacklogStore(postgres_dsn) as store:
        assert 2 == len(store.list_items())
