"""
The backends under test: one list, used by the conformance suite, the agreement machine and the histories.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest

from backlog_store.backends.memory import MemoryBackend
from backlog_store.backends.null import NullBackend
from backlog_store.backends.port import Backend
from backlog_store.testing.agreement import New

#: Opens the store of this name at a place; a place is a folder, or a database's URL.
OPENERS: dict[str, Callable[[str], Backend]] = {
    "memory": lambda _: MemoryBackend(),
    "null": lambda _: NullBackend(),
}
RETAINING = tuple(name for name in OPENERS if name != "null")


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
        return lambda: OPENERS[name](place)

    return new
