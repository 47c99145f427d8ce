"""
Measure reads of a large backlog against the same reads of a small one: what they cost must not grow with it.

All stores are filled in the same way, lie side by side, and are asked in turn. On SQLite the processor's time counts,
on PostgreSQL, whose work is in another process, all time.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from backlog_store.query import NO_DUE, All, HasWords, In, Where, live
from bench.filled import Filled, Options, Stores, filled, options, parser
from bench.harness import clock_of, interleaved, table
from bench.plot import Line, plot
from bench.population import RARE

__all__ = ["measure"]

Question = Callable[[], object]
#: One answer is a fraction of a millisecond: a round asks so many times.
_CALLS = 20
#: Nine in ten live items of any population stand before it: one in three is of P3, three in four of these have no due
#: date, and three in five of their ids are less. (An offset would read all of them.)
_AT_90 = ("P3", NO_DUE, "bl_o")
_TITLE = "Cost of a read, by the number of items (the smallest backlog is 1)"


def _questions(store: Filled) -> dict[str, Question]:
    backlog, size = store.backlog, store.size
    env = In("env", ("prod",))
    page: Where = All((env, live()))
    (first,) = backlog.search(page, limit=1)
    word: Where = HasWords((f"needle{size // RARE // 2}",))
    return {
        "get": lambda: backlog.get(first.id),
        "first page": lambda: backlog.search(page),
        "page at 90 %": lambda: backlog.search(page, after=_AT_90),
        "ready to work": lambda: backlog.work.ready(env="prod"),
        "dashboard": lambda: backlog.dashboard("prod"),
        "dashboard of all": lambda: backlog.dashboard(""),
        "attention": lambda: backlog.attention(""),
        "a rare word": lambda: backlog.search(word),
    }


def measure(stores: Stores, rounds: int) -> tuple[str, str]:
    """
    Return the table, the cost of each read at each size and how much dearer the largest is, and its plot.
    """
    lines: list[tuple[str, ...]] = []
    drawn: list[Line] = []
    sizes: list[int] = []
    for name, found in stores.items():
        sizes = [store.size for store in found]
        asked = [_questions(store) for store in found]
        for question in asked[0]:
            each = [partial(_often, questions[question]) for questions in asked]
            for ask in each:
                ask(0)  # so that what lags has caught up
            costs = {}
            ratios = [1.0]
            for size, ask in zip(sizes[1:], each[1:], strict=True):
                costs[size], costs[sizes[0]], ratio = interleaved(rounds, ask, each[0], clock=clock_of(name))
                ratios.append(ratio)
            shown = [f"{1e3 * costs[size] / _CALLS:.2f} ms" for size in sizes]
            lines.append((name, question, *shown, f"{ratios[-1]:.2f}"))
            drawn.append(Line(f"{question}", name, ratios))
    head = ("backend", "read", *(f"{size:,} items" for size in sizes), "largest / smallest")
    marks = [f"{size:,}" for size in sizes]
    return table(head, lines), plot(
        "Cost of a read, by the number of items (smallest backlog = 1)", marks, drawn, goal=1.5
    )


def _often(question: Question, _: int) -> None:
    for _ in range(_CALLS):
        question()


def _main(wanted: Options) -> None:
    with filled(wanted) as stores:
        print(measure(stores, wanted.rounds)[0])


if __name__ == "__main__":
    _main(options(parser(__doc__).parse_args()))
