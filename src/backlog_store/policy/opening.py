"""
The sections `activation` and `budgets`: when a reported problem becomes an item, and how many a source may open.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated

from msgspec import Meta, Struct, field

from backlog_store.policy.findings import Finding
from backlog_store.policy.forms import Label, When
from backlog_store.policy.matching import Subject, matches

if TYPE_CHECKING:
    from backlog_store.policy import Policy

__all__ = ["SIGHTINGS_MAX", "Activation", "ActivationRule", "Budget", "Budgets"]

#: Instants that are kept of a problem that is not open yet.
SIGHTINGS_MAX = 100


class ActivationRule(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """
    A problem opens an item only once it was reported often enough, and may be closed once it is reported too seldom.
    """

    name: Annotated[Label, Meta(description="What it is called where it is told.")]
    when: Annotated[When, Meta(description="Which problems it is about; all, if left out.")] = field(
        default_factory=dict
    )
    unless: Annotated[When, Meta(description="Which of them open at once all the same.")] = field(default_factory=dict)
    sightings: Annotated[int, Meta(description="So many reports of it …", ge=2, le=SIGHTINGS_MAX)]
    within_hours: Annotated[float, Meta(description="… within so many hours open it.", gt=0, le=8_784)] = 24.0
    close_below: Annotated[Annotated[int, Meta(ge=0, le=SIGHTINGS_MAX)] | None, Meta(
        description="Fewer reports than that …; lower than `sightings`, so that an item does not flap. With it a fixed "
        "item returns as it was opened, too.")] = None  # fmt: skip
    close_hours: Annotated[Annotated[float, Meta(gt=0, le=8_784)] | None, Meta(
        description="… within so many hours close it as fixed; as `within_hours`, if left out.")] = None  # fmt: skip

    @property
    def quiet_hours(self) -> float:
        """
        Return over how many hours the lower threshold is counted.
        """
        return self.within_hours if self.close_hours is None else self.close_hours


class Activation(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """
    Which problems have to be seen more than once.
    """

    rules: Annotated[tuple[ActivationRule, ...], Meta(description="The first one that matches holds.", max_length=200)]

    def rule(self, subject: Subject) -> tuple[int, ActivationRule] | None:
        """
        Return the rule for a problem, with its number.
        """
        return next(((number, rule) for number, rule in enumerate(self.rules)
                     if matches(subject, rule.when, rule.unless)), None)  # fmt: skip

    def check(self, policy: Policy) -> Iterator[Finding]:
        """
        Yield rules that no problem can reach, and names that stand twice.
        """
        yield from _check_names(policy, "/activation/rules", self.rules)
        for number, rule in enumerate(self.rules):
            yield from _check_lower(rule, f"/activation/rules/{number}")


class Budget(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """
    How many items each source may open within a window; what is beyond is kept in one item for all of it.
    """

    name: Annotated[Label, Meta(description="What it is called where it is told.")]
    when: Annotated[When, Meta(description="Which problems it is about; all, if left out.")] = field(
        default_factory=dict
    )
    unless: Annotated[When, Meta(description="Which of them are not counted.")] = field(default_factory=dict)
    creations: Annotated[int, Meta(description="So many items a source and env …", ge=1, le=1_000_000)]
    within_hours: Annotated[int, Meta(description="… within so many hours.", ge=1, le=8_784)] = 24


class Budgets(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """
    Bounds on floods.
    """

    rules: Annotated[tuple[Budget, ...], Meta(description="The first one that matches holds.", max_length=200)]

    def rule(self, subject: Subject) -> tuple[int, Budget] | None:
        """
        Return the budget for a problem, with its number.
        """
        return next(((number, rule) for number, rule in enumerate(self.rules)
                     if matches(subject, rule.when, rule.unless)), None)  # fmt: skip

    def check(self, policy: Policy) -> Iterator[Finding]:
        """
        Yield budgets that no problem can reach, and names that stand twice.
        """
        yield from _check_names(policy, "/budgets/rules", self.rules)


def _check_lower(rule: ActivationRule, pointer: str) -> Iterator[Finding]:
    """
    Yield lower thresholds that are never come to, are none, or are come to by what was just opened.
    """
    key, reason = "close_below", ""
    if rule.close_below is None:
        key = "close_hours"
        reason = "says over which time close_below is counted; give it, too" if rule.close_hours is not None else ""
    elif rule.close_below == 0:
        reason = "a threshold that can never be left: nothing is reported fewer than 0 times"
    elif rule.close_below >= rule.sightings:
        reason = f"is not lower than the {rule.sightings} sightings that open it: it would flap"
    elif rule.quiet_hours < rule.within_hours:
        key = "close_hours"
        reason = f"is shorter than the {rule.within_hours:g} hours within which it is opened: "
        reason += "what was just opened may be below it at once"
    if reason:
        yield Finding(pointer=f"{pointer}/{key}", reason=reason)


def _check_names(policy: Policy, pointer: str, rules: Sequence[ActivationRule | Budget],
                 ) -> Iterator[Finding]:  # fmt: skip
    seen: dict[str, int] = {}
    for number, rule in enumerate(rules):
        if rule.name in seen:
            first = policy.lines.get(f"{pointer}/{seen[rule.name]}", 0)
            yield Finding(
                pointer=f"{pointer}/{number}/name", reason=f"{rule.name!r} is already the name in line {first}"
            )
        seen.setdefault(rule.name, number)
        if number + 1 < len(rules) and not rule.when and not rule.unless:
            yield Finding(pointer=f"{pointer}/{number + 1}", at_key=True,
                          reason=f"is never reached: {rule.name!r} before it is about every problem")  # fmt: skip
            return
