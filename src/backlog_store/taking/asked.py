"""
What whoever brings a report asks for, in the words of the command line and of the service alike.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from backlog_store.commands import RunScope
from backlog_store.intake import ReportContext
from backlog_store.policy import DUE_DAYS
from backlog_store.rules.lanes import Run
from backlog_store.settings import check_value
from backlog_store.taking.values import RunPlan

__all__ = ["due_days_of", "run_plan_of"]


def due_days_of(text: str, *, where: str) -> dict[str, int]:
    """
    Return the days until something is due, by priority: ``P0=2,P1=14``, ``none``, or nothing for the usual ones.

    Raises `ConfigError`, which names *where* it was said.
    """
    if not text or text == "none":
        return {} if text else dict(DUE_DAYS)
    check_value("due", text, where=where)
    return {priority: int(days) for priority, days in (part.split("=") for part in text.split(","))}


def run_plan_of(
    context: ReportContext, *, named: str, complete: bool, expected: int | None, rules: Sequence[str], opens: bool,
    find: Callable[[str], tuple[str, Run]], wrong: Callable[[str, str], None],
) -> RunPlan | None:  # fmt: skip
    """
    Return the run that a report is, if it is one. *wrong* is told what cannot be, by the name of what was asked.

    Raises what *find* raises for the run that is *named*.
    """
    for name, is_given in (("expect", expected is not None), ("rule", bool(rules))):
        if is_given and not complete:
            wrong(name, "this says something of a complete report")
    if named:
        if rules:
            wrong("rule", "the run has its scope already")
        id, run = find(named)
        return RunPlan(id=id, scope=run.scope, complete=complete, expected=expected)
    if not complete:
        return None
    if not context.service:
        wrong("service", "a complete report needs to say what was looked at")
    if not opens:
        wrong("complete", "what another branch lacks is not gone; `opens` takes it as the default branch")
    scope = RunScope(services=(context.service,), env=context.env or "prod", rules=tuple(rules))
    return RunPlan(scope=scope, complete=True, expected=expected)
