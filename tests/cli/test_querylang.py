"""
The query language: what each form finds, and how a wrong query is answered.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from backlog_store.backends.memory import MemoryBackend
from backlog_store.backends.port import Load
from backlog_store.errors import InvalidQuery
from backlog_store.model import Item
from backlog_store.query import ItemQuery
from backlog_store.querylang import FIELD_HELP, IS_HELP, parse_query
from backlog_store.querylang.dates import parse_day, parse_when
from backlog_store.querylang.parser import DEPTH_MAX, LENGTH_MAX, TERMS_MAX

NOW = "2026-03-04T12:00:00.000000Z"  # a Wednesday
PLAIN = Item(id="bl_a", revision=1, env="prod", status="open", priority="P2", created_at="2026-03-01T09:00:00.000000Z",
             updated_at="2026-03-01T09:00:00.000000Z")  # fmt: skip

ITEMS = (
    replace(PLAIN, id="bl_burn", title="Checkout burn rate", service="payments", priority="P0", owner="ana",
            due_date="2026-03-02", tags=("slo",), dedupe_key="slo:checkout"),
    replace(PLAIN, id="bl_flaky", title="Rate of burn-in tests", service="payroll", priority="P1", owner="ana",
            due_date="2026-03-08", tags=("flaky", "slo"), status="in_progress", claimed_by="ana"),
    replace(PLAIN, id="bl_asleep", title="Old certificate", priority="P1", wake_at="2026-03-10T00:00:00.000000Z",
            due_date="2026-03-03", env="staging", blocked_by=2),
    replace(PLAIN, id="bl_woken", title="Rotate keys", owner="bo", status="blocked",
            wake_at="2026-03-03T00:00:00.000000Z"),
    replace(PLAIN, id="bl_fixed", title="Burned out", status="done", closed_reason="fixed", owner="none",
            created_at="2026-01-01T00:00:00.000000Z", updated_at="2026-02-01T00:00:00.000000Z",
            closed_at="2026-02-01T00:00:00.000000Z", due_date="2026-01-20"),
    replace(PLAIN, id="bl_held", title="Weak hash", status="canceled", closed_reason="accepted_risk", source="ruff",
            closed_at="2026-03-04T08:00:00.000000Z", expires_at="2026-06-01T00:00:00.000000Z", category="security"),
    replace(PLAIN, id="bl_ended", title="Weak cipher", status="canceled", closed_reason="accepted_risk",
            fix="up openssl", closed_at="2025-12-01T00:00:00.000000Z", expires_at="2026-03-01T00:00:00.000000Z"),
)  # fmt: skip


@pytest.fixture(scope="module")
def store() -> MemoryBackend:
    """
    A memory store that holds the items above.
    """
    backend = MemoryBackend()
    backend.write(lambda writer: writer.apply([Load(item, ()) for item in ITEMS]))
    return backend


def found(store: MemoryBackend, text: str) -> set[str]:
    """
    Return the ids that a query finds.
    """
    where = parse_query(text, now=NOW, me="ana").where
    query = ItemQuery(where=where, limit=None)
    return {item.id.removeprefix("bl_") for item in store.read(lambda reader: reader.search(query))}


EVERYTHING = {item.id.removeprefix("bl_") for item in ITEMS}
LIVE = {"burn", "flaky", "asleep", "woken"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", EVERYTHING),
        ("status:open", {"burn", "asleep"}),
        ("status:open,blocked", {"burn", "asleep", "woken"}),
        ("Status:OPEN", {"burn", "asleep"}),
        ("priority:<=P1", {"burn", "flaky", "asleep"}),
        ("priority:<P1", {"burn"}),
        ("priority:>p1", {"woken", "fixed", "held", "ended"}),
        ("priority:P0,P1 -tag:flaky", {"burn", "asleep"}),
        ("owner:@me", {"burn", "flaky"}),
        ("owner:none", {"asleep", "held", "ended"}),
        ('owner:"none"', {"fixed"}),
        ("-owner:none", {"burn", "flaky", "woken", "fixed"}),
        ("owner:bo,none", {"woken", "asleep", "held", "ended"}),
        ("service:pay*", {"burn", "flaky"}),
        ("service:payr*,none", EVERYTHING - {"burn"}),
        ("env:staging", {"asleep"}),
        ("category:security source:ruff", {"held"}),
        ('fix:"up openssl"', {"ended"}),
        ("key:slo:checkout", {"burn"}),
        ("reason:accepted_risk", {"held", "ended"}),
        ("id:bu", {"burn"}),
        ("id:bl_burn", {"burn"}),
        ("tag:slo", {"burn", "flaky"}),
        ("due:<today", {"burn", "asleep", "fixed"}),
        ("due:<4d", {"burn", "asleep", "fixed"}),
        ("due:<=4d", {"burn", "asleep", "fixed", "flaky"}),
        ("due:>+3d", {"flaky"}),
        ("due:eow", {"flaky"}),
        ("due:2026-03-02..2026-03-03", {"burn", "asleep"}),
        ("due:yesterday", {"asleep"}),
        ("due:none", {"woken", "held", "ended"}),
        ("created:>2w", {"fixed"}),
        ("created:<1w", EVERYTHING - {"fixed"}),
        ("created:2026-03-01", EVERYTHING - {"fixed"}),
        ("created:<2026-03-01", {"fixed"}),
        ("created:<=2026-03-01", EVERYTHING),
        ("created:>2026-03-01", set()),
        ("created:2026-03-01T23:00Z..2026-03-05", set()),  # an instant is no whole day, also as the first of a range
        ("closed:today", {"held"}),
        ("closed:<1d", {"held"}),
        ("closed:2026-02-01..today", {"fixed", "held"}),
        ("wake:<1w", {"asleep", "woken"}),
        ("wake:>now", {"asleep"}),
        ("expires:<=7d", {"ended"}),
        ("is:live", LIVE),
        ("is:closed", EVERYTHING - LIVE),
        ("is:overdue", {"burn", "asleep"}),
        ("is:snoozed", {"asleep"}),
        ("is:awake", LIVE - {"asleep"}),
        ("is:woken", {"woken"}),
        ("is:unowned is:live", {"asleep"}),
        ("is:ready", {"burn"}),
        ("is:waiting", {"asleep"}),
        ("is:claimed", {"flaky"}),
        ("claimed:ana,bo", {"flaky"}),
        ("claimed:none is:live", LIVE - {"flaky"}),
        ("is:accepted", {"held"}),
        ("is:expired", {"ended"}),
        ("is:snoozed,woken", {"asleep", "woken"}),
        ("burn", {"burn", "flaky"}),
        ('"burn rate"', {"burn"}),
        ("burn rate", {"burn", "flaky"}),
        ("burn*", {"burn", "flaky", "fixed"}),
        ('"rate of bu"*', {"flaky"}),
        ("burn-in", {"flaky"}),
        ("burn -rate", set()),
        ("NOT burn is:live", {"asleep", "woken"}),
        ("certificate OR keys", {"asleep", "woken"}),
        ("weak (hash OR cipher)", {"held", "ended"}),
        ("weak AND hash", {"held"}),
        ("-(weak OR burn*)", {"asleep", "woken"}),
        ("--burn", {"burn", "flaky"}),
        ("slo:checkout OR keys", None),  # `slo` is no field; quoted it is text
        ('"slo:checkout" OR keys', {"burn", "woken"}),
    ],
)
def test_a_query_finds_what_it_says(store: MemoryBackend, text: str, expected: set[str] | None) -> None:
    """
    Each form of the language finds exactly the items that the documentation says.
    """
    if expected is None:
        with pytest.raises(InvalidQuery):
            found(store, text)
    else:
        assert expected == found(store, text)


@pytest.mark.parametrize(
    ("text", "offset", "reason", "suggestion"),
    [
        ("due:today statsu:open", 10, "no field 'statsu'", "status:"),
        ("status:opne", 7, "no status 'opne'", "open"),
        ("status:open,dnoe", 12, "no status 'dnoe'", "done"),
        ("status:closed", 7, "no status 'closed'", "is:closed"),
        ("is:overdeu", 3, "no condition 'overdeu'", "overdue"),
        ("priority:P4", 9, "no priority 'P4'", ""),
        ("priority:<P1,P2", 13, "priority takes one value here", ""),
        ("owner:<ana", 7, "owner cannot be compared", ""),
        ("status: open", 0, "a value follows the colon without a space", ""),
        ("due:<2026-02-30", 5, "there is no day 2026-02-30", ""),
        ("due:<tomorow", 5, "not a day or time", "tomorrow"),
        ("due:99999y", 4, "beyond the calendar", ""),
        ("due:today..", 4, "a range has two ends", ""),
        ("burn (rate", 5, "never closed", ""),
        ('burn "rate', 5, "never closed", ""),
        ("burn)", 4, "')' does not fit here", ""),
        ("burn OR", 7, "stops too early", ""),
        ("OR burn", 0, "'OR' does not fit here", ""),
        ("a OR sort:due", 5, "sort stands for the whole query", ""),
        ("sort:due sort:id", 9, "one order is enough", ""),
        ("sort:dew", 5, "no order 'dew'", "due"),
        ("bu*rn", 0, "a star stands at the end", ""),
        ("!!!", 0, "no word to look for", ""),
        ("a\0b", 1, "neither NUL nor lone surrogates", ""),
        ("a" * (LENGTH_MAX + 1), LENGTH_MAX, "at most", ""),
        ("a " * (TERMS_MAX + 1), 2 * TERMS_MAX, f"more than {TERMS_MAX} conditions", ""),
        ("-(a " * (DEPTH_MAX + 5) + ")" * (DEPTH_MAX + 5), 0, f"deeper than {DEPTH_MAX}", ""),
    ],
)
def test_a_wrong_query_is_explained(text: str, offset: int, reason: str, suggestion: str) -> None:
    """
    A wrong query is refused with its place, the reason, and what was probably meant.
    """
    with pytest.raises(InvalidQuery) as caught:
        parse_query(text, now=NOW, me="ana")
    assert offset == caught.value.offset
    assert reason in caught.value.reason
    assert suggestion == caught.value.suggestion


def test_an_unknown_field_names_the_known_ones() -> None:
    """
    The refusal of an unknown field lists every field there is.
    """
    with pytest.raises(InvalidQuery) as caught:
        parse_query("statsu:open", now=NOW, me="ana")
    assert tuple(FIELD_HELP) == caught.value.expected


def test_an_order_is_part_of_a_query() -> None:
    """
    ``sort:`` names an order, turned round by a dash, and finds nothing more or less.
    """
    parsed = parse_query("is:live sort:-updated", now=NOW, me="ana")
    assert ("updated", True) == (parsed.order, parsed.descending)
    assert parsed.where == parse_query("is:live", now=NOW, me="ana").where


@pytest.mark.parametrize(
    ("text", "scoped"),
    [
        ("burn", False),
        ("owner:ana", False),
        ("status:done", True),
        ("is:closed", True),
        ("a OR reason:fixed", True),
        ("is:unowned", False),
        ("priority:<=P1 -is:snoozed", False),
        ("is:Ready,LIVE", True),
        ("-is:expired", True),
    ],
)
def test_a_query_says_whether_it_speaks_of_closed_items(text: str, scoped: bool) -> None:
    """
    A list can leave closed items out unless the query speaks of them.
    """
    assert scoped == parse_query(text, now=NOW, me="ana").scoped


SNIPPETS = [*(f"{name}:" for name in FIELD_HELP), *IS_HELP, "open", "P1", "<", "<=", ",", "(", ")", '"', "-", " OR ",
            " AND ", " NOT ", "*", "7d", "today", "..", "@me", "none", "\\", " ", "é", "\u202e",
            "9999-12-31"]  # fmt: skip


@given(st.one_of(st.text(), st.lists(st.sampled_from(SNIPPETS), max_size=25).map("".join)))
def test_any_text_is_a_query_or_refused_as_one(text: str) -> None:
    """
    Whatever is typed, parsing answers a query that the store accepts, or `InvalidQuery`, and nothing else.
    """
    try:
        parsed = parse_query(text, now=NOW, me="ana")
    except InvalidQuery as error:
        place = error.offset
    else:
        place = 0
        MemoryBackend().read(lambda reader: reader.search(ItemQuery(where=parsed.where)))
    assert 0 <= place <= len(text)


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("today", "2026-03-04"), ("tomorrow", "2026-03-05"), ("wed", "2026-03-11"), ("thu", "2026-03-05"),
        ("Tuesday", "2026-03-10"), ("eow", "2026-03-08"), ("eom", "2026-03-31"), ("eoq", "2026-03-31"),
        ("eoy", "2026-12-31"), ("+3d", "2026-03-07"), ("-1w", "2026-02-25"), ("1m", "2026-04-04"), ("2y", "2028-03-04"),
        ("2028-02-29", "2028-02-29"),
    ],
)  # fmt: skip
def test_days_as_people_say_them(text: str, day: str) -> None:
    """
    A relative day is counted from the UTC day of the given instant; a weekday is the next one, never today.
    """
    assert day == parse_day(text, now=NOW)


def test_a_month_later_stays_in_that_month() -> None:
    """
    A month after the last of January is the last of February.
    """
    assert parse_day("1m", now="2026-01-31T00:00:00.000000Z") == "2026-02-28"


def test_hours_and_moments() -> None:
    """
    Hours and written instants keep their time of day, in UTC.
    """
    assert ("2026-03-04T14:00:00.000000Z", False) == parse_when("2h", now=NOW)
    assert ("2026-03-05T08:30:00.000000Z", False) == parse_when("2026-03-05T09:30+01:00", now=NOW)
