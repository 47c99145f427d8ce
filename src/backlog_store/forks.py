"""
What happens to open stores when the process forks.

A child has one thread, and a copy of everything else: locks that other threads of its parent held stay held for ever,
connections and open files are shared with the parent. So every store and executor that has any lets go of them in the
child and takes its own when it first needs them. What is safer copied at rest holds still before the fork.

There is one registration for all, because order matters: first those who work by themselves hold still, then what they
work on. (Of several registrations the last one made is called first, and modules are imported when they are needed.)
"""

from __future__ import annotations

import os
import threading
from types import TracebackType
from weakref import WeakSet

__all__ = ["ForkAware", "Lock", "follow"]


class ForkAware:
    """
    What is told of forks. None of the three may raise.
    """

    def before_fork(self) -> None:
        """
        Hold still, or try to: a fork must not wait for a network.
        """

    def after_fork_in_parent(self) -> None:
        """
        Go on.
        """

    def after_fork_in_child(self) -> None:
        """
        Let go of what was inherited. Nobody may have been told before the fork.
        """


_workers: WeakSet[ForkAware] = WeakSet()
_followed: WeakSet[ForkAware] = WeakSet()
_told: list[ForkAware] = []
_adding = threading.Lock()
_forking = threading.Lock()


def follow(one: ForkAware, *, works: bool = False) -> None:
    """
    Tell *one* of every fork from here on, as long as somebody holds it. What *works* by itself is told first.
    """
    with _adding:
        (_workers if works else _followed).add(one)


class Lock(ForkAware):
    """
    A lock for ``with``, which its thread may take again, and which is free in a forked child.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        follow(self)

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.release()

    def after_fork_in_child(self) -> None:
        """
        Be free.
        """
        self._lock = threading.RLock()


def _before() -> None:
    _forking.acquire()
    with _adding:
        workers, followed = list(_workers), list(_followed)
    for one in [*workers, *followed]:
        one.before_fork()
        _told.append(one)


def _in_parent() -> None:
    while _told:
        _told.pop().after_fork_in_parent()
    _forking.release()


def _in_child() -> None:
    global _adding, _forking
    _adding, _forking = threading.Lock(), threading.Lock()
    _told.clear()
    # What works goes last: by then what it works on has begun anew.
    for one in [*_followed, *_workers]:
        one.after_fork_in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)
