"""
The port: what a backend is. It knows nothing about backlogs; it reads, and it writes lists of changes.

An item is never written without the event that explains it: `Put` carries both. Obligations stand in the docstrings;
`backlog_store.testing` holds the suite that proves them for any backend.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol, TypeVar

from msgspec import Struct

from backlog_store.instants import Instant
from backlog_store.model import Event, Item, ItemId, Key, Record, RecordKind
from backlog_store.query import EventQuery, Facet, ItemQuery, Where

__all__ = [
    "NO_HINT", "Backend", "Capabilities", "Change", "DropRecord", "Health", "Hint", "Load", "Purge", "Put", "PutRecord",
    "Reader", "Require", "Sighting", "Trim", "Writer",
]  # fmt: skip

T = TypeVar("T")


class Put(Struct, frozen=True, gc=False):
    """
    The next state of an item and the event that explains it.

    The stored item must have revision ``item.revision - 1``; for ``created=True`` it must be absent, and its key too.
    `event.item_id` and `event.revision` are the item's. Violated: `RevisionConflict`, or `AlreadyExists`.
    """

    item: Item
    event: Event
    created: bool = False


class Load(Struct, frozen=True, gc=False):
    """
    An item that is absent so far, with its whole trail (import, migration). Same conditions as a created `Put`.
    """

    item: Item
    events: tuple[Event, ...]


class Purge(Struct, frozen=True, gc=False):
    """
    Remove an item of exactly this revision with its events and sightings. What stays is written as a ``key`` record.
    """

    id: ItemId
    revision: int


class Trim(Struct, frozen=True, gc=False):
    """
    Forget the events of an item, or of one that was purged, that made a revision below *revision*.

    It has no condition, and no fault where they are gone already. Whoever asks has seen to it that what stays explains
    the item: see `trail.is_baseline`. Positions of forgotten events are not given again.
    """

    item_id: ItemId
    revision: int


class PutRecord(Struct, frozen=True, gc=False):
    """
    Write a record; the stored one must have revision ``record.revision - 1``, or be absent for revision 1.

    A judging record comes with its event. `force` writes whatever is stored (import).
    """

    record: Record
    event: Event | None = None
    force: bool = False


class DropRecord(Struct, frozen=True, gc=False):
    """
    Remove a record of exactly this revision.
    """

    kind: RecordKind
    id: str
    revision: int


class Sighting(Struct, frozen=True, gc=False):
    """
    *n* more reports of an unchanged item by one source; counted in the record ``sighting`` ``<item>/<source>``.

    It changes neither item nor revision, writes no event, and conflicts with nothing: counts are added, `first_at` is
    the least and `last_at` the greatest instant seen; `run` is the newest one given. The item must exist.
    *source* is any text: what is reported under a key that was merged in is counted apart (`rules.voices.sighted_as`).
    """

    item_id: ItemId
    source: str
    first_at: Instant
    last_at: Instant
    n: int = 1
    run: str = ""


class Require(Struct, frozen=True, gc=False):
    """
    What was read, relied on and is not written: the item or record still has this revision (0: is absent).

    Violated: `RevisionConflict` inside the backend, which reads again and runs the function anew.
    """

    kind: str  # "item" or a RecordKind
    id: str
    revision: int


Change = Put | Load | Purge | Trim | PutRecord | DropRecord | Sighting | Require


class Hint(Struct, frozen=True):
    """
    What a function is going to read. Only a help (fetch in one round trip, lock in sorted order); it may be wrong.

    *is_shared* says that the function does the work of several callers, of whom none should wait for what only another
    one's work has to wait for: rather fail soon, with `BackendUnavailable`, and they will write one by one.
    """

    ids: tuple[ItemId, ...] = ()
    keys: tuple[Key, ...] = ()
    records: tuple[tuple[RecordKind, str], ...] = ()
    is_shared: bool = False


NO_HINT = Hint()


class Capabilities(Struct, frozen=True, kw_only=True):
    """
    What a backend claims; the conformance suite verifies both sides of each claim.
    """

    name: str
    retains: bool = True  # false: accepts everything and keeps nothing (null)
    durable: bool = False  # an acknowledged write survives kill -9 and power loss
    shared: bool = False  # several processes may use one store at the same time
    writers: int = 1  # so many threads write at the same time; further ones wait for one of them


class Health(Struct, frozen=True, kw_only=True):
    """
    What `check` found. *problems* stop work, *warnings* do not; *facts* are for people and monitoring.
    """

    ok: bool
    backend: str
    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    facts: Mapping[str, str] = {}


class Reader(Protocol):
    """
    One consistent view of the store. Values are immutable; nothing read here changes while the function runs.
    """

    def items(self, ids: Collection[ItemId]) -> Mapping[ItemId, Item]:
        """
        Return the items of these ids; those that do not exist are left out.
        """
        ...

    def items_by_key(self, keys: Collection[Key]) -> Mapping[Key, Item]:
        """
        Return the items that hold these keys now; an empty dedupe key is never held.

        Most of what is reported is known and unchanged: a `codec.Undecoded` of several items spares decoding those.
        """
        ...

    def search(self, query: ItemQuery) -> Sequence[Item]:
        """
        Return a page of items. Raises `InvalidInput` for an impossible query.
        """
        ...

    def tally(self, where: Where, by: Sequence[Facet]) -> Mapping[tuple[str, ...], int]:
        """
        Count the items that match, by facet values (no facets: one count under the empty tuple). Zeros are left out.
        """
        ...

    def events(self, query: EventQuery) -> Sequence[Event]:
        """
        Return events in order of position, with their positions.

        Raises `InvalidInput` for an impossible query, also one that goes on behind what is no position of this store.
        """
        ...

    def records(self, kind: RecordKind, ids: Collection[str]) -> Mapping[str, Record]:
        """
        Return the records of this kind and these ids; those that do not exist are left out.
        """
        ...

    def scan(self, kind: RecordKind, prefix: str, after: str, limit: int) -> Sequence[Record]:
        """
        Return up to *limit* records whose id starts with *prefix* and is greater than *after*, in bytewise id order.
        """
        ...


class Writer(Reader, Protocol):
    """
    A reader that can also apply changes, in the transaction of the function that holds it.
    """

    def apply(self, changes: Sequence[Change]) -> None:
        """
        Apply all changes, or none. Reads after it see them. At most one `Put` an item in one call.

        Raises `RevisionConflict` or `AlreadyExists` where a condition is violated *and* running again cannot help
        (the function itself chose it); a conflict with another writer is resolved by running the function again.
        A backend may find that out only when the function has returned, and raise from `write` then.
        """
        ...


class Backend(Protocol):
    """
    A place that keeps items, events and records. Safe for use by several threads.
    """

    @property
    def capabilities(self) -> Capabilities:
        """
        Return what this backend claims.
        """
        ...

    def read(self, fn: Callable[[Reader], T], /) -> T:
        """
        Run *fn* on one consistent view and return what it returned. It may run more than once.
        """
        ...

    def write(self, fn: Callable[[Writer], T], /, *, hint: Hint = NO_HINT) -> T:
        """
        Run *fn* in one transaction and return what it returned, once its effects are durable.

        *fn* may run more than once, must have no other effect than `apply`, and its effects happen once or not at all.
        If *fn* raises, nothing is written and the exception passes through. Raises `BackendUnavailable` (surely not
        executed), `OutcomeUnknown` (perhaps executed), `DataCorrupt`, `StorageFull`.
        """
        ...

    def check(self) -> Health:
        """
        Look at the store's condition. Does not raise for what it can report.
        """
        ...

    def close(self) -> None:
        """
        Let go of all resources. Idempotent. Any later call raises `BackendUnavailable`.
        """
        ...
