"""
Random programs of commands: the whole of the rules on every backend, with fixed instants and seeds.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from backlog_store import commands as c
from backlog_store.backends.port import Backend
from backlog_store.codec import decode_json, encode, from_builtins
from backlog_store.executors.local import LocalExecutor
from backlog_store.instants import add_seconds, day_of, plus_days
from backlog_store.model import CLOSED, CLOSING_REASONS, PRIORITIES, STATUSES, Actor, Draft, Item, Key, KeyState
from backlog_store.query import EventQuery, ItemQuery
from backlog_store.rules.lanes import Run
from backlog_store.rules.policies import policy_in_force
from backlog_store.testing.agreement import Maintain, Reopen, Step, Store
from backlog_store.testing.agreement.others import (
    names_of_keys,
    some_access_body,
    some_claim_body,
    some_identity_body,
)
from backlog_store.testing.agreement.runs import Foresee, runs_of, some_run_body
from backlog_store.testing.clocks import CountingIds, StepClock
from backlog_store.testing.samples import NASTY, Sampler
from backlog_store.transfer import export_store, import_store
from backlog_store.verify import verify

__all__ = ["Execute", "Move", "Verify", "commands_program"]

_ACTORS = (Actor("ann", "person"), Actor("bob", "person"), Actor("slo"), Actor("ruff"))
_HOUR_S = 3_600.0
#: What no rule lets pass: each a field of a draft and a value.
_BAD: tuple[tuple[str, Any], ...] = (
    ("title", ""), ("title", "a\0b"), ("title", "\ud800"), ("env", "a/b"), ("env", ""), ("priority", "P9"),
    ("due_date", "2026-02-30"), ("observed_at", "yesterday"), ("id", "a b"), ("meta", {"x": float("nan")}),
    ("dedupe_key", "k" * 513), ("tags", ("",)), ("tags", tuple(f"t{number}" for number in range(101))),
)  # fmt: skip
#: Policies that move what the programs report, and one that is faulty.
_POLICIES = (
    "",
    (
        "workflow:\n  transitions: {open: [done, canceled], in_progress: [open]}\n  guards:\n"
        "    - {name: people, reason: [wont_fix, obsolete], by: person, message: true}\n"
    ),
    (
        "priority:\n  rules:\n    - {set: P3}\n    - {when: {source: slo, key: k1*}, set: P0}\n"
        "owners:\n  rules:\n    - {when: {env: staging}, owner: stage}\n    - {when: {key: 'k?'}, owner: few}\n"
    ),
    (
        "suppression:\n  windows:\n    - {name: ruff, when: {source: ruff}, until: 2026-03-09}\n"
        "priority:\n  rules:\n    - {when: {env: prod}, unless: {tag: none}, set: P1}\n"
    ),
    (
        "closing: {misses: 1, min_age_hours: 0, close_floor: 2}\n"
        "activation:\n  rules:\n"
        "    - {name: twice, when: {source: slo}, sightings: 2, close_below: 1, close_hours: 30}\n"
        "budgets:\n  rules:\n    - {name: flood, creations: 3, within_hours: 1}\n"
    ),
    (
        "reopen:\n  rules:\n    - {reason: [fixed, obsolete], within: 12h, then: same_episode}\n"
        "    - {reason: [wont_fix], after: 1h, then: new_episode}\n"
        "    - {reason: [fixed], when: {source: ruff}, within: 2h, then: stay_closed}\n"
    ),
    (
        "escalation:\n  rules:\n    - steps: [{name: nudge, untouched_hours: 2}, {name: late, overdue_hours: 0}]\n"
        "    - {when: {source: ruff}, pauses: [blocked], steps: [{name: nudge, untouched_hours: 0}]}\n"
    ),
    "priority:\n  rules:\n    - {set: P9}\n",
)


class Execute(Struct, frozen=True):
    """
    Carry out a command that travelled as canonical JSON, as between processes.
    """

    command: c.Command

    def run(self, store: Store, /) -> Any:
        """
        Execute on a local executor; the answer with the items' new states, as bytes.
        """
        return encode(LocalExecutor(store.backend).execute(_travelled(self.command)))


class Preview(Struct, frozen=True):
    """
    Decide a command and write nothing.
    """

    command: c.Command

    def run(self, store: Store, /) -> Any:
        """
        Preview; the answer as bytes.
        """
        return encode(LocalExecutor(store.backend).preview(self.command))


class Move(Struct, frozen=True):
    """
    Export everything, import it into a new store, and go on there.
    """

    def run(self, store: Store, /) -> Any:
        """
        Move; the bytes of the export, before and after, which are the same.
        """
        return store.move(_carry)


class Verify(Struct, frozen=True):
    """
    Prove that the events rebuild every item and that every chain holds.
    """

    def run(self, store: Store, /) -> Any:
        """
        Verify. A fault is not a matter of agreement: it fails at once.
        """
        result = store.backend.read(verify)
        if result.faults:
            raise AssertionError(f"{store.name} is not whole: {result.faults}")
        return result.items, result.events, result.keys


def _travelled(command: c.Command) -> c.Command:
    try:
        return from_builtins(decode_json(encode(command)), c.Command)
    except UnicodeEncodeError:
        return command  # A lone surrogate is refused by the rules where it has no JSON form to travel in.


def _carry(source: Backend, target: Backend) -> bytes:
    before, after = io.BytesIO(), io.BytesIO()
    export_store(source, before)
    before.seek(0)
    import_store(target, before)
    export_store(target, after)
    if before.getvalue() != after.getvalue():
        raise AssertionError("an export of an import is another export")
    return after.getvalue()


class commands_program:  # noqa: N801  (reads as a function; it keeps the sampler)
    """
    A program that draws commands from *seed*, good and bad, with repeated request ids, undo, moves and reopening.
    """

    def __init__(self, seed: int, *, maintain: Sequence[str] = ("compact",)) -> None:
        self._sampler = Sampler(seed)
        self._rng = self._sampler.rng
        self._maintain = tuple(maintain)
        self._clock = StepClock(step_s=1.0)
        self._ids = CountingIds(seed * 1_000_000 + 1)
        self._requests: list[c.Command] = []
        self._batches: list[str] = []
        self._runs: list[tuple[str, Run]] = []
        self._touched: list[str] = []
        self._names: list[tuple[Key, KeyState]] = []

    def next(self, model: Backend, /) -> Step:
        """
        Draw the next step.
        """
        rng = self._rng
        kind = rng.random()
        if kind < 0.005:
            return Reopen()
        if kind < 0.01 and self._maintain:
            return Maintain(rng.choice(self._maintain))
        if kind < 0.012:
            return Move()
        if kind < 0.02:
            return Verify()
        if rng.random() < 0.1:
            self._clock.advance(rng.choice((_HOUR_S, 24 * _HOUR_S, 7 * 24 * _HOUR_S, -60.0)))
        if kind < 0.08 and self._requests:
            return Execute(self._again(rng.choice(self._requests[-30:])))
        command = self._command(model)
        if kind < 0.12:
            return Preview(command)
        if kind < 0.16:
            return Foresee(tuple(_travelled(one) for one in (command, self._command(model), self._command(model))))
        if command.request_id:
            self._requests.append(command)
        return Execute(command)

    def _again(self, command: c.Command) -> c.Command:
        """
        Ask the same again, later; sometimes with another body under the same request id.
        """
        command = replace(command, at=self._clock(), seed=self._ids())
        if self._rng.random() < 0.2:
            command = replace(command, body=c.SaveView(name="other", query="other"))
        return command

    def _command(self, model: Backend) -> c.Command:
        rng = self._rng
        items = list(model.read(lambda reader: reader.search(ItemQuery(order="id", limit=None))))
        newest = model.read(lambda reader: reader.events(EventQuery(newest_first=True, limit=20)))
        self._batches = [event.batch for event in newest if event.batch]
        self._runs = runs_of(model)[-12:]
        self._touched = [event.item_id for event in newest]  # purged ones, too
        self._names = names_of_keys(model)
        return c.Command(
            body=self._policy(model) if rng.random() < 0.02 else self._body(items), actor=rng.choice(_ACTORS),
            at=self._clock(), seed=self._ids(),
            request_id=f"r{rng.randrange(10_000)}" if rng.random() < 0.3 else "",
            batch=rng.choice(self._batches) if self._batches and rng.random() < 0.05 else "",
            token=rng.choice((1, 2)) if rng.random() < 0.03 else 0,
        )  # fmt: skip

    def _policy(self, model: Backend) -> c.ApplyPolicy:
        revision = model.read(policy_in_force).revision
        return c.ApplyPolicy(text=self._rng.choice(_POLICIES), over=revision - (self._rng.random() < 0.1))

    def _body(self, items: Sequence[Item]) -> Any:
        rng = self._rng
        kind = rng.random()
        if kind < 0.3 or not items:
            return c.Report(
                drafts=tuple(self._draft(items) for _ in range(rng.randrange(6))), opens=rng.random() < 0.9,
                baseline=rng.random() < 0.1, run=rng.choice(self._runs)[0] if self._runs and rng.random() < 0.5
                else self._sampler.maybe(("run1", "run2")),
                due_days={"P0": 1, "P2": 30} if rng.random() < 0.2 else {},
                undated=rng.random() < 0.1, refresh=rng.choice((None, None, None, ("title", "evidence_refs"), ())),
            )  # fmt: skip
        if kind < 0.34:
            item = rng.choice(items)
            keys = tuple(one.dedupe_key for one in items if one.env == item.env and one.key and rng.random() < 0.2)
            return c.Resolve(env=item.env, source=item.source, dedupe_keys=keys, proof="gone")
        if kind < 0.38:
            # Closed items leave in time, so that a long program stays a small store.
            return c.Cleanup(retention_days=rng.choice((0, 0, 7, 400)), limit=rng.choice((1, 5, 500)))
        if kind < 0.43:
            return c.Undo(batch=rng.choice((*self._batches, "nothing")))
        if kind < 0.45:
            return self._forgetting(items)
        if kind < 0.46:
            return c.SaveView(name=rng.choice(("mine", "yours", "mine", "a b")), query="status:open")
        if kind < 0.48:
            return c.DropView(name=rng.choice(("mine", "yours")))
        if kind < 0.53:
            return some_run_body(rng, self._runs)
        if kind < 0.58:
            singles = tuple(self._single(items) for _ in range(rng.randrange(5)))
            return c.Bulk(bodies=singles, keep_going=rng.random() < 0.7)
        if kind < 0.6:
            return self._timely(items)
        if kind < 0.63:
            return some_identity_body(rng, items, self._names)
        if kind < 0.66:
            return some_claim_body(rng, items)
        if kind < 0.7:
            return some_access_body(rng, self._clock())
        return self._single(items)

    def _timely(self, items: Sequence[Item]) -> Any:
        rng = self._rng
        if rng.random() < 0.4:
            return c.Deactivate(ids=tuple(item.id for item in items if rng.random() < 0.3))
        step = rng.choice(("nudge", "late", "nudge", ""))
        return c.Escalate(id=rng.choice(items).id, step=step, episode=rng.choice((0, 0, 1)))

    def _forgetting(self, items: Sequence[Item]) -> Any:
        rng = self._rng
        if self._runs and rng.random() < 0.1:
            return c.DropExpired(kind="run", ids=tuple(dict.fromkeys(id for id, _ in self._runs)))
        if rng.random() < 0.2:
            asked = [command for command in self._requests[:200] if rng.random() < 0.2]
            names = {f"{len(one.actor.name)}:{one.actor.name}/{one.request_id}" for one in asked}
            return c.DropExpired(kind="answer", ids=tuple(sorted(names)))
        # Now and then everything, so that items are left with a baseline alone.
        before = self._clock() if rng.random() < 0.3 else rng.choice(items).updated_at
        ids = {item.id for item in items if rng.random() < 0.3} | {id for id in self._touched if rng.random() < 0.5}
        return c.ShortenHistory(ids=tuple(sorted(ids)), before=before)

    def _single(self, items: Sequence[Item]) -> Any:
        rng = self._rng
        item, other = rng.choice(items), rng.choice(items)
        id = item.id if rng.random() < 0.97 else rng.choice(("bl_nobody", "", "a b"))
        revision = rng.choice((0, 0, 0, item.revision, item.revision, item.revision + 1, max(0, item.revision - 1)))
        later = add_seconds(self._clock(), rng.choice((-1, 1, 100)) * 24 * _HOUR_S)
        kind = rng.randrange(10)
        if item.status in CLOSED and rng.random() < 0.3:
            if item.key and rng.random() < 0.3:
                return c.LiftVerdict(env=item.env, dedupe_key=item.dedupe_key)
            return c.Reopen(id=id, message=self._sampler.maybe(("it is back",)), revision=revision)
        if kind == 0:
            return c.Create(draft=self._draft(items), status=rng.choice((*STATUSES, "gone")))
        if kind == 1:
            return c.Move(id=id, to=rng.choice(STATUSES), revision=revision)
        if kind in (2, 3):
            reason = rng.choice((*CLOSING_REASONS, "fixed", "tired"))
            careless = rng.random() < 0.1
            return c.Close(
                id=id, reason=reason, message=self._sampler.text(), revision=revision,
                approver="ann" if reason == "accepted_risk" or careless else "",
                expires_at=later if reason == "accepted_risk" or careless else "",
                duplicate_of=other.id if reason == "duplicate" or careless else "",
            )  # fmt: skip
        if kind == 4:
            return c.Snooze(id=id, until=rng.choice(("", later, later, "soon")), revision=revision)
        if kind == 5:
            return c.Comment(id=id, message=self._sampler.text(), meta=self._sampler.document(), revision=revision)
        if kind == 6:
            link: Any = rng.choice(("blocks", "parent", "relates", "duplicates", "caused_by"))
            return c.Link(id=id, kind=link, other=other.id, remove=rng.random() < 0.3)
        if kind == 7:
            return c.LiftVerdict(env=item.env, dedupe_key=rng.choice((item.dedupe_key, "no such key")))
        return self._edit(id, revision, items)

    def _edit(self, id: str, revision: int, items: Sequence[Item]) -> c.Edit:
        rng = self._rng
        drawn = self._draft(items)
        names = ("title", "owner", "priority", "due_date", "service", "meta", "fix", "evidence_refs", "dedupe_key",
                 "env", "category", "description")  # fmt: skip
        fields = {name: getattr(drawn, name) for name in rng.sample(names, k=rng.randrange(3))}
        if rng.random() < 0.15:
            fields["status"] = rng.choice(STATUSES)
        if rng.random() < 0.03:
            fields[rng.choice(("nonsense", "revision"))] = 1
        return c.Edit(
            id=id, fields=fields, revision=revision, add_tags=rng.choice(((), (), ("added",))),
            remove_tags=rng.choice(((), (), drawn.tags)), release=rng.choice(((), (), ("title", "status"))),
            hold=rng.choice((None, None, ("title",))),
            hold_until=add_seconds(self._clock(), rng.choice((1, 50)) * _HOUR_S) if rng.random() < 0.2 else "",
        )  # fmt: skip

    def _draft(self, items: Sequence[Item]) -> Draft:
        rng = self._rng
        now = self._clock()
        draft = Draft(
            title=self._sampler.text() or "untitled", env=rng.choice(("prod", "staging")),
            service=rng.choice(NASTY[:6]), category=self._sampler.maybe(NASTY[:6]), description=self._sampler.text(),
            priority=rng.choice(PRIORITIES), owner=self._sampler.maybe(("ann", "bob")),
            source=rng.choice(("ruff", "slo")), fix=self._sampler.maybe(NASTY[:4]),
            due_date=self._sampler.maybe((day_of(now), plus_days(day_of(now), 9))), meta=self._sampler.document(),
            dedupe_key=f"k{rng.randrange(40)}" if rng.random() < 0.85 else "", volatile=("a",),
            evidence_refs={rng.choice(("log", "trace")): [f"{rng.randrange(9)}"]} if rng.random() < 0.4 else {},
            tags=tuple(rng.sample(NASTY[:9], k=rng.randrange(3))),
            key_inputs={"rule": "R1"} if rng.random() < 0.3 else {},
            observed_at=rng.choice(("", "", now, add_seconds(now, -48 * _HOUR_S))),
        )  # fmt: skip
        if items and rng.random() < 0.4:  # The same problem as last time, so that reports meet known items unchanged.
            item = rng.choice(items)
            names = ("title", "env", "service", "category", "description", "priority", "source", "fix", "dedupe_key",
                     "due_date", "meta", "tags", "key_inputs")  # fmt: skip
            draft = replace(draft, evidence_refs={}, **{name: getattr(item, name) for name in names})
        if rng.random() < 0.04:
            name, value = rng.choice(_BAD)
            draft = replace(draft, **{name: value})
        if rng.random() < 0.03:
            draft = replace(draft, id=f"bl_given{rng.randrange(9)}")
        return draft
