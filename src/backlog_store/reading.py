"""
The reading half of the friendly face: one method a query.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from backlog_store.access import Scope
from backlog_store.backends.port import Health, Reader
from backlog_store.clock import Clock
from backlog_store.codec import from_builtins
from backlog_store.errors import AmbiguousId, NotFound
from backlog_store.executors.local import Executor
from backlog_store.instants import Instant, add_seconds, earlier
from backlog_store.model import LIMITS, Event, Item, ItemId, KeyState, Record, RecordKind, Sighted
from backlog_store.policy import Policy
from backlog_store.query import ANY, All, Compare, EventQuery, Facet, ItemFilter, ItemQuery, OrderKey, Where, order_key

if TYPE_CHECKING:
    from backlog_store.dashboard import Attention, Dashboard
    from backlog_store.rules.attainment import Attained
    from backlog_store.weekly import Weekly

__all__ = ["ReadableBacklog"]

T = TypeVar("T")

_RECORDS = 500  # a page
_FULL_ID = 15  # "bl_" and 12 digits, the shortest id that was ever drawn


class ReadableBacklog:
    """
    What a backlog can be asked. *scope* is the part of it that is seen; ``None`` is all.
    """

    def __init__(self, executor: Executor, *, clock: Clock, scope: Scope | None = None) -> None:
        self.executor = executor
        self.clock = clock
        self.scope = scope

    def read(self, fn: Callable[[Reader], T], /) -> T:
        """
        Run *fn* on one consistent view of the store.
        """
        scope = self.scope
        if scope is None:
            return self.executor.read(fn)
        from backlog_store.rules.scoping import visible  # a server's alone

        return self.executor.read(lambda reader: fn(visible(reader, scope)))

    def get(self, id: ItemId) -> Item:
        """
        Return the item of an id, of an id it had before, or of an unambiguous prefix. Raises `NotFound`.
        """
        return self.read(lambda reader: _get(reader, id))

    def find(self, id: ItemId) -> Item | None:
        """
        Return the item of an id, or ``None``.
        """
        try:
            return self.get(id)
        except NotFound:
            return None

    def id_of(self, id: ItemId) -> ItemId:
        """
        Return the full id for an id or a prefix. Raises `NotFound`, `AmbiguousId`.
        """
        # A full id needs no look-up: the command will find it, or an alias of it, in its own transaction.
        return id if len(id) >= _FULL_ID else self.get(id).id

    def get_by_key(self, dedupe_key: str, *, env: str = "prod") -> Item | None:
        """
        Return the item that holds a key now, or ``None``.
        """
        key = (env, dedupe_key)
        return self.read(lambda reader: reader.items_by_key([key]).get(key))

    def search(
        self,
        where: Where | ItemFilter = ANY,
        *,
        order: str = "priority",
        descending: bool = False,
        limit: int | None = 50,
        offset: int = 0,
        after: OrderKey | None = None,
    ) -> Sequence[Item]:
        """
        Return a page of items. The next page goes on after ``order_key(last item, order)``.
        """
        query = ItemQuery(where=_where(where), order=order, descending=descending, limit=limit, offset=offset,  # type: ignore[arg-type]
                          after=after)  # fmt: skip
        return self.read(lambda reader: reader.search(query))

    def each(self, where: Where | ItemFilter = ANY, *, order: str = "id", page: int = 1_000) -> Iterator[Item]:
        """
        Yield every matching item, page by page; each page is its own consistent view.
        """
        after: OrderKey | None = None
        while True:
            items = self.search(where, order=order, limit=page, after=after)
            yield from items
            if len(items) < page:
                return
            after = order_key(items[-1], order)

    def tally(self, where: Where | ItemFilter = ANY, by: Sequence[Facet] = ()) -> Mapping[tuple[str, ...], int]:
        """
        Count matching items by facets.
        """
        tree = _where(where)
        return self.read(lambda reader: reader.tally(tree, by))

    def events(self, query: EventQuery) -> Sequence[Event]:
        """
        Return events, oldest first unless asked otherwise.
        """
        return self.read(lambda reader: reader.events(query))

    def trail(self, id: ItemId) -> Sequence[Event]:
        """
        Return every event of an item, oldest first.
        """
        full = self.get(id).id
        return self.events(EventQuery(item_ids=(full,), limit=None))

    def sightings(self, id: ItemId) -> Mapping[str, Sighted]:
        """
        Return the unchanged reports of an item, counted by source.
        """
        records = self.read(lambda reader: reader.scan("sighting", f"{id}/", "", LIMITS.page))
        from backlog_store.rules.voices import both_sighted, source_of_sighting  # who lists items needs no rules

        counted: dict[str, Sighted] = {}
        for record in records:
            source, one = source_of_sighting(record.id.split("/", 1)[1]), from_builtins(record.body, Sighted)
            counted[source] = both_sighted(counted[source], one) if source in counted else one
        return counted

    def occurrences(self, item: Item) -> int:
        """
        Return how often the item was reported, unchanged or not.
        """
        from backlog_store.rules.voices import every_claim

        reports = sum(claim.reports for _, _, claim in every_claim(item))
        return reports + sum(seen.n for seen in self.sightings(item.id).values())

    def links(self, id: ItemId) -> Sequence[tuple[str, ItemId]]:
        """
        Return the links of an item: (kind, other id); a kind with ``~`` in front is seen from its end.
        """
        records = self.read(lambda reader: reader.scan("link", f"{id}/", "", LIMITS.page))
        return [(record.id.split("/")[1], record.id.split("/")[2]) for record in records]

    def verdicts(self) -> Iterator[tuple[str, KeyState]]:
        """
        Yield what was decided about keys: (``env/key``, state), in order of the key.
        """
        for record in self.records("key"):
            state = from_builtins(record.body, KeyState)
            if state.verdict is not None:
                yield record.id, state

    def policy(self) -> Policy:
        """
        Return the policy in force; revision 0 is the built-in one.
        """
        from backlog_store.rules.policies import policy_in_force

        return self.read(policy_in_force)

    def views(self) -> Mapping[str, str]:
        """
        Return the saved views: name to query.
        """
        return {record.id: record.body["query"] for record in self.records("view")}

    def records(self, kind: RecordKind, prefix: str = "") -> Iterator[Record]:
        """
        Yield every record of a kind whose id starts with *prefix*, in order; each page is its own consistent view.
        """
        after = ""
        while True:
            page = self.read(partial(_records, kind=kind, prefix=prefix, after=after))
            yield from page
            if len(page) < _RECORDS:
                return
            after = page[-1].id

    def dashboard(self, env: str = "") -> Dashboard:
        """
        Count everything of an env (empty: of all).
        """
        now = self.clock()
        from backlog_store.dashboard import dashboard

        return self.read(lambda reader: dashboard(reader, env=env, now=now))

    def attainment(self, env: str = "", *, days: int = 30) -> list[Attained]:
        """
        Count the clocks of the policy's targets (`sla`): of live items, and of those closed in the last *days*.

        Reads the trail of each, page by page; see `rules.attainment`.
        """
        from collections import Counter

        from backlog_store.rules.attainment import attained_among, in_order  # only who asks for it pays for it
        from backlog_store.rules.policies import policy_in_force

        now, after, policy = self.clock(), "", self.read(policy_in_force)
        since, counts = add_seconds(now, -days * 86_400), Counter[tuple[str, str, str]]()
        while True:
            page, after = self.read(lambda reader, after=after: attained_among(  # type: ignore[misc]
                reader, policy, now, since=since, env=env, after=after))  # fmt: skip
            counts += page
            if not after:
                return in_order(counts, policy)

    def attention(self, env: str = "", *, limit: int = 5) -> Attention:
        """
        Say what needs a look now.
        """
        now = self.clock()
        from backlog_store.dashboard import attention

        return self.read(lambda reader: attention(reader, env=env, now=now, limit=limit))

    def weekly(self, since: Instant = "", env: str = "", *, limit: int = 5) -> Weekly:
        """
        Tell what happened since then (default: seven days ago), and how things stand; see `weekly`.
        """
        from backlog_store.weekly import weekly  # only who asks for it pays for it

        now = self.clock()
        return self.read(lambda reader: weekly(reader, env=env, since=since or earlier(now), now=now, limit=limit))

    def check(self) -> Health:
        """
        Look at the store's condition.
        """
        return self.executor.check()


def _records(reader: Reader, kind: RecordKind, prefix: str, after: str) -> Sequence[Record]:
    return reader.scan(kind, prefix, after, _RECORDS)


def _where(where: Where | ItemFilter) -> Where:
    return where.where() if isinstance(where, ItemFilter) else where


def _get(reader: Reader, id: ItemId) -> Item:
    if not id.isprintable() and any(letter == "\0" or "\ud800" <= letter <= "\udfff" for letter in id):
        # Nothing stored holds these, and not every backend could even look for them.
        raise NotFound("item", id, hint="No id holds NUL or half a character.")
    found = reader.items([id]).get(id)
    if found is not None:
        return found
    alias = reader.records("alias", [id]).get(id)
    if alias is not None:
        other = alias.body.get("item_id")
        if isinstance(other, str) and other != id:
            return _get(reader, other)
        raise NotFound("item", id, hint=f"It was purged at {alias.body.get('purged_at', 'some time')}.")
    return _by_prefix(reader, id)


def _by_prefix(reader: Reader, prefix: str) -> Item:
    full = prefix if prefix.startswith("bl_") else f"bl_{prefix}"
    if not prefix:
        raise NotFound("item", prefix)
    last = full + "\U0010ffff"
    where = All((Compare("id", ">=", full), Compare("id", "<", last)))
    items = reader.search(ItemQuery(where=where, order="id", limit=6))
    if not items:
        raise NotFound("item", prefix, hint="`backlog list` shows the ids; any unambiguous beginning will do.")
    if len(items) > 1 or full == "bl_":  # every id begins like this, that of an only item, too
        raise AmbiguousId("item", prefix, [item.id for item in items])
    return items[0]
