"""
How often each credential may ask: a bucket of tokens a name, filled as time goes by. Counted in this process alone.
"""

from __future__ import annotations

from collections import OrderedDict
from math import ceil
from threading import Lock

from backlog_store.web.problems import HttpProblem

__all__ = ["Rates"]

_KEPT = 10_000


class Rates:
    """
    *per_s* requests a second for each name, and *burst* of them at once after a rest. 0 a second: as many as they like.

    Bounded: of more than 10,000 names, those who asked longest ago are forgotten; their buckets are full by then.
    """

    def __init__(self, per_s: float, burst: float = 0) -> None:
        self.per_s = per_s
        self.burst = burst or 2 * per_s
        self._lock = Lock()
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()  # how much is left, as of when

    def check(self, name: str, now: float) -> None:
        """
        Take one from the bucket of *name*; *now* in seconds, of any clock that never goes back.

        Raises `HttpProblem` (429) that says when there is one again.
        """
        if self.per_s <= 0:
            return
        with self._lock:
            left, at = self._left.pop(name, (self.burst, now))
            left = min(self.burst, left + (now - at) * self.per_s)
            is_allowed = left >= 1
            self._left[name] = (left - 1 if is_allowed else left, now)
            while len(self._left) > _KEPT:
                self._left.popitem(last=False)
        if not is_allowed:
            wait = max(1, ceil((1 - left) / self.per_s))
            raise HttpProblem(429, f"more than {self.per_s:g} requests a second", code="too_many_requests",
                              hint=f"Try again in {wait} s; report many problems as one batch.",
                              headers={"Retry-After": str(wait)})  # fmt: skip
