"""
The section `due`: when an item that is opened has to be done, where whoever opens it names no day.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

from msgspec import Meta, Struct, field

from backlog_store.instants import Day, Instant, day_of, plus_days
from backlog_store.policy.calendars import calendar_findings, working_time
from backlog_store.policy.findings import Finding
from backlog_store.policy.forms import When
from backlog_store.policy.matching import Subject
from backlog_store.policy.ordered import check_order, last_match

if TYPE_CHECKING:
    from backlog_store.policy import Policy

__all__ = ["Due", "DueRule"]


class DueRule(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """
    One rule: `days`, or `business_days` of a calendar, or `none`. Its conditions see the item as it is opened.
    """

    name: Annotated[str, Meta(description="What events and `explain` call it.", max_length=100)] = ""
    when: Annotated[When, Meta(description="Which problems it is about; all, if left out.")] = field(
        default_factory=dict
    )
    unless: Annotated[When, Meta(description="Which of them it is not about.")] = field(default_factory=dict)
    days: Annotated[Annotated[int, Meta(ge=0, le=36_500)] | None, Meta(
        description="Days until it is due; 0 is the same day.")] = None  # fmt: skip
    business_days: Annotated[Annotated[int, Meta(ge=0, le=5_000)] | None, Meta(
        description="Working days of `calendar` until it is due; 0 is the same day, or the next working day.",
        )] = None  # fmt: skip
    calendar: Annotated[str, Meta(
        description="The calendar; with `days`, its zone says which day it is. UTC, if left out.",
        max_length=100)] = ""  # fmt: skip
    none: Annotated[bool, Meta(description="They are not due at all.")] = False


class Due(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """
    Rules for the day an item is due. The last one that matches wins; where none does, the item gets none.
    """

    rules: Annotated[tuple[DueRule, ...], Meta(
        description="In order: the last one that matches wins.", max_length=500)] = ()  # fmt: skip

    def decide(self, subject: Subject, seen_at: Instant, policy: Policy) -> tuple[Day, dict[str, Any]]:
        """
        Return the day that a problem seen at an instant is due, and what its event keeps about it; empty for none.
        """
        found = last_match(self.rules, subject)
        if found is None:
            return "", {}
        number, rule = found
        said = policy.said_at(f"/due/rules/{number}", rule.name)
        if rule.none:
            return "", {**said, "due": "none"}
        calendar = working_time(policy, rule.calendar)
        if rule.calendar:
            said["calendar"] = rule.calendar
        if rule.business_days is not None and calendar is not None:
            said["business_days"] = rule.business_days
            return calendar.after(calendar.day_of(seen_at), rule.business_days), said
        today = day_of(seen_at) if calendar is None else calendar.day_of(seen_at).isoformat()
        days = rule.days or 0
        return plus_days(today, days), said | {"days": days}

    def check(self, policy: Policy) -> Iterator[Finding]:
        """
        Yield rules that can never decide, that say nothing or two things, and calendars that are not.
        """
        yield from check_order(self.rules, "/due/rules", policy, overlap="two due dates for one thing")
        for number, rule in enumerate(self.rules):
            here = f"/due/rules/{number}"
            said = [rule.days is not None, rule.business_days is not None, rule.none]
            if sum(said) != 1:
                yield Finding(pointer=here, reason="a rule says one of the three: days, business_days, none: true")
            if rule.business_days is not None and not rule.calendar:
                yield Finding(pointer=f"{here}/business_days", reason="needs a calendar that says which days these are")
            yield from calendar_findings(policy, rule.calendar, f"{here}/calendar")
            for side, condition in (("when", rule.when), ("unless", rule.unless)):
                if "status" in condition:
                    reason = "status changes with the work; a due date is given when an item is opened"
                    yield Finding(pointer=f"{here}/{side}/status", reason=reason, at_key=True)
