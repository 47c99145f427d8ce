"""
Ordered rules, of which the last one that matches wins: finding it, and telling those that can never win.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Sequence
from typing import TYPE_CHECKING, Protocol, TypeVar

from backlog_store.policy.findings import Finding
from backlog_store.policy.matching import Condition, Subject, covers, matches

if TYPE_CHECKING:
    from backlog_store.policy import Policy

__all__ = ["Rule", "called", "check_order", "last_match"]


class Rule(Protocol):
    """
    What an ordered rule has in any section.
    """

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def when(self) -> Condition: ...  # noqa: D102
    @property
    def unless(self) -> Condition: ...  # noqa: D102


R = TypeVar("R", bound=Rule)


def last_match(rules: Sequence[R], subject: Subject) -> tuple[int, R] | None:
    """
    Return the last rule that matches, with its number.
    """
    for number in range(len(rules) - 1, -1, -1):
        rule = rules[number]
        if matches(subject, rule.when, rule.unless):
            return number, rule
    return None


def called(rule: Rule, number: int) -> str:
    """
    Return what a rule is called: its name, or its number.
    """
    return rule.name or f"rule {number + 1}"


def _always(_wide: Rule, _narrow: Rule) -> bool:
    return True


def check_order(rules: Sequence[R], pointer: str, policy: Policy, *, overlap: str, partial: Container[int] = (),
                around: Callable[[R, R], bool] = _always) -> Iterator[Finding]:  # fmt: skip
    """
    Yield rules that never decide because a later one matches all that they match, and names that stand twice.

    Two with the very same conditions are told as *overlap*. The *partial* ones (by number) leave some of what they
    match to those before them, so they take nothing from them for sure. *around* tells whether the first of two rules
    is about all that the second is, in what they have beside their conditions.
    """
    names: dict[str, int] = {}
    for number, rule in enumerate(rules):
        here = f"{pointer}/{number}"
        if rule.name and rule.name in names:
            first = policy.lines.get(f"{pointer}/{names[rule.name]}", 0)
            yield Finding(pointer=f"{here}/name", reason=f"{rule.name!r} is already the name in line {first}")
        names.setdefault(rule.name, number)
        for later in range(number + 1, len(rules)):
            other = rules[later]
            if later in partial or not around(other, rule):
                continue
            if not covers(other.when, other.unless, rule.when, rule.unless):
                continue
            line = policy.lines.get(f"{pointer}/{later}", 0)
            if around(rule, other) and covers(rule.when, rule.unless, other.when, other.unless):
                reason = f"{overlap}: {called(other, later)!r} in line {line} is about exactly the same"
            else:
                reason = f"never decides: {called(other, later)!r} in line {line} matches all of this, and the last one"
                reason += " that matches wins. Put the general rule first"
            yield Finding(pointer=here, reason=reason)
            break
