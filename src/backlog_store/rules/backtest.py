"""
What another policy would decide differently: the same rules, run twice on the same view, and the outcomes compared.

Nothing is written and nothing is guessed: `decide` itself decides what is reported, under the policy in force and under
the other one; of the items that are there, the fields that a policy gives are derived under both.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from backlog_store.backends.port import Put, Reader
from backlog_store.commands import Command, Outcome, Report
from backlog_store.instants import Instant
from backlog_store.model import Draft, Item
from backlog_store.policy import Policy
from backlog_store.policy.findings import Finding, nearest
from backlog_store.policy.matching import Condition, Subject, covers, matches, values_of
from backlog_store.policy.sections import SECTIONS
from backlog_store.rules.assigning import assigned, reported_priority
from backlog_store.rules.decide import decide
from backlog_store.workflow import held_by

__all__ = ["FIELDS", "Difference", "IdleConditions", "compare_items", "compare_report"]

#: Fields of items that a policy gives, and so can move.
FIELDS = ("priority", "owner")
#: Values of a field that are remembered, to suggest one of them.
_KNOWN_MAX = 10_000
_COMPARED = (*FIELDS, "due_date", "status")


class Difference(Struct, frozen=True, kw_only=True):
    """
    One thing that is decided differently: a field of an item, or the verdict on a report.

    `held_by` names the person whose value stands all the same: that is told, and changes nothing.
    """

    id: str
    title: str
    field: str
    before: str
    after: str
    because: dict[str, Any] = {}
    held_by: str = ""


def compare_items(items: Iterable[Item], old: Policy, new: Policy, now: Instant) -> Iterator[Difference]:
    """
    Yield what the next reports of these items would change under *new* and not under *old*.

    An item that no source reports stays as it is.
    """
    for item in items:
        if not item.claims:
            continue
        free = replace(item, held={}, held_until={}) if item.held else item
        before, _ = assigned(old, free, now)
        after, because = assigned(new, free, now)
        for name in FIELDS:
            was, will = getattr(before, name), getattr(after, name)
            if was != will:
                yield Difference(id=item.id, title=item.title, field=name, before=was, after=will,
                                 because=because.get(name, {}), held_by=held_by(item, name, now))  # fmt: skip


def compare_report(reader: Reader, command: Command, old: Policy, new: Policy) -> Iterator[Difference]:
    """
    Yield what becomes of the drafts of a report under *new* and not under *old*.
    """
    assert isinstance(command.body, Report)
    before = decide(reader, command, instead=old).answer.outcomes
    after = decide(reader, command, instead=new)
    reasons = {change.item.id: change.event.meta for change in after.changes if isinstance(change, Put)}
    for draft, was, will in zip(command.body.drafts, before, after.answer.outcomes, strict=True):
        yield from _differences(draft, was, will, reasons.get(will.id, {}))


def _differences(draft: Draft, was: Outcome, will: Outcome, because: Any) -> Iterator[Difference]:
    id = will.id or was.id or draft.dedupe_key
    if was.verdict != will.verdict:
        yield Difference(id=id, title=draft.title, field="verdict", before=was.verdict, after=will.verdict,
                         because={"why": will.why} if will.why else {})  # fmt: skip
    if was.item is None or will.item is None:
        return
    for name in _COMPARED:
        one, other = getattr(was.item, name), getattr(will.item, name)
        if one != other:
            reason = because.get(name, {})
            yield Difference(id=id, title=draft.title, field=name, before=one, after=other,
                             because=reason if isinstance(reason, dict) else {})  # fmt: skip


class IdleConditions:
    """
    Which rules of a policy match none of the problems that it is shown, some at a time: a scope that matches nothing.
    """

    def __init__(self, policy: Policy) -> None:
        self._idle = {pointer: (when, unless) for pointer, when, unless in _conditions(policy) if when}
        self._known: dict[str, set[str]] = {name: set() for when, _ in self._idle.values() for name in when}
        self._looked_at = 0

    def see(self, subjects: Iterable[Subject]) -> None:
        """
        Look at some problems.
        """
        for subject in map(_as_reported, subjects):
            self._looked_at += 1
            for name, values in self._known.items():
                if len(values) < _KNOWN_MAX:
                    values.update(value for value in values_of(subject, name) if value)
            for pointer in [one for one, (when, unless) in self._idle.items() if matches(subject, when, unless)]:
                del self._idle[pointer]

    def findings(self) -> Iterator[Finding]:
        """
        Yield a warning for each rule that matched nothing. For a value that is not there the nearest one is suggested.
        """
        for pointer, (when, _) in self._idle.items() if self._looked_at else ():
            missing = list(self._missing(when))
            said = f": no {missing[0][0]} is {missing[0][1]!r}" if missing else ""
            close = missing[0][2] if missing else ""
            yield Finding(pointer=pointer, warning=True, suggestion=close,
                          reason=f"matches none of the {self._looked_at:,} problems looked at{said}")  # fmt: skip

    def _missing(self, when: Condition) -> Iterator[tuple[str, str, str]]:
        for name, wanted in when.items():
            known = sorted(self._known[name])
            values = (wanted,) if isinstance(wanted, str) else tuple(wanted)
            if len(known) < _KNOWN_MAX and not any(covers({name: values}, {}, {name: one}, {}) for one in known):
                yield name, values[0], nearest(values[0], known)


def _as_reported(subject: Subject) -> Subject:
    if isinstance(subject, Item) and (reported := reported_priority(subject)) != subject.priority:
        return replace(subject, priority=reported)
    return subject


def _conditions(policy: Policy) -> Iterator[tuple[str, Condition, Condition]]:
    """
    Yield the conditions of every rule of every section.
    """
    for name in SECTIONS:
        section = getattr(policy, name)
        for field in section.__struct_fields__ if section is not None else ():
            rules = getattr(section, field)
            for number, rule in enumerate(rules if isinstance(rules, tuple) else ()):
                when = getattr(rule, "when", None)
                if isinstance(when, dict):
                    yield f"/{name}/{field}/{number}", when, getattr(rule, "unless", {})
