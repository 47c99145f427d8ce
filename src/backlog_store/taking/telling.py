"""
What became of reports, plans and runs, as plain data: the one form that the command line prints and the API answers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from backlog_store.codec import to_builtins
from backlog_store.intake import Format
from backlog_store.planning import Applied, Plan
from backlog_store.rules.lanes import Run
from backlog_store.taking.values import VERDICTS, Account, RunTold, Taking

__all__ = [
    "applied_as_data",
    "changes_of",
    "counts_of",
    "plan_as_data",
    "report_as_data",
    "run_as_data",
    "runs_as_data",
]

#: What changes no item: verdicts, and states of runs.
_QUIET = frozenset({
    "unchanged", "suppressed", "held", "begun", "completed", "closing", "parked", "empty", "short", "repeated",
    "aborted", "rejecting", "rejected", "superseded",
})  # fmt: skip


def report_as_data(account: Account, format: Format, taking: Taking) -> dict[str, Any]:
    """
    Return what became of a report.
    """
    return {
        "format": format.name,
        "dry_run": taking.dry_run,
        "accepted": bool(account.counts["accepted"]),
        "opens": taking.opens,
        "batch": account.batch,
        "sources": sorted(account.sources),
        "services": sorted(account.services),
        "findings": account.findings,
        "counts": {verdict: account.counts[verdict] for verdict in VERDICTS},
        "priorities": {verdict: dict(sorted(counts.items())) for verdict, counts in sorted(account.priorities.items())},
        **_told(account),
        "changed": account.changed,
        "failing": [{"condition": str(on), "priority": priority, "title": title}
                    for on, priority, title in account.failing],
        "undecided": sorted({str(on) for on in account.undecided}),
        "runs": runs_as_data(account.runs),
    }  # fmt: skip


def _told(account: Account) -> dict[str, Any]:
    return {
        "reasons": {verdict: [{"why": why, "count": count} for why, count in reasons.most_common()]
                    for verdict, reasons in sorted(account.reasons.items())},
        "refused": [{"pointer": pointer, "reason": reason} for pointer, reason in account.refused],
        "notices": [{"pointer": notice.pointer, "reason": notice.reason, "incomplete": notice.incomplete}
                    for notice in account.notices],
    }  # fmt: skip


def runs_as_data(runs: Sequence[RunTold]) -> list[dict[str, Any]]:
    """
    Return what became of runs.
    """
    return [
        {
            "id": run.id, "source": run.source, "state": run.state, "why": run.why, "counts": dict(run.counts()),
            "items": [{"verdict": one.outcome.verdict, "id": one.outcome.id, "why": one.outcome.why,
                       "title": one.outcome.item.title if one.outcome.item is not None else "",
                       "priority": one.outcome.item.priority if one.outcome.item is not None else ""}
                      for one in run.outcomes],
        }
        for run in runs
    ]  # fmt: skip


def run_as_data(id: str, run: Run) -> dict[str, Any]:
    """
    Return a run as it is remembered.
    """
    return {"id": id, **to_builtins(run)}


def changes_of(account: Account) -> list[dict[str, Any]]:
    """
    Return each change that is planned, of findings and of what they do not name any more.
    """
    rows = [{"why": "", **row} for row in account.changed]
    for run in account.runs:
        for one in run.outcomes:
            outcome, item = one.outcome, one.outcome.item
            if outcome.verdict != "held":
                rows.append({"verdict": outcome.verdict, "id": outcome.id, "why": outcome.why, "changes": one.changes,
                             "priority": item.priority if item is not None else "",
                             "title": item.title if item is not None else ""})  # fmt: skip
    return rows


def counts_of(account: Account, changes: Sequence[dict[str, Any]]) -> Counter[str]:
    """
    Return how many outcomes of each verdict a plan has, those of its runs among them.
    """
    counts = Counter(str(row["verdict"]) for row in changes)
    for verdict in ("unchanged", "suppressed", "held", "refused"):
        counts[verdict] = account.counts[verdict]
    # What a run reopens was held while it went on.
    counts["held"] -= sum(run.counts()["reopened"] for run in account.runs)
    counts["held"] += sum(run.counts()["held"] for run in account.runs)
    return counts


def plan_as_data(account: Account, plan: Plan, changes: Sequence[dict[str, Any]], file: str = "") -> dict[str, Any]:
    """
    Return what a plan would do; *file* is where it was written to.
    """
    counts = counts_of(account, changes)
    return {
        "token": plan.token,
        "file": file,
        "policy": plan.policy,
        "made_at": plan.made_at,
        "findings": account.findings,
        "counts": {verdict: counts[verdict] for verdict in VERDICTS if verdict != "accepted"},
        "changes": changes,
        "runs": runs_as_data(account.runs),
        **_told(account),
    }


def applied_as_data(plan: Plan, applied: Applied) -> dict[str, Any]:
    """
    Return what became of a plan.
    """
    every = [outcome for answer in applied.answers for outcome in answer.outcomes]
    return {
        "token": plan.token,
        "batch": applied.batch,
        "again": applied.again,
        "counts": dict(sorted(Counter(outcome.verdict for outcome in every).items())),
        "outcomes": [{"verdict": one.verdict, "id": one.id, "revision": one.revision, "why": one.why}
                     for one in every if one.verdict not in _QUIET],
    }  # fmt: skip
