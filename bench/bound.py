"""
Take one upsert on SQLite apart: what its statements alone cost, then with what any history like ours cannot do without.

Each step does what the one before does, and more, all of them in turn in the same run as the floor and the store:

- *floor*: as in `bench.single`.
- *statements*: those of the store, on its tables, with rows made ahead.
- *encoded*: the documents of item and event are encoded.
- *hashed*: the ids are derived, the report is digested, the event sealed.
- *decided*: all of the rules, on a store that knows nothing.
- *ours*: `Backlog.upsert`.

Everything is made in a new folder, which `--folder` puts elsewhere: one in memory shows the processor's part alone.
"""

from __future__ import annotations

import argparse
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from time import process_time

from msgspec.structs import replace

from backlog_store import open_backlog
from backlog_store.backends.null import open_null
from backlog_store.backends.port import Hint, Put
from backlog_store.backends.sqlite import glance
from backlog_store.backends.sqlite.connection import connect, prepare
from backlog_store.backends.sqlite.rows import INSERT_EVENT, INSERT_ITEM, event_values, item_values
from backlog_store.codec import encode_event, encode_item
from backlog_store.commands import Command, Report
from backlog_store.ids import Salts, item_id_of_key
from backlog_store.model import SYSTEM, Draft, Event, Item
from backlog_store.rules import check_command, decide, hint_of
from backlog_store.rules.fields import draft_digest
from backlog_store.trail import sealed
from bench.backlogs import drafts
from bench.floors import sqlite_floor
from bench.harness import table, temporary_folder, timed
from bench.single import rows_of

__all__ = ["measure"]

_AT = "2026-03-01T09:30:00.000000Z"
#: Pages after which the log is written back, as the store does.
_CHECKPOINT = 4_000


class Made:
    """
    One draft with all that the steps need of it, made before the clock runs.
    """

    def __init__(self, draft: Draft, number: int) -> None:
        self.draft = draft
        self.command = Command(body=Report(drafts=(draft,)), actor=SYSTEM, at=_AT, seed=f"{number:032d}")
        self.hint = hint_of(self.command)
        put = open_null().write(lambda writer: decide(writer, self.command)).changes[0]
        assert isinstance(put, Put)
        self.item, self.event = put.item, put.event
        self.bare = replace(put.event, hash="")
        self.rows = item_values(put.item, 0), event_values(put.event, 0, 0)


class Steps:
    """
    The steps between floor and store, each on a file of its own.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._null = open_null()

    def statements(self) -> Callable[[Sequence[Made]], None]:
        """
        Send rows made ahead.
        """
        connection = self._connection("statements")

        def run(some: Sequence[Made]) -> None:
            for made in some:
                position = _begin(connection, made.hint)
                item, event = made.rows
                connection.execute(INSERT_ITEM, (*item[:-2], position, item[-1]))
                connection.execute(INSERT_EVENT, (position, *event[1:]))
                connection.execute("COMMIT")

        return run

    def encoded(self) -> Callable[[Sequence[Made]], None]:
        """
        Encode both documents, too.
        """
        connection = self._connection("encoded")

        def run(some: Sequence[Made]) -> None:
            for made in some:
                position = _begin(connection, made.hint)
                item, event = made.rows
                connection.execute(INSERT_ITEM, (*item[:-2], position, encode_item(made.item)))
                connection.execute(INSERT_EVENT, (position, *event[1:-1], encode_event(made.bare)))
                connection.execute("COMMIT")

        return run

    def hashed(self) -> Callable[[Sequence[Made]], None]:
        """
        Derive the ids, digest the report and seal the event, too.
        """
        connection = self._connection("hashed")

        def run(some: Sequence[Made]) -> None:
            for made in some:
                position = _begin(connection, made.hint)
                draft = made.draft
                item_id_of_key((draft.env, draft.dedupe_key))
                draft_digest(draft)
                Salts(made.command.seed).next()
                event = sealed(made.bare)
                _insert(connection, made.item, event, position)
                connection.execute("COMMIT")

        return run

    def decided(self) -> Callable[[Sequence[Made]], None]:
        """
        Run all of the rules.
        """
        connection = self._connection("decided")

        def run(some: Sequence[Made]) -> None:
            for made in some:
                command = made.command
                check_command(command)
                position = _begin(connection, hint_of(command))
                put = self._null.write(lambda writer, command=command: decide(writer, command)).changes[0]  # type: ignore[misc]
                assert isinstance(put, Put)
                _insert(connection, put.item, put.event, position)
                connection.execute("COMMIT")

        return run

    def _connection(self, name: str) -> sqlite3.Connection:
        path = str(self._folder / f"{name}.db")
        prepare(path)
        connection = connect(path, synchronous="FULL", busy_timeout_s=5, writes=True)
        connection.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT}")
        return connection


def _begin(connection: sqlite3.Connection, hint: Hint) -> int:
    connection.execute("BEGIN IMMEDIATE")
    return glance.take(connection, hint)[1] + 1


def _insert(connection: sqlite3.Connection, item: Item, event: Event, position: int) -> None:
    connection.execute(INSERT_ITEM, item_values(item, position))
    connection.execute(INSERT_EVENT, event_values(event, position, 0))


def measure(rounds: int, operations: int, folder: Path | None = None) -> str:
    """
    Return the table: microseconds an upsert of each step, its ratio to the floor, and how long the processor was busy.
    """
    with temporary_folder(folder) as place, open_backlog(f"sqlite:///{place}/ours.db") as backlog:
        floor, steps = sqlite_floor(place), Steps(place)
        work: dict[str, Callable[[Sequence[Made]], None]] = {
            name: getattr(steps, name)() for name in ("statements", "encoded", "hashed", "decided")
        }

        def ours(some: Sequence[Made]) -> None:
            for made in some:
                backlog.upsert(made.draft)

        work["ours"] = ours
        times: dict[str, list[float]] = {name: [] for name in ("floor", *work)}
        spent: dict[str, list[float]] = {name: [] for name in times}
        for number in range(rounds):
            some = drafts(operations, first=number * operations, seed=number)
            rows, made = rows_of(some), [Made(draft, number * operations + at) for at, draft in enumerate(some)]
            todo = [("floor", lambda rows=rows: floor(rows))]
            todo += [(name, lambda made=made, step=step: step(made)) for name, step in work.items()]  # type: ignore[misc]
            # Who goes first changes from round to round.
            for name, step in (*todo[number % len(todo) :], *todo[: number % len(todo)]):
                before = process_time()
                times[name].append(timed(step))
                spent[name].append(process_time() - before)
    lines = []
    for name, own in times.items():
        ratio = median([bare / mine for bare, mine in zip(times["floor"], own, strict=True)])
        clock, processor = (median(each) / operations * 1e6 for each in (own, spent[name]))
        lines.append((name, f"{clock:,.0f}", f"{ratio:.2f}", f"{processor:,.0f}"))
    return table(("step", "µs", "ratio", "µs of processor"), lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--operations", type=int, default=200)
    parser.add_argument("--folder", type=Path, default=None)
    arguments = parser.parse_args()
    print(measure(arguments.rounds, arguments.operations, arguments.folder))
