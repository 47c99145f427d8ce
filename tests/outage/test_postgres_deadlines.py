"""
PostgreSQL away, frozen, silent, cut off or killed: what a caller is told, how soon, and that the store comes back.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import psycopg
import pytest

from backlog_store.backends.port import Backend, Hint, Writer
from backlog_store.backends.postgres import PostgresBackend, open_postgres
from backlog_store.errors import BackendUnavailable, ConfigError, OutcomeUnknown
from backlog_store.query import EventQuery
from backlog_store.testing.postgres import PostgresServer
from backlog_store.testing.samples import an_item, first, then
from tests.outage.proxy import Proxy

#: Short, so that the tests are; no outcome depends on how long they are.
QUICK: dict[str, Any] = {"connect_s": 0.5, "read_s": 0.5, "write_s": 0.5}
A = an_item("bl_a", dedupe_key="ka")


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    """
    A server of the test's own, to be frozen, killed and restarted.
    """
    with PostgresServer() as server:
        yield server


@pytest.fixture
def silent_port() -> Iterator[int]:
    """
    A port where connections are accepted and nothing is ever said.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def create(backend: Backend, id: str = "bl_a") -> None:
    """
    Create an item, having looked for it before.
    """
    item = an_item(id, dedupe_key=id)

    def run(writer: Writer) -> None:
        writer.items_by_key([("prod", id)])
        writer.apply([first(item)])

    backend.write(run, hint=Hint(keys=(("prod", id),)))


def trail(backend: Backend, id: str = "bl_a") -> tuple[int, int]:
    """
    Return how many items of this id there are, and how many events.
    """
    return backend.read(
        lambda reader: (len(reader.items([id])), len(reader.events(EventQuery(item_ids=(id,), limit=None))))
    )


def through(proxy: Proxy, dsn: str, **options: Any) -> PostgresBackend:
    """
    Open the store of *dsn* through the proxy.
    """
    before, _, database = dsn.rpartition("/")
    return open_postgres(f"{before.rpartition(':')[0]}:{proxy.port}/{database}", **{**QUICK, **options})


def test_opening_at_a_silent_server_ends(silent_port: int) -> None:
    """Whoever opens a store whose server accepts and says nothing is told so at the deadline."""
    with pytest.raises(BackendUnavailable):
        open_postgres(f"postgresql://u:p@127.0.0.1:{silent_port}/d", **QUICK)


def test_opening_where_nobody_listens_fails(silent_port: int) -> None:
    """A refused connection is reported with the reason that the operating system gave."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(BackendUnavailable, match="refused"):
        open_postgres(f"postgresql://u:p@127.0.0.1:{port}/d")


def test_a_silent_host_before_a_good_one_is_passed_over(silent_port: int, postgres_dsn: str) -> None:
    """Of several hosts the first that answers is used, and libpq's own settings in the URL are kept."""
    place, _, database = postgres_dsn.rpartition("/")
    account, _, good = place.rpartition("@")
    dsn = f"{account}@127.0.0.1:{silent_port},{good}/{database}?target_session_attrs=read-write&connect_timeout=2"
    backend = open_postgres(dsn, connect_s=30)
    create(backend)
    assert trail(backend) == (1, 1)
    backend.close()


def test_a_frozen_server_fails_every_call_and_comes_back(server: PostgresServer) -> None:
    """While nothing answers, reads and writes are surely not executed; thawed, the same handle works again."""
    backend = open_postgres(server.create_database(), **QUICK)
    create(backend)
    server.freeze()
    with pytest.raises(BackendUnavailable):
        trail(backend)
    with pytest.raises(BackendUnavailable):
        create(backend, "bl_b")
    assert not backend.check().ok
    with pytest.raises(BackendUnavailable):
        open_postgres(server.dsn("backlog_1"), **QUICK)
    server.thaw()
    create(backend, "bl_c")
    assert [trail(backend, id) for id in ("bl_a", "bl_b", "bl_c")] == [(1, 1), (0, 0), (1, 1)]
    assert backend.check().ok
    backend.close()


def test_it_is_the_caller_who_gives_up(postgres_server: PostgresServer) -> None:
    """A statement that nobody answers ends at its own deadline, not when the connection breaks one day."""
    dsn = postgres_server.create_database()
    with Proxy(postgres_server.port) as proxy:
        backend = through(proxy, dsn)
        create(backend)
        proxy.judge = lambda _: "deaf"
        one_day = threading.Timer(3.0, proxy.close)
        one_day.start()
        with pytest.raises(BackendUnavailable, match="no answer came in time"):
            trail(backend)
        one_day.cancel()
        backend.close()


def test_a_freeze_before_the_answer_to_commit_is_an_unknown_outcome(server: PostgresServer) -> None:
    """Who sent COMMIT and heard nothing is not told that it failed; item and event are both there, or neither."""
    backend = open_postgres(server.create_database(), **QUICK)

    def run(writer: Writer) -> None:
        writer.apply([first(A)])
        server.freeze()

    with pytest.raises(OutcomeUnknown):
        backend.write(run)
    server.thaw()
    assert trail(backend) in [(0, 0), (1, 1)]
    backend.close()


@pytest.mark.parametrize(("verdict", "found"), [("deaf", (0, 0)), ("mute", (1, 1)), ("cut", (1, 1)), ("stops", (1, 1))])
def test_a_lost_commit_is_an_unknown_outcome(postgres_server: PostgresServer, verdict: str, found: Any) -> None:
    """Request lost, answer lost, connection cut: the caller cannot tell these apart, and is told exactly that."""
    dsn = postgres_server.create_database()
    with Proxy(postgres_server.port) as proxy:
        backend = through(proxy, dsn)
        proxy.judge = lambda piece: verdict if b"COMMIT" in piece else "pass"
        with pytest.raises(OutcomeUnknown):
            create(backend)
        backend.close()
    # A second writer of the same item waits for the first one's transaction, whichever way that goes.
    direct = open_postgres(dsn)
    with suppress(BackendUnavailable):
        direct.write(lambda writer: writer.apply([]), hint=Hint(ids=("bl_a",)))
    assert _settled(direct, found) == found
    direct.close()


def _settled(backend: Backend, wanted: tuple[int, int]) -> tuple[int, int]:
    # The server may still be at it: look until it shows, a bounded number of times.
    for _ in range(500):
        if trail(backend) == wanted:
            break
    return trail(backend)


@pytest.mark.parametrize("verdict", ["deaf", "mute", "cut", "stops"])
def test_what_is_lost_before_commit_was_surely_not_executed(postgres_server: PostgresServer, verdict: str) -> None:
    """A connection that breaks while reading changes nothing, and the caller may try again."""
    dsn = postgres_server.create_database()
    with Proxy(postgres_server.port) as proxy:
        backend = through(proxy, dsn)
        create(backend, "bl_0")
        proxy.judge = lambda piece: verdict if b"BEGIN" in piece else "pass"
        with pytest.raises(BackendUnavailable):
            create(backend)
        proxy.judge = lambda _: "pass"
        assert trail(backend) == (0, 0)
        create(backend)
        assert trail(backend) == (1, 1)
        backend.close()


def test_a_restart_between_two_calls_is_not_noticed(server: PostgresServer) -> None:
    """Connections that died while nobody used them are replaced; neither a read nor a write fails for them."""
    backend = open_postgres(server.create_database(), connections_max=3)
    _use_at_once(backend, 3)
    server.restart()
    create(backend)
    server.restart()
    assert trail(backend) == (1, 1)
    backend.close()


def test_a_killed_server_comes_back_with_what_was_acknowledged(server: PostgresServer) -> None:
    """After kill -9 of all its processes the store holds every acknowledged write, through the same handle."""
    backend = open_postgres(server.create_database(), **QUICK)
    create(backend)
    server.kill()
    with pytest.raises(BackendUnavailable):
        create(backend, "bl_b")
    server.restart()
    create(backend, "bl_c")
    assert [trail(backend, id) for id in ("bl_a", "bl_b", "bl_c")] == [(1, 1), (0, 0), (1, 1)]
    backend.close()


def test_a_session_killed_while_deciding_costs_nothing(postgres_server: PostgresServer, postgres_dsn: str) -> None:
    """An administrator ends the session in the middle of a write: nothing is written, and it may be tried again."""
    backend = open_postgres(postgres_dsn, **QUICK)
    runs: list[int] = []

    def run(writer: Writer) -> None:
        runs.append(1)
        with postgres_server.connect() as admin:
            admin.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = 'backlog-store'"
            )
        writer.items(["bl_b"])
        writer.apply([first(A)])

    with pytest.raises(BackendUnavailable):
        backend.write(run)
    assert runs
    assert trail(backend) == (0, 0)
    backend.close()


def test_a_lock_that_somebody_holds_is_no_unknown_outcome(postgres_dsn: str) -> None:
    """A write that waits for a row longer than its deadline was surely not executed, and says so."""
    backend = open_postgres(postgres_dsn, **QUICK)
    create(backend)
    with psycopg.connect(postgres_dsn) as other:
        other.execute("SELECT 1 FROM backlog_store.items WHERE id = 'bl_a' FOR UPDATE")
        with pytest.raises(BackendUnavailable):
            backend.write(lambda writer: writer.apply([then(writer.items(["bl_a"])["bl_a"])]))
    assert trail(backend) == (1, 1)
    backend.write(lambda writer: writer.apply([then(writer.items(["bl_a"])["bl_a"])]))
    assert trail(backend) == (1, 2)
    backend.close()


def test_busy_connections_are_waited_for_only_so_long(postgres_dsn: str) -> None:
    """With every connection lent, one more caller is told that all are busy."""
    backend = open_postgres(postgres_dsn, connections_max=1, **QUICK)

    def inner(_: Any) -> None:
        with pytest.raises(BackendUnavailable, match="busy"):
            trail(backend)

    backend.read(inner)
    assert trail(backend) == (0, 0)
    backend.close()


def test_a_server_without_room_for_connections_says_so(postgres_server: PostgresServer) -> None:
    """Too many connections is told as such, with what to do."""
    dsn = postgres_server.create_database()
    name = dsn.rpartition("/")[2]
    with postgres_server.connect() as admin:
        admin.execute(f"ALTER DATABASE {name} CONNECTION LIMIT 0".encode())
    with pytest.raises(BackendUnavailable, match="max_connections"):
        open_postgres(dsn)


def test_a_closed_store_is_closed_for_waiting_callers_too(postgres_dsn: str) -> None:
    """Whoever waits for a connection while the store is closed is told, instead of waiting on."""
    backend = open_postgres(postgres_dsn, connections_max=1, read_s=60)
    inside, told = threading.Event(), []

    def wait() -> None:
        inside.set()
        try:
            trail(backend)
        except BackendUnavailable as error:
            told.append(str(error))

    waiter = threading.Thread(target=wait)

    def hold(_: Any) -> None:
        waiter.start()
        inside.wait()
        backend.close()
        waiter.join()

    backend.read(hold)
    assert len(told) == 1
    assert "closed" in told[0]


@pytest.mark.parametrize("name", ["connect_s", "read_s", "write_s", "batch_s", "migration_s"])
@pytest.mark.parametrize("seconds", [0, -1, float("nan"), 1e9])
def test_a_deadline_that_is_none_is_refused(name: str, seconds: float) -> None:
    """A deadline of 0 or of for ever is a mistake in the settings, and named."""
    setting: dict[str, Any] = {name: seconds}
    with pytest.raises(ConfigError, match=name):
        open_postgres("postgresql://h/d", **setting)


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
