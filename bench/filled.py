"""
Stores that hold a population, for questions about what reading costs.

Filling a large one takes minutes. Whoever asks several questions fills once, with `--keep FOLDER`: SQLite's files stay
there and are found again. Others name stores that are there already, with `--stores FILE`, a JSON object like
``{"PostgreSQL": {"10000": "postgresql://…", "1000000": "postgresql://…"}}``; what it does not name is filled.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from msgspec import Struct

from backlog_store import open_backlog
from backlog_store.backlog import Backlog
from backlog_store.testing.postgres import PostgresServer
from bench.harness import temporary_folder
from bench.population import EVENTS, NOW, fill

__all__ = ["SIZES", "Filled", "Options", "Stores", "filled", "options", "parser"]

SIZES = (10_000, 100_000)
BACKENDS = ("SQLite", "PostgreSQL")


class Filled(Struct):
    """
    A store of *size* items, open at the instant at which its population ends.
    """

    url: str
    size: int
    backlog: Backlog


Stores = Mapping[str, Sequence[Filled]]


class Options(Struct, kw_only=True):
    """
    Which stores to fill: *sizes* ascending, *events* an item; see above for *keep* and *given*.
    """

    sizes: tuple[int, ...] = SIZES
    events: int = EVENTS
    rounds: int = 9
    keep: Path | None = None
    given: Mapping[str, Mapping[str, str]] = {}
    backends: tuple[str, ...] = BACKENDS


def parser(description: str | None) -> argparse.ArgumentParser:
    """
    Return a parser of the arguments that `options` takes.
    """
    made = argparse.ArgumentParser(description=description)
    made.add_argument("--sizes", default="10000,100000", help="items, separated by commas (default: %(default)s)")
    made.add_argument("--events", type=int, default=EVENTS, help="events an item, on average (default: %(default)s)")
    made.add_argument("--rounds", type=int, default=9)
    made.add_argument("--keep", type=Path, metavar="FOLDER", help="keep SQLite's files here, and use those that are")
    made.add_argument("--stores", type=Path, metavar="FILE", help="JSON that names stores that are filled already")
    made.add_argument("--backends", default=",".join(BACKENDS), help="of these alone (default: %(default)s)")
    return made


def options(found: argparse.Namespace) -> Options:
    """
    Return what the arguments say.
    """
    sizes = tuple(sorted(int(size) for size in found.sizes.split(",")))
    given = json.loads(found.stores.read_text()) if found.stores else {}
    asked = {name.lower() for name in found.backends.split(",")}
    backends = tuple(name for name in BACKENDS if name.lower() in asked)
    if len(backends) < len(asked):
        raise SystemExit(f"--backends {found.backends}: choose of {', '.join(BACKENDS)}")
    return Options(
        sizes=sizes, events=found.events, rounds=found.rounds, keep=found.keep, given=given, backends=backends
    )


@contextmanager
def filled(wanted: Options) -> Iterator[Stores]:
    """
    Give the stores of each backend, by ascending size. PostgreSQL's are vacuumed and analyzed, as autovacuum does.
    """
    with ExitStack() as stack:
        folder = wanted.keep or stack.enter_context(temporary_folder())
        folder.mkdir(parents=True, exist_ok=True)
        files = {size: folder / f"{size}-{wanted.events}.db" for size in wanted.sizes}
        stores: dict[str, list[Filled]] = {}
        if "SQLite" in wanted.backends:
            given = wanted.given.get("SQLite", {})
            urls = {size: given.get(str(size)) or f"sqlite:///{file}" for size, file in files.items()}
            there = {size for size, file in files.items() if str(size) in given or file.exists()}
            stores["SQLite"] = [
                _opened(stack, url, size, 0 if size in there else wanted.events) for size, url in urls.items()
            ]
        if "PostgreSQL" in wanted.backends:
            stores["PostgreSQL"] = _of_postgres(stack, wanted)
        yield stores


def _of_postgres(stack: ExitStack, wanted: Options) -> list[Filled]:
    given = wanted.given.get("PostgreSQL", {})
    missing = [size for size in wanted.sizes if str(size) not in given]
    server = stack.enter_context(PostgresServer(settings={"max_wal_size": "4GB"})) if missing else None
    found = []
    for size in wanted.sizes:
        dsn = given.get(str(size)) or (server.create_database() if server else "")
        found.append(_opened(stack, dsn, size, wanted.events if size in missing else 0))
        if size in missing:
            _tidy(dsn)
    return found


def _opened(stack: ExitStack, url: str, size: int, events: int) -> Filled:
    backlog = stack.enter_context(open_backlog(url, clock=lambda: NOW))
    if events:
        fill(backlog.executor.backend, size, events=events)
    found = backlog.tally().get((), 0)
    if found != size:
        raise SystemExit(
            f"{url} holds {found:,} items where {size:,} should be: remove it, it was not filled to its end"
        )
    return Filled(url, size, backlog)


def _tidy(dsn: str) -> None:
    import psycopg

    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")
