"""
Items over HTTP: conditional writes, idempotency, cursors, verdicts, and every refusal as a problem.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from litestar import Litestar
from litestar.testing import TestClient

from backlog_store.backlog import Backlog
from backlog_store.instants import add_seconds

Client = TestClient[Litestar]
PROBLEM = "application/problem+json"


def made(client: Client, **fields: Any) -> dict[str, Any]:
    """
    Create an item and return its outcome.
    """
    response = client.post("/api/v1/items", json={"title": "Rotate the key", **fields})
    assert response.status_code == 201
    answer: dict[str, Any] = response.json()
    return answer


def test_a_created_item_is_found_where_its_location_says(client: Client) -> None:
    """
    201 names the place and the ETag; the item there has both, and 304 spares who has it already.
    """
    response = client.post("/api/v1/items", json={"title": "Rotate the key", "service": "web"})
    place, tag = response.headers["location"], response.headers["etag"]
    found = client.get(place)
    assert found.json()["title"] == "Rotate the key"
    assert found.headers["etag"] == tag == '"1"'
    for held in (tag, f"W/{tag}", f'"9",{tag}', "*"):
        assert client.get(place, headers={"If-None-Match": held}).status_code == 304
    assert client.get(place, headers={"If-None-Match": '"9"'}).status_code == 200
    client.put("/api/v1/items/by-key/prod/k", json={"title": "a"})
    assert client.get("/api/v1/items/by-key/prod/k", headers={"If-None-Match": '"1"'}).status_code == 304


def test_a_parameter_that_there_is_not_stops_a_write(client: Client) -> None:
    """
    Who misspells one, or expects one that there is not, is told before anything is done.
    """
    id = made(client)["id"]
    for asked in ("fields=titel", "dry_run=true"):
        assert client.post(f"/api/v1/items?{asked}", json={"title": "b"}).status_code == 422
        assert client.put(f"/api/v1/items/by-key/prod/k?{asked}", json={"title": "b"}).status_code == 422
        assert client.post(f"/api/v1/items/{id}/comments?{asked}", json={"message": "b"}).status_code == 422
        lines: Any = {"content": b'{"title":"b"}', "headers": {"Content-Type": "application/x-ndjson"}}
        assert client.post(f"/api/v1/batch/upsert?{asked}", **lines).status_code == 422
    assert [(item["id"], item["revision"]) for item in client.get("/api/v1/items").json()["items"]] == [(id, 1)]
    assert client.post(f"/api/v1/items/{id}/comments?fields=id", json={"message": "b"}).json()["item"] == {"id": id}


def test_a_person_is_the_actor_whatever_a_body_says(client: Client, backlog: Backlog) -> None:
    """
    Who acts comes from the credential: a body that names an actor, a status or a revision is refused.
    """
    for name, value in (("actor", "root"), ("status", "done"), ("revision", 7), ("id", "bl_mine"), ("head", "")):
        response = client.post("/api/v1/items", json={"title": "x", name: value})
        assert response.status_code == 422
        assert [fault["pointer"] for fault in response.json()["errors"]] == [f"/{name}"]
    id = made(client)["id"]
    assert {(event.actor, event.actor_kind) for event in backlog.trail(id)} == {("ann", "person")}


def test_an_edit_rests_on_the_revision_that_was_read(client: Client) -> None:
    """
    Without If-Match 428, with an old one 412 and nothing written, with the present one 200 and the next ETag.
    """
    place = f"/api/v1/items/{made(client)['id']}"
    assert client.patch(place, json={"title": "A"}).status_code == 428
    assert client.patch(place, json={"title": "A"}, headers={"If-Match": '"1"'}).headers["etag"] == '"2"'
    stale = client.patch(place, json={"title": "B"}, headers={"If-Match": '"1"'})
    assert (stale.status_code, stale.json()["found"]) == (412, 2)
    assert client.get(place).json()["title"] == "A"


def test_the_same_request_twice_happens_once(client: Client) -> None:
    """
    An Idempotency-Key brings the first answer again; with another body it is refused.
    """
    headers = {"Idempotency-Key": "job-1"}
    first = client.post("/api/v1/items", json={"title": "A"}, headers=headers)
    again = client.post("/api/v1/items", json={"title": "A"}, headers=headers)
    assert first.json()["id"] == again.json()["id"]
    assert again.json()["replayed"]
    assert len(client.get("/api/v1/items").json()["items"]) == 1
    other = client.post("/api/v1/items", json={"title": "B"}, headers=headers)
    assert (other.status_code, other.json()["code"]) == (422, "request_reused")


def test_reporting_a_key_says_what_became_of_it(client: Client) -> None:
    """
    The first report creates (201), the same again is unchanged (200); a key may hold slashes.
    """
    place = "/api/v1/items/by-key/prod/slo:web/availability/30d"
    first = client.put(place, json={"title": "Burns its budget"})
    again = client.put(place, json={"title": "Burns its budget"})
    assert [(first.status_code, first.json()["verdict"]), (again.status_code, again.json()["verdict"])] == [
        (201, "created"), (200, "unchanged"),
    ]  # fmt: skip
    assert client.get(place).json()["dedupe_key"] == "slo:web/availability/30d"


def test_pages_follow_their_links_to_every_item_once(client: Client) -> None:
    """
    Following `Link` to its end brings each item once.
    """
    ids = {made(client, title=f"Item {number}")["id"] for number in range(7)}
    seen: list[str] = []
    place = "/api/v1/items?limit=3&fields=id"
    while place:
        response = client.get(place)
        seen += [item["id"] for item in response.json()["items"]]
        link = response.headers.get("link", "")
        place = link[1 : link.index(">")] if link else ""
    assert len(seen) == 7
    assert set(seen) == ids


def test_every_fault_of_a_body_is_listed(client: Client) -> None:
    """
    Unknown members, wrong types and impossible values are told together, each with its pointer.
    """
    place = f"/api/v1/items/{made(client)['id']}"
    wrong = {"titel": "x", "priority": 5, "tags": "a"}
    response = client.patch(place, json=wrong, headers={"If-Match": "*"})
    assert {fault["pointer"] for fault in response.json()["errors"]} == {"/titel", "/priority", "/tags"}
    # Also where it is the rules that find them.
    wrong = {"title": "", "priority": "P9", "add_tags": [""]}
    response = client.patch(place, json=wrong, headers={"If-Match": "*"})
    assert {fault["pointer"] for fault in response.json()["errors"]} == {"/title", "/priority", "/add_tags/0"}
    moved = client.post(f"{place}/move", json={"to": "nowhere"})
    assert [fault["pointer"] for fault in moved.json()["errors"]] == ["/to"]
    assert response.headers["content-type"].startswith(PROBLEM)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("DELETE", "/api/v1/items", 405), ("GET", "/api/v1/nowhere", 404), ("GET", "/api/v1/items/bl_nosuchitem12", 404),
     ("GET", "/api/v1/items?limit=0&sort=x&foo=1", 422), ("GET", "/api/v1/items?q=statu:open", 422),
     ("GET", "/api/v1/items?after=%00", 422)],
)  # fmt: skip
def test_what_is_wrong_with_a_request_is_a_problem(client: Client, method: str, path: str, status: int) -> None:
    """
    Each refusal is application/problem+json with a stable code, a status and words.
    """
    response = client.request(method, path)
    assert response.status_code == status
    assert response.headers["content-type"].startswith(PROBLEM)
    body = response.json()
    assert body["status"] == status
    assert body["code"]
    assert body["detail"]


def test_a_path_or_method_that_is_none_says_what_there_is(client: Client) -> None:
    """
    Who asks for what is not there is told what was asked for, and where to look.
    """
    nowhere = client.get("/api/v1/<b>nowhere").json()
    assert (nowhere["detail"], nowhere["hint"]) == ("there is nothing at /api/v1/<b>nowhere", "What there is: /api.")
    page = client.get("/<b>nowhere", headers={"Accept": "text/html"})
    assert (page.status_code, "<b>" in page.text, "there is nothing at /&lt;b&gt;nowhere" in page.text) == (
        404,
        False,
        True,
    )
    refused = client.delete("/api/v1/items")
    assert refused.json()["detail"] == "/api/v1/items does not take DELETE"
    assert {"GET", "POST"} <= set(refused.headers["allow"].split(", "))
    assert refused.headers["allow"] in refused.json()["hint"]


@pytest.mark.parametrize(
    ("body", "media", "status"),
    [(b"{", "application/json", 400), (b"title=x", "application/x-www-form-urlencoded", 415),
     (b'{"title":"a","meta":' + b'{"a":' * 5_000 + b"1" + b"}" * 5_000 + b"}", "application/json", 400),
     (b'5 {"title":"a"}', "application/json", 400), (b'{"title":7} {', "application/json", 400),
     (b'{"title":"\\u0000"}', "application/json", 422), (b'{"title":"\xff"}', "application/json", 400),
     (b'{"title":"' + b"x" * 9_000_000 + b'"}', "application/json", 413)],
)  # fmt: skip
def test_bodies_that_cannot_be_are_refused(client: Client, body: bytes, media: str, status: int) -> None:
    """
    Cut off, of another type, too deep, unstorable or too large: refused in words, and nothing is written.
    """
    response = client.post("/api/v1/items", content=body, headers={"Content-Type": media})
    assert response.status_code == status
    assert client.get("/api/v1/items").json()["items"] == []


def test_what_others_own_is_not_there(asking: Callable[[str], Client]) -> None:
    """
    An item of another service is 404 for reading and for writing, exactly as one that never was.
    """
    id = made(asking("root"), service="api")["id"]
    bound = asking("ben")
    missing = bound.get("/api/v1/items/bl_neverwasanitemof26letters")
    foreign = bound.get(f"/api/v1/items/{id}")
    assert foreign.status_code == missing.status_code == 404
    assert foreign.json()["code"] == missing.json()["code"]
    assert bound.post(f"/api/v1/items/{id}/move", json={"to": "canceled"}).status_code == 404
    assert bound.get("/api/v1/items").json()["items"] == []


def test_nobody_and_readers_write_nothing(asking: Callable[[str], Client]) -> None:
    """
    Who is unknown gets 401, who may only read 403.
    """
    assert asking("nobody").post("/api/v1/items", json={"title": "x"}).status_code == 401
    assert asking("eve").post("/api/v1/items", json={"title": "x"}).status_code == 403
    assert asking("eve").get("/api/v1/items").json()["items"] == []


@pytest.mark.parametrize("until", ["2099-01-01", "2099-01-01T00:00:00Z", "2099-01-01T02:00:00+02:00"])
def test_an_instant_is_taken_as_people_and_programs_write_it(client: Client, backlog: Backlog, until: str) -> None:
    """
    A day, an instant with or without fractions, or in another zone is the same; what is none is refused in its place.
    """
    id = backlog.upsert(title="A", dedupe_key="k").id
    assert client.post(f"/api/v1/items/{id}/snooze", json={"until": until}).status_code == 200
    assert backlog.get(id).wake_at == "2099-01-01T00:00:00.000000Z"
    wrong = client.post(f"/api/v1/items/{id}/snooze", json={"until": "some day"})
    assert (wrong.status_code, wrong.json()["errors"][0]["pointer"]) == (422, "/until")
    month = add_seconds(backlog.clock(), 30 * 86_400)[:19]
    risk = {"reason": "accepted_risk", "approver": "cleo", "expires_at": f"{month}Z"}
    assert client.post(f"/api/v1/items/{id}/close", json=risk).status_code == 200
    assert backlog.get(id).expires_at == f"{month}.000000Z"
