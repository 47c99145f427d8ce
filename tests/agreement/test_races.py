"""
Two commands at once come to what one of their orders would have come to, on every backend.

There is a race for each rule that looks at more than it changes, and for pairs drawn at random.
The second command strikes between the reading and the applying of the first. What must come out is known beforehand:
both orders are carried out one after the other in memory, and answers and contents must be those of one of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from backlog_store import commands as c
from backlog_store.backends.memory import MemoryBackend
from backlog_store.backends.port import Backend
from backlog_store.codec import encode
from backlog_store.errors import BacklogError
from backlog_store.executors.local import LocalExecutor
from backlog_store.ids import item_id_of_key
from backlog_store.instants import add_seconds
from backlog_store.model import Actor, Draft
from backlog_store.testing.agreement.commands import Execute, commands_program
from backlog_store.testing.clocks import START, CountingIds
from backlog_store.testing.conformance.guards import Rival
from backlog_store.testing.contents import contents
from backlog_store.testing.faults import Hooked
from backlog_store.verify import verify
from tests.sizes import RACES as RACES_DRAWN
from tests.stores import RETAINING, new_stores

ANN, SLO = Actor("ann", "person"), Actor("slo")
A, B, C = (item_id_of_key(("prod", key)) for key in "abc")


def report(*keys: str, **fields: Any) -> c.Report:
    """
    Return the report of problems with these keys.
    """
    return c.Report(drafts=tuple(Draft(title=f"about {key}", dedupe_key=key, source="slo", **fields) for key in keys))


def closed(id: str, reason: str = "fixed") -> c.Close:
    """
    Return the closing of an item.
    """
    return c.Close(id=id, reason=reason, message="done")


#: Each race: what goes before, and the two that meet. A body stands for itself, or with the request id it comes under.
RACES: dict[str, tuple[Sequence[Any], Any, Any]] = {
    "two reports of one new key": ([], report("a"), report("a", description="more")),
    "two reports of several keys in turn": ([], report("a", "b", "c"), report("c", "b", "a", priority="P0")),
    "two creations of one key": ([], c.Create(draft=Draft(title="x", dedupe_key="a")), report("a")),
    "two links that close a circle": (
        [report("a", "b")], c.Link(id=A, kind="blocks", other=B), c.Link(id=B, kind="blocks", other=A),
    ),
    "three links that close a circle": (
        [report("a", "b", "c"), c.Link(id=A, kind="parent", other=B)],
        c.Link(id=B, kind="parent", other=C), c.Link(id=C, kind="parent", other=A),
    ),
    "two links that close a circle through two envs": (
        [report("a", "b"), c.Edit(id=B, fields={"env": "staging"})],
        c.Link(id=A, kind="caused_by", other=B), c.Link(id=B, kind="caused_by", other=A),
    ),
    "a link from what is being closed": (
        [report("a", "b")], c.Link(id=A, kind="blocks", other=B), closed(A),
    ),
    "the closing of what is being linked": (
        [report("a", "b")], closed(A), c.Link(id=A, kind="blocks", other=B),
    ),
    "two blockers of one item closed": (
        [report("a", "b", "c"), c.Link(id=A, kind="blocks", other=C), c.Link(id=B, kind="blocks", other=C)],
        closed(A), closed(B),
    ),
    "a blocker closed while what it blocks is reported": (
        [report("a", "b"), c.Link(id=A, kind="blocks", other=B)], closed(A), report("b", description="more"),
    ),
    "a blocker reopened while what it blocks is parted": (
        [report("a", "b"), c.Link(id=A, kind="blocks", other=B), closed(A)],
        c.Reopen(id=A, message="back"), c.Link(id=A, kind="blocks", other=B, remove=True),
    ),
    "the undoing of a link and another one": (
        [report("a", "b", "c"), c.Link(id=A, kind="blocks", other=B)],
        c.Undo(batch="1"), c.Link(id=A, kind="blocks", other=C),
    ),
    "two claims of one item": ([report("a")], c.ClaimItem(id=A), c.ClaimItem(id=A)),
    "two claims of the next item": ([report("a", "b")], c.ClaimItem(), c.ClaimItem()),
    "a claim of what is being closed": ([report("a")], c.ClaimItem(id=A), closed(A)),
    "a claim of what is being blocked": (
        [report("a", "b")], c.ClaimItem(id=B), c.Link(id=A, kind="blocks", other=B),
    ),
    "two claims over one limit": (
        [report("a", "b"), c.ApplyPolicy(text="wip:\n  limits:\n    - limit: 1\n", over=0)],
        c.ClaimItem(id=A), c.ClaimItem(id=B),
    ),
    "two moves over one limit": (
        [report("a", "b", owner="ann"), c.ApplyPolicy(text="wip:\n  limits:\n    - limit: 1\n", over=0)],
        c.Move(id=A, to="in_progress"), c.Move(id=B, to="in_progress"),
    ),
    "a renewal and a release": ([report("a"), c.ClaimItem(id=A)], c.RenewClaim(id=A, token=2), c.ReleaseItem(id=A)),
    "a link to what is being purged": (
        [report("a", "b"), closed(B)], c.Link(id=A, kind="relates", other=B), c.Cleanup(retention_days=0),
    ),
    "a purge and a report": ([report("a"), closed(A)], c.Cleanup(retention_days=0), report("a")),
    "a report and a purge": ([report("a"), closed(A)], report("a"), c.Cleanup(retention_days=0)),
    "a judgement and a report": ([report("a")], closed(A, "wont_fix"), report("a", description="more")),
    "a report and a judgement": ([report("a"), closed(A)], report("a"), c.LiftVerdict(env="prod", dedupe_key="a")),
    "a lifted verdict and a report": (
        [report("a"), closed(A, "wont_fix")], report("a"), c.LiftVerdict(env="prod", dedupe_key="a"),
    ),
    "a lifted verdict and a report of what was purged": (
        [report("a"), closed(A, "wont_fix"), c.Cleanup(retention_days=0)],
        report("a"), c.LiftVerdict(env="prod", dedupe_key="a"),
    ),
    "a key taken by an edit and by a report": (
        [report("a")], c.Edit(id=A, fields={"dedupe_key": "b"}), report("b"),
    ),
    "a report of a key that is being left": (
        [report("a")], report("a", description="more"), c.Edit(id=A, fields={"dedupe_key": "b"}),
    ),
    "a report of a key that moves to another env": (
        [report("a")], report("a", description="more"), c.Edit(id=A, fields={"env": "staging"}),
    ),
    "a duplicate of what is being purged": (
        [report("a", "b"), closed(B)],
        c.Close(id=A, reason="duplicate", duplicate_of=B), c.Cleanup(retention_days=0),
    ),
    "one request asked twice at once": ([report("a")], (report("a", description="new"), "r1"),
                                        (report("a", description="new"), "r1")),
    "one request id for two things": ([report("a")], (report("a", description="new"), "r1"), (report("b"), "r1")),
    "two edits of one item": ([report("a")], c.Edit(id=A, fields={"owner": "ann"}), c.Edit(id=A, fields={"fix": "f"})),
    "two edits that rely on one revision": (
        [report("a")], c.Edit(id=A, fields={"owner": "ann"}, revision=1), c.Edit(id=A, fields={"fix": "f"}, revision=1),
    ),
    "an undo and an edit": ([report("a"), c.Edit(id=A, fields={"owner": "ann"})], c.Undo(batch="1"),
                            c.Edit(id=A, fields={"fix": "f"})),
    "two views of one name": ([], c.SaveView(name="v", query="1"), c.SaveView(name="v", query="2")),
    "a view saved and dropped": ([c.SaveView(name="v", query="1")], c.SaveView(name="v", query="2"),
                                 c.DropView(name="v")),
    "two purges": ([report("a", "b"), closed(A), closed(B)], c.Cleanup(retention_days=0), c.Cleanup(retention_days=0)),
    "a reopening and a purge": ([report("a"), closed(A)], c.Reopen(id=A, message="back"), c.Cleanup(retention_days=0)),
    "all of several and one of them": (
        [report("a", "b")], c.Bulk(bodies=(closed(A), closed(B))), c.Edit(id=B, fields={"owner": "bob"}),
    ),
}  # fmt: skip


def as_commands(bodies: Sequence[Any]) -> list[c.Command]:
    """
    Return bodies as commands at fixed instants, each with a seed of its own; a person edits, a machine reports.
    """
    ids = CountingIds()
    made = []
    for number, one in enumerate(bodies):
        body, request_id = one if isinstance(one, tuple) else (one, "")
        actor = SLO if isinstance(body, c.Report) else ANN
        batch = str(number) if not request_id else ""
        at = add_seconds(START, number)
        made.append(c.Command(body=body, actor=actor, at=at, seed=ids(), request_id=request_id, batch=batch))
    return made


def answer_of(backend: Backend, command: c.Command) -> Any:
    """
    Return the answer as bytes, or the class and code of the refusal.
    """
    try:
        return encode(LocalExecutor(backend).execute(command))
    except BacklogError as error:
        return type(error).__name__, error.code


def contents_of(backend: Backend) -> list[bytes]:
    """
    Return what the store holds, whatever the order of events of different items.

    A sighting conflicts with nothing, so its report may be decided before and committed after another item's change.
    """
    return sorted(contents(backend))


def in_turn(before: Sequence[c.Command], one: c.Command, other: c.Command, *, swapped: bool) -> Any:
    """
    Return the answers of both, and what the store holds, after one order of the two in memory.
    """
    backend = MemoryBackend()
    for command in before:
        answer_of(backend, command)
    answers = {}
    for command in (other, one) if swapped else (one, other):
        answers[command.seed] = answer_of(backend, command)
    return answers[one.seed], answers[other.seed], contents_of(backend)


def race(backend: Backend, before: Sequence[c.Command], one: c.Command, other: c.Command) -> Any:
    """
    Return the same after *other* struck in the middle of *one*.
    """
    for command in before:
        answer_of(backend, command)
    rival = Rival(lambda: answer_of(backend, other))
    own = answer_of(Hooked(backend, applying=rival.strike), one)
    rival.strike()
    return own, rival.answer(), contents_of(backend)


@pytest.mark.parametrize("race_name", RACES)
@pytest.mark.parametrize("name", RETAINING)
def test_a_race_ends_as_one_of_its_orders(
    request: pytest.FixtureRequest, tmp_path: Path, name: str, race_name: str
) -> None:
    """Whoever was first, both answers and all contents are what that order gives, and the trail explains them."""
    before, one, other = RACES[race_name]
    *first, left, right = as_commands([*before, one, other])
    with closing(new_stores(name, request, tmp_path)()()) as backend:
        outcome = race(backend, first, left, right)
        assert outcome in [in_turn(first, left, right, swapped=swapped) for swapped in (False, True)]
        assert backend.read(verify).faults == []


def test_random_races_end_as_one_of_their_orders(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """Pairs of commands drawn over a store in use, on the backend that lets writers overlap."""
    new = new_stores("postgres", request, tmp_path)
    for seed in range(RACES_DRAWN):
        program, model = commands_program(seed, maintain=()), MemoryBackend()
        drawn: list[c.Command] = []
        while len(drawn) < 14:
            step = program.next(model)
            if isinstance(step, Execute):
                drawn.append(step.command)
                answer_of(model, step.command)
        *before, one, other = drawn
        with closing(new()()) as backend:
            outcome = race(backend, before, one, other)
        allowed = [in_turn(before, one, other, swapped=swapped) for swapped in (False, True)]
        assert outcome in allowed, f"seed {seed}: {one!r} against {other!r}"
