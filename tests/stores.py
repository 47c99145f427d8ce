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
    "postgres": "{place}",
    "null": "null://",
}
RETAINING = tuple(name for name in URLS if name != "null")


def new_stores(name: str, request: pytest.FixtureRequest, folder: Path) -> New:
    """
    Return what makes new, empty stores of this name and hands out their openers.
    """
    numbers = count()

    def new() -> Callable[[], Backend]:
        if name == "postgres":
            server = request.getfixturevalue("postgres_server")
            place = server.create_database()
            request.addfinalizer(lambda: server.drop_database(place))
        else:
            place = str(folder / f"{name}-{next(numbers)}")
        url = URLS[name].format(place=place)
        return lambda: open_backend(url)

    return new
