"""
The turn of whoever does a step of the failover executor: a thread of its own, a caller who drains, or a fork.

A fork waits for the step that is under way, so that the child inherits no half-made import, no busy handle of the local
copy and no half-open file. A step that stands in a network call is not waited for longer than `FORK_S`: the child uses
nothing of it anyway.
"""

from __future__ import annotations

import threading
from types import TracebackType

from backlog_store.forks import ForkAware, follow

__all__ = ["FORK_S", "Turn"]

#: How long, in seconds, a fork waits for a step, at most.
FORK_S = 1.0


class Turn(ForkAware):
    """
    One at a time, in the order in which they came, for ``with``.
    """

    def __init__(self) -> None:
        self._begin()
        follow(self, works=True)

    def __enter__(self) -> None:
        with self._queue:
            self._lock.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.release()

    def before_fork(self) -> None:
        """
        Take the turn, if it is free in time. Whoever is next waits behind the fork.
        """
        if self._queue.acquire(timeout=FORK_S):
            self._held.append(self._queue)
            if self._lock.acquire(timeout=FORK_S):
                self._held.append(self._lock)

    def after_fork_in_parent(self) -> None:
        """
        Let the next one go on.
        """
        while self._held:
            self._held.pop().release()

    def after_fork_in_child(self) -> None:
        """
        Be free: nobody is in a step here.
        """
        self._begin()

    def _begin(self) -> None:
        self._queue, self._lock = threading.Lock(), threading.Lock()
        self._held: list[threading.Lock] = []
