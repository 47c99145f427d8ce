"""
Outages of a real PostgreSQL under eight writing processes: everything accepted arrives, once, in each writer's order.
"""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from backlog_store import Backlog, open_backlog
from backlog_store.backends.keeping import audit
from backlog_store.executors.failover import FailoverExecutor
from backlog_store.query import EventQuery
from backlog_store.testing.postgres import PostgresServer
from backlog_store.verify import silent, verify
from tests.outage.chaos_writer import OWN
from tests.outage.proxy import Proxy
from tests.outage.test_postgres_failover import naming
from tests.sizes import FAULTS, SEEDS

ROOT = Path(__file__).parents[2]
WRITERS = 8
#: Reports of each writer during a fault, and after it.
DURING, AFTER = 3, 2
#: A report is accepted within a second. A machine that is busy with other things gets this much more before that is
#: called broken; while the server is frozen or silent nothing but the store's own deadlines ends the waiting at all.
PATIENCE_S = 20.0
#: How connections fare that carry on during a fault of these kinds.
_ON_THE_WAY = {"silence": "deaf", "lost answers": "mute", "cut after the request": "cut", "half answers": "half",
               "slow answers": "slow"}  # fmt: skip
_KINDS = (
    *_ON_THE_WAY, "refusal", "reset", "server stopped", "server killed", "server frozen", "restart", "writers killed",
)  # fmt: skip


class Writer:
    """
    A writing process, what it was asked to write, and what it was told.
    """

    def __init__(self, name: str, url: str, spool: Path) -> None:
        self.name = name
        self._log = spool.with_name(f"{name}.log")
        self.answers: dict[int, str] = {}
        self.slowest = 0.0
        self.asked = 0
        self._command = [sys.executable, "-m", "tests.outage.chaos_writer", url, str(spool), name]
        self._start()

    def _start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, bufsize=1
            )

    def ask(self, count: int) -> None:
        """
        Have it write so many more; 0 stands for until the database records one.
        """
        self._say(self.asked + 1, count)
        self.asked += count

    def hear(self, answers: int = sys.maxsize) -> None:
        """
        Take its answers down until it is done, or so many.
        """
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line == "done\n":
                return
            number, state, seconds = line.split()
            self.answers[int(number)] = state
            self.asked = max(self.asked, int(number))
            self.slowest = max(self.slowest, float(seconds))
            answers -= 1
            if not answers:
                return
        end = self._log.read_text(encoding="utf-8")[-2000:]
        raise AssertionError(f"{self.name} ended, with status {self._process.wait()}, saying {end}")

    def kill(self) -> None:
        """
        Kill it, start another one, and let that do what this one was not yet told of.
        """
        self._process.kill()
        with suppress(AssertionError, ValueError):  # it ends, perhaps in the middle of a line
            self.hear()
        self._close()
        self._start()
        first = max(self.answers, default=0) + 1
        self._say(first, self.asked + 1 - first)

    def end(self) -> None:
        """
        Let it end by itself, which takes no fault.
        """
        assert self._process.stdin is not None
        self._process.stdin.close()
        assert self._process.wait(60) == 0
        self._close()

    def abandon(self) -> None:
        """
        Take it away, wherever it is.
        """
        self._process.kill()
        self._close()

    def _say(self, first: int, count: int) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{first} {count}\n")

    def _close(self) -> None:
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()


class Place:
    """
    A server, a proxy before it, a spool, and faults to be made and undone.
    """

    def __init__(self, server: PostgresServer, proxy: Proxy) -> None:
        self.server = server
        self.proxy = proxy
        self._verdict = "pass"
        proxy.judge = lambda _: self._verdict

    def break_it(self, kind: str) -> None:
        """
        Make a fault of this kind begin.
        """
        self._verdict = _ON_THE_WAY.get(kind, "pass")
        match kind:
            case "refusal":
                self.proxy.refuses = True
                self.proxy.cut_all()
            case "reset":
                self.proxy.cut_all()
            case "server stopped":
                self.server.shut_down()
            case "server killed":
                self.server.kill()
            case "server frozen":
                self.server.freeze()
            case "restart":
                self.server.restart()

    def mend(self, kind: str) -> None:
        """
        Make it end.
        """
        self._verdict = "pass"
        self.proxy.refuses = False
        match kind:
            case "server stopped" | "server killed":
                self.server.restart()
            case "server frozen":
                self.server.thaw()


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    """
    A server of the test's own, to be broken.
    """
    with PostgresServer() as server:
        yield server


def test_eight_writers_through_outages_of_every_kind(server: PostgresServer, tmp_path: Path) -> None:
    """
    Each fault in turn, while all write: every report is answered during it, and is in the database in the end, once.
    """
    rng = random.Random(f"{SEEDS[0]} chaos")
    plan: list[str] = []
    while len(plan) < FAULTS:
        plan += rng.sample(_KINDS, len(_KINDS))
    plan = plan[:FAULTS]
    spool = tmp_path / "spool"
    dsn = server.create_database()
    with ExitStack() as stack:
        proxy = stack.enter_context(Proxy(server.port))
        place = Place(server, proxy)
        url = naming(dsn, proxy.port)
        writers = [Writer(f"w{number}", url, spool) for number in range(WRITERS)]
        for writer in writers:
            stack.callback(writer.abandon)
        _write(writers, AFTER)
        for kind in plan:
            place.break_it(kind)
            try:
                for writer in writers:
                    writer.ask(DURING)
                if kind == "writers killed":
                    for writer in rng.sample(writers, WRITERS // 2):
                        writer.hear(rng.randint(1, DURING - 1))
                        writer.kill()
                for writer in writers:
                    writer.hear()
            finally:
                place.mend(kind)
            # Half of the outages follow the one before so soon that the spool is not drained, and perhaps drains.
            _write(writers, rng.choice((AFTER, 0)))
        for writer in writers:
            writer.end()
        with open_backlog(f"auto+{url}", spool=spool) as backlog:
            _hold_the_account(backlog, writers)
        with open_backlog(dsn) as backlog:
            _hold_what_arrived(backlog, writers)
    slowest = max(writer.slowest for writer in writers)
    states = [state for writer in writers for state in writer.answers.values()]
    print(  # noqa: T201  (what documentation quotes)
        f"\noutages: {len(plan)} faults, {len(states)} reports by {WRITERS} writers, {states.count('accepted')} "
        f"accepted; none lost, twice or out of order; the slowest was answered after {slowest:.2f} s"
    )
    assert slowest < PATIENCE_S, plan
    assert states.count("accepted") >= len(plan)


def _write(writers: list[Writer], count: int) -> None:
    for writer in writers:
        writer.ask(count)
    for writer in writers:
        writer.hear()


def _hold_the_account(backlog: Backlog, writers: list[Writer]) -> None:
    executor = backlog.executor
    assert isinstance(executor, FailoverExecutor)
    while executor.standing().waiting or executor.state != "up":
        assert executor.settle(within_s=60), executor.standing()
    account = executor.standing().account
    assert account.balances, account
    assert (account.waiting, account.parked, account.discarded, account.again) == (0, 0, 0, 0), account
    # A writer that was killed may have had something accepted that it was not told of.
    assert account.accepted >= sum(list(writer.answers.values()).count("accepted") for writer in writers)


def _hold_what_arrived(backlog: Backlog, writers: list[Writer]) -> None:
    expected = {f"number:{writer.name}:{number}" for writer in writers for number in range(1, writer.asked + 1)}
    expected |= {f"{OWN}{writer.name}" for writer in writers}
    assert {item.dedupe_key for item in backlog.each()} == expected
    for writer in writers:
        item = backlog.get_by_key(f"{OWN}{writer.name}")
        assert item is not None
        events = backlog.events(EventQuery(item_ids=(item.id,), limit=None))
        said = [int(event.changes["title"][1].rpartition(" ")[2]) for event in events]
        assert said == list(range(1, writer.asked + 1)), writer.name
        assert set(writer.answers) == set(said)
    backend = backlog.executor.backend
    found = backlog.read(lambda reader: verify(reader, audit=audit(backend, reader, silent)))
    assert not found.faults
