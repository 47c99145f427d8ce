"""
The section `owners`: whose a problem is, by ordered rules and by CODEOWNERS files.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated

from msgspec import Meta, Struct, field

from backlog_store.model import LIMITS
from backlog_store.policy.codeowners import check_codeowners, owner_of_path, parse_codeowners
from backlog_store.policy.findings import Finding
from backlog_store.policy.forms import Name, When
from backlog_store.policy.matching import Subject, matches, paths_of
from backlog_store.policy.ordered import check_order

if TYPE_CHECKING:
    from backlog_store.policy import Policy

__all__ = ["OwnerRule", "Owners", "Ownership"]


class Ownership(Struct, frozen=True):
    """
    Who owns a problem and why: the rule's number, and file and line of CODEOWNERS where that decided.
    """

    owner: str
    number: int
    name: str
    file: str = ""
    line: int = 0
    also: tuple[str, ...] = ()


class OwnerRule(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """
    One rule: an owner, or a CODEOWNERS file that says whose the reported paths are.
    """

    name: Annotated[str, Meta(description="What events and `explain` call it.", max_length=100)] = ""
    when: Annotated[When, Meta(description="Which problems it is about; all, if left out.")] = field(
        default_factory=dict
    )
    unless: Annotated[When, Meta(description="Which of them it is not about.")] = field(default_factory=dict)
    owner: Annotated[str, Meta(description="Whose they are.", max_length=LIMITS.name)] = ""
    codeowners: Annotated[str, Meta(
        description="A CODEOWNERS file, its path relative to the policy file. Its lines stand at this place in the "
        "order; a problem whose path no line matches goes on to the rules before.", max_length=500)] = ""  # fmt: skip


class Owners(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """
    Rules for the owner. The last one that matches wins; where none does, what was reported stands.
    """

    rules: Annotated[tuple[OwnerRule, ...], Meta(
        description="In order: the last one that matches wins.", max_length=2_000)] = ()  # fmt: skip
    names: Annotated[dict[Name, Name], Meta(
        description='What the owners of CODEOWNERS files are called here: `"@org/payments": payments`. '
        "Others keep their name without the @.", max_length=2_000)] = field(default_factory=dict)  # fmt: skip

    def decide(self, subject: Subject, files: Mapping[str, str]) -> Ownership | None:
        """
        Return whose a problem is; ``None`` where no rule speaks of it. *files* are those of the policy.
        """
        for number in range(len(self.rules) - 1, -1, -1):
            rule = self.rules[number]
            if not matches(subject, rule.when, rule.unless):
                continue
            if not rule.codeowners:
                return Ownership(rule.owner, number, rule.name)
            found = self._of_paths(rule, number, subject, files.get(rule.codeowners, ""))
            if found is not None:
                return found
        return None

    def _of_paths(self, rule: OwnerRule, number: int, subject: Subject, text: str) -> Ownership | None:
        owned = parse_codeowners(text)
        for path in paths_of(subject):
            line = owner_of_path(owned, path)
            if line is not None:
                names = tuple(self.names.get(owner, owner.removeprefix("@"))[: LIMITS.name] for owner in line.owners)
                return Ownership(names[0] if names else "", number, rule.name, rule.codeowners, line.line, names[1:])
        return None

    def files_wanted(self) -> Iterator[str]:
        """
        Yield the files that the rules name.
        """
        return (rule.codeowners for rule in self.rules if rule.codeowners)

    def check(self, policy: Policy) -> Iterator[Finding]:
        """
        Yield overlapping owners, rules that never decide, files that are missing, and the faults of those files.
        """
        partial = {number for number, rule in enumerate(self.rules) if rule.codeowners}
        yield from check_order(self.rules, "/owners/rules", policy, overlap="overlapping owners", partial=partial)
        used: set[str] = set()
        for number, rule in enumerate(self.rules):
            here = f"/owners/rules/{number}"
            if bool(rule.owner) == bool(rule.codeowners):
                yield Finding(pointer=here, reason="gives an owner, or names a codeowners file: one of the two")
            for side, condition in (("when", rule.when), ("unless", rule.unless)):
                for name in sorted({"owner", "status"} & set(condition)):
                    reason = f"{name} changes with the work; rules for owners rest on what was reported"
                    yield Finding(pointer=f"{here}/{side}/{name}", reason=reason, at_key=True)
            if rule.codeowners:
                text = policy.files.get(rule.codeowners)
                if text is None:
                    reason = f"the file {rule.codeowners!r} is not there (its path is relative to the policy file)"
                    yield Finding(pointer=f"{here}/codeowners", reason=reason)
                elif rule.codeowners not in used:
                    used.add(rule.codeowners)
                    yield from check_codeowners(text, rule.codeowners)
        known = {owner for file in used for one in parse_codeowners(policy.files[file]) for owner in one.owners}
        for name in self.names:
            if name not in known:
                yield Finding(pointer=f"/owners/names/{name.replace('~', '~0').replace('/', '~1')}", warning=True,
                              at_key=True, reason=f"{name!r} owns nothing in the CODEOWNERS files")  # fmt: skip
