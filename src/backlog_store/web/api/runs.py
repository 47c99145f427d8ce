"""
Runs: begin one, end it, look at it, judge a parked one. What is reported in it: `POST /reports?run=…`.
"""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from backlog_store import commands as c
from backlog_store.errors import Fault, InvalidInput, NotFound
from backlog_store.planning import Planned
from backlog_store.rules.lanes import Run
from backlog_store.running import Ended, end_run
from backlog_store.taking import RunTold, run_as_data, runs_as_data
from backlog_store.web.api.asked import known
from backlog_store.web.inputs import instant, request_id, whole
from backlog_store.web.routing import LIMIT, Ask, Param, Reply, Routes

__all__ = ["routes"]

routes = Routes("/api/v1")

_RUN = "/runs/{lane:str}/{name:str}"
_FIND = (
    Param("state", "Only runs in this state."),
    Param("source", "Only runs of this source."),
    Param("since", "Only runs that began then or later."),
    LIMIT,
)


class RunIn(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    A pass of *source* over services of an env: of one branch and of some rules, where not of all.

    *name* is the caller's own, like a CI job's: the same begins it once.
    """

    source: str
    services: tuple[str, ...]
    env: str = "prod"
    ref: str = ""
    rules: tuple[str, ...] = ()
    name: str = ""


class CompleteIn(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    How many findings were to be reported in a run; with fewer, it proves nothing.
    """

    expect: int | None = None


class AbortIn(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    Why a run failed.
    """

    message: str


class JudgeIn(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    Why a person decides so.
    """

    message: str = ""


@routes.add("GET", "/runs", action="read", params=_FIND, answers={200: dict})
def list_runs(ask: Ask) -> Reply:
    """
    List the runs that are remembered, the newest first.
    """
    faults: list[Fault] = []
    known(ask.parameters, _FIND, faults)
    limit = whole(ask.parameters, "limit", 20, 1_000, faults)
    since = instant(ask.parameters, "since", faults)
    if faults:
        raise InvalidInput(faults, what="query")
    state, source = ask.text("state"), ask.text("source")
    found = [(id, run) for id, run in ask.backlog.runs()
             if state in ("", run.state) and source in ("", run.source) and run.started_at >= since]  # fmt: skip
    newest = sorted(found, key=lambda pair: (pair[1].started_at, pair[0]), reverse=True)[:limit]
    return Reply(data={"runs": [run_as_data(id, run) for id, run in newest]})


@routes.add("POST", "/runs", action="report", body=RunIn, headers=("Idempotency-Key",), answers={200: dict, 201: dict})
def begin_run(ask: Ask) -> Reply:
    """
    Begin a run; its id is what reports in it name. 200 where one of this name was begun before.
    """
    given = ask.body_as(RunIn)
    scope = c.RunScope(services=given.services, env=given.env, ref=given.ref, rules=given.rules)
    body = c.BeginRun(source=given.source, scope=scope, name=given.name)
    answer = ask.backlog.acting_as(given.source).execute(body, request_id=request_id(ask.request))
    begun = answer.outcomes[0]
    data = {"id": begun.id, "state": begun.verdict, "why": begun.why}
    return Reply(data=data, status=202 if answer.accepted else 200 if begun.why else 201)


@routes.add("GET", _RUN, action="read", answers={200: dict})
def get_run(ask: Ask) -> Reply:
    """
    Show a run; of a parked one, what it would close and reopen.
    """
    id, run = _run(ask)
    closes, returns = ask.backlog.proposals(id)
    return Reply(data={**run_as_data(id, run), "would_close": [item.id for item in closes],
                       "would_reopen": [draft.dedupe_key for draft in returns]})  # fmt: skip


@routes.add("POST", _RUN + "/complete", action="report", body=CompleteIn, answers={200: dict})
def complete_run(ask: Ask) -> Reply:
    """
    Say that a run looked at all of its scope: what it and the complete run before it did not see is closed.

    Asking again changes nothing.
    """
    given = ask.body_as(CompleteIn)
    if given.expect is not None and given.expect < 0:
        raise InvalidInput([Fault("/expect", str(given.expect), "0 or more")], what="body")
    return _ended(ask, lambda name, run: c.CompleteRun(run=name, source=run.source, expected_count=given.expect))


@routes.add("POST", _RUN + "/abort", action="report", body=AbortIn, answers={200: dict})
def abort_run(ask: Ask) -> Reply:
    """
    Say that a run failed: it proves nothing. What it did report stays reported.
    """
    reason = ask.body_as(AbortIn).message
    return _ended(ask, lambda name, run: c.AbortRun(run=name, source=run.source, reason=reason))


@routes.add("POST", _RUN + "/accept", action="work", body=JudgeIn, answers={200: dict})
def accept_run(ask: Ask) -> Reply:
    """
    Let a parked run close and reopen what it was parked with, or say that an empty or short one was complete.

    Only a person may.
    """
    return _judged(ask, accept=True)


@routes.add("POST", _RUN + "/reject", action="work", body=JudgeIn, answers={200: dict})
def reject_run(ask: Ask) -> Reply:
    """
    Say that a parked run proves nothing; what it reported stays reported. Only a person may.
    """
    return _judged(ask, accept=False)


def _run(ask: Ask) -> tuple[str, Run]:
    name = f"{ask.path['lane']}/{ask.path['name']}"
    id, run = ask.backlog.run(name)
    if id != name:
        raise NotFound("run", name, hint=f"There is one that begins like this: {id}")
    return id, run


def _ended(ask: Ask, body: Callable[[str, Run], c.CompleteRun | c.AbortRun]) -> Reply:
    id, run = _run(ask)
    # As in a report, the machine acts that looked.
    return _told(end_run(ask.backlog.acting_as(run.source), body(id, run)), run)


def _judged(ask: Ask, *, accept: bool) -> Reply:
    message = ask.body_as(JudgeIn).message
    id, run = _run(ask)
    return _told(end_run(ask.backlog, c.JudgeRun(run=id, accept=accept, message=message)), run)


def _told(ended: Ended, run: Run) -> Reply:
    outcomes = [Planned(outcome=outcome, changes={}) for outcome in ended.outcomes]
    told = RunTold(id=ended.id, source=run.source, state=ended.state, why=ended.why, outcomes=outcomes)
    return Reply(data={**runs_as_data([told])[0], "batch": ended.batch})
