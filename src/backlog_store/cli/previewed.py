"""
Looking before leaping: a preview is kept under a token, and under that token exactly what it showed is done.

::

    planner.execute(body) …          what would be done
    keep(app, planner) -> token      for ``--dry-run`` to print
    check_token(app, planner, token) refuses, saying what changed, where something else would be done now
    carry_out(app, planner)          each command once more held against what was decided, in its own transaction
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import zip_longest
from typing import Any, TypeVar

import click

from backlog_store.cli.app import App
from backlog_store.cli.options import not_empty
from backlog_store.commands import Answer
from backlog_store.errors import NotFound, PlanChanged
from backlog_store.planning import Planner
from backlog_store.preview import departures

__all__ = ["carry_out", "check_token", "keep", "token_option"]

F = TypeVar("F", bound=Callable[..., Any])


def token_option(function: F) -> F:
    """
    Add ``--token``: only what a preview showed.
    """
    return click.option("--token", default="", metavar="TOKEN", callback=not_empty,
                        help="Only if it does exactly what a --dry-run showed with this token.")(function)  # fmt: skip


def keep(app: App, planner: Planner) -> str:
    """
    Keep what was decided so far, and return its token.
    """
    from backlog_store.cli.planfiles import keep_plan

    plan = planner.plan()
    keep_plan(app, plan)
    return plan.token


def check_token(app: App, planner: Planner, token: str) -> None:
    """
    Refuse where anything else would be done than what a preview showed under this token. Raises `PlanChanged`.
    """
    now = planner.plan()
    if token == now.token:
        return
    from backlog_store.cli.planfiles import find_plan

    try:
        shown = find_plan(app, token)
    except NotFound:
        raise PlanChanged(token, ()) from None
    changed = [line for one, other in zip_longest(shown.steps, now.steps)
               for line in departures(one.decisions if one else (), other.decisions if other else ())]  # fmt: skip
    if shown.policy != now.policy:
        changed.insert(0, f"the policy in force is revision {now.policy}, and was revision {shown.policy}")
    raise PlanChanged(token, changed or ["what is asked for is not what was shown"])


def carry_out(app: App, planner: Planner) -> Answer:
    """
    Carry out what was decided, as one batch. A part that would do something else by now raises `PlanChanged`.

    Interrupted, `backlog apply TOKEN` goes on where it stopped.
    """
    from backlog_store.cli.planfiles import keep_plan

    plan = planner.plan()
    keep_plan(app, plan)  # over the one that was shown: it decides the same, and this is the one to go on with
    applied = app.backlog.apply(plan)
    return Answer(batch=applied.batch, outcomes=tuple(one for answer in applied.answers for one in answer.outcomes))
