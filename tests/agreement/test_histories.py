"""
Eight clients on ten hot keys, as threads and processes: revision = events = acknowledged changes, in a possible order.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from backlog_store.backends.port import Backend
from backlog_store.codec import decode_json, from_builtins
from backlog_store.testing.histories import Operation, check_history, perform
from backlog_store.verify import verify
from tests.agreement.client import LEVELS
from tests.sizes import CHANGES
from tests.stores import RETAINING, open_patiently, url_of

KEYS = 10
CLIENTS = 8
SHARED = tuple(name for name in RETAINING if name != "memory")
CLIENT = Path(__file__).with_name("client.py")


def _check(backend: Backend, operations: list[Operation], level: str) -> None:
    assert check_history(backend, operations, mark_of=LEVELS[level][1]) == []
    assert {operation.outcome for operation in operations} == {"done"}
    assert len(operations) == CHANGES // CLIENTS * CLIENTS
    if level == "commands":
        assert backend.read(verify).faults == []


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("name", RETAINING)
def test_threads_lose_nothing(request: pytest.FixtureRequest, tmp_path: Path, name: str, level: str) -> None:
    """Eight threads that share one handle see each other's changes and none is lost, doubled or out of time."""
    backend = open_patiently(url_of(name, request, tmp_path))
    append = LEVELS[level][0]
    operations = perform(lambda _: backend, append, clients=CLIENTS, keys=KEYS, each=CHANGES // CLIENTS)
    _check(backend, operations, level)
    backend.close()


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("name", SHARED)
def test_processes_lose_nothing(request: pytest.FixtureRequest, tmp_path: Path, name: str, level: str) -> None:
    """Four processes of two threads each, on a store that claims to be shared, keep the same promise."""
    url = url_of(name, request, tmp_path)
    open_patiently(url).close()
    share = ["2", str(KEYS), str(CHANGES // CLIENTS)]
    commands = [[sys.executable, str(CLIENT), url, level, *share, f"p{number}."] for number in range(CLIENTS // 2)]
    environment = os.environ | {"PYTHONPATH": str(CLIENT.parents[2])}
    processes = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
        for command in commands
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    outputs = [process.communicate("go\n")[0] for process in processes]
    assert [process.returncode for process in processes] == [0 for _ in processes]
    operations = [one for output in outputs for one in from_builtins(decode_json(output), list[Operation])]
    backend = open_patiently(url)
    _check(backend, operations, level)
    backend.close()
