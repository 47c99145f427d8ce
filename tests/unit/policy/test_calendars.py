"""
Working time: leap days, changes of the clock, ends of years, holidays, days of one's own.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from backlog_store.instants import format_instant, is_day
from backlog_store.policy.calendars import Calendar, WorkingTime
from backlog_store.policy.holidaylists import holiday_list
from backlog_store.policy.loading import load_policy

WEEK = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
BERLIN = Calendar(zone="Europe/Berlin", hours=("09:00-12:00", "13:00-18:00"))


def at(text: str) -> str:
    """
    Return an instant of whole minutes.
    """
    return f"{text}:00.000000Z"


@pytest.mark.parametrize(
    ("start", "days", "due"),
    [
        ("2028-02-28", 1, "2028-02-29"),  # a leap day is a day of work
        ("2028-02-28", 2, "2028-03-01"),
        ("2027-02-26", 1, "2027-03-01"),  # and where there is none, none is counted
        ("2026-12-31", 1, "2027-01-01"),  # the year ends, the count does not
        ("2026-11-28", 0, "2026-11-30"),  # nothing is due on a Saturday
        ("2026-11-27", 0, "2026-11-27"),
        ("2026-11-28", 1, "2026-11-30"),
        ("2026-11-27", 5, "2026-12-04"),
    ],
)
def test_business_days_are_counted_over_weekends_leap_days_and_years(start: str, days: int, due: str) -> None:
    """A due date in business days falls on a day of work, whatever lies between."""
    assert WorkingTime(BERLIN).after(date.fromisoformat(start), days) == due


def test_a_holiday_on_a_weekend_takes_no_working_day() -> None:
    """26 December 2026 is a Saturday: it is no second free day; 25 December, a Friday, is one."""
    holidays = "2026-12-25 Christmas Day\n2026-12-26 Second Day of Christmas\n2027-01-01 New Year's Day\n"
    worked = WorkingTime(BERLIN, holidays)
    assert worked.after(date(2026, 12, 24), 1) == "2026-12-28"
    assert worked.after(date(2026, 12, 31), 1) == "2027-01-04"


def test_days_of_ones_own_win_over_holidays() -> None:
    """A shop works on a holiday if it says so, and is closed when it says so."""
    calendar = Calendar(closed=("2026-12-28",), open=("2026-12-25", "2026-12-26"))
    worked = WorkingTime(calendar, "2026-12-25 Christmas Day\n")
    assert [worked.after(date(2026, 12, 24), days) for days in (1, 2, 3)] == ["2026-12-25", "2026-12-26", "2026-12-29"]


def test_the_day_is_that_of_the_zone() -> None:
    """Late in the evening in UTC it is tomorrow in Auckland already."""
    assert WorkingTime(Calendar(zone="Pacific/Auckland")).day_of(at("2026-11-27T22:00")) == date(2026, 11, 28)


def test_a_night_with_a_skipped_hour_is_an_hour_shorter() -> None:
    """On 29 March 2026 the clock of Berlin goes from 2 to 3, on 25 October from 3 to 2."""
    always = WorkingTime(Calendar(zone="Europe/Berlin", days=("sat", "sun"), hours=("00:00-24:00",)))
    assert always.seconds(at("2026-03-28T23:00"), at("2026-03-29T22:00")) == 23 * 3_600
    assert always.seconds(at("2026-10-24T22:00"), at("2026-10-25T23:00")) == 25 * 3_600
    night = WorkingTime(Calendar(zone="Europe/Berlin", days=("sun",), hours=("02:00-03:00",)))
    assert night.seconds(at("2026-03-28T00:00"), at("2026-03-30T00:00")) == 0
    assert night.seconds(at("2026-10-24T00:00"), at("2026-10-26T00:00")) == 2 * 3_600


@pytest.mark.parametrize("turn", ["00:30", "01:00", "01:30", "02:00", "02:30", "03:00", "23:30"])
@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("Europe/Berlin", "2026-03-29", 23),
        ("Europe/Berlin", "2026-10-25", 25),
        ("America/Asuncion", "2023-10-01", 23),  # midnight is skipped
        ("America/Asuncion", "2024-03-23", 25),  # the last hour of the day comes twice
        ("America/Sao_Paulo", "2018-11-04", 23),
        ("America/Sao_Paulo", "2018-02-17", 25),
        ("America/Havana", "2026-11-01", 25),  # midnight comes twice
        ("America/St_Johns", "2010-11-06", 24 + 59 / 60),  # a minute after midnight it was yesterday again
        ("America/St_Johns", "2010-11-07", 24 + 1 / 60),
        ("Australia/Lord_Howe", "2026-10-04", 23.5),
        ("Australia/Lord_Howe", "2026-04-05", 24.5),
        ("Pacific/Apia", "2011-12-29", 24),
        ("Pacific/Apia", "2011-12-30", 0),  # Samoa went to the other side of the date line
        ("Pacific/Apia", "2011-12-31", 24),
        ("Asia/Kolkata", "2026-03-29", 24),
    ],
)
def test_spans_that_touch_count_a_day_whole(zone: str, day: str, hours: float, turn: str) -> None:
    """Wherever a day is cut in two, also within the change of the clock, it has the hours that it has."""
    worked = WorkingTime(Calendar(zone=zone, days=(), open=(day,), hours=(f"00:00-{turn}", f"{turn}-24:00")))
    middle = datetime.fromisoformat(f"{day}T12:00Z")
    before, after = (format_instant(middle + timedelta(days=days)) for days in (-3, 3))
    assert worked.seconds(before, after) == pytest.approx(hours * 3_600)


_CHANGES = ["2026-03-29", "2026-10-25", "2023-10-01", "2024-03-24", "2018-11-04", "2010-11-07", "2026-04-05",
            "2011-12-30"]  # fmt: skip
_ZONES = ["Europe/Berlin", "America/Asuncion", "America/Sao_Paulo", "America/Havana", "America/St_Johns",
          "Australia/Lord_Howe", "Pacific/Apia", "UTC", "Asia/Kathmandu"]  # fmt: skip


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(_ZONES), st.sampled_from(_CHANGES), st.sets(st.integers(1, 95), min_size=2, max_size=4),
       st.sets(st.sampled_from(WEEK), min_size=1))  # fmt: skip
@example("Europe/Berlin", "2026-10-25", {10, 11, 12}, {"sun"})
def test_what_counts_is_what_the_clock_on_the_wall_shows(zone: str, day: str, cuts: set[int], days: set[str]) -> None:
    """Minute by minute: one within the hours of a day of work counts, as often as it comes, and no other."""
    quarters = [f"{n // 4:02}:{n % 4 * 15:02}" for n in sorted(cuts)]
    hours = tuple(f"{first}-{last}" for first, last in pairwise(quarters))
    calendar = Calendar(zone=zone, days=tuple(sorted(days)), hours=hours)  # type: ignore[arg-type]  # literals
    first = datetime.fromisoformat(f"{day}T00:00Z") - timedelta(days=2)
    counted = 0
    for minute in range(4 * 24 * 60):
        local = (first + timedelta(minutes=minute)).astimezone(ZoneInfo(zone))
        shown = f"{local:%H:%M}"
        counted += WEEK[local.weekday()] in days and quarters[0] <= shown < quarters[-1]
    last = first + timedelta(days=4)
    assert WorkingTime(calendar).seconds(format_instant(first), format_instant(last)) == counted * 60


@given(st.dates(max_value=date(1, 1, 5)) | st.dates(min_value=date(9999, 12, 27)),
       st.sampled_from(["Pacific/Kiritimati", "Etc/GMT+12", "Europe/Berlin"]), st.integers(0, 5_000))  # fmt: skip
def test_counting_stops_at_the_ends_of_the_calendar(day: date, zone: str, count: int) -> None:
    """The first and the last days of the calendar can be counted from, to and over in every zone."""
    worked = WorkingTime(Calendar(zone=zone, days=WEEK, hours=("00:00-24:00",)))  # type: ignore[arg-type]  # literals
    start = format_instant(datetime(day.year, day.month, day.day, 12, tzinfo=UTC))
    due = worked.after(worked.day_of(start), count)
    assert is_day(due)
    assert due == "9999-12-31" or count == (date.fromisoformat(due) - worked.day_of(start)).days
    until = worked.plus(start, count * 3_600.0)
    assert until == "" or worked.seconds(start, until) == count * 3_600.0


def test_a_count_over_ages_is_bounded() -> None:
    """An item that is said to be of the year 1 costs no more than one that is a hundred years old."""
    worked = WorkingTime(BERLIN)
    century = format_instant(datetime(1, 1, 2, tzinfo=UTC) + timedelta(days=36_600))
    counted = worked.seconds(at("0001-01-02T00:00"), at("2026-11-28T00:00"))
    assert counted == worked.seconds(at("0001-01-02T00:00"), century)
    assert counted > 100 * 200 * 8 * 3_600


def test_office_hours_follow_the_clock_on_the_wall() -> None:
    """Nine o'clock in Berlin is eight in UTC in winter and seven in summer."""
    worked = WorkingTime(BERLIN)
    assert worked.plus(at("2026-03-27T17:00"), 1) == "2026-03-30T07:00:01.000000Z"
    assert worked.plus(at("2026-10-23T16:00"), 1) == "2026-10-26T08:00:01.000000Z"


def test_time_passes_only_while_somebody_works() -> None:
    """From Friday evening to Monday morning, and over lunch, no time passes; what is added is what is counted."""
    worked = WorkingTime(BERLIN)
    assert worked.seconds(at("2026-11-27T17:00"), at("2026-11-30T08:00")) == 0
    assert worked.seconds(at("2026-11-27T10:00"), at("2026-11-30T10:00")) == (1 + 5 + 2) * 3_600
    due = worked.plus(at("2026-11-27T10:00"), 8 * 3_600)
    assert due == at("2026-11-30T10:00")
    assert worked.plus(at("2026-11-27T10:00"), 3_600) == at("2026-11-27T11:00")


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("calendars:\n  named:\n    a:\n      zone: Europe/Berlim", 4, "Did you mean Europe/Berlin?"),
        ("calendars:\n  named:\n    a:\n      zone: ../../etc/passwd", 4, "there is no time zone"),
        ("calendars:\n  named:\n    a:\n      holidays: XX", 4, "no holidays are known of a country 'XX'"),
        ("calendars:\n  named:\n    a:\n      holidays: DE-XX", 4, "no holidays are known of a region 'XX' of DE"),
        ("calendars:\n  named:\n    a:\n      hours: [17:00-09:00]", 4, "is no span of a day"),
        ("calendars:\n  named:\n    a:\n      hours: [09:00-24:30]", 4, "is no span of a day"),
        ("calendars:\n  named:\n    a:\n      hours: [09:00-12:00, 11:00-13:00]", 4, "put them in order"),
        ("calendars:\n  named:\n    a:\n      closed: [2026-02-29]", 4, "is no day"),
        ("calendars:\n  named:\n    a:\n      days: [monday]", 4, "mon"),
        ("calendars:\n  named:\n    a:\n      days: []", 4, "is empty"),
        ("due:\n  rules:\n    - {business_days: 2, calendar: office}", 3, "there is no calendar 'office'"),
        ("due:\n  rules:\n    - {business_days: 2}", 3, "needs a calendar"),
        ("due:\n  rules:\n    - {days: 2, none: true}", 3, "one of the three"),
        ("due:\n  rules:\n    - {when: {env: prod}}", 3, "one of the three"),
        ("due:\n  rules:\n    - {days: 2, when: {status: open}}", 3, "changes with the work"),
    ],
)
def test_a_calendar_that_does_not_exist_is_refused(text: str, line: int, said: str) -> None:
    """A zone, a country or a calendar that is not, is told at its line, and never means UTC or no holidays."""
    found = [(one.mark.line if one.mark else 0, one.warning, one.text) for one in load_policy(text).findings]
    assert any(place == line and not warning and said in reason for place, warning, reason in found), found


def test_holidays_stay_what_they_were_when_the_policy_was_loaded() -> None:
    """The days are a file of the policy: the same for every host that reads it; Berlin has one that Bavaria has not."""
    berlin, bavaria = holiday_list("DE-BE") or "", holiday_list("DE-BY") or ""
    assert "2026-03-08" in berlin
    assert "2026-03-08" not in bavaria
    assert holiday_list("XX") is None
    text = "calendars: {named: {a: {holidays: DE-BE}}}"
    loaded = load_policy(text, files={"holidays:DE-BE": berlin})
    assert loaded.findings == ()
    assert loaded.files_wanted == ("holidays:DE-BE",)
    assert loaded.policy is not None
    assert loaded.policy.files == {"holidays:DE-BE": berlin}
