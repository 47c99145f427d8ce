"""
A clock and an id source that give the same values in every run.
"""

from __future__ import annotations

import threading
from itertools import count

from backlog_store.instants import Instant, add_seconds

__all__ = ["START", "CountingIds", "StepClock"]

START: Instant = "2026-03-01T09:30:00.000000Z"


class StepClock:
    """
    A clock that moves on by *step_s* seconds at each reading, and by `advance`. Safe for several threads.
    """

    def __init__(self, start: Instant = START, *, step_s: float = 1.0) -> None:
        self._now = start
        self._step_s = step_s
        self._lock = threading.Lock()

    def __call__(self) -> Instant:
        """
        Return the present instant, then move on by one step.
        """
        with self._lock:
            now = self._now
            self._now = add_seconds(now, self._step_s)
            return now

    def advance(self, seconds: float) -> None:
        """
        Move on (or, with a negative number, back) by *seconds*.
        """
        with self._lock:
            self._now = add_seconds(self._now, seconds)


class CountingIds:
    """
    An id source that counts: seeds of 32 hexadecimal digits, the first one 1. Safe for several threads.
    """

    def __init__(self, start: int = 1) -> None:
        self._numbers = count(start)

    def __call__(self) -> str:
        """
        Return the next seed.
        """
        return f"{next(self._numbers):032x}"
