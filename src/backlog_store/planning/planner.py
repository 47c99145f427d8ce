"""
Deciding what commands would do, one after the other, and applying exactly that.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from msgspec import Struct
from msgspec.structs import replace

from backlog_store import commands as c
from backlog_store.backends.port import Put
from backlog_store.codec import from_builtins
from backlog_store.errors import PlanChanged
from backlog_store.ids import batch_id, derived
from backlog_store.instants import add_seconds
from backlog_store.planning.kept import PLAN_DAYS, Plan, Step, keep_in_store
from backlog_store.preview import departures, digest_of, foreseen, same, token_of
from backlog_store.rules.overlay import Overlay
from backlog_store.rules.policies import policy_in_force

if TYPE_CHECKING:
    from backlog_store.backlog import Backlog
    from backlog_store.rules import Decision

__all__ = ["Applied", "Planned", "Planner", "apply_plan"]

_DEPARTURES_SHOWN = 1_000
_DAY_S = 86_400


class Planned(Struct, frozen=True, kw_only=True):
    """
    One outcome of a plan, and the fields that it changes: name to old and new value.
    """

    outcome: c.Outcome
    changes: Mapping[str, tuple[Any, Any]]


class Applied(Struct, frozen=True, kw_only=True):
    """
    What became of a plan: its batch, and the answer to each step. `again`: it was applied before, and nothing changed.
    """

    batch: str
    answers: tuple[c.Answer, ...]
    again: bool = False


class Planner:
    """
    Decides commands one after the other, each on what those before it would leave behind. Writes nothing.

    Every command sees the present state: what others change between two of them is seen by the second.
    """

    def __init__(self, backlog: Backlog) -> None:
        self.backlog = backlog
        self.over = Overlay()
        self.steps: list[Step] = []

    def acting_as(self, name: str) -> Planner:
        """
        Return the same planner for another actor, a machine.
        """
        other = Planner(self.backlog.acting_as(name))
        other.over, other.steps = self.over, self.steps
        return other

    def execute(self, body: c.Body, *, request_id: str = "", batch: str = "") -> c.Answer:
        """
        Decide a command. Raises what carrying it out would raise.
        """
        return replace(self._decide(body, request_id).answer, batch=batch)

    def foresee(self, body: c.Body, *, request_id: str = "") -> list[Planned]:
        """
        Decide a command; return each outcome with what it changes.
        """
        decision = self._decide(body, request_id)
        changed: dict[str, Mapping[str, tuple[Any, Any]]] = {}
        for change in decision.changes:
            if isinstance(change, Put):
                changed[change.item.id] = {**changed.get(change.item.id, {}), **change.event.changes}
        touched = ("unchanged", "suppressed", "held", "refused")
        return [Planned(outcome=one, changes={} if one.verdict in touched else changed.get(one.id, {}))
                for one in decision.answer.outcomes]  # fmt: skip

    def _decide(self, body: c.Body, request_id: str) -> Decision:
        decision = self.backlog.executor.foresee(self.backlog.command(body, request_id=request_id), self.over)
        self.over.absorb(decision.changes)
        decisions = foreseen(body, decision.answer.outcomes)
        self.steps.append(Step(actor=self.backlog.actor, body=body, decisions=decisions))
        return decision

    def plan(self, about: Mapping[str, Any] | None = None) -> Plan:
        """
        Return what was decided so far.
        """
        policy = self.backlog.executor.read(policy_in_force).revision
        token = token_of(policy, ((step.body, step.decisions) for step in self.steps))
        return Plan(token=token, policy=policy, made_at=self.backlog.clock(), by=self.backlog.actor.name,
                    steps=tuple(self.steps), about=dict(about or {}))  # fmt: skip


def apply_plan(backlog: Backlog, plan: Plan) -> Applied:
    """
    Decide every step again and, if all is as planned, carry the plan out as one batch.

    Raises `PlanChanged` with what changed; nothing is written then. Each step is held against its decisions once more
    in its own transaction: should somebody come between, it says how far it got, and applying again after a new plan
    goes on. The same plan again, also after a crash half-way, does only what is still to be done. A plan that was made
    at another time is another one, though its token may be the same: what it shows may be.

    With the backlog on a server the plan is handed over, and all of this happens there, where everything is seen.
    """
    applied_there = getattr(backlog.executor, "apply", None)
    if applied_there is not None:
        keep_in_store(backlog, plan)
        return from_builtins(applied_there(plan.token), Applied)
    until = add_seconds(plan.made_at, PLAN_DAYS * _DAY_S)
    if backlog.clock() > until:
        raise PlanChanged(plan.token, [f"it was made at {plan.made_at} and could be applied until {until}"])
    batch = batch_id(_name_of(plan))
    changed = list(_changed(backlog, plan))
    if changed:
        raise PlanChanged(plan.token, changed)
    answers: list[c.Answer] = []
    for number, step in enumerate(plan.steps):
        command = _command(backlog, plan, number, step, batch)
        try:
            answers.append(backlog.executor.execute(command))
        except PlanChanged as error:
            done = sum(1 for answer in answers if not answer.replayed)
            detail = f"{done} of {len(plan.steps)} parts were applied before; `backlog undo {batch}` sets them back"
            raise PlanChanged(plan.token, error.departures, detail=detail if done else "") from error
    return Applied(batch=batch, answers=tuple(answers), again=bool(answers) and all(one.replayed for one in answers))


def _name_of(plan: Plan) -> str:
    # Who plans the same again later may be shown the same token, and means another time.
    return derived(plan.token, plan.made_at)


def _command(backlog: Backlog, plan: Plan, number: int, step: Step, batch: str) -> c.Command:
    # In reports sources act as the machines that they are; all else that was planned is done by whoever applies it.
    is_report = isinstance(step.body, c.Reporting) and step.actor.kind == "machine"
    actor = step.actor if is_report else backlog.actor
    command = backlog.command(step.body, request_id=f"plan/{_name_of(plan)}/{number}", batch=batch)
    return replace(command, actor=actor, expect=digest_of(step.decisions))


def _changed(backlog: Backlog, plan: Plan) -> Iterator[str]:
    policy = backlog.executor.read(policy_in_force).revision
    if policy != plan.policy:
        yield f"the policy in force is revision {policy}, the plan was made under revision {plan.policy}"
    over = Overlay()
    told = 0
    for number, step in enumerate(plan.steps):
        command = replace(_command(backlog, plan, number, step, ""), expect="")
        decision = backlog.executor.foresee(command, over)
        over.absorb(decision.changes)
        now = foreseen(step.body, decision.answer.outcomes)
        if not same(step.decisions, now):
            for line in departures(step.decisions, now):
                yield line
                told += 1
            if told >= _DEPARTURES_SHOWN:
                return
