from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import fields
from msgspec.structs import fields as struct_fields

from backlog_store.errors import Fault, InvalidInput
from backlog_store.model import LIMITS, LIVE, STATUSES, Item
from backlog_store.query import (
    ANY,
    FACETS,
    FIELDS,
    ORDERS,
    All,
    Any_,
    Compare,
    EventQuery,
    HasWords,
    In,
    ItemFilter,
    ItemQuery,
    Not,
    Where,
    check_events,
    check_query,
    check_where,
    item_text,
    live,
    matcher,
    order_key,
    value_of,
)
from backlog_store.testing.samples import an_item
from backlog_store.testing.strategies import items, texts, wheres
from backlog_store.words import words_of


def naive(where: Where, item: Item) -> bool:
    """
    Evaluate a condition a second time, by another route: sets, slices and plain comparisons.
    """
    if isinstance(where, All):
        return False not in {naive(part, item) for part in where.parts}
    if isinstance(where, Any_):
        return True in {naive(part, item) for part in where.parts}
    if isinstance(where, Not):
        return not naive(where.part, item)
    if isinstance(where, HasWords):
        return naive_words(where, words_of(item_text(item))[: LIMITS.words])
    values = set(item.tags) if where.field == "tag" else {getattr(item, where.field)}
    if isinstance(where, In):
        return bool(values & set(where.values))
    value = values.pop().encode()
    other = where.value.encode()
    order = (value > other) - (value < other)
    return value != b"" and order in {"<": (-1,), "<=": (-1, 0), ">": (1,), ">=": (0, 1)}[where.op]


def naive_words(where: HasWords, text: Sequence[str]) -> bool:
    """
    Look for the words in a joined text in which every word stands between two line feeds.
    """
    joined = "\n" + "\n".join(text) + "\n"
    if not where.words:
        return True
    return "\n" + "\n".join(where.words) + ("" if where.prefix else "\n") in joined


@given(wheres(), items())
def test_a_condition_means_what_it_says(where: Where, item: Item) -> None:
    """Any tree evaluates as a second, naive evaluation does."""
    assert matcher(where)(item) is naive(where, item)


@given(st.lists(st.sampled_from(("burn", "rate", "rates", "é", "日本")), max_size=8), st.data())
def test_words_are_found_where_they_stand_together(title: list[str], data: st.DataObject) -> None:
    """Every stretch of a text's words is found in it, its last word also as a prefix."""
    item = an_item(title=" ".join(title))
    words = words_of(item_text(item))
    start = data.draw(st.integers(0, len(words)))
    found = tuple(words[start : start + data.draw(st.integers(0, 3))])
    assert matcher(HasWords(found))(item)
    if found:
        assert matcher(HasWords((*found[:-1], found[-1][:1]), prefix=True))(item)
        assert not matcher(HasWords((*found, "nowhere")))(item)


def test_a_comparison_never_matches_the_empty_value() -> None:
    """An item without a due date is neither before nor after a day, nor on the other side of a `not`."""
    undated, dated = an_item(), an_item(due_date="2026-03-01")
    for op in ("<", "<=", ">", ">="):
        assert not matcher(Compare("due_date", op, ""))(undated)
        assert not matcher(Compare("due_date", op, "2026-03-01"))(undated)
        assert matcher(Compare("due_date", op, "2026-03-01"))(dated) is (len(op) == 2)


def test_empty_parts_have_their_logical_meaning() -> None:
    """No conditions hold for everything, no alternatives for nothing, no values for nothing."""
    item = an_item()
    assert matcher(ANY)(item)
    assert not matcher(Any_())(item)
    assert not matcher(In("env", ()))(item)
    assert not matcher(In("tag", ()))(item)
    assert matcher(HasWords(()))(item)


@given(items(), items(), st.sampled_from(sorted(ORDERS)))
def test_an_order_is_total(one: Item, other: Item, order: str) -> None:
    """Two items with different ids never share a place, and an order key holds nothing but texts."""
    first, second = order_key(one, order), order_key(other, order)
    assert (first == second) is (one.id == other.id and first[:-1] == second[:-1])
    assert first[-1] == one.id
    assert {type(part) for part in first} == {str}


def test_no_due_date_comes_last() -> None:
    """In the orders that use it, an item without a due date stands after every dated one."""
    dated, undated = an_item("bl_z", due_date="9999-12-31"), an_item("bl_a")
    assert order_key(dated, "due") < order_key(undated, "due")
    assert order_key(dated, "priority") < order_key(undated, "priority")


def test_the_named_fields_are_those_of_an_item() -> None:
    """Every field a query may name, and every facet, gives a text of the item."""
    item = an_item(tags=("x",))
    for name in (*FIELDS, *FACETS, "due"):
        if name != "tag":
            assert isinstance(value_of(item, name), str), name


@given(st.data())
def test_a_filter_is_the_tree_of_its_parts(data: st.DataObject) -> None:
    """Each named condition narrows the filter as its own tree does; `None` narrows nothing."""
    item = data.draw(items())
    names = [field.name for field in fields(ItemFilter) if field.name in (*FIELDS, "tag")]
    chosen: dict[str, Any] = data.draw(
        st.dictionaries(st.sampled_from(names), st.sets(texts(), max_size=2), max_size=3)
    )
    if data.draw(st.booleans()):
        chosen = {name: {*values, *_values(item, name)} for name, values in chosen.items()}
    expected = all(not values.isdisjoint(_values(item, name)) for name, values in chosen.items())
    assert matcher(ItemFilter(**chosen).where())(item) is expected


def _values(item: Item, name: str) -> set[str]:
    return set(item.tags) if name == "tag" else {value_of(item, name)}


def test_a_filter_by_time_and_text() -> None:
    """Bounds exclude their own day or instant, and every word of a text must occur, in any order."""
    item = an_item(title="Burn rate", due_date="2026-03-10")
    cases: list[tuple[dict[str, Any], bool]] = [
        ({"due_before": "2026-03-10"}, False), ({"due_before": "2026-03-11"}, True),
        ({"due_after": "2026-03-10"}, False), ({"due_after": "2026-03-09"}, True),
        ({"updated_before": item.updated_at}, False), ({"updated_before": "2027-01-01T00:00:00.000000Z"}, True),
        ({"text": "RATE burn"}, True), ({"text": "rate high"}, False), ({"text": ""}, True),
        ({"env": []}, False), ({"env": None}, True),
    ]  # fmt: skip
    for given_filter, expected in cases:
        assert matcher(ItemFilter(**given_filter).where())(item) is expected, given_filter


def test_a_lone_text_is_no_set_of_values() -> None:
    """`status="open"` would mean the letters of it; it is refused with the place."""
    with pytest.raises(InvalidInput) as error:
        ItemFilter(status="open").where()
    assert [fault.pointer for fault in error.value.faults] == ["/status"]


def test_live_items_are_those_not_closed() -> None:
    """The condition for live items holds for exactly the live statuses."""
    assert {status for status in STATUSES if matcher(live())(an_item(status=status))} == LIVE


def test_every_fault_of_a_tree_is_listed_with_its_place() -> None:
    """A tree with several mistakes names all of them at once."""
    wrong: tuple[Any, ...] = ("abc", "==", 3, (1,), [In("env", ("x",))])
    bad: Any = (
        In("nobody", ("x",)), Not(Compare("tag", "<", "x")),
        Any_((Compare("env", wrong[1], "x"), In("env", ("a\0",)))), In("env", wrong[0]), HasWords(("",)),
        "status = open", Compare("env", "<", wrong[2]), In("env", wrong[3]), Not(All(wrong[4])),
    )  # fmt: skip
    with pytest.raises(InvalidInput) as error:
        check_where(All(bad))
    assert [fault.pointer for fault in error.value.faults] == [
        "/parts/0/field", "/parts/1/part/field", "/parts/2/parts/0/op", "/parts/2/parts/1/values", "/parts/3/values",
        "/parts/4/words", "/parts/5", "/parts/6/value", "/parts/7/values", "/parts/8/part",
    ]  # fmt: skip
    assert {len(struct_fields(fault)) for fault in error.value.faults} == {len(struct_fields(Fault))}


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        (ItemQuery(order="colour"), "/order"),  # type: ignore[arg-type]
        (ItemQuery(after=("a",), order="priority"), "/after"),
        (ItemQuery(after=("\ud800",), order="id"), "/after"),
        (ItemQuery(limit=-1), "/limit"),
        (ItemQuery(offset=-1), "/offset"),
    ],
)
def test_an_impossible_query_names_its_fault(query: ItemQuery, pointer: str) -> None:
    """Each way in which a query can be impossible is named by its place."""
    with pytest.raises(InvalidInput) as error:
        check_query(query)
    assert [fault.pointer for fault in error.value.faults] == [pointer]


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        (EventQuery(limit=-1), "/limit"),
        (EventQuery(actors=("ok", "a\0")), "/actors"),
        (EventQuery(batch="\udfff"), "/batch"),
        (EventQuery(until="\0"), "/until"),
    ],
)
def test_an_impossible_query_of_events_names_its_fault(query: EventQuery, pointer: str) -> None:
    """Texts that no store holds, and negative limits, are refused with their place."""
    with pytest.raises(InvalidInput) as error:
        check_events(query)
    assert [fault.pointer for fault in error.value.faults] == [pointer]


@given(wheres())
def test_every_drawn_tree_is_a_valid_query(where: Where) -> None:
    """What the strategies draw is what a caller may ask."""
    check_query(ItemQuery(where=where))


def test_fields_and_facets_are_listed_once() -> None:
    """No name stands twice, and every facet is a field."""
    assert len(set(FIELDS)) == len(FIELDS)
    assert set(FACETS) < set(FIELDS)
    assert all(names[-1] == "id" for names in ORDERS.values())
    assert all(one != other for one, other in pairwise(sorted(FACETS)))
