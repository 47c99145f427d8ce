"""
Commands that are accepted now and decided later: which may be, what is said about them, and deciding many at once.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NoReturn

from msgspec.structs import replace

from backlog_store.backends.port import NO_HINT, Change, DropRecord, Hint, Purge, Put, PutRecord, Reader
from backlog_store.codec import decode_item, encode, encode_item
from backlog_store.commands import (
    Answer,
    BeginRun,
    Body,
    Close,
    Command,
    Comment,
    Create,
    DropView,
    Edit,
    LiftVerdict,
    Move,
    Outcome,
    Reopen,
    Report,
    Resolve,
    SaveView,
    Snooze,
)
from backlog_store.errors import BacklogError, NotFound
from backlog_store.ids import batch_id
from backlog_store.model import Item, ItemId, Key, Record, RecordKind
from backlog_store.policy import DEFAULT_POLICY, Policy
from backlog_store.query import ItemQuery, matcher, order_key
from backlog_store.rules.decide import Decision, decide, hint_of

__all__ = ["accepted_answer", "decide_all", "hint_of_all", "is_commutative", "is_pointed", "storable"]


def is_commutative(body: Body) -> bool:
    """
    Tell whether a command rests on nothing that its caller has read, so that it may be decided later.

    Beginning a run is such a command, and so are its reports; ending and judging one rests on what the store holds.
    """
    return isinstance(body, Report | Resolve | BeginRun) or (isinstance(body, Comment) and not body.revision)


_POINTED = (
    Report, Resolve, Create, Edit, Move, Close, Reopen, Snooze, Comment, LiftVerdict, SaveView, DropView,
)  # fmt: skip


def is_pointed(body: Body) -> bool:
    """
    Tell whether a command reads by id and key alone, and little, so that it may be decided together with others.

    A report of several drafts is a group by itself, whose unchanged items are not even decoded.
    """
    return isinstance(body, _POINTED) and not (isinstance(body, Report) and len(body.drafts) > 1)


def accepted_answer(command: Command, policy: Policy = DEFAULT_POLICY) -> Answer:
    """
    Return what is answered to a commutative command that is kept for later.

    It is decided on a store that knows nothing: what is refused there is refused everywhere. So each outcome is
    ``refused``, with its faults, or ``accepted``, with the id that the item will have if its key is new. `accepted` is
    false where every outcome is refused: then there is nothing to keep. Raises `InvalidInput`.
    """
    body = command.body
    try:
        outcomes = decide(_Nothing(), replace(command, request_id=""), policy).answer.outcomes
    except NotFound:
        # A comment without a fault; whether its item is there is decided later.
        outcomes = (Outcome(verdict="accepted", id=getattr(body, "id", "")),)
    outcomes = tuple(
        outcome if outcome.verdict == "refused" else Outcome(verdict="accepted", id=outcome.id) for outcome in outcomes
    )
    is_any = not outcomes or any(outcome.verdict == "accepted" for outcome in outcomes)
    return Answer(batch=command.batch or batch_id(command.seed), outcomes=outcomes, accepted=is_any)


def storable(command: Command, answer: Answer) -> Command:
    """
    Return the command as it can be kept: drafts that are refused stay in it, unless they are no JSON at all.
    """
    body = command.body
    if not isinstance(body, Report) or all(outcome.verdict == "accepted" for outcome in answer.outcomes):
        return command
    try:
        encode(body)
    except (UnicodeEncodeError, TypeError):
        outcomes = zip(body.drafts, answer.outcomes, strict=True)
        sound = tuple(draft for draft, outcome in outcomes if outcome.verdict == "accepted")
        return replace(command, body=replace(body, drafts=sound))
    return command


def decide_all(
    reader: Reader, commands: Sequence[Command], policy: Policy = DEFAULT_POLICY
) -> list[Decision | BacklogError]:
    """
    Decide commands that are commutative or `is_pointed` in order, each one on what those before it leave behind.

    All changes may be applied in one transaction, in this order. A command that a rule refuses is answered by that
    error and leaves no trace. Everything is read in a handful of calls, before the first decision.
    """
    shared = _Shared(reader)
    shared.load(hint_of_all(commands))
    decided: list[Decision | BacklogError] = []
    for command in commands:
        try:
            decision = decide(shared, command, policy)
        except BacklogError as error:
            decided.append(error)
        else:
            shared.absorb(decision.changes)
            decided.append(decision)
    return decided


def hint_of_all(commands: Iterable[Command], more: Hint = NO_HINT) -> Hint:
    """
    Return what deciding all these commands is going to read, and *more*.
    """
    ids: dict[ItemId, None] = dict.fromkeys(more.ids)
    keys: dict[Key, None] = dict.fromkeys(more.keys)
    records: dict[tuple[RecordKind, str], None] = dict.fromkeys(more.records)
    for command in commands:
        hint = hint_of(command)
        ids.update(dict.fromkeys(hint.ids))
        keys.update(dict.fromkeys(hint.keys))
        records.update(dict.fromkeys(hint.records))
        if isinstance(command.body, Report):
            for draft in command.body.drafts:
                if draft.id:
                    ids[draft.id] = None
                    records["alias", draft.id] = None
    return Hint(tuple(ids), tuple(keys), tuple(records))


class _Shared:
    """
    A `port.Reader` for many decisions: the store as read, with the changes decided so far laid over it.

    It answers what is asked by id and by key; what searches must be decided alone. No item is given out twice: who gets
    an answer could change the dicts in it.
    """

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._given: set[ItemId] = set()
        self._changed: set[ItemId] = set()
        self._items: dict[ItemId, Item | None] = {}
        self._by_key: dict[Key, Item | None] = {}
        self._records: dict[tuple[str, str], Record | None] = {}

    def load(self, hint: Hint) -> None:
        """
        Read in one go a kind of thing all that the hint names.
        """
        self._load_items(hint.ids)
        self._load_keys(hint.keys)
        by_kind: dict[RecordKind, list[str]] = {}
        for kind, id in hint.records:
            by_kind.setdefault(kind, []).append(id)
        for kind, ids in by_kind.items():
            self.records(kind, ids)

    def absorb(self, changes: Iterable[Change]) -> None:
        """
        Lay decided changes over what was read.
        """
        for change in changes:
            match change:
                case Put(item):
                    self._forget_key(item.id)
                    self._items[item.id] = item
                    self._changed.add(item.id)
                    self._given.add(item.id)
                    if item.key is not None:
                        self._by_key[item.key] = item
                case Purge(id):
                    self._forget_key(id)
                    self._items[id] = None
                    self._changed.add(id)
                case PutRecord(record):
                    self._records[record.kind, record.id] = record
                case DropRecord(kind, id):
                    self._records[kind, id] = None
                case _:
                    pass  # sightings change no item, and nothing is decided by them

    def items(self, ids: Collection[ItemId]) -> Mapping[ItemId, Item]:
        self._load_items(ids)
        return {id: self._own(item) for id in ids if (item := self._items[id]) is not None}

    def items_by_key(self, keys: Collection[Key]) -> Mapping[Key, Item]:
        self._load_keys(keys)
        return {key: self._own(item) for key in keys if (item := self._by_key[key]) is not None}

    def _load_items(self, ids: Collection[ItemId]) -> None:
        missing = [id for id in ids if id not in self._items]
        if missing:
            found = self._reader.items(missing)
            self._items.update({id: found.get(id) for id in missing})

    def _load_keys(self, keys: Collection[Key]) -> None:
        missing = [key for key in keys if key not in self._by_key]
        if missing:
            found = self._reader.items_by_key(missing)
            for key in missing:
                item = found.get(key)
                if item is not None:
                    known = self._items.setdefault(item.id, item)
                    # Decided about under another name meanwhile: it may hold another key now.
                    item = known if known is not None and known.key == key else None
                self._by_key[key] = item

    def records(self, kind: RecordKind, ids: Collection[str]) -> Mapping[str, Record]:
        missing = [id for id in ids if (kind, id) not in self._records]
        if missing:
            found = self._reader.records(kind, missing)
            self._records.update({(kind, id): found.get(id) for id in missing})
        return {id: record for id in ids if (record := self._records[kind, id]) is not None}

    def search(self, query: ItemQuery) -> Sequence[Item]:
        """
        Return the first items that match: for limits of work in progress, which count what a name works on.
        """
        if query.after is not None or query.offset or query.descending:
            raise NotImplementedError("commands that read page by page are decided alone")
        limit = None if query.limit is None else query.limit + len(self._changed)
        found = [item for item in self._reader.search(replace(query, limit=limit)) if item.id not in self._changed]
        matches = matcher(query.where)
        found += [item for id in self._changed if (item := self._items[id]) is not None and matches(item)]
        return sorted(found, key=lambda item: order_key(item, query.order))[: query.limit]

    def tally(self, *_: Any) -> NoReturn:
        raise NotImplementedError("commands that count are decided alone")

    events = tally

    def scan(self, kind: RecordKind, prefix: str, after: str, limit: int) -> Sequence[Record]:
        # Links are all that is scanned for here, and no command that is decided together with others changes one.
        return self._reader.scan(kind, prefix, after, limit)

    def _own(self, item: Item) -> Item:
        if item.id in self._given:
            return decode_item(encode_item(item))
        self._given.add(item.id)
        return item

    def _forget_key(self, id: ItemId) -> None:
        old = self._items.get(id)
        if old is not None and old.key is not None:
            self._by_key[old.key] = None


class _Nothing:
    """
    A `port.Reader` of an empty store.
    """

    def items(self, ids: Collection[ItemId]) -> Mapping[ItemId, Item]:  # noqa: ARG002
        return {}

    def items_by_key(self, keys: Collection[Key]) -> Mapping[Key, Item]:  # noqa: ARG002
        return {}

    def records(self, kind: RecordKind, ids: Collection[str]) -> Mapping[str, Record]:  # noqa: ARG002
        return {}

    def search(self, *_: Any) -> NoReturn:
        raise NotImplementedError("commands that search are not accepted for later")

    tally = events = scan = search
