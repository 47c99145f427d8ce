"""
The section `closing`: when absence closes an item, and how much one run may close and reopen unasked.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

from msgspec import Meta, Struct

from backlog_store.policy.findings import Finding

if TYPE_CHECKING:
    from backlog_store.policy import Policy

__all__ = ["DEFAULT_CLOSING", "MISSES_MAX", "Closing"]

#: Complete runs that a lane remembers (`rules.lanes`): no policy may ask for more misses.
MISSES_MAX = 20


class Closing(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """
    What a run may do by itself. Without this section the defaults hold.
    """

    misses: Annotated[int, Meta(
        description="So many complete runs in a row must have missed an item before it is closed.", ge=1,
        le=MISSES_MAX)] = 2  # fmt: skip
    min_age_hours: Annotated[float, Meta(
        description="Its source last saw it at least so long ago. The same report within that time is no further run.",
        ge=0, le=8_784)] = 1.0  # fmt: skip
    close_share: Annotated[float, Meta(
        description="A run closes at most this share of the live items of its scope unasked; beyond, it is parked.",
        ge=0, le=1)] = 0.2  # fmt: skip
    close_floor: Annotated[int, Meta(description="So many it may close in any case.", ge=0, le=1_000_000)] = 10
    reopen_share: Annotated[float, Meta(
        description="A run reopens at most so many items as this share of the live ones of its scope.", ge=0,
        le=100)] = 0.2  # fmt: skip
    reopen_floor: Annotated[int, Meta(description="So many it may reopen in any case.", ge=0, le=1_000_000)] = 10
    short_share: Annotated[float, Meta(
        description="A run that reports less than this share of the least of the three complete runs before it is "
        "short, and proves nothing.", ge=0, le=1)] = 0.5  # fmt: skip
    short_floor: Annotated[int, Meta(
        description="It is not short if it reports less than so many problems fewer.", ge=0,
        le=1_000_000)] = 10  # fmt: skip

    def check(self, policy: Policy) -> Iterator[Finding]:  # noqa: ARG002  (a section's signature)
        """
        Yield bounds that let a run close everything unasked.
        """
        if self.close_share == 1:
            reason = "a run may close its whole scope unasked: none is ever parked for closing"
            yield Finding(pointer="/closing/close_share", warning=True, reason=reason)
        if self.misses == 1 and self.min_age_hours == 0:
            yield Finding(pointer="/closing/misses", warning=True,
                          reason="one run that misses an item closes it at once")  # fmt: skip


DEFAULT_CLOSING = Closing()
