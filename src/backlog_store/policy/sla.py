"""
The section `sla`: how soon an item is to be begun and closed, in hours or in working hours, and when that clock stops.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Literal

from msgspec import Meta, Struct, field

from backlog_store.policy.calendars import calendar_findings
from backlog_store.policy.findings import Finding
from backlog_store.policy.forms import When
from backlog_store.policy.matching import Subject
from backlog_store.policy.ordered import check_order, last_match

if TYPE_CHECKING:
    from backlog_store.policy import Policy

__all__ = ["Sla", "SlaTarget"]

_Hours = Annotated[float, Meta(ge=0.01, le=100_000)]


class SlaTarget(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """
    One target. Its conditions see the item as it is now. A time that is left out is none: it is never breached.
    """

    name: Annotated[str, Meta(description="What `show` and `explain` call it.", max_length=100)] = ""
    when: Annotated[When, Meta(description="Which items it is about; all, if left out.")] = field(default_factory=dict)
    unless: Annotated[When, Meta(description="Which of them it is not about.")] = field(default_factory=dict)
    first_move_hours: Annotated[_Hours | None, Meta(
        description="Hours from opening until its status is first changed.")] = None  # fmt: skip
    close_hours: Annotated[_Hours | None, Meta(description="Hours from opening until it is closed.")] = None
    calendar: Annotated[str, Meta(
        description="Only working hours of this calendar count; every hour, if left out.",
        max_length=100)] = ""  # fmt: skip
    pauses: Annotated[tuple[Literal["blocked", "snoozed"], ...], Meta(
        description="While an item is in one of these, no time passes.", max_length=2)] = ()  # fmt: skip
    none: Annotated[bool, Meta(description="They have no target at all.")] = False


class Sla(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """
    Targets. The last one that matches wins; where none does, there is none. Nothing is stored: see `rules.sla`.
    """

    targets: Annotated[tuple[SlaTarget, ...], Meta(
        description="In order: the last one that matches wins.", max_length=500)] = ()  # fmt: skip

    def decide(self, subject: Subject) -> tuple[int, SlaTarget] | None:
        """
        Return the target of an item, with its number.
        """
        return last_match(self.targets, subject)

    def check(self, policy: Policy) -> Iterator[Finding]:
        """
        Yield targets that can never hold, that say nothing, and calendars that are not.
        """
        yield from check_order(self.targets, "/sla/targets", policy, overlap="two targets for one thing")
        for number, target in enumerate(self.targets):
            here = f"/sla/targets/{number}"
            timed = target.first_move_hours is not None or target.close_hours is not None
            if timed == target.none:
                yield Finding(pointer=here, reason="a target has first_move_hours or close_hours, or says none: true")
            yield from calendar_findings(policy, target.calendar, f"{here}/calendar")
            for side, condition in (("when", target.when), ("unless", target.unless)):
                if "status" in condition:
                    reason = "status changes with the work, and the target would with it; pauses stop the clock"
                    yield Finding(pointer=f"{here}/{side}/status", reason=reason, at_key=True)
