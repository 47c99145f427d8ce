"""
Count the instructions of one upsert of a new key: what costs the same on a machine that others load, too.

Each count is the difference between two runs of a process of its own under valgrind, one of which upserts more; the
floor on SQLite is that of `bench.single`. The kernel's part and the disk's wait are not in it.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from pathlib import Path

from backlog_store import open_backlog
from bench.backlogs import drafts
from bench.floors import sqlite_floor
from bench.harness import table, temporary_folder
from bench.single import rows_of

__all__ = ["measure"]

_FEW, _MANY = 200, 600
_COLLECTED = re.compile(r"Collected : (\d+)")
_URLS = {
    "null": "null://",
    "memory": "memory://",
    "JSONL": "jsonl:///{}/store",
    "SQLite": "sqlite:///{}/store.db",
}


def measure() -> str:
    """
    Return the table: thousands of instructions an upsert.
    """
    lines = []
    for name in ("SQLite floor", *_URLS):
        few, many = _count(name, _FEW), _count(name, _MANY)
        lines.append((name, f"{(many - few) / (_MANY - _FEW) / 1_000:,.0f}"))
    return table(("upsert on", "thousand instructions"), lines)


def _count(name: str, operations: int) -> int:
    command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", sys.executable, "-m",
               "bench.instructions", "--run", name, "--operations", str(operations)]  # fmt: skip
    environment = {**os.environ, "PYTHONHASHSEED": "0"}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    found = _COLLECTED.search(done.stderr)
    if found is None:
        raise RuntimeError(done.stderr)
    return int(found[1])


def _run(name: str, operations: int) -> None:
    some = drafts(_MANY)  # as many in each run, so that the difference is that of the upserts
    with temporary_folder() as folder:
        if name in _URLS:
            with open_backlog(_URLS[name].format(folder)) as backlog:
                for draft in some[:operations]:
                    backlog.upsert(draft)
        else:
            rows = rows_of(some)
            sqlite_floor(Path(folder))(rows[:operations])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", help=argparse.SUPPRESS)
    parser.add_argument("--operations", type=int, default=_FEW, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.run:
        _run(arguments.run, arguments.operations)
    else:
        print(measure())
