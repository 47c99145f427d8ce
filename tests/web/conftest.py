"""
The service in process, on a store in memory: a client for each kind of asker.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from litestar import Litestar, Request
from litestar.testing import TestClient

from backlog_store.access import Scope
from backlog_store.backends.memory import open_memory
from backlog_store.backlog import Backlog
from backlog_store.executors.local import LocalExecutor
from backlog_store.testing.clocks import CountingIds, StepClock
from backlog_store.web.api import api_routes
from backlog_store.web.app import create_app
from backlog_store.web.pages import page_routes
from backlog_store.web.problems import HttpProblem
from backlog_store.web.site import Asker, Site
from tests.web.serving import Served

Client = TestClient[Litestar]

ASKERS: dict[str, Asker] = {
    "root": Asker(name="root", person=True),
    "ann": Asker(name="ann", person=True, scope=Scope(role="worker")),
    "ben": Asker(name="ben", person=True, scope=Scope(role="worker", services=("web",))),
    "eve": Asker(name="eve", person=True, scope=Scope(role="reader")),
    "ruff": Asker(name="ruff", scope=Scope(role="reporter", services=("web",), sources=("ruff",))),
}


def named(request: Request[Any, Any, Any]) -> Asker:
    """
    Take the name that a test sends for who asks.
    """
    name = request.headers.get("x-test-asker", "")
    if name not in ASKERS:
        raise HttpProblem(401, "nobody is known by this")
    return ASKERS[name]


@pytest.fixture
def clock() -> StepClock:
    """
    Return the clock of the store.
    """
    return StepClock()


@pytest.fixture
def backlog(clock: StepClock) -> Backlog:
    """
    Return the store behind the service.
    """
    return Backlog(LocalExecutor(open_memory()), actor="scanner", clock=clock, ids=CountingIds())


def of_site(backlog: Backlog, **settings: Any) -> Client:
    """
    Return a client of the service of *backlog*.
    """
    app = create_app(Site(backlog=backlog, sign_in=named, **settings), [*api_routes(), *page_routes()])
    return TestClient(app, raise_server_exceptions=False)


@pytest.fixture
def asking(backlog: Backlog) -> Iterator[Callable[[str], Client]]:
    """
    Return a function that gives the client of a named asker.
    """
    with of_site(backlog) as client:

        def of(name: str) -> Client:
            client.headers["x-test-asker"] = name
            return client

        yield of


@pytest.fixture
def client(asking: Callable[[str], Client]) -> Client:
    """
    Return the client of a worker who reaches everything.
    """
    return asking("ann")


@pytest.fixture
def serve(backlog: Backlog) -> Iterator[Callable[..., Served]]:
    """
    Return a function that serves the store of the test.
    """
    running: list[Served] = []

    def start(asker: Asker, **settings: Any) -> Served:
        running.append(Served(backlog, asker, **settings))
        return running[-1]

    yield start
    for one in running:
        one.stop()
