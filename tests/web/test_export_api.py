"""
Taking data along over HTTP: the export, and what a query finds as CSV.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from backlog_store.access import Scope
from backlog_store.backends.memory import open_memory
from backlog_store.backlog import Backlog
from backlog_store.commands import IssueToken
from backlog_store.credentials import digest_of, drawn_token, key_of
from backlog_store.query import EventQuery, ItemFilter
from backlog_store.transfer import import_store
from tests.web.conftest import Client


@pytest.fixture
def filled(backlog: Backlog) -> Backlog:
    """
    Return a store with items of two services, more than a page, a verdict and a saved view.
    """
    drafts = [{"title": f"Item {n}", "dedupe_key": f"k{n}", "service": "web" if n % 2 else "db"} for n in range(1_050)]
    assert sum(1 for _ in backlog.report(drafts)) == 1_050
    first = backlog.get_by_key("k1")
    assert first is not None
    backlog.close_item(first.id, "wont_fix", message="=cmd|calc")
    backlog.save_view("mine", "status:open")
    return backlog


def rows(text: str) -> list[dict[str, str]]:
    """
    Return the rows of a CSV.
    """
    return list(csv.DictReader(io.StringIO(text)))


def test_an_export_is_everything_and_can_be_imported(client: Client, filled: Backlog) -> None:
    """
    What is sent is what `backlog export` writes: taken in elsewhere, every item is there with its history.
    """
    response = client.get("/api/v1/export")
    assert response.headers["content-type"].startswith("application/x-ndjson")
    backend = open_memory()
    done = import_store(backend, io.BytesIO(response.content))
    assert (done.items, done.refused) == (1_050, [])
    every = EventQuery(limit=None)
    copied = backend.read(lambda reader: [event.hash for event in reader.events(every)])
    assert sorted(copied) == sorted(event.hash for event in filled.events(every))


def test_what_one_does_not_reach_is_not_exported(asking: Callable[[str], Client], filled: Backlog) -> None:
    """
    A bound credential exports its part, and nobody what would let them in elsewhere.
    """
    secret = drawn_token(filled.ids)
    token = IssueToken(
        key=key_of(secret), digest=digest_of(secret), last=secret[-4:], name="ci", scope=Scope(role="reader")
    )
    filled.acting_as("root", person=True).execute(token)
    lines: list[Any] = [msgspec.json.decode(line) for line in asking("ben").get("/api/v1/export").content.splitlines()]
    items = [line["item"] for line in lines if "item" in line]
    assert (len(items), {item["service"] for item in items}) == (525, {"web"})
    owners = {item["id"] for item in items}
    assert {line["event"]["item_id"] for line in lines if "event" in line} == owners
    for name in ("ben", "eve", "ann"):
        assert digest_of(secret) not in asking(name).get("/api/v1/export").text


def test_csv_is_all_that_a_query_finds(client: Client, filled: Backlog) -> None:
    """
    Beyond one page, in the order that is asked for, with the fields that are named.
    """
    found = rows(client.get("/api/v1/items.csv?service=web&fields=id,title&sort=created").text)
    within = ItemFilter(service=("web",), status=("open",))
    listed = list(filled.each(within, order="created"))
    assert [row["id"] for row in found] == [item.id for item in listed]
    assert len(found) == 524
    assert list(found[0]) == ["id", "title"]
    assert len(rows(client.get("/api/v1/items.csv?closed=true").text)) == 1_050
    assert rows(client.get("/api/v1/items.csv?q=owner:nobody").text) == []


def test_csv_holds_no_formula(client: Client, backlog: Backlog) -> None:
    """
    A cell that a spreadsheet would compute is quoted.
    """
    backlog.upsert(title="=1+1", dedupe_key="k", tags=("@x",))
    [row] = rows(client.get("/api/v1/items.csv").text)
    assert (row["title"], row["tags"]) == ("'=1+1", "'@x")


def test_csv_of_a_faulty_query_is_refused_whole(client: Client, asking: Callable[[str], Client]) -> None:
    """
    Every fault is told, and nothing is sent; what is not one's own is not in it.
    """
    response = client.get("/api/v1/items.csv?sort=bogus&fields=nope&what=1")
    assert (response.status_code, len(response.json()["errors"])) == (422, 3)
    assert client.get("/api/v1/items.csv?category=%00").status_code == 422
    assert client.get("/api/v1/items.csv?limit=5").status_code == 422
