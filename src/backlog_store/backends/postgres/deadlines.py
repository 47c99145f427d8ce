"""
How long each class of statement may take. All in seconds; every one is a named setting.
"""

from __future__ import annotations

import time
from typing import ClassVar

from msgspec import Struct

from backlog_store.errors import ConfigError

__all__ = ["Deadlines", "moment_after", "seconds_until"]


class Deadlines(Struct, frozen=True, kw_only=True):
    """
    The longest time that a call may take, by what it does. They hold on a server that is silent or frozen, too.

    *connect_s* is for getting a connection; *read_s* and *write_s* for one `read` or `write` with all its statements
    and repetitions (the caller's own function is not interrupted); *batch_s* for a write of more than `BATCH` changes,
    for a read without a limit, and for each exchange behind one in the same `read` (an export, a proof of the store);
    *migration_s* for bringing the tables up to date.
    """

    #: A write of more changes than this is a batch.
    BATCH: ClassVar[int] = 100

    connect_s: float
    read_s: float
    write_s: float
    batch_s: float
    migration_s: float

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            seconds = getattr(self, name)
            if not 0.01 <= seconds <= 86_400:
                raise ConfigError(name, str(seconds), "a deadline is between 0.01 s and one day")


def moment_after(seconds: float) -> float:
    """
    Return the moment *seconds* from now, on the clock that never jumps.
    """
    return time.monotonic() + seconds


def seconds_until(moment: float) -> float:
    """
    Return how many seconds are left until *moment*; 0 if it has passed.
    """
    return max(0.0, moment - time.monotonic())
