"""
A random walk over all kinds of commands, each step proved: what the events tell is what is there, on every backend.

`test_commands` draws most kinds, and proves a store now and then. Here each step is followed by a proof, so the step
that broke something is the last one; drawn are also the kinds that it leaves out, undoing of whatever was ever done,
merges and splits of what was merged or split before, and imports of which a part is refused.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from msgspec import Struct
from msgspec.structs import replace

from backlog_store import commands as c
from backlog_store.backends.port import Backend
from backlog_store.codec import encode
from backlog_store.errors import BacklogError
from backlog_store.executors.local import LocalExecutor
from backlog_store.hooks import Progress
from backlog_store.instants import add_seconds
from backlog_store.model import Item
from backlog_store.query import EventQuery, ItemQuery
from backlog_store.testing.agreement import New, Step, Store, agree
from backlog_store.testing.agreement.commands import Execute, Verify, commands_program
from backlog_store.testing.agreement.others import names_of_keys
from backlog_store.transfer import export_store, import_store
from backlog_store.verify import verify
from tests.sizes import WALK, WALKS
from tests.stores import new_stores

_POLICY = """
wip: {limits: [{limit: 2}]}
priority: {rules: [{when: {source: slo, key: k1*}, set: P0}]}
"""


class Proved(Struct, frozen=True):
    """
    A step, and the proof that it left the store whole.
    """

    step: Any

    def run(self, store: Store, /) -> Any:
        """
        Take the step; its answer, or its error.
        """
        try:
            return self.step.run(store)
        finally:
            Verify().run(store)


class Mingle(Struct, frozen=True):
    """
    Go on with a copy in which other things were done, and take in what is in the first one: a part of it is refused.
    """

    here: tuple[c.Command, ...]
    there: tuple[c.Command, ...]
    twice: bool

    def run(self, store: Store, /) -> Any:
        """
        Mingle; the accounts, and what the store then exports.
        """
        return store.move(self._carry)

    def _carry(self, source: Backend, target: Backend) -> Any:
        if self.twice:  # else it is a store of its own, that came by the same keys in its own way
            import_store(target, _exported(source))
        _do(source, self.here)
        _do(target, self.there)
        told = [import_store(target, _exported(source)) for _ in range(2)]
        faults = target.read(verify).faults
        if faults:
            raise AssertionError(f"what is taken in is not whole: {faults}; {told}")
        return [encode(one) for one in told], _exported(target).getvalue()


def _do(backend: Backend, commands: Sequence[c.Command]) -> None:
    for command in commands:
        try:
            LocalExecutor(backend).execute(command)
        except BacklogError:
            continue  # that it is refused everywhere is shown by what is exported


def _exported(backend: Backend) -> io.BytesIO:
    file = io.BytesIO()
    export_store(backend, file)
    file.seek(0)
    return file


class walk_program:  # noqa: N801  (reads as a function, as `commands_program` does)
    """
    Draws the steps of a walk from *seed*.
    """

    def __init__(self, seed: int) -> None:
        self._commands = commands_program(seed)
        self._rng = self._commands._rng

    def next(self, model: Backend, /) -> Step:
        """
        Draw the next step.
        """
        rng = self._rng
        kind = rng.random()
        if kind < 0.55:
            step = self._commands.next(model)
        elif kind < 0.58:
            commands = [self.another(model) for _ in range(12)]
            step = Mingle(tuple(commands[:6]), tuple(commands[6:]), twice=rng.random() < 0.7)
        else:
            step = Execute(self.another(model))
        return Proved(step)

    def another(self, model: Backend) -> c.Command:
        """
        Draw a command.
        """
        command = self._commands._command(model)
        if isinstance(command.body, c.Report | c.Resolve) and self._rng.random() < 0.5:
            return command  # the more is reported under names of all kinds, the more there is to go wrong
        body = self._body(model)
        return command if body is None else replace(command, body=body, token=0)

    def _body(self, model: Backend) -> Any:
        rng = self._rng
        items = list(model.read(lambda reader: reader.search(ItemQuery(order="id", limit=None))))
        batches = sorted({one.batch for one in model.read(lambda reader: reader.events(EventQuery(limit=None)))})
        kind = rng.random()
        if not items or not batches or kind < 0.1:
            return None
        if kind < 0.35:
            return c.Undo(batch=rng.choice((rng.choice(batches), *batches[-3:])))
        if kind < 0.65:
            return self._identity(model, items)
        if kind < 0.7:
            return c.ApplyPolicy(text=_POLICY, over=self._commands._policy(model).over)
        if kind < 0.8:
            one, other = rng.choice(items), rng.choice(items)
            duplicate = c.Close(id=one.id, reason="duplicate", duplicate_of=other.id)
            links = [c.Link(id=one.id, kind=kind, other=other.id) for kind in ("blocks", "relates", "parent")]
            return rng.choice((duplicate, duplicate, *links))
        if kind < 0.9:
            id = rng.choice(items).id
            fields = rng.choice(({"owner": "ann"}, {"env": "staging"}, {"dedupe_key": f"k{rng.randrange(40)}"}))
            return rng.choice((c.Move(id=id, to="in_progress"), c.Edit(id=id, fields=fields)))
        return self._seldom()

    def _identity(self, model: Backend, items: Sequence[Item]) -> Any:
        """
        Draw a merge or a split of what was merged or split before, or what is said under the names of such an item.
        """
        rng = self._rng
        names = [(key, state) for key, state in names_of_keys(model) if state.alias_of or state.apart or state.merged]
        kind = rng.random()
        if not names or kind < 0.35:
            merged = [item for item in items if item.claims_under or item.duplicate_of or item.dedupe_key] or items
            into = rng.choice(merged)
            from_ = [item for item in merged if item.env == into.env]
            return c.Merge(ids=tuple(rng.choice(from_).id for _ in range(rng.choice((1, 1, 2)))), into=into.id)
        (env, key), state = rng.choice(names)
        if kind < 0.55:
            return c.Split(env=env, dedupe_key=key, lift=bool(state.apart) and rng.random() < 0.7)
        if kind < 0.75:
            keys = tuple(name for (_, name), _ in rng.sample(names, k=min(3, len(names))))
            at = rng.choice(("", add_seconds(self._commands._clock(), -3_600.0)))
            return c.Resolve(
                env=env, source=rng.choice(("ruff", "slo")), dedupe_keys=keys, proof="gone", observed_at=at
            )
        draft = replace(self._commands._draft(items), env=env, dedupe_key=key, id="")
        return c.Report(drafts=(draft, replace(draft, source="slo"), draft))

    def _seldom(self) -> Any:
        """
        Draw one of the kinds that nothing else draws.
        """
        rng = self._rng
        now = self._commands._clock()
        name, later = rng.choice(("chat", "chat", "pager", "a b")), add_seconds(now, 3_600.0)
        return rng.choice((
            c.MarkSeen(position="", at=rng.choice((now, later, add_seconds(now, -60.0)))),
            c.KeepPlan(token=rng.choice(("a" * 16, "b" * 16, "c")), number=rng.choice((0, 1)), text="{}", until=later,
                       parts=rng.choice((0, 1))),
            c.SetWebhook(name=name, url=rng.choice(("https://example.com/hook", "no url")), over=rng.choice((0, 0, 1)),
                         secret=rng.choice((None, "s" * 32, "s" * 32)), off=rng.choice(("", "", "too loud"))),
            c.RemoveWebhook(name=name),
            c.Redeliver(name=name, after=rng.choice((None, "")), aside=rng.random() < 0.5),
            c.NoteDeliveries(holder=rng.choice(("one", "two")), until=rng.choice((later, "")),
                             name=rng.choice(("", name)), over=rng.choice((0, 1)),
                             progress=rng.choice((None, Progress()))),
        ))  # fmt: skip


@pytest.mark.parametrize("seed", WALKS)
def test_every_step_leaves_every_backend_whole_and_the_same(
    request: pytest.FixtureRequest, tmp_path: Path, seed: int
) -> None:
    """Answers, refusals and contents are equal, each step is proved, and an export that is imported is the same."""
    stores: dict[str, New] = {name: new_stores(name, request, tmp_path) for name in ("memory", "sqlite", "jsonl")}
    program = walk_program(seed)
    assert agree(stores, program, seed=seed, steps=WALK, checkpoint=10) > WALK // 3
