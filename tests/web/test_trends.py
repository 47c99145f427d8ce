"""
What the dashboard draws over time, against what was done on which day.
"""

from __future__ import annotations

import re
from typing import Any

import pytest
from litestar import Litestar
from litestar.testing import TestClient

from backlog_store.backlog import Backlog
from backlog_store.testing.clocks import StepClock
from backlog_store.web.pages import trends
from backlog_store.web.pages.trends import Trend, trend

Client = TestClient[Litestar]
_DAY_S = 86_400


def drawn(backlog: Backlog, env: str = "") -> Trend:
    """
    Return what is drawn now.
    """
    counts = backlog.dashboard(env).status_counts
    return backlog.read(lambda reader: trend(reader, env=env, now=backlog.clock(), counts=counts))


@pytest.fixture
def lived(backlog: Backlog) -> Backlog:
    """
    Return a store of four days: three items, one more, two closed (one late), one of those reopened.
    """
    clock: Any = backlog.clock
    assert isinstance(clock, StepClock)
    person = backlog.acting_as("ann", person=True)
    ids = [backlog.upsert(title=f"A {n}", dedupe_key=f"a{n}", due_date="2026-03-02").id for n in range(3)]
    clock.advance(_DAY_S)
    backlog.upsert(title="B", dedupe_key="b", env="staging")
    person.close_item(ids[0], "fixed")
    clock.advance(_DAY_S)
    person.close_item(ids[1], "wont_fix")
    person.move(ids[2], "in_progress")
    clock.advance(_DAY_S)
    person.reopen(ids[1], "it came back")
    return backlog


def test_days_hold_what_was_opened_and_closed(lived: Backlog) -> None:
    """
    Each day counts its own openings, reopenings and closings; the four days are the last ones drawn.
    """
    days = drawn(lived).days
    assert len(days) == trends.DAYS
    assert [(day.day, day.opened, day.closed) for day in days[-4:]] == [
        ("2026-03-01", 3, 0), ("2026-03-02", 1, 1), ("2026-03-03", 0, 1), ("2026-03-04", 1, 0),
    ]  # fmt: skip
    assert {(day.opened, day.closed) for day in days[:-4]} == {(0, 0)}


def test_past_days_are_todays_counts_taken_back(lived: Backlog) -> None:
    """
    At the end of each day there were as many open and in progress as had been left so.
    """
    status = [(day.status["open"], day.status["in_progress"]) for day in drawn(lived).days[-5:]]
    assert status == [(0, 0), (3, 0), (3, 0), (1, 1), (2, 1)]


def test_an_env_is_drawn_alone(lived: Backlog) -> None:
    """
    Only items of the env are counted.
    """
    days = drawn(lived, "staging").days
    assert [(day.opened, day.closed, day.status["open"]) for day in days[-3:]] == [(1, 0, 1), (0, 0, 1), (0, 0, 1)]


def test_times_to_fix_and_due_dates_are_those_of_what_is_closed(lived: Backlog) -> None:
    """
    One was fixed after a day, in time; what was reopened counts no more. Ages are of what lives.
    """
    found = drawn(lived)
    assert dict(found.fix_times)["within a week"] == 1
    assert found.fix_median_s == pytest.approx(_DAY_S, abs=60)
    assert found.due == (1, 1)
    assert (found.aged, dict(found.ages)["under a week"]) == (3, 3)


def test_targets_are_those_of_the_policy(lived: Backlog) -> None:
    """
    With a target of an hour the one that took a day is over it; without a policy there is none.
    """
    assert drawn(lived).sla == (0, 0)
    policy = "sla: {targets: [{name: all, close_hours: 1}]}"
    lived.acting_as("ann", person=True).apply_policy(policy, over=0)
    assert drawn(lived).sla == (0, 1)


def test_more_than_is_looked_at_shows_fewer_days(lived: Backlog, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Where the newest events do not reach back, only whole days are drawn, and it is said.
    """
    monkeypatch.setattr(trends, "EVENTS_MAX", 5)
    monkeypatch.setattr(trends, "_PAGE", 1)
    found = drawn(lived)
    assert found.partly
    assert [day.day for day in found.days] == ["2026-03-03", "2026-03-04"]
    assert not drawn_whole(lived, monkeypatch).partly


def drawn_whole(backlog: Backlog, monkeypatch: pytest.MonkeyPatch) -> Trend:
    """
    Return what is drawn with every event looked at.
    """
    monkeypatch.undo()
    return drawn(backlog)


def test_bars_lead_to_their_items(lived: Backlog, client: Client) -> None:
    """
    A day's bar opens the list of what was closed on it.
    """
    assert "closed%3A%3E%3D2026-03-02%20closed%3A%3C2026-03-03" in client.get("/dashboard").text
    query = "closed:>=2026-03-02 closed:<2026-03-03 is:closed"
    text = client.get("/items", params={"q": query}).text
    assert "A 0" in text
    assert "A 1" not in text


def test_more_than_is_looked_at_on_one_day_shows_none(
    lived: Backlog, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A large first report leaves no whole day to draw: the page is there all the same, and says why and where to look.
    """
    monkeypatch.setattr(trends, "EVENTS_MAX", 2)
    monkeypatch.setattr(trends, "_PAGE", 1)
    person = lived.acting_as("ann", person=True)
    for item in lived.search():
        person.comment(item.id, "seen")
    assert drawn(lived).days == ()
    response = client.get("/dashboard")
    assert response.status_code == 200
    assert "changes happened today" in response.text
    assert "created%3A%3E%3D2026-03-04" in response.text


def test_numbers_of_one_env_lead_to_items_of_that_env(lived: Backlog, client: Client) -> None:
    """
    Every number of an env's dashboard opens a list of that env alone.
    """
    text = client.get("/dashboard", params={"env": "staging"}).text
    links = re.findall(r'href="(/items[?][^"]*)"', text)
    assert len(links) > 10
    assert [one for one in links if "env=staging" not in one and "env%3Astaging" not in one] == []
