"""
One process of a concurrent history: ``python client.py URL LEVEL CLIENTS KEYS EACH NAME``.

Opens the store, says ``ready``, waits for a line, lets its clients append, and prints what they recorded as JSON.
"""

from __future__ import annotations

import sys

from msgspec.structs import replace

from backlog_store.backends.port import Backend, Capabilities
from backlog_store.clock import system_clock, system_ids
from backlog_store.codec import encode
from backlog_store.commands import Command, Report
from backlog_store.executors.local import LocalExecutor
from backlog_store.model import Actor, Draft, Event, Key
from backlog_store.testing.faults import Wrapper
from backlog_store.testing.histories import Append, append_to_key, mark_of, perform
from tests.stores import open_patiently

__all__ = ["LEVELS", "mark_of_report", "report_to_key"]


class TwoWriters(Wrapper):
    """
    A backend that claims two writers at a time, so that what more threads ask is carried out in groups.
    """

    @property
    def capabilities(self) -> Capabilities:
        """Claim fewer than there are."""
        return replace(self.backend.capabilities, writers=min(2, self.backend.capabilities.writers))


_executors: dict[int, LocalExecutor] = {}


def _executor_of(backend: Backend) -> LocalExecutor:
    # One for all threads of a store, so that their commands meet in groups.
    if id(backend) not in _executors:
        _executors[id(backend)] = LocalExecutor(TwoWriters(backend))
    return _executors[id(backend)]


def report_to_key(backend: Backend, key: Key, mark: str) -> int:
    """
    Report the problem of *key* with *mark* as its title, as a command; return the revision that this made.
    """
    draft = Draft(title=mark, env=key[0], dedupe_key=key[1], source="history")
    # A clock that goes back between processes is part of the exercise; no observation is older than a close here.
    command = Command(body=Report(drafts=(draft,)), actor=Actor("history"), at=system_clock(), seed=system_ids())
    return _executor_of(backend).execute(command).outcomes[0].revision


def mark_of_report(event: Event) -> str:
    """
    Return the mark that an event of `report_to_key` carries.
    """
    return str(event.changes["title"][1])


#: What clients do, and how to read their marks off an event: changes at the port, or whole commands.
LEVELS = {"changes": (append_to_key, mark_of), "commands": (report_to_key, mark_of_report)}


def main(url: str, level: str, clients: str, keys: str, each: str, name: str) -> None:
    """
    Perform one process's share.
    """
    append: Append = LEVELS[level][0]
    backend = open_patiently(url)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    operations = perform(lambda _: backend, append, clients=int(clients), keys=int(keys), each=int(each), name=name)
    backend.close()
    sys.stdout.write(encode(operations).decode() + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
