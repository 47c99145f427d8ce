"""
The stream of changes: every one, once, in commit order, to who may see it, also after a break.
"""

from __future__ import annotations

import http.client
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import anyio
import anyio.lowlevel
import httpx
import msgspec
import pytest

from backlog_store.access import Scope
from backlog_store.backends.port import Reader
from backlog_store.backends.scanning import end_of_log
from backlog_store.backlog import Backlog
from backlog_store.commands import SetPerson
from backlog_store.executors.local import LocalExecutor
from backlog_store.query import EventQuery
from backlog_store.web.api import api_routes
from backlog_store.web.app import create_app
from backlog_store.web.problems import HttpProblem
from backlog_store.web.site import Asker, Limits, Site
from backlog_store.web.tail import Tail
from tests.web.serving import Served

ALL = Asker(name="ann", person=True)


class Listener:
    """
    A client of the stream that reads change by change.
    """

    def __init__(self, url: str, last: str | None = None) -> None:
        parts = urlsplit(url)
        self.connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
        self.connection.request("GET", "/api/v1/stream", headers={"Last-Event-ID": last} if last is not None else {})
        self.response = self.connection.getresponse()
        assert self.response.readline() == b": connected\n"

    def changes(self, count: int) -> list[tuple[str, dict[str, Any]]]:
        """
        Return the next *count* changes: position and data.
        """
        found: list[tuple[str, dict[str, Any]]] = []
        position = ""
        while len(found) < count:
            line = self.response.readline().decode()
            assert line, "the stream ended"
            if line.startswith("id: "):
                position = line[4:-1]
            elif line.startswith("data: "):
                found.append((position, msgspec.json.decode(line[6:])))
        return found

    def close(self) -> None:
        """
        Go away.
        """
        self.response.close()
        self.connection.close()


@pytest.fixture
def listen() -> Iterator[Callable[..., Listener]]:
    """
    Return a function that connects a listener; all go away at the end.
    """
    open_: list[Listener] = []

    def start(url: str, last: str | None = None) -> Listener:
        open_.append(Listener(url, last))
        return open_[-1]

    yield start
    for one in open_:
        one.close()


def written(backlog: Backlog) -> list[str]:
    """
    Return the positions of everything that was written.
    """
    return [event.position for event in backlog.events(EventQuery(limit=None))]


def test_every_listener_gets_every_change_in_order(
    backlog: Backlog, serve: Callable[[Asker], Served], listen: Callable[..., Listener]
) -> None:
    """
    What is committed while they listen reaches all of them, in commit order, each change once.
    """
    backlog.upsert(title="before", dedupe_key="b")
    server = serve(ALL)
    listeners = [listen(server.url) for _ in range(5)]
    for number in range(40):
        backlog.upsert(title=f"Item {number}", dedupe_key=f"k{number}")
    expected = written(backlog)[1:]
    for one in listeners:
        assert [position for position, _ in one.changes(40)] == expected


def test_a_break_loses_nothing(
    backlog: Backlog, serve: Callable[[Asker], Served], listen: Callable[..., Listener]
) -> None:
    """
    Who comes back with the last position gets all that was written meanwhile, and then what follows.
    """
    server = serve(ALL)
    first = listen(server.url)
    backlog.upsert(title="A", dedupe_key="a")
    [(last, _)] = first.changes(1)
    first.close()
    for number in range(600):
        backlog.comment(backlog.search()[0].id, f"meanwhile {number}")
    again = listen(server.url, last)
    assert [position for position, _ in again.changes(600)] == written(backlog)[1:]
    backlog.upsert(title="B", dedupe_key="b")
    assert again.changes(1)[0][0] == written(backlog)[-1]


def test_from_the_beginning_everything_comes(
    backlog: Backlog, serve: Callable[[Asker], Served], listen: Callable[..., Listener]
) -> None:
    """
    The empty position is before the first change.
    """
    for number in range(3):
        backlog.upsert(title=f"Item {number}", dedupe_key=f"k{number}")
    assert [position for position, _ in listen(serve(ALL).url, "").changes(3)] == written(backlog)


def test_foreign_changes_are_not_sent(
    backlog: Backlog, serve: Callable[[Asker], Served], listen: Callable[..., Listener]
) -> None:
    """
    A bound listener gets the changes of its own items alone.
    """
    bound = Asker(name="ben", person=True, scope=Scope(role="reader", services=("web",)))
    listener = listen(serve(bound).url)
    backlog.upsert(title="Theirs", service="api", dedupe_key="a")
    mine = backlog.upsert(title="Mine", service="web", dedupe_key="w").id
    backlog.upsert(title="Theirs too", service="api", dedupe_key="c")
    backlog.comment(mine, "hello")
    assert [data["item_id"] for _, data in listener.changes(2)] == [mine, mine]


def test_one_listener_too_many_is_told_before_anything_is_streamed(
    serve: Callable[..., Served], listen: Callable[..., Listener]
) -> None:
    """
    With 503, so that it comes back later; behind a 200 it would be a stream that breaks off.
    """
    server = serve(ALL, limits=Limits(listeners=1))
    listen(server.url)
    parts = urlsplit(server.url)
    second = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
    second.request("GET", "/api/v1/stream")
    assert second.getresponse().status == 503
    second.close()


def test_who_stood_beyond_the_end_goes_on_from_there(backlog: Backlog) -> None:
    """
    A store that was set back gives its positions anew: what comes from now on is heard, not only what is beyond.
    """

    async def run() -> list[bytes]:
        stream = Tail(backlog, interval_s=0.01).follow("9" * 16, None)
        heard = [await anext(stream)]
        backlog.upsert(title="A", dedupe_key="a")
        heard.append(await anext(stream))
        await stream.aclose()  # type: ignore[attr-defined]
        return heard

    backlog.upsert(title="before", dedupe_key="b")
    assert anyio.run(run)[1].startswith(f"id: {written(backlog)[-1]}".encode())


def test_what_is_no_position_is_refused(serve: Callable[[Asker], Served]) -> None:
    """
    Before anything is streamed: one that waits there would never hear a thing.
    """
    url = f"{serve(ALL).url}/api/v1/stream"
    for more in ({"params": {"after": "zzz"}}, {"headers": {"Last-Event-ID": "1"}}):
        with httpx.stream("GET", url, **more) as answer:  # type: ignore[arg-type]
            assert answer.status_code == 422


def test_no_position_of_a_copy_is_taken_for_one_of_the_database(backlog: Backlog) -> None:
    """
    Pages are read from a copy while the database is away; the stream waits for the database.
    """

    class WithCopy(LocalExecutor):
        standing = None

        def read(self, fn: Any) -> Any:
            raise AssertionError(fn)

    async def run() -> list[bytes]:
        auto = Backlog(WithCopy(backlog.executor.backend), actor="scanner")
        stream = Tail(auto, interval_s=0.01).follow(None, None)
        heard = [await anext(stream)]
        backlog.upsert(title="A", dedupe_key="a")
        heard.append(await anext(stream))
        await stream.aclose()  # type: ignore[attr-defined]
        return heard

    assert b"event: change" in anyio.run(run)[1]


@pytest.mark.parametrize("now", [None, Scope(role="reader", services=("web",))])
def test_a_credential_that_changes_bounds_its_stream_from_then_on(backlog: Backlog, now: Scope | None) -> None:
    """
    One that is revoked ends it, with a hint to come back and hear why; one that reaches less hears less.
    """

    def again() -> Scope:
        if now is None:
            raise HttpProblem(401, "this token is not known, or holds no longer")
        return now

    async def run() -> list[bytes]:
        tail = Tail(backlog, interval_s=0.01)
        stream = tail.follow(None, None, again)
        heard = [await anext(stream)]
        backlog.upsert(title="before", service="api", dedupe_key="a")
        heard.append(await anext(stream))
        backlog.acting_as("root", person=True).execute(person)
        backlog.upsert(title="behind", service="api", dedupe_key="b")
        backlog.upsert(title="web", service="web", dedupe_key="c")
        async for chunk in stream:
            heard.append(chunk)
            tail.end()
        return heard

    person = SetPerson(name="eve", scope=Scope(role="reader"), over=0, password="")
    heard = anyio.run(run)
    assert heard[0] == b": connected\n\n"
    assert b'"service":"api"' in heard[1]
    rest = b"".join(heard[2:])
    assert b'"service":"api"' not in rest
    assert (b'"service":"web"' in rest) == (now is not None)
    assert heard[-1] == b"retry: 1000\n\n"


def test_listeners_that_come_back_at_once_get_each_change_once(backlog: Backlog) -> None:
    """
    After a restart all of them connect together; nothing reaches any of them twice.
    """
    tail = Tail(backlog)

    async def asked(fn: Callable[[Reader], Any]) -> Any:
        if fn is end_of_log:  # whoever starts a reader waits here for all who could start another one
            await anyio.wait_all_tasks_blocked()
        return backlog.read(fn)

    tail._ask = asked  # type: ignore[method-assign]
    backlog.upsert(title="before", dedupe_key="b")
    after = written(backlog)[-1]
    heard: list[list[bytes]] = [[] for _ in range(4)]

    async def all_of_them() -> None:
        reached = {0: anyio.Event(), 20: anyio.Event()}

        async def listening(chunks: list[bytes]) -> None:
            async for chunk in tail.follow(after, None):
                chunks.append(chunk)
                for count, event in reached.items():
                    if all(chunks and len(positions(chunks)) >= count for chunks in heard):
                        event.set()

        async with anyio.create_task_group() as group:
            for chunks in heard:
                group.start_soon(listening, chunks)
            await reached[0].wait()
            for number in range(20):
                backlog.upsert(title=f"Item {number}", dedupe_key=f"k{number}")
            tail.nudge()
            await reached[20].wait()
            tail.end()

    anyio.run(all_of_them)
    assert [positions(chunks) for chunks in heard] == [written(backlog)[1:]] * 4


def positions(chunks: list[bytes]) -> list[str]:
    """
    Return the positions of the changes that were sent.
    """
    return [line[4:].decode() for line in b"".join(chunks).splitlines() if line.startswith(b"id: ")]


def test_listeners_that_go_away_together_are_no_fault(backlog: Backlog) -> None:
    """
    Their streams just end, nothing fails in the service, and they are counted no longer.
    """
    site = Site(backlog=backlog, sign_in=lambda _: ALL)
    app: Any = create_app(site, api_routes())

    connected: list[bool] = []
    go = anyio.Event()

    async def ask() -> None:
        async def receive() -> dict[str, object]:
            await go.wait()
            return {"type": "http.disconnect"}

        async def send(message: dict[str, Any]) -> None:
            if b": connected" in message.get("body", b""):
                connected.append(True)

        scope = {"type": "http", "method": "GET", "path": "/api/v1/stream", "raw_path": b"/api/v1/stream",
                 "query_string": b"", "headers": [], "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 1),
                 "scheme": "http", "http_version": "1.1", "root_path": ""}  # fmt: skip
        await app(scope, receive, send)

    async def all_of_them() -> None:
        async with anyio.create_task_group() as group:
            for _ in range(50):
                group.start_soon(ask)
            while len(connected) < 50:
                await anyio.lowlevel.checkpoint()
            await anyio.wait_all_tasks_blocked()  # they wait for news
            go.set()

    anyio.run(all_of_them)
    assert site.tail._listeners == 0
