"""
The local copy: the same answers as the primary at the instant that it names, bounded, and never a second truth.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from backlog_store import Backlog, open_backlog
from backlog_store.backends.port import Backend
from backlog_store.commands import ApplyPolicy, Comment, Report
from backlog_store.errors import BackendUnavailable
from backlog_store.executors.failover.copy import LocalCopy
from backlog_store.executors.local import LocalExecutor
from backlog_store.model import Draft
from backlog_store.query import EventQuery, ItemQuery
from backlog_store.testing.clocks import CountingIds, StepClock
from tests.stores import url_of

NOW = "2026-03-01T09:00:00.000000Z"
LATER = "2026-03-01T10:00:00.000000Z"


@pytest.fixture(params=["memory", "postgres"])
def primary(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Backlog]:
    """
    A primary: PostgreSQL as in life, and the model.
    """
    with open_backlog(url_of(request.param, request, tmp_path), clock=StepClock(), ids=CountingIds(1)) as backlog:
        yield backlog


@pytest.fixture
def copy(tmp_path: Path) -> Iterator[LocalCopy]:
    """
    A copy that was never filled.
    """
    local = LocalCopy(tmp_path)
    yield local
    local.close()


def backend_of(backlog: Backlog) -> Backend:
    """
    Return the backend below a local backlog.
    """
    assert isinstance(backlog.executor, LocalExecutor)
    return backlog.executor.backend


def filled(copy: LocalCopy, primary: Backlog, now: str = NOW) -> None:
    """
    Feed the copy until nothing is left.
    """
    while copy.feed(backend_of(primary), now):
        pass


def fill(primary: Backlog, count: int, *, prefix: str = "p") -> list[str]:
    """
    Report problems and return the items' ids.
    """
    drafts = [Draft(title=f"Problem {number}", dedupe_key=f"{prefix}:{number}") for number in range(count)]
    return [outcome.id for _, outcome in primary.report(drafts)]


def everything(backend: Backend | LocalCopy) -> list[object]:
    """
    Return all items in order.
    """
    return list(backend.read(lambda reader: reader.search(ItemQuery(order="id", limit=None))))


def test_an_empty_copy_answers_nothing_rather_than_emptiness(copy: LocalCopy) -> None:
    """
    Before it was ever filled a read raises, and no file is made for it.
    """
    assert copy.as_of == ""
    with pytest.raises(BackendUnavailable, match="no local copy"):
        copy.read(lambda reader: reader.search(ItemQuery()))


def test_a_filled_copy_equals_its_primary(primary: Backlog, copy: LocalCopy) -> None:
    """
    Items, trails, counts of reports, links, verdicts and views read alike, and it says as of when.
    """
    ids = fill(primary, 1_203)
    primary.upsert(title="Problem 3", dedupe_key="p:3")
    primary.comment(ids[3], "seen again")
    primary.close_item(ids[4], "wont_fix", message="by design")
    primary.link(ids[5], "blocks", ids[6])
    primary.save_view("mine", "owner:@me")

    filled(copy, primary)

    assert copy.as_of == NOW
    assert everything(copy) == everything(backend_of(primary))
    reading = Backlog(_Reading(copy))  # type: ignore[arg-type]
    for id in ids[:10]:
        assert [event.hash for event in reading.trail(id)] == [event.hash for event in primary.trail(id)]
        assert reading.links(id) == primary.links(id)
        assert reading.sightings(id) == primary.sightings(id)
    assert dict(reading.verdicts()) == dict(primary.verdicts())
    assert reading.views() == primary.views()


class _Reading:
    def __init__(self, copy: LocalCopy) -> None:
        self.read = copy.read


def test_it_follows_what_is_changed_and_purged(primary: Backlog, copy: LocalCopy) -> None:
    """
    Changes, new items, purges and parted links of the primary arrive with the next feed.
    """
    ids = fill(primary, 5)
    primary.link(ids[0], "relates", ids[1])
    filled(copy, primary)

    primary.edit(ids[0], title="Another title")
    primary.link(ids[0], "relates", ids[1], remove=True)
    fill(primary, 3, prefix="new")
    primary.close_item(ids[2], "obsolete", message="gone")
    assert isinstance(primary.clock, StepClock)
    primary.clock.advance(400 * 86_400)
    assert primary.cleanup(1) == 1
    filled(copy, primary, LATER)

    assert copy.as_of == LATER
    assert everything(copy) == everything(backend_of(primary))
    assert Backlog(_Reading(copy)).links(ids[0]) == []  # type: ignore[arg-type]


def test_accepted_commands_are_laid_over_and_the_primary_has_the_last_word(primary: Backlog, copy: LocalCopy) -> None:
    """
    What was accepted shows at once; after the drain the copy holds what the primary made of it, and nothing else.
    """
    ids = fill(primary, 3)
    filled(copy, primary)
    away = open_backlog("memory://", clock=StepClock(), ids=CountingIds(10_000))
    report = away.command(Report(drafts=(Draft(title="New", dedupe_key="n"), Draft(title="Other", dedupe_key="p:0"))),
                          request_id="r1")  # fmt: skip
    comment = away.command(Comment(id=ids[1], message="while it was away"), request_id="r2")

    copy.lay_over([report, comment, report])

    titles = {item.title for item in copy.read(lambda reader: reader.search(ItemQuery()))}
    assert {"New"} <= titles
    assert len(titles) == 4
    trail = copy.read(lambda reader: reader.events(EventQuery(item_ids=(ids[1],), limit=None)))
    assert [event.message for event in trail if event.added] == ["while it was away"]

    primary.executor.execute(comment)  # the report came to nothing there
    copy.refresh(backend_of(primary), [])
    assert everything(copy) == everything(backend_of(primary))
    assert copy.read(lambda reader: reader.scan("answer", "", "", 10)) == []


def test_accepted_commands_are_shown_as_the_policy_in_force_decides_them(primary: Backlog, copy: LocalCopy) -> None:
    """
    The copy knows the policy of its primary, the one from before it was filled as well as the one that came after.
    """
    ann = primary.acting_as("ann", person=True)
    ann.execute(ApplyPolicy(text="priority: {rules: [{set: P0}]}", over=0))
    filled(copy, primary)
    report = Report(drafts=(Draft(title="One", dedupe_key="one"),))
    copy.lay_over([primary.command(report)])
    assert [item.priority for item in copy.read(lambda reader: reader.search(ItemQuery()))] == ["P0"]
    copy.refresh(backend_of(primary), [])

    ann.execute(ApplyPolicy(text="priority: {rules: [{set: P1}]}", over=1))
    filled(copy, primary, LATER)
    copy.lay_over([primary.command(report)])
    assert [item.priority for item in copy.read(lambda reader: reader.search(ItemQuery()))] == ["P1"]


def test_another_primary_begins_anew(copy: LocalCopy, tmp_path: Path) -> None:
    """
    A primary that was set back, or replaced by another, leaves nothing of the old one in the copy.
    """
    with open_backlog(f"sqlite:///{tmp_path}/one.db") as one, open_backlog(f"sqlite:///{tmp_path}/two.db") as two:
        fill(one, 700)
        filled(copy, one)
        fill(two, 3, prefix="two")
        assert copy.feed(backend_of(two), LATER)
        assert copy.as_of == ""  # in between it is nobody's copy, and says so
        filled(copy, two, LATER)
        assert everything(copy) == everything(backend_of(two))


def test_it_is_bounded_and_says_what_it_leaves_out(primary: Backlog, tmp_path: Path) -> None:
    """
    Live items come first; where even these are too many the copy says that it is partial.
    """
    ids = fill(primary, 10)
    for id in ids[:4]:
        primary.close_item(id, "obsolete", message="gone")
    small = LocalCopy(tmp_path, items_max=8)
    filled(small, primary)
    statuses = [item.status for item in small.read(lambda reader: reader.search(ItemQuery(limit=None)))]
    assert len(statuses) == 8
    assert statuses.count("open") == 6
    assert not small.is_partial

    fill(primary, 3, prefix="more")
    filled(small, primary)
    statuses = [item.status for item in small.read(lambda reader: reader.search(ItemQuery(limit=None)))]
    assert len(statuses) == 8
    assert statuses.count("open") == 8
    assert small.is_partial
    small.close()


def test_a_damaged_copy_is_made_anew(primary: Backlog, copy: LocalCopy, tmp_path: Path) -> None:
    """
    Nothing is lost with a copy: a file that is no store any more is thrown away and filled again.
    """
    fill(primary, 5)
    filled(copy, primary)
    copy.close()
    for path in tmp_path.glob("copy.db*"):
        path.unlink()
    (tmp_path / "copy.db").write_bytes(b"no database at all " * 400)
    again = LocalCopy(tmp_path)
    assert again.as_of == ""
    filled(again, primary)
    assert everything(again) == everything(backend_of(primary))
    again.close()
