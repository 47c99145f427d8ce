"""
How runs end: completing, aborting, judging one.

::

    begun -> completed, closing, parked, empty, short, repeated, aborted
    parked -> closing, rejecting          (a person decides)
    parked -> superseded                  (a later run of the lane is complete)
    empty, short -> closing               (a person says that it was complete)
    closing -> completed, empty, short, repeated, aborted
    rejecting -> rejected

Only a complete run closes anything, and only what it and enough complete runs before it did not see (`rules.absence`).
What it reports again after a close is held until the run ends, so that both are bounded. A run that would do more
than policy lets pass unasked is parked: the items and their revisions are kept as proposals, for a person to decide.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from backlog_store.backends.port import DropRecord
from backlog_store.codec import from_builtins
from backlog_store.commands import AbortRun, CompleteRun, JudgeRun, Outcome, Report
from backlog_store.errors import Conflict, InvalidInput, NotAllowed
from backlog_store.instants import add_seconds
from backlog_store.model import LIMITS, Draft, Record
from backlog_store.policy.closing import DEFAULT_CLOSING, Closing
from backlog_store.rules.absence import Absent, absent_among, close_absent, kept_open_by, missed_words, scope_pages
from backlog_store.rules.checks import Checker
from backlog_store.rules.closing import too_much, why_nothing_is_proven
from backlog_store.rules.lanes import Lane, Part, Run, RunRef, lane_of, with_complete
from backlog_store.rules.runs import (
    lane_record,
    put_run,
    remember_complete,
    remember_parked,
    run_of,
    supersede_parked,
    told,
)
from backlog_store.rules.upsert import report_one
from backlog_store.rules.view import Context
from backlog_store.rules.voices import live_sources

__all__ = ["end"]

_CHUNK = 500
_PAGE = 1_000
_RETURNS = LIMITS.page


def end(context: Context, body: CompleteRun | AbortRun | JudgeRun) -> tuple[Outcome, ...]:
    """
    Complete, abort or judge a run. The first outcome is the run's own.
    """
    if isinstance(body, CompleteRun):
        return _complete(context, body)
    return _abort(context, body) if isinstance(body, AbortRun) else _judge(context, body)


def _complete(context: Context, body: CompleteRun) -> tuple[Outcome, ...]:
    """
    Complete a run: judge whether it proves anything, then close and reopen, or park it.
    """
    _check_limit(body.limit)
    run = run_of(context, body.run, body.source)
    if run.state != "begun":
        same = run.digest == body.digest and run.expected == body.expected_count
        if not same or run.state in ("aborted", "rejected", "rejecting"):
            raise Conflict(
                f"the run {body.run} is {run.state} already{'' if same else f', {_otherwise(run, body)}'}.",
                hint="Begin a run of its own for another report.",
            )
        if run.state == "closing":
            return _step(context, body.run, run, body.limit)
        return (told(context, body.run, run),)
    return _end(context, body.run, replace(run, expected=body.expected_count, digest=body.digest), body.limit)


def _otherwise(run: Run, body: CompleteRun) -> str:
    if run.digest != body.digest:
        return "with other content"
    return "without an expected count" if run.expected is None else f"with {run.expected:,} findings expected"


def _abort(context: Context, body: AbortRun) -> tuple[Outcome, ...]:
    """
    Abort a run. What came back in it is reopened all the same: it was seen.
    """
    _check_limit(body.limit)
    check = Checker()
    check.text("reason", body.reason, LIMITS.message, required=True)
    check.done("abort")
    run = run_of(context, body.run, body.source)
    if run.state == "closing" and run.then == "aborted":
        return _step(context, body.run, run, body.limit)
    if run.state == "aborted":
        return (told(context, body.run, run),)
    if run.state != "begun":
        raise Conflict(f"the run {body.run} is {run.state} already.", hint="Only a run that goes on can be aborted.")
    return _end(context, body.run, replace(run, why=body.reason), body.limit, state="aborted")


def _judge(context: Context, body: JudgeRun) -> tuple[Outcome, ...]:
    """
    Let a person decide about a run.
    """
    _check_limit(body.limit)
    run = run_of(context, body.run, "")
    if context.actor.kind != "person":
        raise NotAllowed(f"judging the run {body.run}", "only a person may accept or reject what a run would do")
    judged = replace(run, judged_by=context.actor.name, judged_at=context.now, message=body.message)
    if body.accept and run.state == "closing":
        return _step(context, body.run, run, body.limit)
    if body.accept and run.state == "parked":
        remember_complete(context, body.run, run)
        return _step(context, body.run, replace(judged, state="closing"), body.limit)
    if body.accept and run.state in ("empty", "short"):
        return _end(context, body.run, replace(judged, why=""), body.limit)
    if not body.accept and run.state in ("parked", "rejecting"):
        return _reject(context, body.run, judged if run.state == "parked" else run, body.limit)
    wanted = "accepted" if body.accept else "rejected"
    if run.judged_by and run.state == ("completed" if body.accept else "rejected"):
        return (told(context, body.run, run),)
    raise Conflict(f"the run {body.run} is {run.state} and cannot be {wanted}.", hint="Only a parked run waits for it.")


def _end(context: Context, id: str, run: Run, limit: int, *, state: str = "") -> tuple[Outcome, ...]:
    """
    End a run that was begun, or one that a person declares complete (`judged_by`).
    """
    closing = _closing(context)
    lane = lane_record(context, lane_of(id)) or Lane(source=run.source, scope=run.scope)
    if not run.judged_by:
        run, state = _counted(context, id, run, lane, closing, state)
    if not state:
        lane = with_complete(lane, RunRef(id=id, started_at=run.started_at, reported=run.reported, digest=run.digest))
    size, absent, held = _absent(context, id, lane, closing, proves=not state)
    returns = context.reader.scan("proposal", f"{id}/reopen/", "", _RETURNS)
    closes = sum(1 for one in absent if not kept_open_by(context, one.item, run.source))
    run = replace(run, ended_at=context.now, size=size, closes=closes, reopens=len(returns), then=state or "completed")
    over = "" if run.judged_by else too_much(size, (
        ("close", closes, closing.close_share, closing.close_floor),
        ("reopen", len(returns), closing.reopen_share, closing.reopen_floor),
    ))  # fmt: skip
    if not state:
        supersede_parked(context, id, run)
    if over:
        remember_parked(context, id, run)
    elif not state:
        remember_complete(context, id, run)
    if not over and len(absent) + len(returns) <= limit:
        outcomes = [outcome for one in absent if (outcome := close_absent(context, lane, one)) is not None]
        outcomes += [_let_return(context, record) for record in returns]
        return _finished(context, id, _tallied(run, outcomes), outcomes, held)
    _propose(context, id, absent)
    run = replace(run, state="parked" if over else "closing", why=over or run.why)
    put_run(context, id, run)
    # Where it goes on at once, the steps say what became of each.
    return (told(context, id, run), *(_foretold(context, absent, run.source) if over else ()), *held)


def _counted(context: Context, id: str, run: Run, lane: Lane, closing: Closing, state: str) -> tuple[Run, str]:
    """
    Add up what was reported, and say whether it proves anything.
    """
    records = _parts(context, id)
    parts = [from_builtins(record.body, Part) for record in records]
    context.changes += [DropRecord("run", record.id, record.revision) for record in records]
    run = replace(run, reported=sum(part.inside for part in parts), outside=sum(part.outside for part in parts))
    if state:
        return run, state
    state, why = why_nothing_is_proven(lane, run, sum(part.refused for part in parts), closing)
    newest = lane.complete[0] if lane.complete else None
    if not state and newest is not None and run.digest and run.digest == newest.digest:
        until = add_seconds(newest.started_at, closing.min_age_hours * 3_600)
        if run.started_at < until:
            state, why = "repeated", f"it is the report of {newest.id} again"
    if state == "empty":
        _refuse_strange_scope(context, id, run, lane)
    return replace(run, why=why), state


def _parts(context: Context, id: str) -> list[Record]:
    records: list[Record] = []
    while True:
        page = context.reader.scan("run", f"{id}/", records[-1].id if records else "", _PAGE)
        records += page
        if len(page) < _PAGE:
            return records


def _refuse_strange_scope(context: Context, id: str, run: Run, lane: Lane) -> None:
    """
    Refuse a scope that matches nothing: neither what was reported nor what is known. Raises `InvalidInput`.
    """
    if run.outside and not any(scope_pages(context.reader, lane)):
        services = ", ".join(run.scope.services)
        check = Checker()
        check.fault("scope/services", services, f"matches no item, and none of the {run.outside:,} findings reported")
        hint = "Abort it, and begin one whose scope names what is looked at: source, env, services, rules."
        raise InvalidInput(check.faults, what=f"scope of the run {id}", hint=hint)


def _absent(context: Context, id: str, lane: Lane, closing: Closing, *, proves: bool,
            ) -> tuple[int, list[Absent], list[Outcome]]:  # fmt: skip
    """
    Return the live items of the scope, those to close or withdraw, and an outcome for some of those not yet due.
    """
    size = 0
    absent: list[Absent] = []
    held: list[Outcome] = []
    for page in scope_pages(context.reader, lane):
        count, missed = absent_among(context, lane_of(id), lane, page, closing)
        size += count
        if not proves:
            continue
        for one in missed:
            kept = kept_open_by(context, one.item, lane.source)
            if one.due and (not kept or lane.source in live_sources(one.item)):
                absent.append(one)
            elif not one.due and len(held) < LIMITS.drafts_per_command:
                item = one.item
                held.append(Outcome(verdict="held", id=item.id, revision=item.revision, why=one.why, item=item))
    return size, absent, held


# --- steps ------------------------------------------------------------------------------------------------------------


def _propose(context: Context, id: str, absent: Sequence[Absent]) -> None:
    for start in range(0, len(absent), _CHUNK):
        chunk = [[one.item.id, one.item.revision] for one in absent[start : start + _CHUNK]]
        context.put_record("proposal", f"{id}/close/{start // _CHUNK:08d}", {"items": chunk})


def _foretold(context: Context, absent: Sequence[Absent], source: str) -> list[Outcome]:
    told = []
    for one in absent[: LIMITS.drafts_per_command]:
        why = kept_open_by(context, one.item, source) or missed_words(one.missed)
        told.append(Outcome(verdict="held", id=one.item.id, revision=one.item.revision, why=why, item=one.item))
    return told


def _step(context: Context, id: str, run: Run, limit: int) -> tuple[Outcome, ...]:
    """
    Do a part of what is proposed. What somebody changed since it was proposed stays as it is.
    """
    lane = lane_record(context, lane_of(id)) or Lane(source=run.source, scope=run.scope)
    outcomes: list[Outcome] = []
    for record in context.reader.scan("proposal", f"{id}/close/", "", max(1, limit // _CHUNK)):
        revisions = {str(item_id): int(revision) for item_id, revision in record.body["items"]}
        outcomes += _close_proposed(context, id, lane, revisions)
        context.changes.append(DropRecord("proposal", record.id, record.revision))
    more = bool(outcomes)
    if not more:
        for record in context.reader.scan("proposal", f"{id}/reopen/", "", limit):
            outcomes.append(_let_return(context, record))
            more = True
    run = _tallied(run, outcomes)
    if more:
        put_run(context, id, run)
        return (told(context, id, run), *outcomes)
    return _finished(context, id, run, outcomes, ())


def _close_proposed(context: Context, id: str, lane: Lane, revisions: dict[str, int]) -> list[Outcome]:
    context.load_ids(list(revisions))
    found = {item_id: context.find(item_id) for item_id in revisions}
    same = [item for item_id, item in found.items() if item is not None and item.revision == revisions[item_id]]
    _, missed = absent_among(context, lane_of(id), lane, same, _closing(context))
    due = {one.item.id: one for one in missed if one.due}
    outcomes = []
    for item_id, item in found.items():
        one = due.get(item_id)
        outcome = close_absent(context, lane, one) if one is not None else None
        if outcome is None:
            why = "it was reported again since" if item in same else "it was changed since"
            outcome = Outcome(verdict="held", id=item_id, revision=item.revision if item else 0, why=why, item=item)
        outcomes.append(outcome)
    return outcomes


def _let_return(context: Context, record: Record) -> Outcome:
    draft = from_builtins(record.body["draft"], Draft)
    body = from_builtins(record.body["report"], Report)
    context.changes.append(DropRecord("proposal", record.id, record.revision))
    context.load_keys([key] if (key := draft.key) else [])
    context.is_counted = record.body["counted"]
    if not context.is_counted:
        n, first_at = record.body.get("waited", (1, draft.observed_at))
        context.counted[draft.env, draft.dedupe_key] = (n, first_at)
    try:
        return report_one(context, draft, body)
    finally:
        context.is_counted = False


def _reject(context: Context, id: str, run: Run, limit: int) -> tuple[Outcome, ...]:
    records = [*context.reader.scan("proposal", f"{id}/close/", "", limit)]
    returns = [] if records else [*context.reader.scan("proposal", f"{id}/reopen/", "", limit)]
    context.changes += [DropRecord("proposal", record.id, record.revision) for record in (*records, *returns)]
    state = "rejecting" if len(records) + len(returns) == limit or records else "rejected"
    run = replace(run, state=state)
    put_run(context, id, run)
    return (told(context, id, run),)


def _finished(context: Context, id: str, run: Run, outcomes: Sequence[Outcome], held: Sequence[Outcome],
              ) -> tuple[Outcome, ...]:  # fmt: skip
    run = replace(run, state=run.then, then="")
    put_run(context, id, run)
    return (told(context, id, run), *outcomes, *held)


def _tallied(run: Run, outcomes: Sequence[Outcome]) -> Run:
    counts: dict[str, int] = {}
    for outcome in outcomes:
        counts[outcome.verdict] = counts.get(outcome.verdict, 0) + 1
    closed, withdrawn, reopened = (counts.pop(verdict, 0) for verdict in ("closed", "updated", "reopened"))
    return replace(run, closed=run.closed + closed, withdrawn=run.withdrawn + withdrawn,
                   reopened=run.reopened + reopened, kept=run.kept + sum(counts.values()))  # fmt: skip


def _closing(context: Context) -> Closing:
    return context.policy.closing or DEFAULT_CLOSING


def _check_limit(limit: int) -> None:
    check = Checker()
    if isinstance(limit, bool) or not 1 <= limit <= LIMITS.drafts_per_command:
        check.fault("limit", limit, f"1 to {LIMITS.drafts_per_command}")
    check.done("run")
