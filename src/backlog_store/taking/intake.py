"""
Taking in a report: findings in bounded chunks, each by the machine that found them; the account of what became of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from backlog_store import commands as c
from backlog_store.ids import batch_id
from backlog_store.intake import Finding, Looked, Notice, Parsed, Refusal
from backlog_store.intake.keys import compact
from backlog_store.model import LIMITS, Draft
from backlog_store.planning import Planned, Planner
from backlog_store.rules.runs import RUN_REOPENS
from backlog_store.rules.upsert import NOT_OPENING
from backlog_store.taking.values import Account, RunTold, Taking

if TYPE_CHECKING:
    from backlog_store.backlog import Backlog

__all__ = ["take_in"]

_QUIET = frozenset({"unchanged", "suppressed", "accepted", "held"})


def take_in(backlog: Backlog, parsed: Iterable[Parsed], taking: Taking, *, planner: Planner | None = None) -> Account:
    """
    Report every finding, and withdraw those that are resolved; all of it is one batch. With a run: begin and end it.

    With a *planner* everything is decided by it, and nothing is written. Each source acts as a machine of its own name.
    Raises what the store raises; chunks before it are done, and reporting again with the same request id goes on
    behind them.
    """
    return _Intake(backlog, taking, planner).run(parsed)


class _Intake:
    def __init__(self, backlog: Backlog, taking: Taking, planner: Planner | None) -> None:
        self.backlog = backlog
        self.taking = taking
        self.planner = planner
        self.account = Account(batch=batch_id(backlog.ids()))
        self.open: dict[str, list[Finding]] = {}
        self.gone: dict[tuple[str, str, str], list[str]] = {}
        self.chunks = 0
        self.runs: dict[str, str] = {}  # by source
        self.looked: set[str] = set()  # sources that found nothing
        self.digests: Counter[str] = Counter()

    def run(self, parsed: Iterable[Parsed]) -> Account:
        for one in parsed:
            if isinstance(one, Finding):
                self._found(one)
            elif isinstance(one, Refusal):
                self.account.findings += 1
                self._refuse(one.pointer, one.reason)
            elif isinstance(one, Looked):
                self.looked.add(one.source)
            else:
                self.account.notices.append(one)
        for source in list(self.open):
            self._report(source)
        for env, source, observed_at in list(self.gone):
            self._resolve(env, source, observed_at)
        if self.taking.run is not None:
            self._end_runs()
        return self.account

    def _refuse(self, pointer: str, reason: str) -> None:
        self.account.counts["refused"] += 1
        self.account.refused.append((pointer, reason))

    def _found(self, finding: Finding) -> None:
        draft = finding.draft
        self.account.findings += 1
        self.account.sources.add(draft.source)
        self.account.services.add(draft.service)
        if finding.resolved:
            self.gone.setdefault((draft.env, draft.source, draft.observed_at), []).append(draft.dedupe_key)
            return
        waiting = self.open.setdefault(draft.source, [])
        waiting.append(finding)
        if len(waiting) >= self.taking.chunk:
            self._report(draft.source)

    def _execute(self, body: c.Body, source: str) -> Sequence[Planned]:
        self.chunks += 1
        if self.planner is not None:
            return self.planner.acting_as(source or "report").foresee(body)
        actor = self.backlog.acting_as(source or "report")
        request_id = f"{self.taking.request_id}/{self.chunks}" if self.taking.request_id else ""
        outcomes = actor.execute(body, request_id=request_id, batch=self.account.batch).outcomes
        return [Planned(outcome=outcome, changes={}) for outcome in outcomes]

    def _run_of(self, source: str) -> str:
        """
        Return the run that a source's findings are reported in; it is begun with the first of them.
        """
        run = self.taking.run
        if run is None or run.id:
            return run.id if run is not None else ""
        if source not in self.runs:
            # A plan that is applied later begins the run by the name that it was planned under.
            name = run.name or (f"plan-{self.backlog.ids()[-12:]}" if self.planner is not None else "")
            begun = self._execute(c.BeginRun(source=source, scope=run.scope, name=name), source)[0].outcome
            self.runs[source] = begun.id
        return self.runs[source]

    def _end_runs(self) -> None:
        """
        Complete each run, or abort it where the report itself says that not everything was looked at.
        """
        run = self.taking.run
        assert run is not None
        if run.id:
            found = self.backlog.run(run.id)[1]
            self.runs = {found.source: run.id}
            if found.state != "begun" and not run.complete:
                # Of a run that is over the same report again is harmless, and another one is no part of it.
                told = RunTold(id=run.id, source=found.source, state=found.state, why="it was over before this report")
                self.account.runs.append(told)
                return
        elif run.complete and not self.account.counts["refused"]:
            for source in sorted(self.looked):
                self._run_of(source)
            if not self.runs:
                why = "nothing in it says who looked, so no run is complete by it; name the source with --source"
                self.account.notices.append(Notice("", why, incomplete=True))
        incomplete = [notice.reason for notice in self.account.notices if notice.incomplete]
        for source, id in self.runs.items():
            told = RunTold(id=id, source=source, state="begun")
            self.account.runs.append(told)
            others = sorted(self.account.sources - {source}) if run.id else []
            if others:
                told.why = f"what {', '.join(other or 'no source' for other in others)} reported is no part of it"
            if self.account.counts["accepted"]:
                told.why = "the database is away; complete it once that is back"
            elif run.complete and incomplete:
                self._end(told, c.AbortRun(run=id, source=source, reason=incomplete[0][: LIMITS.message]))
            elif run.complete:
                digest = f"{self.digests[source] % (1 << 128):032x}" if self.digests[source] else ""
                body = c.CompleteRun(run=id, source=source, expected_count=run.expected, digest=digest)
                self._end(told, body)

    def _end(self, told: RunTold, body: c.CompleteRun | c.AbortRun) -> None:
        while True:
            first, *rest = self._execute(body, told.source)
            told.state, told.why = first.outcome.verdict, first.outcome.why
            told.outcomes += rest
            if told.state != "closing":
                return

    def _report(self, source: str) -> None:
        # Sorted by key: writers that report the same keys take their locks in one order.
        findings = sorted(self.open.pop(source), key=_key)
        run = self._run_of(source)
        for part in _parts(findings, self.taking.chunk):
            drafts = tuple(finding.draft for finding in part)
            body = c.Report(
                drafts=drafts,
                opens=self.taking.opens,
                baseline=self.taking.baseline,
                due_days=self.taking.due_days,
                undated=self.taking.undated,
                run=run,
            )
            if run:
                # The same for the same findings, in whatever order they come.
                self.digests[source] += sum(int.from_bytes(compact(*_key(finding))) for finding in part)
            for finding, planned in zip(part, self._execute(body, source), strict=True):
                self._count(finding.draft, finding.pointer, planned)

    def _resolve(self, env: str, source: str, observed_at: str) -> None:
        keys = self.gone.pop((env, source, observed_at))
        for start in range(0, len(keys), self.taking.chunk):
            part = tuple(keys[start : start + self.taking.chunk])
            body = c.Resolve(env=env, source=source, dedupe_keys=part, proof=self.taking.proof, observed_at=observed_at)
            for planned in self._execute(body, source):
                self._count(None, "", planned)

    def _count(self, draft: Draft | None, pointer: str, planned: Planned) -> None:
        outcome = planned.outcome
        if outcome.verdict == "refused":
            self._refuse(pointer, outcome.why)
            return
        account, item = self.account, outcome.item
        reported = draft.priority if draft is not None else ""
        priority = item.priority if item is not None else outcome.priority or reported
        title = item.title if item is not None else draft.title if draft is not None else ""
        account.counts[outcome.verdict] += 1
        account.priorities.setdefault(outcome.verdict, Counter())[priority] += 1
        if outcome.why:
            account.reasons.setdefault(outcome.verdict, Counter())[outcome.why] += 1
        if outcome.verdict not in _QUIET:
            row = {"verdict": outcome.verdict, "id": outcome.id, "priority": priority, "title": title}
            account.changed.append({**row, "changes": planned.changes} if self.planner is not None else row)
        if draft is None:
            return
        kind = _kind(outcome)
        for condition in self.taking.fail_on:
            if outcome.verdict == "accepted" and condition.kind != "any" and priority <= condition.priority:
                account.undecided.append(condition)
            if kind and condition.holds(kind, priority):
                account.failing.append((condition, priority, title))
                return


def _key(finding: Finding) -> tuple[str, str]:
    return finding.draft.env, finding.draft.dedupe_key


def _parts(findings: Sequence[Finding], size: int) -> Iterator[Sequence[Finding]]:
    """
    Cut sorted findings into parts of at most *size*, each key in one part unless it alone is more.
    """
    start = 0
    while start < len(findings):
        end = min(start + size, len(findings))
        cut = end
        while start < cut < len(findings) and _key(findings[cut - 1]) == _key(findings[cut]):
            cut -= 1
        end = cut if cut > start else end
        yield findings[start:end]
        start = end


def _kind(outcome: c.Outcome) -> str:
    """
    Return what a finding is to a pipeline. On a branch that opens nothing, what would be opened counts as that.

    What is held back opens nothing, but for what a run reopens when it ends.
    """
    if outcome.verdict == "created":
        return "new"
    if outcome.verdict == "suppressed":
        if outcome.why != NOT_OPENING:
            return ""
        return "reopened" if outcome.id else "new"
    if outcome.verdict == "held":
        return "reopened" if outcome.why == RUN_REOPENS else ""
    return "reopened" if outcome.verdict == "reopened" else "known"
