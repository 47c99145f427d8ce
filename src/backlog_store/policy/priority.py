"""
The section `priority`: how urgent a problem is, decided by ordered rules over what was reported.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

from msgspec import Meta, Struct, field

from backlog_store.model import Priority
from backlog_store.policy.findings import Finding
from backlog_store.policy.forms import When
from backlog_store.policy.matching import Subject
from backlog_store.policy.ordered import check_order, last_match

if TYPE_CHECKING:
    from backlog_store.policy import Policy

__all__ = ["Priorities", "PriorityRule"]


class PriorityRule(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """
    One rule. Its conditions see the priority as it was reported: the highest of the live claims.
    """

    name: Annotated[str, Meta(description="What events and `explain` call it.", max_length=100)] = ""
    when: Annotated[When, Meta(description="Which problems it is about; all, if left out.")] = field(
        default_factory=dict
    )
    unless: Annotated[When, Meta(description="Which of them it is not about.")] = field(default_factory=dict)
    set: Annotated[Priority, Meta(description="The priority that they get.")]


class Priorities(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """
    Rules for the priority. The last one that matches wins; where none does, what was reported stands.
    """

    rules: Annotated[tuple[PriorityRule, ...], Meta(
        description="In order: the last one that matches wins.", max_length=500)] = ()  # fmt: skip

    def decide(self, subject: Subject) -> tuple[int, PriorityRule] | None:
        """
        Return the rule that decides about a problem, with its number; *subject* has the priority as reported.
        """
        return last_match(self.rules, subject)

    def check(self, policy: Policy) -> Iterator[Finding]:
        """
        Yield rules that can never decide, and those whose conditions rest on what they are not told.
        """
        yield from check_order(self.rules, "/priority/rules", policy, overlap="two priorities for one thing")
        for number, rule in enumerate(self.rules):
            for side, condition in (("when", rule.when), ("unless", rule.unless)):
                for name in sorted({"owner", "status"} & set(condition)):
                    reason = f"{name} changes with the work; priority follows from what was reported"
                    yield Finding(pointer=f"/priority/rules/{number}/{side}/{name}", reason=reason, at_key=True)
