"""
The service as real processes: stopped in order, replaced under load, killed under load.
"""

from __future__ import annotations

import http.client
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from backlog_store import open_backlog
from backlog_store.query import EventQuery
from tests.sizes import SERVED_KILLS
from tests.stores import url_of
from tests.web.processes import Follower, Server

Start = Callable[..., Server]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """
    Return a function that starts a service; all are killed at the end.
    """
    running: list[Server] = []

    def begin(url: str, *options: str, **more: Any) -> Server:
        running.append(Server(url, tmp_path, *options, **more))
        return running[-1]

    yield begin
    for one in running:
        one.kill()


def written(url: str) -> tuple[list[str], set[str]]:
    """
    Return the positions of all events, and the keys of all items.
    """
    with open_backlog(url) as backlog:
        keys = {item.dedupe_key for item in backlog.each()}
        return [event.position for event in backlog.events(EventQuery(limit=None))], keys


class Writers:
    """
    Threads that report one problem after the other through *report*, and remember what was acknowledged.
    """

    def __init__(self, report: Callable[[str], bool], count: int = 3) -> None:
        self.acknowledged: set[str] = set()
        self.failed: list[str] = []
        self._more = threading.Condition()
        self._is_over = threading.Event()
        self._report = report
        self._threads = [threading.Thread(target=self._write, args=(name,), daemon=True) for name in range(count)]
        for thread in self._threads:
            thread.start()

    def _write(self, name: int) -> None:
        number = 0
        while not self._is_over.is_set():
            number += 1
            key = f"{name}-{number}"
            is_done = self._report(key)
            with self._more:
                if is_done:
                    self.acknowledged.add(key)
                else:
                    self.failed.append(key)
                self._more.notify_all()

    def wait_for(self, more: int) -> None:
        """
        Wait until so many more are acknowledged.
        """
        with self._more:
            goal = len(self.acknowledged) + more
            assert self._more.wait_for(lambda: len(self.acknowledged) >= goal, 120)

    def stop(self) -> set[str]:
        """
        Stop, and return the keys that were acknowledged.
        """
        self._is_over.set()
        for thread in self._threads:
            thread.join(60)
        return self.acknowledged


def leave_together(port: int, count: int) -> None:
    """
    Connect so many listeners, and go away with all of them at once.
    """
    connections = [http.client.HTTPConnection("127.0.0.1", port, timeout=60) for _ in range(count)]
    for one in connections:
        one.request("GET", "/api/v1/stream")
    responses = [one.getresponse() for one in connections]
    assert {response.readline() for response in responses} == {b": connected\n"}
    for response, connection in zip(responses, connections, strict=True):
        response.close()
        connection.close()


def test_a_service_that_stops_ends_its_streams_with_a_hint_and_closes_the_store(start: Start, tmp_path: Path) -> None:
    """
    SIGTERM: /readyz says so first, a stream is told when to come back, what goes on is answered, and the status is 0.
    """
    server = start(f"sqlite://{tmp_path}/b.db", "--drain", "3")
    leave_together(server.port, 20)
    follower = Follower(server.port)
    follower.start()
    assert follower.connected.wait(60)
    server.tell(signal.SIGTERM)
    while server.readiness() == 200:
        pass
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    connection.request("GET", "/readyz")
    response = connection.getresponse()
    assert (response.status, response.read(), response.headers["connection"]) == (
        503, b'{"status":"draining"}', "close",
    )  # fmt: skip
    assert server.report("while-it-drains")
    assert server.process.wait(60) == 0
    follower.is_over.set()
    assert follower.retries[0] == "1000"
    assert "Traceback" not in server.log.read_text()


class Balancer:
    """
    Sends each request to a server that is ready, as a balancer does that asks each at /readyz.
    """

    def __init__(self, servers: list[Server]) -> None:
        self.servers = servers
        self._turn = 0

    def report(self, key: str) -> bool:
        """
        Report at one that says it is ready; no second try.
        """
        while True:
            self._turn += 1
            server = self.servers[self._turn % len(self.servers)]
            if server.readiness() == 200:
                return server.report(key)


@pytest.mark.parametrize("backend", ["sqlite", "postgres"])
def test_servers_are_replaced_one_by_one_without_a_failed_request(
    start: Start, tmp_path: Path, backend: str, request: pytest.FixtureRequest
) -> None:
    """
    Two servers on one store behind a balancer, each stopped and started anew under load: no request fails.
    """
    url = url_of(backend, request, tmp_path)
    balancer = Balancer([start(url, "--drain", "2"), start(url, "--drain", "2")])
    writers = Writers(balancer.report)
    writers.wait_for(5)
    for index, old in enumerate(list(balancer.servers)):
        assert old.stop() == 0
        balancer.servers[index] = start(url, "--drain", "2", port=old.port)
        writers.wait_for(5)
    acknowledged = writers.stop()
    assert writers.failed == []
    assert written(url)[1] == acknowledged


def test_workers_are_replaced_without_a_failed_request(start: Start, tmp_path: Path) -> None:
    """
    Several processes serve one port, and count together; SIGHUP replaces each of them under load: no request fails.
    """
    url = f"sqlite://{tmp_path}/b.db"
    server = start(url, "--workers", "2", "--log")
    writers = Writers(server.report)
    writers.wait_for(20)
    server.tell(signal.SIGHUP)
    while server.log.read_text().count("Finished server process") < 2:
        writers.wait_for(1)
    writers.wait_for(20)
    acknowledged = writers.stop()
    status, told = server.ask("GET", "/metrics")
    assert writers.failed == []
    counted = [line for line in told.decode().splitlines() if line.startswith("backlog_http_requests_total")
               and 'route="/api/v1/items/by-key/{env}/{key}"' in line]  # fmt: skip
    assert (status, sum(float(line.split()[-1]) for line in counted)) == (200, len(acknowledged))
    assert server.stop() == 0
    assert written(url)[1] == acknowledged


def test_workers_stop_when_their_parent_is_killed(start: Start, tmp_path: Path) -> None:
    """
    Nobody is left who holds the port: the service can be started again at once.
    """
    url = f"sqlite://{tmp_path}/b.db"
    server = start(url, "--workers", "2")
    server.process.kill()
    server.process.wait(60)
    while server.readiness():
        pass
    again = start(url, port=server.port)
    assert again.report("again")


@pytest.mark.parametrize("backend", ["sqlite", "jsonl", "postgres"])
def test_killed_under_load_nothing_acknowledged_is_lost_and_every_listener_catches_up(
    start: Start, tmp_path: Path, backend: str, request: pytest.FixtureRequest
) -> None:
    """
    Started again after kill -9, each acknowledged write is there, and each listener saw each change once, in order.
    """
    url = url_of(backend, request, tmp_path)
    server = start(url)
    current = [server]
    followers = [Follower(server.port) for _ in range(4)]
    for one in followers:
        one.start()

    def report(key: str) -> bool:
        return current[0].report(key)

    writers = Writers(report)
    for _ in range(SERVED_KILLS):
        writers.wait_for(30)
        current[0].kill()
        current[0] = start(url, port=server.port)
    writers.wait_for(30)
    acknowledged = writers.stop()
    positions, keys = written(url)
    last = positions[-1]
    for one in followers:
        one.until = last
        while one.is_alive() and (not one.seen or one.seen[-1] != last):
            one.join(0.05)
        one.is_over.set()
    current[0].kill()
    assert acknowledged <= keys
    for one in followers:
        assert one.seen == positions
