"""
Measure how fast a spool is drained into PostgreSQL, beside a report of the same drafts and the same drafts one by one.

Each draft was accepted as a command of its own while the database was away.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from backlog_store import open_backlog
from backlog_store.backends.port import Backend
from backlog_store.backlog import Backlog
from backlog_store.errors import BackendUnavailable
from backlog_store.executors.failover import FailoverExecutor
from backlog_store.model import Draft
from backlog_store.testing.postgres import PostgresServer
from bench.backlogs import drafts
from bench.harness import table, temporary_folder, timed

__all__ = ["measure"]


class Switch:
    """
    Opens the database of *dsn* once it is on.
    """

    def __init__(self, dsn: str) -> None:
        self.on = False
        self._dsn = dsn

    def __call__(self) -> Backend:
        if not self.on:
            raise BackendUnavailable("switched", "opening", "it is switched off")
        return open_backlog(self._dsn).executor.backend


def _one_by_one(backlog: Backlog, some: list[Draft]) -> None:
    for draft in some:
        backlog.upsert(draft)


def _report(backlog: Backlog, some: list[Draft]) -> None:
    for _ in backlog.report(some):
        pass


def _drain(executor: FailoverExecutor) -> None:
    while executor.standing().state != "up" or executor.standing().waiting:
        executor.step()


def measure(count: int) -> str:
    """
    Return the table: drafts a second in each of four ways, and each beside one report of all.
    """
    logging.disable()  # an outage is announced to whoever runs a service
    some = drafts(count)
    few = drafts(max(1, count // 20))
    with temporary_folder() as folder, PostgresServer() as server:
        with open_backlog(server.create_database()) as backlog:
            report = count / timed(lambda: _report(backlog, some))
        with open_backlog(server.create_database()) as backlog:
            single = len(few) / timed(lambda: _one_by_one(backlog, few))
        switch = Switch(server.create_database())
        executor = FailoverExecutor(switch, Path(folder, "spool"), background=False)
        with Backlog(executor) as backlog:
            accepted = count / timed(lambda: _one_by_one(backlog, some))
            switch.on = True
            drained = count / timed(lambda: _drain(executor))
            account = executor.standing().account
        if (account.applied, account.waiting) != (count, 0):
            raise AssertionError(f"the account does not balance: {account}")
    rates = {
        "reported in one go": report,
        "one by one": single,
        "one by one, accepted by the spool": accepted,
        "drained from the spool": drained,
    }
    lines = [(name, f"{rate:,.0f}", f"{rate / report:.2f}") for name, rate in rates.items()]
    return table(("drafts", "a second", "of a report"), lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10_000)
    print(measure(parser.parse_args().count))
