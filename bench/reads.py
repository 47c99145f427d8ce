"""
Measure reads of a large backlog against the same reads of a small one: what they cost must not grow with it.

Both are filled in the same way, lie side by side, and are asked in turn. PostgreSQL has been vacuumed and analyzed, as
autovacuum does within a minute; SQLite needs neither.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from msgspec.structs import replace

from backlog_store import open_backlog
from backlog_store.backlog import Backlog
from backlog_store.clock import system_clock
from backlog_store.model import Draft
from backlog_store.query import All, Compare, HasWords, In, Not, Where, live, order_key
from backlog_store.testing.postgres import PostgresServer
from bench.backlogs import drafts
from bench.harness import interleaved, table, temporary_folder

__all__ = ["SIZES", "measure", "sizes"]

Question = Callable[[], object]

SIZES = (10_000, 100_000)
_CHUNK = 20_000
#: So many items hold each rare word, whatever the size.
_SAID = 20
_CALLS = 20


def _reported(size: int) -> Iterator[Draft]:
    """
    Yield drafts of which one in ten has an owner, one in four a due date, one in a hundred an overdue one.
    """
    for start in range(0, size, _CHUNK):
        for number, draft in enumerate(drafts(min(_CHUNK, size - start), first=start, seed=start), start):
            due = "" if number % 4 else f"2099-{1 + number % 12:02}-{1 + number % 28:02}"
            yield replace(
                draft,
                title=f"{draft.title} needle{number % (size // _SAID)}",
                owner=f"team{number % 7}" if number % 10 == 0 else "",
                due_date=draft.due_date or ("2020-01-15" if number % 100 == 0 else due),
            )


def _questions(backlog: Backlog, size: int) -> dict[str, Question]:
    """
    Return what is asked of a backlog of so many items.
    """
    env = In("env", ("prod",))
    (first,) = backlog.search(limit=1)
    (late,) = backlog.search(limit=1, offset=size * 9 // 10)
    after = order_key(late, "priority")
    page: Where = All((env, live()))
    ready: Where = All((env, live(), Not(Compare("wake_at", ">", system_clock()))))
    word: Where = HasWords(("needle7",))
    return {
        "get": lambda: backlog.get(first.id),
        "first page": lambda: backlog.search(page),
        "page at 90 %": lambda: backlog.search(page, after=after),
        "ready to work": lambda: backlog.search(ready),
        "dashboard": lambda: backlog.dashboard(env="prod"),
        "dashboard of all": lambda: backlog.dashboard(env=""),
        "a word": lambda: backlog.search(word),
    }


@contextmanager
def _filled(urls: Sequence[tuple[str, int]]) -> Iterator[list[Backlog]]:
    with ExitStack() as stack:
        found = []
        for url, size in urls:
            backlog = stack.enter_context(open_backlog(url))
            for _ in backlog.report(_reported(size)):
                pass
            if url.startswith("postgres"):
                _tidy(url)
            found.append(backlog)
        yield found


def _tidy(dsn: str) -> None:
    import psycopg

    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")


def measure(counts: Sequence[int], rounds: int) -> str:
    """
    Return the table: the cost of each read at both sizes, and how much dearer the large one is.
    """
    small, large = min(counts), max(counts)
    lines = []
    with temporary_folder() as folder, PostgresServer() as server:
        for name, urls in {
            "SQLite": [(_sqlite(folder, size), size) for size in (small, large)],
            "PostgreSQL": [(server.create_database(), size) for size in (small, large)],
        }.items():
            with _filled(urls) as backlogs:
                asked = [_questions(backlog, size) for backlog, (_, size) in zip(backlogs, urls, strict=True)]
                for question in asked[0]:
                    each = [_often(questions[question]) for questions in asked]
                    each[0](0), each[1](0)  # so that what lags has caught up
                    one, other, ratio = interleaved(rounds, each[1], each[0])
                    cost = [f"{1e3 * seconds / _CALLS:.2f} ms" for seconds in (other, one)]
                    lines.append((name, question, *cost, f"{ratio:.2f}"))
    return table(("backend", "read", f"{small:,} items", f"{large:,} items", "large / small"), lines)


def _sqlite(folder: Path, size: int) -> str:
    return f"sqlite:///{folder}/{size}.db"


def _often(question: Question) -> Callable[[int], None]:
    def run(_: int) -> None:
        for _ in range(_CALLS):
            question()

    return run


def sizes(text: str) -> tuple[int, ...]:
    """
    Return the sizes in a text like ``10000,1000000``.
    """
    return tuple(int(size) for size in text.split(","))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=sizes, default=SIZES)
    parser.add_argument("--rounds", type=int, default=9)
    arguments = parser.parse_args()
    print(measure(arguments.sizes, arguments.rounds))
