"""
The writer that tests kill, starve and cut off: a process that imports everything once and forks a child for each case.

It reads cases from its input, one JSON object a line, and writes lines: ``pid N``, what the child has to say
(``ack N``, ``at POINT``), and ``exit STATUS``. Run as ``python -m tests.crash.program``.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

import backlog_store
from backlog_store import Backlog
from backlog_store.backends.fs import FileSystem
from backlog_store.backends.jsonl import open_jsonl
from backlog_store.backends.port import Backend
from backlog_store.backends.postgres import open_postgres
from backlog_store.backends.sqlite import backend as sqlite_backend
from backlog_store.backends.sqlite import connection as sqlite_connection
from backlog_store.backends.sqlite import filelock as sqlite_filelock
from backlog_store.backends.sqlite import open_sqlite
from backlog_store.commands import Report
from backlog_store.errors import BackendUnavailable, BacklogError, OutcomeUnknown
from backlog_store.executors.failover import FailoverExecutor
from backlog_store.executors.local import LocalExecutor
from backlog_store.importing import import_all
from backlog_store.model import Draft
from tests.crash.notes import ACKNOWLEDGED, BEGUN, REFUSED, Notes
from tests.crash.points import FilePoints, Points, function_points, statement_points, wire_points

__all__ = ["Auto", "Case", "ask"]

#: What a child's exit says: the store could not be opened; an error was raised that is none of the package's.
NOT_OPENED, OTHER_ERROR = 3, 70
#: After every so many writes the journal is rewritten, or the log written back.
COMPACT_EVERY = 5
SHARED = "shared"
PACKAGE = str(Path(backlog_store.__file__).parent)
# Once, before any child is forked: each of them would do it anew.
for _part in ("rules", "policy", "executors", "backends.jsonl", "backends.sqlite", "backends.memory"):
    import_all(f"backlog_store.{_part}")


class Case(msgspec.Struct, kw_only=True):
    """
    What a child is to do: write the numbers from *first* on into the store of *url* and note each outcome in *notes*.

    With *point* it ends itself at the *nth* time that this point is reached, or, if *halts*, says so and waits. *gate*
    is a FIFO that it waits at before it begins and where it halts; *speaks* says each acknowledgement; *points* is a
    file for all points reached. *size_max* limits the length of its files, until the store calls that a full disk if
    *has_room_later*. Without *syncs* a journal only says that it syncs: a fault, to be found. *deadline_s*, if given,
    is what PostgreSQL has for each connection, read and write.
    """

    url: str
    notes: str
    first: int = 1
    writes: int = 12
    point: str = ""
    nth: int = 0
    halts: bool = False
    gate: str = ""
    waits: bool = False
    speaks: bool = False
    points: str = ""
    size_max: int = 0
    has_room_later: bool = False
    syncs: bool = True
    deadline_s: float = 0.0


def ask(backlog: Backlog, number: int) -> bool:
    """
    Report two problems in one command: one of this number alone, and one that every number changes.

    Return whether the answer claims to be durable; only `auto` may say that it is not.
    """
    text = f"Number {number} " + "and so on " * (number % 7 * 40)
    own = Draft(title=f"Number {number}", dedupe_key=f"own:{number}", source="writer", description=text)
    shared = Draft(title=f"Number {number}", dedupe_key=SHARED, source="writer", description="x" * 700)
    return not backlog.execute(Report(drafts=(own, shared)), request_id=f"request-{number}").volatile


class Careless(FileSystem):
    """
    A file system that syncs nothing.
    """

    def sync_data(self, fd: int) -> None:
        """Do nothing."""

    def sync_folder(self, path: str) -> None:
        """Do nothing."""


class Auto:
    """
    ``auto`` over an SQLite file of a folder, with the spool beside it and a switch for whether the file can be reached.
    """

    def __init__(self, folder: str, *, up: bool, fs: FileSystem | None = None) -> None:
        self.up = up
        self._now = 0.0
        self._path = f"{folder}/primary.db"
        spool = Path(folder, "spool")
        self.executor = FailoverExecutor(
            self._primary, spool, monotonic=self._monotonic, background=False,
            open_spool=lambda: open_jsonl(spool, lock_timeout_s=2, fs=fs or FileSystem(), compact_slack=20_000),
        )  # fmt: skip

    def settle(self) -> None:
        """
        Let the primary be reached, and step until nothing waits. Raises `BackendUnavailable` where that never comes.
        """
        self.up = True
        for _ in range(200):
            if self.executor.standing().state == "up" and not self.executor.standing().waiting:
                return
            self.executor.step()
        raise BackendUnavailable("switched", "settling", f"never up again: {self.executor.standing()}")

    def _monotonic(self) -> float:
        self._now += 2.0
        return self._now

    def _primary(self) -> Backend:
        if not self.up:
            raise BackendUnavailable("switched", "opening", "it is switched off")
        return open_sqlite(self._path, busy_timeout_s=2)


def _begin(case: Case, points: Points) -> tuple[Backlog, Auto | None]:
    if not case.url.startswith("auto://"):
        return Backlog(LocalExecutor(_open(case, points), settle_s=0)), None
    fs = FileSystem()
    if case.point or case.points:
        fs = FilePoints(points)
        statement_points(points)
        function_points(points)
    auto = Auto(case.url.partition("://")[2], up=False, fs=fs)
    return Backlog(auto.executor), auto


def _open(case: Case, points: Points) -> Backend:
    scheme, _, place = case.url.partition("://")
    if scheme == "jsonl":
        fs = FilePoints(points) if case.point or case.points else FileSystem() if case.syncs else Careless()
        return open_jsonl(place, compact_slack=20_000, fs=fs, lock_timeout_s=2)
    if scheme == "sqlite":
        sqlite_backend._CHECKPOINT_PAGES = 8 * COMPACT_EVERY  # so that the log is written back many times
        if case.point or case.points:
            statement_points(points)
            sqlite_connection._system = sqlite_filelock._system = FilePoints(points)
        return open_sqlite(place, busy_timeout_s=2)
    if case.point or case.points:
        wire_points(points)
    if case.deadline_s:
        names = ("connect_s", "read_s", "write_s", "batch_s", "migration_s")
        options: dict[str, Any] = dict.fromkeys(names, case.deadline_s)
        return open_postgres(case.url, **options)
    return open_postgres(case.url)


def _write(case: Case, backlog: Backlog, notes: Notes, auto: Auto | None) -> None:
    for number in range(case.first, case.first + case.writes):
        if auto is not None and number == case.first + case.writes * 2 // 3:
            with suppress(BackendUnavailable):  # with a disk that fails it stays where it is
                auto.settle()
        notes.put(number, BEGUN)
        try:
            if not ask(backlog, number):
                continue
        except OutcomeUnknown:
            continue
        except BacklogError as error:
            notes.put(number, REFUSED)
            if case.has_room_later and error.code == "storage_full":
                _limit(resource.RLIM_INFINITY)
            continue
        notes.put(number, ACKNOWLEDGED)
        if case.speaks:
            _say(f"ack {number}")
        if number % COMPACT_EVERY == 0 and case.url.startswith("jsonl:"):
            backend: Any = backlog.executor.backend
            try:
                backend.compact()
            except BacklogError:
                continue


def _limit(size: int) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def _say(line: str) -> None:
    os.write(1, f"{line}\n".encode())


def _child(case: Case) -> int:
    notes = Notes(Path(case.notes))
    gate = os.open(case.gate, os.O_RDONLY) if case.gate else -1

    def act() -> None:
        if not case.halts:
            os.kill(os.getpid(), signal.SIGKILL)
        _say(f"at {case.point}")
        os.read(gate, 1)

    points = Points(case.point, case.nth, act)
    if case.waits:
        os.read(gate, 1)
    if case.size_max:
        _limit(case.size_max)
    try:
        backlog, auto = _begin(case, points)
    except BacklogError:
        return NOT_OPENED
    except OSError as error:
        if not str(error.filename).startswith(PACKAGE):  # a file of the program itself, not of a store
            raise
        return NOT_OPENED
    _write(case, backlog, notes, auto)
    try:
        backlog.close()
    except BacklogError:
        return NOT_OPENED
    if case.points:
        Path(case.points).write_text(json.dumps(points.reached), encoding="utf-8")
    return 0


def _forked(case: Case) -> None:
    pid = os.fork()
    if pid:
        _say(f"pid {pid}")
        # Its number stays its own until its end was told: a signal that comes late hits nobody else.
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        _say("over")
        sys.stdin.readline()
        _say(f"exit {os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])}")
        return
    status: Any = OTHER_ERROR
    try:
        status = _child(case)
    except Exception:  # noqa: BLE001  (told, whatever it is, and the exit status says so)
        traceback.print_exc()
    finally:
        os._exit(status)


def main() -> None:
    """
    Carry out cases until there are no more.
    """
    for line in sys.stdin:
        _forked(msgspec.json.decode(line, type=Case))


if __name__ == "__main__":
    main()
