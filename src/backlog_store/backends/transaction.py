"""
Readers and writers over a state, and the one way to run a function in a transaction of it. Memory and jsonl share this.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import islice
from typing import TypeVar

from backlog_store.backends.port import Change, Writer
from backlog_store.backends.state import Effect, State
from backlog_store.errors import BackendError
from backlog_store.model import Event, Item, ItemId, Key, Record, RecordKind
from backlog_store.query import EventQuery, Facet, ItemQuery, Where

__all__ = ["Transaction", "View", "transact"]

T = TypeVar("T")


class View:
    """
    A `port.Reader` over a state. Every value is decoded for the caller alone.
    """

    def __init__(self, state: State) -> None:
        self._state = state

    def items(self, ids: Collection[ItemId]) -> Mapping[ItemId, Item]:
        """
        Return the items of these ids.
        """
        return self._state.items(ids)

    def items_by_key(self, keys: Collection[Key]) -> Mapping[Key, Item]:
        """
        Return the items that hold these keys now.
        """
        return self._state.items_by_key(keys)

    def search(self, query: ItemQuery) -> Sequence[Item]:
        """
        Return a page of items.
        """
        return list(self._state.items(self._state.index().search(query)).values())

    def tally(self, where: Where, by: Sequence[Facet]) -> Mapping[tuple[str, ...], int]:
        """
        Count the items that match, by facet values.
        """
        return self._state.index().tally(where, by)

    def events(self, query: EventQuery) -> Sequence[Event]:
        """
        Return events in order of position.
        """
        return self._state.events.select(query)

    def records(self, kind: RecordKind, ids: Collection[str]) -> Mapping[str, Record]:
        """
        Return the records of this kind and these ids.
        """
        return self._state.records(kind, ids)

    def scan(self, kind: RecordKind, prefix: str, after: str, limit: int) -> Sequence[Record]:
        """
        Return up to *limit* records in bytewise id order.
        """
        ids = list(islice(self._state.record_ids(kind, prefix, after), limit))
        return list(self._state.records(kind, ids).values())


class Transaction(View):
    """
    A `port.Writer` over a state, for the one function it is handed to; it collects the effects.
    """

    def __init__(self, state: State, backend: str) -> None:
        self._state = state
        self._backend = backend
        self.effects: list[Effect] = []
        self.is_over = False

    def apply(self, changes: Sequence[Change]) -> None:
        """
        Apply all changes, or none. Raises `BackendError` once the function it was handed to has returned.
        """
        if self.is_over:
            raise BackendError(
                self._backend, "apply", "the transaction is over", hint="Use the writer only inside its function."
            )
        self.effects += self._state.apply(changes)


def transact(
    state: State, backend: str, fn: Callable[[Writer], T], commit: Callable[[Sequence[Effect]], None] | None = None
) -> T:
    """
    Run *fn* in a transaction of *state* and return its answer; the owner of the state holds its lock.

    *commit* is given the effects, if there are any, and makes them durable. If *fn* or *commit* raises, the state is
    as it was before. Raises `BackendError` for a write inside a write.
    """
    if state.is_in_transaction:
        raise BackendError(
            backend, "write", "a write was begun inside a write", hint="Apply all changes through one writer."
        )
    transaction = Transaction(state, backend)
    state.begin()
    try:
        answer = fn(transaction)
        transaction.is_over = True
        if transaction.effects and commit is not None:
            commit(transaction.effects)
    except BaseException:
        transaction.is_over = True
        state.roll_back()
        raise
    state.commit()
    return answer
