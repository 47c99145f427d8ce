"""
Signing in by OIDC, from the button to the session, and what attackers make of it. The provider is a fake one.
"""

from __future__ import annotations

import json
import logging
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from litestar import Litestar
from litestar.testing import TestClient

from backlog_store.access import Scope
from backlog_store.backends.memory import open_memory
from backlog_store.backlog import Backlog
from backlog_store.commands import RemovePerson, SetPerson
from backlog_store.credentials import hashed
from backlog_store.errors import AlreadyExists, ConfigError, InvalidInput
from backlog_store.executors.local import LocalExecutor
from backlog_store.instants import to_datetime
from backlog_store.query import EventQuery
from backlog_store.rules.admitted import people
from backlog_store.testing.clocks import CountingIds, StepClock
from backlog_store.verify import verify
from backlog_store.web.api import api_routes
from backlog_store.web.app import create_app
from backlog_store.web.oidc.config import OidcSetup, load_config
from backlog_store.web.oidc.flow import OidcSignIn
from backlog_store.web.oidc.provider import Provider
from backlog_store.web.pages import page_routes
from backlog_store.web.pages.render import CSP
from backlog_store.web.serving import sign_in_for
from backlog_store.web.signing_in import Accounts, Proxy
from backlog_store.web.site import Site
from backlog_store.webhooks.outlets import Answer
from tests.web.fake_provider import CLIENT, ISSUER, SECRET, FakeProvider, by_hand, rsa_key, signed

SITE = "https://backlog.example"
HERE = {"Origin": SITE}
CALLBACK = "/sign-in/oidc/callback"
FILE = """
name = "Exämple <b>"
issuer = "https://id.example"
client_id = "backlog"
public_url = "https://backlog.example"
groups = [
  {group = "sre", role = "admin"},
  {group = "web", role = "worker", services = ["web"]},
]
"""
CONFIG = load_config(FILE, is_toml=True)
Client = TestClient[Litestar]


class World:
    """
    A service where people sign in at a fake provider, and its clock.
    """

    def __init__(self) -> None:
        self.clock = StepClock(step_s=0.01)
        self.backlog = Backlog(LocalExecutor(open_memory()), actor="root", clock=self.clock, ids=CountingIds())
        self.fake = FakeProvider()
        self.passed = 0.0  # of the clock that caches go by
        self.provider = Provider(CONFIG, SECRET, asked=self.fake.ask, now=lambda: self.passed)

    def client(self, *, oidc: bool = True, proxy: Proxy | None = None, base: str = SITE) -> Client:
        """
        Return a browser of its own.
        """
        accounts = Accounts(self.backlog, oidc=OidcSignIn(self.provider) if oidc else None, proxy=proxy)
        site = Site(backlog=self.backlog, sign_in=accounts, has_sign_out=True)
        return TestClient(create_app(site, [*api_routes(), *page_routes()]), base_url=base)

    def begun(self, client: Client, back: str = "/items?q=x") -> dict[str, list[str]]:
        """
        Press the button, and return what the provider is asked.
        """
        response = client.get("/sign-in/oidc", params={"back": back}, follow_redirects=False)
        assert response.status_code == 303, response.text
        place = urlsplit(response.headers["location"])
        assert f"{place.scheme}://{place.netloc}{place.path}" == f"{ISSUER}/auth"
        return parse_qs(place.query)

    def ended(self, client: Client, asked: dict[str, list[str]], **answer: str) -> Any:
        """
        Come back from the provider with its answer.
        """
        self.fake.now = to_datetime(self.clock()).timestamp()
        said = {"code": self.fake.code(asked), "state": asked["state"][0], **answer}
        return client.get(CALLBACK, params={name: one for name, one in said.items() if one}, follow_redirects=False)

    def entered(self, client: Client, **claims: Any) -> Any:
        """
        Sign in as somebody of whom the provider says this.
        """
        self.fake.claims = claims
        return self.ended(client, self.begun(client))

    def names(self) -> dict[str, Scope]:
        """
        Return who may sign in.
        """
        return {one.name: one.scope for _, one in self.backlog.read(lambda reader: list(people(reader)))}


@pytest.fixture
def world() -> World:
    """
    Return a store that nobody may sign in to yet.
    """
    return World()


def refused(response: Any, status: int = 403) -> str:
    """
    Return why nobody was let in; the page is the one to sign in, and there is no session.
    """
    assert response.status_code == status, response.text
    assert "backlog_session" not in response.headers.get("set-cookie", "")
    assert response.headers["content-security-policy"] == CSP
    text = str(response.text)
    return text.partition('id="refused">')[2].partition("</p>")[0]


def is_in(client: Client) -> bool:
    """
    Tell whether a browser is signed in.
    """
    return client.get("/api/v1/items").status_code == 200


# --- the way in -------------------------------------------------------------------------------------------------------


def test_somebody_signs_in_at_the_provider_and_is_back_where_they_were(world: World) -> None:
    """
    The button leads there with PKCE, state and nonce; the answer leads back, with a session of one's own and a role.
    """
    with world.client() as client:
        page = client.get("/sign-in?back=/items").text
        assert 'href="/sign-in/oidc?back=%2Fitems">Sign in with Exämple &lt;b&gt;</a>' in page
        asked = world.begun(client)
        drawn = ("state", "nonce", "code_challenge")
        assert {name: values[0] for name, values in asked.items() if name not in drawn} == {
            "response_type": "code", "client_id": CLIENT, "redirect_uri": SITE + CALLBACK,
            "scope": "openid profile email", "code_challenge_method": "S256",
        }  # fmt: skip
        assert all(len(asked[name][0]) >= 43 for name in drawn)
        response = world.ended(client, asked)
        assert (response.status_code, response.headers["location"]) == (303, "/items?q=x")
        assert is_in(client)
        assert "ann" in client.get("/now").text
        assert world.names() == {"ann": Scope(role="admin")}
        assert client.post("/sign-out", headers=HERE, follow_redirects=False).status_code == 303
        assert not is_in(client)


def test_cookies_are_bound_to_the_host_and_end(world: World) -> None:
    """
    The cookie of a sign-in lives ten minutes at most, and is taken away when the answer is there.
    """
    with world.client() as client:
        begun = client.get("/sign-in/oidc", follow_redirects=False)
        cookie = begun.headers["set-cookie"]
        for part in ("__Host-backlog_oidc=", "Path=/", "Max-Age=600", "HttpOnly", "SameSite=lax", "Secure"):
            assert part in cookie
        assert SECRET not in begun.headers["location"]
        response = world.ended(client, parse_qs(urlsplit(begun.headers["location"]).query))
        cookies = response.headers.get_list("set-cookie")
        assert any(one.startswith("__Host-backlog_session=") and "Secure" in one for one in cookies)
        assert any(one.startswith("__Host-backlog_oidc=") and "Max-Age=0" in one for one in cookies)


def test_the_secret_goes_to_the_provider_alone_and_encoded(world: World) -> None:
    """
    By Basic, each part encoded first; into the form where a provider takes it no other way.
    """
    import base64

    with world.client() as client:
        world.entered(client)
        method, url, headers, body = world.fake.asked[-2]
        assert (method, url) == ("POST", f"{ISSUER}/token")
        kind, _, pair = headers["Authorization"].partition(" ")
        assert (kind, base64.b64decode(pair)) == ("Basic", b"backlog:it+is+%27secret%27+%26+has+signs")
        assert b"secret" not in body
    other = World()
    other.fake.metadata["token_endpoint_auth_methods_supported"] = ["client_secret_post"]
    with other.client() as client:
        assert other.entered(client).status_code == 303
        _, _, headers, body = other.fake.asked[-2]
        assert "Authorization" not in headers
        assert parse_qs(body.decode())["client_secret"] == [SECRET]
    assert SECRET not in repr(OidcSetup(CONFIG, SECRET))


def test_role_and_reach_are_taken_anew_at_each_sign_in(world: World) -> None:
    """
    Another group is another role from then on, also for a session that is there; each change stands in the history.
    """
    with world.client() as first, world.client() as second:
        world.entered(first, groups=["sre"])
        world.entered(second, groups=["web"])
        assert world.names() == {"ann": Scope(role="worker", services=("web",))}
        assert first.get("/api/v1/export").status_code == 200
        body = {"body": {"command": "remove_person", "name": "ben"}}
        assert first.post("/api/v1/commands", json=body, headers=HERE).status_code == 403
    world.entered(world.client(), groups=["web"])
    events = world.backlog.events(EventQuery(limit=None))
    told = [(event.type, event.actor, event.meta["scope"]["role"], event.meta["subject"]) for event in events]
    assert told == [("person_set", "sign-in", "admin", f"{ISSUER} 1234"),
                    ("person_set", "sign-in", "worker", f"{ISSUER} 1234")]  # fmt: skip
    assert world.backlog.read(verify).faults == []


def test_a_session_of_oidc_lives_as_long_as_any_other(world: World) -> None:
    """
    Twelve hours without a request end it.
    """
    with world.client() as client:
        world.entered(client)
        world.clock.advance(11 * 3_600)
        assert is_in(client)
        world.clock.advance(13 * 3_600)
        assert not is_in(client)


def test_who_loses_the_groups_is_put_out_when_they_come_again(world: World) -> None:
    """
    Nobody comes in without a group that counts; what sessions they have end, and the page says what is the matter.
    """
    with world.client() as client, world.client() as other:
        world.entered(client)
        reason = refused(world.entered(other, groups=["cooks"]))
        assert "is in no group that may use this backlog" in reason
        again = world.ended(other, world.begun(other, "/items/bl_1"))
        assert '<input type="hidden" name="back" value="/items/bl_1">' in again.text
        assert 'href="/sign-in/oidc?back=%2Fitems%2Fbl_1"' in again.text
        assert not is_in(client)
        assert "comes without groups" in refused(world.entered(other, groups=None))
        assert "is no list of names" in refused(world.entered(other, groups={"sre": True}))


def test_what_the_id_token_lacks_is_asked_of_userinfo(world: World) -> None:
    """
    Groups and name come from there, what the token says goes before; what is about somebody else counts for nothing.
    """
    world.fake.metadata["userinfo_endpoint"] = f"{ISSUER}/me"
    world.fake.info = {"sub": "1234", "groups": ["web"], "preferred_username": "eve"}
    with world.client() as client:
        assert world.entered(client, groups=None).status_code == 303
        assert world.names() == {"ann": Scope(role="worker", services=("web",))}
        world.fake.info = {"sub": "1", "groups": ["sre"]}
        assert "(sub)" in refused(world.entered(client, groups=None))
        before = len(world.fake.asked)
        world.entered(client)
        assert [url for _, url, _, _ in world.fake.asked[before:]] == [f"{ISSUER}/token"]  # it was all there


# --- who somebody is --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("claimed", ["ann", "Ann", "ＡＮＮ"])
@pytest.mark.parametrize("removed", [False, True])
def test_no_claim_takes_over_an_account(world: World, claimed: str, removed: bool) -> None:
    """
    A name of somebody here, who was here, or that reads like one, lets nobody in who is not that person.
    """
    world.backlog.execute(SetPerson(name="ann", scope=Scope(role="reader"), over=0, password="x"))
    if removed:
        world.backlog.execute(RemovePerson(name="ann"))
    before = world.backlog.read(lambda reader: reader.records("access", ["person/ann"]))
    with world.client() as client:
        assert "is somebody else" in refused(world.entered(client, preferred_username=claimed))
        assert not is_in(client)
    assert world.backlog.read(lambda reader: reader.records("access", ["person/ann"])) == before


def test_a_name_of_somebody_of_the_provider_is_not_given_twice(world: World) -> None:
    """
    Who comes with another's name stays out; who is renamed there stays who they are here.
    """
    with world.client() as client:
        world.entered(client, sub="1")
        assert "is somebody else" in refused(world.entered(world.client(), sub="2"))
        assert world.entered(world.client(), sub="1", preferred_username="ann.smith").status_code == 303
        assert world.entered(world.client(), sub="2", preferred_username="ben").status_code == 303
        assert world.names().keys() == {"ann", "ben"}


def test_an_administrator_says_that_a_person_is_a_subject(world: World) -> None:
    """
    Then the provider signs that person in, and the password no longer does; one subject is one person.
    """
    kept = hashed("correct horse battery", world.backlog.ids)
    subject = f"{ISSUER} 1234"
    world.backlog.execute(SetPerson(name="ann", scope=Scope(role="reader"), over=0, password=kept))
    with world.client() as client, world.client() as other:
        form = {"name": "ann", "password": "correct horse battery"}
        assert other.post("/sign-in", data=form, headers=HERE, follow_redirects=False).status_code == 303
        world.backlog.execute(SetPerson(name="ann", scope=Scope(role="reader"), over=1, subject=subject))
        assert not is_in(other)
        assert other.post("/sign-in", data=form, headers=HERE, follow_redirects=False).status_code == 422
        assert world.entered(client, preferred_username="somebody").status_code == 303
        assert world.names() == {"ann": Scope(role="admin")}
        with pytest.raises(InvalidInput):
            world.backlog.execute(SetPerson(name="ann", scope=Scope(role="reader"), over=3, password=kept))
        with pytest.raises(AlreadyExists):
            world.backlog.execute(SetPerson(name="ben", scope=Scope(role="reader"), over=0, subject=subject))
        world.backlog.execute(SetPerson(name="ann", scope=Scope(role="reader"), over=3, password=kept, subject=""))
        assert not is_in(client)
        assert other.post("/sign-in", data=form, headers=HERE, follow_redirects=False).status_code == 303


@pytest.mark.parametrize("subject", ["1234", "https://id.example", "https://id.example ", "ftp://x 1", "https://é 1"])
def test_a_subject_says_whose_it_is(world: World, subject: str) -> None:
    """
    Issuer and subject, with a space between; half of it is nobody.
    """
    with pytest.raises(InvalidInput):
        world.backlog.execute(SetPerson(name="ann", scope=Scope(role="reader"), over=0, subject=subject))


def test_who_was_removed_here_stays_out(world: World) -> None:
    """
    Whatever the provider says, and under another name, too; until an administrator says the subject again.
    """
    with world.client() as client:
        world.entered(client)
        world.backlog.execute(RemovePerson(name="ann"))
        assert not is_in(client)
        for claims in ({}, {"preferred_username": "ann.smith"}):
            assert "was removed from this backlog" in refused(world.entered(client, **claims))
        with pytest.raises(InvalidInput):  # it would be another one's account, or theirs: which, has to be said
            world.backlog.execute(SetPerson(name="ann", scope=Scope(role="reader"), over=0, password="x"))
        again = SetPerson(name="ann", scope=Scope(role="reader"), over=0, subject=f"{ISSUER} 1234")
        world.backlog.execute(again)
        assert world.entered(client).status_code == 303


def test_only_the_provider_signs_its_people_in(world: World) -> None:
    """
    A proxy that names one of them says nothing, and where OIDC is switched off their sessions hold no longer.
    """
    with world.client() as client:
        world.entered(client)
        proxied = world.client(proxy=Proxy(addresses=("testclient",), header="X-Forwarded-User"))
        assert proxied.get("/api/v1/items", headers={"X-Forwarded-User": "ann"}).status_code == 401
        without = world.client(oidc=False)
        without.cookies.update(dict(client.cookies))
        assert not is_in(without)
        assert without.get("/sign-in/oidc", follow_redirects=False).status_code == 404
        assert "Sign in with" not in without.get("/sign-in").text


@pytest.mark.parametrize("name", ["", "a\nb", " ann", "x" * 201, "a\u202eb", None])
def test_a_name_that_cannot_be_one_here_lets_nobody_in(world: World, name: str | None) -> None:
    """
    Empty, too long, not printable, or none at all.
    """
    with world.client() as client:
        refused(world.entered(client, preferred_username=name))
    assert world.names() == {}


# --- attacks on the way -----------------------------------------------------------------------------------------------


def test_an_answer_of_another_browser_lets_nobody_in(world: World) -> None:
    """
    Who is led to the answer of an attacker's sign-in is not signed in as the attacker: it is another browser's.
    """
    with world.client() as attacker, world.client() as victim:
        asked = world.begun(attacker)
        assert "did not begin this sign-in" in refused(world.ended(victim, asked), 400)
        own = world.begun(victim)
        assert "did not begin this sign-in" in refused(world.ended(victim, asked), 400)
        assert world.ended(victim, own).status_code == 303  # and what was under way is not lost by that


def test_a_code_of_another_sign_in_is_worth_nothing(world: World) -> None:
    """
    A code that was caught elsewhere, in one's own answer, fails by the verifier; by the nonce where that is no help.
    """
    with world.client() as attacker, world.client() as victim:
        caught = world.fake.code(world.begun(victim))
        own = world.begun(attacker)
        assert "does not know this sign-in" in refused(world.ended(attacker, own, code=caught))
        own = world.begun(attacker)
        world.fake.claims = {"nonce": "n" * 64}
        assert "(nonce)" in refused(world.ended(attacker, own))


def test_an_answer_is_good_for_once(world: World) -> None:
    """
    The same answer again fails at the provider; and where that one would give tokens again, here.
    """
    with world.client() as client:
        asked = world.begun(client)
        kept = dict(client.cookies)
        assert world.ended(client, asked).status_code == 303
        client.cookies.clear()
        client.cookies.update(kept)
        assert "completed already" in refused(world.ended(client, asked))
        assert not is_in(client)


def test_a_sign_in_does_not_last_longer_than_ten_minutes(world: World) -> None:
    """
    Also for a browser that keeps its cookie.
    """
    with world.client() as client:
        asked = world.begun(client)
        world.clock.advance(601)
        assert "too long ago" in refused(world.ended(client, asked), 400)


@pytest.mark.parametrize(
    "cookie", ["", "x", "a" * 64, "a" * 64 + "..", "a" * 64 + ".1e9.", "a" * 64 + ".9999999999999.", "é"]
)
def test_a_damaged_cookie_is_as_none(world: World, cookie: str) -> None:
    """
    Whatever a browser sends for it, the answer is a page.
    """
    with world.client() as client:
        headers = [(b"Cookie", f"__Host-backlog_oidc={cookie}".encode())]
        response = client.get(CALLBACK, params={"code": "c", "state": "s"}, headers=headers, follow_redirects=False)
        refused(response, 400)


def test_an_answer_of_another_provider_is_refused(world: World) -> None:
    """
    Mix-up (RFC 9207): another issuer never, none only where the provider does not say that it names itself.
    """
    with world.client() as client:
        assert "another provider" in refused(world.ended(client, world.begun(client), iss="https://evil.example"), 400)
        assert world.ended(client, world.begun(client), iss=ISSUER).status_code == 303
        world.fake.metadata["authorization_response_iss_parameter_supported"] = True
        world.passed += 4_000
        assert "another provider" in refused(world.ended(client, world.begun(client)), 400)
        assert world.ended(client, world.begun(client), iss=ISSUER).status_code == 303


def test_an_error_of_the_provider_is_told_without_its_words(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """
    Known ones in our words, others by name, and nothing that could be markup or a message of somebody else's.
    """
    evil = "<script>alert(1)</script> call 555"
    with world.client() as client, caplog.at_level(logging.WARNING, "backlog_store.web.sign_in"):
        for error, told in (("access_denied", "access was denied"), ("login_required", "says login_required"),
                            (evil, "says no error that has a name")):  # fmt: skip
            asked = world.begun(client)
            response = world.ended(client, asked, code="", error=error, error_description=evil + "\nX")
            assert told in refused(response, 400)
            assert "script" not in response.text
            assert "555" not in response.text
    assert "\n" not in "".join(record.getMessage() for record in caplog.records)


@pytest.mark.parametrize("query", ["code=a&code=b&state={state}", "code=a&state={state}&state=x", "state={state}",
                                   "code=%C3%A9&state={state}", "code=" + "a" * 5_000 + "&state={state}"])  # fmt: skip
def test_an_odd_answer_is_refused_before_the_provider_is_asked(world: World, query: str) -> None:
    """
    What stands there twice, a code that is none, and none at all.
    """
    with world.client() as client:
        asked = world.begun(client)
        before = len(world.fake.asked)
        response = client.get(f"{CALLBACK}?{query.format(state=asked['state'][0])}", follow_redirects=False)
        refused(response, 400)
        assert len(world.fake.asked) == before


@pytest.mark.parametrize("back", ["//evil.example", "https://evil.example/", "/\\evil", "///evil.example/x"])
def test_signing_in_leads_nowhere_else(world: World, back: str) -> None:
    """
    Whatever the link, or a cookie that somebody wrote, says: the way back is a path of this site.
    """
    import base64

    with world.client() as client:
        asked = world.begun(client, back=back)
        name, value = next((one.name, one.value or "") for one in client.cookies.jar)
        secret, at, _ = value.strip('"').split(".")
        client.cookies.clear()
        client.cookies.set(name, f"{secret}.{at}.{base64.urlsafe_b64encode(back.encode()).rstrip(b'=').decode()}")
        response = world.ended(client, asked)
        assert (response.status_code, response.headers["location"]) == (303, "/now")


def test_a_page_elsewhere_signs_nobody_in(world: World) -> None:
    """
    A link from another site shows the page with the button, and goes no further by itself.
    """
    with world.client() as client:
        for site in ("cross-site", "same-site"):
            headers = {"Sec-Fetch-Site": site}
            response = client.get("/sign-in/oidc?back=/items", headers=headers, follow_redirects=False)
            assert response.headers["location"] == "/sign-in?back=%2Fitems"
            assert "set-cookie" not in response.headers
        response = client.get("/sign-in/oidc", headers={"Sec-Fetch-Site": "same-origin"}, follow_redirects=False)
        assert response.headers["location"].startswith(ISSUER)


def test_people_come_back_to_the_public_address_alone(world: World) -> None:
    """
    Under another name of the service the button leads to the public one first; without TLS it leads nowhere.
    """
    with world.client(base="https://other.example") as client:
        response = client.get("/sign-in/oidc?back=/items", follow_redirects=False)
        assert response.headers["location"] == f"{SITE}/sign-in?back=%2Fitems"
    with world.client(base="http://backlog.example") as client:
        assert client.get("/sign-in/oidc", follow_redirects=False).status_code == 403
        assert client.get(f"{CALLBACK}?code=a&state=b").status_code == 403
        assert "Sign in with" not in client.get("/sign-in").text


# --- the provider's side ----------------------------------------------------------------------------------------------


def test_a_forged_token_lets_nobody_in(world: World) -> None:
    """
    Whoever could stand between this service and the provider's tokens: without its keys there is no way in.
    """
    now = to_datetime(world.clock()).timestamp()
    claims = {"iss": ISSUER, "aud": CLIENT, "sub": "1", "iat": now, "exp": now + 300, "preferred_username": "ann",
              "groups": ["sre"]}  # fmt: skip
    pem = rsa_key().as_pem(private=False)
    for made in (lambda full: by_hand(full, "none"), lambda full: by_hand(full, "HS256", pem),
                 lambda full: signed(full, rsa_key("evil"), kid="rsa-1")):  # fmt: skip
        with world.client() as client:
            asked = world.begun(client)
            token = made({**claims, "nonce": asked["nonce"][0]})  # type: ignore[no-untyped-call]
            world.fake.said["/token"] = Answer(status=200, body=json.dumps({"id_token": token}).encode())
            refused(world.ended(client, asked))
            assert not is_in(client)
    assert world.names() == {}


def test_a_new_key_of_the_provider_is_looked_for_once(world: World) -> None:
    """
    A key that was turned is found at once; a flood of unknown ones asks the provider once in 30 s.
    """

    def looked() -> int:
        return sum(url.endswith("/jwks") for _, url, _, _ in world.fake.asked)

    with world.client() as client:
        world.entered(client)
        world.passed += 31
        world.fake.key = rsa_key("new")
        world.fake.keys = [rsa_key("new")]
        assert world.entered(client).status_code == 303
        assert looked() == 2
        world.passed += 31
        for number in range(20):
            world.fake.header = {"kid": f"unknown-{number}"}
            assert "does not show" in refused(world.entered(client))
        assert looked() == 3
        world.passed += 31
        refused(world.entered(client))
        assert looked() == 4


def fails() -> Answer:
    """
    Be away.
    """
    raise TimeoutError("no answer within 5 s")


AWAY: dict[str, Any] = {
    "silent": fails,
    "redirecting": Answer(status=302, body=b""),
    "broken": Answer(status=500, body=b"<h1>oops"),
    "huge": Answer(status=200, body=b" " * (256 * 1024 + 1)),
    "no JSON": Answer(status=200, body=b"<html>"),
    "no text": Answer(status=200, body=b"\xff\xfe"),
    "a list": Answer(status=200, body=b"[]"),
    "nested": Answer(status=200, body=b"[" * 100_000),
    "empty": Answer(status=200, body=b"{}"),
}


@pytest.mark.parametrize("path", ["/.well-known/openid-configuration", "/jwks", "/token"])
@pytest.mark.parametrize("how", AWAY)
def test_a_provider_that_is_no_use_is_told_as_that(
    world: World, path: str, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    """
    Away, slow, redirecting, huge or broken: a page says so, the log says why.
    """
    world.fake.said[path] = AWAY[how]
    with world.client() as client, caplog.at_level(logging.WARNING, "backlog_store.web.sign_in"):
        response = client.get("/sign-in/oidc", follow_redirects=False)
        if response.status_code == 303:
            response = world.ended(client, parse_qs(urlsplit(response.headers["location"]).query))
        assert "gave no answer that can be used" in refused(response, 502)
        assert f"under {response.headers['x-request-id']}" in response.text
        assert "oidc_provider: " in caplog.text
        assert "Sign in with" in response.text


@pytest.mark.parametrize(
    "wrong",
    [
        {"issuer": "https://evil.example"}, {"issuer": ISSUER + "/"}, {"issuer": None},
        {"token_endpoint": "http://id.example/token"}, {"token_endpoint": None}, {"jwks_uri": "file:///etc/passwd"},
        {"authorization_endpoint": "javascript:alert(1)"}, {"authorization_endpoint": "https://id.example/\r\nX: y"},
        {"authorization_endpoint": "https://a@id.example/"}, {"authorization_endpoint": "https://id.example/#x"},
        {"response_types_supported": ["id_token"]}, {"code_challenge_methods_supported": ["plain"]},
        {"id_token_signing_alg_values_supported": ["none", "HS256"]},
        {"id_token_signing_alg_values_supported": "RS256"},
        {"token_endpoint_auth_methods_supported": ["private_key_jwt"]},
    ],
)  # fmt: skip
def test_a_description_that_does_not_do_is_refused(world: World, wrong: dict[str, Any]) -> None:
    """
    Of another issuer, with addresses that are not encrypted or none, or without what is needed.
    """
    world.fake.metadata = wrong
    with world.client() as client:
        refused(client.get("/sign-in/oidc", follow_redirects=False), 502)


def test_a_provider_that_is_away_is_left_alone_for_a_while(world: World) -> None:
    """
    A crowd at the door asks it once in five seconds, and passwords go on working; once it is back, it is asked again.
    """
    kept = hashed("correct horse battery", world.backlog.ids)
    world.backlog.execute(SetPerson(name="ben", scope=Scope(role="reader"), over=0, password=kept))
    world.fake.said["/.well-known/openid-configuration"] = fails
    with world.client() as client:
        for _ in range(10):
            assert client.get("/sign-in/oidc", follow_redirects=False).status_code == 502
        assert len(world.fake.asked) == 1
        form = {"name": "ben", "password": "correct horse battery"}
        assert client.post("/sign-in", data=form, headers=HERE, follow_redirects=False).status_code == 303
        del world.fake.said["/.well-known/openid-configuration"]
        world.passed += 6
        assert world.entered(client).status_code == 303


def test_a_slow_provider_holds_up_a_bounded_number(world: World) -> None:
    """
    Beyond eight requests to it at the same time the next one is told to come again, and holds up no thread.
    """
    slots = [world.provider._slot() for _ in range(8)]
    for slot in slots:
        slot.__enter__()
    with world.client() as client:
        assert client.get("/sign-in/oidc", follow_redirects=False).status_code == 502
        for slot in slots:
            slot.__exit__(None, None, None)
        assert client.get("/sign-in/oidc", follow_redirects=False).status_code == 303


# --- the log, and starting --------------------------------------------------------------------------------------------


def test_the_log_says_who_signed_in_and_who_did_not(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """
    Each sign-in and each refusal, by password and by OIDC, is a line; no secret is in one.
    """
    kept = hashed("correct horse battery", world.backlog.ids)
    world.backlog.execute(SetPerson(name="ben", scope=Scope(role="reader"), over=0, password=kept))
    with world.client() as client, caplog.at_level(logging.INFO, "backlog_store.web.sign_in"):
        world.entered(client)
        refused(world.entered(client, sub="2", preferred_username="ben"))
        for name, password in (("ben", "correct horse battery"), ("ben", "wrong horse battery"), ("wrong horse", "x")):
            client.post("/sign-in", data={"name": name, "password": password}, headers=HERE, follow_redirects=False)
    lines = [(record.getMessage(), record.told["actor"]) for record in caplog.records]  # type: ignore[attr-defined]
    assert lines == [
        ("signed in by OIDC", "ann"),
        (f"sign-in by OIDC refused: oidc_name: the name 'ben' is somebody else's here (subject '{ISSUER} 2')", ""),
        ("signed in by password", "ben"),
        ("sign-in by password refused: name and password do not go together", "ben"),
        ("sign-in by password refused: name and password do not go together", ""),
    ]
    assert "horse" not in caplog.text
    assert SECRET not in caplog.text


def test_a_service_of_oidc_starts_only_where_it_can_work(world: World) -> None:
    """
    An administrator may come by a group; the public name has to be one that the service answers to.
    """
    wide: dict[str, Any] = {"host": "0.0.0.0", "port": 1, "everybody": True, "oidc": OidcSetup(CONFIG, SECRET)}
    assert isinstance(sign_in_for(world.backlog, **wide), Accounts)
    assert isinstance(sign_in_for(world.backlog, **wide, names=["backlog.example"]), Accounts)
    with pytest.raises(ConfigError):
        sign_in_for(world.backlog, **wide, names=["other.example"])
    with pytest.raises(ConfigError):
        sign_in_for(world.backlog, **{**wide, "host": "127.0.0.1", "everybody": False})
    modest = load_config(FILE.replace('role = "admin"', 'role = "reader"'), is_toml=True)
    with pytest.raises(ConfigError):
        sign_in_for(world.backlog, **{**wide, "oidc": OidcSetup(modest, SECRET)})
