"""
Runs: what each pass of a source proved, and the verdict on those that wait for one.
"""

from __future__ import annotations

from collections import Counter

from backlog_store import commands as c
from backlog_store.errors import BackendError, BacklogError, Fault, InvalidInput
from backlog_store.running import end_run
from backlog_store.shown import RUN_STATES
from backlog_store.web.api.runs import newest_runs
from backlog_store.web.pages.changes import FORM, back_to, form_of, one_of
from backlog_store.web.pages.render import page
from backlog_store.web.problems import HttpProblem
from backlog_store.web.routing import Ask, Param, Reply, Routes

__all__ = ["routes"]

routes = Routes()

_SHOWN = 100
_PROPOSED = 200
#: States in which a person may accept or reject what a run would do.
_WAITS = ("parked", "empty", "short")
_PARAMS = (Param("state", "In this state alone."), Param("source", "Of this source alone."),
           Param("after", "Where the page before ended."))  # fmt: skip


@routes.add("GET", "/runs", action="read", params=_PARAMS, gives="text/html")
def runs_page(ask: Ask) -> Reply:
    """
    Show the newest runs.
    """
    runs = list(ask.backlog.runs())
    shown, next = newest_runs(ask, runs, {"after": [ask.text("after")]}, [], page=_SHOWN)
    known = Counter(run.state for _, run in runs)
    counts = {name: known[name] for name in RUN_STATES if name in known}
    return page(ask, "runs.html", runs=shown, next=next, counts=counts, state=ask.text("state"),
                is_later=bool(ask.text("after")))  # fmt: skip


@routes.add("GET", "/runs/{lane:str}/{name:str}", action="read", gives="text/html")
def run_page(ask: Ask) -> Reply:
    """
    Show a run, and of one that waits what it would close and reopen.
    """
    return _shown(ask)


def _shown(ask: Ask, code: int = 200, refused: BacklogError | None = None) -> Reply:
    id, run = ask.backlog.run(f"{ask.path['lane']}/{ask.path['name']}")
    closes, reopens = ask.backlog.proposals(id) if run.state in _WAITS else ([], [])
    return page(ask, "run.html", code=code, id=id, run=run, states=RUN_STATES, waits=run.state in _WAITS,
                closes=closes, reopens=reopens, most=_PROPOSED, refused=refused)  # fmt: skip


@routes.add("POST", "/runs/{lane:str}/{name:str}", action="work", takes=FORM, gives="text/html")
def judge_run(ask: Ask) -> Reply:
    """
    Let a run that waits do what it would, or say that it proves nothing.
    """
    form = form_of(ask)
    id, _ = ask.backlog.run(f"{ask.path['lane']}/{ask.path['name']}")
    said = one_of(form, "verdict")
    try:
        if said not in ("accept", "reject"):
            raise InvalidInput([Fault("/verdict", said[:40], "accept or reject")], what="form")
        body = c.JudgeRun(run=id, accept=said == "accept", message=one_of(form, "message"))
        ended = end_run(ask.backlog, body)
    except BacklogError as error:
        if isinstance(error, BackendError | HttpProblem):
            raise
        return _shown(ask, 422, error)
    touched = any(outcome.verdict != "held" for outcome in ended.outcomes)
    return back_to({}, "updated", ended.batch if touched else "", default=f"/runs/{id}")
