"""
Named points at which a writing process can end: around each operation of a backend, found by wrapping what it calls.

Nothing in the product knows of them. A point has a name (``sync journal, before``) and is reached again and again; a
process ends, or stops until it is told to go on, when it comes to one of them for the n-th time.
"""

from __future__ import annotations

import re
import sqlite3
from collections import Counter
from collections.abc import Callable
from typing import Any, cast

from backlog_store.backends.fs import FileSystem
from backlog_store.backends.postgres.wire import Link
from backlog_store.executors.failover import drain
from backlog_store.executors.failover.drain import Drain
from backlog_store.executors.failover.drainlock import DrainLock
from backlog_store.executors.failover.refuge import Refuge
from backlog_store.executors.failover.spool import Spool

__all__ = ["FilePoints", "Points", "function_points", "statement_points", "wire_points"]


class Points:
    """
    Counts how often each point was reached, and calls *act* at the n-th time of one of them.
    """

    def __init__(self, name: str = "", nth: int = 0, act: Callable[[], None] = lambda: None) -> None:
        self._name = name
        self._nth = nth
        self._act = act
        self.reached: Counter[str] = Counter()

    def reach(self, name: str) -> None:
        """
        Be at a point.
        """
        self.reached[name] += 1
        if name == self._name and self.reached[name] == self._nth:
            self._act()


class FilePoints(FileSystem):
    """
    The real file system, with a point before and after each operation, and in the middle of each write.
    """

    def __init__(self, points: Points) -> None:
        self._points = points
        self._names: dict[int, str] = {}

    def _around(self, name: str, operation: Callable[[], Any]) -> Any:
        self._points.reach(f"{name}, before")
        answer = operation()
        self._points.reach(f"{name}, after")
        return answer

    def open(self, path: str, flags: int) -> int:
        name = path.rpartition("/")[2]
        fd: int = self._around(f"open {name}", lambda: super(FilePoints, self).open(path, flags))
        self._names[fd] = name
        return fd

    def write(self, fd: int, data: bytes, offset: int) -> int:
        name = self._names[fd]
        if data.endswith(b"\n\n"):
            name += " with space behind it"
        elif data.startswith(b"{") and super().read(fd, 1, offset):
            name += " over reserved space"
        self._points.reach(f"write {name}, before")
        # Cut where the line is whole but for its end, so that the rest is a write of its own.
        half = len(data) // 2
        super().write(fd, data[:half], offset)
        self._points.reach(f"write {name}, half")
        super().write(fd, data[half:], offset + half)
        self._points.reach(f"write {name}, after")
        return len(data)

    def sync_data(self, fd: int) -> None:
        self._around(f"sync {self._names[fd]}", lambda: super(FilePoints, self).sync_data(fd))

    def sync_folder(self, path: str) -> None:
        kind = "folder cut" if path.endswith("/cut") else "folder"
        self._around(f"sync {kind}", lambda: super(FilePoints, self).sync_folder(path))

    def truncate(self, fd: int, size: int) -> None:
        self._around(f"truncate {self._names[fd]}", lambda: super(FilePoints, self).truncate(fd, size))

    def rename(self, source: str, target: str) -> None:
        name = source.rpartition("/")[2]
        self._around(f"rename {name}", lambda: super(FilePoints, self).rename(source, target))

    def unlink(self, path: str) -> None:
        self._around(f"unlink {path.rpartition('/')[2]}", lambda: super(FilePoints, self).unlink(path))

    def make_folder(self, path: str) -> None:
        kind = "folder cut" if path.endswith("/cut") else "folder"
        self._around(f"make {kind}", lambda: super(FilePoints, self).make_folder(path))

    def lock(self, fd: int, *, exclusive: bool, timeout_s: float) -> bool:
        kind = "alone" if exclusive else "shared"
        locked: bool = self._around(
            f"lock {kind}", lambda: super(FilePoints, self).lock(fd, exclusive=exclusive, timeout_s=timeout_s)
        )
        return locked

    def unlock(self, fd: int) -> None:
        self._around("unlock", lambda: super(FilePoints, self).unlock(fd))


def _head(sql: str) -> str:
    """
    Return the first words of a statement: what it does, and to what.
    """
    return " ".join(re.findall(r"[A-Za-z_]+", re.sub(r"--.*", "", sql))[:4])


def statement_points(points: Points) -> None:
    """
    Put a point before, after and into each statement that this process gives to SQLite from now on.
    """
    plain = sqlite3.connect

    class Connection(sqlite3.Connection):
        def _around(self, sql: str, run: Callable[[], sqlite3.Cursor]) -> sqlite3.Cursor:
            name = _head(sql)
            if name.startswith("SELECT"):
                return run()
            points.reach(f"{name}, before")
            inside = iter((True,))

            def step() -> int:
                if next(inside, False):
                    points.reach(f"{name}, inside")
                return 0

            self.set_progress_handler(step, 3)
            try:
                cursor = run()
            finally:
                self.set_progress_handler(None, 0)
            points.reach(f"{name}, after")
            return cursor

        def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
            return self._around(sql, lambda: super(Connection, self).execute(sql, *parameters))

        def executemany(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
            return self._around(sql, lambda: super(Connection, self).executemany(sql, *parameters))

    def connect(*arguments: Any, **options: Any) -> sqlite3.Connection:
        return plain(*arguments, **options, factory=Connection)

    sqlite3.connect = connect  # type: ignore[assignment]


#: The steps of failover: accepting, claiming the drain, offering a batch to the primary, noting what became of it.
_FAILOVER = (
    (Refuge, "accept"), (Refuge, "moved"), (Refuge, "trim"), (Spool, "accept"), (Spool, "move"), (Spool, "belong_to"),
    (Drain, "recognise"), (Drain, "batch"), (drain, "replay"), (DrainLock, "acquire"), (DrainLock, "release"),
)  # fmt: skip


def function_points(points: Points) -> None:
    """
    Put a point before and after each step of failover in this process from now on.
    """
    for owner, name in _FAILOVER:
        setattr(owner, name, _stepping(points, f"{getattr(owner, '__name__', '')} {name}", getattr(owner, name)))


def _stepping(points: Points, name: str, step: Callable[..., Any]) -> Callable[..., Any]:
    def run(*arguments: Any) -> Any:
        points.reach(f"{name}, before")
        answer = step(*arguments)
        points.reach(f"{name}, after")
        return answer

    return run


class _Wire:
    """
    A connection of libpq, with points around what is sent and received.
    """

    def __init__(self, inner: Any, points: Points) -> None:
        object.__setattr__(self, "_inner", inner)
        object.__setattr__(self, "_points", points)
        object.__setattr__(self, "_about", "")

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._inner, name, value)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if name not in _STEPS:
            return found

        def call(*arguments: Any, **named: Any) -> Any:
            if name.startswith("send_"):
                text = arguments[1] if name == "send_prepare" else arguments[0]
                object.__setattr__(self, "_about", _known(name, bytes(text).decode()))
            step = f"{name} {self._about}"
            self._points.reach(f"{step}, before")
            answer = found(*arguments, **named)
            self._points.reach(f"{step}, after")
            return answer

        return call


_STEPS = {
    "send_query", "send_query_params", "send_prepare", "send_query_prepared", "pipeline_sync", "flush", "get_result",
    "consume_input",
}  # fmt: skip
_prepared: dict[str, str] = {}


def _known(step: str, text: str) -> str:
    return "prepared" if step == "send_query_prepared" else _head(text)


def wire_points(points: Points) -> None:
    """
    Put points around what this process sends to PostgreSQL and receives from it from now on.
    """
    plain = Link.__init__

    def begin(self: Link, *arguments: Any) -> None:
        plain(self, *arguments)
        self._pg = cast(Any, _Wire(self._pg, points))

    setattr(Link, "__init__", begin)  # noqa: B010  (as a type it is another function)
