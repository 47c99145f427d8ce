"""
The section `reopen`: what becomes of a closed item that is reported again, by the reason of its closing and its time.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Literal

from msgspec import Meta, Struct, field

from backlog_store.instants import Instant, to_datetime
from backlog_store.model import CLOSING_REASONS, ClosingReason
from backlog_store.policy.findings import Finding
from backlog_store.policy.forms import Duration, When
from backlog_store.policy.matching import Subject, matches
from backlog_store.policy.ordered import check_order

if TYPE_CHECKING:
    from backlog_store.policy import Policy

__all__ = ["ReopenRule", "Reopening"]

#: Ten years; no window is longer.
_LONGEST_S = 315_360_000
#: What people decide. (That something is fixed is what a report can disprove.)
_DECISIONS = tuple(reason for reason in CLOSING_REASONS if reason != "fixed")


class ReopenRule(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """
    One rule, with its window of time after the closing. Its conditions see the problem as it is reported again.
    """

    name: Annotated[str, Meta(description="What events and `explain` call it.", max_length=100)] = ""
    reason: Annotated[tuple[ClosingReason, ...], Meta(
        description="Only what was closed for one of these reasons; for any, if left out.", min_length=1,
        max_length=6)] = CLOSING_REASONS  # fmt: skip
    when: Annotated[When, Meta(description="Which problems it is about; all, if left out.")] = field(
        default_factory=dict
    )
    unless: Annotated[When, Meta(description="Which of them it is not about.")] = field(default_factory=dict)
    after: Annotated[Duration, Meta(
        description="From so long after the closing (of an accepted risk: after its end).", ge=0,
        le=_LONGEST_S)] = 0  # fmt: skip
    within: Annotated[Duration, Meta(
        description="Until so long after it; the longest is without an end.", ge=1,
        le=_LONGEST_S)] = _LONGEST_S  # fmt: skip
    then: Annotated[Literal["new_episode", "same_episode", "stay_closed"], Meta(
        description="`new_episode`: it is open anew, with a new due date, and nobody holds its status and owner. "
        "`same_episode`: the work goes on; due date, owner, clocks and what people hold stay. `stay_closed`: the "
        "report is counted.")]  # fmt: skip

    @property
    def has_end(self) -> bool:
        """
        Tell whether its window ends.
        """
        return self.within < _LONGEST_S

    def holds(self, reason: str, elapsed_s: float) -> bool:
        """
        Tell whether it is about a closing for this reason, so many seconds ago.
        """
        return reason in self.reason and self.after <= elapsed_s and (not self.has_end or elapsed_s < self.within)


class Reopening(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """
    Rules for closed problems that are reported again. The last one that matches wins.

    Where none does, what was fixed opens a new episode, and so does an accepted risk past its end; all else stays
    closed. A risk stays accepted until its end, and a report from before the closing changes nothing, whatever a rule
    says.
    """

    rules: Annotated[tuple[ReopenRule, ...], Meta(
        description="In order: the last one that matches wins.", max_length=200)] = ()  # fmt: skip

    def decide(self, subject: Subject, reason: str, since: Instant, seen_at: Instant) -> tuple[int, ReopenRule] | None:
        """
        Return the rule for what was closed at *since* for a reason, and is seen again, with its number.
        """
        elapsed_s = max(0.0, (to_datetime(seen_at) - to_datetime(since)).total_seconds())
        for number in range(len(self.rules) - 1, -1, -1):
            rule = self.rules[number]
            if rule.holds(reason, elapsed_s) and matches(subject, rule.when, rule.unless):
                return number, rule
        return None

    def check(self, policy: Policy) -> Iterator[Finding]:
        """
        Yield rules that can never decide, windows that never open, and those that undo at once what people decide.
        """
        yield from check_order(self.rules, "/reopen/rules", policy, overlap="two answers to one return", around=_around)
        for number, rule in enumerate(self.rules):
            here = f"/reopen/rules/{number}"
            if rule.after >= rule.within:
                yield Finding(pointer=f"{here}/within", reason="ends before `after` lets it begin: it never holds")
            for side, condition in (("when", rule.when), ("unless", rule.unless)):
                for name in sorted({"owner", "status"} & set(condition)):
                    reason = f"{name} is none of what is reported again; the rule sees the report"
                    yield Finding(pointer=f"{here}/{side}/{name}", reason=reason, at_key=True)
            decided = [reason for reason in rule.reason if reason in _DECISIONS and reason != "accepted_risk"]
            if decided and rule.then != "stay_closed" and not rule.after:
                yield Finding(pointer=here, warning=True,
                              reason=f"the next report undoes what people decide as {', '.join(decided)}; "
                              "`after` leaves it some time")  # fmt: skip
            if "fixed" in rule.reason and rule.then == "stay_closed" and not rule.has_end:
                reason = "what was fixed and comes back is never open again; `within` lets it return"
                yield Finding(pointer=here, warning=True, reason=reason)


def _around(wide: ReopenRule, narrow: ReopenRule) -> bool:
    return set(narrow.reason) <= set(wide.reason) and wide.after <= narrow.after and narrow.within <= wide.within
