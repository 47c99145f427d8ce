"""
A simulation of `auto`: several processes on one spool, ruled by a seed, a false clock and a primary that misbehaves.

The outages and the clock are fakes; the executors, their spool on the disk and the store behind the switch are real.
Real processes and a real server are in `test_chaos.py`.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest

from backlog_store import Backlog
from backlog_store.backends.jsonl import open_jsonl
from backlog_store.backends.memory import MemoryBackend
from backlog_store.backends.port import NO_HINT, Backend, Hint, Writer
from backlog_store.commands import Report
from backlog_store.errors import BacklogError, OutcomeUnknown
from backlog_store.executors.failover import FailoverExecutor
from backlog_store.executors.failover.identity import AnotherStore, RestoredStore
from backlog_store.executors.failover.timing import Timing
from backlog_store.executors.local import LocalExecutor
from backlog_store.model import Draft
from backlog_store.query import EventQuery
from backlog_store.testing.clocks import CountingIds, StepClock
from tests.crash.points import FilePoints, Points
from tests.outage.primaries import Switched, Timer
from tests.sizes import SEEDS, SIMULATIONS

T = TypeVar("T")
PROCESSES, STEPS = 3, 120
SHARED = "shared"


class Died(BaseException):
    """
    The end of a process, in the middle of whatever it was doing.
    """


class Line(Switched):
    """
    One process's way to the primary that all share.

    It is up or away, loses answers (*deaf*), delivers late what nobody waits for any more (*late*), or ends its process
    after the commit (*fatal*).
    """

    def __init__(self, inner: Backend, pending: list[Callable[[], object]]) -> None:
        super().__init__(inner)
        self.mood = "up"
        self._pending = pending

    def write(self, fn: Callable[[Writer], T], /, *, hint: Hint = NO_HINT) -> T:
        """Write, as the mood has it."""
        self._check("writing")
        if self.mood == "late":
            self._pending.append(lambda: self.inner.write(fn, hint=hint))
            raise OutcomeUnknown("switched", "writing", "the request is on its way")
        answer = self.inner.write(fn, hint=hint)
        if self.mood == "fatal":
            raise Died
        if self.mood == "deaf":
            raise OutcomeUnknown("switched", "writing", "the answer was lost")
        return answer

    def _check(self, operation: str) -> None:
        self.up = self.mood != "away"
        super()._check(operation)


class MortalFiles(FilePoints):
    """
    The real file system for one process; once that has died, nothing of it reaches a disk any more.
    """

    def __init__(self) -> None:
        self.deadline = 0
        self.is_dead = False
        self._fds: set[int] = set()
        super().__init__(Points())

    def _around(self, name: str, operation: Callable[[], Any]) -> Any:
        self._live()
        return super()._around(name, operation)

    def open(self, path: str, flags: int) -> int:
        fd = super().open(path, flags)
        self._fds.add(fd)
        return fd

    def close(self, fd: int) -> None:
        if fd in self._fds:
            self._fds.discard(fd)
            super().close(fd)

    def write(self, fd: int, data: bytes, offset: int) -> int:
        self._live()
        return super().write(fd, data, offset)

    def sync_data(self, fd: int) -> None:
        """Sync nothing: the machine itself goes on, and that is faster."""
        self._live()

    def sync_folder(self, path: str) -> None:
        """Sync nothing."""
        self._live()

    def bury(self) -> None:
        """
        Let go of what a dead process held open.
        """
        for fd in list(self._fds):
            self.close(fd)

    def _live(self) -> None:
        if self.deadline:
            self.deadline -= 1
            self.is_dead = self.is_dead or not self.deadline
        if self.is_dead:
            raise Died


class World:
    """
    Processes, each with a number that it writes next, and all that one seed rules.
    """

    def __init__(self, seed: str, folder: Path) -> None:
        self.rng = random.Random(seed)
        self.folder = folder
        self.primary = MemoryBackend()
        self.timer, self.clock, self.ids = Timer(), StepClock(), CountingIds()
        self.pending: list[Callable[[], object]] = []
        self.trace: list[str] = []
        self.next = [1] * PROCESSES
        self.lines = [Line(self.primary, self.pending) for _ in range(PROCESSES)]
        self.files: list[MortalFiles] = []
        self.executors: list[FailoverExecutor | None] = []
        for number in range(PROCESSES):
            self.files.append(MortalFiles())
            self.executors.append(None)
            self.start(number)

    def start(self, number: int) -> None:
        """
        Begin a process anew; it may die of that.
        """
        files = self.files[number] = MortalFiles()
        spool = self.folder / "spool"
        self.trace.append(f"start {number}")
        self._living(
            number,
            lambda: self.executors.__setitem__(
                number,
                FailoverExecutor(
                    self.lines[number].open, spool, background=False, clock=self.clock, ids=self.ids,
                    monotonic=self.timer, timing=Timing(settle_s=0, batch=self.rng.choice((2, 10, 2_000))),
                    open_spool=lambda: open_jsonl(spool, fs=files, lock_timeout_s=2, compact_slack=5_000),
                ),
            ),
        )  # fmt: skip

    def step(self) -> None:
        """
        Let one thing happen.
        """
        number = self.rng.randrange(PROCESSES)
        what = self.rng.choices(
            ("write", "work", "mood", "time", "deliver", "doom", "jump", "leave"), (30, 25, 8, 6, 4, 3, 1, 1)
        )[0]
        self.trace.append(f"{what} {number}")
        match what:
            case "write":
                self.write(number)
            case "work":
                self._living(number, self._executor(number).step)
            case "mood":
                mood = self.rng.choice(("up", "up", "away", "away", "deaf", "late", "fatal"))
                everybody = self.rng.random() < 0.5
                for line in self.lines if everybody else [self.lines[number]]:
                    line.mood = mood
                self.trace.append(f"{mood} for {'all' if everybody else number}")
            case "time":
                self.timer.now += self.rng.choice((0.1, 1.0, 5.0, 60.0))
            case "deliver":
                self.deliver()
            case "doom":
                self.files[number].deadline = self.rng.randint(1, 40)
            case "jump":
                self.clock.advance(self.rng.choice((-1, 1)) * 86_400.0)
            case "leave":
                self._living(number, self._executor(number).close)
                self.start(number)

    def write(self, number: int) -> None:
        """
        Report the process's next number: on an item of its own, and on one that all share. Asked again if it died.
        """
        n = self.next[number]
        drafts = tuple(Draft(title=f"{number} {n}", dedupe_key=key) for key in (f"own:{number}", SHARED))
        backlog = Backlog(self._executor(number), clock=self.clock, ids=self.ids)

        def run() -> None:
            answer = backlog.execute(Report(drafts=drafts), request_id=f"{number}/{n}")
            assert not answer.volatile
            assert not any(outcome.code for outcome in answer.outcomes), answer
            self.trace.append(f"{n} {'accepted' if answer.accepted else 'recorded'}")
            self.next[number] += 1

        self._living(number, run)

    def deliver(self) -> None:
        """
        Let the primary carry out what was on its way to it.
        """
        while self.pending:
            late = self.pending.pop(self.rng.randrange(len(self.pending)))
            try:
                late()
            except (BacklogError, AnotherStore, RestoredStore) as refused:
                self.trace.append(f"too late: {type(refused).__name__}")

    def settle(self) -> None:
        """
        Let all be well again, and wait until nothing waits.
        """
        for line in self.lines:
            line.mood = "up"
        for files in self.files:
            files.deadline = 0
        self.deliver()
        for _ in range(200):
            if all(self._is_well(number) for number in range(PROCESSES)):
                break
            self.timer.now += 2.0
            for number in range(PROCESSES):
                self._executor(number).step()
        assert all(self._is_well(number) for number in range(PROCESSES)), "never up again"
        for number in range(PROCESSES):
            self.write(number)  # also what was asked for and not answered

    def _is_well(self, number: int) -> bool:
        standing = self._executor(number).standing()
        return standing.state == "up" and not standing.waiting

    def _executor(self, number: int) -> FailoverExecutor:
        while (executor := self.executors[number]) is None:
            self.start(number)
        return executor

    def _living(self, number: int, act: Callable[[], object]) -> None:
        """
        Do something in a process. If it dies of that, another one takes its place later.
        """
        try:
            act()
        except Died:
            self.trace.append(f"{number} died")
            executor, self.executors[number] = self.executors[number], None
            self.files[number].is_dead = True
            self.files[number].bury()
            if executor is not None:
                executor._drain.lock.forget()
            if self.lines[number].mood == "fatal":
                self.lines[number].mood = "up"

    def hold(self) -> None:
        """
        Each number once, in its process's order; an account that balances; nothing parked.
        """
        backlog = Backlog(LocalExecutor(self.primary))
        shared = self._said(backlog, SHARED)
        assert Counter(shared).most_common(1)[0][1] == 1
        for number in range(PROCESSES):
            wanted = [f"{number} {n}" for n in range(1, self.next[number])]
            assert self._said(backlog, f"own:{number}") == wanted
            assert [said for said in shared if said.startswith(f"{number} ")] == wanted
            account = self._executor(number).standing().account
            assert account.balances, account
            assert (account.waiting, account.parked, account.discarded, account.again) == (0, 0, 0, 0), account

    def _said(self, backlog: Backlog, key: str) -> list[str]:
        item = backlog.get_by_key(key)
        assert item is not None
        events = backlog.events(EventQuery(item_ids=(item.id,), limit=None))
        return [event.changes["title"][1] for event in events]


@pytest.mark.parametrize("part", range(4))
def test_whatever_happens_everything_arrives_once_and_in_order(part: int, tmp_path: Path) -> None:
    """
    Outages, lost and late answers, deaths at any operation, two drains at once, clocks that jump.
    """
    accepted = 0
    for number in range(part, SIMULATIONS, 4):
        seed = f"{SEEDS[0]}/{number}"
        folder = tmp_path / str(number)
        folder.mkdir()
        world = World(seed, folder)
        try:
            for _ in range(STEPS):
                world.step()
            world.settle()
            world.hold()
        except Exception as error:
            raise AssertionError(f"seed {seed}: {error!r} after\n" + "\n".join(world.trace[-60:])) from error
        accepted += world._executor(0).standing().account.accepted
    assert accepted
