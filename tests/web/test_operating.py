"""
What who runs the service sees: ready or not, what is counted, what is logged.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import monotonic
from typing import Any

import httpx
import pytest
from litestar import Litestar
from litestar.testing import TestClient
from prometheus_client.parser import text_string_to_metric_families

from backlog_store.backlog import Backlog
from backlog_store.errors import BackendUnavailable
from backlog_store.executors.failover.copy import LocalCopy
from backlog_store.web import logs
from backlog_store.web.api import api_routes
from backlog_store.web.app import create_app
from backlog_store.web.routing import Route
from backlog_store.web.site import Asker, Limits, Site
from tests.outage.primaries import Switched, failover, settle
from tests.web.conftest import of_site
from tests.web.serving import Served

Client = TestClient[Litestar]

#: A request to write, but for its headers.
ASKED = {"type": "http", "method": "POST", "path": "/api/v1/items", "raw_path": b"/api/v1/items", "query_string": b"",
         "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 1), "scheme": "http", "http_version": "1.1",
         "root_path": ""}  # fmt: skip


@pytest.fixture
def site(backlog: Backlog) -> Site:
    """
    Return a service that looks at its store anew each time.
    """
    return Site(backlog=backlog, sign_in=lambda _: Asker(name="ann", person=True))


@pytest.fixture
def client(site: Site) -> Iterator[Client]:
    """
    Return a client of that service.
    """
    with TestClient(create_app(site, api_routes()), raise_server_exceptions=False) as client:
        yield client


def numbers(client: Client) -> dict[str, float]:
    """
    Return what /metrics tells: ``name{label=value,…}`` to number.
    """
    found = {}
    for family in text_string_to_metric_families(client.get("/metrics").text):
        for sample in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()) if name != "le")
            found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return found


def test_alive_while_every_thread_is_at_work(serve: Callable[..., Served]) -> None:
    """
    A service that is busy is not dead: who looks after it must not start it again for that.
    """
    entered, leave = threading.Event(), threading.Event()

    def busy(_: Any) -> Asker:
        entered.set()
        leave.wait(60)
        return Asker(name="ann", person=True)

    server = serve(Asker(name="ann"), threads=1)
    server.site.sign_in = busy
    with ThreadPoolExecutor(1) as pool:
        waits = pool.submit(httpx.get, f"{server.url}/api/v1/items", timeout=60)
        assert entered.wait(60)
        try:
            assert httpx.get(f"{server.url}/healthz", timeout=30).status_code == 200
            assert not waits.done()
        finally:
            leave.set()
        assert waits.result().status_code == 200


def test_ready_while_the_store_answers(client: Client, backlog: Backlog) -> None:
    """
    A store that is away makes the service unready, not dead.
    """
    assert (client.get("/readyz").status_code, client.get("/readyz").json()) == (200, {"status": "ok"})
    backlog.close()
    client.app.site._looked = (float("-inf"), "")
    assert (client.get("/readyz").status_code, client.get("/readyz").json()) == (503, {"status": "unavailable"})
    assert client.get("/healthz").status_code == 200


class Degraded:
    """
    An executor as `auto` is while its database is away.
    """

    state = "degraded"

    def read(self, fn: object) -> None:
        raise BackendUnavailable("auto", "reading", "the database is away")


def test_ready_while_what_can_wait_is_accepted(client: Client, backlog: Backlog) -> None:
    """
    Under auto an outage is told, and requests still come: reports are accepted.
    """
    backlog.executor = Degraded()  # type: ignore[assignment]
    assert (client.get("/readyz").status_code, client.get("/readyz").json()) == (200, {"status": "degraded"})


def test_what_is_read_from_a_copy_says_as_of_when(tmp_path: Path) -> None:
    """
    While the database is away no answer passes for one of now; once it is back none says so any more.
    """
    primary = Switched()
    backlog, executor, timer = failover(primary, tmp_path, copy=LocalCopy(tmp_path / "spool"))
    with of_site(backlog) as client:
        client.headers["x-test-asker"] = "root"

        def told(path: str) -> tuple[int, bool]:
            response = client.get(path)
            return response.status_code, "backlog-copy-as-of" in response.headers

        client.put("/api/v1/items/by-key/prod/k", json={"title": "a"})
        while not executor.standing().copy_as_of:  # as its thread would
            timer.now += 60
            executor.step()
        places = ("/api/v1/items", "/api/v1/items/by-key/prod/k", "/items")
        assert {told(path) for path in places} == {(200, False)}
        assert "The database is away" not in client.get("/items").text
        primary.up = False
        assert {told(path) for path in places} == {(200, True)}
        assert "The database is away: this is a copy, as of" in client.get("/items").text
        assert told("/api/v1/items/bl_nothing") == (404, True)
        assert told("/api/v1/export")[0] == 503  # the copy has no verdicts and policies: it would pass for whole
        assert client.put("/api/v1/items/by-key/prod/l", json={"title": "b"}).status_code == 202
        primary.up = True
        settle(executor, timer)
        assert {told(path) for path in places} == {(200, False)}


def test_who_asks_often_for_readiness_does_not_tax_the_store(client: Client, backlog: Backlog) -> None:
    """
    Anybody may ask; the store is looked at once a second at most.
    """
    looked = []
    read = backlog.executor.read
    backlog.executor.read = lambda fn: looked.append(1) or read(fn)  # type: ignore[method-assign,func-returns-value]
    for _ in range(50):
        client.get("/readyz")
    assert len(looked) < 50


def test_one_at_a_time_looks_at_a_store_that_hangs(site: Site, backlog: Backlog) -> None:
    """
    Whoever asks meanwhile is told what was found last, and soon that it is away; nobody waits beside the first one.
    """
    assert site.readiness() == "ok"
    entered, let_go, looked = threading.Event(), threading.Event(), []

    def hanging(fn: object) -> None:
        looked.append(fn)
        entered.set()
        let_go.wait()
        raise BackendUnavailable("postgres", "reading", "no answer")

    backlog.executor.read = hanging  # type: ignore[assignment,method-assign]
    site._looked = (float("-inf"), "ok")
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(site.readiness)
        entered.wait()
        site._began = float("inf")
        now = site.readiness()
        site._began = float("-inf")
        later = [site.readiness() for _ in range(50)]
        let_go.set()  # before anything is held against it: the pool waits
        assert (now, later) == ("ok", ["unavailable"] * 50)
        assert first.result() == "unavailable"
    assert len(looked) == 1


def test_a_look_that_only_begins_is_no_store_that_is_away(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    However long ago the last one was: whoever asks before it has noted when it began is told what was found last.
    """
    assert site.readiness() == "ok"
    later = monotonic() + 3_600
    monkeypatch.setattr("backlog_store.web.site.monotonic", lambda: later)
    with site._looking:
        assert site.readiness() == "ok"


def test_requests_are_counted_by_route_and_status(client: Client, backlog: Backlog) -> None:
    """
    The path of the route is counted, never what somebody asked for; items are told by status.
    """
    backlog.upsert(title="A", dedupe_key="a")
    for _ in range(3):
        client.get("/api/v1/items/bl_nothing")
    client.get("/somewhere/else")
    client.post("/healthz")
    told = numbers(client)
    count = "backlog_http_requests_total{{method={},route={},status={}}}"
    assert told[count.format("GET", "/api/v1/items/{id}", 404)] == 3
    assert told[count.format("GET", "(none)", 404)] == 1
    assert told[count.format("POST", "(none)", 405)] == 1
    assert told["backlog_http_request_duration_seconds_count{method=GET,route=/api/v1/items/{id}}"] == 3
    assert (told["backlog_items{status=open}"], told["backlog_items{status=done}"]) == (1, 0)
    assert (told["backlog_store_up"], told["backlog_http_requests_in_progress"]) == (1, 1)


def test_a_store_that_is_away_is_told_and_no_number_made_up(client: Client, backlog: Backlog) -> None:
    """
    Items cannot be known then, and are not told as 0.
    """
    backlog.close()
    told = numbers(client)
    assert told["backlog_store_up"] == 0
    assert not [name for name in told if name.startswith("backlog_items")]


@pytest.fixture
def logged(capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[[logs.Form], Callable[[], str]]]:
    """
    Return a function that turns the log on and returns what gives all that was written; it is put back at the end.
    """
    names = ("backlog_store", "uvicorn", "backlog_store.web.requests")
    before = [(logger.handlers, logger.propagate, logger.level, logger.disabled)
              for logger in map(logging.getLogger, names)]  # fmt: skip

    def start(form: logs.Form) -> Callable[[], str]:
        logs.configure(form, requests=True)
        return lambda: capsys.readouterr().err

    yield start
    for logger, (handlers, propagate, level, disabled) in zip(map(logging.getLogger, names), before, strict=True):
        logger.handlers, logger.propagate, logger.disabled = handlers, propagate, disabled
        logger.setLevel(level)


def test_a_request_is_one_line_of_json_with_its_id(
    client: Client, logged: Callable[[logs.Form], Callable[[], str]]
) -> None:
    """
    Route, status, duration, who asked, and the id that the caller gave; nothing of the query.
    """
    lines = logged("json")
    response = client.get("/api/v1/items?q=password%3Dhunter22", headers={"X-Request-Id": "deploy-17"})
    [line] = [json.loads(line) for line in lines().splitlines()]
    assert response.headers["x-request-id"] == "deploy-17"
    told = {name: line[name] for name in ("level", "method", "path", "route", "status", "actor", "request_id")}
    assert told == {"level": "info", "method": "GET", "path": "/api/v1/items", "route": "/api/v1/items",
                    "status": 200, "actor": "ann", "request_id": "deploy-17"}  # fmt: skip
    assert "hunter22" not in json.dumps(line)


def test_a_request_without_a_plain_id_is_given_one(client: Client) -> None:
    """
    What could break a line or a search is no id; that of each request is another one.
    """
    found = [client.get("/healthz", headers={"X-Request-Id": given}).headers["x-request-id"] for given in
             ("two words", "x" * 65, "")]  # fmt: skip
    assert len(set(found)) == 3
    assert all(len(one) == 16 for one in found)


def test_what_fails_is_logged_with_the_id_and_without_secrets(
    client: Client, backlog: Backlog, logged: Callable[[logs.Form], Callable[[], str]]
) -> None:
    """
    A fault in the middle of a request carries the id of that request; tokens and passwords are taken out.
    """

    def broken(_: object) -> None:
        raise RuntimeError("postgresql://app:hunter22@db/backlog said blt_0011223344556677_secret")

    backlog.executor.read = broken  # type: ignore[assignment,method-assign]
    lines = logged("json")
    assert client.get("/api/v1/items", headers={"X-Request-Id": "one"}).status_code == 500
    told = lines()
    error, request = [json.loads(line) for line in told.splitlines()]
    assert (error["level"], error["request_id"], request["status"]) == ("error", "one", 500)
    assert "RuntimeError" in error["error"]
    assert "hunter22" not in told
    assert "_secret" not in told


def test_a_path_begins_no_line_of_the_log(client: Client, logged: Callable[[logs.Form], Callable[[], str]]) -> None:
    """
    An end of line in a path cannot make up an entry.
    """
    lines = logged("text")
    client.get("/a%0A2026-01-01%2000:00:00%20info%20GET%20/forged%20200")
    assert len(lines().splitlines()) == 1


def test_a_draining_service_says_so_and_asks_to_close(client: Client, site: Site) -> None:
    """
    It goes on answering, each answer asking for the connection to be closed.
    """
    client.blocking_portal.call(site.drain)
    response = client.get("/readyz")
    assert (response.status_code, response.json()) == (503, {"status": "draining"})
    assert client.get("/api/v1/items").headers["connection"] == "close"
    assert client.get("/api/v1/stream").text.endswith("retry: 1000\n\n")


def test_a_body_that_does_not_arrive_is_given_up(backlog: Backlog) -> None:
    """
    Who begins a body and never ends it is told so, and holds nothing for longer than the bound.
    """
    import anyio

    site = Site(backlog=backlog, sign_in=lambda _: Asker(name="ann"), limits=Limits(body_wait_s=0.05))
    app: Any = create_app(site, api_routes())
    sent: list[dict[str, object]] = []

    async def ask() -> None:
        async def receive() -> dict[str, object]:
            await anyio.sleep_forever()
            raise AssertionError

        async def send(message: dict[str, object]) -> None:
            sent.append(message)

        await app({**ASKED, "headers": [(b"content-length", b"9")]}, receive, send)

    anyio.run(ask)
    assert sent[0]["status"] == 408


def test_who_goes_away_within_a_body_is_no_failure_of_the_service(backlog: Backlog) -> None:
    """
    It is counted and logged as a request that was wrong: what fails is for whoever is called at night.
    """
    import anyio

    site = Site(backlog=backlog, sign_in=lambda _: Asker(name="ann"))
    app: Any = create_app(site, api_routes())
    sent: list[dict[str, object]] = []

    async def ask() -> None:
        parts: list[dict[str, object]] = [
            {"type": "http.request", "body": b'{"ti', "more_body": True},
            {"type": "http.disconnect"},
        ]

        async def receive() -> dict[str, object]:
            return parts.pop(0)

        async def send(message: dict[str, object]) -> None:
            sent.append(message)

        await app({**ASKED, "headers": [(b"content-length", b"90")]}, receive, send)

    anyio.run(ask)
    assert sent[0]["status"] == 400


def test_what_is_there_is_told_without_its_body(client: Client) -> None:
    """
    HEAD is answered as GET is, by the same headers, and a stream ends where it would begin.
    """
    for path in ("/healthz", "/readyz", "/metrics", "/api/v1/items", "/api/v1/items.csv", "/api/v1/stream"):
        response = client.head(path)
        assert (response.status_code, response.content) == (200, b""), path
    listed = client.get("/api/v1/views")
    assert client.head("/api/v1/views").headers["content-length"] == listed.headers["content-length"]
    assert client.head("/api/v1/items/bl_nothing").status_code == 404
    allowed = client.options("/api/v1/items").headers["allow"]
    assert allowed == "GET, HEAD, OPTIONS, POST"
    assert set(client.delete("/api/v1/items").headers["allow"].split(", ")) == set(allowed.split(", "))


@pytest.mark.parametrize(
    "path", ["/healthz", "/api/v1/items", "/api/v1/items/bl_nothing", "/nowhere", "/api/v1/export"]
)
def test_no_answer_is_kept_for_others_or_taken_for_something_else(client: Client, path: str) -> None:
    """
    What one credential may see is not for a cache that several use, and a refusal is guarded as an answer is.
    """
    headers = client.get(path).headers
    assert headers["cache-control"] == "private, no-cache"
    assert (headers["x-content-type-options"], headers["referrer-policy"]) == ("nosniff", "same-origin")


def test_prometheus_can_tell_what_it_is_given(client: Client) -> None:
    """
    No parameter of the media type stands there twice, which its parser refuses.
    """
    assert client.get("/metrics").headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"


def test_metrics_need_the_action_read() -> None:
    """
    Without a credential nobody learns how much is asked of the service; alive and ready are for anybody.
    """
    actions: dict[str, Route] = {route.path: route for route in api_routes()}
    assert [actions[path].action for path in ("/metrics", "/healthz", "/readyz")] == ["read", None, None]
