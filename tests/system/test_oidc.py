"""
Signing in at a real provider, in Debian's Chromium: a certified one from npm, with what it does by default.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from msgspec import Struct

from backlog_store import open_backlog
from backlog_store.commands import RemovePerson
from backlog_store.query import EventQuery
from tests.system.browsing import Served, answers, browser, free_port

SOURCE = Path(__file__).parent / "oidc_provider"
SECRET = "a secret of tests: +/= and space"
GROUPS = {"ann": ["sre", "staff"], "ben": ["staff"], "cid": ["staff"], "eve": []}
_START_S = 120.0


class Place(Struct):
    """
    A service whose people sign in at a real provider.
    """

    store: str
    url: str
    provider: str
    log: Path


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """
    The system's browser.
    """
    with browser() as one:
        yield one


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """
    A provider of its own, and a service set up for it.
    """
    folder = tmp_path_factory.mktemp("oidc")
    port, at = free_port(), free_port()
    url, provider = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{at}"
    node = _provider(folder, at, f"{url}/sign-in/oidc/callback")
    try:
        setup = folder / "oidc.toml"
        setup.write_text(
            f'name = "Acme"\nissuer = "{provider}"\nclient_id = "backlog"\npublic_url = "{url}"\n'
            'scopes = ["openid", "profile", "groups"]\nnetworks = ["127.0.0.0/8"]\n'
            '[[groups]]\ngroup = "sre"\nrole = "admin"\n[[groups]]\ngroup = "staff"\nrole = "reader"\n'
        )
        (folder / "secret").write_text(SECRET + "\n")
        store = f"sqlite:///{folder}/backlog.db"
        variables = {"BACKLOG_OIDC": str(setup), "BACKLOG_OIDC_CLIENT_SECRET": SECRET}
        with Served(store, folder, "--sign-in", "--log", port=port, environment=variables) as served:
            yield Place(store=store, url=url, provider=provider, log=served.log)
    finally:
        node.terminate()
        node.wait(20)


def _provider(folder: Path, port: int, redirect: str) -> subprocess.Popen[bytes]:
    home = folder / "provider"
    shutil.copytree(SOURCE, home)
    npm = ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"]
    subprocess.run(npm, cwd=home, check=True, stdin=subprocess.DEVNULL)
    program = ["node", "provider.mjs", str(port), "backlog", SECRET, redirect, json.dumps(GROUPS)]
    with (home / "log").open("wb") as log:
        node = subprocess.Popen(program, cwd=home, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
    end = time.monotonic() + _START_S
    while not answers(port):
        with suppress(subprocess.TimeoutExpired):
            pytest.fail(f"it ended with {node.wait(0.05)}: {(home / 'log').read_text()}")
        assert time.monotonic() < end, f"no answer in {_START_S} s: {(home / 'log').read_text()}"
    return node


class Visit:
    """
    A browser that signs in; what pages of this service complain of is kept.
    """

    def __init__(self, chromium: Any, place: Place, *, script: bool = True) -> None:
        self.place = place
        self.context = chromium.new_context(base_url=place.url, java_script_enabled=script)
        self.context.set_default_timeout(120_000)
        self.page = self.context.new_page()
        self.complaints: list[str] = []
        self.page.on("console", self._said)

    def _said(self, message: Any) -> None:
        if message.type in ("error", "warning") and self.page.url.startswith(self.place.url):
            self.complaints.append(message.text)

    def begin(self, back: str = "/items") -> None:
        """
        Ask for a page, and press the button of the page to sign in instead.
        """
        self.page.goto(back, wait_until="load")
        assert urlsplit(self.page.url).path == "/sign-in"
        self.page.get_by_role("link", name="Sign in with Acme").click()
        self.page.wait_for_url(f"{self.place.provider}/**", wait_until="load")

    def sign_in(self, name: str, back: str = "/items") -> Any:
        """
        Sign in at the provider, and consent; return the response that it ended with here.
        """
        self.begin(back)
        self.page.fill("input[name=login]", name)
        self.page.fill("input[name=password]", "any")
        self.page.click("button[type=submit]")
        self.page.wait_for_load_state("load")
        return self.consent()

    def consent(self) -> Any:
        """
        Let the provider tell who this is.
        """
        with self.page.expect_navigation(url=f"{self.place.url}/**", wait_until="load") as there:
            self.page.click("button[type=submit]")
        return there.value

    def close(self) -> None:
        """
        Go away. A page that complained fails the test.
        """
        self.context.close()
        assert self.complaints == [], self.complaints


@pytest.mark.parametrize("script", [True, False])
def test_people_sign_in_at_a_real_provider(chromium: Any, place: Place, script: bool) -> None:
    """
    From a page to the provider and back to that page, as who the provider says, with and without JavaScript.
    """
    visit = Visit(chromium, place, script=script)
    visit.sign_in("ann", back="/board")
    assert visit.page.url == f"{place.url}/board"
    assert visit.page.locator(".me").inner_text() == "ann"
    assert visit.context.request.get("/api/v1/people").status == 200
    assert {one["name"] for one in visit.context.cookies() if one["name"].startswith("backlog")} == {"backlog_session"}
    visit.page.get_by_role("button", name="Sign out").click()
    visit.page.wait_for_url(f"{place.url}/sign-in", wait_until="load")
    visit.page.get_by_role("link", name="Sign in with Acme").click()  # the session there goes on: nothing is asked
    visit.page.wait_for_url(f"{place.url}/now", wait_until="load")
    assert visit.page.locator(".me").inner_text() == "ann"
    visit.close()
    with open_backlog(place.store) as backlog:
        events = [event for event in backlog.events(EventQuery(limit=None)) if event.meta.get("name") == "ann"]
    assert [(event.type, event.meta["subject"]) for event in events] == [("person_set", f"{place.provider} ann")]


def test_a_group_of_the_provider_is_a_role(chromium: Any, place: Place) -> None:
    """
    Groups come from where this provider says them by default, UserInfo; nobody comes in without one that counts.
    """
    visit = Visit(chromium, place)
    visit.sign_in("ben")
    assert visit.context.request.get("/api/v1/items").status == 200
    assert visit.context.request.get("/api/v1/people").status == 403
    visit.close()
    other = Visit(chromium, place)
    assert other.sign_in("eve").status == 403
    assert "in no group" in other.page.locator("#refused").inner_text() or "without groups" in other.page.content()
    assert other.context.request.get("/api/v1/items").status == 401
    other.context.close()


def test_an_answer_is_good_for_one_browser_and_once(chromium: Any, place: Place) -> None:
    """
    The address that the provider led back to lets nobody in again, neither here nor in another browser.
    """
    visit, other = Visit(chromium, place), Visit(chromium, place)
    seen: list[str] = []
    visit.page.on("request", lambda request: seen.append(request.url) if "/callback?" in request.url else None)
    visit.sign_in("ben")
    cookies = [one for one in visit.context.cookies() if one["name"] == "backlog_session"]
    assert len(seen) == 1
    for browser_of in (visit, other):
        browser_of.context.clear_cookies()
        assert browser_of.context.request.get(seen[0], max_redirects=0).status == 400
        assert browser_of.context.request.get("/api/v1/items").status == 401
    visit.context.add_cookies(cookies)
    assert visit.context.request.get("/api/v1/items").status == 200
    for one in (visit, other):
        one.context.close()


def test_who_gives_up_there_is_told_here(chromium: Any, place: Place) -> None:
    """
    The provider's own error comes back as a page that says it in our words, with the button to begin again.
    """
    visit = Visit(chromium, place)
    visit.begin()
    with visit.page.expect_navigation(url=f"{place.url}/**", wait_until="load") as there:
        visit.page.get_by_text("Cancel").click()
    assert there.value.status == 400
    assert "access was denied" in visit.page.locator("#refused").inner_text()
    visit.page.get_by_role("link", name="Sign in with Acme").click()
    visit.page.wait_for_url(f"{place.provider}/**", wait_until="load")
    visit.context.close()


def test_who_was_removed_here_stays_out_and_the_log_says_so(chromium: Any, place: Place) -> None:
    """
    Each refusal is a line with the id of its request, and the secret is in none.
    """
    visit = Visit(chromium, place)
    visit.sign_in("cid")
    with open_backlog(place.store, actor="root") as backlog:
        backlog.execute(RemovePerson(name="cid"))
    assert visit.context.request.get("/api/v1/items").status == 401
    visit.context.clear_cookies()
    assert visit.sign_in("cid").status == 403
    assert "was removed" in visit.page.locator("#refused").inner_text()
    visit.context.close()
    log = place.log.read_text(encoding="utf-8")
    line = next(line for line in log.splitlines() if "oidc_removed" in line)
    assert f"(subject '{place.provider} cid')" in line
    assert "request_id=" in line
    assert SECRET not in log
