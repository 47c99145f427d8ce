"""
Measure a report of many drafts: new, and the same again.
"""

from __future__ import annotations

import argparse

from backlog_store.backlog import Backlog
from backlog_store.model import Draft
from bench.backlogs import drafts
from bench.harness import table, temporary_folder, timed
from bench.single import stores

__all__ = ["measure"]


def _report(backlog: Backlog, some: list[Draft]) -> None:
    for _ in backlog.report(some):
        pass


def measure(count: int) -> str:
    """
    Return the table: drafts a second, new and unchanged, and how much faster the second time is.
    """
    some = drafts(count)
    lines = []
    with temporary_folder() as folder, stores(folder) as pairs:
        for name, (_, backlog) in pairs.items():
            new = timed(lambda backlog=backlog: _report(backlog, some))  # type: ignore[misc]
            known = timed(lambda backlog=backlog: _report(backlog, some))  # type: ignore[misc]
            lines.append((name, f"{count / new:,.0f}", f"{count / known:,.0f}", f"{new / known:.1f}"))
            backlog.close()
    return table(("backend", "new/s", "unchanged/s", "unchanged / new"), lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10_000)
    print(measure(parser.parse_args().count))
