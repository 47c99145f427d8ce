"""
Random runs and plans: what the machine of commands draws about them.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from backlog_store import commands as c
from backlog_store.backends.port import Backend
from backlog_store.codec import encode, from_builtins
from backlog_store.executors.local import LocalExecutor
from backlog_store.rules.lanes import Run
from backlog_store.rules.overlay import Overlay
from backlog_store.testing.agreement import Store
from backlog_store.testing.samples import NASTY

__all__ = ["Foresee", "runs_of", "some_run_body"]

_SOURCES = ("ruff", "slo")
_RUNS = 1_000


class Foresee(Struct, frozen=True):
    """
    Decide commands one after the other without writing, then carry them out.
    """

    commands: tuple[c.Command, ...]

    def run(self, store: Store, /) -> Any:
        """
        Foresee and execute; the answers, which are the same. One that is refused leaves those behind it undone.
        """
        executor, over = LocalExecutor(store.backend), Overlay()
        shown = []
        for command in self.commands:
            decision = executor.foresee(command, over)
            over.absorb(decision.changes)
            shown.append(_told(decision.answer))
        done = [executor.execute(command) for command in self.commands]
        if shown != [*map(_told, done)]:
            raise AssertionError(f"{store.name} did something else than was foreseen:\n{shown}\n{done}")
        return [encode(answer) for answer in done]


def _told(answer: c.Answer) -> bytes:
    """
    Return an answer without the items of what stays as it is: whether these are read at all depends on who looks.
    """
    outcomes = [replace(one, item=None) if one.verdict == "unchanged" else one for one in answer.outcomes]
    return encode(replace(answer, outcomes=tuple(outcomes)))


def runs_of(model: Backend) -> list[tuple[str, Run]]:
    """
    Return the runs of a store.
    """
    records = model.read(lambda reader: reader.scan("run", "", "", _RUNS))
    return [(record.id, from_builtins(record.body, Run)) for record in records if record.id.count("/") == 1]


def some_run_body(rng: random.Random, runs: Sequence[tuple[str, Run]]) -> Any:
    """
    Draw a command about runs: mostly a sensible one.
    """
    kind = rng.random()
    if kind < 0.3 or not runs:
        services = tuple(rng.sample(NASTY[:6], k=rng.choice((0, 3, 4, 6, 6))))
        scope = c.RunScope(services=services, env=rng.choice(("prod", "staging")), ref=rng.choice(("", "", "main")),
                           rules=rng.choice(((), (), ("R1",))))  # fmt: skip
        return c.BeginRun(source=rng.choice(_SOURCES), scope=scope, name=rng.choice(("", "", "ci", "a b")))
    id, run = rng.choice(runs)
    source = run.source if rng.random() < 0.95 else rng.choice(_SOURCES)
    limit = rng.choice((1, 500, 500, 0))
    if kind < 0.75:
        return c.CompleteRun(run=id, source=source, expected_count=rng.choice((None, None, 2)), limit=limit,
                             digest=rng.choice(("", "", "d")))  # fmt: skip
    if kind < 0.85:
        return c.AbortRun(run=id, source=source, reason=rng.choice(("it crashed", "")), limit=limit)
    return c.JudgeRun(run=rng.choice((id, id, "nothing", "a/b")), accept=rng.random() < 0.6, limit=limit)
