"""
Runs: beginning one, and what is reported in it. How one ends: `rules.ending`.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from backlog_store.codec import digest, encode, from_builtins, to_builtins
from backlog_store.commands import AbortRun, BeginRun, CompleteRun, JudgeRun, Outcome, Report
from backlog_store.errors import NotAllowed, NotFound
from backlog_store.ids import derived
from backlog_store.instants import add_seconds
from backlog_store.model import LIMITS, Draft, Item
from backlog_store.rules.checks import Checker
from backlog_store.rules.lanes import Lane, Part, Run, RunRef, declared, lane_id, lane_of, with_complete
from backlog_store.rules.view import Context

__all__ = [
    "RUN_REOPENS", "begin", "hold_return", "lane_of", "lane_record", "named", "note_reported", "open_run", "part_name",
    "put_run", "remember_complete", "remember_parked", "run_of", "supersede_parked", "told",
]  # fmt: skip

#: Why a report of a run is held that reopens something; a pipeline asks for it.
RUN_REOPENS = "it is back; the run reopens it when it ends"

#: What a run does not get out of. (An empty or short one a person may still declare complete.)
_OVER = frozenset({"completed", "repeated", "aborted", "rejected", "superseded", "empty", "short"})


def begin(context: Context, body: BeginRun) -> Outcome:
    """
    Begin a run. The same name again changes nothing.
    """
    check = Checker()
    check.text("source", body.source, LIMITS.name, required=True)
    if body.name:
        check.id("name", body.name)
    _check_scope(check, body)
    check.done("run")
    scope = declared(body.scope)
    lane_name = lane_id(body.source, scope)
    id = f"{lane_name}/{body.name or _drawn_name(context)}"
    known = context.record("run", id)
    if known is not None:
        run = from_builtins(known.body, Run)
        return Outcome(verdict=run.state, id=id, revision=known.revision, why="this run is known")  # type: ignore[arg-type]
    lane = lane_record(context, lane_name) or Lane(source=body.source, scope=scope)
    # A clock that went back must not make a later run look older than an earlier one.
    started_at = context.now if context.now > lane.last_at else add_seconds(lane.last_at, 0.000_001)
    run = Run(source=body.source, scope=scope, state="begun", started_at=started_at, by=context.actor.name)
    context.put_record("run", id, to_builtins(run), expires_at=add_seconds(context.now, LIMITS.run_days * 86_400))
    context.put_record("run", lane_name, to_builtins(replace(lane, last_at=started_at)))
    return Outcome(verdict="begun", id=id, revision=1)


def _drawn_name(context: Context) -> str:
    return f"{context.now[:19].replace('-', '').replace(':', '')}-{derived('run', context.command.seed)[:6]}"


def named(body: BeginRun | CompleteRun | AbortRun | JudgeRun) -> list[str]:
    """
    Return the ids of the records that a command about a run surely reads.
    """
    if isinstance(body, BeginRun):
        lane = lane_id(body.source, body.scope)
        return [lane, f"{lane}/{body.name}"] if body.name else [lane]
    return [body.run, lane_of(body.run)] if lane_of(body.run) else []


def _check_scope(check: Checker, body: BeginRun) -> None:
    check.env(body.scope.env)
    check.text("scope/ref", body.scope.ref, LIMITS.name)
    if not body.scope.services:
        check.fault("scope/services", "", "name at least one service or repository: a run closes nothing elsewhere")
    for name, texts in (("services", body.scope.services), ("rules", body.scope.rules)):
        if len(texts) > LIMITS.drafts_per_command:
            check.fault(f"scope/{name}", f"{len(texts)} names", f"at most {LIMITS.drafts_per_command}")
        for index, text in enumerate(texts):
            check.text(f"scope/{name}/{index}", text, LIMITS.name, required=True)


def open_run(context: Context, id: str) -> Run | None:
    """
    Return the run of this id, if it is under way. Any text may be named as a report's run; most are none of ours.
    """
    if not lane_of(id):
        return None
    record = context.record("run", id)
    if record is None:
        return None
    run = from_builtins(record.body, Run)
    return run if run.state == "begun" else None


def note_reported(context: Context, run: Run, body: Report, refused: Sequence[bool]) -> None:
    """
    Remember how much was reported, once: a report that comes again is the same part.
    """
    inside: set[tuple[str, str]] = set()
    unkeyed = outside = 0
    for draft, wrong in zip(body.drafts, refused, strict=True):
        if wrong:
            continue
        if draft.source != run.source or not _is_inside(run, draft):
            outside += 1
        elif draft.dedupe_key:
            inside.add((draft.env, draft.dedupe_key))
        else:
            unkeyed += 1
    part = Part(inside=len(inside) + unkeyed, outside=outside, refused=sum(refused))
    id = f"{body.run}/{part_name(body)}"
    if context.record("run", id) is None:
        context.put_record("run", id, to_builtins(part))


def part_name(body: Report) -> str:
    """
    Return the name of the part of a run that a report is: the same for the same drafts.
    """
    return digest(
        repr([(draft.env, draft.dedupe_key, draft.title) for draft in body.drafts]).encode("utf-8", "replace")
    )


def _is_inside(run: Run, draft: Draft) -> bool:
    scope = run.scope
    return (
        draft.env == scope.env
        and draft.service in scope.services
        and (not scope.rules or draft.key_inputs.get("rule", "") in scope.rules)
    )


def hold_return(context: Context, draft: Draft, body: Report, seen_at: str, id: str, item: Item | None) -> Outcome:
    """
    Keep a report that reopens something until its run ends; of an *item* that is there it was counted.
    """
    key = digest(encode((draft.env, draft.dedupe_key)))
    how = to_builtins(replace(body, drafts=()))
    kept = to_builtins(replace(draft, observed_at=seen_at))
    told = {"draft": kept, "report": how, "counted": item is not None}
    if item is None:  # nothing else counts what came before it returned
        told["waited"] = list(context.counted.get((draft.env, draft.dedupe_key), (1, seen_at)))
    context.put_record("proposal", f"{body.run}/reopen/{key}", told)
    return Outcome(verdict="held", id=id, revision=item.revision if item else 0, item=item, why=RUN_REOPENS)


def run_of(context: Context, id: str, source: str) -> Run:
    """
    Return the run of this id, for *source* (empty: whoever asks). Raises `NotFound`, `NotAllowed`.
    """
    record = context.record("run", id) if lane_of(id) else None
    if record is None or id.count("/") != 1:
        raise NotFound("run", id, hint="`backlog run list` shows the runs.")
    run = from_builtins(record.body, Run)
    if source and run.source != source:
        raise NotAllowed(f"ending the run {id} as {source}", f"it is a run of {run.source}",
                         hint="Each source ends its own runs.")  # fmt: skip
    return run


def lane_record(context: Context, id: str) -> Lane | None:
    """
    Return what is remembered of a lane.
    """
    record = context.record("run", id)
    return None if record is None else from_builtins(record.body, Lane)


def remember_complete(context: Context, id: str, run: Run) -> None:
    """
    Let the lane remember a run that looked at all of its scope.
    """
    lane = lane_record(context, lane_of(id)) or Lane(source=run.source, scope=run.scope)
    if run.then in ("", "completed"):
        ref = RunRef(id=id, started_at=run.started_at, reported=run.reported, digest=run.digest)
        context.put_record("run", lane_of(id), to_builtins(with_complete(lane, ref)))


def remember_parked(context: Context, id: str, run: Run) -> None:
    """
    Let the lane remember a run that waits for a person.
    """
    lane = lane_record(context, lane_of(id)) or Lane(source=run.source, scope=run.scope)
    context.put_record("run", lane_of(id), to_builtins(replace(lane, parked=(*lane.parked, id))))


def supersede_parked(context: Context, id: str, run: Run) -> None:
    """
    Let parked runs of the lane that began before a complete one wait no longer: this one looked again.
    """
    lane = lane_record(context, lane_of(id))
    if lane is None or not lane.parked:
        return
    later = []
    for other_id in lane.parked:
        record = context.record("run", other_id)
        other = from_builtins(record.body, Run) if record is not None else None
        if other_id == id or other is None or other.state != "parked":
            continue
        if other.started_at >= run.started_at:
            later.append(other_id)
            continue
        put_run(context, other_id, replace(other, state="superseded", why=f"the run {id} looked again"))
        # What is left of a very large one goes with the run itself.
        for one in context.reader.scan("proposal", f"{other_id}/", "", LIMITS.step_rows // 2):
            context.drop_record("proposal", one.id)
    context.put_record("run", lane_of(id), to_builtins(replace(lane, parked=tuple(later))))


def put_run(context: Context, id: str, run: Run) -> None:
    """
    Decide what is known of a run; for a time, once nothing more becomes of it.
    """
    until = add_seconds(context.now, LIMITS.run_days * 86_400) if run.state in _OVER else ""
    context.put_record("run", id, to_builtins(run), expires_at=until)


def told(context: Context, id: str, run: Run) -> Outcome:
    """
    Return the outcome that says what a run is in.
    """
    record = context.record("run", id)
    return Outcome(verdict=run.state, id=id, revision=record.revision if record else 0, why=run.why)  # type: ignore[arg-type]
