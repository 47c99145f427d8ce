"""
What all tests share: a real PostgreSQL server, and settings that do not depend on how fast the machine is.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from backlog_store.compat import auto
from backlog_store.executors.failover import executor, opening
from backlog_store.executors.failover.timing import Timing
from backlog_store.testing.postgres import PostgresServer

# Two loaded cores are no fault of a test: no deadline for one example, none for drawing it.
# In CI the same examples each time, so that a change is judged by what it changed; elsewhere new ones at each run.
settings.register_profile(
    "backlog",
    deadline=None,
    print_blob=True,
    derandomize="CI" in os.environ,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("backlog")


#: What takes most of the time: random programs, crashes, outages, seeded faults, requests made up from a description.
LONG = ("agreement", "crash", "gate", "outage", "web/test_contract.py", "web/test_processes.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """
    Mark the long tests by where they lie.
    """
    here = Path(__file__).parent
    long = tuple(here / place for place in LONG)
    for item in items:
        if any(item.path == place or place in item.path.parents for place in long):
            item.add_marker("long")


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """
    One server a test process, started when first asked for.

    A test that kills, freezes or restarts a server starts its own: `with PostgresServer() as server`.
    """
    with PostgresServer() as server:
        yield server


@pytest.fixture
def postgres_dsn(postgres_server: PostgresServer) -> Iterator[str]:
    """
    The URL of an empty database that nobody else uses; it is dropped afterwards.
    """
    dsn = postgres_server.create_database()
    yield dsn
    postgres_server.drop_database(dsn)


@pytest.fixture
def patient_auto(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Let `auto` wait a minute for a database that is there, where it waits less than a second for it in use.

    For tests of what becomes of reports, not of how soon: making tables on a loaded machine is no outage. A database
    that refuses is away at once all the same.
    """
    patient = dict.fromkeys(opening.DEADLINES, 60.0)
    for module in (opening, auto):
        monkeypatch.setattr(module, "DEADLINES", patient)
    monkeypatch.setattr(auto, "PROBE_S", 60.0)
    monkeypatch.setattr(executor, "Timing", partial(Timing, open_s=60.0))
