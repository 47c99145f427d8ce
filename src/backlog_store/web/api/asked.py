"""
What the parameters of a report say: of the report itself, and of how it is to be taken in. All faults at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from backlog_store.backlog import Backlog
from backlog_store.errors import BacklogError, ConfigError, Fault
from backlog_store.intake import FORMATS, ReportContext
from backlog_store.model import PRIORITIES
from backlog_store.taking import MAIN, FailOn, RunPlan, Taking, branch_of, due_days_of, opens_on, run_plan_of
from backlog_store.web.inputs import refuse, truth, whole
from backlog_store.web.routing import Param

__all__ = ["ABOUT", "EXPECT_MAX", "HOW", "about", "how"]

#: Findings that a run may be said to have.
EXPECT_MAX = 999_999_999
_TRUE = {"type": "boolean"}
#: What a report is about.
ABOUT = (
    Param("service", "The service or repository; most reports do not name it themselves."),
    Param("env", "The env, where the report names none."),
    Param("source", "The source, instead of the tool's own name."),
    Param("category", "The category, instead of the format's own."),
    Param("tag", "A tag for everything in it.", many=True),
    Param("priority", "One priority for all of it.", schema={"type": "string", "enum": list(PRIORITIES)}),
    Param("severity", "WORD=P1: the priority of one severity, over the table of docs/guides/reports.md.", many=True),
)
#: How it is to be taken in.
HOW = (
    Param("format", "The format, where it is not to be recognised.",
          schema={"type": "string", "enum": [one.name for one in FORMATS]}),
    Param("map", "FIELD=COLUMN: for drafts as CSV or JSON, which column fills a field.", many=True),
    Param("strict_keys", "Refuse drafts whose keys hold what changes from report to report.", schema=_TRUE),
    Param("ref", "The branch that was looked at: only the default one opens or reopens items."),
    Param("default_branch", "The default branch; else main or master."),
    Param("opens", "Open and reopen items on any branch.", schema=_TRUE),
    Param("due", "P0=2,P1=14: days until what it opens is due, by priority; or none."),
    Param("undated", "What it opens gets no due date, nor one of the policy.", schema=_TRUE),
    Param("baseline", "A first report, taken in quietly: tagged baseline, nothing is due.", schema=_TRUE),
    Param("complete", "This is all there is to see of the service: what it does not name is closed, within bounds.",
          schema=_TRUE),
    Param("expect", "With complete: how many findings there are; with fewer, it proves nothing.",
          schema={"type": "integer", "minimum": 0, "maximum": EXPECT_MAX}),
    Param("rule", "With complete: the only rules that were looked for.", many=True),
    Param("run", "The run that it is part of."),
    Param("fail_on", "KIND:PRIORITY: what is to be told as failing: new, reopened or any, at that priority.",
          many=True),
)  # fmt: skip

Parameters = Mapping[str, Sequence[str]]


def about(parameters: Parameters, faults: list[Fault]) -> ReportContext:
    """
    Return what the parameters say of a report; faults are noted in *faults*.
    """
    severities: dict[str, Any] = {}
    for word, level in _pairs(parameters, "severity", faults).items():
        if level.upper() not in PRIORITIES:
            faults.append(Fault("/severity", f"{word}={level}", f"the priority is one of {', '.join(PRIORITIES)}"))
        severities[word.lower()] = level.upper()
    priority: Any = _text(parameters, "priority").upper() or None
    if priority and priority not in PRIORITIES:
        faults.append(Fault("/priority", priority, f"one of {', '.join(PRIORITIES)}"))
    return ReportContext(
        service=_text(parameters, "service"), env=_text(parameters, "env"), ref=_text(parameters, "ref"),
        source=_text(parameters, "source"), category=_text(parameters, "category"), priority=priority,
        severities=severities, mapping=_pairs(parameters, "map", faults), tags=tuple(parameters.get("tag", ())),
        strict_keys=truth(parameters, "strict_keys", faults),
    )  # fmt: skip


def how(parameters: Parameters, context: ReportContext, backlog: Backlog, *, request_id: str = "",
        dry_run: bool = False, faults: list[Fault]) -> Taking:  # fmt: skip
    """
    Return how a report is to be taken in. Raises `InvalidInput` with every fault, those of *faults* among them.
    """
    fail_on: list[FailOn] = []
    for text in parameters.get("fail_on", ()):
        for part in text.split(","):
            try:
                fail_on.append(FailOn.parse(part))
            except ValueError as error:
                faults.append(Fault("/fail_on", text, str(error)))
    main = branch_of(_text(parameters, "default_branch"))
    opens = truth(parameters, "opens", faults) or opens_on(context.ref, (main,) if main else MAIN)
    taking = Taking(
        opens=opens, baseline=truth(parameters, "baseline", faults), due_days=_due_days(parameters, faults),
        undated=truth(parameters, "undated", faults),
        dry_run=dry_run, request_id=request_id, fail_on=tuple(fail_on), proof="resolved, says the report",
        run=_run(parameters, context, backlog, opens=opens, faults=faults),
    )  # fmt: skip
    refuse(faults)
    return taking


def _run(parameters: Parameters, context: ReportContext, backlog: Backlog, *, opens: bool,
         faults: list[Fault]) -> RunPlan | None:  # fmt: skip
    named = _text(parameters, "run")
    try:
        return run_plan_of(
            context, named=named, complete=truth(parameters, "complete", faults),
            expected=whole(parameters, "expect", 0, EXPECT_MAX, faults, least=0) if "expect" in parameters else None,
            rules=parameters.get("rule", ()), opens=opens, find=backlog.run,
            wrong=lambda name, why: faults.append(Fault(f"/{name}", _text(parameters, name), why)),
        )  # fmt: skip
    except BacklogError as error:
        faults.append(Fault("/run", named, str(error)))
        return None


def _due_days(parameters: Parameters, faults: list[Fault]) -> dict[str, int]:
    text = _text(parameters, "due")
    try:
        return due_days_of(text, where="due")
    except ConfigError as error:
        faults.append(Fault("/due", text, error.hint or str(error)))
        return {}


def _text(parameters: Parameters, name: str) -> str:
    return parameters.get(name, ("",))[-1]


def _pairs(parameters: Parameters, name: str, faults: list[Fault]) -> dict[str, str]:
    pairs = {}
    for text in parameters.get(name, ()):
        left, equals, right = text.partition("=")
        if left and equals and right:
            pairs[left.strip()] = right.strip()
        else:
            faults.append(Fault(f"/{name}", text, "give NAME=VALUE"))
    return pairs
