"""
Runs: begin one, end it, look at it, judge a parked one. What is reported in it: `POST /reports?run=…`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from msgspec import Struct

from backlog_store import commands as c
from backlog_store.errors import Fault, InvalidInput, NotFound
from backlog_store.instants import Instant, is_instant
from backlog_store.planning import Planned
from backlog_store.rules.lanes import Run, lane_of
from backlog_store.running import Ended, end_run
from backlog_store.taking import RunTold, run_as_data, runs_as_data
from backlog_store.web.api.asked import EXPECT_MAX
from backlog_store.web.inputs import instant, next_link, paged, request_id
from backlog_store.web.routing import LIMIT, Ask, Param, Reply, Routes

__all__ = ["newest_runs", "routes"]

routes = Routes("/api/v1")

_RUN = "/runs/{lane:str}/{name:str}"
_FIND = (
    Param("state", "Only runs in this state."),
    Param("source", "Only runs of this source."),
    Param("since", "Only runs that began then or later."),
    LIMIT,
    Param("after", "The cursor that the page before ended with."),
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


@routes.add("GET", "/runs", action="read", collects=True, params=_FIND, answers={200: dict})
def list_runs(ask: Ask) -> Reply:
    """
    List the runs that are remembered, the newest first.
    """
    faults = ask.strays()
    since = instant(ask.parameters, "since", faults)
    page, next = newest_runs(ask, ask.backlog.runs(), ask.parameters, faults, since=since, page=20)
    headers = {"Link": next_link(ask.request, next)} if next else {}
    return Reply(data={"runs": [run_as_data(id, run) for id, run in page], "next": next}, headers=headers)


def newest_runs(
    ask: Ask, runs: Iterable[tuple[str, Run]], parameters: Mapping[str, Sequence[str]], faults: list[Fault], *,
    since: Instant = "", page: int,
) -> tuple[list[tuple[str, Run]], str]:  # fmt: skip
    """
    Return a page of those *runs* that are asked for, the newest first, and where the next one goes on.

    Raises `InvalidInput` with *faults*, and one for a cursor that is none.
    """
    state, source = ask.text("state"), ask.text("source")
    after = parameters.get("after", ("",))[-1]
    began, _, id = after.partition("/")
    if after and not (lane_of(id) and is_instant(began)):
        faults.append(Fault("/after", after[:80], "not a cursor of this list; take it from the page before"))
    found = (one for one in runs if state in ("", one[1].state) and source in ("", one[1].source)
             and one[1].started_at >= since)  # fmt: skip
    return paged(found, lambda one: f"{one[1].started_at}/{one[0]}", parameters, faults, page=page, turned=True)


@routes.add("POST", "/runs", action="report", body=RunIn, headers=("Idempotency-Key",),
            answers={200: dict, 201: dict, 202: dict})  # fmt: skip
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


@routes.add("POST", _RUN + "/complete", action="report", body=CompleteIn, answers={200: dict, 202: dict})
def complete_run(ask: Ask) -> Reply:
    """
    Say that a run looked at all of its scope: what it and the complete run before it did not see is closed.

    Asking again changes nothing.
    """
    given = ask.body_as(CompleteIn)
    if given.expect is not None and not 0 <= given.expect <= EXPECT_MAX:
        raise InvalidInput([Fault("/expect", str(given.expect), f"0 to {EXPECT_MAX}")], what="body")
    return _ended(ask, lambda name, run: c.CompleteRun(run=name, source=run.source, expected_count=given.expect))


@routes.add("POST", _RUN + "/abort", action="report", body=AbortIn, answers={200: dict, 202: dict})
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
    status = 202 if ended.state == "accepted" else 200
    return Reply(data={**runs_as_data([told])[0], "batch": ended.batch}, status=status)
