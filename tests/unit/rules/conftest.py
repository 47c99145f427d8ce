"""
A backlog in memory with a clock and ids of its own: for each test a machine's hand and a person's.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from backlog_store.backends.memory import open_memory
from backlog_store.backlog import Backlog
from backlog_store.executors.local import LocalExecutor
from backlog_store.testing.clocks import CountingIds, StepClock
from backlog_store.verify import verify


@pytest.fixture
def clock() -> StepClock:
    """
    Return the clock of the backlog.
    """
    return StepClock()


@pytest.fixture
def machine(clock: StepClock) -> Iterator[Backlog]:
    """
    Return the backlog as a scanner uses it. Whatever a test did, the events must explain what it left.
    """
    backlog = Backlog(LocalExecutor(open_memory()), actor="scanner", clock=clock, ids=CountingIds())
    yield backlog
    assert backlog.read(verify).faults == []


@pytest.fixture
def person(machine: Backlog) -> Backlog:
    """
    Return the same backlog as a person uses it.
    """
    return machine.acting_as("ann", person=True)
