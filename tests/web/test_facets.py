"""
The counts of the list: exact where that is cheap, else never too low, and never dearer in a larger backlog.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from functools import partial
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from litestar import Litestar
from litestar.testing import TestClient

from backlog_store.backends.memory import open_memory
from backlog_store.backends.port import Backend, Reader
from backlog_store.backends.sql.compile import COLUMNS
from backlog_store.backends.sql.dialects import TALLIED
from backlog_store.backlog import Backlog
from backlog_store.model import Item
from backlog_store.query import ANY, All, Facet, HasWords, In, Not, Where, fields_of, live, matcher, value_of
from backlog_store.web.pages import facets
from backlog_store.web.pages.facets import FACETS, FREE, KEPT, Count, Counting
from bench.population import population
from tests.stores import RETAINING, new_stores

Client = TestClient[Litestar]
MANY = 600
SERVICE, PRIORITY, OWNED = In("service", ("checkout-api",)), In("priority", ("P2", "P3")), Not(In("owner", ("",)))
CONDITIONS: Mapping[str, Where] = {
    "everything": ANY,
    "live": live(),
    "one field": All((live(), SERVICE)),
    "two fields": All((live(), All((SERVICE, PRIORITY)))),
    "three fields": All((live(), SERVICE, PRIORITY, OWNED)),
    "words": All((live(), HasWords(("the",)))),
    "a rare word": HasWords(("needle0",)),
    "none": All((live(), In("service", ("no-such-service",)), PRIORITY)),
}


def filled(backend: Backend) -> Sequence[Item]:
    """
    Load a population and return its items.
    """
    loads = list(population(MANY))
    backend.write(lambda writer: writer.apply(loads))
    return [one.item for one in loads]


def counted(reader: Reader, where: Where, by: Facet | None = None) -> Count:
    """
    Return what the page would say.
    """
    return Counting(reader).count(where, by)


def true_counts(items: Sequence[Item], where: Where, by: Facet | None) -> dict[str, int]:
    """
    Return what there is, counted one by one.
    """
    matches = matcher(where)
    return dict(Counter(value_of(item, by) if by else "" for item in items if matches(item)))


@pytest.mark.parametrize("name", RETAINING)
def test_counts_are_exact_or_bound_from_above(
    name: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    On each backend a count is what there is, and where it would look at more than the limit, no less than that.
    """
    with closing(new_stores(name, request, tmp_path)()()) as backend:
        items = filled(backend)
        for most in (MANY, 20, -1):
            monkeypatch.setattr(facets, "LOOK_MAX", most)
            monkeypatch.setattr(facets, "SMALL", -1)
            for text, where in CONDITIONS.items():
                for by in (None, *(facet for facet, _ in FACETS)):
                    found = backend.read(partial(counted, where=where, by=by))
                    true = true_counts(items, where, by)
                    if most == MANY or text in ("everything", "live", "a rare word", "none"):
                        assert found.exact, (text, by)
                    if found.exact:
                        assert {value: n for value, n in found.of.items() if n} == true, (text, by)
                    else:
                        assert all(n <= found.of[value] for value, n in true.items()), (text, by)


class Watched:
    """
    A reader that notes what is counted and how far is looked.
    """

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        self.tallied: list[tuple[Where, tuple[Facet, ...]]] = []
        self.looked: list[int | None] = []

    def tally(self, where: Where, by: Sequence[Facet]) -> Mapping[tuple[str, ...], int]:
        """
        Note it and count.
        """
        self.tallied.append((where, tuple(by)))
        return self.reader.tally(where, by)

    def search(self, query: Any) -> Sequence[Item]:
        """
        Note it and search.
        """
        self.looked.append(query.limit)
        return self.reader.search(query)


@pytest.mark.parametrize("text", CONDITIONS)
def test_a_large_backlog_is_not_counted_through(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Beyond the limit only what is kept as items are written is asked for, and a page of items at most.
    """
    monkeypatch.setattr(facets, "SMALL", -1)
    monkeypatch.setattr(facets, "LOOK_MAX", -1)
    with closing(open_memory()) as backend:
        filled(backend)

        def run(reader: Reader) -> Watched:
            watched = Watched(reader)
            counting = Counting(watched)  # type: ignore[arg-type]
            for by in (None, *(facet for facet, _ in FACETS)):
                counting.count(CONDITIONS[text], by)
            return watched

        watched = backend.read(run)
    assert len(watched.tallied) == len(set(watched.tallied)) > 0
    for where, by in watched.tallied:
        fields = ({*by} | fields_of(where)) - FREE
        assert len(fields) <= 1, (where, by)
        assert fields <= KEPT, (where, by)
    assert all(limit is not None and limit <= 51 for limit in watched.looked)


def test_what_is_kept_is_what_the_stores_keep() -> None:
    """
    The fields that the list takes for counted are counted by the databases.
    """
    assert {COLUMNS[name] for name in KEPT} <= set(TALLIED)


def facets_of(text: str) -> dict[str, dict[str, str]]:
    """
    Return the facets of a page: their values, each with what stands beside it.
    """
    found = {}
    for section in re.findall(r"<section><h2>(\w+)</h2><ul>(.*?)</ul>", text, re.DOTALL):
        pairs = re.findall(r"<span dir=\"auto\">(.*?)</span> <span class=\"count\"[^>]*>(.*?)</span>", section[1])
        found[section[0].lower()] = {unescape(value): unescape(n) for value, n in pairs}
    return found


def said(text: str) -> str:
    """
    Return how many items the page says there are.
    """
    found = re.search(r'<p class="small total">(.*?)</p>', text)
    return found[1] if found else ""


@pytest.fixture
def several(backlog: Backlog) -> Backlog:
    """
    Return the store with 70 items: of two services, two priorities; ten are closed.
    """
    for n in range(70):
        id = backlog.upsert(title=f"number {n}", dedupe_key=str(n), service=("web", "db")[n % 2],
                            priority=("P1", "P3")[n % 4 // 2]).id  # fmt: skip
        if n < 10:
            backlog.acting_as("ann", person=True).close_item(id)
    return backlog


def test_a_facet_counts_what_its_values_would_give(client: Client, several: Backlog) -> None:
    """
    Each counts what the query leaves, without what is chosen of it: what its link leads to has as many.
    """
    text = client.get("/items", params={"q": "number", "service": "web", "priority": "P1"}).text
    assert said(text) == "15 items"
    shown = facets_of(text)
    assert shown["service"] == {"web": "15", "db": "15"}
    assert shown["priority"] == {"P1": "15", "P3": "15"}
    assert shown["status"] == {"open": "15", "done": "3"}
    for status, n in shown["status"].items():
        there = client.get("/items", params={"q": "number", "service": "web", "priority": "P1", "status": status})
        assert said(there.text) == f"{n} items"


@pytest.mark.parametrize(("q", "words"), [("", "60 items"), ("number", "60 items"), ('"number 12"', "1 item")])
def test_the_list_says_how_many_items_match(client: Client, several: Backlog, q: str, words: str) -> None:
    """
    On the first page and on those behind it.
    """
    text = client.get("/items", params={"q": q}).text
    assert said(text) == words
    if following := re.search(r'rel="next" href="([^"]+)"', text):
        assert said(client.get(unescape(following[1])).text) == words


def test_a_value_that_is_chosen_and_has_nothing_stays(client: Client, several: Backlog) -> None:
    """
    What is chosen can be taken back on the facet that it was chosen at, though nothing is left by it.
    """
    shown = facets_of(client.get("/items", params={"priority": "P0", "service": "web"}).text)
    assert shown["priority"] == {"P1": "15", "P3": "15", "P0": "0"}


def test_what_was_not_counted_is_told_as_a_bound(
    client: Client, several: Backlog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A list that would have to be counted through says that it is more than its page, and how many at most.
    """
    monkeypatch.setattr(facets, "SMALL", -1)
    monkeypatch.setattr(facets, "LOOK_MAX", 0)
    text = client.get("/items", params={"q": "number"}).text
    assert said(text) == "More than 50 items, at most 60"
    assert facets_of(text)["service"] == {"db": "≤ 30", "web": "≤ 30"}
    assert facets_of(text)["status"] == {"open": "≤ 60", "done": "≤ 10"}
    assert ">≤ 60</a></h2>" in client.get("/board", params={"q": "number"}).text


def test_who_reaches_a_part_sees_the_counts_of_that_part(
    asking: Callable[[str], Client], several: Backlog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Exact where their part is counted, and never a number of others.
    """
    client = asking("ben")
    assert said(client.get("/items").text) == "30 items"
    assert facets_of(client.get("/items").text)["service"] == {"web": "30"}
    monkeypatch.setattr(facets, "SMALL", -1)
    monkeypatch.setattr(facets, "LOOK_MAX", 0)
    shown = facets_of(client.get("/items", params={"status": "open"}).text)
    assert shown["service"] == {"web": "30"}
    assert shown["priority"] == {"P1": "15", "P3": "15"}


def test_a_count_of_nothing_is_exact() -> None:
    """
    Nothing found is nothing, not "at most nothing".
    """
    with closing(open_memory()) as backend:
        assert backend.read(lambda reader: counted(reader, SERVICE)) == Count({})


def test_a_list_with_faults_tells_each_and_counts_nothing(client: Client, several: Backlog) -> None:
    """
    Every fault of an address stands on the page, and no count of something else beside it.
    """
    response = client.get("/items", params={"sort": "colour", "limit": "many"})
    assert response.status_code == 422
    assert "<code>sort</code> colour: " in response.text
    assert "<code>limit</code> many: " in response.text
    assert (facets_of(response.text), said(response.text)) == ({}, "")
