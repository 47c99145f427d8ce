"""
Measure a report of many drafts against the bare engine, and the same report again, which finds everything unchanged.

New: each chunk in turn with the same documents written in bulk by the engine itself. Unchanged: once all are there,
each chunk again, in turn with a chunk of new drafts.
"""

from __future__ import annotations

import argparse
import gc
from collections.abc import Sequence

from backlog_store import open_backlog
from backlog_store.backlog import Backlog
from backlog_store.model import LIMITS, Draft
from backlog_store.testing.postgres import PostgresServer
from bench.backlogs import drafts
from bench.floors import Floor, Row, jsonl_bulk_floor, postgres_bulk_floor, sqlite_bulk_floor
from bench.harness import interleaved, table, temporary_folder
from bench.single import rows_of

__all__ = ["measure"]

_CHUNK = LIMITS.drafts_per_command


def _chunk(number: int) -> list[Draft]:
    return drafts(_CHUNK, first=number * _CHUNK, seed=number)


def _report(backlog: Backlog, some: Sequence[Draft], *, verdict: str) -> None:
    if any(outcome.verdict != verdict for _, outcome in backlog.report(some)):
        raise AssertionError(f"not all of these are {verdict}")


class _Chunks:
    """
    The drafts of one round, and the rows that a store keeps for them, made before the clock runs.
    """

    def __init__(self, chunks: int) -> None:
        self._chunks = chunks
        self.new: list[Draft] = []
        self.known: list[Draft] = []
        self.rows: list[Row] = []

    def make(self, number: int) -> None:
        self.new = _chunk(number)
        self.rows = rows_of(self.new)
        gc.collect()

    def make_again(self, number: int) -> None:
        self.known = _chunk(number)
        self.new = _chunk(self._chunks + number)
        gc.collect()


def _compare(floor: Floor, backlog: Backlog, chunks: int) -> tuple[str, ...]:
    made = _Chunks(chunks)
    bare, own, ratio = interleaved(
        chunks,
        lambda _: floor(made.rows),
        lambda _: _report(backlog, made.new, verdict="created"),
        prepare=made.make,
    )
    _, again, faster = interleaved(
        chunks,
        lambda _: _report(backlog, made.new, verdict="created"),
        lambda _: _report(backlog, made.known, verdict="unchanged"),
        prepare=made.make_again,
    )
    rates = [f"{_CHUNK / seconds:,.0f}" for seconds in (bare, own, again)]
    return (*rates, f"{ratio:.2f}", f"{faster:.1f}")


def measure(count: int) -> str:
    """
    Return the table: drafts a second of floor and ours, new and unchanged, and the ratios.
    """
    chunks = max(1, count // _CHUNK)
    lines = []
    with temporary_folder() as folder, PostgresServer() as server:
        bare, own = server.create_database(), server.create_database()
        for name, floor, url in (
            ("SQLite", sqlite_bulk_floor(folder), f"sqlite:///{folder}/ours.db"),
            ("JSONL", jsonl_bulk_floor(folder), f"jsonl:///{folder}/ours"),
            ("PostgreSQL", postgres_bulk_floor(bare), own),
        ):
            with open_backlog(url) as backlog:
                lines.append((name, *_compare(floor, backlog, chunks)))
    return table(("backend", "floor/s", "new/s", "unchanged/s", "new / floor", "unchanged / new"), lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10_000)
    print(measure(parser.parse_args().count))
