"""
How many items a list has, and how many each value of a facet would leave: at a price that does not grow.

What the stores count as items are written (by env, status and one field more) is exact at no cost. Everything else has
to look at items, and does so only in a small backlog, or where those counts say that few would be looked at, or where a
look for a page's items finds all there are; beyond that the kept counts bound it from above, which is said as such.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from msgspec import Struct

from backlog_store.access import Scope
from backlog_store.backends.port import Reader
from backlog_store.model import PRIORITIES, STATUSES, Item
from backlog_store.query import ANY, All, Facet, ItemQuery, Where, fields_of, flat, value_of

__all__ = ["FACETS", "FREE", "KEPT", "LOOK_MAX", "SMALL", "Count", "Counting", "Shown", "within"]

#: The facets of the list, and the order of their values where it is not how many there are.
FACETS: tuple[tuple[Facet, Sequence[str]], ...] = (
    ("status", STATUSES), ("priority", PRIORITIES), ("service", ()), ("owner", ()), ("source", ()),
)  # fmt: skip
#: By what every store counts as items are written: each of `KEPT`, together with all of `FREE`.
KEPT = frozenset({"priority", "category", "service", "owner", "source", "due_date", "due"})
FREE = frozenset({"env", "status", "stage"})
#: The fields that an index finds items by: so many of them are looked at as meet the conditions on these.
_LEADING = (FREE | {"priority"}, frozenset({"owner"}))
#: A backlog of so many items is counted through, whatever is asked.
SMALL = 10_000
#: In a larger one a count that is not kept looks at no more items than this, each of which lies on a page of its own.
LOOK_MAX = 500
#: A look for items that a condition finds ends behind so many: a page of the list costs as much.
_FEW = 50
_VALUES_MAX = 8


class Count(Struct, frozen=True):
    """
    How many items there are of each value (of the one value, no text, where nothing is counted by).

    Where it is not *exact* there are at most so many: they were not looked at.
    """

    of: Mapping[str, int]
    exact: bool = True

    @property
    def total(self) -> int:
        """
        Return the sum.
        """
        return sum(self.of.values())


class Shown(Struct, frozen=True):
    """
    A facet as it stands on a page.
    """

    name: str
    values: Sequence[tuple[str, int]]
    exact: bool


def within(scope: Scope | None, where: Where) -> Where:
    """
    Return the condition with what an asker reaches, which is one like others for what it costs to count.
    """
    return where if scope is None or scope.is_whole else All((scope.where(), where))


class Counting:
    """
    The counts of one page over one view of the store: what is kept is asked for once.
    """

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._tallies: dict[tuple[Where, Facet | None], Mapping[str, int]] = {}

    def count(self, where: Where, by: Facet | None = None, *, are_many: bool = False) -> Count:
        """
        Count the items that match, or bound how many they can be. *are_many* says that they are known to be no few.
        """
        parts = list(flat(where))
        names = fields_of(where)
        if _is_kept(names | ({by} if by else set())) or self._is_cheap(parts):
            return Count(self._tally(where, by))
        found = () if are_many else self._reader.search(ItemQuery(where=where, limit=_FEW + 1))
        if not are_many and len(found) <= _FEW:
            return Count(Counter(value_of(item, by) if by else "" for item in found))
        # Each field's own counts are of more items than match: the least of them bounds the rest.
        most = min(self._total(_only(parts, FREE | {name})) for name in (names & KEPT) | {"status"})
        if by is None:
            return Count({"": most}, exact=False)
        wider = self._tally(_only(parts, FREE | {by}), by)
        return Count({value: min(n, most) for value, n in wider.items()}, exact=False)

    def facets(
        self, where_without: Callable[[str], Where], chosen: Mapping[str, Collection[str]], whole: Sequence[Item] | None
    ) -> list[Shown]:
        """
        Return the facets: each counts what matches without what was *chosen* of it, as its other values would give.

        *where_without* gives the list's condition without that; *whole* are all items of the list, if they are known.
        """
        found = []
        for name, order in FACETS:
            is_own = name not in chosen and name != "status"  # the condition of the list as it is
            if whole is not None and is_own:
                counted = Count(Counter(value_of(item, name) for item in whole))
            else:
                # Where the list itself is long, a look for few items would most often be in vain.
                counted = self.count(where_without(name), name, are_many=whole is None)
            found.append(Shown(name, _values(counted.of, chosen.get(name, ()), order), counted.exact))
        return found

    def _is_cheap(self, parts: Sequence[Where]) -> bool:
        """
        Tell whether few items have to be looked at to count those that meet all *parts*.
        """
        bounds = [(SMALL, ANY), *((LOOK_MAX, _only(parts, fields)) for fields in _LEADING)]
        return any(self._total(where) <= most for most, where in bounds)

    def _total(self, where: Where) -> int:
        return sum(self._tally(where).values())

    def _tally(self, where: Where, by: Facet | None = None) -> Mapping[str, int]:
        if (where, by) not in self._tallies:
            found = self._reader.tally(where, (by,) if by else ())
            self._tallies[where, by] = {values[0] if values else "": n for values, n in found.items()}
        return self._tallies[where, by]


def _values(of: Mapping[str, int], chosen: Collection[str], order: Sequence[str]) -> list[tuple[str, int]]:
    names = [one for one in order if one in of] or sorted(of, key=lambda one: (-of[one], one))
    # What is chosen stays where it can be taken back, however few have it.
    some = [*names[:_VALUES_MAX], *(one for one in names[_VALUES_MAX:] if one in chosen)]
    return [(one, of.get(one, 0)) for one in [*some, *sorted({*chosen} - {*names})]]


def _is_kept(names: Collection[str]) -> bool:
    fields = {"due" if name == "due_date" else name for name in names} - FREE
    return len(fields) <= 1 and fields <= KEPT


def _only(parts: Iterable[Where], fields: Collection[str]) -> Where:
    """
    Return the conditions on these fields alone: more items meet them.
    """
    return All(tuple(part for part in parts if fields_of(part) <= {*fields}))
