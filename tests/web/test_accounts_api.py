"""
People, tokens and webhooks over the API: what each answer holds, and that a secret stands in one of them alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from litestar.testing import TestClient
from msgspec.structs import replace

from backlog_store.access import Scope
from backlog_store.backlog import Backlog
from backlog_store.codec import encode
from backlog_store.commands import BeginSession
from backlog_store.credentials import digest_of, is_password, token_holds
from backlog_store.hooks import is_secret
from backlog_store.instants import add_seconds
from backlog_store.query import EventQuery
from backlog_store.web.api import api_routes
from backlog_store.web.app import create_app
from backlog_store.web.pages import page_routes
from backlog_store.web.site import Asker, Site
from backlog_store.webhooks.outlets import outlets_from
from tests.web.conftest import Client, of_site
from tests.web.serving import Served
from tests.webhooks.receiver import Receiver

READER = {"role": "reader"}
PASSWORD = "correct horse battery"
URL = "https://hooks.example.org/in"


@pytest.fixture
def root(asking: Callable[[str], Client]) -> Client:
    """
    Return the client of who may everything.
    """
    return asking("root")


@pytest.fixture
def telling(backlog: Backlog) -> Iterator[Client]:
    """
    Return the same of a service that webhooks may leave.
    """
    outlets = replace(outlets_from("hooks.example.org,127.0.0.1", "127.0.0.0/8"), within_s=120.0)
    with of_site(backlog, outlets=outlets) as client:
        client.headers["x-test-asker"] = "root"
        yield client


def kept(backlog: Backlog) -> bytes:
    """
    Return everything that is stored, and every event.
    """
    kinds: Any = ("access", "session", "delivery", "answer")
    return encode([[list(backlog.records(kind)) for kind in kinds], list(backlog.events(EventQuery(limit=None)))])


def test_a_person_is_added_changed_and_removed(root: Client, backlog: Backlog) -> None:
    """
    Role and reach change under `If-Match`; a stale one is 412, none 428; what is removed is 404; no hash is told.
    """
    added = root.post("/api/v1/people", json={"name": "dan", "scope": READER, "password": PASSWORD})
    assert (added.status_code, added.json()["password"], added.headers["etag"]) == (201, True, '"1"')
    assert root.post("/api/v1/people", json={"name": "dan", "scope": READER}).status_code == 409
    place, changed = "/api/v1/people/dan", {"scope": {"role": "worker", "services": ["web"]}}
    assert root.patch(place, json=changed).status_code == 428
    told = root.patch(place, json=changed, headers={"If-Match": '"1"'})
    assert (told.status_code, told.headers["etag"], told.json()["scope"]) == (200, '"2"', changed["scope"])
    assert root.patch(place, json=changed, headers={"If-Match": '"1"'}).status_code == 412
    body = next(record.body for record in backlog.records("access", "person/dan"))
    assert is_password(PASSWORD, body["password"])
    assert body["password"] not in root.get("/api/v1/people").text + root.get(place).text
    assert root.delete(place).status_code == 204
    assert [root.get(place).status_code, root.delete(place).status_code] == [404, 404]


def test_the_last_admin_is_never_removed_through_a_service(backlog: Backlog) -> None:
    """
    Neither by the API nor by a page nor by a command that says it is meant: who would let anybody in then.

    A token that has expired administers nothing, and neither does an admin of a part.
    """
    admin, part = {"role": "admin"}, {"role": "admin", "envs": ["prod"]}
    asker = Asker(name="dan", person=True, scope=Scope(role="admin"))
    with TestClient(create_app(Site(backlog=backlog, sign_in=lambda _: asker), [*api_routes(), *page_routes()])) as dan:
        dan.post("/api/v1/people", json={"name": "dan", "scope": admin})
        dan.post("/api/v1/people", json={"name": "eli", "scope": part})
        soon = add_seconds(backlog.clock(), 1)
        dan.post("/api/v1/tokens", json={"name": "ci", "scope": admin, "expires_at": soon})
        backlog.clock.advance(2)  # type: ignore[attr-defined]
        removed = dan.delete("/api/v1/people/dan")
        assert (removed.status_code, "nobody would be left" in removed.text) == (403, True)
        assert dan.patch("/api/v1/people/dan", json={"scope": part}, headers={"If-Match": "*"}).status_code == 403
        meant = {"body": {"command": "remove_person", "name": "dan", "last_admin": True}}
        assert dan.post("/api/v1/commands", json=meant).status_code == 403
        shown = dan.post("/people/dan", data={"do": "remove"})
        assert (shown.status_code, "nobody would be left" in shown.text) == (403, True)
        dan.patch("/api/v1/people/eli", json={"scope": admin}, headers={"If-Match": "*"})
        assert dan.delete("/api/v1/people/dan").status_code == 204


def test_a_password_is_set_and_taken_away(root: Client) -> None:
    """
    A short one is refused with its place, a new one set, an empty one leaves the proxy alone.
    """
    root.post("/api/v1/people", json={"name": "dan", "scope": READER})
    place = "/api/v1/people/dan"
    short = root.patch(place, json={"password": "short"}, headers={"If-Match": "*"})
    assert (short.status_code, short.json()["errors"][0]["pointer"]) == (422, "/password")
    assert root.patch(place, json={"password": PASSWORD}, headers={"If-Match": "*"}).json()["password"] is True
    assert root.patch(place, json={"message": "x"}, headers={"If-Match": "*"}).json()["password"] is True
    assert root.patch(place, json={"password": ""}, headers={"If-Match": "*"}).json()["password"] is False


def test_sessions_are_listed_and_ended(root: Client, backlog: Backlog) -> None:
    """
    Each session of a person by its own id, which is no secret; one is ended, or all; another one's stay.
    """
    digests = [digest_of(str(number)) for number in range(3)]
    for name in ("dan", "eli"):
        root.post("/api/v1/people", json={"name": name, "scope": READER})
    for digest, name in zip(digests, ("dan", "dan", "eli"), strict=True):
        until = add_seconds(backlog.clock(), 600)
        backlog.execute(BeginSession(name=name, digest=digest, expires_at=until))
    place = "/api/v1/people/dan/sessions"
    listed = [one["id"] for one in root.get(place).json()["sessions"]]
    assert set(listed) == {digest[:16] for digest in digests[:2]}
    assert not any(digest in root.get(place).text for digest in digests)
    assert root.delete(f"{place}/{digests[2][:16]}").status_code == 404
    assert root.delete(f"{place}/{listed[0]}").status_code == 204
    assert [one["id"] for one in root.get(place).json()["sessions"]] == listed[1:]
    assert root.delete(place).status_code == 204
    assert root.get(place).json()["sessions"] == []
    assert len(root.get("/api/v1/people/eli/sessions").json()["sessions"]) == 1


def test_a_name_may_hold_what_parts_a_path(serve: Callable[..., Served]) -> None:
    """
    A slash is sent encoded, as any other sign; what only looks encoded is part of the name itself.
    """
    with httpx.Client(base_url=serve(Asker(name="root")).url + "/api/v1", timeout=60) as asked:
        for name in ("github/ci", "github%2Fci", "50% / x?", "/", "a//b/"):
            place = f"/people/{quote(name, safe='')}"
            assert asked.post("/people", json={"name": name, "scope": READER}).status_code == 201
            assert asked.post("/tokens", json={"name": name, "scope": READER}).status_code == 201
            assert asked.get(place).json()["name"] == name
            assert asked.get(f"{place}/sessions").json() == {"sessions": []}
            assert asked.post(f"/tokens/{quote(name, safe='')}/rotate", json={}).json()["name"] == name
            assert asked.delete(place).status_code == 204
            key = f"/items/by-key/prod/{quote(name, safe='')}"
            assert asked.put(key, json={"title": "x"}).json()["item"]["dedupe_key"] == name
        assert asked.get("/people").json()["people"] == []


def test_the_secret_of_a_token_stands_in_one_answer_alone(root: Client, backlog: Backlog) -> None:
    """
    It is in the answer that made it, in no list, record or event, and in no second answer to the same request.
    """
    asked = {"name": "ruff", "scope": {"role": "reporter", "sources": ["ruff"]}}
    key = {"Idempotency-Key": "job-1"}
    first = root.post("/api/v1/tokens", json=asked, headers=key)
    secret = first.json()["token"]
    again = root.post("/api/v1/tokens", json=asked, headers=key)
    assert (first.status_code, again.status_code) == (201, 201)
    assert (again.json().get("token"), again.json()["replayed"], again.json()["key"]) == (None, True, secret[4:20])
    assert root.post("/api/v1/tokens", json={**asked, "name": "other"}, headers=key).status_code == 422
    assert root.post("/api/v1/tokens", json=asked).status_code == 409
    told = root.get("/api/v1/tokens").text + root.get("/api/v1/tokens/ruff").text + kept(backlog).decode()
    assert secret not in told
    body = next(backlog.records("access", f"token/{secret[4:20]}")).body
    assert token_holds(body, secret, backlog.clock())
    assert body["digest"] not in root.get("/api/v1/tokens").text


def test_a_token_is_rotated_and_revoked(root: Client, backlog: Backlog) -> None:
    """
    A rotated token has another secret, at once or with the one before until then; a revoked one is in the whole list.
    """
    first = root.post("/api/v1/tokens", json={"name": "ci", "scope": READER}).json()["token"]
    until = add_seconds(backlog.clock(), 600)
    key = {"Idempotency-Key": "turn"}
    turned = root.post("/api/v1/tokens/ci/rotate", json={"until": until}, headers=key)
    second = turned.json()["token"]
    body = next(backlog.records("access", "token/")).body
    assert all(token_holds(body, one, backlog.clock()) for one in (first, second))
    assert "token" not in root.post("/api/v1/tokens/ci/rotate", json={"until": until}, headers=key).json()
    third = root.post("/api/v1/tokens/ci/rotate", json={}).json()["token"]
    body = next(backlog.records("access", "token/")).body
    assert [bool(token_holds(body, one, backlog.clock())) for one in (first, second, third)] == [False, False, True]
    assert root.delete("/api/v1/tokens/ci").status_code == 204
    assert root.get("/api/v1/tokens").json()["tokens"] == []
    assert [one["state"] for one in root.get("/api/v1/tokens?all=true").json()["tokens"]] == ["revoked"]
    assert root.delete("/api/v1/tokens/ci").status_code == 404


def test_no_token_is_issued_that_never_holds(root: Client) -> None:
    """
    An end that lies behind is told, when a token is issued and when it is rotated.
    """
    scope = {"role": "reader"}
    past = {"expires_at": "2001-01-01T00:00:00.000000Z"}
    refused = root.post("/api/v1/tokens", json={"name": "ci", "scope": scope, **past})
    assert [fault["pointer"] for fault in refused.json()["errors"]] == ["/expires_at"]
    assert root.post("/api/v1/tokens", json={"name": "ci", "scope": scope}).status_code == 201
    assert root.post("/api/v1/tokens/ci/rotate", json=past).status_code == 422
    assert root.post("/api/v1/tokens/ci/rotate", json={"expires_at": ""}).status_code == 200


def test_lists_go_page_by_page(root: Client) -> None:
    """
    A page ends with the name that the next one goes on behind; what is no parameter is told.
    """
    for name in ("c", "a", "b"):
        root.post("/api/v1/people", json={"name": name, "scope": READER})
        root.post("/api/v1/tokens", json={"name": name, "scope": READER})
    for subject in ("people", "tokens"):
        seen, after = [], ""
        while True:
            page = root.get(f"/api/v1/{subject}", params={"limit": "2", "after": after}).json()
            seen += [one["name"] for one in page[subject]]
            after = page["next"]
            if not after:
                break
        assert seen == ["a", "b", "c"]
        wrong = root.get(f"/api/v1/{subject}?limit=0&x=1").json()
        assert {one["pointer"] for one in wrong["errors"]} == {"/limit", "/x"}


def test_a_webhook_is_added_changed_and_removed(telling: Client, backlog: Backlog) -> None:
    """
    Its secret stands in one answer; it is changed under `If-Match`, paused and let go on, and keeps what is not named.
    """
    asked = {"name": "chat", "url": URL, "types": ["created"], "query": "P0", "envs": ["prod"]}
    key = {"Idempotency-Key": "job-2"}
    added = telling.post("/api/v1/webhooks", json=asked, headers=key)
    secret = added.json()["secret"]
    assert (added.status_code, is_secret(secret)) == (201, True)
    assert "secret" not in telling.post("/api/v1/webhooks", json=asked, headers=key).json()
    place = "/api/v1/webhooks/chat"
    assert telling.patch(place, json={"off": "they move"}).status_code == 428
    stopped = telling.patch(place, json={"off": "they move"}, headers={"If-Match": added.headers["etag"]})
    assert (stopped.json()["off"], stopped.json()["query"], stopped.json()["types"]) == ("they move", "P0", ["created"])
    assert stopped.json()["scope"]["envs"] == ["prod"]
    assert telling.patch(place, json={"off": ""}, headers={"If-Match": added.headers["etag"]}).status_code == 412
    answer = telling.patch(place, json={"envs": None, "types": None, "off": ""}, headers={"If-Match": "*"})
    wider = answer.json()
    assert (wider["scope"], wider["types"], wider["state"]) == (None, None, "on")
    assert telling.post(f"{place}/rotate", json={}).status_code == 428
    this = {"If-Match": answer.headers["etag"], "Idempotency-Key": "job-3"}
    turned = telling.post(f"{place}/rotate", json={}, headers=this).json()["secret"]
    assert turned != secret
    again = telling.post(f"{place}/rotate", json={}, headers=this)
    assert (again.status_code, "secret" in again.json()) == (200, False)
    assert secret not in telling.get("/api/v1/webhooks").text + telling.get(place).text
    assert telling.delete(place).status_code == 204
    assert telling.get(place).status_code == 404


def test_a_webhook_goes_nowhere_that_was_not_named(root: Client, telling: Client) -> None:
    """
    A host that the service does not name is 403, for a new webhook as for a changed one; a test says that none is.
    """
    asked = {"name": "chat", "url": "https://elsewhere.example.org/"}
    assert [one.post("/api/v1/webhooks", json=asked).status_code for one in (root, telling)] == [403, 403]
    telling.post("/api/v1/webhooks", json={"name": "chat", "url": URL})
    moved = telling.patch("/api/v1/webhooks/chat", json={"url": asked["url"]}, headers={"If-Match": "*"})
    assert moved.status_code == 403
    told = root.post("/api/v1/webhooks/chat/test")
    assert (told.status_code, told.json()["code"]) == (409, "no_outlets")


def test_a_webhook_is_tried_and_told_of(telling: Client, backlog: Backlog) -> None:
    """
    A test says what a real receiver answered; the log and what is kept aside are listed; replaying is asked for once.
    """
    receiver = Receiver()
    telling.post("/api/v1/webhooks", json={"name": "chat", "url": receiver.url})
    assert telling.post("/api/v1/webhooks/chat/test").json()["delivered"] is True
    receiver.answer = lambda _: (500, {})
    told = telling.post("/api/v1/webhooks/chat/test").json()
    assert (told["delivered"], told["status"]) == (False, 500)
    receiver.stop()
    gone = telling.post("/api/v1/webhooks/chat/test").json()
    assert (gone["delivered"], gone["status"]) == (False, 0)
    assert gone["error"]
    for part in ("deliveries", "kept"):
        assert telling.get(f"/api/v1/webhooks/chat/{part}").json() == {part: []}
    key = {"Idempotency-Key": "again"}
    answers = [telling.post("/api/v1/webhooks/chat/replay", json={"since": "all"}, headers=key).json() for _ in "ab"]
    assert [(one["after"], one["replayed"]) for one in answers] == [("", False), ("", True)]


def test_a_repeated_password_is_no_second_change(root: Client, backlog: Backlog) -> None:
    """
    The same request again is answered as the first, and changes nothing; with another password it is refused.
    """
    asked = {"name": "dan", "scope": READER, "password": PASSWORD}
    answers = [root.post("/api/v1/people", json=asked, headers={"Idempotency-Key": "k"}) for _ in "ab"]
    assert [(one.status_code, one.json()["revision"]) for one in answers] == [(201, 1), (201, 1)]
    another = {**asked, "password": "another password"}
    other = root.post("/api/v1/people", json=another, headers={"Idempotency-Key": "k"})
    assert (other.status_code, other.json()["code"]) == (422, "request_reused")
    body = next(record.body for record in backlog.records("access", "person/dan"))
    this = {"If-Match": '"1"', "Idempotency-Key": "l"}
    changed = [root.patch("/api/v1/people/dan", json={"password": word}, headers=this).status_code
               for word in ("another password", "another password", PASSWORD)]  # fmt: skip
    assert changed == [200, 200, 422]
    assert next(record.body for record in backlog.records("access", "person/dan"))["password"] != body["password"]


def test_any_revision_under_a_key_is_one_change(telling: Client, backlog: Backlog) -> None:
    """
    `If-Match: *` sent twice under one Idempotency-Key is answered twice and done once, for people and webhooks.
    """
    telling.post("/api/v1/people", json={"name": "dan", "scope": READER})
    telling.post("/api/v1/webhooks", json={"name": "chat", "url": URL})
    for number, (place, asked, other) in enumerate([
        ("/api/v1/people/dan", {"scope": {"role": "worker"}}, {"scope": {"role": "admin"}}),
        ("/api/v1/webhooks/chat", {"off": "they move"}, {"off": "they moved"}),
    ]):  # fmt: skip
        this = {"If-Match": "*", "Idempotency-Key": f"any-{number}"}
        told = [telling.patch(place, json=asked, headers=this) for _ in "ab"]
        assert [(one.status_code, one.headers["etag"]) for one in told] == [(200, '"2"')] * 2
        refused = telling.patch(place, json=other, headers=this)
        assert (refused.status_code, refused.json()["code"]) == (422, "request_reused")
    this = {"If-Match": "*", "Idempotency-Key": "any-3"}
    turned = [telling.post("/api/v1/webhooks/chat/rotate", json={}, headers=this) for _ in "ab"]
    assert [(one.status_code, "secret" in one.json()) for one in turned] == [(200, True), (200, False)]
    assert telling.get("/api/v1/webhooks/chat").headers["etag"] == '"3"'


@pytest.mark.parametrize(
    "body",
    [
        {"command": "begin_session", "name": "ann", "digest": "d" * 64, "expires_at": "2030-01-01T00:00:00.000000Z"},
        {"command": "touch_session", "digest": "d" * 64},
        {
            "command": "admit_person",
            "name": "ann",
            "subject": "https://id.example.org 7",
            "scope": {"role": "admin"},
            "digest": "d" * 64,
            "expires_at": "2030-01-01T00:00:00.000000Z",
        },
        {"command": "note_deliveries", "holder": "me", "until": "2030-01-01T00:00:00.000000Z"},
    ],
)
def test_nobody_opens_a_session_of_somebody_else(root: Client, backlog: Backlog, body: dict[str, object]) -> None:
    """
    What the service does once somebody has proved who they are is no command of an admin, who could act as them by it.
    """
    root.post("/api/v1/people", json={"name": "ann", "scope": {"role": "worker"}})
    refused = root.post("/api/v1/commands", json={"body": body})
    assert (refused.status_code, refused.json()["code"]) == (403, "not_allowed"), refused.text
    assert list(backlog.records("session")) == list(backlog.records("delivery")) == []
