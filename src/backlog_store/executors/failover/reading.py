"""
What the failover executor asks of a local copy: the reads while the primary is away.

One copy serves all processes that share a spool: it lies in the spool's folder. Only the process that holds the drain's
lock calls `feed` and `refresh`; any process calls `lay_over` and `read`, from any thread.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Protocol, TypeVar

from backlog_store.backends.port import Backend, Reader
from backlog_store.commands import Command
from backlog_store.instants import Instant
from backlog_store.model import ItemId

__all__ = ["Copy"]

T = TypeVar("T")


class Copy(Protocol):
    """
    Items of the primary, bounded in number, with accepted commands laid over them.

    A copy is a help, never a truth: what goes wrong in it is raised as a `BackendError`, told, and stops nothing.
    """

    @property
    def as_of(self) -> Instant:
        """
        Return when the copy was last brought up to date with the primary; empty before it was ever filled.
        """
        ...

    def feed(self, primary: Backend, now: Instant) -> bool:
        """
        Take in one bounded part of what is new on the primary; tell whether there is more.

        `as_of` becomes *now* once nothing is left. Raises what reading the primary raises.
        """
        ...

    def lay_over(self, commands: Sequence[Command]) -> None:
        """
        Carry accepted commands out on the copy, by the rules, in order; remember which items they touched.

        Before the copy was ever filled it does nothing. One that a rule refuses here is left out: the replay will tell.
        """
        ...

    def refresh(self, primary: Backend, ids: Collection[ItemId]) -> None:
        """
        Read these items, and all that `lay_over` touched, anew from the primary: the spool was drained.
        """
        ...

    def read(self, fn: Callable[[Reader], T], /) -> T:
        """
        Run *fn* on one consistent view of the copy. Raises `BackendUnavailable` before it was ever filled.
        """
        ...

    def close(self) -> None:
        """
        Let go of the copy. Idempotent.
        """
        ...
