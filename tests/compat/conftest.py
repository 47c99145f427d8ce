"""Every store of the original interface that keeps something, opened at a place that two of them can share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from backlog_store.compat import AutoBacklogStore, JsonlBacklogStore, MemoryBacklogStore, PostgresBacklogStore, postgres
from backlog_store.compat.base import BacklogBackedStore
from backlog_store.testing.postgres import PostgresServer

KINDS = ("memory", "jsonl", "postgres", "auto-jsonl", "auto-postgres")
SHARED = ("jsonl", "postgres", "auto-jsonl", "auto-postgres")

Open = Callable[[], BacklogBackedStore]


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No setting of the machine that runs the tests; its own database, if there is one, is not asked either."""
    for name in ("BACKLOG_BACKEND", "BACKLOG_POSTGRES_DSN", "BACKLOG_SPOOL", "POSTGRES_DSN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path.parent / f"{tmp_path.name}-state"))
    monkeypatch.setattr(postgres, "DEFAULT_DSN", f"host={tmp_path} dbname=nobody")
    monkeypatch.chdir(tmp_path)


def opener(kind: str, request: pytest.FixtureRequest, folder: Path) -> Open:
    """Return what opens the one place of this kind, as often as it is called."""
    items, events = folder / "items.jsonl", folder / "events.jsonl"
    if kind == "memory":
        only = MemoryBacklogStore()
        return lambda: only
    if kind == "jsonl":
        return lambda: JsonlBacklogStore(items, events)
    if kind == "auto-jsonl":
        return lambda: AutoBacklogStore(jsonl_items=items, jsonl_events=events)
    server: PostgresServer = request.getfixturevalue("postgres_server")
    dsn = server.create_database()
    request.addfinalizer(lambda: server.drop_database(dsn))
    if kind == "postgres":
        return lambda: PostgresBacklogStore(dsn)
    request.getfixturevalue("patient_auto")
    return lambda: AutoBacklogStore(dsn, items, events, spool=folder / "spool")


@pytest.fixture(params=KINDS)
def open_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Open]:
    """Open the store under test; all that were opened are closed."""
    opened: list[BacklogBackedStore] = []
    make = opener(request.param, request, tmp_path)

    def new() -> BacklogBackedStore:
        opened.append(make())
        return opened[-1]

    yield new
    for store in opened:
        store.close()


@pytest.fixture
def store(open_store: Open) -> BacklogBackedStore:
    """Return an empty store."""
    return open_store()
