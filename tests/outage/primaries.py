"""
Primaries that go away on demand. They are fakes of an outage only: the store inside is a real one.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from backlog_store.backends.memory import MemoryBackend
from backlog_store.backends.port import NO_HINT, Backend, Capabilities, Health, Hint, Reader, Writer
from backlog_store.backlog import Backlog
from backlog_store.errors import BackendUnavailable, BacklogError, OutcomeUnknown
from backlog_store.executors.failover import FailoverExecutor
from backlog_store.testing.clocks import CountingIds, StepClock

T = TypeVar("T")


class Switched:
    """
    A backend behind a switch: *up*, away (*up* false), or with answers that get lost after the commit (*deaf*).
    """

    def __init__(self, inner: Backend | None = None) -> None:
        self.inner: Backend = inner or MemoryBackend()
        self.up = True
        self.deaf = False
        self.error: BacklogError | None = None  # raised instead of the usual one while away
        self.writes = 0

    def open(self) -> Backend:
        """Answer as an opener does: with the backend, or not at all."""
        self._check("opening")
        return self

    @property
    def capabilities(self) -> Capabilities:
        return self.inner.capabilities

    def read(self, fn: Callable[[Reader], T], /) -> T:
        self._check("reading")
        return self.inner.read(fn)

    def write(self, fn: Callable[[Writer], T], /, *, hint: Hint = NO_HINT) -> T:
        self._check("writing")
        self.writes += 1
        answer = self.inner.write(fn, hint=hint)
        if self.deaf:
            raise OutcomeUnknown("switched", "writing", "the answer was lost")
        return answer

    def check(self) -> Health:
        return self.inner.check()

    def close(self) -> None:
        """Stay open: a server outlives those who talk to it."""

    def _check(self, operation: str) -> None:
        if not self.up:
            raise self.error or BackendUnavailable("switched", operation, "it is switched off")


class Timer:
    """
    A monotonic clock that moves by hand.
    """

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def failover(primary: Switched, folder: Path, **options: Any) -> tuple[Backlog, FailoverExecutor, Timer]:
    """
    Return a backlog, its executor without a thread of its own, and the clock that its steps go by.
    """
    timer = Timer()
    settings: dict[str, Any] = {
        "background": False, "clock": StepClock(), "ids": CountingIds(), "monotonic": timer, **options,
    }  # fmt: skip
    executor = FailoverExecutor(primary.open, folder / "spool", **settings)
    return Backlog(executor, clock=settings["clock"], ids=settings["ids"]), executor, timer


def settle(executor: FailoverExecutor, timer: Timer, *, steps: int = 100) -> None:
    """
    Step until all is well, each step later than the one before.
    """
    for _ in range(steps):
        if executor.standing().state == "up" and not executor.standing().waiting:
            return
        timer.now += 2.0
        executor.step()
    raise AssertionError(f"never up again: {executor.standing()}")
