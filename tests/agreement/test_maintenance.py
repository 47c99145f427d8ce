"""
Maintenance on every backend: the same is left, however often it was interrupted, and writers go on meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
from msgspec.structs import replace

from backlog_store.backends.port import Backend, Writer
from backlog_store.backlog import Backlog
from backlog_store.commands import Answer, Command
from backlog_store.executors.local import LocalExecutor
from backlog_store.maintenance import Maintained
from backlog_store.model import LIMITS
from backlog_store.testing.clocks import CountingIds, StepClock
from backlog_store.testing.contents import contents
from backlog_store.verify import verify
from tests.stores import RETAINING, new_stores

DAY_S = 86_400
ITEMS = 12
WAIT_S = 60.0


class Interrupted(Exception):
    """
    Somebody pulled the plug.
    """


class Stepping(LocalExecutor):
    """
    An executor that calls *after* behind every command.
    """

    after: Callable[[Command, Answer], None] = staticmethod(lambda command, answer: None)

    def execute(self, command: Command) -> Answer:
        answer = super().execute(command)
        self.after(command, answer)
        return answer


@pytest.fixture(params=RETAINING)
def new_store(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Backend]:
    """
    Return what opens a store of its own.
    """
    return new_stores(request.param, request, tmp_path)()


@pytest.fixture(autouse=True)
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Let a step end at few rows, and pages be short.
    """
    monkeypatch.setattr("backlog_store.rules.forgetting.LIMITS", replace(LIMITS, step_rows=6))
    monkeypatch.setattr("backlog_store.maintenance._PAGE", 7)


def filled(backend: Backend) -> Backlog:
    """
    Return a backlog with closed and live items, old and new events, a purged key and expired answers.
    """
    clock = StepClock()
    backlog = Backlog(Stepping(backend), actor="scanner", clock=clock, ids=CountingIds())
    backlog.upsert(title="gone", dedupe_key="gone")
    backlog.close_item(backlog.get_by_key("gone").id, "wont_fix")
    clock.advance(200 * DAY_S)
    assert backlog.cleanup(180) == 1
    for number in range(ITEMS):
        id = backlog.upsert(title=str(number), dedupe_key=str(number), request_id=f"r{number}").id
        backlog.comment(id, "old")
        if number % 3 == 0:
            backlog.close_item(id, "wont_fix")
    clock.advance(500 * DAY_S)
    for number in range(0, ITEMS, 2):
        if number % 3:
            backlog.comment(backlog.get_by_key(str(number)).id, "new")
    return backlog


def maintained(backlog: Backlog) -> Maintained:
    """
    Let go of all that is past its time.
    """
    return backlog.maintain(180, history_days=400)


def test_the_same_is_left_on_every_backend(new_store: Callable[[], Backend]) -> None:
    """Every count is the one that memory gives, what stays is proven, and a second time there is nothing to do."""
    backlog = filled(new_store())
    done = maintained(backlog)
    assert (done.purged, done.shortened, done.events, done.expired) == (4, 9, 17, ITEMS)
    assert done.rows_max <= 6 + 7
    found = backlog.read(verify)
    assert (found.faults, found.items, found.shortened) == ([], 8, 8)
    left = contents(backlog.executor.backend)
    again = maintained(backlog)
    assert (again.purged, again.shortened, again.expired, again.steps) == (0, 0, 0, 0)
    assert contents(backlog.executor.backend) == left
    assert backlog.upsert(title="gone", dedupe_key="gone").verdict == "suppressed"
    backlog.executor.close()


def test_interrupted_anywhere_it_goes_on(new_store: Callable[[], Backend]) -> None:
    """Stopped behind every single step and begun anew each time, it leaves what an undisturbed run leaves."""
    backlog = filled(new_store())
    executor: Any = backlog.executor
    steps = 0

    def stop(command: Command, answer: Answer) -> None:
        if any(outcome.verdict in ("purged", "shortened") for outcome in answer.outcomes):
            raise Interrupted

    executor.after = stop
    while True:
        try:
            done = maintained(backlog)
        except Interrupted:
            steps += 1
            assert backlog.read(verify).faults == []
            continue
        break
    assert (done.steps, steps) == (0, 10)
    found = backlog.read(verify)
    assert (found.faults, found.items, found.shortened) == ([], 8, 8)
    assert sum(event.message == "old" for event in backlog.trail(backlog.get_by_key("2").id)) == 0
    backlog.executor.close()


def test_a_writer_gets_its_turn_between_any_two_steps(new_store: Callable[[], Backend]) -> None:
    """Behind each step of maintenance another thread's upsert is carried out before the next step begins."""
    backlog = filled(new_store())
    executor: Any = backlog.executor
    asked, written, ended = Event(), Event(), Event()
    count = 0

    def write() -> None:
        other = Backlog(LocalExecutor(executor.backend), actor="other", clock=backlog.clock, ids=CountingIds(1_000_000))
        number = 0
        while asked.wait(WAIT_S) and not ended.is_set():
            asked.clear()
            other.upsert(title="new", dedupe_key=f"other {number}")
            number += 1
            written.set()

    def let_write(command: Command, answer: Answer) -> None:
        nonlocal count
        asked.set()
        assert written.wait(WAIT_S), "a step keeps the writer waiting"
        written.clear()
        count += 1

    thread = Thread(target=write)
    thread.start()
    executor.after = let_write
    done = maintained(backlog)
    ended.set()
    asked.set()
    thread.join()
    assert count >= done.steps == 11
    assert backlog.tally() == {(): 8 + count}
    assert backlog.read(verify).faults == []
    backlog.executor.close()


def test_a_step_in_mid_air_stops_no_writer_of_postgres(postgres_dsn: str) -> None:
    """While a step has deleted and not yet committed, items that it does not touch are written."""
    from backlog_store.backends.postgres import open_postgres

    backend, other = open_postgres(postgres_dsn), open_postgres(postgres_dsn)
    backlog = filled(backend)
    writer_of = Backlog(LocalExecutor(other), actor="other", clock=backlog.clock, ids=CountingIds(1_000_000))
    live = backlog.get_by_key("1")
    assert live is not None
    written = 0
    whole_write = backend.write

    def write(fn: Callable[[Writer], Any], /, **hint: Any) -> Any:
        def run(writer: Writer) -> Any:
            nonlocal written
            answer = fn(writer)
            writer.items(["bl_none"])  # sends what was applied
            writer_of.upsert(title="new", dedupe_key=f"other {written}")
            written += 1
            return answer

        return whole_write(run, **hint)

    backend.write = write  # type: ignore[method-assign]
    done = maintained(backlog)
    assert written >= done.steps == 11
    assert backlog.read(verify).faults == []
    backend.close()
    other.close()
