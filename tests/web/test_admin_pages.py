"""
The pages for admins, and one's own account: plain forms, a secret on one page, and nothing for who may not.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from html import unescape
from typing import Any

import pytest
from litestar import Litestar
from litestar.testing import TestClient
from msgspec.structs import replace

from backlog_store.access import Role, Scope
from backlog_store.admission import open_sessions
from backlog_store.backlog import Backlog
from backlog_store.commands import SetPerson
from backlog_store.credentials import hashed, is_password, token_holds
from backlog_store.rules.admitted import people, token_named
from backlog_store.rules.hooking import webhooks
from backlog_store.web.api import api_routes
from backlog_store.web.app import create_app
from backlog_store.web.pages import page_routes
from backlog_store.web.signing_in import Accounts
from backlog_store.web.site import Site
from backlog_store.webhooks.outlets import outlets_from
from tests.web.conftest import Client, of_site
from tests.webhooks.receiver import Receiver

PASSWORD, OTHER = "correct horse battery", "staple correct horse"
HERE = {"Origin": "https://backlog.example"}


@pytest.fixture
def root(backlog: Backlog) -> Iterator[Client]:
    """
    Return the client of who may everything, of a service that webhooks may leave.
    """
    outlets = replace(outlets_from("hooks.example.org,127.0.0.1", "127.0.0.0/8"), within_s=120.0)
    with of_site(backlog, outlets=outlets) as client:
        client.headers["x-test-asker"] = "root"
        yield client


def sent(client: Client, path: str, **fields: Any) -> Any:
    """
    Send a form, and do not follow where it leads.
    """
    return client.post(path, data=fields, follow_redirects=False)


def hidden(text: str, name: str) -> str:
    """
    Return the value of a hidden field of a page.
    """
    found = re.search(rf'name="{name}" value="([^"]*)"', text)
    assert found, name
    return unescape(found[1])


def secret_in(text: str) -> str:
    """
    Return the secret that a page shows; empty where it shows none.
    """
    found = re.search(r'readonly value="([^"]+)"', text)
    return found[1] if found else ""


def named(backlog: Backlog) -> dict[str, Scope]:
    """
    Return the scope of each person.
    """
    return {one.name: one.scope for _, one in backlog.read(lambda reader: list(people(reader)))}


@pytest.mark.parametrize("path", ["/people", "/tokens", "/webhooks", "/account"])
def test_an_empty_page_teaches(root: Client, path: str) -> None:
    """
    Each page is there before there is anything to show, brings its own rules, and has one heading.
    """
    response = root.get(path)
    assert response.status_code == 200
    assert len(re.findall(r"<h1", response.text)) == 1
    assert not re.search(r"<script(?![^>]*\ssrc=)|\son\w+=|style=", response.text)
    assert path == "/account" or 'class="empty"' in response.text


def test_only_admins_are_led_to_them(asking: Callable[[str], Client]) -> None:
    """
    The link stands for who may follow it, and for nobody else.
    """
    assert 'href="/people"' in asking("root").get("/now").text
    assert 'href="/people"' not in asking("ann").get("/now").text


def test_a_person_is_added_changed_and_removed(root: Client, backlog: Backlog) -> None:
    """
    Role and reach are set by name, one a line; what nobody may reach stays none; a stale form changes nothing.
    """
    made = sent(root, "/people", name="dan o/x", role="worker", services="web\r\ndb\r\n", password=PASSWORD)
    assert (made.status_code, made.headers["location"].partition("?")[0]) == (303, "/people/dan%20o/x")
    assert named(backlog) == {"dan o/x": Scope(role="worker", services=("web", "db"))}
    page = root.get("/people/dan o/x").text
    seen = hidden(page, "revision")
    assert sent(root, "/people/dan o/x", do="scope", role="reader", envs="(none)", revision=seen).status_code == 303
    assert named(backlog) == {"dan o/x": Scope(role="reader", envs=())}
    assert ">(none)</textarea>" in root.get("/people/dan o/x").text
    assert sent(root, "/people/dan o/x", do="scope", role="admin", revision=seen).status_code == 409
    assert named(backlog) == {"dan o/x": Scope(role="reader", envs=())}
    assert sent(root, "/people/dan o/x", do="remove").status_code == 303
    assert root.get("/people/dan o/x").status_code == 404


def test_what_was_typed_is_shown_again_where_it_is_refused(root: Client, backlog: Backlog) -> None:
    """
    A short password, a taken name and a role that there is not are told, with the rest of the form as it was.
    """
    short = sent(root, "/people", name="dan", role="worker", services="web", password="short")
    assert short.status_code == 422
    assert 'value="dan"' in short.text
    assert ">web</textarea>" in short.text
    assert "short" not in re.sub(r"<p>.*?</p>", "", short.text, flags=re.DOTALL)
    sent(root, "/people", name="dan", role="worker")
    assert sent(root, "/people", name="dan", role="worker").status_code == 409
    assert sent(root, "/people", name="eli", role="king").status_code == 422
    assert list(named(backlog)) == ["dan"]


def test_a_token_is_shown_once(root: Client, backlog: Backlog) -> None:
    """
    The page that answers the form shows it; sent again, that form shows nothing and issues nothing.
    """
    form = {"name": "ruff", "role": "reporter", "sources": "ruff", "expires_at": "+90d",
            "once": hidden(root.get("/tokens").text, "once")}  # fmt: skip
    first = sent(root, "/tokens", **form)
    secret = secret_in(first.text)
    now = backlog.clock()
    _, token = backlog.read(lambda reader: token_named(reader, "ruff", now))
    body = next(backlog.records("access", "token/")).body
    assert token_holds(body, secret, now)
    assert (token.scope, bool(token.expires_at)) == (Scope(role="reporter", sources=("ruff",)), True)
    again = sent(root, "/tokens", **form)
    assert (again.status_code, secret in again.text) == (200, False)
    assert len(list(backlog.records("access", "token/"))) == 1
    for path in ("/tokens", "/tokens/ruff"):
        assert secret not in root.get(path).text


def test_a_token_is_rotated_and_revoked(root: Client, backlog: Backlog) -> None:
    """
    A new secret is shown once; the one before holds as long as was said; a revoked one is shown when asked for.
    """
    first = secret_in(sent(root, "/tokens", name="ci", role="worker").text)
    second = secret_in(sent(root, "/tokens/ci", do="rotate", until="+1d").text)
    body = next(backlog.records("access", "token/")).body
    assert all(token_holds(body, one, backlog.clock()) for one in (first, second))
    assert sent(root, "/tokens/ci", do="rotate", until="nonsense").status_code == 422
    assert sent(root, "/tokens/ci", do="revoke").status_code == 303
    assert "/tokens/ci" not in root.get("/tokens").text
    assert "/tokens/ci" in root.get("/tokens?all=1").text
    assert "revoked" in root.get("/tokens/ci").text


def test_a_webhook_is_added_tried_paused_and_removed(root: Client, backlog: Backlog) -> None:
    """
    Each button does what it says: a ping of a real receiver, a pause, going on, other events, a new secret.
    """
    receiver = Receiver()
    made = sent(root, "/webhooks", name="chat", url=receiver.url, types="created\nclosed", query="P0", envs="prod")
    secret = secret_in(made.text)
    assert secret.startswith("whsec_")
    assert "answered 204" in sent(root, "/webhooks/chat", do="test").text
    receiver.stop()
    assert "No ping was delivered" in sent(root, "/webhooks/chat", do="test").text
    assert sent(root, "/webhooks/chat", do="pause").status_code == 303
    assert sent(root, "/webhooks/chat", do="edit", url=receiver.url, types="created").status_code == 303
    [(_, one)] = backlog.read(lambda reader: list(webhooks(reader)))
    assert (one.off, one.types, one.query, one.scope) == ("paused", ("created",), "", None)
    assert sent(root, "/webhooks/chat", do="resume").status_code == 303
    assert secret_in(sent(root, "/webhooks/chat", do="rotate").text) not in ("", secret)
    for since in ("", "all", "-2d"):
        assert sent(root, "/webhooks/chat", do="replay", since=since).status_code == 303
    away = sent(root, "/webhooks/chat", do="edit", url="https://elsewhere.example/")
    assert (away.status_code, "elsewhere.example/" in away.text) == (403, True)
    assert secret not in root.get("/webhooks").text + root.get("/webhooks/chat").text
    assert sent(root, "/webhooks/chat", do="remove").status_code == 303
    assert root.get("/webhooks/chat").status_code == 404


def test_a_service_that_sends_nowhere_says_so(asking: Callable[[str], Client]) -> None:
    """
    Without a host that webhooks may go to there is no form, but the setting that names one.
    """
    page = asking("root").get("/webhooks").text
    assert "BACKLOG_WEBHOOK_HOSTS" in page
    assert 'name="url"' not in page


# --- one's own account ------------------------------------------------------------------------------------------------


@pytest.fixture
def signed(backlog: Backlog) -> Callable[..., TestClient[Litestar]]:
    """
    Return a function that gives the client of a person who has signed in.
    """
    accounts = Accounts(backlog)
    app = create_app(Site(backlog=backlog, sign_in=accounts, has_sign_out=True), [*api_routes(), *page_routes()])

    def enter(name: str = "ann", role: Role = "reader", password: str = PASSWORD) -> TestClient[Litestar]:
        if name not in named(backlog):
            kept = hashed(password, backlog.ids)
            backlog.execute(SetPerson(name=name, scope=Scope(role=role), over=0, password=kept))
        client: TestClient[Litestar] = TestClient(app, base_url=HERE["Origin"])
        client.headers.update(HERE)
        assert sent(client, "/sign-in", name=name, password=password).status_code == 303
        return client

    return enter


def sessions(backlog: Backlog, name: str = "ann") -> int:
    """
    Count the sessions of a person.
    """
    return len(open_sessions(backlog, name))


def test_everybody_changes_their_own_password(signed: Callable[..., Any], backlog: Backlog) -> None:
    """
    Whoever knows the one that holds sets another; other sessions end, and the one that asked goes on.
    """
    first, other = signed(), signed()
    form = {"do": "password", "current": PASSWORD, "password": OTHER, "again": OTHER}
    wrong = sent(first, "/account", **{**form, "current": "something else here"})
    assert (wrong.status_code, "do not go together" in wrong.text) == (422, True)
    assert sent(first, "/account", **{**form, "again": PASSWORD}).status_code == 422
    assert sent(first, "/account", **{**form, "password": "short", "again": "short"}).status_code == 422
    assert sessions(backlog) == 2
    assert sent(first, "/account", **form).status_code == 303
    assert is_password(OTHER, next(backlog.records("access", "person/ann")).body["password"])
    assert (first.get("/account").status_code, sessions(backlog)) == (200, 1)
    assert other.get("/account", follow_redirects=False).status_code in (303, 401)


def test_everybody_ends_their_own_sessions_alone(signed: Callable[..., Any], backlog: Backlog) -> None:
    """
    One of them, or all; the page marks the one that asks, and another person's are not there.
    """
    first, second, ben = signed(), signed(), signed("ben")
    page = first.get("/account").text
    assert page.count("<b>this one</b>") == 1
    own = set(re.findall(r'name="session" value="(\w+)"', page))
    others = re.findall(r'name="session" value="(\w+)"', ben.get("/account").text)
    assert (len(own), own & set(others)) == (2, set())
    assert sent(first, "/account", do="end", session=others[0]).status_code == 404
    assert sent(first, "/account", do="end", session=next(iter(own))).status_code == 303
    assert (sessions(backlog), sessions(backlog, "ben")) == (1, 1)
    left = next(one for one in (first, second) if one.get("/account", follow_redirects=False).status_code == 200)
    assert sent(left, "/account", do="end").status_code == 303
    assert (sessions(backlog), sessions(backlog, "ben")) == (0, 1)


def test_a_page_of_another_site_changes_no_account(signed: Callable[..., Any], backlog: Backlog) -> None:
    """
    A cookie that a browser sends by itself is not enough: the form has to come from here.
    """
    client = signed("root", "admin")
    for path, form in (("/account", {"do": "end"}), ("/people", {"name": "eve", "role": "admin"}),
                       ("/tokens", {"name": "eve", "role": "admin"})):  # fmt: skip
        answer = client.post(path, data=form, headers={"Origin": "https://evil.example"}, follow_redirects=False)
        assert answer.status_code == 403
    assert (list(named(backlog)), sessions(backlog, "root")) == (["root"], 1)


def test_where_nobody_signs_in_the_account_says_so(root: Client) -> None:
    """
    On one's own machine there is no password to change, and no session to end.
    """
    assert sent(root, "/account", do="end").status_code == 404
    assert "has to sign in" in root.get("/account").text
