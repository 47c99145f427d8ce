"""
Sources and runs without a browser: what each source was worth, and the verdict on a run that waits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from litestar import Litestar
from litestar.testing import TestClient

from backlog_store.backlog import Backlog
from backlog_store.commands import Report
from backlog_store.model import Draft
from backlog_store.planning import Planner, keep_in_store
from backlog_store.testing.clocks import StepClock
from backlog_store.web.pages import sources
from backlog_store.web.pages.sources import heard

Client = TestClient[Litestar]
POLICY = "closing: {misses: 1, min_age_hours: 0, close_floor: 0}"


@pytest.fixture
def parked(backlog: Backlog) -> str:
    """
    Return the id of a run that would close three of four items.
    """
    backlog.acting_as("ann", person=True).apply_policy(POLICY, over=0)
    drafts = [Draft(title=f"Rule {n}", service="web", source="ruff", dedupe_key=f"k{n}") for n in range(4)]
    machine = backlog.acting_as("ruff")
    ended: Any = None
    for found in (drafts, drafts[:1]):
        with machine.begin_run("ruff", services=["web"]) as run:
            list(run.report(found))
            ended = run.complete()
    assert ended.state == "parked"
    return str(ended.id)


def test_the_precision_of_a_source_is_that_of_its_closed_items(backlog: Backlog, client: Client) -> None:
    """
    Of four closed, one a false positive and one not to be fixed: half of them was real. Without closed ones: unknown.
    """
    ids = [backlog.upsert(title=f"A {n}", dedupe_key=f"a{n}", source="ruff").id for n in range(5)]
    for id, reason in zip(ids, ("fixed", "false_positive", "wont_fix", "obsolete"), strict=False):
        backlog.acting_as("ann", person=True).close_item(id, reason)
    backlog.upsert(title="B", dedupe_key="b", source="bandit")
    bandit, ruff = backlog.read(lambda reader: heard(reader, now=backlog.clock()))
    assert (ruff.name, ruff.live, ruff.closed, ruff.precision) == ("ruff", 1, 4, 0.5)
    assert (bandit.name, bandit.live, bandit.precision) == ("bandit", 1, None)
    assert "50 %" in client.get("/sources").text


def test_a_source_that_ran_and_no_longer_does_is_silent(backlog: Backlog, client: Client) -> None:
    """
    A run in the week before the last one, and none since: the place is named, as in the digest.
    """
    with backlog.acting_as("ruff").begin_run("ruff", services=["web"]) as run:
        run.complete(0)
    assert isinstance(backlog.clock, StepClock)
    backlog.clock.advance(8 * 86_400)
    [ruff] = backlog.read(lambda reader: heard(reader, now=backlog.clock()))
    assert ruff.silent == ("prod/web",)
    assert backlog.weekly().silent_count == 1
    assert "prod/web" in client.get("/sources").text
    assert "Sources that went silent" in client.get("/now").text


def test_a_report_that_changes_nothing_is_a_report(
    backlog: Backlog, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    The last report of a source is told by what it sees unchanged, whoever sends it and however much changed since.
    """
    monkeypatch.setattr(sources, "LOOKED_AT", 3)
    assert isinstance(backlog.clock, StepClock)
    for key in ("a", "b"):
        backlog.acting_as("ci").upsert(title=key, dedupe_key=key, source="ruff")
    backlog.clock.advance(9 * 86_400)
    at = backlog.clock()
    backlog.acting_as("ci").upsert(title="a", dedupe_key="a", source="ruff")
    backlog.clock.advance(86_400)
    for n in range(4):
        backlog.upsert(title=f"busy {n}", dedupe_key=f"busy {n}", source="bandit")
    _, ruff = backlog.read(lambda reader: heard(reader, now=backlog.clock()))
    assert ruff.name == "ruff"
    assert at <= ruff.last_at < backlog.clock()
    assert "not lately" not in client.get("/sources").text


def test_without_a_source_or_a_run_the_pages_teach(client: Client) -> None:
    """
    Empty pages say how to begin.
    """
    assert "backlog report" in client.get("/sources").text
    assert "backlog run begin" in client.get("/runs").text


def test_a_parked_run_shows_what_it_would_do(client: Client, parked: str) -> None:
    """
    The list names it as parked, its page each item that it would close.
    """
    assert f'href="/runs/{parked}"' in client.get("/runs", params={"state": "parked"}).text
    assert f'href="/runs/{parked}"' in client.get("/now").text
    assert parked not in client.get("/now?env=staging").text
    text = client.get(f"/runs/{parked}").text
    assert "would close 3 and reopen 0" in text
    assert [f"Rule {n}" in text for n in range(4)] == [False, True, True, True]


@pytest.mark.parametrize(("verdict", "state", "left"), [("accept", "completed", 1), ("reject", "rejected", 4)])
def test_a_person_judges_a_parked_run(client: Client, backlog: Backlog, parked: str, verdict: str, state: str,
                                      left: int) -> None:  # fmt: skip
    """
    Accepted it closes what it was parked with, rejected nothing; who judged is kept, and it cannot be judged again.
    """
    fields = {"verdict": verdict, "message": "I looked"}
    response = client.post(f"/runs/{parked}", data=fields, follow_redirects=False)
    assert (response.status_code, response.headers["location"].split("?")[0]) == (303, f"/runs/{parked}")
    _, run = backlog.run(parked)
    assert (run.state, run.judged_by, run.message) == (state, "ann", "I looked")
    assert len(backlog.search()) - len([item for item in backlog.search() if item.closed_at]) == left
    assert 'name="verdict"' not in client.get(f"/runs/{parked}").text
    assert parked not in client.get("/now").text


def test_a_verdict_is_one_of_two(client: Client, backlog: Backlog, parked: str) -> None:
    """
    Anything else is refused on the page, and the run goes on waiting.
    """
    response = client.post(f"/runs/{parked}", data={"verdict": "perhaps"})
    assert response.status_code == 422
    assert "accept or reject" in response.text
    assert backlog.run(parked)[1].state == "parked"


def test_only_who_may_work_judges(asking: Callable[[str], Client], parked: str) -> None:
    """
    A reader sees the run and may not judge it.
    """
    assert asking("eve").get(f"/runs/{parked}").status_code == 200
    assert asking("eve").post(f"/runs/{parked}", data={"verdict": "accept"}).status_code == 403


@pytest.fixture
def planned(backlog: Backlog) -> str:
    """
    Return the token of a plan that would create two items.
    """
    planner = Planner(backlog)
    planner.execute(Report(drafts=tuple(Draft(title=f"Planned {n}", dedupe_key=f"p{n}") for n in range(2))))
    plan = planner.plan({"reports": ["ruff"]})
    keep_in_store(backlog, plan)
    return plan.token


def test_a_plan_is_applied_as_it_was_shown(client: Client, backlog: Backlog, planned: str) -> None:
    """
    Its page names what it would create and changes nothing; applied, the two items are there, once.
    """
    assert planned in client.get("/plans").text
    text = client.get(f"/plans/{planned}").text
    assert ("Planned 0" in text, "Planned 1" in text, "2 changes" in text) == (True, True, True)
    assert backlog.search() == []
    for _ in range(2):
        assert client.post(f"/plans/{planned}", data={"x": "y"}, follow_redirects=False).status_code == 303
    assert sorted(item.title for item in backlog.search()) == ["Planned 0", "Planned 1"]


def test_a_plan_that_no_longer_holds_is_refused(client: Client, backlog: Backlog, planned: str) -> None:
    """
    Where one of the items was reported meanwhile, nothing is done and the page says what changed.
    """
    backlog.upsert(title="Planned 0", dedupe_key="p0")
    response = client.post(f"/plans/{planned}", data={"x": "y"})
    assert response.status_code == 409
    assert 'role="alert"' in response.text
    assert [item.dedupe_key for item in backlog.search()] == ["p0"]
