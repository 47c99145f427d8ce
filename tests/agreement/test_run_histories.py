"""
Random histories of runs, failures, people's edits and changes of policy: what machines closed, held against the truth.

The truth is kept by the test itself: which keys each run really reported, and who holds what.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec import Struct, field

from backlog_store import commands as c
from backlog_store.backlog import Backlog
from backlog_store.errors import BacklogError, PlanChanged
from backlog_store.executors.local import LocalExecutor
from backlog_store.model import LIVE, Draft, Event, Item
from backlog_store.planning import Planned
from backlog_store.preview import foreseen
from backlog_store.query import EventQuery
from backlog_store.running import Running
from backlog_store.testing.clocks import CountingIds, StepClock
from backlog_store.verify import verify
from tests.sizes import RUN_HISTORIES
from tests.stores import new_stores

STEPS = 40
SERVICES = ("checkout", "search")
SOURCES = ("ruff", "bandit")
RULES = ("R1", "R2")
HOUR_S = 3_600.0
Scope = tuple[tuple[str, ...], str, tuple[str, ...]]
SCOPES: tuple[Scope, ...] = (
    (("checkout",), "", ()), (("search",), "", ()), (SERVICES, "", ()), (("checkout",), "main", ()),
    (("checkout",), "", ("R1",)),
)  # fmt: skip


class Truth(Struct):
    """
    What really happened: the keys that each run reported, its scope, and the misses that a policy asked for.
    """

    reported: dict[str, set[str]] = field(default_factory=dict)
    scopes: dict[str, tuple[str, Scope]] = field(default_factory=dict)
    failed: set[str] = field(default_factory=set)
    last: dict[tuple[str, str], Scope] = field(default_factory=dict)  # of each source and key: the run that saw it last
    misses: int = 2


class History:
    """
    One random history on one store.
    """

    def __init__(self, backlog: Backlog, clock: StepClock, seed: int) -> None:
        self.rng = random.Random(seed)
        self.backlog = backlog
        self.clock = clock
        self.person = backlog.acting_as("ann", person=True)
        self.truth = Truth()
        self.open: list[Running] = []
        self.gone: set[str] = set()  # problems that are solved for now
        self.policy = 0
        self.closed = self.planned = self.returned = 0

    def draft(self) -> Draft:
        """
        Draw one of a few problems.
        """
        rng = self.rng
        service, number, rule = rng.choice(SERVICES), rng.randrange(6), rng.choice(RULES)
        return Draft(
            title=rng.choice(("as ever", "as ever", "reworded")), service=service, source=rng.choice(SOURCES),
            dedupe_key=f"{service}:{rule}:{number}" if rng.random() < 0.95 else "", key_inputs={"rule": rule},
            priority=rng.choice(("P1", "P2")),
        )  # fmt: skip

    def step(self) -> None:
        """
        Let one thing happen, and hold what it changed against the truth.
        """
        before = {item.id: item for item in self.backlog.each()}
        known = {event.id for event in self.backlog.events(EventQuery(limit=None))}
        self.clock.advance(self.rng.choice((0, 60, HOUR_S, 26 * HOUR_S)))
        actions: tuple[tuple[int, Callable[[], object]], ...] = (
            (2, self.begin), (4, self.report), (3, self.end), (14, self.scan), (2, self.judge), (6, self.edit),
            (1, self.apply_policy), (1, self.undo),
        )  # fmt: skip
        act = self.rng.choices([action for _, action in actions], [weight for weight, _ in actions])[0]
        try:
            act()
        except PlanChanged:
            raise
        except BacklogError:
            pass  # what the rules refuse is no part of a history
        for event in self.backlog.events(EventQuery(limit=None)):
            if event.id not in known and event.item_id in before:
                self.judge_event(before[event.item_id], event)

    # What happens

    def execute(self, backlog: Backlog, body: c.Body) -> c.Answer:
        """
        Carry a command out; half of the time as a plan, which must do what it showed.
        """
        if self.rng.random() < 0.5:
            return backlog.execute(body)
        planner = backlog.planner()
        shown = planner.foresee(body)
        plan = planner.plan()
        (answer,) = backlog.apply(plan).answers
        self.planned += 1
        assert foreseen(body, answer.outcomes) == plan.steps[0].decisions
        assert [fields(one) for one in shown] == [
            fields(Planned(outcome=outcome, changes=self.written(outcome, plan.steps[0].body, answer.batch)))
            for outcome in answer.outcomes
        ]
        return answer

    def written(self, outcome: c.Outcome, body: c.Body, batch: str) -> dict[str, Any]:
        """
        Return what a batch really changed of an item.
        """
        if outcome.verdict in ("unchanged", "suppressed", "held", "refused") or isinstance(body, c.BeginRun):
            return {}
        events = self.backlog.events(EventQuery(item_ids=(outcome.id,), batch=batch, limit=None))
        return {name: pair for event in events for name, pair in event.changes.items()}

    def reported(self, run: Running, drafts: list[Draft]) -> None:
        """
        Note what a run sees.
        """
        self.truth.reported[run.id] |= {draft.dedupe_key for draft in drafts}
        for draft in drafts:
            self.truth.last[draft.source, draft.dedupe_key] = self.truth.scopes[run.id][1]

    def begin(self) -> None:
        """
        Begin a run.
        """
        source, scope = self.rng.choices(SOURCES, (3, 1))[0], self.rng.choices(SCOPES, (8, 2, 2, 1, 1))[0]
        services, ref, rules = scope
        run = self.backlog.begin_run(source, services=services, ref=ref, rules=rules)
        self.open.append(run)
        self.truth.reported[run.id] = set()
        self.truth.scopes[run.id] = (source, scope)

    def report(self) -> None:
        """
        Report a handful of problems, within a run or outside of any.
        """
        drafts = [self.draft() for _ in range(self.rng.randrange(1, 9))]
        run = self.rng.choice(self.open) if self.open and self.rng.random() < 0.8 else None
        if run is not None:
            drafts = [draft for draft in drafts if draft.source == run.source]
            self.reported(run, drafts)
        self.execute(self.backlog, c.Report(drafts=tuple(drafts), run=run.id if run is not None else ""))

    def scan(self) -> None:
        """
        Let a whole run happen that sees most of its problems.
        """
        self.begin()
        run = self.open.pop()
        source, (services, _, rules) = self.truth.scopes[run.id]
        keys = [(service, rule, f"{service}:{rule}:{number}") for service in services for rule in rules or RULES
                for number in range(6)]  # fmt: skip
        for _, _, key in keys:
            if self.rng.random() < 0.06:
                self.gone ^= {key}
        drafts = [Draft(title="as ever", service=service, source=source, dedupe_key=key, key_inputs={"rule": rule})
                  for service, rule, key in keys if key not in self.gone]  # fmt: skip
        self.reported(run, drafts)
        self.execute(self.backlog, c.Report(drafts=tuple(drafts), run=run.id))
        self.open.append(run)
        self.end(len(self.open) - 1)

    def end(self, number: int | None = None) -> None:
        """
        Complete a run, or let it fail.
        """
        if not self.open:
            return
        run = self.open.pop(self.rng.randrange(len(self.open)) if number is None else number)
        if self.rng.random() < 0.2:
            self.truth.failed.add(run.id)
            self.execute(self.backlog, c.AbortRun(run=run.id, source=run.source, reason="it crashed"))
            return
        expected = self.rng.choice((None, None, None, 3, 99))
        count = len(self.truth.reported[run.id])
        if not count or (expected is not None and count < expected):
            self.truth.failed.add(run.id)
        answer = self.execute(self.backlog, c.CompleteRun(run=run.id, source=run.source, expected_count=expected))
        if answer.outcomes[0].verdict in ("empty", "short", "repeated"):
            self.truth.failed.add(run.id)

    def judge(self) -> None:
        """
        Let a person accept or reject what some run would do.
        """
        runs = [id for id, run in self.backlog.runs() if run.state in ("parked", "empty", "short")]
        if runs:
            id, accept = self.rng.choice(runs), self.rng.random() < 0.6
            self.execute(self.person, c.JudgeRun(run=id, accept=accept))
            if accept:
                self.truth.failed.discard(id)

    def edit(self) -> None:
        """
        Let a person, or another machine, work on an item.
        """
        items = list(self.backlog.each())
        if not items:
            return
        item, rng = self.rng.choice(items), self.rng
        bodies: tuple[c.Body, ...] = (
            c.Move(id=item.id, to=rng.choice(("in_progress", "blocked", "done"))),
            c.Edit(id=item.id, fields={"owner": rng.choice(("ann", "bob"))}),
            c.Edit(id=item.id, fields={"service": rng.choice(SERVICES)}),
            c.Edit(id=item.id, release=("status", "owner")),
            c.Close(id=item.id, reason=rng.choice(("fixed", "wont_fix"))),
            c.Reopen(id=item.id, message="it is still there"), c.Comment(id=item.id, message="a word"),
            c.Snooze(id=item.id, until="2036-01-01T00:00:00.000000Z"),
        )  # fmt: skip
        self.execute(self.person if rng.random() < 0.7 else self.backlog.acting_as("bot"), rng.choice(bodies))

    def apply_policy(self) -> None:
        """
        Put other bounds in force, and other windows in which what was closed goes on or returns.
        """
        misses = self.rng.choice((1, 2, 3))
        text = (
            f"closing: {{misses: {misses}, min_age_hours: {self.rng.choice((0, 1))}, close_floor: 3, reopen_floor: 2}}"
        )
        text += f"\nreopen: {{rules: [{', '.join(drawn_rules(self.rng))}]}}"
        self.person.execute(c.ApplyPolicy(text=text, over=self.policy))
        self.policy, self.truth.misses = self.policy + 1, misses

    def undo(self) -> None:
        """
        Let a person set back one of the last batches.
        """
        newest = self.backlog.events(EventQuery(newest_first=True, limit=10))
        if newest:
            self.execute(self.person, c.Undo(batch=self.rng.choice(newest).batch))

    # What is held against the truth

    def judge_event(self, before: Item, event: Event) -> None:
        """
        Hold a change against the truth: who may close what, and on which grounds.
        """
        status = event.changes.get("status")
        if event.type == "reopened" and event.actor_kind == "machine" and event.actor != "bot":
            self.judge_return(before, event)
        if event.actor_kind != "machine" or status is None or status[1] in LIVE or status[0] not in LIVE:
            return
        if event.type != "closed" or event.meta.get("proof") != "absent":
            assert event.actor == "bot", "a machine closed without proof"
            return
        self.closed += 1
        assert not {"status", "owner"} & before.held.keys(), "a machine closed what a person holds"
        source, runs = event.meta["source"], event.meta["runs"]
        assert len(runs) == self.truth.misses, "a close without its proof"
        assert not [name for name, claim in before.claims.items() if claim.live and name != source]
        for id in runs:
            told, (services, _, rules) = self.truth.scopes[id]
            last = self.truth.last.get((source, before.dedupe_key))
            assert _lies_inside(last, self.truth.scopes[id][1]), "it was last seen where these runs do not look"
            assert told == source, "runs of another source prove nothing"
            assert before.service in services, "an item outside of the scope was closed"
            assert not rules or before.key_inputs["rule"] in rules, "an item of another rule was closed"
            assert before.dedupe_key not in self.truth.reported[id], f"{id} did see it"
            assert id not in self.truth.failed, "a run that proves nothing was taken for a proof"
            assert self.backlog.run(id)[1].started_at > event.meta["last_seen_at"]

    def judge_return(self, before: Item, event: Event) -> None:
        """
        Hold a return against its grounds: what people decided returns by a rule in force alone, a fix by itself.
        """
        rule = event.meta.get("reopen", {}).get("rule", "")
        self.returned += 1
        stands = before.closed_reason != "fixed" and not before.verdict_lifted
        assert not stands or rule == "look again", "a machine undid what a person decided"
        assert ("episode" in event.changes) == (rule != "goes on"), "an episode that goes on began anew"
        if rule == "goes on":
            assert not {"held", "held_until", "due_date"} & event.changes.keys(), "what goes on was let go"


def drawn_rules(rng: random.Random) -> list[str]:
    """
    Draw some rules for what is reported again after its closing.
    """
    rules = (
        f"{{name: goes on, reason: [fixed], within: {rng.choice(('1h', '2d'))}, then: same_episode}}",
        "{name: look again, reason: [wont_fix], after: 1h, then: new_episode}",
        "{name: stays, reason: [fixed], when: {service: search}, within: 1h, then: stay_closed}",
    )
    return [rule for rule in rules if rng.random() < 0.5]


def _lies_inside(last: Scope | None, scope: Scope) -> bool:
    if last is None:
        return not scope[1]
    return last[1] == scope[1] and set(last[0]) <= set(scope[0]) and (not scope[2] or 0 < len(last[2]) <= len(scope[2]))


def fields(planned: Planned) -> tuple[str, str, list[str]]:
    """
    Return what must be the same of a plan and of what was done: instants may differ.
    """
    late = {"updated_at", "closed_at", "created_at", "claims", "id"}
    drawn = planned.outcome.verdict == "created"
    return planned.outcome.verdict, "" if drawn else planned.outcome.id, sorted(set(planned.changes) - late)


@pytest.mark.parametrize("name", ["memory", "sqlite"])
def test_no_history_lets_a_machine_close_more_than_runs_prove(
    request: pytest.FixtureRequest, tmp_path: Path, name: str
) -> None:
    """
    Nothing a person holds, nothing outside of a scope, nothing without the proof of runs that really missed it.

    And a plan does what it showed, always.
    """
    closed = planned = returned = 0
    opener = new_stores(name, request, tmp_path)
    for seed in range(0 if name == "memory" else 1, RUN_HISTORIES, 2):
        clock = StepClock()
        with Backlog(
            LocalExecutor(opener()()), actor="machine", clock=clock, ids=CountingIds(seed * 10_000 + 1)
        ) as store:
            history = History(store, clock, seed)
            for _ in range(STEPS):
                history.step()
            assert store.read(verify).faults == [], seed
            closed, planned = closed + history.closed, planned + history.planned
            returned += history.returned
    assert closed > RUN_HISTORIES // 10, f"{closed} closes say too little"
    assert planned > RUN_HISTORIES
    assert returned > RUN_HISTORIES // 10, f"{returned} returns say too little"
