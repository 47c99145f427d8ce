"""
Measure eight threads that upsert distinct keys through one handle, against the same done by hand.

By hand: on PostgreSQL eight connections, each of which sends one statement that upserts the item and inserts its event;
on SQLite and JSONL the floor of `bench.single` under a lock, since one writes at a time.
"""

from __future__ import annotations

import argparse
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from msgspec.structs import replace

from backlog_store import open_backlog
from backlog_store.backends.postgres.backend import PostgresBackend
from backlog_store.backlog import Backlog
from backlog_store.executors.local import LocalExecutor
from backlog_store.model import Draft
from backlog_store.testing.faults import Hooked
from backlog_store.testing.postgres import PostgresServer
from bench.backlogs import drafts
from bench.floors import Floor, Row, jsonl_floor, postgres_statement_floors, sqlite_floor
from bench.harness import interleaved, table, temporary_folder
from bench.single import rows_of

__all__ = ["measure"]

T = TypeVar("T")
WRITERS = 8


class Counted:
    """
    A store whose transactions are counted.
    """

    def __init__(self, url: str) -> None:
        self.backend = open_backlog(url).executor.backend
        self._writes = 0
        self.backlog = Backlog(LocalExecutor(Hooked(self.backend, before=self._count)))

    def cost(self) -> tuple[int, int, int]:
        """
        Return the transactions, round trips and statements so far; the last two are PostgreSQL's.
        """
        return (self._writes, *(self.backend.traffic if isinstance(self.backend, PostgresBackend) else (0, 0)))

    def _count(self, operation: str) -> None:
        self._writes += operation == "write"


def at_once(work: Sequence[Callable[[], None]]) -> None:
    """
    Run each on a thread of its own, and wait for all.
    """
    threads = [threading.Thread(target=one) for one in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def under_a_lock(floor: Floor) -> list[Floor]:
    """
    Return what each writer calls where one may write at a time.
    """
    lock = threading.Lock()

    def run(rows: Sequence[Row]) -> None:
        for row in rows:
            with lock:
                floor([row])

    return [run] * WRITERS


@contextmanager
def stores(folder: Path) -> Iterator[dict[str, tuple[list[Floor], str]]]:
    """
    Give each durable backend's URL with the floor of each writer.
    """
    with PostgresServer() as server:
        yield {
            "PostgreSQL": (postgres_statement_floors(server.create_database(), WRITERS), server.create_database()),
            "SQLite": (under_a_lock(sqlite_floor(folder, any_thread=True)), f"sqlite:///{folder}/ours.db"),
            "JSONL": (under_a_lock(jsonl_floor(folder)), f"jsonl:///{folder}/ours"),
        }


def shares(some: Sequence[T]) -> list[Sequence[T]]:
    """
    Return each writer's share.
    """
    return [some[number::WRITERS] for number in range(WRITERS)]


def compared(
    floors: Sequence[Floor], store: Counted, batches: Sequence[Sequence[Draft]]
) -> tuple[float, float, float, tuple[float, ...]]:
    """
    Return median seconds of floor and ours, the median ratio, and what an upsert cost (see `Counted.cost`).
    """
    rows = [rows_of(batch) for batch in batches]

    def bare(number: int) -> None:
        at_once([lambda f=floor, s=share: f(s) for floor, share in zip(floors, shares(rows[number]), strict=True)])  # type: ignore[misc]

    def upsert(some: Sequence[Draft]) -> None:
        for draft in some:
            store.backlog.upsert(draft)

    def ours(number: int) -> None:
        at_once([lambda s=share: upsert(s) for share in shares(batches[number])])  # type: ignore[misc]

    before = store.cost()
    seconds = interleaved(len(batches), bare, ours)
    count = sum(map(len, batches))
    return *seconds, tuple((now - then) / count for now, then in zip(store.cost(), before, strict=True))


def measure(rounds: int, operations: int) -> str:
    """
    Return the table: upserts a second of floor and ours together, the ratio, and what one of ours costs.
    """
    lines = []
    batches = [drafts(operations, first=number * operations, seed=number) for number in range(rounds)]
    changed = [[replace(draft, title=f"{draft.title} again") for draft in batch] for batch in batches]
    with temporary_folder() as folder, stores(folder) as pairs:
        for name, (floors, url) in pairs.items():
            store = Counted(url)
            for kind, some in (("new", batches), ("changed", changed)):
                bare, own, ratio, cost = compared(floors, store, some)
                figures = [f"{operations / bare:,.0f}", f"{operations / own:,.0f}", f"{ratio:.2f}"]
                lines.append((name, kind, *figures, *(f"{one:.2f}" if one else "-" for one in cost)))
            store.backlog.close()
    head = ("backend", "upsert", "floor/s", "ours/s", "ratio", "transactions", "round trips", "statements")
    return table(head, lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--operations", type=int, default=800)
    arguments = parser.parse_args()
    print(measure(arguments.rounds, arguments.operations))
