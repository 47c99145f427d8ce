"""
The section `workflow`: which moves there are, and what a move or a closing must bring along.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

from msgspec import Meta, Struct, field

from backlog_store.model import LIVE, Actor, ClosingReason, Status
from backlog_store.policy import ACCEPTANCE_DAYS_MAX, DEFAULT_TRANSITIONS
from backlog_store.policy.findings import Finding
from backlog_store.policy.forms import ActorWord, Name, When
from backlog_store.policy.matching import Subject, matches

if TYPE_CHECKING:
    from backlog_store.policy import Policy

__all__ = ["Guard", "Workflow"]


class Guard(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """
    A condition on moves and closings. All that match hold; the first one that is violated refuses.
    """

    name: Annotated[Name, Meta(description="What a refusal calls it.")]
    when: Annotated[When, Meta(description="Which items it guards; all, if left out.")] = field(default_factory=dict)
    unless: Annotated[When, Meta(description="Which of them it does not guard.")] = field(default_factory=dict)
    from_: Annotated[tuple[Status, ...], Meta(description="Only from these statuses.")] = field(
        default=(), name="from"
    )  # fmt: skip
    to: Annotated[tuple[Status, ...], Meta(description="Only to these statuses.")] = ()
    reason: Annotated[tuple[ClosingReason, ...], Meta(description="Only closings for these reasons.")] = ()
    by: Annotated[ActorWord | None, Meta(description="Who may: only a person, or only a machine.")] = None
    actors: Annotated[tuple[Name, ...], Meta(description="Who may, by name.")] = ()
    message: Annotated[bool, Meta(description="Words are required.")] = False
    approvers: Annotated[tuple[Name, ...], Meta(
        description="One of these must be named as approver; `*` is anybody but the one who asks.")] = ()  # fmt: skip
    owner: Annotated[bool, Meta(description="The item must have an owner.")] = False


class Workflow(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """
    Moves and their guards.
    """

    transitions: Annotated[dict[Status, tuple[Status, ...]], Meta(
        description="Which statuses each status may move to; replaces the built-in table. "
        "A status that is not named has no moves.")] = field(default_factory=dict)  # fmt: skip
    acceptance_days_max: Annotated[int, Meta(
        description="How many days ahead an accepted risk may end.", ge=1, le=3_660)] = ACCEPTANCE_DAYS_MAX  # fmt: skip
    guards: Annotated[tuple[Guard, ...], Meta(description="What moves and closings must bring.", max_length=200)] = ()

    @property
    def table(self) -> dict[str, tuple[str, ...]]:
        """
        Return the moves that there are.
        """
        return dict(self.transitions) if self.transitions else DEFAULT_TRANSITIONS  # type: ignore[arg-type]

    def refused_by(self, subject: Subject, actor: Actor, *, from_: str, to: str, reason: str = "", message: str = "",
                   approver: str = "") -> tuple[int, Guard, str] | None:  # fmt: skip
        """
        Return the first guard that refuses a move or closing, with its number and what it wants; ``None`` if none does.
        """
        for number, guard in enumerate(self.guards):
            if _is_about(guard, from_, to, reason) and matches(subject, guard.when, guard.unless):
                want = _wanted(guard, subject, actor, message, approver)
                if want:
                    return number, guard, want
        return None

    def check(self, policy: Policy) -> Iterator[Finding]:
        """
        Yield tables from which there is no way out, guards without a demand, and demands that nobody can meet.
        """
        for status, targets in self.transitions.items():
            here = f"/workflow/transitions/{status}"
            if status in targets:
                yield Finding(pointer=here, reason=f"{status} to {status} is no move")
        if self.transitions:
            yield from self._dead_ends()
        seen: dict[str, int] = {}
        for number, guard in enumerate(self.guards):
            here = f"/workflow/guards/{number}"
            if guard.name in seen:
                first = policy.lines.get(f"/workflow/guards/{seen[guard.name]}", 0)
                yield Finding(pointer=f"{here}/name", reason=f"{guard.name!r} is already the name in line {first}")
            seen.setdefault(guard.name, number)
            yield from _check_guard(guard, here)

    def _dead_ends(self) -> Iterator[Finding]:
        targets = {target for moves in self.transitions.values() for target in moves}
        for status in sorted(LIVE & targets):
            if not self.transitions.get(status):  # type: ignore[call-overload]
                yield Finding(pointer="/workflow/transitions", warning=True, at_key=True,
                              reason=f"no move leads out of {status}: only closing does")  # fmt: skip


def _is_about(guard: Guard, from_: str, to: str, reason: str) -> bool:
    return (
        (not guard.from_ or from_ in guard.from_)
        and (not guard.to or to in guard.to)
        and (not guard.reason or reason in guard.reason)
    )


def _wanted(guard: Guard, subject: Subject, actor: Actor, message: str, approver: str) -> str:
    if guard.by is not None and actor.kind != guard.by:
        return f"a {guard.by} does this"
    if guard.actors and actor.name not in guard.actors:
        return f"only {', '.join(guard.actors)} may do this"
    if guard.message and not message.strip():
        return "words are required"
    if guard.approvers and not _approves(guard, actor, approver):
        others = [name for name in guard.approvers if name != "*"]
        named = f"one of {', '.join(others)}" if others else f"somebody other than {actor.name}"
        return f"an approver is required: {named}"
    if guard.owner and not subject.owner:
        return "it needs an owner first"
    return ""


def _approves(guard: Guard, actor: Actor, approver: str) -> bool:
    return approver in guard.approvers or ("*" in guard.approvers and approver not in ("", actor.name))


def _check_guard(guard: Guard, pointer: str) -> Iterator[Finding]:
    if guard.by is None and not (guard.actors or guard.message or guard.approvers or guard.owner):
        yield Finding(pointer=pointer, reason="demands nothing: give by, actors, message, approvers or owner")
    ends = {"done" if reason == "fixed" else "canceled" for reason in guard.reason}
    if guard.reason and guard.to and not ends & set(guard.to):
        reason = f"closing as {', '.join(guard.reason)} never ends in {', '.join(guard.to)}, so this guards nothing"
        yield Finding(pointer=f"{pointer}/to", reason=reason)
