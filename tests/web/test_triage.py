"""
Triage without a browser: every decision leads to the next card, and several change only as they were shown.
"""

from __future__ import annotations

import re
from html import unescape
from typing import Any

import pytest
from litestar import Litestar
from litestar.testing import TestClient

from backlog_store.backlog import Backlog
from backlog_store.web.pages import triage

Client = TestClient[Litestar]


def card(client: Client, **query: Any) -> str:
    """
    Return the id of the card that is shown; empty for none.
    """
    found = re.search(r'class="one" data-id="(\w+)"', client.get("/triage", params=query).text)
    return found[1] if found else ""


def decided(client: Client, id: str, do: str, **fields: Any) -> Any:
    """
    Press a button of a card.
    """
    return client.post(f"/triage/{id}", data={"do": do, **fields}, follow_redirects=False)


@pytest.fixture
def cards(backlog: Backlog) -> list[str]:
    """
    Return the ids of eight items in the order of work, the third and the sixth cleared by one fix.
    """
    return [
        backlog.upsert(title=f"Alert {n}", dedupe_key=f"k{n}", priority=f"P{n // 3}", due_date=f"2027-01-0{n + 1}",
                       fix="runbook:queue" if n in (2, 5) else "").id
        for n in range(8)
    ]  # fmt: skip


def test_each_decision_leads_to_the_next_card(client: Client, backlog: Backlog, cards: list[str]) -> None:
    """
    Accepted, asleep, a risk, closed for each reason: the item is so, and the card behind it comes.
    """
    steps = [
        ("accept", {"owner": "ann"}), ("snooze", {"until": "+7d"}),
        ("risk", {"approver": "cleo", "expires_at": "+90d"}),
        ("false_positive", {}), ("wont_fix", {}), ("fixed", {}), ("obsolete", {}),
    ]  # fmt: skip
    for number, (do, fields) in enumerate(steps):
        id = card(client)
        assert id, number
        place = decided(client, id, do, message="because", **fields)
        assert place.status_code == 303, place.text
        assert id != card(client)
    items = [backlog.get(id) for id in cards]
    assert [item.closed_reason for item in items].count("") == 3
    assert sorted(item.closed_reason for item in items if item.closed_reason) == [
        "accepted_risk", "false_positive", "fixed", "obsolete", "wont_fix",
    ]  # fmt: skip
    assert (items[0].owner, items[0].tags, items[1].wake_at > "2026") == ("ann", (triage.TRIAGED,), True)
    assert card(client) == cards[7]
    decided(client, cards[7], "accept")
    assert "Nothing waits" in client.get("/triage").text


def test_what_one_fix_clears_comes_together(client: Client, cards: list[str]) -> None:
    """
    Behind a card of a fix comes the next one of that fix, and passing over it leads back to the order of work.
    """
    place = decided(client, cards[2], "accept").headers["location"]
    assert f'data-id="{cards[5]}"' in client.get(place).text
    skip = re.search(r'href="(/triage[^"]*)" data-key="n"', client.get(place).text)
    assert skip
    assert f'data-id="{cards[0]}"' in client.get(unescape(skip[1])).text


@pytest.mark.parametrize("place", ["/triage", "/triage?q=sort:updated", "/triage?q=sort:due"])
def test_passing_over_leads_on_and_changes_nothing(
    client: Client, backlog: Backlog, cards: list[str], place: str
) -> None:
    """
    "Not now" shows one card after the other in the order of work, whatever order a query names, and says where it ends.
    """
    seen = []
    while found := re.search(r'class="one" data-id="(\w+)"', text := client.get(place).text):
        seen.append(found[1])
        skip = re.search(r'href="(/triage[^"]*)" data-key="n"', text)
        assert skip
        place = unescape(skip[1])
    assert seen == cards
    assert "You are at the end" in text
    assert {backlog.get(id).revision for id in cards} == {1}


def test_the_same_for_all_of_a_fix_is_shown_first(client: Client, backlog: Backlog, cards: list[str]) -> None:
    """
    The first form shows the set and changes nothing; the second changes it, as one batch that is undone at once.
    """
    shown = decided(client, cards[2], "wont_fix", same="yes", message="all of it").text
    assert "2 of 2 items would change" in shown
    assert backlog.get(cards[2]).status == "open"
    fields = re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', shown.split('class="confirm"')[1])
    form: dict[str, Any] = {name: [v for n, v in fields if n == name] for name, _ in fields}
    place = client.post(f"/triage/{cards[2]}", data=form, follow_redirects=False).headers["location"]
    assert {backlog.get(cards[n]).closed_reason for n in (2, 5)} == {"wont_fix"}
    batch = re.search(r'name="batch" value="(cm_\w+)"', client.get(place).text)
    assert batch
    client.post("/undo", data={"batch": batch[1]}, follow_redirects=False)
    assert {backlog.get(cards[n]).status for n in (2, 5)} == {"open"}


def test_a_set_that_changed_is_shown_again(client: Client, backlog: Backlog, cards: list[str]) -> None:
    """
    If one of the set was changed after the preview, nothing happens and the preview is another one.
    """
    shown = decided(client, cards[2], "wont_fix", same="yes").text
    fields = re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', shown.split('class="confirm"')[1])
    form: dict[str, Any] = {name: [v for n, v in fields if n == name] for name, _ in fields}
    backlog.acting_as("ben", person=True).edit(cards[5], priority="P0")
    again = client.post(f"/triage/{cards[2]}", data=form)
    assert again.status_code == 409
    assert "Something was changed" in again.text
    assert {backlog.get(cards[n]).status for n in (2, 5)} == {"open"}


def test_a_card_is_merged_into_another(client: Client, backlog: Backlog, cards: list[str]) -> None:
    """
    Merging offers the others of the fix, and closes the card as their duplicate.
    """
    page = client.get("/triage", params={"fix": "runbook:queue"}).text
    assert f'<option value="{cards[5]}"' in page
    assert decided(client, cards[2], "merge", into=cards[5]).status_code == 303
    assert backlog.get(cards[2]).duplicate_of == cards[5]


@pytest.mark.parametrize(
    ("do", "fields"),
    [("nonsense", {}), ("snooze", {"until": "never"}), ("risk", {}), ("merge", {}), ("merge", {"into": "bl_unknown"}),
     ("accept", {"revision": "7"})],
)  # fmt: skip
def test_a_refused_decision_stays_on_the_card(client: Client, backlog: Backlog, cards: list[str], do: str,
                                              fields: dict[str, str]) -> None:  # fmt: skip
    """
    What cannot be done is said on the same card, and changes nothing.
    """
    response = decided(client, cards[0], do, **fields)
    assert response.status_code == 422
    assert 'role="alert"' in response.text
    assert f'class="one" data-id="{cards[0]}"' in response.text
    assert backlog.get(cards[0]).revision == 1


def test_a_refused_decision_keeps_what_was_typed(client: Client, cards: list[str]) -> None:
    """
    The day that was none and the words beside it are in their fields again.
    """
    text = decided(client, cards[0], "snooze", until="rubbish", message='The "new" team', approver="cleo").text
    for kept in ("rubbish", "The &#34;new&#34; team", "cleo"):
        assert f'value="{kept}"' in text


def test_more_waits_than_is_looked_at(client: Client, backlog: Backlog, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Of a longer queue the page says how many of the front wait and leads on behind them.
    """
    monkeypatch.setattr(triage, "LOOKED_AT", 2)
    monkeypatch.setattr(triage, "_PAGE", 1)
    ids = [backlog.upsert(title=f"Alert {n}", dedupe_key=f"k{n}", priority=f"P{n}").id for n in range(4)]
    assert "more than 2" in client.get("/triage").text
    for id in ids[:2]:
        decided(client, id, "accept")
    further = re.search(r'href="(/triage[^"]*)">Look further', client.get("/triage").text)
    assert further
    assert f'data-id="{ids[2]}"' in client.get(unescape(further[1])).text
