"""
The null backend: it accepts everything and keeps nothing, not even for the rest of the function that wrote it.

So every question has the answer of an empty store, at any moment, and no condition of a change is ever violated: there
is nothing that could contradict it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TypeVar

from backlog_store.backends.index import check_tally
from backlog_store.backends.port import NO_HINT, Capabilities, Change, Health, Hint, Reader, Writer
from backlog_store.backends.positions import number_of
from backlog_store.errors import BackendUnavailable
from backlog_store.model import Event, Item, ItemId, Key, Record, RecordKind
from backlog_store.query import EventQuery, Facet, ItemQuery, Where, check_events, check_query

__all__ = ["NullBackend", "open_null"]

T = TypeVar("T")
_NAME = "null"


def open_null() -> NullBackend:
    """
    Return a store that keeps nothing.
    """
    return NullBackend()


class NullBackend:
    """
    A sink.
    """

    def __init__(self) -> None:
        self._is_closed = False

    @property
    def capabilities(self) -> Capabilities:
        """
        Return what this backend claims: nothing.
        """
        return Capabilities(name=_NAME, retains=False, writers=8)

    def read(self, fn: Callable[[Reader], T], /) -> T:
        """
        Run *fn* on an empty store and return what it returned.
        """
        self._check_open("read")
        return fn(_Nothing())

    def write(self, fn: Callable[[Writer], T], /, *, hint: Hint = NO_HINT) -> T:  # noqa: ARG002  (nothing to fetch)
        """
        Run *fn* on an empty store and return what it returned; what it applies is let go.
        """
        self._check_open("write")
        return fn(_Nothing())

    def check(self) -> Health:
        """
        Say that nothing is kept.
        """
        if self._is_closed:
            return Health(ok=False, backend=_NAME, problems=("the store was closed",))
        return Health(ok=True, backend=_NAME, warnings=("this backend keeps nothing",))

    def close(self) -> None:
        """
        Take no further calls. Idempotent.
        """
        self._is_closed = True

    def _check_open(self, operation: str) -> None:
        if self._is_closed:
            raise BackendUnavailable(_NAME, operation, "the store was closed", hint="Open it again.")


class _Nothing:
    """
    The writer of an empty store that stays empty. Impossible queries are refused here as anywhere.
    """

    def items(self, ids: Collection[ItemId]) -> Mapping[ItemId, Item]:  # noqa: ARG002
        return {}

    def items_by_key(self, keys: Collection[Key]) -> Mapping[Key, Item]:  # noqa: ARG002
        return {}

    def search(self, query: ItemQuery) -> Sequence[Item]:
        check_query(query)
        return []

    def tally(self, where: Where, by: Sequence[Facet]) -> Mapping[tuple[str, ...], int]:
        check_tally(where, by)
        return {}

    def events(self, query: EventQuery) -> Sequence[Event]:
        check_events(query)
        if query.after:
            number_of(query.after)
        return []

    def records(self, kind: RecordKind, ids: Collection[str]) -> Mapping[str, Record]:  # noqa: ARG002
        return {}

    def scan(self, kind: RecordKind, prefix: str, after: str, limit: int) -> Sequence[Record]:  # noqa: ARG002
        return []

    def apply(self, changes: Sequence[Change]) -> None:
        pass
