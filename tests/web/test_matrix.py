"""
Who may what: every route by every role, on objects that are one's own, others' and nobody's.
"""

from __future__ import annotations

from typing import Any

import pytest
from litestar import Litestar
from litestar.testing import TestClient
from msgspec import Struct

from backlog_store.access import ROLES, Role, Scope, permits
from backlog_store.admission import issue_token
from backlog_store.backends.memory import open_memory
from backlog_store.backlog import Backlog
from backlog_store.commands import BeginSession, Create, IssueToken, Report, SetPerson, SetWebhook
from backlog_store.credentials import digest_of, drawn_token, key_of
from backlog_store.executors.local import LocalExecutor
from backlog_store.instants import add_seconds
from backlog_store.model import Draft
from backlog_store.planning import Planner, keep_in_store
from backlog_store.testing.clocks import CountingIds, StepClock
from backlog_store.web.api import api_routes
from backlog_store.web.app import create_app
from backlog_store.web.pages import page_routes
from backlog_store.web.routing import Route
from backlog_store.web.signing_in import Accounts
from backlog_store.web.site import Site
from backlog_store.webhooks.outlets import Outlets
from backlog_store.webhooks.subscribing import subscribe

ROUTES = [*api_routes(), *page_routes()]


class Row(Struct, frozen=True, kw_only=True):
    """
    How a route is asked: *path* and *body* with ``{id}`` and ``{key}`` for those of the object.

    *beyond* is the status on what is not one's own, and *missing* on what is nobody's (0: as on one's own). *needs* is
    what the command inside asks of the role, where that is more than the route's own action; *person*: for people.
    """

    path: str
    body: Any = None
    form: str = ""
    lines: str = ""
    beyond: int = 0
    missing: int = 0
    needs: str = ""
    person: bool = False


def _of_item(path: str, **more: Any) -> Row:
    return Row(path=path, beyond=404, missing=404, **more)


def _of_account(subject: str, rest: str = "", **more: Any) -> Row:
    return Row(path=f"/api/v1{subject}/{{account}}{rest}", missing=404, **more)


_ITEM, _KEY = "/api/v1/items/{id}", "/api/v1/items/by-key/prod/{key}"
_RUN, _PLAN = "/api/v1/runs/{run}", "/api/v1/plans/{plan}"
#: A row a route; `test_every_route_has_a_row` fails for one that is not here.
ROWS: dict[str, Row] = {
    "GET /api/v1/items": Row(path="/api/v1/items"),
    "POST /api/v1/items": Row(path="/api/v1/items", body={"title": "x", "service": "web"}),
    "GET /api/v1/items/{id:str}": _of_item(_ITEM),
    "GET /api/v1/items/by-key/{env:str}/{key:path}": _of_item(_KEY),
    "PUT /api/v1/items/by-key/{env:str}/{key:path}": Row(
        path=_KEY, body={"title": "x", "service": "web"}, beyond=403),
    "PATCH /api/v1/items/{id:str}": _of_item(_ITEM, body={"title": "y"}),
    "POST /api/v1/items/{id:str}/move": _of_item(_ITEM + "/move", body={"to": "in_progress"}),
    "POST /api/v1/items/{id:str}/close": _of_item(_ITEM + "/close", body={"reason": "wont_fix"}),
    "POST /api/v1/items/{id:str}/reopen": _of_item(_ITEM + "/reopen", body={"message": "x"}),
    "POST /api/v1/items/{id:str}/snooze": _of_item(_ITEM + "/snooze", body={"until": "2027-01-01T00:00:00.000000Z"}),
    "POST /api/v1/items/{id:str}/comments": _of_item(_ITEM + "/comments", body={"message": "x"}),
    "GET /api/v1/items/{id:str}/events": _of_item(_ITEM + "/events"),
    "GET /api/v1/items/{id:str}/sightings": _of_item(_ITEM + "/sightings"),
    "GET /api/v1/items/{id:str}/links": _of_item(_ITEM + "/links"),
    "POST /api/v1/items/{id:str}/links": _of_item(_ITEM + "/links", body={"kind": "relates", "other": "{mine}"}),
    "POST /api/v1/batch/upsert": Row(path="/api/v1/batch/upsert", lines='{"title":"x","dedupe_key":"{key}"}'),
    "POST /api/v1/reports": Row(path="/api/v1/reports?format=json", body=[{"title": "x", "dedupe_key": "{key}"}]),
    "GET /api/v1/runs": Row(path="/api/v1/runs"),
    "POST /api/v1/runs": Row(path="/api/v1/runs", body={"source": "ruff", "services": ["{key}"]}, beyond=403,
                             missing=403),
    "GET /api/v1/runs/{lane:str}/{name:str}": _of_item(_RUN),
    "POST /api/v1/runs/{lane:str}/{name:str}/complete": _of_item(_RUN + "/complete", body={}),
    "POST /api/v1/runs/{lane:str}/{name:str}/abort": _of_item(_RUN + "/abort", body={"message": "x"}),
    "POST /api/v1/runs/{lane:str}/{name:str}/accept": _of_item(_RUN + "/accept", body={}, person=True),
    "POST /api/v1/runs/{lane:str}/{name:str}/reject": _of_item(_RUN + "/reject", body={}, person=True),
    "GET /api/v1/plans": Row(path="/api/v1/plans"),
    "POST /api/v1/plans": Row(
        path="/api/v1/plans?format=ndjson", lines='{"title":"x","service":"web","dedupe_key":"{key}"}'),
    "GET /api/v1/plans/{token:str}": _of_item(_PLAN),
    "POST /api/v1/plans/{token:str}/apply": _of_item(_PLAN + "/apply"),
    "POST /api/v1/alertmanager": Row(
        path="/api/v1/alertmanager", body={"alerts": [{"labels": {"alertname": "x", "service": "{key}"}}]}),
    "GET /api/v1/export": Row(path="/api/v1/export"),
    "GET /api/v1/items.csv": Row(path="/api/v1/items.csv"),
    "GET /api/v1/dashboard": Row(path="/api/v1/dashboard"),
    "GET /api/v1/attention": Row(path="/api/v1/attention"),
    "GET /api/v1/counts": Row(path="/api/v1/counts"),
    "GET /api/v1/events": Row(path="/api/v1/events"),
    "GET /api/v1/views": Row(path="/api/v1/views"),
    "GET /api/v1/views/{name:str}": Row(path="/api/v1/views/mine"),
    "PUT /api/v1/views/{name:str}": Row(path="/api/v1/views/mine", body={"query": "status:open"}),
    "DELETE /api/v1/views/{name:str}": Row(path="/api/v1/views/mine"),
    "GET /api/v1/verdicts": Row(path="/api/v1/verdicts"),
    "GET /api/v1/people": Row(path="/api/v1/people"),
    "POST /api/v1/people": Row(path="/api/v1/people", body={"name": "dan", "scope": {"role": "reader"}}),
    "GET /api/v1/people/{name:str}": _of_account("/people"),
    "PATCH /api/v1/people/{name:str}": _of_account("/people", body={"scope": {"role": "reader"}}),
    "DELETE /api/v1/people/{name:str}": _of_account("/people"),
    "GET /api/v1/people/{name:str}/sessions": _of_account("/people", "/sessions"),
    "DELETE /api/v1/people/{name:str}/sessions": _of_account("/people", "/sessions"),
    "DELETE /api/v1/people/{name:str}/sessions/{id:str}": _of_account("/people", "/sessions/{session}"),
    "GET /api/v1/tokens": Row(path="/api/v1/tokens"),
    "POST /api/v1/tokens": Row(path="/api/v1/tokens", body={"name": "new", "scope": {"role": "reader"}}),
    "GET /api/v1/tokens/{name:str}": _of_account("/tokens"),
    "POST /api/v1/tokens/{name:str}/rotate": _of_account("/tokens", "/rotate", body={}),
    "DELETE /api/v1/tokens/{name:str}": _of_account("/tokens"),
    "GET /api/v1/webhooks": Row(path="/api/v1/webhooks"),
    "POST /api/v1/webhooks": Row(path="/api/v1/webhooks", body={"name": "new", "url": "https://192.0.2.1/"}),
    "GET /api/v1/webhooks/{name:str}": _of_account("/webhooks"),
    "PATCH /api/v1/webhooks/{name:str}": _of_account("/webhooks", body={"off": "for now"}),
    "DELETE /api/v1/webhooks/{name:str}": _of_account("/webhooks"),
    "POST /api/v1/webhooks/{name:str}/rotate": _of_account("/webhooks", "/rotate", body={}),
    "POST /api/v1/webhooks/{name:str}/test": _of_account("/webhooks", "/test"),
    "POST /api/v1/webhooks/{name:str}/replay": _of_account("/webhooks", "/replay", body={}),
    "GET /api/v1/webhooks/{name:str}/deliveries": _of_account("/webhooks", "/deliveries"),
    "GET /api/v1/webhooks/{name:str}/kept": _of_account("/webhooks", "/kept"),
    "POST /api/v1/commands": _of_item(
        "/api/v1/commands", body={"body": {"command": "comment", "id": "{id}", "message": "x"}}, needs="work"),
    "POST /api/v1/commands/plan": _of_item("/api/v1/commands/plan", body={"apply": "{plan}"}),
    "POST /api/v1/questions": Row(path="/api/v1/questions", body={"method": "items", "ids": ["{id}"]}),
    "GET /api/v1/health": Row(path="/api/v1/health"),
    "GET /api/v1/stream": Row(path=""),  # it never ends: what it says to whom is held by test_stream
    "GET /api/v1/openapi.json": Row(path="/api/v1/openapi.json"),
    "GET /api": Row(path="/api"),
    "GET /healthz": Row(path="/healthz"),
    "GET /readyz": Row(path="/readyz"),
    "GET /metrics": Row(path="/metrics"),
    "GET /": Row(path="/"),
    "GET /now": Row(path="/now"),
    "GET /now/{what:str}": Row(path="/now/new"),
    "POST /now/seen": Row(path="/now/seen", form="position=&at=2020-01-01T00:00:00.000000Z"),
    "GET /dashboard": Row(path="/dashboard"),
    "GET /triage": Row(path="/triage"),
    "POST /triage/{id:str}": _of_item("/triage/{id}", form="do=accept"),
    "GET /sources": Row(path="/sources"),
    "GET /plans": Row(path="/plans"),
    "GET /plans/{token:str}": _of_item("/plans/{plan}"),
    "POST /plans/{token:str}": _of_item("/plans/{plan}", form="sure=yes"),
    "GET /runs": Row(path="/runs"),
    "GET /runs/{lane:str}/{name:str}": _of_item("/runs/{run}"),
    "POST /runs/{lane:str}/{name:str}": _of_item("/runs/{run}", form="verdict=accept", person=True),
    "GET /items": Row(path="/items"),
    "GET /items.csv": Row(path="/items.csv"),
    "GET /items/new": Row(path="/items/new"),
    "GET /items/{id:str}": _of_item("/items/{id}"),
    "GET /board": Row(path="/board"),
    "POST /items/{id:str}/{verb:str}": _of_item("/items/{id}/comment", form="message=x"),
    "POST /items": Row(path="/items", form="title=x&service=web"),
    "POST /bulk": Row(path="/bulk", form="verb=comment&message=x&ids={id}&sure=yes"),
    "POST /undo": Row(path="/undo", form="batch={batch}"),
    "POST /views": Row(path="/views", form="name=mine&query=status:open"),
    "GET /people": Row(path="/people"),
    "POST /people": Row(path="/people", form="name=dan&role=reader"),
    "GET /people/{name:path}": Row(path="/people/{account}", missing=404),
    "POST /people/{name:path}": Row(path="/people/{account}", form="do=remove", missing=404),
    "GET /tokens": Row(path="/tokens"),
    "POST /tokens": Row(path="/tokens", form="name=new&role=reader"),
    "GET /tokens/{name:path}": Row(path="/tokens/{account}", missing=404),
    "POST /tokens/{name:path}": Row(path="/tokens/{account}", form="do=rotate", missing=404),
    "GET /webhooks": Row(path="/webhooks"),
    "POST /webhooks": Row(path="/webhooks", form="name=new&url=https://192.0.2.1/"),
    "GET /webhooks/{name:str}": Row(path="/webhooks/{account}", missing=404),
    "POST /webhooks/{name:str}": Row(path="/webhooks/{account}", form="do=pause", missing=404),
    "GET /account": Row(path="/account"),
    "POST /account": Row(path="/account", form="do=end"),  # a token has no account: 404 for everybody here
    "GET /sign-in": Row(path="/sign-in"),
    "POST /sign-in": Row(path="/sign-in", form="name=nobody&password=x"),
    "GET /sign-in/oidc": Row(path="/sign-in/oidc"),
    "GET /sign-in/oidc/callback": Row(path="/sign-in/oidc/callback?code=x&state=y"),
    "POST /sign-out": Row(path="/sign-out", form=""),
    "GET /static/{version:str}/{name:path}": Row(path="/static/0/app.css"),
}  # fmt: skip


def _name(route: Route) -> str:
    return f"{route.method} {route.path}"


class World:
    """
    A service with an item of one's own and one of others, and a token a role that reaches the service ``web`` alone.
    """

    def __init__(self) -> None:
        self.backlog = Backlog(LocalExecutor(open_memory()), actor="root", clock=StepClock(), ids=CountingIds())
        drafts = {service: Draft(title=f"secret of {service}", service=service, dedupe_key=service)
                  for service in ("web", "db")}  # fmt: skip
        answers = {service: self.backlog.execute(Create(draft=draft)) for service, draft in drafts.items()}
        made = {service: answer.outcomes[0] for service, answer in answers.items()}
        self.batches = {"own": answers["web"].batch, "foreign": answers["db"].batch, "missing": "cm_0"}
        self.mine = self.backlog.create(Draft(title="another", service="web")).id
        self.backlog.save_view("mine", "status:open")
        self.ids = {"own": made["web"].id, "foreign": made["db"].id, "missing": "bl_neverwasanitemof26letters"}
        self.keys = {"own": "web", "foreign": "db", "missing": "nothing"}
        runs = {service: self.backlog.begin_run("ruff", services=[service]).id for service in ("web", "db")}
        self.runs = {"own": runs["web"], "foreign": runs["db"], "missing": "aaaaaaaaaaaaa/none"}
        self.plans = {
            "own": "aaaaaaaaaaaaaaab",
            "foreign": self.planned("db", self.backlog),
            "missing": "aaaaaaaaaaaaaaaa",
        }
        # People, tokens and webhooks are nobody's own: those there are, and those there never were.
        self.accounts = {"own": "cleo", "foreign": "dora", "missing": "nobody"}
        self.sessions = {"own": "ab" * 8, "foreign": "cd" * 8, "missing": "0" * 16}
        # A network for documentation: nothing answers there, and nothing is asked.
        outlets = Outlets(hosts=("192.0.2.1",))
        for whose in ("own", "foreign"):
            name, session = self.accounts[whose], self.sessions[whose] * 4
            self.backlog.execute(SetPerson(name=name, scope=Scope(role="worker"), over=0))
            until = add_seconds(self.backlog.clock(), 900)
            self.backlog.execute(BeginSession(name=name, digest=session, expires_at=until))
            issue_token(self.backlog, name, Scope(role="reader"))
            subscribe(self.backlog, SetWebhook(name=name, url="https://192.0.2.1/", over=0), outlets)
        app = create_app(Site(backlog=self.backlog, sign_in=Accounts(self.backlog), outlets=outlets), ROUTES)
        self.client: TestClient[Litestar] = TestClient(app, raise_server_exceptions=False)

    def planned(self, service: str, backlog: Backlog) -> str:
        """
        Keep a plan that reports something of a service, and return its token.
        """
        planner = Planner(backlog)
        planner.execute(Report(drafts=(Draft(title=f"secret of {service}", service=service, dedupe_key="p"),)))
        plan = planner.plan({"reports": [f"secret of {service}"]})
        keep_in_store(backlog, plan)
        return plan.token

    def token(self, role: Role, *, person: bool = False, whole: bool = False) -> str:
        """
        Issue a token of a role, bound to one service or to none; there is a plan of whoever has it.
        """
        scope = Scope(role=role, services=None if whole else ("web",))
        self.plans["own"] = self.planned(
            "web", self.backlog.acting_as(role, scope=Scope(role="reporter", services=("web",)))
        )
        secret = drawn_token(self.backlog.ids)
        self.backlog.execute(IssueToken(key=key_of(secret), digest=digest_of(secret), last=secret[-4:], name=role,
                                        kind="person" if person else "machine",
                                        scope=scope))  # fmt: skip
        return secret

    def ask(self, route: Route, object: str, token: str = "") -> Any:
        """
        Ask a route about an object.
        """
        row = ROWS[_name(route)]

        def filled(value: Any) -> Any:
            if isinstance(value, dict):
                return {name: filled(one) for name, one in value.items()}
            if isinstance(value, list):
                return [filled(one) for one in value]
            text = str(value).replace("{mine}", self.mine)
            objects = {"id": self.ids, "key": self.keys, "run": self.runs, "plan": self.plans, "batch": self.batches,
                       "account": self.accounts, "session": self.sessions}  # fmt: skip
            for name, known in objects.items():
                text = text.replace(f"{{{name}}}", known[object])
            return text

        headers = {"If-Match": "*", "Origin": "http://testserver.local"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        sent: dict[str, Any] = {"headers": headers, "follow_redirects": False}
        if row.body is not None:
            sent["json"] = filled(row.body)
        elif route.takes:
            headers["Content-Type"] = route.takes[0]
            sent["content"] = filled(row.form or row.lines)
        return self.client.request(route.method, filled(row.path), **sent)


def test_every_route_has_a_row() -> None:
    """
    A route that nobody thought about fails here.
    """
    assert {_name(route) for route in ROUTES} == ROWS.keys()


@pytest.mark.parametrize("route", [one for one in ROUTES if ROWS.get(_name(one), Row(path="")).path], ids=_name)
def test_a_role_reaches_what_the_table_of_permissions_says(route: Route) -> None:
    """
    Nobody gets 401, a role without the action 403, and what lies outside of its reach is as if it never was.
    """
    row = ROWS[_name(route)]
    assert (World().ask(route, "own").status_code == 401) == (route.action is not None)
    if route.action is None:
        return
    bound: list[tuple[Role, bool]] = [(role, False) for role in ROLES]
    for role, whole in [*bound, ("admin", True)] if route.whole else bound:
        may = permits(role, route.action) and permits(role, row.needs or route.action)  # type: ignore[arg-type]
        may = may and whole >= route.whole
        world = World()
        token = world.token(role, person=row.person, whole=whole)
        for object in ("missing", "foreign", "own"):
            response = world.ask(route, object, token)
            said = f"{role}, {'whole' if whole else 'bound'}, {object}: {response.status_code} {response.text[:200]}"
            assert response.status_code < 500, said
            assert "secret of db" not in response.text, said
            beyond = {"own": 0, "foreign": row.beyond, "missing": row.missing}[object]
            if not may:
                assert response.status_code in (403, beyond or 403), said
            elif beyond:
                assert response.status_code == beyond, said
            else:
                assert response.status_code not in ((401, 403, 404) if row.beyond or row.missing else (401, 403)), said
            left = world.backlog.get(world.ids["foreign"])
            assert (left.revision, left.title) == (1, "secret of db"), said
            assert may or world.backlog.get(world.ids["own"]).revision == 1, said


@pytest.mark.parametrize("route", [one for one in ROUTES if one.action is not None], ids=_name)
def test_a_route_asks_for_an_action_that_its_method_deserves(route: Route) -> None:
    """
    What changes something is open to no reader, but for questions that are asked by POST, and what is one's own.
    """
    changes = route.method != "GET" and not route.own and _name(route) != "POST /api/v1/questions"
    assert not changes or not permits("reader", route.action or "read")
