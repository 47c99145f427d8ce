"""
Connections for reading: a few are kept, and one is handed to each reader at work.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable

__all__ = ["Pool"]

#: More readers than so many at a time open connections of their own.
_IDLE_MAX = 8


class Pool:
    """
    Connections that *connect* opens. The pool of a store that forked belongs to the process that made it.
    """

    def __init__(self, connect: Callable[[], sqlite3.Connection]) -> None:
        self._connect = connect
        self._lock = threading.Lock()
        self._idle: list[sqlite3.Connection] = []
        self._closed = False
        self.busy = 0  # readers at work

    def take(self) -> sqlite3.Connection:
        """
        Hand out a connection, without a transaction.
        """
        with self._lock:
            self.busy += 1
            if self._idle:
                return self._idle.pop()
        try:
            return self._connect()
        except BaseException:
            with self._lock:
                self.busy -= 1
            raise

    def give_back(self, connection: sqlite3.Connection) -> None:
        """
        Take a connection back; it is closed if enough are kept, or the pool is closed.
        """
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        with self._lock:
            self.busy -= 1
            keep = not self._closed and len(self._idle) < _IDLE_MAX
            if keep:
                self._idle.append(connection)
        if not keep:
            connection.close()

    def close(self) -> None:
        """
        Close what is idle now, and what is at work when it comes back.
        """
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()
