"""
The section `wip`: how much one name may work on at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

from msgspec import Meta, Struct

from backlog_store.model import LIMITS
from backlog_store.policy.findings import Finding

if TYPE_CHECKING:
    from backlog_store.policy import Policy

__all__ = ["Wip", "WipLimit"]


class WipLimit(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """
    One limit, of one name or of any, in one env or in each.
    """

    limit: Annotated[int, Meta(
        description="So many items, claimed or owned in progress, at the same time in one env.", ge=0,
        le=10_000)]  # fmt: skip
    owner: Annotated[str, Meta(description="Whose; anybody's, if left out.", max_length=LIMITS.name)] = ""
    env: Annotated[str, Meta(description="Where; in each env, if left out.", max_length=LIMITS.env)] = ""


class Wip(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """
    Limits of work in progress. The last one that matches wins; where none does, there is no limit.
    """

    limits: Annotated[tuple[WipLimit, ...], Meta(
        description="In order: the last one that matches wins.", max_length=1_000)] = ()  # fmt: skip

    def limit_of(self, owner: str, env: str) -> int | None:
        """
        Return how much *owner* may work on in *env*; ``None`` for any number.
        """
        for limit in reversed(self.limits):
            if limit.owner in ("", owner) and limit.env in ("", env):
                return limit.limit
        return None

    def check(self, policy: Policy) -> Iterator[Finding]:  # noqa: ARG002  (a section's signature)
        """
        Yield limits that never hold, because a later one is about all that they are about.
        """
        for number, limit in enumerate(self.limits):
            for later in self.limits[number + 1 :]:
                if later.owner in ("", limit.owner) and later.env in ("", limit.env):
                    yield Finding(pointer=f"/wip/limits/{number}",
                                  reason="never holds: a later limit is about all that it is about")  # fmt: skip
                    break
