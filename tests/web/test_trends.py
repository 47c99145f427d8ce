"""
What the dashboard draws over time, against what was done on which day.
"""

from __future__ import annotations

import random
import re
from datetime import date
from typing import Any

import pytest
from litestar import Litestar
from litestar.testing import TestClient

from backlog_store.backlog import Backlog
from backlog_store.model import CLOSED, LIVE, STATUSES
from backlog_store.query import In, live
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
    Each day counts what was created on it and what was closed on it for good; the last day drawn is today.
    """
    days = drawn(lived).days
    assert len(days) == trends.DAYS
    assert [(day.day, day.opened, day.closed) for day in days[-4:]] == [
        ("2026-03-01", 3, 0), ("2026-03-02", 1, 1), ("2026-03-03", 0, 0), ("2026-03-04", 0, 0),
    ]  # fmt: skip
    assert {(day.opened, day.closed) for day in days[:-4]} == {(0, 0)}


def test_past_days_say_what_became_of_what_was_live(lived: Backlog) -> None:
    """
    At the end of each day so many were live that are open now, in progress now, and closed since.
    """
    days = drawn(lived).days[-5:]
    assert [(day.status["open"], day.status["in_progress"], day.since) for day in days] == [
        (0, 0, 0), (1, 1, 1), (2, 1, 0), (2, 1, 0), (2, 1, 0),
    ]  # fmt: skip
    assert [day.live for day in days] == [0, 3, 3, 3, 3]


def test_days_are_those_of_the_items(backlog: Backlog) -> None:
    """
    Of many items, some closed, reopened or purged: each day's numbers are what counting the items gives.
    """
    clock: Any = backlog.clock
    person = backlog.acting_as("ann", person=True)
    rng = random.Random("days")
    for number in range(120):
        clock.advance(rng.random() * 2 * _DAY_S)
        item = person.upsert(title=f"I {number}", dedupe_key=f"k{number}", env=rng.choice(("prod", "staging")))
        decide = rng.choice((person.close_item, person.comment))
        decide(rng.choice(person.search(live(), limit=None)).id, "fixed")
        if number % 10 == 0 and person.get(item.id).status in LIVE:
            person.close_item(item.id, "wont_fix")
            person.reopen(item.id, "it is back")
    now = clock()
    for env in ("", "staging"):
        items = [item for item in backlog.search(In("status", STATUSES), limit=None) if env in ("", item.env)]
        for day in drawn(backlog, env).days:
            alive = [item for item in items if item.created_on <= day.day and not "" < item.closed_on <= day.day]
            assert day.opened == sum(item.created_on == day.day for item in items), day
            assert day.closed == sum(item.closed_on == day.day for item in items), day
            assert day.since == sum(item.status in CLOSED for item in alive), day
            assert day.status == {name: sum(item.status == name for item in alive) for name in day.status}, day
        ages = {age.name: age.count for age in drawn(backlog, env).ages}
        old = [(date.fromisoformat(now[:10]) - date.fromisoformat(item.created_on)).days
               for item in items if item.status in LIVE]  # fmt: skip
        assert ages == {
            "under a week": sum(days < 7 for days in old), "1 to 4 weeks": sum(7 <= days < 28 for days in old),
            "4 to 13 weeks": sum(28 <= days < 91 for days in old), "older": sum(91 <= days for days in old),
        }  # fmt: skip
        assert min(ages["under a week"], ages["1 to 4 weeks"], ages["4 to 13 weeks"]) > 0


def test_an_env_is_drawn_alone(lived: Backlog) -> None:
    """
    Only items of the env are counted.
    """
    days = drawn(lived, "staging").days
    assert [(day.opened, day.closed, day.status["open"]) for day in days[-3:]] == [(1, 0, 1), (0, 0, 1), (0, 0, 1)]


def test_times_to_fix_and_due_dates_are_those_of_what_is_closed(lived: Backlog) -> None:
    """
    One was fixed after a day, in time; what was reopened counts no more.
    """
    found = drawn(lived)
    assert dict(found.fix_times)["within a week"] == 1
    assert found.fix_median_s == pytest.approx(_DAY_S, abs=60)
    assert (found.due, found.looked_at) == ((1, 1), 1)


def test_targets_are_those_of_the_policy(lived: Backlog) -> None:
    """
    With a target of an hour the one that took a day is over it; without a policy there is none.
    """
    assert drawn(lived).sla == (0, 0)
    policy = "sla: {targets: [{name: all, close_hours: 1}]}"
    lived.acting_as("ann", person=True).apply_policy(policy, over=0)
    assert drawn(lived).sla == (0, 1)


def test_only_the_newest_closed_are_looked_at(lived: Backlog, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    How soon things are closed is told of a bounded number of them, the newest; the days count all.
    """
    monkeypatch.setattr(trends, "CLOSED_MAX", 1)
    person = lived.acting_as("ann", person=True)
    person.close_item(lived.search(limit=1)[0].id, "wont_fix")
    found = drawn(lived)
    assert (found.looked_at, found.fix_times) == (1, ())
    assert sum(day.closed for day in found.days) == 2


def test_bars_lead_to_their_items(lived: Backlog, client: Client) -> None:
    """
    A day's bar opens the list of what was closed on it.
    """
    assert "closed%3A%3E%3D2026-03-02%20closed%3A%3C2026-03-03" in client.get("/dashboard").text
    query = "closed:>=2026-03-02 closed:<2026-03-03 is:closed"
    text = client.get("/items", params={"q": query}).text
    assert "A 0" in text
    assert "A 1" not in text


def test_numbers_of_one_env_lead_to_items_of_that_env(lived: Backlog, client: Client) -> None:
    """
    Every number of an env's dashboard opens a list of that env alone.
    """
    text = client.get("/dashboard", params={"env": "staging"}).text
    links = re.findall(r'href="(/items[?][^"]*)"', text)
    assert len(links) > 10
    assert [one for one in links if "env=staging" not in one and "env%3Astaging" not in one] == []
