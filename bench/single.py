"""
Measure one upsert with its event, durable, a transaction each, against the bare engine.

New: keys that nobody knows. Changed: known keys with another title.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from msgspec.structs import replace

from backlog_store import open_backlog
from backlog_store.backlog import Backlog
from backlog_store.codec import encode_event, encode_item
from backlog_store.model import Draft
from backlog_store.query import EventQuery
from backlog_store.testing.postgres import PostgresServer
from bench.backlogs import drafts
from bench.floors import Floor, Row, jsonl_floor, postgres_floor, sqlite_floor
from bench.harness import interleaved, table, temporary_folder

__all__ = ["measure", "rows_of"]


def rows_of(some: Sequence[Draft]) -> list[Row]:
    """
    Return the very bytes that a store keeps for these drafts.
    """
    with open_backlog("memory://") as model:
        rows = []
        for _, outcome in model.report(some):
            item = model.get(outcome.id)
            event = model.events(EventQuery(item_ids=(item.id,)))[0]
            rows.append((item.id, item.env, item.dedupe_key, encode_item(item).decode(), encode_event(event).decode()))
        return rows


@contextmanager
def stores(folder: Path) -> Iterator[dict[str, tuple[Floor, Backlog]]]:
    """
    Give each durable backend with its floor.
    """
    with PostgresServer() as server:
        dsn = server.create_database()
        yield {
            "SQLite": (sqlite_floor(folder), open_backlog(f"sqlite:///{folder}/ours.db")),
            "JSONL": (jsonl_floor(folder), open_backlog(f"jsonl:///{folder}/ours")),
            "PostgreSQL": (postgres_floor(server.create_database()), open_backlog(dsn)),
        }


def measure(rounds: int, operations: int) -> str:
    """
    Return the table: operations a second of floor and ours, and the ratio.
    """
    lines = []
    batches = [drafts(operations, first=number * operations, seed=number) for number in range(rounds)]
    changed = [[replace(draft, title=f"{draft.title} again") for draft in batch] for batch in batches]
    with temporary_folder() as folder, stores(folder) as pairs:
        for name, (floor, backlog) in pairs.items():
            for kind, some in (("new", batches), ("changed", changed)):
                rows = [rows_of(batch) for batch in some]

                def ours(number: int, some: list[list[Draft]] = some, backlog: Backlog = backlog) -> None:
                    for draft in some[number]:
                        backlog.upsert(draft)

                bare, own, ratio = interleaved(rounds, lambda number, rows=rows, floor=floor: floor(rows[number]), ours)  # type: ignore[misc]
                lines.append((name, kind, f"{operations / bare:,.0f}", f"{operations / own:,.0f}", f"{ratio:.2f}"))
            backlog.close()
    return table(("backend", "upsert", "floor/s", "ours/s", "ratio"), lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--operations", type=int, default=300)
    arguments = parser.parse_args()
    print(measure(arguments.rounds, arguments.operations))
