"""
Measure the dashboard and the search against bare reads of the same rows, with SQL written by hand for this question.

The dashboard's floor reads the counters and the 20 overdue items, sums nothing and decodes nothing; the search's floor
asks the engine's full-text index for the same word, in the same order, up to the same limit. It decodes nothing either;
where a line says so it decodes the rows' documents, into plain dicts.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from functools import partial
from itertools import product

from msgspec import json

from backlog_store.model import LIVE, PRIORITIES
from backlog_store.query import HasWords
from bench.filled import Filled, Options, Stores, filled, options, parser
from bench.harness import clock_of, interleaved, table
from bench.population import NOW, RARE

__all__ = ["measure"]

Run = Callable[[], object]
Search = Callable[[str], list[tuple[bytes | str]]]
_CALLS = 20
_TODAY = NOW[:10]
_BRANCHES = list(product(sorted(LIVE), PRIORITIES))
_COUNTERS = """
    SELECT facet, status, value, n FROM tallies
    WHERE facet IN ('priority', 'category', 'owner', 'source', 'service') AND env = 'prod'"""
_LATE = """
    SELECT SUM(n) FROM tallies
    WHERE facet = 'due' AND env = 'prod' AND status IN ('open', 'in_progress', 'blocked') AND value < {mark}"""
_ASLEEP = """
    SELECT COUNT(*) FROM items
    WHERE wake_at > {mark} AND wake_at {empty} AND {weak}env = 'prod'
      AND {weak}status IN ('open', 'in_progress', 'blocked')"""
_OVERDUE = """
    SELECT doc, priority, due, id FROM items
    WHERE env = 'prod' AND status = '{status}' AND priority = '{priority}' AND due < {mark}"""
_ORDER = "ORDER BY priority, due, id LIMIT "


def _sqlite(store: Filled, words: tuple[str, ...]) -> dict[str, Run]:
    connection = sqlite3.connect(store.url.removeprefix("sqlite://"), isolation_level=None, check_same_thread=False)
    branches = [_OVERDUE.format(status=status, priority=priority, mark="?") for status, priority in _BRANCHES]
    overdue = " UNION ALL ".join(branches) + f" {_ORDER} 20"

    def dashboard() -> None:
        connection.execute("BEGIN")
        connection.execute(_COUNTERS).fetchall()
        connection.execute(_LATE.format(mark="?"), (_TODAY,)).fetchall()
        connection.execute(_ASLEEP.format(mark="?", weak="+", empty="<> ''"), (NOW,)).fetchall()
        connection.execute(overdue, (_TODAY,) * len(branches)).fetchall()
        connection.execute("COMMIT")

    def search(word: str) -> list[tuple[bytes | str]]:
        sql = f"SELECT doc FROM item_words JOIN items ON num = item_words.rowid WHERE item_words MATCH ? {_ORDER} 50"
        return connection.execute(sql, (f'words : "{word}"',)).fetchall()

    return {"dashboard": dashboard, **_searches(search, words)}


def _postgres(store: Filled, words: tuple[str, ...]) -> dict[str, Run]:
    import psycopg

    # Planned anew each time, as ours is: a plan must fit its values.
    connection = psycopg.connect(store.url, autocommit=True, prepare_threshold=None)
    connection.execute("SET search_path = backlog_store")
    branches = [_OVERDUE.format(status=status, priority=priority, mark="%s") for status, priority in _BRANCHES]
    overdue = " UNION ALL ".join(f"({branch} {_ORDER} 20)" for branch in branches) + f" {_ORDER} 20"

    def dashboard() -> None:
        connection.execute(_COUNTERS).fetchall()
        connection.execute(_LATE.format(mark="%s"), (_TODAY,)).fetchall()
        connection.execute(_ASLEEP.format(mark="%s", weak="", empty="> ''"), (NOW,)).fetchall()
        connection.execute(overdue, (_TODAY,) * len(branches)).fetchall()

    def search(word: str) -> list[tuple[bytes | str]]:
        sql = f"SELECT doc FROM item_words JOIN items ON id = item_id WHERE words @@ %s::tsquery {_ORDER} 50"
        return connection.execute(sql, (f"'{word}'",)).fetchall()

    return {"dashboard": dashboard, **_searches(search, words)}


def _searches(search: Search, words: tuple[str, ...]) -> dict[str, Run]:
    found: dict[str, Run] = {}
    for word in words:
        found[f"search {word}"] = partial(search, word)
        found[f"search {word}, decoded"] = lambda word=word: [json.decode(doc) for (doc,) in search(word)]  # type: ignore[misc]
    return found


def measure(stores: Stores, rounds: int) -> str:
    """
    Return the table: the cost of floor and ours at each size, and how much dearer ours is.
    """
    lines = []
    for name, found in stores.items():
        for store in found:
            rare = f"needle{store.size // RARE // 2}"
            words = (rare, "g204")
            named = {rare: f"a word of {RARE} items", "g204": "a word of one item in 20"}
            floors = (_sqlite if name == "SQLite" else _postgres)(store, words)
            backlog = store.backlog
            ours: dict[str, Run] = {"dashboard": lambda backlog=backlog: backlog.dashboard("prod")}  # type: ignore[misc]
            for word in words:
                ours[f"search {word}"] = lambda backlog=backlog, word=word: backlog.search(HasWords((word,)))  # type: ignore[misc]
            for question, floor in floors.items():
                calls = 1 if "g204" in question else _CALLS
                asked, _, how = question.partition(", ")
                own = ours[asked]
                floor(), own()
                each_way = [partial(_often, run, calls) for run in (floor, own)]
                bare, cost, ratio = interleaved(rounds, *each_way, clock=clock_of(name))
                each = [f"{1e3 * seconds / calls:.2f} ms" for seconds in (bare, cost)]
                read = named.get(asked.removeprefix("search "), asked) + (f", floor {how}" if how else "")
                lines.append((name, f"{store.size:,}", read, *each, f"{1 / ratio:.2f}"))
    return table(("backend", "items", "read", "floor", "ours", "ours / floor"), lines)


def _often(run: Run, calls: int, _: int) -> None:
    for _ in range(calls):
        run()


def _main(wanted: Options) -> None:
    with filled(wanted) as stores:
        print(measure(stores, wanted.rounds))


if __name__ == "__main__":
    _main(options(parser(__doc__).parse_args()))
