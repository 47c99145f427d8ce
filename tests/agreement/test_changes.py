"""
All backends under one random program of changes, against memory.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import pytest

from backlog_store.backends.port import Backend, Load, Put, Reader
from backlog_store.model import Item
from backlog_store.query import ItemQuery
from backlog_store.testing.agreement import Disagreement, New, agree
from backlog_store.testing.agreement.changes import Write, changes_program
from backlog_store.testing.faults import RunsTwice, Wrapper
from tests.sizes import PROGRAM, SEEDS
from tests.stores import RETAINING, new_stores

T = TypeVar("T")


@pytest.fixture
def stores(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, New]:
    """
    Return every backend that keeps what it is given, memory first.
    """
    return {name: new_stores(name, request, tmp_path) for name in RETAINING}


@pytest.mark.parametrize("seed", SEEDS)
def test_all_backends_tell_the_same(stores: dict[str, New], seed: int) -> None:
    """Answers, errors and canonical contents are equal through a random program, with reopening in between."""
    memory = stores["memory"]
    stores["memory run twice"] = lambda: lambda: RunsTwice(memory()())
    fruitful = agree(stores, changes_program(seed), seed=seed, steps=PROGRAM)
    assert fruitful > PROGRAM // 2


class Hiding(Wrapper):
    """A backend with a fault that few programs meet: blocked items without an owner do not show in a search."""

    def read(self, fn: Callable[[Reader], T], /) -> T:
        return self.backend.read(lambda reader: fn(cast("Reader", _HidingReader(reader))))


class _HidingReader:
    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reader, name)

    def search(self, query: ItemQuery) -> list[Item]:
        return [item for item in self._reader.search(query) if item.status != "blocked" or item.owner]


def test_a_disagreement_is_found_and_cut_down(stores: dict[str, New]) -> None:
    """A store that hides some items is caught, and what is printed is the seed and the one step that matters."""
    memory = stores["memory"]

    def open_hiding() -> Backend:
        return Hiding(memory()())

    with pytest.raises(Disagreement) as found:
        agree({"memory": memory, "hiding": lambda: open_hiding}, changes_program(5), seed=5, steps=400)
    assert found.value.seed == 5
    assert "seed 5" in str(found.value)
    assert len(found.value.steps) == 1
    step = found.value.steps[0]
    assert isinstance(step, Write)
    changes = [change for changes in step.lists for change in changes if isinstance(change, Put | Load)]
    assert any(change.item.status == "blocked" and not change.item.owner for change in changes)
