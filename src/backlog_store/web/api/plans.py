"""
Plans: what a report would do, kept by its token, and done exactly so or not at all.
"""

from __future__ import annotations

from typing import Any

from backlog_store.codec import to_builtins
from backlog_store.commands import AdmitPerson, BeginSession, Body, NoteDeliveries, Reporting, TouchSession
from backlog_store.errors import NotAllowed, NotFound
from backlog_store.intake import read_report
from backlog_store.planning import Plan, Planner, keep_in_store, kept_in_store, plans_in_store
from backlog_store.taking import applied_as_data, changes_of, plan_as_data, take_in
from backlog_store.web.api import asked
from backlog_store.web.api.reports import REPORTS, named_here
from backlog_store.web.routing import Ask, Reply, Routes

__all__ = ["check_command", "plan_for", "plans_for", "routes"]

routes = Routes("/api/v1")

#: What the service does itself once somebody has proved who they are, or a receiver has answered. As a command of
#: whoever may administer, it would open sessions of others, and no trail would tell that it was not they who acted.
_OF_THE_SERVICE = (AdmitPerson, BeginSession, NoteDeliveries, TouchSession)


@routes.add("POST", "/plans", action="report", collects=True, takes=REPORTS, spooled=True,
            params=(*asked.ABOUT, *asked.HOW), answers={201: dict})  # fmt: skip
def plan_report(ask: Ask) -> Reply:
    """
    Show what a report would create, change, reopen and close, and why, as `backlog plan --json` prints it.

    Nothing of it is done. The plan is kept for 7 days, to be applied by its token.
    """
    faults = ask.strays()
    context, backlog = asked.about(ask.parameters, faults), ask.backlog
    taking = asked.how(ask.parameters, context, backlog, dry_run=True, faults=faults)
    planner = Planner(backlog)
    with named_here():
        format, parsed = read_report(ask.stream, context, format=ask.text("format"))
        account = take_in(backlog, parsed, taking, planner=planner)
    plan = planner.plan({"reports": [format.name]})
    keep_in_store(backlog, plan)
    return Reply(data=plan_as_data(account, plan, changes_of(account)), status=201)


@routes.add("GET", "/plans", action="read", answers={200: dict})
def list_plans(ask: Ask) -> Reply:
    """
    List the plans that can still be applied: one's own, and everybody's for who sees the whole backlog.
    """
    return Reply(data={"plans": [_as_data(plan) for plan in plans_for(ask)]})


@routes.add("GET", "/plans/{token:str}", action="read", answers={200: dict})
def get_plan(ask: Ask) -> Reply:
    """
    Show a plan: each command in it, and what was decided for it.
    """
    plan = plan_for(ask, ask.path["token"])
    steps = [
        {"actor": step.actor.name, "command": step.body.__struct_config__.tag,
         "decisions": [{"verdict": one.verdict, "id": one.id, "code": one.code} for one in step.decisions]}
        for step in plan.steps
    ]  # fmt: skip
    return Reply(data={**_as_data(plan), "steps": steps})


@routes.add("POST", "/plans/{token:str}/apply", action="report", answers={200: dict})
def apply_plan(ask: Ask) -> Reply:
    """
    Do exactly what a plan showed, as one batch; or refuse (409), and tell what changed since.

    Every decision is made again before anything is written. Applying the same plan twice changes nothing more.
    """
    plan = plan_for(ask, ask.path["token"], to_apply=True)
    return Reply(data=applied_as_data(plan, ask.backlog.apply(plan)))


def check_command(ask: Ask, body: Body, source: str) -> None:
    """
    Refuse a command that no client sends, or one as a *source* that who asks does not speak for. Raises `NotAllowed`.
    """
    name = type(body).__name__
    if isinstance(body, _OF_THE_SERVICE):
        raise NotAllowed(f"the command {name}", "the service alone does that")
    if not source:
        return
    if not isinstance(body, Reporting):
        raise NotAllowed(f"the command {name}", "only reports are made as a source")
    scope = ask.asker.scope
    if scope is not None and scope.sources is not None and source not in scope.sources:
        raise NotAllowed(f"reporting as {source!r}", f"this credential speaks for {', '.join(scope.sources)}")


def plans_for(ask: Ask) -> list[Plan]:
    """
    Return the plans that are kept, without their steps, that who asks may see.
    """
    return [plan for plan in plans_in_store(ask.backlog) if _is_for(ask, plan)]


def plan_for(ask: Ask, token: str, *, to_apply: bool = False) -> Plan:
    """
    Return the plan of a token, for who may see it. Raises `NotFound`, and `NotAllowed` for what they may not apply.
    """
    plan = kept_in_store(ask.backlog, token)
    if not _is_for(ask, plan):
        raise NotFound("plan", token)
    for step in plan.steps if to_apply else ():  # whoever kept it may have written it by hand
        is_report = isinstance(step.body, Reporting) and step.actor.kind == "machine"
        check_command(ask, step.body, step.actor.name if is_report else "")
    return plan


def _is_for(ask: Ask, plan: Plan) -> bool:
    # That it shows nothing which who asks does not reach is seen to by the store. This is about whose it is.
    scope = ask.asker.scope
    return scope is None or scope.is_whole or plan.by == ask.asker.name


def _as_data(plan: Plan) -> dict[str, Any]:
    return {"token": plan.token, "policy": plan.policy, "made_at": plan.made_at, "by": plan.by,
            "about": to_builtins(plan.about)}  # fmt: skip
