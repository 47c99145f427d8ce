"""
Measure what pages of a large backlog cost the server's processor, against the same pages of a small one.

The application is asked within this process, without a network; what asking costs by itself, measured with `/healthz`
in the same round, is taken away. On SQLite the engine's work is in it, on PostgreSQL only Python's.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from statistics import median
from time import process_time

from litestar import Litestar
from litestar.testing import TestClient

from backlog_store.query import All, In, live
from backlog_store.web.serving import Running, create
from bench.filled import Filled, Options, Stores, filled, options, parser
from bench.harness import table

__all__ = ["measure"]

Client = TestClient[Litestar]
_CALLS = 5


def _paths(store: Filled) -> dict[str, str]:
    (first,) = store.backlog.search(All((In("env", ("prod",)), live())), limit=1)
    return {
        "list": "/items",
        "list of a query": "/items?q=status:open+priority:P1",
        "item": f"/items/{first.id}",
        "board": "/board",
        "dashboard": "/dashboard",
        "now": "/now",
    }


def _cost(client: Client, path: str) -> float:
    start = process_time()
    for _ in range(_CALLS):
        answer = client.get(path)
        if answer.status_code == 503:  # a deadline passed: what else the machine does is not what is measured
            return _cost(client, path)
        if answer.status_code != 200:
            raise SystemExit(f"{path} was answered with {answer.status_code}")
    return (process_time() - start) / _CALLS


def _above(client: Client, path: str) -> float:
    return _cost(client, path) - _cost(client, "/healthz")


def measure(stores: Stores, rounds: int) -> str:
    """
    Return the table: milliseconds of processor for each page at each size, and how much dearer the largest is.
    """
    lines: list[tuple[str, ...]] = []
    with ExitStack() as stack:
        for name, found in stores.items():
            clients = [stack.enter_context(TestClient(_application(store), base_url=_BASE)) for store in found]
            asked = [_paths(store) for store in found]
            for page in asked[0]:
                each: list[Callable[[], float]] = [
                    partial(_above, client, paths[page]) for client, paths in zip(clients, asked, strict=True)
                ]
                for cost in each:
                    cost()  # so that what lags has caught up
                rows = [[cost() for cost in each] for _ in range(rounds)]
                shown = [f"{1e3 * median(column):.1f} ms" for column in zip(*rows, strict=True)]
                lines.append((name, page, *shown, f"{median(row[-1] / row[0] for row in rows):.2f}"))
    sizes = [f"{store.size:,} items" for store in next(iter(stores.values()))]
    return table(("backend", "page", *sizes, "largest / smallest"), lines)


_BASE = "http://127.0.0.1:8420"


def _application(store: Filled) -> Litestar:
    return create(store.backlog, Running(host="127.0.0.1", port=8420))


def _main(wanted: Options) -> None:
    with filled(wanted) as stores:
        print(measure(stores, wanted.rounds))


if __name__ == "__main__":
    _main(options(parser(__doc__).parse_args()))
