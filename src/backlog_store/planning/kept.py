"""
Plans as lines of JSON: a head that says what it is, then a line a step. In a file, or kept in the store by their token.

In the store a plan is cut into parts of bounded size, records of kind ``plan``, ``<token>/<number>``; ``<token>`` is
kept last, says how many there are, and holds the first one. They are let go when the plan can be applied no more.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from backlog_store.codec import decode_json, encode, from_builtins, to_builtins
from backlog_store.commands import Body, KeepPlan
from backlog_store.errors import Fault, InvalidInput, NotFound
from backlog_store.instants import Instant, add_seconds
from backlog_store.model import Actor, Record
from backlog_store.preview import Decided, token_of

if TYPE_CHECKING:
    from backlog_store.backlog import Backlog

__all__ = ["PLAN_DAYS", "Plan", "Step", "keep_in_store", "kept_in_store", "lines_of_plan", "plan_of_lines",
           "plans_in_store"]  # fmt: skip

#: How long a plan can be applied: less than answers to requests are kept, which make applying it twice harmless.
PLAN_DAYS = 7
_FORMAT = "backlog-plan"
_VERSION = 1
_DAY_S = 86_400
#: Characters of one part: with what escapes add to them, well below what one transaction may hold.
_PART = 400_000


class Step(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """
    One command of a plan: who asks what, and what was decided.
    """

    actor: Actor
    body: Body
    decisions: tuple[Decided, ...]


class Plan(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """
    Commands and what was decided for each, under a revision of the policy. `about` is for people: where it came from.
    """

    token: str
    policy: int
    made_at: Instant
    by: str
    steps: tuple[Step, ...]
    about: dict[str, Any] = {}


_steps = msgspec.json.Decoder(Step)


class _Head(Struct, frozen=True, kw_only=True):
    format: str
    version: int
    steps: int
    plan: dict[str, object]


def lines_of_plan(plan: Plan) -> Iterator[bytes]:
    """
    Yield the lines of a plan, each with its end.
    """
    head = to_builtins(replace(plan, steps=()))
    head.pop("steps", None)
    yield encode(_Head(format=_FORMAT, version=_VERSION, steps=len(plan.steps), plan=head)) + b"\n"
    for step in plan.steps:
        yield encode(step) + b"\n"


def plan_of_lines(lines: Iterable[bytes], where: str) -> Plan:
    """
    Return the plan that these lines are. Raises `InvalidInput` for no whole plan, or another than its token says.
    """
    read = iter(lines)
    try:
        head = from_builtins(decode_json(next(read, b"")), _Head)
        plan = from_builtins({**head.plan, "steps": []}, Plan)
        steps = tuple(map(_steps.decode, read))
    except (msgspec.DecodeError, ValueError, TypeError) as error:
        raise _no_plan(where, f"is no plan of this program: {error}") from error
    if (head.format, head.version) != (_FORMAT, _VERSION):
        raise _no_plan(where, f"is {head.format} {head.version}, and this program reads {_FORMAT} {_VERSION}")
    if len(steps) != head.steps:
        raise _no_plan(where, f"holds {len(steps)} of {head.steps} steps: it was cut off")
    if token_of(plan.policy, ((step.body, step.decisions) for step in steps)) != plan.token:
        raise _no_plan(where, f"is another plan than {plan.token}, which it says it is: it was changed")
    return replace(plan, steps=steps)


def _no_plan(where: str, reason: str) -> InvalidInput:
    return InvalidInput([Fault("", where, reason)], what="plan", hint="Make a new one: backlog plan.")


def keep_in_store(backlog: Backlog, plan: Plan) -> None:
    """
    Keep a plan in the store until it can be applied no more, over an older one of the same token.
    """
    text = b"".join(lines_of_plan(plan)).decode()
    parts = [text[start : start + _PART] for start in range(0, len(text), _PART)]
    until = add_seconds(plan.made_at, PLAN_DAYS * _DAY_S)
    for number in reversed(range(len(parts))):
        body = KeepPlan(token=plan.token, number=number, text=parts[number], until=until,
                        parts=0 if number else len(parts))  # fmt: skip
        backlog.execute(body)


def kept_in_store(backlog: Backlog, token: str) -> Plan:
    """
    Return the plan that is kept by this token; `by` is who kept it there. Raises `NotFound`.
    """
    first = backlog.read(lambda reader: reader.records("plan", [token])).get(token)
    if first is None or "/" in token or first.expires_at <= backlog.clock():
        raise NotFound("plan", token, hint=f"A plan is kept for {PLAN_DAYS} days; make a new one.")
    text = str(first.body["text"])
    for number in range(1, int(first.body["parts"])):
        part = f"{token}/{number:06d}"
        record = backlog.read(lambda reader, part=part: reader.records("plan", [part])).get(part)  # type: ignore[misc]
        text += str(record.body["text"]) if record is not None else ""
    plan = plan_of_lines(text.encode().splitlines(keepends=True), token)
    return replace(plan, by=str(first.body["by"]))


def plans_in_store(backlog: Backlog) -> Iterator[Plan]:
    """
    Yield the plans that are kept, without their steps, by token.
    """
    now = backlog.clock()
    for record in backlog.records("plan"):
        if "/" not in record.id and record.expires_at > now:
            yield _head_of(record)


def _head_of(record: Record) -> Plan:
    head = from_builtins(decode_json(str(record.body["text"]).partition("\n")[0]), _Head)
    return from_builtins({**head.plan, "by": record.body["by"], "steps": []}, Plan)
