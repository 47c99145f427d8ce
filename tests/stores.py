"""
The backends under test: one list, used by the conformance suite, the agreement machine and the histories.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest

from backlog_store.backends.port import Backend
from backlog_store.backends.registry import open_backend
from backlog_store.testing.agreement import New

#: Every backend of the package, memory (the model) first, and the URL of a store of its own at a place.
URLS: dict[str, str] = {
    "memory": "memory://",
    "jsonl": "jsonl://{place}",
    "sqlite": "sqlite://{place}.db",
    "postgres": "",  # a database of the server that the tests start
    "null": "null://",
}
#: By scheme: how long a store is waited for, in seconds, where a test asks what becomes of writes, not how soon. Eight
#: writers of one key on a loaded machine wait longer for each other than the usual time.
PATIENCE: dict[str, dict[str, float]] = {
    "sqlite": {"busy_timeout_s": 60.0},
    "postgresql": {"connect_s": 60.0, "read_s": 60.0, "write_s": 60.0},
}
_NUMBERS = count()
RETAINING = tuple(name for name in URLS if name != "null")


def url_of(name: str, request: pytest.FixtureRequest, folder: Path) -> str:
    """
    Return the URL of a new, empty store of this name; a database goes away after the test, a file with *folder*.
    """
    if name != "postgres":
        return URLS[name].format(place=folder / f"{name}-{next(_NUMBERS)}")
    server = request.getfixturevalue("postgres_server")
    dsn: str = server.create_database()
    request.addfinalizer(lambda: server.drop_database(dsn))
    return dsn


def open_patiently(url: str) -> Backend:
    """
    Open a store that is waited for as long as `PATIENCE` says.
    """
    return open_backend(url, **PATIENCE.get(url.partition(":")[0], {}))


def new_stores(name: str, request: pytest.FixtureRequest, folder: Path) -> New:
    """
    Return what makes new, empty stores of this name and hands out their openers.
    """

    def new() -> Callable[[], Backend]:
        url = url_of(name, request, folder)
        return lambda: open_patiently(url)

    return new
