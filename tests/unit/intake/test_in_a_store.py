from collections import Counter
from collections.abc import Iterator

import pytest

from backlog_store import open_backlog
from backlog_store.backlog import Backlog
from backlog_store.intake import Finding, ReportContext
from backlog_store.query import EventQuery
from tests.unit.intake.reading import DEMO, REPORTS, drafts, load, read

NAMES = sorted(file.name for file in REPORTS.iterdir() if file.name != "README.md")


@pytest.fixture
def backlog() -> Iterator[Backlog]:
    """An empty backlog in memory."""
    with open_backlog("memory://") as backlog:
        yield backlog


def report(backlog: Backlog, name: str) -> Counter[str]:
    """Report a file of tests/assets; return how many drafts had which verdict."""
    return Counter(outcome.verdict for _, outcome in backlog.report(drafts(load(name))))


def events(backlog: Backlog) -> int:
    """Return how many events the store holds."""
    return len(backlog.events(EventQuery(limit=None)))


@pytest.mark.parametrize("name", NAMES)
def test_the_same_real_report_twice_changes_nothing(backlog: Backlog, name: str) -> None:
    """First all created, then all unchanged, without one event."""
    found = len(drafts(load(name)))
    assert report(backlog, name) == (Counter(created=found) if found else Counter())
    before = events(backlog)
    assert report(backlog, name) == (Counter(unchanged=found) if found else Counter())
    assert before == events(backlog)


@pytest.mark.parametrize("tool", ["bandit", "ruff", "semgrep"])
def test_code_that_moved_50_lines_changes_nothing(backlog: Backlog, tool: str) -> None:
    """The same findings at other lines: all unchanged, without one event."""
    created = report(backlog, f"{tool}.sarif")
    before = events(backlog)
    assert Counter(unchanged=created["created"]) == report(backlog, f"{tool}-moved.sarif")
    assert before == events(backlog)


def test_the_next_release_of_a_package(backlog: Backlog) -> None:
    """What the new release still has is unchanged, what it brings is created, and nothing is merely updated."""
    context = ReportContext(service="gunicorn")
    old, new = (read((DEMO / f"gunicorn-{v}.ruff.sarif").read_bytes(), context) for v in ("20.1.0", "23.0.0"))
    assert Counter(created=59) == Counter(outcome.verdict for _, outcome in backlog.report(drafts(old)))
    assert Counter(unchanged=55, created=6) == Counter(outcome.verdict for _, outcome in backlog.report(drafts(new)))


def test_a_resolved_alert_names_what_it_closes(backlog: Backlog) -> None:
    """Env, source and key of the resolved alert are those of the item that the firing one opened."""
    report(backlog, "alertmanager-firing.json")
    parsed = load("alertmanager-resolved.json")
    (gone,) = [one.draft for one in parsed if isinstance(one, Finding) and one.resolved]
    backlog.resolve(gone.env, gone.source, [gone.dedupe_key], proof="resolved by Alertmanager")
    assert {"done": 1, "open": 1} == Counter(item.status for item in backlog.each())
