"""
A grown backlog, as the benchmarks load it, in every backend that keeps anything: it is sound, and counted exactly.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from backlog_store import open_backlog
from backlog_store.backlog import Backlog
from backlog_store.model import LIVE, Item
from backlog_store.query import ORDERS, All, Compare, In, ItemQuery, live, matcher, order_key
from backlog_store.verify import verify
from bench.population import NOW, fill, population
from tests.stores import RETAINING, url_of

ITEMS = 600


@pytest.fixture(scope="module", params=RETAINING)
def backlog(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backlog]:
    """
    A backlog of some hundred items.
    """
    folder: Path = tmp_path_factory.mktemp("populations")
    with open_backlog(url_of(request.param, request, folder), clock=lambda: NOW) as backlog:
        fill(backlog.executor.backend, ITEMS, seed=7)
        yield backlog


@pytest.fixture(scope="module")
def items() -> list[Item]:
    """
    The same items, as they were made.
    """
    return [load.item for load in population(ITEMS, seed=7)]


def test_a_population_is_what_its_events_say(backlog: Backlog) -> None:
    """Every item of it is rebuilt from its events, and every chain holds."""
    found = backlog.read(verify)
    assert (found.items, found.faults) == (ITEMS, [])


@pytest.mark.parametrize("env", ["", "prod"])
def test_the_dashboard_counts_as_one_would_by_hand(backlog: Backlog, items: list[Item], env: str) -> None:
    """Each number of it is that of looking at every item."""
    here = [item for item in items if env in ("", item.env)]
    alive = [item for item in here if item.status in LIVE]
    late = [item for item in alive if item.due_date and item.due_date < NOW[:10]]
    shown = backlog.dashboard(env)

    assert shown.status_counts == Counter(item.status for item in here)
    assert shown.priority_counts == Counter(item.priority for item in alive)
    assert shown.category_counts == Counter(item.category for item in alive)
    assert shown.owner_counts == Counter(item.owner for item in alive)
    assert shown.source_counts == Counter(item.source for item in alive)
    assert (shown.total, shown.live) == (len(here), len(alive))
    assert (shown.overdue_count, shown.unowned) == (len(late), sum(not item.owner for item in alive))
    assert shown.snoozed == sum(item.wake_at > NOW for item in alive)
    assert list(shown.overdue) == sorted(late, key=lambda item: order_key(item, "priority"))[:20]


@pytest.mark.parametrize("env", ["", "prod"])
def test_what_needs_attention_leaves_out_who_sleeps(backlog: Backlog, items: list[Item], env: str) -> None:
    """Urgent, overdue, due and unowned items count while they are awake."""
    awake = [item for item in items if env in ("", item.env) and item.status in LIVE and item.wake_at <= NOW]
    late = [item for item in awake if item.due_date and item.due_date < NOW[:10]]
    soon = [item for item in awake if NOW[:10] <= item.due_date <= "2026-01-08"]
    shown = backlog.attention(env)

    assert shown.urgent_count == sum(item.priority in ("P0", "P1") for item in awake)
    assert (shown.overdue_count, shown.due_soon_count) == (len(late), len(soon))
    assert shown.unowned_count == sum(not item.owner for item in awake)
    assert shown.woken_count == sum(item.wake_at != "" for item in awake)
    assert list(shown.overdue) == sorted(late, key=lambda item: order_key(item, "priority"))[:5]


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("order", ORDERS)
def test_pages_put_together_from_many_branches_are_in_order(
    backlog: Backlog, items: list[Item], order: str, descending: bool
) -> None:
    """Overdue items of two envs, page by page, come as they would out of one sort."""
    where = All((live(), In("env", ("prod", "staging")), Compare("due_date", "<", "2026-02-01")))
    matches = matcher(where)
    wanted = sorted(filter(matches, items), key=lambda item: order_key(item, order), reverse=descending)
    found: list[Item] = []
    while len(found) < len(wanted):
        after = order_key(found[-1], order) if found else None
        query = ItemQuery(where=where, order=order, descending=descending, limit=7, after=after)  # type: ignore[arg-type]
        page = backlog.read(lambda reader, query=query: reader.search(query))  # type: ignore[misc]
        assert page
        found += page
    assert found == wanted
    query = ItemQuery(where=where, order=order, descending=descending, limit=5, offset=9)  # type: ignore[arg-type]
    assert list(backlog.read(lambda reader: reader.search(query))) == wanted[9:14]
