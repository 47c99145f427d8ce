"""
What is new since one last looked: a mark that only its button moves, and numbers that are lists.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from html import unescape
from typing import Any

import pytest

from backlog_store.backlog import Backlog
from backlog_store.commands import MarkSeen
from backlog_store.errors import InvalidInput
from backlog_store.instants import add_seconds
from backlog_store.testing.clocks import StepClock
from tests.web.conftest import Client

DAY_S = 86_400


def numbers(client: Client, path: str = "/now") -> dict[str, int]:
    """
    Return the numbers of the page Now, each of which has to be how many its list holds, where that is a list of items.
    """
    text = client.get(path).text
    found = re.findall(r'<li><a href="([^"]+)"><b>([\d,]+)</b> ([^<]+)</a>', text)
    for link, count, name in found:
        page = client.get(unescape(link))
        assert page.status_code == 200
        if "/items" in link or "/now/" in link:
            assert len(re.findall(r"<tr[^>]*data-href=", page.text)) == int(count), name
    return {name: int(count) for _, count, name in found}


def seen(client: Client) -> Any:
    """
    Press the button of the page that is shown now.
    """
    return pressed(client, client.get("/now").text)


def pressed(client: Client, text: str) -> Any:
    """
    Press the button of a page that was shown.
    """
    fields = dict(re.findall(r'name="(position|at)" value="([^"]*)"', text))
    return client.post("/now/seen", data=fields, follow_redirects=False)


def test_only_the_button_moves_the_mark(client: Client, backlog: Backlog) -> None:
    """
    Looking, twice, at the page and its lists loses nothing; the button does, and what comes then is new.
    """
    backlog.upsert(title="One", service="web", dedupe_key="1")
    assert [numbers(client) for _ in "ab"] == [{"new": 1}, {"new": 1}]
    assert seen(client).status_code == 303
    assert numbers(client) == {}
    backlog.upsert(title="Two", service="web", dedupe_key="2")
    assert [numbers(client) for _ in "ab"] == [{"new": 1}, {"new": 1}]


def test_what_came_after_the_page_stays_new(client: Client, backlog: Backlog) -> None:
    """
    The button marks what its page showed; an older page's button does not set a later mark back.
    """
    first = client.get("/now").text
    backlog.upsert(title="Meanwhile", service="web", dedupe_key="1")
    pressed(client, first)
    assert numbers(client) == {"new": 1}
    seen(client)
    assert "did=unchanged" in pressed(client, first).headers["location"]
    assert numbers(client) == {}


def test_everybody_has_a_mark_and_a_reach_of_their_own(asking: Callable[[str], Client], backlog: Backlog) -> None:
    """
    One's mark moves nobody else's, a reader has one, too, and what one does not reach is never counted.
    """
    backlog.upsert(title="Mine", service="web", dedupe_key="1")
    backlog.upsert(title="Theirs", service="db", dedupe_key="2")
    assert {name: numbers(asking(name)) for name in ("ann", "ben", "eve", "root")} == {
        "ann": {"new": 2}, "ben": {"new": 1}, "eve": {"new": 2}, "root": {"new": 2}}  # fmt: skip
    assert "Theirs" not in asking("ben").get("/now/new").text
    assert seen(asking("eve")).status_code == 303
    assert numbers(asking("eve")) == {}
    assert numbers(asking("ann")) == {"new": 2}
    assert numbers(asking("ann"), "/now?env=staging") == {}


def test_what_returned_became_overdue_or_comes_to_its_end(client: Client, backlog: Backlog, clock: StepClock) -> None:
    """
    Each counts from the mark on, in its own queue; what was so before is no news.
    """
    ids = [backlog.upsert(title=f"No {n}", service="web", dedupe_key=str(n)).id for n in range(5)]
    ann = backlog.acting_as("ann", person=True)
    today = clock()
    ann.edit(ids[0], due_date=add_seconds(today, DAY_S)[:10])
    ann.edit(ids[1], due_date=add_seconds(today, -3 * DAY_S)[:10])
    ann.accept(ids[2], approver="cleo", expires_at=add_seconds(today, 9 * DAY_S))
    ann.accept(ids[3], approver="cleo", expires_at=add_seconds(today, 5 * DAY_S))
    ann.close_item(ids[4], "fixed")
    seen(client)
    assert numbers(client) == {}
    clock.advance(3 * DAY_S)
    ann.reopen(ids[4], "it is back")
    told = {"returned": 1, "became overdue": 1, "acceptance nears its end": 1}
    assert numbers(client) == told
    ann.snooze(ids[0], add_seconds(clock(), DAY_S))
    assert "became overdue" not in numbers(client)


def test_sources_that_went_silent_and_runs_that_were_parked(client: Client, backlog: Backlog, clock: StepClock) -> None:
    """
    Both are told once they are so, and not again behind the mark.
    """
    with backlog.acting_as("lint").begin_run("lint", services=["web"]) as run:
        run.complete(expected_count=0)
    clock.advance(5 * DAY_S)
    seen(client)
    assert numbers(client) == {}
    clock.advance(4 * DAY_S)
    assert numbers(client) == {"place went silent": 1}
    seen(client)
    assert numbers(client) == {}


def test_a_mark_is_no_instant_ahead_and_a_real_position(backlog: Backlog, clock: StepClock) -> None:
    """
    What a form makes up is refused, and the mark stays.
    """
    for wrong in (MarkSeen(position="", at=add_seconds(clock(), DAY_S)), MarkSeen(position="x'", at=clock()),
                  MarkSeen(position="", at="soon")):  # fmt: skip
        with pytest.raises(InvalidInput):
            backlog.execute(wrong)
    assert list(backlog.records("seen")) == []


def test_a_busy_backlog_is_not_read_whole(client: Client, backlog: Backlog, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Of more changes than are looked at the newest count, and the page says so.
    """
    monkeypatch.setattr("backlog_store.news.LOOKED_AT", 4)
    monkeypatch.setattr("backlog_store.news._PAGE", 2)
    for n in range(6):
        backlog.upsert(title=f"No {n}", service="web", dedupe_key=str(n))
    assert numbers(client) == {"new": 4}
    assert "More than 4 changes" in client.get("/now").text
