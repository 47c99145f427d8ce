"""
The breaker: which state the failover executor is in, and when the primary is to be tried again.

::

    degraded ──answered──▶ replaying ──drained──▶ up
        ▲                   │     ▲               │
        └──────failed───────┘     └───accepted────┤
        └──────────────────failed─────────────────┘

A value, not an object: each input gives the next breaker. It does no I/O and reads no clock. Times are seconds on a
clock that never jumps (`time.monotonic`).
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

__all__ = ["Breaker", "State"]

State = Literal["up", "degraded", "replaying"]

#: The primary is tried again after so many seconds, twice as long after each failure, up to the longest pause.
PAUSE_FIRST_S = 0.05
PAUSE_MAX_S = 1.0


class Breaker(Struct, frozen=True):
    """
    One state: *since* when, *failures* in a row without a drain that ended, and when to probe (*probe_at*).

    At the start nothing is known: degraded, to be probed at once.
    """

    state: State = "degraded"
    since: float = 0.0
    failures: int = 0
    probe_at: float = 0.0

    @property
    def is_direct(self) -> bool:
        """
        Tell whether commands go to the primary.
        """
        return self.state == "up"

    @property
    def is_away(self) -> bool:
        """
        Tell whether the primary is taken to be away.
        """
        return self.state == "degraded"

    def failed(self, now: float) -> Breaker:
        """
        The primary did not answer, or not as it should: probe it later.
        """
        pause = min(PAUSE_FIRST_S * 2 ** min(self.failures, 16), PAUSE_MAX_S)
        since = self.since if self.state == "degraded" else now
        return Breaker(state="degraded", since=since, failures=self.failures + 1, probe_at=now + pause)

    def answered(self, now: float) -> Breaker:
        """
        The primary answered a probe: what was accepted goes there first.
        """
        return replace(self, state="replaying", since=now) if self.state == "degraded" else self

    def recovered(self, now: float) -> Breaker:
        """
        The primary answered a probe, and nothing waits.
        """
        return self.answered(now).drained(now)

    def accepted(self, now: float) -> Breaker:
        """
        Something waits in the spool, put there by this process or another one.
        """
        return replace(self, state="replaying", since=now) if self.state == "up" else self

    def drained(self, now: float) -> Breaker:
        """
        Nothing waits any more.
        """
        return Breaker(state="up", since=now) if self.state == "replaying" else self

    def due_in(self, now: float) -> float:
        """
        Return in how many seconds the next probe is due; 0 for now, and where no probe is needed.
        """
        return max(0.0, self.probe_at - now) if self.state == "degraded" else 0.0
