"""
What every request shares: the store, the settings of the service, and who asks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from threading import Lock
from time import monotonic
from typing import Any, Protocol

from litestar import Request
from msgspec import Struct, field

from backlog_store.access import Scope
from backlog_store.backlog import Backlog
from backlog_store.errors import BackendError, BacklogError
from backlog_store.instants import Instant
from backlog_store.web.metrics import Metrics
from backlog_store.web.rates import Rates
from backlog_store.web.tail import Tail
from backlog_store.webhooks.outlets import Outlets

__all__ = ["Asker", "Limits", "SignIn", "Site"]


class Limits(Struct, frozen=True, kw_only=True):
    """
    The bounds on requests. Sizes in bytes.
    """

    body: int = 8 * 1024 * 1024  # of a request; reports have their own
    report: int = 64 * 1024 * 1024
    anonymous: int = 16 * 1024  # of a request that needs no credential
    in_memory: int = 1024 * 1024  # of a body that is read as a file; the rest of it is in one
    body_wait_s: float = 20.0  # a body that brings nothing for so long is given up;
    body_rate: int = 16 * 1024  # what has come earns a second for each so many bytes
    page: int = 1_000
    listeners: int = 1_000  # of the event stream, in one process


class Bell(Protocol):
    """
    What a store may have to tell other processes that something was committed, and to hear that from them.
    """

    def ring(self) -> None:
        """
        Tell them.
        """

    def listen(self, heard: Callable[[], None]) -> None:
        """
        Call *heard* whenever one of them told.
        """

    def close(self) -> None:
        """
        Stop.
        """


class Asker(Struct, frozen=True, kw_only=True):
    """
    Who asks, as the credential says: a name, person or machine, and the scope (``None``: everything).
    """

    name: str
    person: bool = False
    scope: Scope | None = None


_LOOK_S = 1.0

#: From a request to who asks. Raises `problems.HttpProblem` (401) for nobody it knows.
SignIn = Callable[[Request[Any, Any, Any]], Asker]


class Site(Struct, kw_only=True):
    """
    One service: its store, who may use it and how much of it a request may take.
    """

    backlog: Backlog
    sign_in: SignIn
    limits: Limits = Limits()
    has_sign_out: bool = False  # pages offer to sign out
    stream_every_s: float = 0.5
    metrics: Metrics = field(default_factory=Metrics)
    is_draining: bool = False  # it goes on answering, but nobody should send it more
    outlets: Outlets = Outlets()  # where webhooks may go
    rates: Rates = field(default_factory=lambda: Rates(0))
    _tail: Tail | None = None
    _bell: Bell | None = None
    _looked: tuple[float, str] = (float("-inf"), "")
    _looking: Lock = field(default_factory=Lock)
    _began: float = float("inf")  # the look under way

    @property
    def tail(self) -> Tail:
        """
        Return the end of the log as this process follows it.
        """
        if self._tail is None:
            self._tail = Tail(self.backlog, interval_s=self.stream_every_s, most=self.limits.listeners)
        return self._tail

    def listen(self) -> None:
        """
        Let what others commit on the same database nudge the tail, where the store has a doorbell.

        To be called in the event loop. Without one, and for who writes past every service, the tail looks by itself.
        """
        loop, tail = asyncio.get_running_loop(), self.tail

        def heard() -> None:
            with suppress(RuntimeError):  # the loop is closed: nobody listens any more
                loop.call_soon_threadsafe(tail.nudge)

        bell = self._doorbell()
        if bell is not None:
            bell.listen(heard)

    def wrote(self) -> None:
        """
        Note that this process may have committed something. To be called in the event loop.
        """
        if self._tail is not None:
            self._tail.nudge()
        bell = self._doorbell()
        if bell is not None:
            bell.ring()

    def close(self) -> None:
        """
        Let go of what runs beside the requests.
        """
        if self._bell is not None:
            self._bell.close()

    def _doorbell(self) -> Bell | None:
        if self._bell is None:
            with suppress(BacklogError):  # it may be away, or further off
                make = getattr(self.backlog.executor.backend, "doorbell", None)
                self._bell = make() if make is not None else None
        return self._bell

    def drain(self) -> None:
        """
        Say from now on that this process is about to stop, and end the streams: their listeners go on elsewhere.

        To be called in the event loop.
        """
        self.is_draining = True
        self.tail.end()

    def readiness(self) -> str:
        """
        Return whether to send requests here.

        ``ok``; ``degraded``: auto, without its database; ``unavailable``: the store is away; or ``draining``. The store
        is looked at once a second at most, and by one at a time, however often and by whomever that is asked: a look
        at a database that hangs takes seconds, and all threads together could be waiting for it.
        """
        if self.is_draining:
            return "draining"
        at, found = self._looked
        if monotonic() - at < _LOOK_S:
            return found
        if not self._looking.acquire(blocking=not found):
            return found if monotonic() - self._began < _LOOK_S else self._away()
        try:
            self._began = monotonic()
            found = self._look()
            self._looked = (monotonic(), found)
        finally:
            # Until the next look has noted when it began nobody must take this time for it.
            self._began = float("inf")
            self._looking.release()
        return found

    def copy_as_of(self) -> Instant:
        """
        Return as of when reads are: under ``auto``, while its database is away; empty where they are of the store.
        """
        executor: Any = self.backlog.executor
        if getattr(executor, "state", "up") == "up":
            return ""
        as_of: Instant = executor.standing().copy_as_of
        return as_of

    def _look(self) -> str:
        executor = self.backlog.executor
        if getattr(executor, "state", "up") != "up":
            return "degraded"  # what can wait is accepted, and arrives later
        try:
            executor.read(lambda reader: reader.records("store", ["store"]))
        except BackendError:
            return self._away()
        return "ok"

    def _away(self) -> str:
        return "degraded" if hasattr(self.backlog.executor, "standing") else "unavailable"
