"""
The pages without a browser: every page is there, every form does what it says, hostile text stays text.
"""

from __future__ import annotations

import re
from html import unescape
from typing import Any

import pytest
from litestar import Litestar
from litestar.testing import TestClient

from backlog_store.backlog import Backlog
from backlog_store.commands import ApplyPolicy
from backlog_store.model import Draft

Client = TestClient[Litestar]
PAGES = ("/now", "/triage", "/sources", "/runs", "/plans", "/items", "/board", "/dashboard", "/items/new")
HOSTILE = (
    "<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "javascript:alert(1)", "[x](javascript:alert(1))",
    "[x](&#106;avascript:alert(1))", "</textarea><script>alert(1)</script>", "<svg/onload=alert(1)>",
    "![x](data:text/html,<script>alert(1)</script>)", '![x](x"onerror="alert(1))', "![x](https://evil.example/x.png)",
    "{{ 7 * 7 }}", "<style>*{display:none}</style>",
)  # fmt: skip


@pytest.fixture
def made(backlog: Backlog) -> str:
    """
    Return the id of an item that a scanner reported.
    """
    return backlog.upsert(title="Rotate the key", service="web", dedupe_key="k", priority="P1").id


def sent(client: Client, path: str, **fields: Any) -> Any:
    """
    Send a form as a browser without JavaScript does, and do not follow where it leads.
    """
    return client.post(path, data=fields, follow_redirects=False)


@pytest.mark.parametrize("path", PAGES)
def test_a_page_brings_its_own_rules(client: Client, made: str, path: str) -> None:
    """
    Each page is HTML under a policy that lets no inline code and no other origin in.
    """
    response = client.get(path)
    assert response.status_code == 200
    policy = response.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
    assert not re.search(r"<script(?![^>]*\ssrc=)|\son\w+=|style=|https?://", response.text)


@pytest.mark.parametrize("path", [*PAGES, "/items/{id}"])
def test_what_a_page_names_is_there(client: Client, made: str, path: str) -> None:
    """
    Every link and file on a page leads somewhere on this site.
    """
    text = client.get(path.format(id=made)).text
    for place in {unescape(one) for one in re.findall(r'(?:href|src)="(/[^"#]*)"', text)}:
        assert client.get(place, follow_redirects=True).status_code == 200, place


@pytest.mark.parametrize("day", ["9999-12-31", "0001-01-01"])
def test_a_due_date_at_an_end_of_the_calendar_can_be_looked_at(client: Client, backlog: Backlog, day: str) -> None:
    """
    What has to be done in the year 9999, or was in the year 1, is on every page, with its clocks and its steps.
    """
    text = (
        "calendars: {named: {east: {zone: Pacific/Kiritimati}}}\n"
        "sla: {targets: [{name: t, close_hours: 80000, calendar: east}]}\n"
        "escalation: {rules: [{name: e, calendar: east, steps: [{name: late, overdue_hours: 80000}]}]}\n"
    )
    backlog.acting_as("root", person=True).execute(ApplyPolicy(text=text, over=0))
    id = backlog.upsert(title="some day", dedupe_key="k", due_date=day).id
    for path in (*PAGES, f"/items/{id}"):
        assert client.get(path).status_code == 200, path


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_stays_text(client: Client, backlog: Backlog, text: str) -> None:
    """
    In titles, descriptions, tags, keys, services, messages and errors nothing becomes markup or a dangerous link.
    """
    outcome = backlog.acting_as("ann", person=True).create(
        Draft(title=text, description=text, service=text, dedupe_key=text, tags=(text[:90],), meta={"x": text},
              fix=text, evidence_refs={"urls": [text]})
    )  # fmt: skip
    backlog.comment(outcome.id, text)
    for path in (f"/items/{outcome.id}", "/items", "/board", "/now", "/dashboard"):
        html = client.get(path).text
        body = html.split("<main", 1)[1]
        assert not re.search(r"<(script|img|svg/|style|iframe)", body.replace("<svg viewBox", ""), re.IGNORECASE)
        assert not re.search(r"href=\"\s*(javascript|data):", unescape(body), re.IGNORECASE)
    assert "<script>" not in client.get("/items", params={"q": text}).text


def test_an_item_is_worked_by_forms_alone(client: Client, backlog: Backlog, made: str) -> None:
    """
    Move, edit, comment, snooze, close, reopen: each form leads back to the page and the item is as it says.
    """
    steps: list[tuple[str, dict[str, str]]] = [
        ("move", {"to": "in_progress"}), ("edit", {"title": "Rotate it", "owner": "ann", "due_date": "+3d"}),
        ("comment", {"message": "on it"}), ("snooze", {"until": "+2d"}), ("close", {"reason": "wont_fix"}),
        ("reopen", {"message": "it matters"}),
    ]  # fmt: skip
    for verb, fields in steps:
        response = sent(client, f"/items/{made}/{verb}", **fields)
        assert response.status_code == 303, response.text
        assert response.headers["location"].startswith(f"/items/{made}?did=")
    item = backlog.get(made)
    assert (item.status, item.title, item.owner, item.episode) == ("open", "Rotate it", "ann", 2)
    assert [event.actor for event in backlog.trail(made)][1:] == ["ann"] * 6


def test_an_item_tells_its_steps_and_what_one_more_report_does(client: Client, backlog: Backlog, made: str) -> None:
    """
    A live item shows how it stands to each step, a closed one what its next report does; both name the rule.
    """
    person = backlog.acting_as("ann", person=True)
    person.apply_policy("""
escalation: {rules: [{name: all of it, steps: [{name: desk, untouched_hours: 0, notify: [the desk]}]}]}
reopen: {rules: [{name: no more, reason: [fixed], within: 1d, then: stay_closed}]}
""", over=0)  # fmt: skip
    text = unescape(client.get(f"/items/{made}").text)
    assert "Step desk" in text
    assert "to tell the desk" in text
    person.close_item(made)
    text = unescape(client.get(f"/items/{made}").text)
    assert "Step desk" not in text
    assert "stay closed" in text
    assert "policy rule no more" in text


def test_a_stale_form_is_refused_with_what_was_typed_at_hand(client: Client, backlog: Backlog, made: str) -> None:
    """
    A form that was filled in on an older revision changes nothing and says so on the page.
    """
    backlog.acting_as("ben", person=True).edit(made, title="Ben was faster")
    response = sent(client, f"/items/{made}/edit", revision="1", title="Ann's")
    assert response.status_code == 422
    assert "was changed meanwhile" in response.text
    assert backlog.get(made).title == "Ben was faster"


def test_several_items_change_only_as_previewed(client: Client, backlog: Backlog) -> None:
    """
    The first form shows what would happen and changes nothing; the second does it, except where an item moved on.
    """
    ids = [backlog.upsert(title=f"Item {n}", dedupe_key=f"k{n}").id for n in range(3)]
    fields = {"verb": "edit", "priority": "P0", "ids": [f"{id}@1" for id in ids]}
    preview = sent(client, "/bulk", **fields)
    assert "3 of 3 items would change" in preview.text
    assert {item.priority for item in backlog.search()} == {"P2"}
    backlog.acting_as("ben", person=True).edit(ids[0], priority="P3")
    assert sent(client, "/bulk", sure="yes", **fields).status_code == 303
    assert [backlog.get(id).priority for id in ids] == ["P3", "P0", "P0"]


def test_a_preview_of_nothing_leads_back_with_what_to_do(client: Client, backlog: Backlog) -> None:
    """
    To the same page of the same query, which says that items are to be ticked first; nothing is changed.
    """
    for n in range(4):
        backlog.upsert(title=f"Item {n}", dedupe_key=f"k{n}", service="web")
    first = client.get("/items", params={"service": "web", "limit": "2"}).text
    following = re.search(r'rel="next" href="([^"]+)"', first)
    assert following is not None
    second = client.get(unescape(following[1])).text
    back = re.search(r'name="back" value="([^"]+)"', second)
    assert back is not None
    response = sent(client, "/bulk", verb="edit", priority="P0", back=unescape(back[1]))
    assert response.status_code == 303
    text = client.get(response.headers["location"]).text
    assert "tick the items first" in text
    assert re.findall(r'data-id="(\w+)"', text) == re.findall(r'data-id="(\w+)"', second)
    assert {item.priority for item in backlog.search()} == {"P2"}


def test_a_preview_of_what_cannot_be_says_so_and_leads_back(client: Client, made: str) -> None:
    """
    A field that cannot be read is told in words, with a way back to the list; it is no bare error.
    """
    back = "/items?service=web"
    fields = {"verb": "snooze", "until": "some day", "ids": f"{made}@1", "back": back}
    response = sent(client, "/bulk", **fields)
    assert response.status_code == 422
    assert "Until some day: " in response.text
    assert f'href="{back}"' in response.text


def test_a_view_that_cannot_be_asked_is_not_kept(client: Client, backlog: Backlog) -> None:
    """
    Neither by a form nor by the API; both say what is wrong.
    """
    form = sent(client, "/views", name="mine", query="ownr:me")
    api = client.put("/api/v1/views/mine", json={"query": "ownr:me"})
    assert (form.status_code, api.status_code, api.json()["code"]) == (422, 422, "invalid_query")
    assert "ownr" in form.text
    assert dict(backlog.views()) == {}


def test_the_last_form_is_undone(client: Client, backlog: Backlog, made: str) -> None:
    """
    The page that follows a change offers to set it back, and does.
    """
    place = sent(client, f"/items/{made}/edit", title="Wrong").headers["location"]
    batch = re.search(r'name="batch" value="(cm_\w+)"', client.get(place).text)
    assert batch is not None
    assert sent(client, "/undo", batch=batch[1]).status_code == 303
    assert backlog.get(made).title == "Rotate the key"


def test_forms_lead_nowhere_else(client: Client, made: str) -> None:
    """
    Where a form goes back to is a path of this site, whatever the field says.
    """
    for back in ("https://evil.example/", "//evil.example/x", "///evil.example/x", "////evil.example", "//[", "/\\evil",
                 "javascript:alert(1)"):  # fmt: skip
        place = sent(client, f"/items/{made}/comment", message="x", back=back).headers["location"]
        assert place.startswith(f"/items/{made}?did=")


@pytest.mark.parametrize("seen", ["9" * 5_000, "²", "-1", "x"])
def test_a_revision_that_is_none_is_as_if_none_was_shown(client: Client, made: str, seen: str) -> None:
    """
    Of one item and of several.
    """
    assert sent(client, f"/items/{made}/comment", message="x", revision=seen).status_code == 303
    assert sent(client, "/bulk", ids=f"{made}@{seen}", verb="comment", message="x").status_code == 200


def test_a_faulty_form_keeps_what_was_typed(client: Client, backlog: Backlog) -> None:
    """
    A new item that cannot be is shown again with its fields and what is wrong beside them.
    """
    response = sent(client, "/items", title="Rotate", due_date="someday", owner="ann")
    assert response.status_code == 422
    assert 'value="Rotate"' in response.text
    assert 'id="fault-due_date"' in response.text
    assert list(backlog.search()) == []


@pytest.mark.parametrize(
    ("verb", "fields", "kept"),
    [
        ("comment", {"message": "é" * 70_000}, "é" * 70_000),
        ("close", {"reason": "accepted_risk", "message": "A word on it", "approver": ""}, 'value="A word on it"'),
        ("close", {"reason": "accepted_risk", "message": "x"}, '<option value="accepted_risk" selected>'),
        ("snooze", {"until": "someday soon"}, 'value="someday soon"'),
        ("edit", {"due_date": "someday", "tags": "one two"}, 'value="one two"'),
        ("edit", {"title": "New title", "due_date": "someday", "priority": "P3"}, "<option selected>P3</option>"),
        (
            "edit",
            {"title": "New title", "due_date": "someday", "description": '<b>"new'},
            "&lt;b&gt;&#34;new</textarea>",
        ),
    ],
)
def test_a_refused_form_of_an_item_keeps_what_was_typed(
    client: Client, made: str, verb: str, fields: dict[str, str], kept: str
) -> None:
    """
    Nothing has to be written twice, and the form that was refused is the one that is open.
    """
    response = sent(client, f"/items/{made}/{verb}", **fields)
    assert response.status_code == 422
    assert kept in response.text
    assert response.text.count("<details open>") == (verb != "comment")


@pytest.mark.parametrize("path", ["/now", "/dashboard", "/dashboard?env=staging", "/board", "/sources"])
def test_a_number_opens_a_list_of_so_many(client: Client, backlog: Backlog, path: str) -> None:
    """
    Whatever is counted on a page is what the list behind the number holds: closed and sleeping ones included or not.
    """
    person = backlog.acting_as("ann", person=True)
    for env in ("prod", "staging"):
        ids = [backlog.upsert(title=f"N {n}", dedupe_key=f"n{n}", env=env, service="web", source="ruff",
                              priority=("P0", "P1", "P2")[n % 3], due_date=("2026-02-01", "2026-03-03")[n % 2]).id
               for n in range(8)]  # fmt: skip
        person.close_item(ids[0], "fixed")
        person.close_item(ids[1], "false_positive")
        person.accept(ids[2], approver="ann", expires_at="2026-03-04T00:00:00.000000Z", message="so far")
        person.snooze(ids[3], "2026-04-01T00:00:00.000000Z")
        person.edit(ids[4], owner="ben")
        person.move(ids[5], "in_progress")
    text = client.get(path).text
    found = re.findall(r'href="(/items[?][^"]*)">(?:[^<]*<span class="count">|<b>)?([0-9,]+)(?: %)?</', text)
    numbers = [(unescape(link), int(n)) for link, n in found if f">{n} %<" not in text]
    assert len(numbers) >= 2
    for link, n in numbers:
        assert (link, len(client.get(link.replace("/items", "/items.csv", 1)).text.splitlines()) - 1) == (link, n)


def test_a_misspelt_query_shows_where(client: Client, made: str) -> None:
    """
    A query with a fault shows a caret under it and what was probably meant, and no items that were not asked for.
    """
    response = client.get("/items", params={"q": "statu:open"})
    assert response.status_code == 422
    assert "Did you mean <b>status" in response.text
    assert f'href="/items/{made}"' not in response.text


def test_csv_holds_every_row_and_no_formula(client: Client, backlog: Backlog) -> None:
    """
    The download holds all pages; a cell that a spreadsheet would run is quoted.
    """
    for number in range(1_203):
        backlog.create(Draft(title=f"=cmd|' /C calc'!A{number}"))
    lines = client.get("/items.csv").text.splitlines()
    assert len(lines) == 1_204
    assert not [line for line in lines if re.search(r'(^|,)"?[=+@]', line)]


def test_what_is_not_there_is_told_as_a_page(client: Client) -> None:
    """
    A browser gets a page for an error, a program a problem.
    """
    page = client.get("/items/bl_nosuchitem12345", headers={"accept": "text/html"})
    assert (page.status_code, page.headers["content-type"].partition(";")[0]) == (404, "text/html")
    told = client.get("/items/bl_nosuchitem12345", headers={"accept": "application/json"})
    assert told.headers["content-type"].startswith("application/problem+json")
