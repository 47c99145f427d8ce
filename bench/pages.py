"""
Measure what pages of a large backlog cost the server's processor, against the same pages of a small one.

The application is asked within this process, without a network; what asking costs by itself, measured with `/healthz`
in the same round, is taken away. The engine's work is in it: PostgreSQL's server must run on this machine.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
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
Clock = Callable[[], float]
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


def _cost(client: Client, spent: Clock, path: str) -> float:
    start = spent()
    for _ in range(_CALLS):
        answer = client.get(path)
        if answer.status_code == 503:  # a deadline passed: what else the machine does is not what is measured
            return _cost(client, spent, path)
        if answer.status_code != 200:
            raise SystemExit(f"{path} was answered with {answer.status_code}")
    return (spent() - start) / _CALLS


def _above(client: Client, spent: Clock, path: str) -> float:
    return _cost(client, spent, path) - _cost(client, spent, "/healthz")


def _clock(store: Filled) -> Clock:
    """
    Return what tells the seconds of processor spent so far, by this process and by the server behind the store.
    """
    if not store.url.startswith("postgresql"):
        return process_time
    import psycopg

    with psycopg.connect(store.url) as connection:
        row = connection.execute("SELECT pg_backend_pid()").fetchone()
        assert row is not None
        (server,) = re.findall(r"(?m)^PPid:\s+(\d+)$", Path(f"/proc/{row[0]}/status").read_text())
    children = Path(f"/proc/{server}/task/{server}/children")

    def spent() -> float:
        # Its sessions stay open meanwhile; the first number is nanoseconds on a processor.
        spans = [Path(f"/proc/{pid}/schedstat").read_text().split()[0] for pid in children.read_text().split()]
        return process_time() + sum(map(int, spans)) / 1e9

    return spent


def measure(stores: Stores, rounds: int) -> str:
    """
    Return the table: milliseconds of processor for each page at each size, and how much dearer the largest is.
    """
    lines: list[tuple[str, ...]] = []
    with ExitStack() as stack:
        for name, found in stores.items():
            clients = [stack.enter_context(TestClient(_application(store), base_url=_BASE)) for store in found]
            asked = [(client, _clock(store), _paths(store)) for client, store in zip(clients, found, strict=True)]
            for page in asked[0][2]:
                each: list[Clock] = [partial(_above, client, spent, paths[page]) for client, spent, paths in asked]
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
