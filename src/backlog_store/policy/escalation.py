"""
The section `escalation`: whom to tell, step by step, of an item that is overdue or that nobody touches.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Literal

from msgspec import Meta, Struct, field

from backlog_store.model import LIVE
from backlog_store.policy.calendars import calendar_findings
from backlog_store.policy.findings import Finding
from backlog_store.policy.forms import Label, Name, Reason, When
from backlog_store.policy.matching import Subject, admits
from backlog_store.policy.ordered import check_order, last_match

if TYPE_CHECKING:
    from backlog_store.policy import Policy

__all__ = ["Escalation", "EscalationRule", "Step", "StepClock"]

StepClock = Literal["overdue", "untouched"]
_Hours = Annotated[float, Meta(ge=0, le=100_000)]


class Step(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """
    One step: `overdue_hours` or `untouched_hours`. It fires once an episode of an item.
    """

    name: Annotated[Label, Meta(
        description="What it is called. Steps of several rules that share a name are one: an item fires it once.",
        )]  # fmt: skip
    overdue_hours: Annotated[_Hours | None, Meta(
        description="So many hours after the day that it was due (UTC); 0 is the moment when that day is over.",
        )] = None  # fmt: skip
    untouched_hours: Annotated[_Hours | None, Meta(
        description="So many hours after somebody last did something about it. Reports are not counted, nor are "
        "steps.")] = None  # fmt: skip
    notify: Annotated[tuple[Name, ...], Meta(
        description="Whom to tell, in words of whoever tells them. The store sends nothing itself.",
        max_length=50)] = ()  # fmt: skip
    message: Annotated[Reason, Meta(description="What to tell them.")] = ""

    @property
    def clock(self) -> StepClock:
        """
        Return which time it waits for.
        """
        return "overdue" if self.overdue_hours is not None else "untouched"

    @property
    def after_s(self) -> float:
        """
        Return how many seconds of that time have to pass.
        """
        hours = self.overdue_hours if self.overdue_hours is not None else self.untouched_hours
        return (hours or 0.0) * 3_600


class EscalationRule(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """
    One rule: its steps, in order. Its conditions see the item as it is now; only live items fire steps.
    """

    name: Annotated[str, Meta(description="What events and `explain` call it.", max_length=100)] = ""
    when: Annotated[When, Meta(description="Which items it is about; all, if left out.")] = field(default_factory=dict)
    unless: Annotated[When, Meta(description="Which of them it is not about.")] = field(default_factory=dict)
    calendar: Annotated[str, Meta(
        description="Only working hours of this calendar count; every hour, if left out.",
        max_length=100)] = ""  # fmt: skip
    pauses: Annotated[tuple[Literal["blocked", "snoozed"], ...], Meta(
        description="While an item is in one of these, no time passes and no step fires.",
        max_length=2)] = ("snoozed",)  # fmt: skip
    steps: Annotated[tuple[Step, ...], Meta(
        description="The steps; an empty list is none at all.", max_length=20)]  # fmt: skip


class Escalation(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """
    Rules for what has to be told. The last one that matches wins. Computed when asked for: see `rules.escalating`.
    """

    rules: Annotated[tuple[EscalationRule, ...], Meta(
        description="In order: the last one that matches wins.", max_length=200)] = ()  # fmt: skip

    def decide(self, subject: Subject) -> tuple[int, EscalationRule] | None:
        """
        Return the rule of an item, with its number.
        """
        return last_match(self.rules, subject)

    def least_hours(self) -> float | None:
        """
        Return after how many hours at the earliest a step fires on an untouched item; ``None`` if none ever does.
        """
        hours = (step.untouched_hours for rule in self.rules for step in rule.steps)
        return min((one for one in hours if one is not None), default=None)

    def check(self, policy: Policy) -> Iterator[Finding]:
        """
        Yield rules that never decide, steps that say nothing, come out of order or share a name, and wrong calendars.
        """
        yield from check_order(self.rules, "/escalation/rules", policy, overlap="two escalations of one thing")
        for number, rule in enumerate(self.rules):
            here = f"/escalation/rules/{number}"
            yield from calendar_findings(policy, rule.calendar, f"{here}/calendar")
            if not any(admits(rule.when, "status", status) for status in LIVE):
                yield Finding(pointer=f"{here}/when/status", reason="only live items fire steps: this never holds")
            yield from _check_steps(rule, f"{here}/steps", policy)


def _check_steps(rule: EscalationRule, pointer: str, policy: Policy) -> Iterator[Finding]:
    names: dict[str, int] = {}
    latest: dict[StepClock, Step] = {}
    for number, step in enumerate(rule.steps):
        here = f"{pointer}/{number}"
        if step.name in names:
            first = policy.lines.get(f"{pointer}/{names[step.name]}", 0)
            yield Finding(pointer=f"{here}/name", reason=f"{step.name!r} is already the name in line {first}")
        names.setdefault(step.name, number)
        if (step.overdue_hours is None) == (step.untouched_hours is None):
            yield Finding(pointer=here, reason="a step says one of the two: overdue_hours, untouched_hours")
            continue
        before = latest.get(step.clock)
        if before is not None and step.after_s <= before.after_s:
            reason = f"comes no later than {before.name!r} before it; put the steps in the order in which they fire"
            yield Finding(pointer=f"{here}/{step.clock}_hours", reason=reason)
        latest[step.clock] = step
