"""
Running floor and ours in turn, and printing what came out.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter, process_time

__all__ = ["clock_of", "interleaved", "table", "temporary_folder", "timed"]


def clock_of(backend: str) -> Callable[[], float]:
    """
    Return what tells what a read costs: the processor's seconds where the engine is in this process, else all seconds.
    """
    return process_time if backend == "SQLite" else perf_counter


def timed(work: Callable[[], object], clock: Callable[[], float] = perf_counter) -> float:
    """
    Return how many seconds *work* took.
    """
    start = clock()
    work()
    return clock() - start


def interleaved(
    rounds: int,
    floor: Callable[[int], object],
    ours: Callable[[int], object],
    *,
    prepare: Callable[[int], object] = lambda _: None,
    clock: Callable[[], float] = perf_counter,
) -> tuple[float, float, float]:
    """
    Run both in turn, each round with its number; return median seconds of each and the median ratio floor / ours.

    *prepare* comes before each round and is not timed.
    """
    floors, own, ratios = [], [], []
    for number in range(rounds):
        prepare(number)
        # Who goes first changes from round to round, so that neither gains from what the other left behind.
        pair = {}
        for name in ("floor", "ours") if number % 2 else ("ours", "floor"):
            pair[name] = timed(partial(floor if name == "floor" else ours, number), clock)
        floors.append(pair["floor"])
        own.append(pair["ours"])
        ratios.append(pair["floor"] / pair["ours"])
    return median(floors), median(own), median(ratios)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """
    Return a Markdown table.
    """
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    lines = [" | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in (head, *rows)]
    lines.insert(1, " | ".join("-" * width for width in widths))
    return "\n".join(f"| {line} |" for line in lines)


@contextmanager
def temporary_folder(within: Path | None = None) -> Iterator[Path]:
    """
    Give a folder that is gone afterwards, in the system's place for such ones or *within* another.
    """
    folder = Path(tempfile.mkdtemp(prefix="backlog-bench-", dir=within))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
