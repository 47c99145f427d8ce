"""
PostgreSQL on several servers: which one is found, how soon, and that a store follows the one that takes writes.

The takeover itself, by real standbys under Patroni, is in tests/system/test_ha.py.
"""

from __future__ import annotations

import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from backlog_store.backends.port import Backend, Writer
from backlog_store.backends.postgres import open_postgres
from backlog_store.errors import BackendUnavailable, ConfigError, OutcomeUnknown
from backlog_store.testing.postgres import PostgresServer
from backlog_store.testing.samples import an_item, first
from tests.outage.proxy import Proxy
from tests.outage.test_postgres_deadlines import create, trail

DEADLINE_S = 60.0


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    """
    A server of the test's own, to be broken.
    """
    with PostgresServer() as server:
        yield server


@pytest.fixture
def silent() -> Iterator[int]:
    """
    A port where connections are accepted and nothing is ever said.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def naming(dsn: str, *ports: int) -> str:
    """
    Return *dsn* with these ports of this machine for its host.
    """
    account, _, place = dsn.rpartition("@")
    hosts = ",".join(f"127.0.0.1:{port}" for port in ports)
    return f"{account}@{hosts}/{place.rpartition('/')[2]}"


def port_of(dsn: str) -> int:
    """
    Return the port that *dsn* names.
    """
    return int(conninfo_to_dict(dsn)["port"] or 0)


def until(look: Callable[[], object]) -> None:
    """
    Look again and again until it is so; fail where it never is.
    """
    deadline = time.monotonic() + DEADLINE_S
    while not look():
        assert time.monotonic() < deadline, "it never came to be"


def make_read_only(server: PostgresServer, *, yes: bool = True) -> None:
    """
    Let every session of the server, those that are there too, refuse writes (or take them again).
    """
    with server.connect() as watcher, server.connect() as admin:
        admin.execute(f"ALTER SYSTEM SET default_transaction_read_only = {'on' if yes else 'off'}".encode())
        admin.execute("SELECT pg_reload_conf()")
        for each in (admin, watcher):
            until(lambda each=each: each.execute("SHOW transaction_read_only").fetchone() == ("on" if yes else "off",))  # type: ignore[misc]


# --- which server, and how soon ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 3])
def test_silent_hosts_before_a_good_one_leave_time_for_it(postgres_dsn: str, silent: int, count: int) -> None:
    """Hosts that are silent get a head start each, not the whole time for connecting: the good one is reached."""
    dsn = naming(postgres_dsn, *[silent] * count, port_of(postgres_dsn))
    backend = open_postgres(dsn, connect_s=1.0)
    create(backend)
    assert trail(backend) == (1, 1)
    backend.close()


def test_a_host_that_falls_silent_while_greeting_is_passed_over(postgres_server: PostgresServer) -> None:
    """A server that freezes after it has taken the connection costs no more than one that never did."""
    dsn = postgres_server.create_database()
    with Proxy(postgres_server.port, lambda _: "deaf") as frozen:
        backend = open_postgres(naming(dsn, frozen.port, postgres_server.port), connect_s=1.0)
        create(backend)
        assert trail(backend) == (1, 1)
        backend.close()


def test_only_silent_hosts_end_at_the_deadline(silent: int) -> None:
    """Where no host answers, the caller is told so after the time for connecting, however many hosts there are."""
    with pytest.raises(BackendUnavailable, match="in time"):
        open_postgres(naming("postgresql://u:p@h:1/d", silent, silent, silent), connect_s=0.5)


def test_connections_that_come_too_late_are_kept_or_closed(postgres_server: PostgresServer, postgres_dsn: str) -> None:
    """A host that answers after another was chosen leaves no connection behind."""
    name = postgres_dsn.rpartition("/")[2]
    held = threading.Event()

    def slow(_: bytes) -> str:
        held.wait(DEADLINE_S)
        return "pass"

    with Proxy(postgres_server.port, slow) as late, postgres_server.connect() as admin:
        backend = open_postgres(naming(postgres_dsn, late.port, postgres_server.port), connections_max=1)
        opened = len(_sessions(admin, name))
        held.set()
        create(backend)
        until(lambda: len(_sessions(admin, name)) == opened)
        assert opened == 1
        backend.close()
        until(lambda: not _sessions(admin, name))


def test_a_host_that_only_reads_is_passed_over(postgres_server: PostgresServer, server: PostgresServer) -> None:
    """Of several hosts the one that takes writes is used without being asked for, whichever is named first."""
    _, dsn = _twins(server, postgres_server)
    make_read_only(server)
    for id, ports in (("bl_a", (server.port, postgres_server.port)), ("bl_b", (postgres_server.port, server.port))):
        backend = open_postgres(naming(dsn, *ports))
        create(backend, id)
        backend.close()
    direct = open_postgres(dsn)
    assert [trail(direct, id) for id in ("bl_a", "bl_b")] == [(1, 1), (1, 1)]
    direct.close()


# --- while it is open ------------------------------------------------------------------------------------------------


def test_a_demoted_server_is_left_without_the_caller_noticing(
    postgres_server: PostgresServer, server: PostgresServer
) -> None:
    """When another server takes the writes, the next call goes there, though all connections to the old one work."""
    old, new = _twins(server, postgres_server)
    open_postgres(new).close()
    make_read_only(postgres_server)
    try:
        backend = open_postgres(naming(old, server.port, postgres_server.port), connections_max=3)
        _use_at_once(backend, 3)
        make_read_only(server)
        make_read_only(postgres_server, yes=False)
        create(backend)
        _use_at_once(backend, 3)
        create(backend, "bl_b")
        backend.close()
    finally:
        make_read_only(postgres_server, yes=False)
    direct = open_postgres(new)
    assert [trail(direct, id) for id in ("bl_a", "bl_b")] == [(1, 1), (1, 1)]
    direct.close()


def test_a_server_that_shuts_down_is_away_and_its_neighbour_is_not(
    postgres_server: PostgresServer, server: PostgresServer
) -> None:
    """A server that only waits for its last session is named as stopping, no wrong setting, and passed over."""
    stopping, other = _twins(server, postgres_server)
    with server.connect():
        psycopg.connect(stopping).close()
        _signal(server, signal.SIGTERM)  # "smart": sessions may go on, new ones are refused (57P03)
        until(lambda: "shutting down" in _refusal(stopping))
        with pytest.raises(BackendUnavailable, match="stopping or starting"):
            open_postgres(stopping)
        backend = open_postgres(naming(other, server.port, postgres_server.port))
        create(backend)
        assert trail(backend) == (1, 1)
        backend.close()


def test_a_crash_of_the_server_ends_as_surely_not_executed_and_is_recovered_from(server: PostgresServer) -> None:
    """A killed session makes PostgreSQL end all (57P02) and recover (57P03): nothing was written, the handle lives."""
    backend = open_postgres(server.create_database(), connections_max=3)
    _use_at_once(backend, 3)

    def run(writer: Writer) -> None:
        with suppress(psycopg.OperationalError), server.connect() as victim:
            found = victim.execute("SELECT pg_backend_pid()").fetchone()
            assert found is not None
            sessions = _serving(server)
            _kill(found[0], server)
            victim.execute("SELECT pg_sleep(60)")
        # The server ends the other sessions one after the other: that of the writer may still be there for a moment.
        until(lambda: not any(session.is_running() for session in sessions))
        writer.items(["bl_b"])
        writer.apply([first(an_item("bl_a", dedupe_key="ka"))])

    with pytest.raises(BackendUnavailable):
        backend.write(run)
    until(lambda: _works(backend))
    assert trail(backend) == (0, 0)
    create(backend)
    assert trail(backend) == (1, 1)
    backend.close()


@pytest.mark.parametrize("how", ["pg_cancel_backend", "pg_terminate_backend"])
def test_a_commit_that_no_standby_confirmed_is_an_unknown_outcome(server: PostgresServer, how: str) -> None:
    """A wait for a standby that an administrator cuts short is no acknowledgement, although COMMIT says it is done."""
    backend = open_postgres(server.create_database(), write_s=DEADLINE_S)
    raised: list[BaseException] = []

    def write() -> None:
        try:
            create(backend)
        except OutcomeUnknown as error:
            raised.append(error)

    with server.connect() as admin:
        admin.execute("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
        admin.execute("SELECT pg_reload_conf()")
        until(lambda: admin.execute("SHOW synchronous_standby_names").fetchone() == ("nobody",))
        writer = threading.Thread(target=write)
        writer.start()
        waiting = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
        until(lambda: admin.execute(waiting).fetchone())
        admin.execute(f"SELECT {how}(pid) FROM ({waiting}) AS w".encode())
        writer.join()
        health = backend.check()
        admin.execute("ALTER SYSTEM RESET synchronous_standby_names")
    assert [OutcomeUnknown] == [type(error) for error in raised]
    assert any("hang" in problem for problem in health.problems) or any("pg_monitor" in w for w in health.warnings)
    backend.close()


def test_a_password_that_every_server_refuses_is_a_wrong_setting(postgres_dsn: str, silent: int) -> None:
    """All hosts must agree that a setting is wrong; where one is away, it is that one that may help."""
    wrong = postgres_dsn.replace(str(conninfo_to_dict(postgres_dsn)["password"]), "sesame-1234")
    port = port_of(postgres_dsn)
    with pytest.raises(ConfigError) as told:
        open_postgres(naming(wrong, port, port))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        nobody = listener.getsockname()[1]
    with pytest.raises(BackendUnavailable, match="authentication failed"):
        open_postgres(naming(wrong, port, nobody))
    assert "sesame" not in str(told.value)


# --- inside ----------------------------------------------------------------------------------------------------------


def _twins(one: PostgresServer, other: PostgresServer) -> tuple[str, str]:
    """
    Return the URLs of empty databases of one name and one password on two servers.
    """
    second = other.create_database()
    known = conninfo_to_dict(second)
    with one.connect() as admin:
        admin.execute(f"ALTER ROLE backlog PASSWORD '{known['password']}'".encode())
        admin.execute(f"CREATE DATABASE {known['dbname']} OWNER backlog".encode())
    return naming(second, one.port), second


def _sessions(admin: psycopg.Connection[Any], database: str) -> list[Any]:
    return admin.execute("SELECT pid FROM pg_stat_activity WHERE datname = %s", [database]).fetchall()


def _use_at_once(backend: Backend, count: int) -> None:
    """
    Make *count* connections, by reading on as many threads at the same time.
    """
    together = threading.Barrier(count)
    threads = [threading.Thread(target=lambda: backend.read(lambda _: together.wait())) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _signal(server: PostgresServer, number: signal.Signals) -> None:
    import psutil

    _postmaster(psutil.Process(server.pid)).send_signal(number)


def _kill(session: int, server: PostgresServer) -> None:
    # The server counts processes as they are in its own namespace, which has the same numbers.
    next(found for found in _serving(server) if found.pid == session).kill()


def _serving(server: PostgresServer) -> list[Any]:
    import psutil

    processes = psutil.Process(server.pid).children(recursive=True)
    return [process for process in processes if any(peer in _title(process) for peer in (" [local] ", " 127.0.0.1("))]


def _title(process: Any) -> str:
    import psutil

    with suppress(psutil.NoSuchProcess):
        return " ".join(process.cmdline())
    return ""


def _postmaster(process: Any) -> Any:
    return process if process.name() == "postgres" else process.children()[0]


def _refusal(dsn: str) -> str:
    try:
        psycopg.connect(dsn).close()
    except psycopg.OperationalError as error:
        return str(error)
    return ""


def _works(backend: Backend) -> bool:
    try:
        return trail(backend) is not None
    except BackendUnavailable:
        return False
