"""
How a report is taken in, and the account of what became of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from typing import Any

from msgspec import Struct, field

from backlog_store import commands as c
from backlog_store.intake import Notice
from backlog_store.model import LIMITS, PRIORITIES
from backlog_store.planning import Planned

__all__ = ["MAIN", "VERDICTS", "Account", "FailOn", "RunPlan", "RunTold", "Taking", "branch_of", "opens_on"]

VERDICTS = ("created", "reopened", "updated", "unchanged", "suppressed", "held", "closed", "accepted", "refused")
_KINDS = ("new", "reopened", "any")
#: What the default branch is called where nobody says.
MAIN = ("main", "master")


class FailOn(Struct, frozen=True):
    """
    When a pipeline is to fail: ``new:P1`` is any new problem of priority P1 or P0.
    """

    kind: str
    priority: str = "P3"

    @classmethod
    def parse(cls, text: str) -> FailOn:
        """
        Return what ``KIND[:PRIORITY]`` means. Raises `ValueError`.
        """
        kind, _, priority = text.partition(":")
        if kind not in _KINDS:
            raise ValueError(f"{text!r}: one of {', '.join(_KINDS)}, with :P0 to :P3 behind it")
        priority = priority.upper() or "P3"
        if priority not in PRIORITIES:
            raise ValueError(f"{text!r}: the priority is one of {', '.join(PRIORITIES)}")
        return cls(kind, priority)

    def holds(self, kind: str, priority: str) -> bool:
        """
        Tell whether a problem of this kind and priority is one to fail on.
        """
        return priority <= self.priority and self.kind in ("any", kind)

    def __str__(self) -> str:
        return f"{self.kind}:{self.priority}"


class RunPlan(Struct, frozen=True, kw_only=True):
    """
    The run that a report is: one that was begun (`id`), or one of its own over `scope`, under a `name`.
    """

    id: str = ""
    scope: c.RunScope
    name: str = ""
    complete: bool = False
    expected: int | None = None


class RunTold(Struct, kw_only=True):
    """
    What became of a run, and the outcomes of the items that it closed, reopened or held back.
    """

    id: str
    source: str
    state: str
    why: str = ""
    outcomes: list[Planned] = []

    def counts(self) -> Counter[str]:
        """
        Return how many outcomes there are of each verdict.
        """
        return Counter(one.outcome.verdict for one in self.outcomes)


class Taking(Struct, frozen=True, kw_only=True):
    """
    How a report is to be taken in; see `commands.Report`.
    """

    opens: bool = True
    baseline: bool = False
    due_days: dict[str, int] = field(default_factory=dict)
    undated: bool = False
    dry_run: bool = False
    request_id: str = ""
    fail_on: tuple[FailOn, ...] = ()
    proof: str = ""
    run: RunPlan | None = None
    chunk: int = LIMITS.drafts_per_command


class Account(Struct, kw_only=True):
    """
    What became of every finding: the counts add up to *findings*.
    """

    batch: str
    findings: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    priorities: dict[str, Counter[str]] = field(default_factory=dict)
    reasons: dict[str, Counter[str]] = field(default_factory=dict)  # by verdict
    refused: list[tuple[str, str]] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)
    changed: list[dict[str, Any]] = field(default_factory=list)
    failing: list[tuple[FailOn, str, str]] = field(default_factory=list)  # the condition, priority, title
    undecided: list[FailOn] = field(default_factory=list)  # conditions that only the database can decide
    sources: set[str] = field(default_factory=set)
    services: set[str] = field(default_factory=set)
    runs: list[RunTold] = field(default_factory=list)


def branch_of(ref: str) -> str:
    """
    Return the branch that a ref names: ``main`` for ``refs/heads/main`` and ``origin/main``.
    """
    return ref.removeprefix("refs/heads/").removeprefix("refs/remotes/").removeprefix("origin/")


def opens_on(ref: str, default: Collection[str] = MAIN) -> bool:
    """
    Tell whether a report of this branch may open and reopen items: of the default one, or of none that is named.
    """
    return not ref or branch_of(ref) in default
