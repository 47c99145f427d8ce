"""
The one way into the rules: a command and a view of the store in, changes and an answer out.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from backlog_store.backends.port import Change, Hint, Put, Reader
from backlog_store.codec import digest, encode, from_builtins, to_builtins
from backlog_store.commands import (
    AbortRun,
    Answer,
    BeginRun,
    Body,
    Bulk,
    Command,
    CompleteRun,
    Create,
    Deactivate,
    DropExpired,
    JudgeRun,
    LiftVerdict,
    Merge,
    Outcome,
    Report,
    Resolve,
    ShortenHistory,
    Single,
    Split,
)
from backlog_store.errors import BacklogError, PlanChanged, RequestExpired, RequestReused
from backlog_store.instants import add_seconds, is_instant
from backlog_store.model import ACTOR_KINDS, LIMITS, Actor, Key, RecordKind, key_record_id
from backlog_store.policy import DEFAULT_POLICY, Policy
from backlog_store.rules import policies
from backlog_store.rules.checks import Checker
from backlog_store.rules.view import Context

__all__ = ["Decision", "check_command", "decide", "hint_of"]

_DAY_S = 86_400


class Decision(Struct, frozen=True):
    """
    What a command comes to: changes to apply in one transaction, and the answer once they are.
    """

    changes: tuple[Change, ...]
    answer: Answer


def decide(
    reader: Reader, command: Command, policy: Policy = DEFAULT_POLICY, *, instead: Policy | None = None
) -> Decision:
    """
    Decide a command on a view of the store. Raises the errors of the rules; then nothing is to be written.

    A request id that was answered before gives that answer again, and no change. The policy in force is read in the
    same view; *policy* holds where the store has none, and *instead* in its place (to try one).
    """
    context = Context(reader, command, policy)
    if command.request_id:
        answer = _first_answer(context)
        if answer is not None:
            return Decision((), answer)
    context.policy = policies.in_force(context.record, policy) if instead is None else instead
    if command.scope is None:
        outcomes = _outcomes(context, command.body)
    else:
        from backlog_store.rules.scoping import outcomes_within  # a server's alone

        outcomes = outcomes_within(command.scope, context, command.body, _outcomes)
    if command.expect:
        from backlog_store.preview import digest_of, foreseen  # a plan's alone

        if command.expect != digest_of(foreseen(command.body, outcomes)):
            raise PlanChanged(command.expect, ())
    answer = Answer(batch=context.batch, outcomes=outcomes, next=context.next)
    if command.request_id:
        _keep_answer(context, answer)
    return Decision(tuple(context.changes), answer)


def _outcomes(context: Context, body: Body) -> tuple[Outcome, ...]:
    from backlog_store.rules.table import MANY, ONE  # all rules there are: who only reads needs none of them

    if context.command.token:
        from backlog_store.rules.claiming import check_token

        check_token(context, getattr(body, "id", ""), context.command.token)
    one = ONE.get(type(body))
    if one is not None:
        return (one(context, body),)
    if isinstance(body, Bulk):
        return _bulk(context, body)
    return MANY[type(body)](context, body)


def _bulk(context: Context, body: Bulk) -> tuple[Outcome, ...]:
    """
    Decide one body after the other, each on what those before it leave behind.

    A revision that a body names is the one that its item had before all of them: that closing one item freed another,
    which is closed next, is no change by somebody else. An item that was named before is at its present revision.
    """
    outcomes: list[Outcome] = []
    named: set[str] = set()
    before: dict[str, int] = {}
    seen = 0
    for one in body.bodies:
        id, revision, single = getattr(one, "id", ""), getattr(one, "revision", 0), one
        if revision and before.get(id) == revision and id not in named:
            single = replace(one, revision=context.item(id).revision)
        named.add(id)
        outcomes.append(_bulk_one(context, single, keep_going=body.keep_going))
        for change in context.changes[seen:]:
            if isinstance(change, Put):
                before.setdefault(change.item.id, change.item.revision - 1)
        seen = len(context.changes)
    return tuple(outcomes)


def _bulk_one(context: Context, body: Any, *, keep_going: bool) -> Outcome:
    from backlog_store.rules.table import ONE

    try:
        return ONE[type(body)](context, body)
    except BacklogError as error:
        if not keep_going:
            raise
        # Every rule checks before it changes anything, so a refused body has left no change behind.
        return Outcome(verdict="refused", id=getattr(body, "id", ""), code=error.code, why=str(error))


def _answer_id(actor: Actor, request_id: str) -> str:
    return f"{len(actor.name)}:{actor.name}/{request_id}"


def _body_digest(body: Body) -> str:
    if body.DRAWN:
        # Whether there is one is asked for, what it is was drawn or looked up.
        body = replace(body, **{name: "drawn" for name in body.DRAWN if getattr(body, name)})
    try:
        return digest(encode(body))
    except UnicodeEncodeError:
        # One draft with a lone surrogate is refused by itself; the others of its report still want their answer kept.
        return digest(repr(body).encode("ascii", "backslashreplace"))


def _first_answer(context: Context) -> Answer | None:
    request_id = context.command.request_id
    record = context.record("answer", _answer_id(context.actor, request_id))
    if record is None:
        return None
    if record.body["digest"] != _body_digest(context.command.body):
        raise RequestReused(request_id)
    if record.expires_at <= context.now or "answer" not in record.body:
        raise RequestExpired(request_id, kept_days=LIMITS.answer_days)
    return replace(from_builtins(record.body["answer"], Answer), replayed=True)


def _keep_answer(context: Context, answer: Answer) -> None:
    kept = replace(answer, outcomes=tuple(replace(outcome, item=None) for outcome in answer.outcomes))
    body = {"digest": _body_digest(context.command.body), "answer": to_builtins(kept)}
    context.put_record("answer", _answer_id(context.actor, context.command.request_id), body,
                       expires_at=add_seconds(context.now, LIMITS.answer_days * _DAY_S))  # fmt: skip


def check_command(command: Command) -> None:
    """
    Refuse an impossible envelope, before any transaction. Raises `InvalidInput` with every fault.
    """
    body = command.body
    is_plain = _has_plain_envelope(command)
    if is_plain and type(body) is Report and len(body.drafts) == 1 and not body.due_days:
        return
    check = Checker()
    if not is_plain:
        check.text("actor/name", command.actor.name, LIMITS.name, required=True)
        check.one_of("actor/kind", command.actor.kind, ACTOR_KINDS)
        check.instant("at", command.at, required=True)
        check.text("seed", command.seed, LIMITS.seed, required=True)
        check.text("request_id", command.request_id, LIMITS.request_id)
        check.text("batch", command.batch, LIMITS.id)
        check.text("expect", command.expect, LIMITS.id)
    if isinstance(body, Report):
        _check_count(check, len(body.drafts))
        for priority, days in body.due_days.items():
            if not 0 <= days <= 36_500:
                check.fault(f"body/due_days/{priority}", days, "0 to 36500 days")
    elif isinstance(body, ShortenHistory | DropExpired | Deactivate):
        _check_count(check, len(body.ids))
        if len(set(body.ids)) < len(body.ids):
            check.fault("body/ids", f"{len(body.ids)} ids", "each id once")
    elif isinstance(body, Bulk):
        _check_count(check, len(body.bodies))
        for index, single in enumerate(body.bodies):
            if not isinstance(single, Single):
                check.fault(f"body/bodies/{index}", type(single).__name__, "not a change of one item")
    check.done("command")


def _has_plain_envelope(command: Command) -> bool:
    """
    Tell at once that nothing is wrong with an envelope of ASCII texts, as is usual.
    """
    actor, seed = command.actor, command.seed
    try:
        every = "".join((actor.name, seed, command.request_id, command.batch, command.expect))  # noqa: FLY002  (takes no other type)
    except TypeError:
        return False
    # Together within what one may have is more than enough for each.
    return (
        every.isascii()
        and "\0" not in every
        and len(every) <= LIMITS.id
        and len(seed) <= LIMITS.seed
        and all(map(str.strip, (actor.name, seed)))
        and actor.kind in ACTOR_KINDS
        and type(command.at) is str
        and is_instant(command.at)
    )


def _check_count(check: Checker, count: int) -> None:
    if count > LIMITS.drafts_per_command:
        check.fault("body", f"{count} entries", f"at most {LIMITS.drafts_per_command} in one command; send several")


def hint_of(command: Command) -> Hint:
    """
    Return what deciding this command is going to read.
    """
    body = command.body
    keys: list[Key] = []
    ids: list[str] = []
    run_records: list[str] = []
    if isinstance(body, Report):
        keys = [(draft.env, draft.dedupe_key) for draft in body.drafts if draft.dedupe_key]
        if body.run:
            from backlog_store.rules.runs import lane_of, part_name

            run_records = [body.run, f"{body.run}/{part_name(body)}"] if lane_of(body.run) else []
    elif isinstance(body, BeginRun | CompleteRun | AbortRun | JudgeRun):
        from backlog_store.rules.runs import named

        run_records = named(body)
    elif isinstance(body, Resolve):
        keys = [(body.env, key) for key in body.dedupe_keys]
    elif isinstance(body, Create):
        keys = [key] if (key := body.draft.key) is not None else []
    elif isinstance(body, Merge):
        ids = [*body.ids, body.into]
    elif isinstance(body, LiftVerdict | Split):
        keys = [(body.env, body.dedupe_key)]
    else:
        for single in body.bodies if isinstance(body, Bulk) else (body,):
            ids += [getattr(single, name) for name in ("id", "other") if hasattr(single, name)]
    records: list[tuple[RecordKind, str]] = [policies.CURRENT_RECORD]
    records += [("key", key_record_id(key)) for key in keys]
    if run_records:
        records += [("run", id) for id in run_records]
    if command.request_id:
        records.append(("answer", _answer_id(command.actor, command.request_id)))
    return Hint(tuple(ids), tuple(keys), tuple(records))
