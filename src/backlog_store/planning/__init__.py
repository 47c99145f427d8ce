"""
Plans: what many commands would do, decided by the same rules on the present state, kept, and later applied exactly.

::

    planner = Planner(backlog)
    planner.execute(body)                    as `Backlog.execute`; nothing is written
    plan = planner.plan()                    its `token` stands for the decisions and what they rest on
    apply_plan(backlog, plan)                decides again: does exactly that, or refuses, saying what changed
"""

from backlog_store.planning.kept import (
    PLAN_DAYS,
    Plan,
    Step,
    keep_in_store,
    kept_in_store,
    lines_of_plan,
    plan_of_lines,
    plans_in_store,
)
from backlog_store.planning.planner import Applied, Planned, Planner, apply_plan

__all__ = [
    "PLAN_DAYS", "Applied", "Plan", "Planned", "Planner", "Step", "apply_plan", "keep_in_store", "kept_in_store",
    "lines_of_plan", "plan_of_lines", "plans_in_store",
]  # fmt: skip
