"""
The only module that reads the system's clock and its source of randomness.

Both are arguments of the store: `Clock()` answers an instant, `IdSource()` a fresh 128-bit seed in hexadecimal, from
which every id of one command is derived. Tests pass their own (`backlog_store.testing.clocks`).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime

from backlog_store.instants import Instant

__all__ = ["Clock", "IdSource", "system_clock", "system_ids"]

Clock = Callable[[], Instant]
IdSource = Callable[[], str]


def system_clock() -> Instant:
    """
    Return the present instant.
    """
    return datetime.now(UTC).isoformat("T", "microseconds")[:-6] + "Z"  # in place of +00:00


def system_ids() -> str:
    """
    Return a fresh random seed of 128 bits, as 32 hexadecimal digits.
    """
    return os.urandom(16).hex()
