"""
Several servers on one PostgreSQL: what is committed through one is streamed by all at once, in one order, none missed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from backlog_store.access import Scope
from backlog_store.backlog import Backlog, open_backlog
from backlog_store.query import EventQuery
from backlog_store.web.site import Asker
from tests.web.processes import Follower, Server
from tests.web.serving import Served
from tests.web.test_stream import Listener

ALL = Asker(name="ann", person=True)
#: A tail that looks by itself this seldom tells nothing in a test, unless it is nudged.
NEVER_S = 3_600.0


@pytest.fixture
def served(postgres_dsn: str) -> Iterator[Callable[..., tuple[Backlog, Served]]]:
    """
    Return a function that starts a server with a store of its own on the one database.
    """
    running: list[tuple[Backlog, Served]] = []

    def start(asker: Asker = ALL, **settings: Any) -> tuple[Backlog, Served]:
        backlog = open_backlog(postgres_dsn)
        running.append((backlog, Served(backlog, asker, stream_every_s=NEVER_S, **settings)))
        return running[-1]

    yield start
    for backlog, server in running:
        server.stop()
        backlog.close()


def ready(listener: Listener, writer: Backlog, key: str) -> str:
    """
    Report *key* until the listener hears of anything: from then on the doorbell is known to work. Return the position.
    """
    heard: list[tuple[str, dict[str, Any]]] = []
    thread = threading.Thread(target=lambda: heard.extend(listener.changes(1)), daemon=True)
    thread.start()
    number = 0
    while thread.is_alive():
        number += 1
        writer.upsert(title=f"{key} {number}", dedupe_key=key, service="web")
        thread.join(0.2)
    return heard[0][0]


def test_what_one_server_commits_another_one_streams_at_once(served: Callable[..., tuple[Backlog, Served]]) -> None:
    """
    A listener hears of what is written through another server without its own looking by itself.
    """
    _, writing = served()
    _, streaming = served()
    listener = Listener(streaming.url)
    with open_backlog(writing.url) as client:
        ready(listener, client, "first")
        for number in range(5):
            id = client.upsert(title=f"Item {number}", dedupe_key=f"k{number}").id
            found = listener.changes(1)
            while found[0][1]["item_id"] != id:  # what was reported until the doorbell worked
                found = listener.changes(1)
    listener.close()


def test_a_bound_listener_hears_of_its_part_alone(served: Callable[..., tuple[Backlog, Served]]) -> None:
    """
    Woken by everything, it is told what lies within its scope and nothing else.
    """
    _, writing = served()
    _, streaming = served(Asker(name="eve", scope=Scope(role="reader", services=("web",))))
    listener = Listener(streaming.url)
    with open_backlog(writing.url) as client:
        ready(listener, client, "first")
        client.upsert(title="Theirs", service="db", dedupe_key="theirs")
        mine = client.upsert(title="Mine", service="web", dedupe_key="mine").id
        services = {"web"}
        while True:
            [(_, change)] = listener.changes(1)
            services.add(change["service"])
            if change["item_id"] == mine:
                break
    assert services == {"web"}
    listener.close()


def test_two_processes_stream_every_change_once_and_in_one_order(postgres_dsn: str, tmp_path: Path) -> None:
    """
    Written through both at the same time, listeners of both get all of it, in the order of the log.
    """
    servers = [Server(postgres_dsn, tmp_path) for _ in range(2)]
    try:
        followers = [Follower(server.port) for server in servers for _ in range(2)]
        for one in followers:
            one.start()
            assert one.connected.wait(60)

        def write(server: Server, name: str) -> None:
            assert all(server.report(f"{name}-{number}") for number in range(25))

        writers = [threading.Thread(target=write, args=(servers[n % 2], str(n))) for n in range(4)]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join(120)
        with open_backlog(postgres_dsn) as backlog:
            positions = [event.position for event in backlog.events(EventQuery(limit=None))]
        assert len(positions) == 100
        for one in followers:
            one.until = positions[-1]
            while one.is_alive() and (not one.seen or one.seen[-1] != positions[-1]):
                one.join(0.05)
            one.is_over.set()
        assert [one.seen for one in followers] == [positions] * 4
    finally:
        for server in servers:
            server.kill()
