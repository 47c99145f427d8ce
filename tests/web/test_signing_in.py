"""
Signing in: tokens that hold and that no longer do, people's sessions, a proxy's word, and pages of others.
"""

from __future__ import annotations

from typing import Any

import pytest
from litestar import Litestar
from litestar.testing import TestClient

from backlog_store.access import Role, Scope
from backlog_store.backends.memory import open_memory
from backlog_store.backlog import Backlog
from backlog_store.codec import encode
from backlog_store.commands import EndSessions, IssueToken, RevokeToken, RotateToken, SetPerson
from backlog_store.credentials import digest_of, drawn_token, hashed, is_password, key_of
from backlog_store.errors import ConfigError
from backlog_store.executors.local import LocalExecutor
from backlog_store.instants import add_seconds
from backlog_store.query import EventQuery
from backlog_store.testing.clocks import CountingIds, StepClock
from backlog_store.verify import verify
from backlog_store.web.api import api_routes
from backlog_store.web.app import create_app
from backlog_store.web.pages import page_routes
from backlog_store.web.serving import sign_in_for
from backlog_store.web.signing_in import Accounts, Proxy, Tries
from backlog_store.web.site import Site

SITE = "https://backlog.example"
HERE = {"Origin": SITE}
PASSWORD = "correct horse battery"


class World:
    """
    A store with its clock, and clients of a service on it.
    """

    def __init__(self) -> None:
        self.clock = StepClock(step_s=0.01)
        self.backlog = Backlog(LocalExecutor(open_memory()), actor="root", clock=self.clock, ids=CountingIds())

    def client(self, base: str = SITE, **how: Any) -> TestClient[Litestar]:
        """
        Return a client of its own.
        """
        site = Site(backlog=self.backlog, sign_in=Accounts(self.backlog, **how), has_sign_out=True)
        return TestClient(create_app(site, [*api_routes(), *page_routes()]), base_url=base)

    def token(self, name: str = "ci", role: Role = "worker", *, expires_in_s: int = 0) -> str:
        """
        Issue a token.
        """
        secret = drawn_token(self.backlog.ids)
        until = add_seconds(self.clock(), expires_in_s) if expires_in_s else ""
        self.backlog.execute(IssueToken(key=key_of(secret), digest=digest_of(secret), last=secret[-4:], name=name,
                                        scope=Scope(role=role), expires_at=until))  # fmt: skip
        return secret

    def person(self, name: str = "ann", role: Role = "worker") -> None:
        """
        Let a person sign in.
        """
        kept = hashed(PASSWORD, self.backlog.ids)
        self.backlog.execute(SetPerson(name=name, scope=Scope(role=role), over=0, password=kept))


@pytest.fixture
def world() -> World:
    """
    Return a store that nobody may sign in to yet.
    """
    return World()


def asked(client: TestClient[Litestar], token: str) -> int:
    """
    Return the status that a token is answered with.
    """
    return client.get("/api/v1/items", headers={"Authorization": f"Bearer {token}"}).status_code


def entered(client: TestClient[Litestar], password: str = PASSWORD, name: str = "ann", **more: str) -> Any:
    """
    Send the form to sign in.
    """
    data = {"name": name, "password": password, **more}
    return client.post("/sign-in", data=data, headers=HERE, follow_redirects=False)


def test_a_token_holds_until_it_expires_or_is_revoked(world: World) -> None:
    """
    A wrong, cut, expired or revoked token is 401; a rotated one holds for as long as was said, and its successor on.
    """
    client = world.client()
    first = world.token(expires_in_s=3_600)
    assert asked(client, first) == 200
    for wrong in (first[:-1] + "0", first[:-1], first + "0", "", "blt_x", first.replace("blt_", "blt-")):
        assert asked(client, wrong) == 401
    second = drawn_token(world.backlog.ids, key_of(first))
    until = add_seconds(world.clock(), 60)
    world.backlog.execute(RotateToken(name="ci", digest=digest_of(second), last=second[-4:], until=until))
    assert [asked(client, one) for one in (first, second)] == [200, 200]
    world.clock.advance(61)
    assert [asked(client, one) for one in (first, second)] == [401, 200]
    world.clock.advance(3_600)
    assert asked(client, second) == 401
    other = world.token("other")
    world.backlog.execute(RevokeToken(name="other"))
    assert asked(client, other) == 401


def test_no_secret_is_kept(world: World) -> None:
    """
    Neither a token nor a password stands in any record or event, and no event tells their digests.
    """
    secret = world.token()
    world.person()
    reader_of = world.backlog.read
    records = reader_of(lambda reader: [*reader.scan("access", "", "", 100)])
    events = world.backlog.events(EventQuery(limit=None))
    text = encode(records).decode() + repr(events)
    assert secret not in text
    assert PASSWORD not in text
    assert digest_of(secret) not in repr(events)
    assert "scrypt" not in repr(events)
    assert [event.type for event in events] == ["token_issued", "person_set"]
    assert reader_of(verify).faults == []


def test_a_token_in_an_address_is_refused(world: World) -> None:
    """
    Whatever else a request brings, a token in its address is 400: it stands in logs already.
    """
    token = world.token()
    response = world.client().get(f"/api/v1/items?q={token}", headers={"Authorization": f"Bearer {token}"})
    assert (response.status_code, response.json()["code"]) == (400, "token_in_url")


def test_a_person_signs_in_and_out(world: World) -> None:
    """
    A page leads to the form and the form back to the page; the cookie is a __Host- one; signing out ends the session.
    """
    world.person()
    with world.client() as client:
        page = client.get("/items?q=x", headers={"Accept": "text/html"}, follow_redirects=False)
        assert page.headers["location"] == "/sign-in?back=%2Fitems%3Fq%3Dx"
        response = entered(client, back="/items?q=x")
        assert (response.status_code, response.headers["location"]) == (303, "/items?q=x")
        cookie = response.headers["set-cookie"]
        for part in ("__Host-backlog_session=", "; Path=/;", "; HttpOnly", "; SameSite=lax", "; Secure"):
            assert part in cookie
        kept = dict(client.cookies)
        assert client.get("/items").status_code == 200
        assert client.post("/sign-out", headers=HERE, follow_redirects=False).status_code == 303
        client.cookies.update(kept)
        assert client.get("/api/v1/items").status_code == 401


@pytest.mark.parametrize("back", ["///evil.example/x", "////evil.example", "//[", "https://evil.example/", "/\\evil"])
def test_signing_in_leads_nowhere_else(world: World, back: str) -> None:
    """
    Wherever a link to the form says to go then, it is a path of this site.
    """
    world.person()
    with world.client() as client:
        assert client.get("/sign-in", params={"back": back}).status_code == 200
        assert entered(client, back=back).headers["location"] == "/now"


def test_who_has_not_signed_in_keeps_no_memory_busy(world: World) -> None:
    """
    A form to sign in is short; more is not even read.
    """
    world.person()
    with world.client() as client:
        assert entered(client, back="/" + "x" * 100_000).status_code == 413


def test_a_session_is_drawn_anew_at_each_sign_in(world: World) -> None:
    """
    A session that somebody planted before signing in is worth nothing, and the one before ends.
    """
    world.person()
    with world.client() as client:
        client.cookies.set("__Host-backlog_session", "a" * 64)
        first = entered(client).headers["set-cookie"].partition(";")[0].partition("=")[2]
        assert first != "a" * 64
        client.cookies.clear()
        client.cookies.set("__Host-backlog_session", first)
        second = entered(client).headers["set-cookie"].partition(";")[0].partition("=")[2]
        client.cookies.clear()
        for secret, status in ((first, 401), ("a" * 64, 401), (second, 200)):
            headers = {"Cookie": f"__Host-backlog_session={secret}"}
            assert client.get("/api/v1/items", headers=headers).status_code == status


@pytest.mark.parametrize("used", [True, False])
def test_a_session_ends_when_nobody_uses_it_and_after_a_week(world: World, used: bool) -> None:
    """
    Twelve hours without a request end it; used all the time it ends after seven days.
    """
    world.person()
    with world.client() as client:
        entered(client)
        hours = 0
        while client.get("/api/v1/items").status_code == 200:
            step = 11 if used else 13
            world.clock.advance(step * 3_600)
            hours += step
        assert hours == (176 if used else 13)


def test_an_administrator_ends_the_sessions_of_a_person(world: World) -> None:
    """
    Signing a person out, or giving a new password, holds at once.
    """
    world.person()
    with world.client() as client:
        entered(client)
        world.backlog.execute(EndSessions(name="ann"))
        assert client.get("/api/v1/items").status_code == 401
        entered(client)
        kept = hashed("another password", world.backlog.ids)
        world.backlog.execute(SetPerson(name="ann", scope=Scope(role="reader"), over=1, password=kept))
        assert client.get("/api/v1/items").status_code == 401


def test_a_page_of_others_writes_nothing(world: World) -> None:
    """
    With a cookie alone, a write without Origin or from another one is refused; a token needs none.
    """
    world.person()
    token = world.token()
    with world.client() as client:
        entered(client)
        for headers in ({}, {"Origin": "https://evil.example"}, {"Origin": "null"}):
            refused = client.post("/api/v1/items", json={"title": "x"}, headers=headers)
            assert (refused.status_code, refused.json()["code"]) == (403, "foreign_origin")
        assert client.post("/api/v1/items", json={"title": "x"}, headers=HERE).status_code == 201
        client.cookies.clear()
        program = {"Authorization": f"Bearer {token}"}
        assert client.post("/api/v1/items", json={"title": "y"}, headers=program).status_code == 201


def test_no_password_travels_unencrypted(world: World) -> None:
    """
    From elsewhere and without TLS the form is not shown, and a password that comes anyway is refused.
    """
    world.person()
    client = world.client("http://backlog.example")
    assert 'type="password"' not in client.get("/sign-in").text
    data = {"name": "ann", "password": PASSWORD}
    response = client.post("/sign-in", data=data, headers={"Origin": "http://backlog.example"})
    assert (response.status_code, response.json()["code"]) == (403, "not_encrypted")


def test_tries_that_fail_are_slowed_down(world: World) -> None:
    """
    After a few wrong passwords even the right one has to wait, and is let in then; unknown names are told alike.
    """
    world.person()
    with world.client() as client:
        told = [entered(client, "wrong password", name=name) for name in ("ann", "ann", "ann", "nobody")]
        assert [one.status_code for one in told] == [422] * 4
        assert told[0].text == told[3].text.replace("nobody", "ann")
        late = entered(client)
        assert late.status_code == 429
        world.clock.advance(float(late.headers["retry-after"]))
        assert entered(client).status_code == 303


def test_what_is_remembered_of_tries_is_bounded() -> None:
    """
    Trying ever new names from ever new addresses does not fill the memory.
    """
    tries = Tries()
    for number in range(20_000):
        tries.failed(f"n{number}", f"a{number}", "2026-03-01T09:30:00.000000Z")
    assert len(tries._failed) <= 10_000


def test_a_proxy_is_believed_where_it_is_named(world: World) -> None:
    """
    Its header names a known person once; from another address it says nothing.
    """
    world.person()
    proxy = Proxy(addresses=("testclient",), header="X-Forwarded-User")
    client = world.client(proxy=proxy)
    known = {"X-Forwarded-User": "ann"}
    assert client.get("/api/v1/items", headers=known).status_code == 200
    assert client.post("/api/v1/items", json={"title": "x"}, headers=known).status_code == 403
    assert client.post("/api/v1/items", json={"title": "x"}, headers=known | HERE).status_code == 201
    assert client.get("/api/v1/items", headers={"X-Forwarded-User": "eve"}).status_code == 401
    assert (
        client.get("/api/v1/items", headers=[("X-Forwarded-User", "ann"), ("X-Forwarded-User", "eve")]).status_code
        == 401
    )
    other = world.client(proxy=Proxy(addresses=("192.0.2.1",), header="X-Forwarded-User"))
    assert other.get("/api/v1/items", headers=known).status_code == 401


def test_who_reaches_a_part_says_not_who_may_sign_in(world: World) -> None:
    """
    An administrator of one env issues no token at all: it could reach more than its issuer does.
    """
    world.person()
    secret = drawn_token(world.backlog.ids)
    body = {"body": {"command": "issue_token", "key": key_of(secret), "digest": digest_of(secret), "last": "abcd",
                     "name": "x", "scope": {"role": "admin"}}}  # fmt: skip
    for scope, status in (
        (Scope(role="admin"), 200), (Scope(role="admin", envs=("prod",)), 403), (Scope(role="admin", sources=()), 403),
        (Scope(role="worker"), 403),
    ):  # fmt: skip
        revision = world.backlog.read(lambda reader: reader.records("access", ["person/ann"]))["person/ann"].revision
        world.backlog.execute(SetPerson(name="ann", scope=scope, over=revision))
        client = world.client(proxy=Proxy(addresses=("testclient",), header="X-User"))
        response = client.post("/api/v1/commands", json=body, headers={"X-User": "ann", **HERE})
        assert response.status_code == status, response.text


def test_a_wide_bind_needs_sign_in_and_somebody_who_can(world: World) -> None:
    """
    Without sign-in, and without anybody who may administer, an address that others reach is refused.
    """
    wide: dict[str, Any] = {"host": "0.0.0.0", "port": 1}
    with pytest.raises(ConfigError):
        sign_in_for(world.backlog, everybody=False, **wide)
    world.token("reader", "reader")
    with pytest.raises(ConfigError):
        sign_in_for(world.backlog, everybody=True, **wide)
    world.token("boss", "admin")
    assert isinstance(sign_in_for(world.backlog, everybody=True, **wide), Accounts)
    with pytest.raises(ConfigError):
        sign_in_for(world.backlog, everybody=True, proxy=Proxy(header="X-User"), **wide)


def test_names_of_the_service_are_held(world: World) -> None:
    """
    Where names are given, a request under another one is 421, whatever its token.
    """
    token = world.token()
    client = world.client(hosts=["backlog.example"])
    assert asked(client, token) == 200
    assert client.get("/api/v1/items", headers={"Host": "evil.example"}).status_code == 421


def test_a_password_is_known_again_and_no_other() -> None:
    """
    Each hash has a salt of its own, and a damaged one fits nothing.
    """
    ids = CountingIds()
    one, two = hashed(PASSWORD, ids), hashed(PASSWORD, ids)
    assert one != two
    assert [is_password(PASSWORD, kept) for kept in (one, two, "", "md5$x", one[:-1])] == [True, True] + [False] * 3
    assert not is_password(PASSWORD + " ", one)
