"""
The writer: changes are collected and sent together, with COMMIT behind them, in one round trip.

A first run of the function takes it on trust that its changes hold; the statements themselves check that. Where one
does not hold, the function is run again *with care*: conditions are looked at when `apply` is called, so that the error
comes from there, and names what stands.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from backlog_store.backends.port import Change, DropRecord, Load, Purge, Put, PutRecord, Require, Sighting, Trim
from backlog_store.backends.postgres import statements as sql
from backlog_store.backends.postgres.deadlines import Deadlines
from backlog_store.backends.postgres.reading import PostgresReader
from backlog_store.backends.postgres.segments import Batch, Targets, targets_of
from backlog_store.backends.postgres.sessions import Session
from backlog_store.backends.postgres.wire import Rows, Statement
from backlog_store.backends.preconditions import check_changes
from backlog_store.errors import BackendError
from backlog_store.model import Item, ItemId, Key

__all__ = ["PostgresWriter"]


class PostgresWriter(PostgresReader):
    """
    A `port.Writer` in a session.

    `targets` is what it wrote or relied on so far, `newest` the transaction's number in positions once it wrote events,
    `moved` how many items it wrote, and `is_committing` says that COMMIT was sent.
    """

    def __init__(self, session: Session, *, longest: float, with_care: bool) -> None:
        super().__init__(session, longest=longest)
        #: Items as this transaction last read or wrote them. (A reader may see a whole store, and keeps none.)
        self._seen: dict[ItemId, Item] = {}
        self._with_care = with_care
        self._batch = Batch(self._seen)
        self._has_written = False
        self.targets = Targets()
        self.newest = self.moved = 0
        self.is_committing = False

    def apply(self, changes: Sequence[Change]) -> None:
        """
        Apply all changes, or none. Reads after it see them. At most one `Put` an item in one call.

        Raises `RevisionConflict`, `AlreadyExists`, `NotFound` or `InvalidInput` where running again cannot help.
        """
        if self._session.is_over:
            raise BackendError("postgres", "apply", "the transaction is over", hint="Write only inside the function.")
        if self._session.failure is not None:
            raise self._session.failure
        if self._with_care or _is_odd(changes):
            check_changes(self._standing(changes), changes)
        self._batch.add_all(changes, apart=self._with_care)
        targets_of(changes, self.targets)
        self.moved += sum(isinstance(change, Put | Load | Purge) for change in changes)
        # What a hint brought may no longer be so.
        self._items, self._keys, self._records = {}, {}, {}

    def commit(self) -> None:
        """
        Send what is left, and COMMIT behind it. Raises `LinkError`.
        """
        statements = self._flushed()
        self._session.is_over = True
        if self._has_written:
            self.is_committing = True
            self._send(*statements, sql.COMMIT)
        else:
            self._session.end()

    def _item(self, doc: bytes) -> Item:
        item = super()._item(doc)
        self._seen.setdefault(item.id, item)  # it may be decoded after it was changed
        return item

    def _asked(self, *statements: Statement, whole: bool = False) -> list[Rows]:
        pending = self._flushed()
        if not pending:
            return super()._asked(*statements, whole=whole)
        return self._send(*pending, *statements)[len(pending) :]

    def _send(self, *statements: Statement) -> list[Rows]:
        answers = self._session.ask(*statements)
        for statement, rows in zip(statements, answers, strict=True):
            if statement.name == "events":
                self.newest = int(rows[0][0])
        return answers

    def _flushed(self) -> list[Statement]:
        """
        Return the statements for the changes that were not sent yet.
        """
        if not self._batch.size:
            return []
        self._has_written = True
        is_batch = self._batch.size > Deadlines.BATCH
        statements = self._batch.take()
        if is_batch:
            return [self._session.extend(self._longest), *sql.BY_NAME, *statements]
        return statements

    def _standing(self, changes: Sequence[Change]) -> _Standing:
        """
        Read what the conditions of *changes* are about.
        """
        targets = Targets()
        targets_of(changes, targets)
        targets.items |= {change.item_id for change in changes if isinstance(change, Sighting)}
        sightings = sorted(id for kind, id in targets.records if kind == "sighting")
        items, keys, records, sighted = self._asked(
            Statement(sql.STANDING_ITEMS, (sorted(targets.items),)),
            Statement(sql.STANDING_KEYS, _columns(targets.keys)),
            Statement(sql.STANDING_RECORDS, _columns(targets.records)),
            Statement(sql.STANDING_SIGHTINGS, (sightings,)),
        )
        return _Standing(items, keys, records, sighted)


class _Standing:
    """
    A `preconditions.Standing` of rows that were read.
    """

    def __init__(self, items: Rows, keys: Rows, records: Rows, sightings: Rows) -> None:
        self._items: Mapping[ItemId, tuple[int, Key | None]] = {
            id.decode(): (int(revision), (env.decode(), key.decode()) if key else None)
            for id, revision, env, key in items
        }
        self._keys = {(env.decode(), key.decode()): id.decode() for env, key, id in keys}
        self._records = {(kind.decode(), id.decode()): int(revision) for kind, id, revision in records}
        self._records |= {("sighting", id.decode()): 1 for (id,) in sightings}

    def item_standing(self, id: ItemId) -> tuple[int, Key | None]:
        return self._items.get(id, (0, None))

    def key_holder(self, key: Key) -> ItemId | None:
        return self._keys.get(key)

    def record_revision(self, kind: str, id: str) -> int:
        return self._records.get((kind, id), 0)


def _is_odd(changes: Sequence[Change]) -> bool:
    """
    Tell whether a change is of a kind that no statement would refuse: it contradicts itself, or another one.
    """
    put: set[ItemId] = set()
    for change in changes:
        match change:
            case Put(item, event):
                if item.id in put or event.item_id != item.id or event.revision != item.revision:
                    return True
                put.add(item.id)
            case Load(item, events):
                if any(event.item_id != item.id for event in events):
                    return True
            case PutRecord(record, _, force):
                if record.revision < 1 and not force:
                    return True
            case Purge() | Trim() | DropRecord() | Sighting() | Require():
                pass
            case _:
                return True
    return False


def _columns(pairs: set[tuple[str, str]]) -> tuple[list[str], list[str]]:
    return [one for one, _ in sorted(pairs)], [other for _, other in sorted(pairs)]
