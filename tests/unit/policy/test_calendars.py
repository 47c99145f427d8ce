"""
Working time: leap days, changes of the clock, ends of years, holidays, days of one's own.
"""

from __future__ import annotations

from datetime import date

import pytest

from backlog_store.policy.calendars import Calendar, WorkingTime
from backlog_store.policy.holidaylists import holiday_list
from backlog_store.policy.loading import load_policy

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
