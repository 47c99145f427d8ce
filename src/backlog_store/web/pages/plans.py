"""
Plans: what a report would do, kept until somebody applies it; done exactly so, or not at all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from msgspec import Struct

from backlog_store.commands import Report
from backlog_store.errors import PlanChanged
from backlog_store.model import Draft
from backlog_store.planning import Plan
from backlog_store.web.api.plans import plan_for, plans_for
from backlog_store.web.pages.changes import FORM, back_to, form_of
from backlog_store.web.pages.render import page
from backlog_store.web.routing import Ask, Reply, Routes

__all__ = ["routes"]

routes = Routes()

_SHOWN = 200
_QUIET = ("unchanged", "suppressed", "held")


class _Row(Struct, frozen=True):
    """
    One decision: the verdict, the item's id (empty: it has none yet), its title and priority as far as they are known.
    """

    verdict: str
    id: str
    title: str
    priority: str
    code: str


@routes.add("GET", "/plans", action="read", gives="text/html")
def plans_page(ask: Ask) -> Reply:
    """
    Show the plans that can be applied.
    """
    plans = sorted(plans_for(ask), key=lambda plan: (plan.made_at, plan.token), reverse=True)
    return page(ask, "plans.html", plans=plans)


@routes.add("GET", "/plans/{token:str}", action="read", gives="text/html")
def plan_page(ask: Ask) -> Reply:
    """
    Show what a plan would do.
    """
    return _shown(ask, plan_for(ask, ask.path["token"]))


def _shown(ask: Ask, plan: Plan, code: int = 200, refused: PlanChanged | None = None) -> Reply:
    rows = list(_rows(plan))
    told = [row for row in rows if row.verdict not in _QUIET][:_SHOWN]
    known = ask.backlog.read(lambda reader: reader.items({row.id for row in told if row.id}))
    counts = Counter(row.verdict for row in rows)
    return page(ask, "plan.html", code=code, plan=plan, rows=told, known=known, counts=counts.most_common(),
                total=sum(n for verdict, n in counts.items() if verdict not in _QUIET), refused=refused)  # fmt: skip


def _rows(plan: Plan) -> Iterator[_Row]:
    for step in plan.steps:
        drafts: tuple[Draft, ...] = step.body.drafts if isinstance(step.body, Report) else ()
        for number, one in enumerate(step.decisions):
            draft = drafts[number] if number < len(drafts) else None
            yield _Row(one.verdict, one.id, draft.title if draft else "", draft.priority if draft else "", one.code)


@routes.add("POST", "/plans/{token:str}", action="report", takes=FORM, gives="text/html")
def apply_plan_here(ask: Ask) -> Reply:
    """
    Do what a plan showed; where something changed since, say what, and do nothing.
    """
    form_of(ask)
    plan = plan_for(ask, ask.path["token"], to_apply=True)
    try:
        applied = ask.backlog.apply(plan)
    except PlanChanged as error:
        return _shown(ask, plan, 409, error)
    done = "unchanged" if applied.again else "updated"
    return back_to({}, done, "" if applied.again else applied.batch, default=f"/plans/{plan.token}")
