"""
The local copy as the executor uses it: a help that may fail without stopping anything.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TypeVar

from backlog_store.backends.port import Backend, Reader
from backlog_store.commands import Command
from backlog_store.errors import BackendError, BackendUnavailable
from backlog_store.executors.failover.reading import Copy
from backlog_store.instants import Instant
from backlog_store.model import ItemId

__all__ = ["Follower"]

T = TypeVar("T")

_log = logging.getLogger("backlog_store")


class Follower:
    """
    A copy, or none. `problem` says what went wrong with it last.
    """

    def __init__(self, copy: Copy | None) -> None:
        self.problem = ""
        self.copy = copy
        self._touched: set[ItemId] = set()

    @property
    def as_of(self) -> Instant:
        """
        Return when the copy was last up to date; empty where there is none, or none that was ever filled.
        """
        return self.copy.as_of if self.copy is not None else ""

    def read(self, fn: Callable[[Reader], T], /) -> T:
        """
        Run *fn* on the copy. Raises `BackendUnavailable` where there is none.
        """
        if self.copy is None:
            raise BackendUnavailable("copy", "reading", "there is no local copy")
        return self.copy.read(fn)

    def lay_over(self, commands: Sequence[Command]) -> None:
        """
        Carry accepted commands out on the copy.
        """
        self._do(lambda copy: copy.lay_over(commands))

    def note(self, touched: frozenset[ItemId]) -> None:
        """
        Remember items to be read anew once the spool is drained: before, what still waits would vanish from the copy.
        """
        if self.copy is not None:
            self._touched |= touched

    def refresh(self, primary: Backend) -> None:
        """
        Read anew what was touched: the spool is drained.
        """
        touched, self._touched = self._touched, set()
        self._do(lambda copy: copy.refresh(primary, touched))

    def feed(self, primary: Backend, now: Instant) -> bool:
        """
        Bring the copy a bounded step further; tell whether there is more.
        """
        return self._do(lambda copy: copy.feed(primary, now)) or False

    def close(self) -> None:
        """
        Let go of the copy. Idempotent.
        """
        self._do(lambda copy: copy.close())

    def _do(self, do: Callable[[Copy], T]) -> T | None:
        if self.copy is None:
            return None
        try:
            result = do(self.copy)
        except BackendError as error:
            if not self.problem:
                _log.warning("the local copy: %s", error)
            self.problem = f"the local copy: {error}"
            return None
        self.problem = ""
        return result
