"""
A database that is put back from a backup, by PostgreSQL's own programs, under a store that goes on.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from backlog_store import Backlog, open_backlog
from backlog_store.executors.failover import FailoverExecutor
from backlog_store.testing.postgres import PostgresServer, binaries
from tests.outage.test_postgres_failover import until


def settled(store: Backlog) -> FailoverExecutor:
    """
    Wait until the store's database is there and nothing waits for it any more.
    """
    executor = store.executor
    assert isinstance(executor, FailoverExecutor)
    until(lambda: executor.standing().state == "up" and not executor.standing().waiting)
    return executor


@pytest.mark.usefixtures("patient_auto")
def test_a_dump_that_is_restored_gets_back_what_went_through_the_spool(tmp_path: Path) -> None:
    """What was drained after the dump is offered again, once; what the dump holds is not doubled."""
    dump = tmp_path / "dump"
    with PostgresServer() as server:
        dsn = server.create_database()
        name = dsn.rpartition("/")[2]
        with open_backlog(f"auto+{dsn}", spool=tmp_path / "spool") as store:
            settled(store)
            assert store.upsert(title="recorded", dedupe_key="a").verdict == "created"
            server.shut_down()
            assert store.upsert(title="in the dump", dedupe_key="b").verdict == "accepted"
            server.restart()
            settled(store)
            _run("pg_dump", "--format=custom", f"--file={dump}", dsn)
            server.shut_down()
            assert store.upsert(title="after the dump", dedupe_key="c").verdict == "accepted"
            server.restart()
            settled(store)
            restored = server.create_database()
            _run("pg_restore", f"--dbname={restored}", "--exit-on-error", str(dump))
            server.drop_database(dsn)
            assert store.upsert(title="while there was none", dedupe_key="d").verdict == "accepted"
            with server.connect() as admin:
                admin.autocommit = True
                admin.execute(f"ALTER DATABASE {restored.rpartition('/')[2]} RENAME TO {name}".encode())
            executor = settled(store)
            account = executor.standing().account
            assert (account.accepted, account.again, account.applied, account.waiting) == (3, 1, 4, 0)
        with open_backlog(dsn) as direct:
            trails = {item.dedupe_key: [event.type for event in direct.trail(item.id)] for item in direct.each()}
            assert trails == {key: ["created"] for key in "abcd"}


def _run(program: str, *arguments: str) -> None:
    done = subprocess.run([binaries() / program, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
