"""
Search and tally: against the same questions asked of a plain list.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import combinations, cycle, pairwise
from operator import methodcaller

import pytest

from backlog_store.backends.port import Backend, Purge, Reader
from backlog_store.instants import Instant, add_seconds
from backlog_store.model import LIMITS, Item
from backlog_store.query import (
    ANY,
    FACETS,
    FIELDS,
    OPERATORS,
    ORDERS,
    All,
    Any_,
    Compare,
    Facet,
    HasWords,
    In,
    ItemQuery,
    Not,
    Order,
    Where,
    order_key,
    value_of,
)
from backlog_store.testing.clocks import START
from backlog_store.testing.conformance.base import Open, Suite, apply, search
from backlog_store.testing.oracle import count_items, select_items
from backlog_store.testing.samples import NASTY, Sampler, an_item, first, then
from backlog_store.words import words_of

ITEMS = Sampler(3).items(70)
TEXTS = (
    ("The burn rate of checkout", "is high, the rate burns"), ("BURN RATE", ""), ("burn", "rate"), ("rate burn", ""),
    ("Straße in İstanbul", "naïve naïve"), ("STRASSE", ""), ("日本語の文", ""), ("ﬁnance ＦＵＬＬ ²", ""),
    ("x_y a%b 100%", "don't a.b"), ("xzy", 'a*b "quoted" NEAR AND OR NOT'), ("rates", ""), ("", ""), ("  ", "-- ;"),
)  # fmt: skip
PHRASES = (
    "burn", "rate", "burn rate", "rate burn", "burn rate of", "rate of checkout is", "BURN", "strasse", "Straße",
    "istanbul", "i̇stanbul", "naïve", "naïve", "naïve naïve", "日本語の文", "日本", "finance", "full 2", "x_y", "x", "y",
    "a b", "100", "don t", "quoted near and", "near", "and or not", "zzz", "checkout is high the rate burns", "rates",
)  # fmt: skip


def _stored(backend: Backend, items: list[Item]) -> None:
    apply(backend, *(first(item) for item in items))


class Searches(Suite):
    """
    Which items, in which order, how many.
    """

    @pytest.mark.parametrize("field", FIELDS)
    def test_every_field_means_what_it_says(self, backend: Backend, field: str) -> None:
        """Membership and, but for tags, each comparison with each kind of value find the items that they describe."""
        _stored(backend, ITEMS)

        def check(reader: Reader) -> None:
            for where in _conditions(field):
                query = ItemQuery(where=where, order="id", limit=None)
                assert [item.id for item in reader.search(query)] == [i.id for i in select_items(ITEMS, query)], where

        backend.read(check)

    def test_conditions_combine_as_in_logic(self, backend: Backend) -> None:
        """Drawn trees of and, or, not, membership, comparison and words find the same as a plain list does."""
        sampler = Sampler(4)
        queries = [ItemQuery(where=sampler.where(ITEMS), limit=None) for _ in range(200)]
        queries += [ItemQuery(where=where) for where in (All(), Any_(), Not(All()), Not(Any_()), All((Any_(),)))]
        _stored(backend, ITEMS)

        def check(reader: Reader) -> None:
            for query in queries:
                assert list(reader.search(query)) == select_items(ITEMS, query), query
                assert reader.tally(query.where, ()) == count_items(ITEMS, query.where, ()), query

        backend.read(check)

    def test_a_deep_tree_is_no_trouble(self, backend: Backend) -> None:
        """A condition nested forty levels deep is still a condition."""
        where: Where = In("env", ("prod",))
        for level in range(40):
            where = Not(where) if level % 2 else All((where, Any_((where, ANY)) if level < 4 else ANY))
        query = ItemQuery(where=where, limit=None)
        _stored(backend, ITEMS)
        assert search(backend, query) == select_items(ITEMS, query)

    def test_a_long_list_of_values_is_no_trouble(self, backend: Backend) -> None:
        """Membership in ten thousand values is one question."""
        values = (*(f"no{number}" for number in range(LIMITS.page)), ITEMS[0].id, ITEMS[1].id)
        _stored(backend, ITEMS)
        query = ItemQuery(where=Any_((In("id", values), In("tag", values))), limit=None)
        assert len(search(backend, query)) == 2

    @pytest.mark.parametrize("descending", [False, True])
    @pytest.mark.parametrize("order", ORDERS)
    def test_every_order_is_bytewise_and_total(self, backend: Backend, order: Order, descending: bool) -> None:
        """Each order ends in the id, compares by code point and runs in one direction; no due date comes last."""
        query = ItemQuery(order=order, descending=descending, limit=None)
        _stored(backend, ITEMS)
        assert search(backend, query) == select_items(ITEMS, query)

    @pytest.mark.parametrize("descending", [False, True])
    @pytest.mark.parametrize("order", ORDERS)
    def test_a_walk_by_cursor_is_the_whole_list(self, backend: Backend, order: Order, descending: bool) -> None:
        """Page after page from the last row's key, filtered or not, repeats nothing and skips nothing."""
        _stored(backend, ITEMS)
        for where in (ANY, Not(In("priority", ("P1",)))):
            whole = ItemQuery(where=where, order=order, descending=descending, limit=None)

            def walk(reader: Reader, where: Where = where) -> list[Item]:
                seen: list[Item] = []
                after: tuple[str, ...] | None = None
                while page := reader.search(
                    ItemQuery(where=where, order=order, descending=descending, limit=4, after=after)
                ):
                    seen += page
                    after = order_key(page[-1], order)
                    if len(seen) > len(ITEMS):  # round and round
                        break
                return seen

            assert backend.read(walk) == search(backend, whole)

    def test_a_cursor_need_not_be_of_a_stored_item(self, backend: Backend) -> None:
        """A page goes on after a row that was meanwhile changed or purged."""
        query = ItemQuery(order="created", after=order_key(ITEMS[5], "created"), limit=None)
        _stored(backend, ITEMS)
        expected = select_items(ITEMS, query)
        apply(backend, Purge(ITEMS[5].id, 1))
        assert search(backend, query) == expected

    @pytest.mark.parametrize("limit", [0, 1, 7, 70, 1_000, None])
    @pytest.mark.parametrize("offset", [0, 1, 69, 70, 500])
    def test_limit_and_offset_cut_the_list(self, backend: Backend, limit: int | None, offset: int) -> None:
        """A limit of 0 is an empty page, no limit is everything, an offset beyond the end is empty."""
        _stored(backend, ITEMS)
        for after in (None, order_key(ITEMS[7], "id")):
            query = ItemQuery(order="id", limit=limit, offset=offset, after=after)
            assert search(backend, query) == select_items(ITEMS, query)

    def test_words_are_found_as_they_are_cut(self, backend: Backend) -> None:
        """Phrases, prefixes and letters of any script find exactly the texts that hold them."""
        items = [an_item(f"bl_{n}", title=title, description=text) for n, (title, text) in enumerate(TEXTS)]
        items += [an_item("bl_tag", title="", tags=("burn-rate", "x y")), an_item("bl_fix", title="", fix="burn rate")]
        items += [
            an_item("bl_key", title="", dedupe_key="ruff:burn/rate"),
            an_item("bl_service", title="", service="日本"),
        ]
        _stored(backend, items)
        wheres: list[Where] = [HasWords(())]
        for phrase in PHRASES:
            words = tuple(words_of(phrase))
            wheres += [
                HasWords(words),
                HasWords(words, prefix=True),
                HasWords((*words[:-1], words[-1][:2]), prefix=True),
            ]
        phrases = wheres[1:]
        wheres += [Any_(pair) for pair in pairwise(phrases)] + [
            Any_(tuple(phrases[::5])),
            Any_((*phrases[:3], HasWords(()))),
        ]
        wheres += [Any_((phrases[0], HasWords(("No word",)))), Any_((HasWords(("No word",)),))]
        wheres += [Any_((phrases[0], In("service", ("日本",))))]

        def check(reader: Reader) -> None:
            for where in wheres:
                query = ItemQuery(where=where, order="id", limit=None)
                assert [item.id for item in reader.search(query)] == [i.id for i in select_items(items, query)], where
                query = ItemQuery(where=All((Not(where), In("env", ("prod",)))), order="id", limit=None)
                assert list(reader.search(query)) == select_items(items, query), where

        backend.read(check)

    def test_words_follow_the_text(self, backend: Backend) -> None:
        """A changed title is found by its new words and not by its old ones; a purged one by none."""
        item = an_item("bl_a", title="old words")
        changed = then(item, title="new words")
        apply(backend, first(item))
        apply(backend, changed)

        def found(*words: str) -> list[str]:
            query = ItemQuery(where=HasWords(words))
            return [item.id for item in search(backend, query)]

        assert (found("new", "words"), found("old")) == (["bl_a"], [])
        apply(backend, Purge("bl_a", 2))
        assert found("words") == []

    def test_words_of_one_item_are_not_lost_with_another(self, backend: Backend) -> None:
        """An item that comes in the list in which the newest one goes is found, whosever place an index gives it."""
        items = [an_item(f"bl_{number}", title=f"old {number}") for number in range(100)]
        apply(backend, *(first(item) for item in items))
        assert len(search(backend, ItemQuery(where=HasWords(("old",)), limit=None))) == 100
        new = an_item("bl_new", title="new words", tags=("new",))
        apply(backend, Purge("bl_99", 1), first(new))
        for where in (HasWords(("new", "words")), In("tag", ("new",))):
            assert search(backend, ItemQuery(where=where)) == [new], where
            assert backend.read(methodcaller("tally", where, ())) == {(): 1}
        assert search(backend, ItemQuery(where=HasWords(("99",)))) == []

    def test_words_beyond_the_limit_are_not_indexed(self, backend: Backend) -> None:
        """The first `LIMITS.words` words of a text are searchable, on every backend the same ones."""
        text = " ".join(f"w{number}" for number in range(LIMITS.words + 5))
        item = an_item("bl_a", title="", description=text)
        apply(backend, first(item))
        for where in (
            HasWords((f"w{LIMITS.words - 1}",)),
            HasWords((f"w{LIMITS.words}",)),
            HasWords(("w19",), prefix=True),
        ):
            query = ItemQuery(where=where)
            assert search(backend, query) == select_items([item], query), where

    def test_counts_by_every_facet_are_exact(self, backend: Backend) -> None:
        """Every facet, every pair of them, and none, over everything and over a part, count as a plain list does."""
        _stored(backend, ITEMS)
        pairs: list[tuple[Facet, ...]] = [(), *((facet,) for facet in FACETS), *combinations(FACETS, 2)]
        pairs += [("status", "priority", "env"), ("priority", "status")]
        wheres = (ANY, In("status", ("open", "blocked")), In("env", ()), Compare("due_date", "<", "2026-04-01"))

        def check(reader: Reader) -> None:
            for by in pairs:
                for where in wheres:
                    assert reader.tally(where, by) == count_items(ITEMS, where, by), (by, where)

        backend.read(check)

    def test_counts_follow_every_change(self, backend: Backend, open_backend: Open) -> None:
        """After changes of each counted field, purges and a reopening, the counts are those of the items."""
        sampler = Sampler(5)
        items = {item.id: item for item in ITEMS}
        _stored(backend, ITEMS)
        for number, item in enumerate(ITEMS[:40]):
            drawn = sampler.item(number)
            named = {*FACETS, "blocked_by", "tags", "updated_at", "created_at", "closed_at"}
            fields = {name: getattr(drawn, name) for name in named - {"env", "stage", "created_on", "closed_on"}}
            change = then(item, **fields)
            apply(backend, change)
            items[item.id] = change.item
        for item in ITEMS[40:50]:
            apply(backend, Purge(item.id, 1))
            del items[item.id]

        def check(reader: Reader) -> None:
            for facet in FACETS:
                assert reader.tally(ANY, (facet,)) == count_items(items.values(), ANY, (facet,)), facet
            for tag in NASTY:
                query = ItemQuery(where=In("tag", (tag,)), limit=None)
                assert list(reader.search(query)) == select_items(items.values(), query), tag

        backend.read(check)
        if backend.capabilities.durable:
            backend.close()
            again = open_backend()
            again.read(check)
            again.close()

    def test_counts_of_those_who_sleep_are_exact(self, backend: Backend, open_backend: Open) -> None:
        """Before, at and after any instant, by env, status and one more field, they follow each change and purge."""
        sampler = Sampler(6)
        items = {item.id: item for item in (sampler.item(number, wake_at=_waking(number)) for number in range(60))}
        apply(backend, *(first(item) for item in items.values()))
        questions = list(zip(_of_sleepers(items.values()), cycle(_BY_SLEEPERS)))

        def check(asked: Backend) -> None:
            for start in range(0, len(questions), 20):  # a read has a deadline

                def look(reader: Reader, start: int = start) -> None:
                    for where, by in questions[start : start + 20]:
                        assert reader.tally(where, by) == count_items(items.values(), where, by), (where, by)

                asked.read(look)

        check(backend)
        for number, id in enumerate(sorted(items)[:40]):
            if number % 4 == 0:
                apply(backend, Purge(id, 1))
                del items[id]
                continue
            changed = ({"wake_at": _waking(number + 7)}, {"status": "done", "wake_at": ""}, {"priority": "P0"})
            change = then(items[id], **changed[number % 4 - 1])
            apply(backend, change)
            items[id] = change.item
        check(backend)
        if backend.capabilities.durable:
            backend.close()
            again = open_backend()
            check(again)
            again.close()


_BY_SLEEPERS: tuple[tuple[Facet, ...], ...] = (
    (), ("status",), ("env", "status"), ("priority",), ("owner",), ("service",),
)  # fmt: skip


def _waking(number: int) -> Instant:
    """
    Return an instant to wake at; none for one in five, and for the others several on each of a few days.
    """
    return add_seconds(START, (number % 5 - 2) * 86_400 + number % 3 * 3_600) if number % 5 else ""


def _of_sleepers(items: Collection[Item]) -> list[Where]:
    known = sorted({item.wake_at for item in items})
    values = (known[len(known) // 2], known[-1], START[:10], f"{START[:10]}T", "2026-02-30", "2026", "", "zz")
    others: tuple[Where, ...] = (
        ANY, In("status", ("open", "blocked")), In("priority", ("P0", "P1")), In("owner", ("",)),
        In("owner", NASTY[:4]),
        Compare("due_date", "<", "2026-04-01"), Not(In("priority", ("P2",))), In("env", ()), In("service", ("",)),
        Compare("wake_at", ">=", START),
    )  # fmt: skip
    compared = [Compare("wake_at", op, value) for op in OPERATORS for value in values]  # type: ignore[arg-type]
    return [All((other, condition)) for condition in compared for other in others]


def _conditions(field: str) -> Iterator[Where]:
    if field == "tag":
        values = sorted({tag for item in ITEMS for tag in item.tags})
    else:
        values = sorted({value_of(item, field) for item in ITEMS})
    for value in (*values[:40], "", "no such value"):
        yield In(field, (value,))
    yield In(field, ())
    yield Not(In(field, ()))
    yield In(field, tuple(values[:3]))
    yield Not(In(field, tuple(values[:3])))
    yield In(field, (values[0], values[0], values[-1]))
    if field == "tag":
        return
    for op in ("<", "<=", ">", ">="):
        for value in (*values[::7], values[-1], "", "a", "\U0010ffff"):
            yield Compare(field, op, value)
            yield Not(Compare(field, op, value))
