"""
The section `retention`: how long what is over stays.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

from msgspec import Meta, Struct

from backlog_store.model import LIMITS
from backlog_store.policy.findings import Finding
from backlog_store.policy.ordered import called

if TYPE_CHECKING:
    from backlog_store.policy import Policy

__all__ = ["CLOSED_DAYS", "Retention"]

#: How long a closed item stays that nobody touches, where nobody says otherwise.
CLOSED_DAYS = 180
_DAYS_MAX = 36_500
_DAY_S = 86_400


class Retention(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """
    What `backlog cleanup` lets go, and no earlier. What was decided about a key outlives its item in any case.
    """

    closed_days: Annotated[int, Meta(
        description="So many days closed items stay that nobody touches.", ge=0,
        le=_DAYS_MAX)] = CLOSED_DAYS  # fmt: skip
    history_days: Annotated[Annotated[int, Meta(ge=1, le=_DAYS_MAX)] | None, Meta(
        description="So many days the history of what stays is kept; then a baseline takes the place of what is older. "
        "As long as `--history` says, if left out.")] = None  # fmt: skip
    request_days: Annotated[int, Meta(
        description=f"So many days a request id is refused whose answer was let go ({LIMITS.answer_days} days after "
        "it was given), instead of being taken for a new one.", ge=LIMITS.answer_days,
        le=_DAYS_MAX)] = LIMITS.request_days  # fmt: skip

    def check(self, policy: Policy) -> Iterator[Finding]:
        """
        Yield that items are gone before a window of `reopen` is over in which they should go on.
        """
        for number, rule in enumerate(policy.reopen.rules if policy.reopen is not None else ()):
            if rule.then == "same_episode" and rule.within > self.closed_days * _DAY_S:
                reason = f"the window of {called(rule, number)!r} in reopen is longer: what was purged begins anew"
                yield Finding(pointer="/retention/closed_days", warning=True, reason=reason)
