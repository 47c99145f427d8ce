"""
All backends under one random program of commands: the whole of the rules, on every backend, byte for byte.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from backlog_store.testing.agreement import New, agree
from backlog_store.testing.agreement.commands import commands_program
from backlog_store.testing.faults import RunsTwice
from tests.sizes import PROGRAM, SEEDS
from tests.stores import RETAINING, new_stores


@pytest.mark.parametrize("seed", SEEDS)
def test_all_backends_carry_out_the_same_commands(request: pytest.FixtureRequest, tmp_path: Path, seed: int) -> None:
    """Answers, refusals, exports and contents are equal; the events explain every item, and an export loses nothing."""
    stores: dict[str, New] = {name: new_stores(name, request, tmp_path) for name in RETAINING}
    memory = stores["memory"]
    stores["memory run twice"] = lambda: lambda: RunsTwice(memory()())
    assert agree(stores, commands_program(seed), seed=seed, steps=PROGRAM) > PROGRAM // 2
