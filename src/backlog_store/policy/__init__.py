"""
What a team may decide differently, as one value: the policy in force. The default is built in.

A policy has sections, one struct in one module each (`policy.sections` lists them). A section that the file does not
have is ``None`` here, and costs nothing: its module is not even imported.

::

    loading      a file's text -> Loaded: the policy, or every fault with line, column, caret and suggestion
    stored       the policy as the store keeps it, and back
    matching     conditions: one small language for all sections
    forms        the types that sections are made of: instants, lengths of time, names, conditions
    sections     which sections there are
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from msgspec import Struct, field

if TYPE_CHECKING:
    from backlog_store.policy.calendars import Calendars
    from backlog_store.policy.closing import Closing
    from backlog_store.policy.due import Due
    from backlog_store.policy.escalation import Escalation
    from backlog_store.policy.opening import Activation, Budgets
    from backlog_store.policy.owners import Owners
    from backlog_store.policy.priority import Priorities
    from backlog_store.policy.reopening import Reopening
    from backlog_store.policy.retention import Retention
    from backlog_store.policy.sla import Sla
    from backlog_store.policy.suppression import Suppression
    from backlog_store.policy.wip import Wip
    from backlog_store.policy.workflow import Workflow

__all__ = ["ACCEPTANCE_DAYS_MAX", "DEFAULT_POLICY", "DEFAULT_TRANSITIONS", "DUE_DAYS", "Policy", "PolicyFormat",
           "record_id", "rule_in_words", "rule_name"]  # fmt: skip

#: The built-in workflow; drawn in `backlog_store.workflow`.
DEFAULT_TRANSITIONS: dict[str, tuple[str, ...]] = {
    "open": ("in_progress", "blocked", "canceled"),
    "in_progress": ("blocked", "done", "canceled"),
    "blocked": ("open", "in_progress", "canceled"),
    "done": (),
    "canceled": (),
}

#: Days until what a scanner's report opens is due, by priority. Used by `backlog report`, not by the library.
DUE_DAYS: dict[str, int] = {"P0": 2, "P1": 14, "P2": 60, "P3": 180}

#: How many days ahead an acceptance of risk may end, where the policy says nothing else.
ACCEPTANCE_DAYS_MAX = 366


#: What a policy file may be written in.
PolicyFormat = Literal["yaml", "toml"]


class Policy(Struct, frozen=True, kw_only=True):
    """
    The rules in force. `revision` 0 is the built-in policy; each event names the revision it was decided under.

    `lines` maps JSON pointers into the policy to lines of the file that it was read from; `files` holds the texts of
    further files that the policy names (CODEOWNERS), by name.
    """

    revision: int = 0
    lines: dict[str, int] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    workflow: Workflow | None = None
    closing: Closing | None = None
    reopen: Reopening | None = None
    activation: Activation | None = None
    budgets: Budgets | None = None
    priority: Priorities | None = None
    owners: Owners | None = None
    suppression: Suppression | None = None
    wip: Wip | None = None
    calendars: Calendars | None = None
    due: Due | None = None
    sla: Sla | None = None
    escalation: Escalation | None = None
    retention: Retention | None = None

    @property
    def transitions(self) -> dict[str, tuple[str, ...]]:
        """
        Return which statuses an item of a status may move to.
        """
        return DEFAULT_TRANSITIONS if self.workflow is None else self.workflow.table

    @property
    def acceptance_days_max(self) -> int:
        """
        Return how many days ahead an acceptance of risk may end.
        """
        return ACCEPTANCE_DAYS_MAX if self.workflow is None else self.workflow.acceptance_days_max

    def said_at(self, pointer: str, name: str = "") -> dict[str, Any]:
        """
        Return what an event keeps about the rule at *pointer*: its name (the pointer, if it has none) and its line.
        """
        line = self.lines.get(pointer, 0)
        return {"rule": name or pointer, **({"line": line} if line else {})}


DEFAULT_POLICY = Policy()


def rule_name(rule: str) -> str:
    """
    Return how people are told of a rule that `said_at` named: its name, or its place in words.

    ``/owners/rules/0`` is "rule 1 of the policy's owners".
    """
    section, *places = rule.removeprefix("/").split("/")
    kinds, numbers = places[::2], places[1::2]
    if not (rule.startswith("/") and places and len(kinds) == len(numbers) and all(map(str.isdecimal, numbers))):
        return rule
    each = [f"{kind.removesuffix('s')} {int(number) + 1}" for kind, number in zip(kinds, numbers, strict=True)]
    return f"{' of '.join(reversed(each))} of the policy's {section}"


def rule_in_words(rule: str, line: int = 0) -> str:
    """
    Return `rule_name` with what it is, and its line in the policy's file, where that is known.
    """
    name = rule_name(rule)
    return ("" if name != rule else "policy rule ") + name + (f", line {line}" if line else "")


def record_id(revision: int) -> str:
    """
    Return the id of the record that holds a revision.
    """
    return f"{revision:08}"
