"""
Reports over HTTP: the answers of `backlog report --json`, every fault at once, alerts as Alertmanager sends them.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from backlog_store.backlog import Backlog
from backlog_store.cli.main import cli as root
from backlog_store.query import live
from backlog_store.testing.clocks import StepClock
from backlog_store.web.site import Limits
from tests.web.conftest import ASKERS, Client, of_site

REPORTS = Path(__file__).parents[1] / "assets" / "reports"
RUFF = (REPORTS / "ruff.sarif").read_bytes()
FIRING = msgspec.json.decode((REPORTS / "alertmanager-firing.json").read_bytes())


def comparable(told: dict[str, Any]) -> dict[str, Any]:
    """
    Return an answer without what is drawn for each report.
    """
    return {**told, "batch": ""}


@pytest.mark.parametrize("name", sorted(path.name for path in REPORTS.iterdir() if path.suffix != ".md"))
def test_a_report_is_answered_as_the_command_line_prints_it(client: Client, tmp_path: Path, name: str) -> None:
    """
    Every recorded report of every format, recognised by what is in it, is told in the same words.
    """
    store = f"sqlite:///{tmp_path}/backlog.db"
    args = ["--store", store, "report", str(REPORTS / name), "--service", "shop", "--json"]
    printed = msgspec.json.decode(CliRunner(env={"BACKLOG_ACTOR": "ann"}).invoke(root, args).stdout)
    response = client.post("/api/v1/reports?service=shop", content=(REPORTS / name).read_bytes())
    assert response.status_code == 200
    assert comparable(response.json()) == comparable(printed)


@pytest.mark.parametrize(
    ("more", "body"),
    [
        ("", b'{"title":"Full","dedupe_key":"disk"}\n'),
        ("&format=json", b'[{"title":"Full","dedupe_key":"disk"}]'),
        ("", b"title,dedupe_key\nFull,disk\n"),
        ("&format=csv&map=title=Summary&map=dedupe_key=Key", b"Summary;Key\nFull;disk\n"),
    ],
)
def test_drafts_of_every_form_are_taken_in(client: Client, backlog: Backlog, more: str, body: bytes) -> None:
    """
    What is no report of a tool comes as drafts: lines, a list, or a table with columns of any name.
    """
    response = client.post(f"/api/v1/reports?service=db{more}", content=body)
    assert response.json()["counts"]["created"] == 1, response.text
    [item] = backlog.search()
    assert (item.title, item.dedupe_key, item.service) == ("Full", "disk", "db")


def test_the_machine_that_found_it_acts(client: Client, backlog: Backlog) -> None:
    """
    Whoever carries a report over, its findings are reported by the machine that its source is.
    """
    client.post("/api/v1/reports?service=shop", content=RUFF)
    [item, *_] = backlog.search()
    [event] = backlog.trail(item.id)
    assert (event.actor, event.actor_kind) == ("ruff", "machine")


def test_a_dry_run_tells_and_writes_nothing(client: Client, backlog: Backlog) -> None:
    """
    What would be opened is told as it would be, and nothing is there afterwards.
    """
    told = client.post("/api/v1/reports?service=shop&dry_run=true", content=RUFF).json()
    assert told["dry_run"]
    assert told["counts"]["created"] > 0
    assert not backlog.search()
    done = client.post("/api/v1/reports?service=shop", content=RUFF).json()
    assert done["counts"] == told["counts"]


def test_the_same_key_is_one_effect(client: Client, backlog: Backlog) -> None:
    """
    A report that comes again under its Idempotency-Key leaves no trace of the second time.
    """
    for _ in range(2):
        client.post("/api/v1/reports?service=shop", content=RUFF, headers={"Idempotency-Key": "job-1"})
    assert all(not backlog.sightings(item.id) for item in backlog.search())


def test_a_complete_report_closes_what_it_does_not_name(client: Client, backlog: Backlog, clock: StepClock) -> None:
    """
    What two complete reports in a row do not name is closed, as `backlog report --complete` closes it.
    """
    lines = [msgspec.json.encode({"title": n, "dedupe_key": n, "service": "shop", "source": "ruff"}) for n in "abcdef"]
    path = "/api/v1/reports?service=shop&complete=true&source=ruff&format=ndjson"
    client.post(path, content=b"\n".join(lines[:-1]))
    clock.advance(7_200)
    client.post(path, content=b"\n".join(lines[1:-1]))
    told = client.post(path, content=b"\n".join(lines[1:])).json()
    assert [run["state"] for run in told["runs"]] == ["completed"]
    assert [one["title"] for one in told["runs"][0]["items"] if one["verdict"] == "closed"] == ["a"]
    closed = backlog.get_by_key("a")
    assert closed is not None
    assert closed.closed_reason == "fixed"


def test_every_fault_of_the_parameters_is_told(client: Client) -> None:
    """
    Whatever is wrong with the parameters is told at once, each with its name.
    """
    asked = ("bogus=1&priority=P9&severity=high&map=title&due=soon&fail_on=old&expect=-1&dry_run=perhaps&rule=x"
             "&run=nosuchrun&baseline=no")  # fmt: skip
    response = client.post(f"/api/v1/reports?{asked}", content=RUFF)
    assert response.status_code == 422
    assert response.headers["content-type"].startswith("application/problem+json")
    found = {one["pointer"] for one in response.json()["errors"]}
    assert found == {"/bogus", "/priority", "/severity", "/map", "/due", "/fail_on", "/expect", "/dry_run", "/rule",
                     "/run", "/baseline"}  # fmt: skip


@pytest.mark.parametrize(
    ("body", "more", "pointer"),
    [
        (b"", "", ""),
        (b"{", "", ""),
        (b'{"what": 1}', "", ""),
        (RUFF[: len(RUFF) // 2], "&service=shop", ""),
        (RUFF, "&format=sariff", "/format"),
        (RUFF, "", "/service"),
    ],
)
def test_what_is_no_report_is_refused_whole(
    client: Client, backlog: Backlog, body: bytes, more: str, pointer: str
) -> None:
    """
    What cannot be read as a whole is 422, and nothing of it is taken in.
    """
    response = client.post(f"/api/v1/reports?{more}", content=body)
    assert response.status_code == 422
    assert response.json()["errors"][0]["pointer"] == pointer
    assert not [word for word in response.json().get("hint", "").split() if word in ("--format", "--service")]
    assert not backlog.search()


def test_a_finding_that_is_faulty_leaves_the_others(client: Client) -> None:
    """
    A faulty line is told with its place and all its faults; the others are taken in.
    """
    lines = b'{"title": "a", "dedupe_key": "a"}\n{"title": "", "priority": "P7"}\n'
    told = client.post("/api/v1/reports", content=lines).json()
    assert (told["counts"]["created"], told["counts"]["refused"]) == (1, 1)
    assert "title" in told["refused"][0]["reason"]
    assert "priority" in told["refused"][0]["reason"]


def test_a_bound_credential_reports_its_own(asking: Callable[[str], Client], backlog: Backlog) -> None:
    """
    What a token does not reach, it reports nothing about, and in nobody's name but its sources'.
    """
    ruff = asking("ruff")
    assert ruff.post("/api/v1/reports?service=web", content=RUFF).json()["counts"]["created"] > 0
    told = ruff.post("/api/v1/reports?service=api", content=RUFF).json()
    assert told["counts"]["refused"] == told["findings"]
    told = ruff.post("/api/v1/reports?service=web&source=trivy", content=RUFF).json()
    assert told["counts"]["refused"] == told["findings"]
    assert {item.service for item in backlog.search(limit=None)} == {"web"}
    assert asking("eve").post("/api/v1/reports?service=web", content=RUFF).status_code == 403


def test_a_body_beyond_the_bound_is_refused(backlog: Backlog) -> None:
    """
    A report may be larger than other bodies, and has a bound of its own.
    """
    lines = b"\n".join(b'{"title": "%d", "dedupe_key": "%d"}' % (n, n) for n in range(100))
    with of_site(backlog, limits=Limits(body=500, report=len(lines), in_memory=1_000)) as client:
        client.headers["x-test-asker"] = "ann"
        assert client.post("/api/v1/reports", content=lines).json()["counts"]["created"] == 100
        assert client.post("/api/v1/reports", content=lines + b"\n").status_code == 413
        assert client.post("/api/v1/items", content=b" " * 501).status_code == 413


def alerts(*alerts: dict[str, Any], **more: Any) -> dict[str, Any]:
    """
    Return the body of a webhook with these alerts.
    """
    return {**FIRING, "alerts": list(alerts), **more}


def alert(name: str, status: str = "firing", **labels: str) -> dict[str, Any]:
    """
    Return an alert.
    """
    return {
        "status": status,
        "labels": {"alertname": name, **labels},
        "annotations": {"summary": f"{name} is bad"},
        "startsAt": "2025-01-01T00:00:00Z",
        "endsAt": "2030-01-01T00:00:00Z" if status == "resolved" else "",
    }


def test_alerts_open_and_close_their_items(client: Client, backlog: Backlog) -> None:
    """
    A firing alert is one item however often it is sent; resolved, it is closed; firing again, the same one returns.
    """
    hook = "/api/v1/alertmanager?env=prod"
    for _ in range(3):
        assert client.post(hook, json=alerts(alert("Burn", service="shop"), alert("Full", service="db"))).is_success
    assert sorted(item.service for item in backlog.search()) == ["db", "shop"]
    told = client.post(hook, json=alerts(alert("Burn", "resolved", service="shop"))).json()
    assert told["counts"]["closed"] == 1
    assert [item.service for item in backlog.search(live())] == ["db"]
    told = client.post(hook, json=alerts(alert("Burn", service="shop"))).json()
    assert told["counts"]["reopened"] == 1
    assert len(backlog.search(limit=None)) == 2


def test_alerts_of_which_none_can_be_taken_in_are_an_error(client: Client, backlog: Backlog) -> None:
    """
    Alertmanager logs what a webhook refuses: there every alert is told, with what it lacks.
    """
    response = client.post("/api/v1/alertmanager", json=alerts(alert("Burn"), alert("")))
    assert response.status_code == 422
    assert [one["pointer"] for one in response.json()["errors"]] == ["/alerts/0", "/alerts/1"]
    mixed = client.post("/api/v1/alertmanager", json=alerts(alert("Burn"), alert("Full", service="db"))).json()
    assert (mixed["counts"]["created"], mixed["counts"]["refused"]) == (1, 1)
    assert len(backlog.search()) == 1


def test_a_token_of_the_receiver_suffices(asking: Callable[[str], Client]) -> None:
    """
    A reporter may send alerts of what it reaches.
    """
    assert ASKERS["ruff"].scope is not None
    client = asking("ruff")
    told = client.post("/api/v1/alertmanager?source=ruff", json=alerts(alert("Burn", service="web"))).json()
    assert told["counts"]["created"] == 1
