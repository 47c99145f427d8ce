from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backlog_store.instants import (
    INSTANT_LENGTH,
    add_seconds,
    day_of,
    format_instant,
    is_day,
    is_instant,
    parse_instant,
    plus_days,
    to_datetime,
)
from backlog_store.testing.strategies import days, instants

moments = st.datetimes(timezones=st.timezones() | st.just(UTC))


@given(moments, moments)
def test_the_order_of_the_texts_is_the_order_in_time(one: datetime, other: datetime) -> None:
    """Any two instants compare as texts exactly as they do as moments, whatever zone they came from."""
    try:
        first, second = format_instant(one), format_instant(other)
    except OverflowError:  # The very first and last day of the calendar have no UTC in every zone.
        return
    assert (first < second) == (one.astimezone(UTC) < other.astimezone(UTC))
    assert (first == second) == (one.astimezone(UTC) == other.astimezone(UTC))


@given(instants())
def test_an_instant_survives_parsing_and_formatting(instant: str) -> None:
    """The canonical form is a fixed point: parsed, turned into a datetime and back it is the same text."""
    assert is_instant(instant)
    assert parse_instant(instant) == instant
    assert format_instant(to_datetime(instant)) == instant
    assert len(instant) == INSTANT_LENGTH


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-03-01", "2026-03-01T00:00:00.000000Z"),
        ("2026-03-01T09:30", "2026-03-01T09:30:00.000000Z"),
        ("2026-03-01 09:30:15.5", "2026-03-01T09:30:15.500000Z"),
        ("2026-03-01T09:30:00+05:45", "2026-03-01T03:45:00.000000Z"),
        ("  2026-03-01T00:30:00+01:00 ", "2026-02-28T23:30:00.000000Z"),
        ("20260301T093000Z", "2026-03-01T09:30:00.000000Z"),
        ("2026-03-01T09:30:00.123456789Z", "2026-03-01T09:30:00.123456Z"),
    ],
)
def test_other_forms_of_a_time_become_the_canonical_one(text: str, expected: str) -> None:
    """A date alone is its midnight, a missing zone is UTC, any other zone is converted."""
    assert parse_instant(text) == expected


@pytest.mark.parametrize("text", ["", "yesterday", "2026-02-29", "2026-03-01T25:00", "2026-13-01", "1e9", "12:00",
                                  "9999-12-31T23:00-05:00", "0001-01-01T01:00+05:00"])  # fmt: skip
def test_what_is_no_time_is_refused(text: str) -> None:
    """A date that does not exist, or no date at all, raises."""
    with pytest.raises(ValueError, match=r".+"):
        parse_instant(text)


@pytest.mark.parametrize(
    "text",
    [
        "", "2026-03-01", "2026-03-01T09:30:00Z", "2026-03-01T09:30:00.000000", "2026-02-30T09:30:00.000000Z",
        "2026-03-01 09:30:00.000000Z", "2026-03-01T09:30:00,000000Z", "2026-03-01T24:30:00.000000Z",
        "٢٠٢٦-03-01T09:30:00.000000Z", "2026-03-01T09:30:00.00000 Z", "2026-03-01T09:30:60.000000Z",
    ],
)  # fmt: skip
def test_only_the_canonical_form_is_an_instant(text: str) -> None:
    """Anything shorter, of another separator or alphabet, or that does not exist is not canonical."""
    assert not is_instant(text)


@pytest.mark.parametrize("text", ["", "2026-2-01", "20260301", "2026-02-29", "2026-W10-1", "2026-03-01T", "٢٠٢٦-٠٣-٠١"])
def test_only_an_existing_canonical_day_is_a_day(text: str) -> None:
    """A day has four, two and two ASCII digits and stands in the calendar."""
    assert not is_day(text)


@given(days(), st.integers(-1_000, 1_000))
def test_days_are_counted_by_the_calendar(day: str, number: int) -> None:
    """Going some days on and as many back ends where it began, and order follows the sign."""
    moved = plus_days(day, number)
    assert is_day(moved)
    assert plus_days(moved, -number) == day
    assert (moved > day) == (number > 0)


@given(instants(), st.integers(-10_000_000, 10_000_000))
def test_seconds_are_added_exactly(instant: str, seconds: int) -> None:
    """Adding whole seconds loses no microsecond, over days and leap years."""
    moved = add_seconds(instant, seconds)
    assert is_instant(moved)
    assert to_datetime(moved) - to_datetime(instant) == timedelta(seconds=seconds)
    assert add_seconds(moved, -seconds) == instant


def test_counting_stops_at_the_ends_of_the_calendar() -> None:
    """What is past the year 9999, or before the year 1, is the last or the first day and instant."""
    assert plus_days("9999-12-30", 1) == plus_days("9999-12-31", 1) == plus_days("2026-03-01", 10**12) == "9999-12-31"
    assert plus_days("0001-01-01", -1) == plus_days("2026-03-01", -(10**12)) == "0001-01-01"
    last, first = "9999-12-31T23:59:59.999999Z", "0001-01-01T00:00:00.000000Z"
    assert add_seconds(last, 0.000_001) == add_seconds("2026-03-01T00:00:00.000000Z", 1e18) == last
    assert add_seconds(first, -0.000_001) == add_seconds("2026-03-01T00:00:00.000000Z", -1e18) == first
    assert add_seconds(last, -86_400) == "9999-12-30T23:59:59.999999Z"


@given(instants())
def test_the_day_of_an_instant_is_its_day_in_utc(instant: str) -> None:
    """The day is what a calendar in UTC shows."""
    assert date.fromisoformat(day_of(instant)) == to_datetime(instant).date()


def test_a_naive_moment_is_taken_as_utc() -> None:
    """A datetime without a zone means UTC, one with a zone is converted."""
    naive = datetime(2026, 3, 1, 9, 30)  # noqa: DTZ001  (the point of this test)
    eastern = datetime(2026, 3, 1, 4, 30, tzinfo=timezone(timedelta(hours=-5)))
    assert format_instant(naive) == format_instant(eastern) == "2026-03-01T09:30:00.000000Z"
