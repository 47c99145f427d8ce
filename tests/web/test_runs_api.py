"""
Runs and plans over HTTP: begun, reported in, ended, judged; planned and applied by token, each within one's scope.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from html import unescape
from typing import Any

import msgspec
import pytest

from backlog_store.backlog import Backlog
from backlog_store.commands import ApplyPolicy, BeginSession, CompleteRun, Report
from backlog_store.errors import NotFound
from backlog_store.model import Actor, Draft
from backlog_store.planning import keep_in_store
from backlog_store.planning.kept import Plan, Step
from backlog_store.preview import token_of
from backlog_store.query import live
from backlog_store.testing.clocks import StepClock
from backlog_store.web.pages import runs as runs_page
from tests.web.conftest import ASKERS, Client

EAGER = "closing: {misses: 1, min_age_hours: 0, close_floor: 5}"


@pytest.fixture(autouse=True)
def _eager(backlog: Backlog) -> None:
    """
    Let the first miss close, and more than five of them be parked.
    """
    backlog.acting_as("root", person=True).execute(ApplyPolicy(text=EAGER, over=0))


def lines(*keys: str, service: str = "web") -> bytes:
    """
    Return a report of these keys.
    """
    drafts = [{"title": f"Finding {key}", "dedupe_key": key, "service": service, "source": "ruff"} for key in keys]
    return b"\n".join(map(msgspec.json.encode, drafts))


def begun(client: Client, *services: str, **more: Any) -> str:
    """
    Begin a run of ruff, and return its id.
    """
    response = client.post("/api/v1/runs", json={"source": "ruff", "services": services or ["web"], **more})
    assert response.status_code in (200, 201), response.text
    id: str = response.json()["id"]
    return id


def completed(client: Client, *keys: str, service: str = "web", **more: Any) -> Any:
    """
    Report these keys as all there is, in two reports of one run; return how it ended.
    """
    id = begun(client, service)
    for part in (keys[::2], keys[1::2]):
        if part:
            told = client.post(f"/api/v1/reports?run={id}&format=ndjson", content=lines(*part, service=service))
            assert told.json()["runs"] == [
                {"id": id, "source": "ruff", "state": "begun", "why": "", "counts": {}, "items": []}]  # fmt: skip
    return client.post(f"/api/v1/runs/{id}/complete", json=more).json()


def test_a_run_closes_what_it_no_longer_sees(client: Client, backlog: Backlog, clock: StepClock) -> None:
    """
    Begun, reported in by parts and completed, a run closes what is missing; asked again it says the same.
    """
    completed(client, "a", "b", "c")
    clock.advance(60)
    ended = completed(client, "a", "c", expect=2)
    assert (ended["state"], [one["title"] for one in ended["items"]]) == ("completed", ["Finding b"])
    assert {item.dedupe_key for item in backlog.search(live())} == {"a", "c"}
    again = client.post(f"/api/v1/runs/{ended['id']}/complete", json={"expect": 2}).json()
    assert (again["state"], again["items"]) == ("completed", [])
    [event] = [event for event in backlog.trail(ended["items"][0]["id"]) if event.type == "closed"]
    assert (event.actor, event.actor_kind) == ("ruff", "machine")


def test_a_run_of_a_name_is_begun_once(client: Client) -> None:
    """
    The second time it is known (200), under the same id.
    """
    asked = {"source": "ruff", "services": ["web"], "name": "job-7"}
    first, again = (client.post("/api/v1/runs", json=asked) for _ in range(2))
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json()["id"] == again.json()["id"]


def test_a_parked_run_is_shown_and_judged_by_a_person(
    client: Client, asking: Callable[[str], Client], backlog: Backlog, clock: StepClock
) -> None:
    """
    What would close too much waits: its proposals are shown, and a person lets it close them, or not.
    """
    completed(client, *"abcdefghij")
    clock.advance(60)
    for verb, left in (("reject", 10), ("accept", 2)):
        ended = completed(client, "a", "b" if verb == "accept" else "c")
        assert ended["state"] == "parked"
        [parked] = client.get("/api/v1/runs?state=parked").json()["runs"]
        assert parked["id"] == ended["id"]
        assert len(client.get(f"/api/v1/runs/{ended['id']}").json()["would_close"]) == 8
        assert asking("ruff").post(f"/api/v1/runs/{ended['id']}/{verb}", json={}).status_code == 403
        asking("ann").post(f"/api/v1/runs/{ended['id']}/{verb}", json={"message": "looked at it"})
        assert len(backlog.search(live())) == left


def test_runs_and_changes_since_then_are_asked_for(client: Client, backlog: Backlog, clock: StepClock) -> None:
    """
    An instant or a day bounds both lists, that of changes on either side; what is none is told.
    """
    backlog.upsert(title="before", dedupe_key="a")
    old = client.post("/api/v1/runs", json={"source": "lint", "services": ["web"], "name": "old"}).json()["id"]
    clock.advance(2 * 86_400)
    then, today = clock(), clock()[:10]
    new = client.post("/api/v1/runs", json={"source": "lint", "services": ["web"], "name": "new"}).json()["id"]
    backlog.upsert(title="behind", dedupe_key="b")

    def listed(what: str, **asked: str) -> list[str]:
        found = client.get(f"/api/v1/{what}", params=asked).json()[what]
        return [one["id"] if what == "runs" else one["type"] for one in found]

    assert listed("runs") == [new, old]
    assert listed("runs", since=then) == listed("runs", since=today) == [new]
    assert listed("events", since=then, type="created") == listed("events", until=today, type="created") == ["created"]
    assert listed("events", since=then, until=then) == []
    for what in ("runs", "events"):
        wrong = client.get(f"/api/v1/{what}", params={"since": "soon"})
        assert (wrong.status_code, wrong.json()["errors"][0]["pointer"]) == (422, "/since")


def test_a_failed_run_proves_nothing(client: Client, backlog: Backlog, clock: StepClock) -> None:
    """
    Aborted, with a reason, it closes nothing; it cannot be completed any more.
    """
    completed(client, "a", "b")
    clock.advance(60)
    id = begun(client)
    client.post(f"/api/v1/reports?run={id}", content=lines("a"))
    assert client.post(f"/api/v1/runs/{id}/abort", json={"message": ""}).status_code == 422
    assert client.post(f"/api/v1/runs/{id}/abort", json={"message": "killed"}).json()["state"] == "aborted"
    assert client.post(f"/api/v1/runs/{id}/complete", json={}).status_code == 409
    assert len(backlog.search(live())) == 2


def test_runs_beyond_ones_reach_do_not_exist(
    client: Client, asking: Callable[[str], Client], backlog: Backlog, clock: StepClock
) -> None:
    """
    Whoever is bound to a service lists, shows, ends and reports into the runs over that service alone.
    """
    completed(client, "x", "y", service="db")
    clock.advance(60)
    theirs, both, mine = begun(client, "db"), begun(client, "web", "db"), begun(client, "web")
    ruff = asking("ruff")
    assert [run["id"] for run in ruff.get("/api/v1/runs").json()["runs"]] == [mine]
    assert ruff.get(f"/api/v1/runs/{mine}").json()["source"] == "ruff"
    for id in (theirs, both):
        assert ruff.get(f"/api/v1/runs/{id}").status_code == 404
        assert ruff.post(f"/api/v1/runs/{id}/complete", json={}).status_code == 404
        assert ruff.post(f"/api/v1/reports?run={id}", content=lines("z")).status_code == 422
    # Whoever knows the id and asks the store past the routes fares no better.
    bound = backlog.acting_as("ruff", scope=ASKERS["ruff"].scope)
    drafts = (Draft(title="z", service="web", source="ruff", dedupe_key="z"),)
    for body in (CompleteRun(run=theirs, source="ruff"), Report(drafts=drafts, run=theirs)):
        with pytest.raises(NotFound):
            bound.execute(body)
    assert len(backlog.search(live())) == 2
    assert ruff.post(f"/api/v1/runs/{mine}/complete", json={}).json()["state"] == "empty"
    assert ruff.post("/api/v1/runs", json={"source": "ruff", "services": ["db"]}).status_code == 403


def planned(client: Client, report: bytes, **more: str) -> Any:
    """
    Plan a report as all there is of a service.
    """
    asked = "&".join(f"{name}={value}" for name, value in {"service": "web", "source": "ruff", **more}.items())
    response = client.post(f"/api/v1/plans?complete=true&format=ndjson&{asked}", content=report)
    assert response.status_code == 201, response.text
    return response.json()


def test_a_plan_does_what_it_showed_and_once(client: Client, backlog: Backlog, clock: StepClock) -> None:
    """
    Planned, nothing changes; applied by its token, just what was shown does, and a second time nothing.
    """
    completed(client, "a", "b")
    clock.advance(60)
    plan = planned(client, lines("a", "c"))
    assert sorted((row["verdict"], row["title"]) for row in plan["changes"]) == [
        ("closed", "Finding b"), ("created", "Finding c")]  # fmt: skip
    assert {item.dedupe_key for item in backlog.search(live())} == {"a", "b"}
    assert [one["token"] for one in client.get("/api/v1/plans").json()["plans"]] == [plan["token"]]
    steps = client.get(f"/api/v1/plans/{plan['token']}").json()["steps"]
    assert [(step["command"], step["actor"]) for step in steps] == [
        ("begin_run", "ruff"), ("report", "ruff"), ("complete_run", "ruff")]  # fmt: skip
    applied = client.post(f"/api/v1/plans/{plan['token']}/apply").json()
    assert (applied["again"], applied["counts"]["closed"], applied["counts"]["created"]) == (False, 1, 1)
    assert {item.dedupe_key for item in backlog.search(live())} == {"a", "c"}
    assert client.post(f"/api/v1/plans/{plan['token']}/apply").json()["again"]


def test_a_plan_that_is_overtaken_is_refused_with_what_changed(
    client: Client, backlog: Backlog, clock: StepClock
) -> None:
    """
    Where somebody came between, nothing is done, and each departure is told.
    """
    completed(client, "a", "b")
    clock.advance(60)
    plan = planned(client, lines("a", "c"))
    item = backlog.get_by_key("b")
    assert item is not None
    backlog.edit(item.id, priority="P0")
    refused = client.post(f"/api/v1/plans/{plan['token']}/apply")
    assert (refused.status_code, refused.json()["code"]) == (409, "plan_changed")
    assert refused.json()["departures"]
    assert {item.dedupe_key for item in backlog.search(live())} == {"a", "b"}


def test_a_plan_does_nothing_that_its_commands_may_not(asking: Callable[[str], Client], backlog: Backlog) -> None:
    """
    One that was written by hand opens no session, and speaks for no source that who applies it does not speak for.
    """
    session = BeginSession(name="ann", digest="d" * 64, expires_at="2030-01-01T00:00:00.000000Z")
    report = Report(drafts=(Draft(title="x", service="web", source="ruff"),))
    for name, body, actor in (("root", session, "root"), ("ruff", report, "trivy")):
        token = token_of(0, [(body, ())])
        steps = (Step(actor=Actor(actor), body=body, decisions=()),)
        plan = Plan(token=token, policy=0, made_at=backlog.clock(), by=name, steps=steps)
        keep_in_store(backlog.acting_as(name, scope=ASKERS[name].scope), plan)
        for path in (f"/api/v1/plans/{token}/apply", "/api/v1/commands/plan"):
            refused = asking(name).post(path, json={"apply": token})
            assert (refused.status_code, refused.json()["code"]) == (403, "not_allowed"), refused.text
    assert (list(backlog.records("session")), backlog.search()) == ([], [])


def test_a_plan_is_for_who_made_it_and_who_sees_everything(client: Client, asking: Callable[[str], Client]) -> None:
    """
    Others of a bound reach neither see nor apply it; nobody finds a token that never was, or a plan that is too old.
    """
    plan = planned(asking("ruff"), lines("a"))
    path = f"/api/v1/plans/{plan['token']}"
    assert [asking(name).get(path).status_code for name in ("ruff", "ann", "eve", "ben")] == [200, 200, 200, 404]
    assert asking("ben").post(path + "/apply").status_code == 404
    assert asking("ben").get("/api/v1/plans").json() == {"plans": []}
    assert asking("ann").get("/api/v1/plans/aaaaaaaaaaaaaaaa").status_code == 404
    assert asking("ruff").post(path + "/apply").json()["counts"]["created"] == 1


def test_a_namesake_of_another_reach_sees_nothing_of_a_plan(
    client: Client, backlog: Backlog, asking: Callable[[str], Client]
) -> None:
    """
    A token may be called like a person: what counts is what both reach.
    """
    person = backlog.acting_as("ben", person=True)
    planner = person.planner()
    planner.execute(Report(drafts=(Draft(title="secret of db", dedupe_key="d", service="db", source="ruff"),)))
    plan = planner.plan()
    keep_in_store(person, plan)
    assert asking("ben").get(f"/api/v1/plans/{plan.token}").status_code == 404
    assert asking("ben").get("/api/v1/plans").json() == {"plans": []}
    assert "secret of db" not in asking("ben").get(f"/plans/{plan.token}").text
    assert client is asking("ann")
    assert client.get(f"/api/v1/plans/{plan.token}").status_code == 200


def test_a_plan_is_let_go_when_it_can_be_applied_no_more(client: Client, backlog: Backlog, clock: StepClock) -> None:
    """
    After seven days it is not found, and maintenance takes all of its parts away.
    """
    plan = planned(client, lines(*(f"{number:04d}{'x' * 200}" for number in range(900))))
    kept = backlog.read(lambda reader: reader.scan("plan", "", "", 100))
    assert len(kept) > 1, "a plan of several parts"
    assert client.get(f"/api/v1/plans/{plan['token']}").json()["token"] == plan["token"]
    clock.advance(7 * 86_400)
    assert client.get(f"/api/v1/plans/{plan['token']}").status_code == 404
    assert client.get("/api/v1/plans").json() == {"plans": []}
    backlog.maintain(None)
    assert not backlog.read(lambda reader: reader.scan("plan", "", "", 100))


def test_the_list_of_runs_goes_on_behind_a_cursor(client: Client, backlog: Backlog) -> None:
    """
    Newest first, page by page, each run once, though others begin meanwhile; the page of runs goes on likewise.
    """
    ids = [begun(client, name=f"run-{n}") for n in range(5)]
    begun(client, "db", name="elsewhere")
    seen, place = [], "/api/v1/runs?limit=2&source=ruff"
    while place:
        response = client.get(place)
        told = response.json()
        seen += [run["id"] for run in told["runs"]]
        assert bool(told["next"]) == ("link" in response.headers)
        place = response.headers["link"].split(">")[0].removeprefix("<") if told["next"] else ""
        begun(client, name=f"later-{len(seen)}")
    assert [id for id in seen if id in ids] == ids[::-1]
    assert len(seen) == 6
    last = client.get(f"/api/v1/runs?limit=1&after={backlog.run(ids[1])[1].started_at}/{ids[1]}").json()
    assert [run["id"] for run in last["runs"]] == ids[:1]


@pytest.mark.parametrize("after", ["x", "2026-01-01", "2026-01-01T00:00:00.000000Z/x", "/", "zzz/0123456789abcdef/x"])
def test_a_cursor_of_another_list_is_refused(client: Client, after: str) -> None:
    """
    Not taken for a place in this list.
    """
    for place in ("/api/v1/runs", "/runs"):
        response = client.get(place, params={"after": after})
        assert response.status_code == 422
        assert "not a cursor of this list" in response.text


def test_the_page_of_runs_goes_on(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Older runs are one link away, with the state and source that were chosen.
    """
    monkeypatch.setattr(runs_page, "_SHOWN", 2)
    ids = [begun(client, name=f"run-{n}") for n in range(5)]
    seen, place = [], "/runs?source=ruff"
    while place:
        text = client.get(place).text
        seen += re.findall(r'data-href="/runs/([^"]+)"', text)
        following = re.search(r'rel="next" href="([^"]+)"', text)
        place = unescape(following[1]) if following else ""
    assert seen == ids[::-1]
