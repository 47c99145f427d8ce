"""
The only module that reads the system's clock and its source of randomness.

Both are arguments of the store: `Clock()` answers an instant, `IdSource()` a fresh 128-bit seed in hexadecimal, from
which every id of one command is derived. Tests pass their own (`backlog_store.testing.clocks`).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from time import time_ns

from backlog_store.instants import Instant

__all__ = ["Clock", "IdSource", "system_clock", "system_ids"]

Clock = Callable[[], Instant]
IdSource = Callable[[], str]


def system_clock() -> Instant:
    """
    Return the present instant.
    """
    second, micros = divmod(time_ns() // 1_000, 1_000_000)
    return f"{_text_of_second(second)}.{micros:06d}Z"


@lru_cache(maxsize=1)
def _text_of_second(second: int) -> str:
    # Dates cost more than most that a write does (10 µs after a wait for the disk): once a second will do.
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def system_ids() -> str:
    """
    Return a fresh random seed of 128 bits, as 32 hexadecimal digits.
    """
    return os.urandom(16).hex()
