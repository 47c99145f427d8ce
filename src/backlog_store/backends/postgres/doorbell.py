"""
A doorbell between the processes on one database (LISTEN and NOTIFY): who wrote rings, who waits for news looks.

It says only that something may be new, never what; and it may be missed (a connection that broke, a pooler that passes
no notifications on), so whoever waits looks by itself now and then, too. Both ends have a thread and a connection of
their own: a server that hangs holds up neither reads nor writes. Ringing is no part of a transaction, where it would
make every commit wait for the others.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from hashlib import sha256
from typing import Any

import psycopg

__all__ = ["Doorbell"]

#: Rings within so long are one.
APART_S = 0.02
_LOOK_S = 1.0  # how long closing may take
_AGAIN_S = 1.0


class Doorbell:
    """
    The doorbell of one schema. *settings* are libpq's for each host; the first that answers as it should is taken.
    """

    def __init__(self, settings: Sequence[Mapping[str, Any]], schema: str) -> None:
        self._settings = settings
        self._channel = f"backlog_{sha256(schema.encode()).hexdigest()[:16]}"  # a channel's name is bounded
        self._rung = threading.Event()
        self._is_over = threading.Event()
        self._making = threading.Lock()
        self._ringer: threading.Thread | None = None
        self._hearer: threading.Thread | None = None

    def ring(self) -> None:
        """
        Let all who listen know that something was committed. Returns at once; what goes wrong is nobody's concern.
        """
        self._rung.set()
        if self._ringer is None:
            with self._making:
                self._ringer = self._ringer or self._started(self._keep_ringing)

    def listen(self, heard: Callable[[], None]) -> None:
        """
        Call *heard*, in a thread of its own, whenever somebody rang, and after each time that rings may be missed.
        """
        with self._making:
            self._hearer = self._hearer or self._started(lambda: self._keep_hearing(heard))

    def close(self) -> None:
        """
        Stop, within about a second. Idempotent.
        """
        self._is_over.set()
        self._rung.set()
        for thread in (self._ringer, self._hearer):
            if thread is not None:
                thread.join(2 * _LOOK_S)

    def _started(self, work: Callable[[], None]) -> threading.Thread:
        thread = threading.Thread(target=work, name="backlog-doorbell", daemon=True)
        thread.start()
        return thread

    def _keep_ringing(self) -> None:
        connection: psycopg.Connection[Any] | None = None
        while self._rung.wait() and not self._is_over.is_set():
            self._rung.clear()
            try:
                connection = connection or self._connected()
                connection.execute("SELECT pg_notify(%s, '')", [self._channel], prepare=False)
            except psycopg.Error:
                if connection is not None:
                    self._rung.set()  # it broke since the last ring: this one is for the next connection
                _close(connection)
                connection = None
            self._is_over.wait(APART_S)
        _close(connection)

    def _keep_hearing(self, heard: Callable[[], None]) -> None:
        while not self._is_over.is_set():
            connection: psycopg.Connection[Any] | None = None
            try:
                connection = self._connected()
                connection.execute(f'LISTEN "{self._channel}"')
                heard()
                while not self._is_over.is_set():
                    for _ in connection.notifies(timeout=_LOOK_S, stop_after=1):
                        heard()
            except psycopg.Error:
                self._is_over.wait(_AGAIN_S)
            finally:
                _close(connection)

    def _connected(self) -> psycopg.Connection[Any]:
        failed: psycopg.Error | None = None
        for host in self._settings:
            try:
                return psycopg.connect(**host, autocommit=True)
            except psycopg.Error as error:
                failed = error
        raise failed or psycopg.OperationalError("no host is named")


def _close(connection: psycopg.Connection[Any] | None) -> None:
    if connection is not None:
        with suppress(psycopg.Error):
            connection.close()
