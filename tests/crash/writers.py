"""
Starting the writer of `program.py`, ending it, and holding what is found afterwards against what it was told.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import msgspec

from backlog_store import Backlog, open_backlog
from backlog_store.backends.keeping import audit
from backlog_store.backends.port import Backend
from backlog_store.query import EventQuery, ItemQuery
from backlog_store.verify import silent, verify
from tests.crash.notes import ACKNOWLEDGED, BEGUN, REFUSED, Notes
from tests.crash.program import NOT_OPENED, OTHER_ERROR, SHARED, Auto, Case, ask

__all__ = ["KILLED", "NOT_OPENED", "OTHER_ERROR", "Counts", "Writers", "check"]

ROOT = Path(__file__).parents[2]
KILLED = -signal.SIGKILL


class Writers:
    """
    One process that forks writers, one after the other. Used by one thread, as a context manager.

    What they log lies in ``writers.log`` of the folder.
    """

    def __init__(self, folder: Path) -> None:
        self.gate = folder / "gate"
        os.mkfifo(self.gate)
        self._gate = os.open(self.gate, os.O_RDWR)
        with (folder / "writers.log").open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.crash.program"],
                cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, bufsize=1,
            )  # fmt: skip
        self.pid = 0
        self.is_over = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._input.close()
        if kind is not None and self.pid:
            os.kill(self.pid, signal.SIGKILL)
        self._process.wait(60)
        self._output.close()
        os.close(self._gate)

    def start(self, case: Case) -> int:
        """
        Begin a case and return the process that carries it out.
        """
        case.gate = str(self.gate)
        self._input.write(msgspec.json.encode(case).decode() + "\n")
        self.is_over = False
        self.pid = int(self.line("pid"))
        return self.pid

    def line(self, word: str) -> str:
        """
        Return what the writer says behind this word, passing over other lines; empty if it ended first.
        """
        for line in self._output:
            found, _, rest = line.rstrip("\n").partition(" ")
            if found == word:
                return rest
            if found == "over":
                self.is_over = True
                return ""
        raise AssertionError("the writer's parent has ended")

    def let_go(self) -> None:
        """
        Let the writer pass the gate.
        """
        os.write(self._gate, b".")

    def kill(self) -> None:
        """
        Send SIGKILL. The writer's parent takes its end only when `end` asks, so its number is no other's.
        """
        os.kill(self.pid, signal.SIGKILL)

    def end(self) -> int:
        """
        Wait for the writer's end and return its exit status, negative for a signal.
        """
        if not self.is_over:
            self.line("over")
        self._input.write("\n")
        for line in self._output:
            found, _, rest = line.rstrip("\n").partition(" ")
            if found == "exit":
                self.pid = 0
                return int(rest)
        raise AssertionError("the writer's parent has ended")

    def run(self, case: Case) -> int:
        """
        Carry a case out and return its exit status.
        """
        self.start(case)
        return self.end()

    @property
    def _input(self) -> IO[str]:
        if self._process.stdin is None:
            raise AssertionError("it was opened with pipes")
        return self._process.stdin

    @property
    def _output(self) -> IO[str]:
        if self._process.stdout is None:
            raise AssertionError("it was opened with pipes")
        return self._process.stdout


class Counts:
    """
    What a design has tried and found; every count of a fault must be 0 at its end.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.cases = self.acknowledged = 0
        self.faults = {"lost": 0, "twice": 0, "phantom": 0, "halved": 0, "unexplained": 0}
        self.first: list[str] = []

    def add(self, fault: str, what: object, *, of: object) -> None:
        """
        Take a fault down.
        """
        self.faults[fault] += 1
        self.first.append(f"{fault}: {what} ({of})")

    def finish(self) -> None:
        """
        Print the line that documentation quotes, and fail if there was a fault.
        """
        shown = ", ".join(f"{number} {name}" for name, number in self.faults.items())
        print(f"\n{self.name}: {self.cases} cases, {self.acknowledged} acknowledged; {shown}")  # noqa: T201  (what documentation quotes)
        assert not self.first, "\n".join(self.first[:20])


def found_in(backlog: Backlog) -> Mapping[int, int]:
    """
    Return which numbers are there, and how many events of the item that all share tell of each.
    """
    # In one view: PostgreSQL may still be carrying out what a killed client sent last.
    items, events = backlog.read(
        lambda reader: (reader.search(ItemQuery(order="id", limit=None)), reader.events(EventQuery(limit=None)))
    )
    own = {item.id: item.dedupe_key for item in items}
    numbers = {int(key.partition(":")[2]): 0 for key in own.values() if key.startswith("own:")}
    shared = [event for event in events if own[event.item_id] == SHARED]
    for event in shared:
        title = event.changes["title"][1]
        number = int(title.rpartition(" ")[2])
        numbers[number] = numbers.get(number, -1_000_000) + 1
    return numbers


def _settled(url: str) -> str:
    """
    Return the URL of the store that holds everything; what a spool holds is drained into its primary first.
    """
    if not url.startswith("auto://"):
        return url
    folder = url.partition("://")[2]
    auto = Auto(folder, up=True)
    auto.settle()
    auto.executor.close()
    return f"sqlite://{folder}/primary.db"


def check(case: Case, counts: Counts, *, of: object, after: int = 4_000) -> None:
    """
    Open the store and count what is wrong: acknowledged ⊆ found ⊆ begun, whole, verified, and a later write stays.
    """
    notes = Notes(Path(case.notes))
    acknowledged, refused = notes.numbers(ACKNOWLEDGED), notes.numbers(REFUSED)
    begun = notes.numbers(BEGUN)
    notes.close()
    counts.cases += 1
    counts.acknowledged += len(acknowledged)
    url = _settled(case.url)
    with open_backlog(url) as backlog:
        found = found_in(backlog)
        # What was left unknown is asked for again by its request id, and is there once from then on.
        unknown = sorted(begun)
        for number in (*unknown, after):
            ask(backlog, number)
    with open_backlog(url) as backlog:
        later = found_in(backlog)
        # Only now: what was cut off half-way in a journal is told until the next write has set it aside.
        backend: Backend = backlog.executor.backend
        faults = backlog.read(lambda reader: verify(reader, audit=audit(backend, reader, silent)))
    for number in sorted(acknowledged - set(found)):
        counts.add("lost", number, of=of)
    for number in sorted(set(found) - acknowledged - begun):
        counts.add("phantom", f"{number}{' (refused)' if number in refused else ''}", of=of)
    for number, times in found.items():
        if times != 1:
            counts.add("twice" if times > 1 else "halved", number, of=of)
    for fault in faults.faults:
        counts.add("unexplained", fault, of=of)
    if {**found, **dict.fromkeys(unknown, 1), after: 1} != later:
        counts.add("lost", f"what was written afterwards: {sorted(later)}", of=of)
