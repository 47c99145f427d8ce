"""
Taking rows of the original module into a store, once or again and again while old processes still write.

What each row becomes stands in `legacy.becoming`; here they go in, in bounded transactions, the earliest row of a key
first. What that would do is foreseen by the same steps, each on what those before it would leave behind.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from backlog_store.backends.port import Change, Hint, Load, Put, Reader, Writer
from backlog_store.backlog import Backlog
from backlog_store.commands import Command, Report
from backlog_store.legacy.becoming import TAKER, Step, Taken
from backlog_store.legacy.rows import EventRow, ItemRow
from backlog_store.policy import DEFAULT_POLICY
from backlog_store.preview import Decided, check_shown
from backlog_store.rules import split_by_item
from backlog_store.rules.overlay import Overlay
from backlog_store.rules.view import Context

__all__ = ["Taken", "foresee", "take_in"]

_CHUNK_ROWS = 200
_CHUNK_BYTES = 1024 * 1024


def take_in(backlog: Backlog, rows: Iterable[ItemRow], events: Iterable[EventRow], *, token: str = "",
            shown: Sequence[Decided] = ()) -> Taken:  # fmt: skip
    """
    Take rows in, in bounded transactions; of several rows of one id the last one counts. May be repeated at any time.

    With a *token*: only what was *shown* for each id, as `foresee` tells it. Else `PlanChanged`, in each transaction.
    """
    taken, at = Taken(notes=[]), 0
    for part in _parts(backlog, rows, events):
        expected, at = shown[at : at + len(part.ids)], at + len(part.ids)

        def run(writer: Writer, part: _Part = part, expected: Sequence[Decided] = expected) -> Taken:
            step = part.decide(writer)
            if token:
                check_shown(token, expected, step.decided)
            for changes in split_by_item(_packed(step.context.changes)):
                if changes:
                    writer.apply(changes)
            return step.taken

        taken.add(backlog.executor.backend.write(run, hint=part.hint))
    return taken


def foresee(backlog: Backlog, rows: Iterable[ItemRow], events: Iterable[EventRow]) -> tuple[Taken, list[Decided]]:
    """
    Return what `take_in` would take in, and what would become of each id. Writes nothing; holds all of it in memory.
    """
    taken, decided, over = Taken(notes=[]), list[Decided](), Overlay()
    for part in _parts(backlog, rows, events):
        step = backlog.read(lambda reader, part=part: part.decide(over.on(reader)))  # type: ignore[misc]
        over.absorb(_packed(step.context.changes))
        taken.add(step.taken)
        decided += step.decided
    return taken, decided


class _Part(NamedTuple):
    """
    The rows and events of one transaction.
    """

    command: Command  # for its instant and seed; the rows are its body
    ids: Sequence[str]
    rows: Mapping[str, ItemRow]
    said: Mapping[str, Sequence[EventRow]]

    @property
    def hint(self) -> Hint:
        rows = [self.rows[id] for id in self.ids if id in self.rows]
        return Hint(tuple(self.ids), tuple(row.draft.key for row in rows if row.draft.key is not None))

    def decide(self, reader: Reader) -> Step:
        step = Step(Context(reader, self.command, DEFAULT_POLICY))
        step.load(self.ids, self.rows)
        for id in self.ids:
            step.take(id, self.rows.get(id), self.said.get(id, ()))
        return step


def _parts(backlog: Backlog, rows: Iterable[ItemRow], events: Iterable[EventRow]) -> Iterator[_Part]:
    last: dict[str, ItemRow] = {}
    for row in rows:
        last[row.draft.id] = row
    said: dict[str, list[EventRow]] = {}
    for event in events:
        said.setdefault(event.item_id, []).append(event)
    # The earliest row of a key comes first, and so becomes the item.
    order = sorted(last.values(), key=lambda row: row.created_at)
    for chunk in _chunks([row.draft.id for row in order], [id for id in said if id not in last], last, said):
        yield _Part(backlog.acting_as(TAKER.name).command(Report(drafts=())), chunk, last, said)


def _chunks(
    ids: Sequence[str], others: Sequence[str], rows: Mapping[str, ItemRow], said: Mapping[str, Sequence[EventRow]]
) -> Iterator[list[str]]:
    chunk: list[str] = []
    size = 0
    for id in (*ids, *others):
        row = rows.get(id)
        weight = (row.size if row else 0) + sum(len(event.message) + 500 for event in said.get(id, ()))
        if chunk and (len(chunk) >= _CHUNK_ROWS or size + weight > _CHUNK_BYTES):
            yield chunk
            chunk, size = [], 0
        chunk.append(id)
        size += weight
    if chunk:
        yield chunk


def _packed(changes: Sequence[Change]) -> list[Change]:
    """
    Return the changes with each new item in one piece: its last state, with all its events.
    """
    packed: list[Change] = []
    places: dict[str, int] = {}
    for change in changes:
        if isinstance(change, Put) and change.created and change.item.revision == 1:
            places[change.item.id] = len(packed)
            packed.append(Load(change.item, (change.event,)))
        elif isinstance(change, Put) and change.item.id in places:
            at = places[change.item.id]
            before = packed[at]
            assert isinstance(before, Load)
            packed[at] = Load(change.item, (*before.events, change.event))
        else:
            packed.append(change)
    return packed
