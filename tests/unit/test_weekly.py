"""
The digest reads little, and sees each thing once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from backlog_store import open_backlog
from backlog_store.backends.port import Reader
from backlog_store.backlog import Backlog
from backlog_store.commands import Comment
from backlog_store.instants import Instant, add_seconds
from backlog_store.testing.clocks import START, CountingIds, StepClock
from backlog_store.weekly import AGED, Weekly, weekly

_DAY_S = 86_400
_PAGE = 1_000


class _Counting:
    """
    A reader that notes what it is asked for.
    """

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self.asked: list[tuple[str, int | None]] = []

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method: Callable[..., Any] = getattr(self._reader, name)

        def noted(*given: Any) -> Any:
            limit = getattr(given[0], "limit", None) if name in ("events", "search") else given[-1]
            self.asked.append((name, limit))
            return method(*given)

        return noted

    def limits(self, name: str) -> Sequence[int | None]:
        """
        Return the limits of the questions of this name.
        """
        return [limit for asked, limit in self.asked if asked == name]


def _store(clock: StepClock) -> Backlog:
    return open_backlog("memory://", clock=clock, ids=CountingIds())


def _create(backlog: Backlog, name: str, count: int = 1) -> None:
    list(backlog.report({"title": f"{name} {n}", "dedupe_key": f"{name}:{n}", "source": "s"} for n in range(count)))


def _told(backlog: Backlog, since: Instant, now: Instant) -> tuple[Weekly, _Counting]:
    def run(reader: Reader) -> tuple[Weekly, _Counting]:
        counting = _Counting(reader)
        return weekly(counting, env="", since=since, now=now), counting

    return backlog.read(run)


def test_a_long_past_is_not_read() -> None:
    """Behind the events of the window a bounded number of pages is looked at, and no question is without a bound."""
    clock = StepClock()
    with _store(clock) as backlog:
        _create(backlog, "old", 13_000)
        clock.advance(30 * _DAY_S)
        since = clock()
        _create(backlog, "new", 3)
        found, counting = _told(backlog, since, clock())
    assert 3 == found.new.count
    assert [_PAGE] * 11 == counting.limits("events")
    assert all(limit is not None and limit <= AGED for limit in counting.limits("search"))


def test_what_was_committed_late_does_not_hide_what_is_new() -> None:
    """Reports that were accepted before the window and committed after others of it (an outage) are walked past."""
    clock = StepClock()
    with _store(clock) as backlog:
        clock.advance(10 * _DAY_S)
        since = clock()
        _create(backlog, "new", 2)
        clock.advance(-9 * _DAY_S)
        _create(backlog, "late", 2_500)
        clock.advance(10 * _DAY_S)
        found, _ = _told(backlog, since, clock())
    assert ["new 0", "new 1"] == sorted(item.title for item in found.new.first)
    assert 2 == found.new.count


def test_digests_that_follow_each_other_tell_each_thing_once() -> None:
    """What happened at the very instant where one digest ends is told by the next one, and by no other."""
    clock = StepClock(step_s=0)
    with _store(clock) as backlog:
        for name in ("first", "edge", "last"):
            clock.advance(_DAY_S)
            _create(backlog, name)
        edge, end = add_seconds(START, 2 * _DAY_S), add_seconds(START, 4 * _DAY_S)
        before, after = _told(backlog, START, edge)[0], _told(backlog, edge, end)[0]
    assert ["first 0"] == [item.title for item in before.new.first]
    assert ["edge 0", "last 0"] == sorted(item.title for item in after.new.first)


def test_one_look_a_lane_however_many_runs_there_were() -> None:
    """The runs of a lane are leapt over: two lanes cost three looks, each of one record."""
    clock = StepClock()
    with _store(clock) as backlog:
        for _ in range(20):
            for source in ("ruff", "bandit"):
                backlog.begin_run(source, services=["web"]).abort("nothing to see")
        clock.advance(5 * _DAY_S)
        since = clock()
        backlog.begin_run("ruff", services=["web"])
        clock.advance(5 * _DAY_S)
        found, counting = _told(backlog, since, clock())
    assert ["bandit"] == [one.source for one in found.silent]
    assert [1, 1, 1] == counting.limits("scan")


def test_an_item_that_came_back_within_its_window_is_told_once() -> None:
    """Its episode goes on, however often it came back: one reopened item, as is one that began anew."""
    clock = StepClock()
    with _store(clock) as backlog:
        ann = backlog.acting_as("ann", person=True)
        ann.apply_policy("reopen: {rules: [{reason: [fixed], within: 1d, then: same_episode}]}", over=0)
        for name in ("flaps", "returns"):
            backlog.upsert(title=name, dedupe_key=name)
        clock.advance(_DAY_S)
        since = clock()
        for wait_s, names in ((60, ("flaps", "returns")), (60, ("flaps",)), (2 * _DAY_S, ("returns",))):
            for item in backlog.search():
                if item.title in names and item.status == "open":
                    ann.close_item(item.id)
            clock.advance(wait_s)
            for name in names:
                backlog.upsert(title=name, dedupe_key=name)
        found, _ = _told(backlog, since, clock())
    assert ["flaps", "returns"] == sorted(item.title for item in found.reopened.first)
    assert 2 == found.reopened.count


def test_new_items_are_known_after_their_history_was_shortened() -> None:
    """A baseline stands for the events that were forgotten; the item's creation is told once all the same."""
    clock = StepClock()
    with _store(clock) as backlog:
        since = clock()
        ann = backlog.acting_as("ann", person=True)
        _create(backlog, "new")
        item = backlog.search()[0]
        ann.edit(item.id, owner="ann")
        clock.advance(3 * _DAY_S)
        backlog.maintain(None, history_days=1)
        found, _ = _told(backlog, since, clock())
        assert "baseline" in {event.type for event in backlog.trail(item.id)}
    assert 1 == found.new.count


_STEPS = """
escalation:
  rules:
    - {name: old, steps: [{name: nudge, untouched_hours: 24}, {name: lead, untouched_hours: 72}]}
"""


def test_steps_are_looked_for_among_a_bounded_number_of_items() -> None:
    """The most urgent ones are looked at, their trails a hundred at a time, and it is told how many were."""
    clock = StepClock()
    with _store(clock) as backlog:
        backlog.acting_as("ann", person=True).apply_policy(_STEPS, over=0)
        _create(backlog, "old", AGED + 20)
        backlog.upsert(title="urgent", dedupe_key="urgent", priority="P0")
        clock.advance(2 * _DAY_S)
        found, counting = _told(backlog, START, clock())
    assert found.steps_due is not None
    assert (AGED, AGED) == (found.steps_due.count, found.steps_looked_at)
    assert ["urgent"] == [step.item.title for step in found.steps_due.first][:1]
    assert [AGED] == [limit for limit in counting.limits("search") if limit == AGED][:1]
    assert 5 == counting.limits("events").count(None)


def test_a_step_that_fired_is_told_in_the_digest_of_its_time_and_env() -> None:
    """What fired before or in another env is not told; what callers added as an event of that name is none."""
    clock = StepClock()
    with _store(clock) as backlog:
        ann = backlog.acting_as("ann", person=True)
        ann.apply_policy(_STEPS, over=0)
        for env in ("prod", "staging"):
            backlog.upsert(title=env, dedupe_key="k", env=env)
        clock.advance(2 * _DAY_S)
        list(ann.work.escalate())
        since = clock()
        clock.advance(2 * _DAY_S)
        assert 2 == len(list(ann.work.escalate()))
        item = backlog.search()[0]
        ann.execute(Comment(id=item.id, type="escalated", message="by hand"))
        now = clock()
        whole = backlog.read(lambda reader: weekly(reader, env="", since=since, now=now))
        one = backlog.read(lambda reader: weekly(reader, env="staging", since=since, now=now))
    assert [("prod", "lead"), ("staging", "lead")] == [(step.item.title, step.step) for step in whole.steps_fired.first]
    assert 2 == whole.steps_fired.count
    assert ["staging"] == [step.item.title for step in one.steps_fired.first]
    assert one.steps_due is not None
    assert 0 == one.steps_due.count
