"""
A PostgreSQL that answers late, and has other tables then than before: they are too old, too new, or looked at in vain.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from backlog_store import Backlog, open_backlog
from backlog_store.backends.postgres import open_postgres
from backlog_store.errors import BackendUnavailable
from backlog_store.executors.failover import FailoverExecutor
from backlog_store.testing.postgres import PostgresServer
from tests.outage.proxy import Proxy
from tests.outage.test_postgres_failover import naming, until


def executor_of(store: Backlog) -> FailoverExecutor:
    """
    Return the failover executor of a store.
    """
    assert isinstance(store.executor, FailoverExecutor)
    return store.executor


@pytest.mark.usefixtures("patient_auto")
@pytest.mark.parametrize(
    ("meanwhile", "undone"),
    [
        ("INSERT INTO backlog_store.migrations VALUES (900, 'later', 'x', 900)",
         "DELETE FROM backlog_store.migrations WHERE version = 900"),
        ("DROP SCHEMA backlog_store CASCADE", ""),
    ],
    ids=["newer", "none"],
)  # fmt: skip
def test_other_tables_after_an_outage(tmp_path: Path, meanwhile: str, undone: str) -> None:
    """A newer program's tables keep the spool waiting until it may write again; without any it is another store."""
    with PostgresServer() as server:
        dsn = server.create_database()
        with open_backlog(f"auto+{dsn}", spool=tmp_path / "spool") as store:
            until(lambda: executor_of(store).standing().state == "up")
            assert "created" == store.upsert(title="before", dedupe_key="a").verdict
            server.kill()
            assert "accepted" == store.upsert(title="meanwhile", dedupe_key="b").verdict
        server.restart()
        with server.connect(dsn.rpartition("/")[2]) as other:
            other.execute(meanwhile.encode())
        with open_backlog(f"auto+{dsn}", spool=tmp_path / "spool") as store:
            executor = executor_of(store)
            assert "accepted" == store.upsert(title="after", dedupe_key="c").verdict
            until(lambda: any("schema 900" in text or "another store" in text for text in executor.standing().problems))
            with pytest.raises(BackendUnavailable):
                executor.drain()
            assert 2 == executor.standing().waiting
            if undone:
                with server.connect(dsn.rpartition("/")[2]) as other:
                    other.execute(undone.encode())
                until(lambda: executor.standing().state == "up")
            else:
                executor.adopt()
                until(lambda: executor.standing().state == "up")
            titles = {item.title for item in store.search()}
            assert {"meanwhile", "after"} == titles - {"before"}
            assert executor.standing().account.applied == 2


def test_a_server_silent_while_its_tables_are_looked_at_is_away_soon(postgres_server: PostgresServer) -> None:
    """Opening waits for an answer about tables as long as for any other answer, not as long as for a migration."""
    dsn = postgres_server.create_database()
    open_postgres(dsn).close()
    with Proxy(postgres_server.port) as proxy:
        proxy.judge = lambda piece: "mute" if b"migrations" in piece else "pass"
        with pytest.raises(BackendUnavailable):
            open_postgres(naming(dsn, proxy.port), read_s=0.5, migration_s=86_400.0)
