"""
The reader: the port's questions as statements, each one round trip unless a hint has brought the answer already.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

from backlog_store import codec
from backlog_store.backends.port import NO_HINT, Hint
from backlog_store.backends.postgres import statements as sql
from backlog_store.backends.postgres.deadlines import Deadlines, moment_after
from backlog_store.backends.postgres.sessions import DIALECT, FEED, Session, numbered, position_text
from backlog_store.backends.postgres.wire import Rows, Statement
from backlog_store.backends.sql.compile import compile_events
from backlog_store.backends.sql.counting import compile_tally
from backlog_store.backends.sql.pages import compile_items
from backlog_store.backends.sql.stages import tally_keys
from backlog_store.errors import BackendError
from backlog_store.model import Event, Item, ItemId, Key, Record, RecordKind, Sighted
from backlog_store.query import EventQuery, Facet, ItemQuery, Where

__all__ = ["PostgresReader"]

#: A hint that names more is answered by one statement a kind.
_GLANCE_MAX = 4


class PostgresReader:
    """
    A `port.Reader` in a session.

    *settled* is the newest transaction that this handle had committed before: what it wrote itself, it sees in a feed,
    too. `is_behind` says that it could not. *longest* is the deadline for what is large: a read without a limit. With
    *patience_s* each exchange from such a read on has so many seconds anew: who reads a whole store, page by page,
    takes what time it takes, and yet does not wait longer than that for a server that is silent.
    """

    def __init__(
        self, session: Session, *, longest: float, settled: int | None = None, patience_s: float = 0.0
    ) -> None:
        self._session = session
        self._longest = longest
        self._patience_s = patience_s
        self._is_large = False
        self._settled = settled
        self.is_behind = False
        self._waiting: list[tuple[Statement, _Counts]] = []
        # What a hint has brought; None for what is absent.
        self._items: dict[ItemId, bytes | None] = {}
        self._keys: dict[Key, bytes | None] = {}
        self._records: dict[tuple[str, str], bytes | None] = {}

    def prefetch(self, hint: Hint = NO_HINT, *locks: Statement) -> None:
        """
        Begin the transaction and fetch what *hint* names, in one round trip, after taking the *locks*.
        """
        if 1 < len(hint.ids) + len(hint.keys) + len(hint.records) <= _GLANCE_MAX and not locks:
            self._look(hint)
            return
        ids = sorted(set(hint.ids))
        keys = sorted({key for key in hint.keys if key[1]})
        kinds: dict[RecordKind, list[str]] = {}
        for kind, id in sorted(set(hint.records)):
            if kind != "sighting":
                kinds.setdefault(kind, []).append(id)
        asked = list(locks)
        if ids:
            asked.append(Statement(sql.ITEMS, (ids,), True))
        if keys:
            asked.append(_by_key(keys))
        asked += [Statement(sql.RECORDS, (kind, found), True) for kind, found in kinds.items()]
        answers = iter(self._session.ask(*asked)[len(locks) :])
        if ids:
            self._items = dict.fromkeys(ids) | {id.decode(): doc for id, doc in next(answers)}
        if keys:
            self._keys = dict.fromkeys(keys) | _key_docs(next(answers))
        for kind, named in kinds.items():
            self._records |= {(kind, id): None for id in named}
            self._records |= {(kind, id.decode()): doc for id, doc in next(answers)}

    def _look(self, hint: Hint) -> None:
        """
        Do it for a hint that names few things, by one statement: each costs as much as what it does.
        """
        ids = hint.ids
        keys = [key for key in hint.keys if key[1]]
        records = [record for record in hint.records if record[0] != "sighting"]
        things: list[tuple[dict[Any, bytes | None], Any]] = [(self._items, id) for id in ids]
        things += [(self._keys, key) for key in keys]
        things += [(self._records, record) for record in records]
        if not things:
            self._session.ask()
            return
        parameters = [*ids, *chain.from_iterable(keys), *chain.from_iterable(records)]
        statement = Statement(sql.glance(len(ids), len(keys), len(records)), parameters, True)
        for into, name in things:
            into[name] = None
        for number, doc in self._session.ask(statement)[0]:
            into, name = things[int(number)]
            into[name] = doc

    def items(self, ids: Collection[ItemId]) -> Mapping[ItemId, Item]:
        """
        Return the items of these ids; those that do not exist are left out.
        """
        found: dict[ItemId, bytes | None] = {id: self._items[id] for id in ids if id in self._items}
        missing = [id for id in dict.fromkeys(ids) if id not in found]
        if missing:
            found |= {id.decode(): doc for id, doc in self._ask(Statement(sql.ITEMS, (missing,), True))}
        return {id: self._item(doc) for id in ids if (doc := found.get(id)) is not None}

    def items_by_key(self, keys: Collection[Key]) -> Mapping[Key, Item]:
        """
        Return the items that hold these keys now; an empty dedupe key is never held.
        """
        found: dict[Key, bytes | None] = {key: self._keys[key] for key in keys if key in self._keys}
        missing = [key for key in dict.fromkeys(keys) if key not in found and key[1]]
        if missing:
            found |= _key_docs(self._ask(_by_key(missing)))
        return codec.Undecoded({key: doc for key in keys if (doc := found.get(key)) is not None}, self._item)

    def search(self, query: ItemQuery) -> Sequence[Item]:
        """
        Return a page of items. Raises `InvalidInput` for an impossible query.
        """
        statement = numbered(compile_items(query, DIALECT))
        if query.limit is None:
            return [self._item(row[0]) for row in self._ask(statement, whole=True)]
        return [self._item(row[0]) for row in self._asked(sql.CAUTIOUS, statement)[-1]]

    def tally(self, where: Where, by: Sequence[Facet]) -> Mapping[tuple[str, ...], int]:
        """
        Count the items that match, by facet values. Raises `InvalidInput`.

        In a read it is asked together with whatever is read next, or when somebody looks at it: who asks for several
        counts before looking at the first waits for one round trip. (In a write it is asked before what comes next is
        applied.)
        """
        counts = _Counts(by, self._catch_up)
        self._waiting.append((numbered(compile_tally(where, by, DIALECT)), counts))
        if self._settled is None:
            self._catch_up()
        return counts

    def finish(self) -> None:
        """
        Ask for what was not looked at yet; the caller may do so when the transaction is over.
        """
        if self._waiting:
            self._catch_up()

    def events(self, query: EventQuery) -> Sequence[Event]:
        """
        Return events in order of position. A read over many items, oldest first, ends before what is not settled.

        A reader that goes on after the last position it saw misses nothing then. Reads of named items or of a batch, or
        newest first, see everything at once: none of these is a place to go on from.
        """
        is_feed = query.item_ids is None and query.batch is None and not query.newest_first
        statement = numbered(compile_events(query, FEED if is_feed else DIALECT))
        whole = query.limit is None
        if is_feed:
            horizon, rows = self._asked(Statement(f"SELECT {sql.HORIZON}"), statement, whole=whole)
            self.is_behind = self.is_behind or int(horizon[0][0]) <= (self._settled or 0)
        else:
            rows = self._ask(statement, whole=whole)
        return [codec.decode_event(doc, position=position_text(tx, n)) for tx, n, doc in rows]

    def records(self, kind: RecordKind, ids: Collection[str]) -> Mapping[str, Record]:
        """
        Return the records of this kind and these ids; those that do not exist are left out.
        """
        if kind == "sighting":
            rows = self._ask(Statement(sql.SIGHTED, (list(dict.fromkeys(ids)),))) if ids else []
            sighted = {record.id: record for record in map(_sighted, rows)}
            return {id: sighted[id] for id in ids if id in sighted}
        found: dict[str, bytes | None] = {id: self._records[kind, id] for id in ids if (kind, id) in self._records}
        missing = [id for id in dict.fromkeys(ids) if id not in found]
        if missing:
            found |= {id.decode(): doc for id, doc in self._ask(Statement(sql.RECORDS, (kind, missing), True))}
        return {id: codec.decode_record(doc) for id in ids if (doc := found.get(id)) is not None}

    def scan(self, kind: RecordKind, prefix: str, after: str, limit: int) -> Sequence[Record]:
        """
        Return up to *limit* records whose id starts with *prefix* and is greater than *after*, in bytewise id order.
        """
        end = sql.after_prefix(prefix)
        bounds = (after, prefix, end) if end else (after, prefix)
        if kind == "sighting":
            rows = self._ask(Statement(sql.SIGHTED_SCAN if end else sql.SIGHTED_SCAN_TO_END, (*bounds, limit)))
            return [_sighted(row) for row in rows]
        rows = self._ask(Statement(sql.SCAN if end else sql.SCAN_TO_END, (kind, *bounds, limit)))
        return [codec.decode_record(doc) for _, doc in rows]

    # --- inside -------------------------------------------------------------------------------------------------------

    def _ask(self, statement: Statement, *, whole: bool = False) -> Rows:
        return self._asked(statement, whole=whole)[0]

    def _asked(self, *statements: Statement, whole: bool = False) -> list[Rows]:
        if self._session.is_over:
            raise BackendError("postgres", "reading", "the transaction is over", hint="Read only inside the function.")
        self._is_large = self._is_large or (whole and bool(self._patience_s))
        waiting, self._waiting = self._waiting, []
        asked = [*(statement for statement, _ in waiting), *statements]
        if whole or self._is_large:
            moment = max(self._longest, moment_after(self._patience_s))
            answers = self._session.ask(self._session.extend(moment), *asked)[1:]
        else:
            answers = self._session.ask(*asked)
        for (_, counts), rows in zip(waiting, answers, strict=False):
            counts.take(rows)
        return answers[len(waiting) :]

    def _catch_up(self) -> None:
        self._asked()

    def _item(self, doc: bytes) -> Item:
        # Decoded for each caller alone: the free objects inside are plain dicts, and may be changed.
        return codec.decode_item(doc)


class _Counts(Mapping[tuple[str, ...], int]):
    """
    The answer to a tally: fetched with what is read next, at the latest when it is looked at.
    """

    def __init__(self, by: Sequence[Facet], fetch: Callable[[], None]) -> None:
        self._by = by
        self._fetch = fetch
        self._found: dict[tuple[str, ...], int] | None = None

    def take(self, rows: Rows) -> None:
        """
        Take what came back.
        """
        self._found = tally_keys(self._by, [[*(value.decode() for value in row[:-1]), int(row[-1])] for row in rows])

    def __getitem__(self, values: tuple[str, ...]) -> int:
        return self._counts()[values]

    def __iter__(self) -> Iterator[tuple[str, ...]]:
        return iter(self._counts())

    def __len__(self) -> int:
        return len(self._counts())

    def __repr__(self) -> str:
        return repr(self._counts())

    def _counts(self) -> dict[tuple[str, ...], int]:
        if self._found is None:
            self._fetch()
        assert self._found is not None
        return self._found


def _by_key(keys: Sequence[Key]) -> Statement:
    if len(keys) == 1:
        return Statement(sql.ITEM_BY_KEY, keys[0], True)
    # The plan for few is not the one for thousands.
    is_hot = len(keys) <= Deadlines.BATCH
    return Statement(sql.ITEMS_BY_KEY, ([env for env, _ in keys], [key for _, key in keys]), is_hot)


def _key_docs(rows: Rows) -> dict[Key, bytes]:
    return {(env.decode(), key.decode()): doc for env, key, doc in rows}


def _sighted(row: list[bytes]) -> Record:
    id, n, first_at, last_at, run = (value.decode() for value in row)
    body = Sighted(n=int(n), first_at=first_at, last_at=last_at, run=run)
    return Record(kind="sighting", id=id, revision=1, body=codec.to_builtins(body))
