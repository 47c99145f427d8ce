"""
A run under way, in the caller's hand; and the runs that a store remembers.

::

    with backlog.begin_run("ruff", services=["checkout"]) as run:
        for draft, outcome in run.report(drafts):
            ...
        ended = run.complete(expected_count=len(drafts))

Left without being completed, by an exception or otherwise, a run is aborted: it proves nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from msgspec import Struct

from backlog_store import commands as c
from backlog_store.codec import from_builtins
from backlog_store.errors import AmbiguousId, NotFound
from backlog_store.ids import batch_id
from backlog_store.model import Draft, Item
from backlog_store.rules.lanes import Run

if TYPE_CHECKING:
    from backlog_store.backlog import Backlog

__all__ = ["Ended", "Running", "each_run", "end_run", "find_run", "proposals"]

_PAGE = 1_000
_NAMED = 10


class Ended(Struct, frozen=True, kw_only=True):
    """
    How a run ended: its state, why it proves nothing or is parked, and an outcome for each item that it touched.

    Outcomes ``held`` are of items that it missed and did not close, with the reason.
    """

    id: str
    state: str
    why: str
    batch: str
    outcomes: tuple[c.Outcome, ...]

    def counts(self) -> dict[str, int]:
        """
        Return how many outcomes there are of each verdict.
        """
        return c.Answer(batch=self.batch, outcomes=self.outcomes).counts()


def end_run(backlog: Backlog, body: c.CompleteRun | c.AbortRun | c.JudgeRun, *, batch: str = "") -> Ended:
    """
    End a run, or judge it, in as many bounded steps as it takes; all of them are one batch.
    """
    batch = batch or batch_id(backlog.ids())
    outcomes: list[c.Outcome] = []
    while True:
        answer = backlog.execute(body, batch=batch)
        first, *rest = answer.outcomes
        outcomes += rest
        if first.verdict not in ("closing", "rejecting"):
            return Ended(id=first.id, state=first.verdict, why=first.why, batch=batch, outcomes=tuple(outcomes))


class Running:
    """
    A run that was begun. Not safe for use by several threads; each may report into it by its id (`Backlog.report`).
    """

    def __init__(self, backlog: Backlog, source: str, id: str, state: str, batch: str) -> None:
        self.backlog = backlog
        self.source = source
        self.id = id
        self.state = state
        self.batch = batch

    def report(self, drafts: Iterable[Draft | Mapping[str, Any]], **more: Any) -> Iterator[tuple[Draft, c.Outcome]]:
        """
        Report problems that it found; see `Backlog.report`, which takes the same options.
        """
        return self.backlog.report(drafts, run=self.id, batch=self.batch, **more)

    def complete(self, expected_count: int | None = None, *, digest: str = "") -> Ended:
        """
        Say that all of the scope was looked at; see `commands.CompleteRun`.
        """
        return self._ended(c.CompleteRun(run=self.id, source=self.source, expected_count=expected_count, digest=digest))

    def abort(self, reason: str) -> Ended:
        """
        Say that it failed and proves nothing.
        """
        return self._ended(c.AbortRun(run=self.id, source=self.source, reason=reason))

    def _ended(self, body: c.CompleteRun | c.AbortRun) -> Ended:
        ended = end_run(self.backlog, body, batch=self.batch)
        self.state = ended.state
        return ended

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.state == "begun":
            self.abort(f"{kind.__name__}: {error}"[:1_000] if kind is not None else "it was never completed")


def each_run(backlog: Backlog) -> Iterator[tuple[str, Run]]:
    """
    Yield every run that is remembered, by lane, in the order in which they began.
    """
    for record in backlog.records("run"):
        if record.id.count("/") == 1:
            yield record.id, from_builtins(record.body, Run)


def find_run(backlog: Backlog, name: str) -> tuple[str, Run]:
    """
    Return the run of an id, a name, or an unambiguous beginning of one. Raises `NotFound`, `AmbiguousId`.
    """
    found = backlog.read(lambda reader: reader.records("run", [name])).get(name) if name.count("/") == 1 else None
    if found is not None:
        return found.id, from_builtins(found.body, Run)
    runs = [(id, run) for id, run in each_run(backlog) if id.startswith(name) or id.split("/")[1].startswith(name)]
    exact = [one for one in runs if one[0].split("/")[1] == name]
    runs = exact or runs
    if not runs or not name:
        raise NotFound("run", name, hint="`backlog run list` shows the runs; any unambiguous beginning will do.")
    if len(runs) > 1:
        raise AmbiguousId("run", name, [id for id, _ in runs[:_NAMED]])
    return runs[0]


def proposals(backlog: Backlog, run: str) -> tuple[list[Item], list[Draft]]:
    """
    Return what a run that waits would close, as it is now, and the reports by which it would reopen items.
    """
    ids = [id for record in backlog.records("proposal", f"{run}/close/") for id, _ in record.body["items"]]
    items: list[Item] = []
    for start in range(0, len(ids), _PAGE):
        part = ids[start : start + _PAGE]
        found = backlog.read(lambda reader, part=part: reader.items(part))  # type: ignore[misc]
        items += [found[id] for id in part if id in found]
    returns = backlog.records("proposal", f"{run}/reopen/")
    return items, [from_builtins(record.body["draft"], Draft) for record in returns]
