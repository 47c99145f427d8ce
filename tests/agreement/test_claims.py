"""
Two never work on one item: processes that take work from one backlog, on each store that is shared.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from backlog_store import open_backlog
from backlog_store.verify import verify
from tests.stores import RETAINING, url_of

SHARED = tuple(name for name in RETAINING if name != "memory")
CLAIMER = Path(__file__).with_name("claimer.py")
PROCESSES = 4
ITEMS = 12


@pytest.mark.parametrize("name", SHARED)
def test_processes_that_claim_at_once_never_share_an_item(
    request: pytest.FixtureRequest, tmp_path: Path, name: str
) -> None:
    """
    Every item is taken by exactly one of four processes that all ask for the next one, under the same name.

    (beads #4657: two claimed one item, and both were told that it was theirs.)
    """
    url = url_of(name, request, tmp_path)
    with open_backlog(url) as backlog:
        ids = [backlog.upsert(title=f"item {number}", dedupe_key=str(number)).id for number in range(ITEMS)]
    environment = os.environ | {"PYTHONPATH": str(CLAIMER.parents[2])}
    processes = [
        subprocess.Popen([sys.executable, str(CLAIMER), url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                         env=environment)
        for _ in range(PROCESSES)
    ]  # fmt: skip
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    outputs = [process.communicate()[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * PROCESSES
    claimed = sorted(line.split()[0] for output in outputs for line in output.splitlines())
    assert claimed == sorted(ids)
    with open_backlog(url) as backlog:
        for id in ids:
            assert [event.type for event in backlog.trail(id)] == ["created", "claimed"]
        assert backlog.read(verify).faults == []
