"""
What happens to an open store when the process forks.

SQLite's locks belong to the process that took them, while its own notes about them are copied by a fork: a child that
used inherited connections, or opened new ones beside them, would write without a lock
(https://www.sqlite.org/howtocorrupt.html#_carrying_an_open_database_connection_across_a_fork_). So a fork waits for the
write that is under way, and the child closes what it inherited and opens its own connections when it first needs them.
"""

from __future__ import annotations

import os
from typing import Protocol
from weakref import WeakSet

__all__ = ["ForkAware", "follow"]


class ForkAware(Protocol):
    """
    What the three hooks call.
    """

    def before_fork(self) -> None:
        """
        Hold still.
        """
        ...

    def after_fork_in_parent(self) -> None:
        """
        Go on.
        """
        ...

    def after_fork_in_child(self) -> None:
        """
        Let go of what was inherited.
        """
        ...


_followed: WeakSet[ForkAware] = WeakSet()
_held: list[ForkAware] = []


def follow(store: ForkAware) -> None:
    """
    Tell *store* of every fork from here on.
    """
    _followed.add(store)


def _before() -> None:
    for store in list(_followed):
        store.before_fork()
        _held.append(store)


def _in_parent() -> None:
    while _held:
        _held.pop().after_fork_in_parent()


def _in_child() -> None:
    while _held:
        _held.pop().after_fork_in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)
