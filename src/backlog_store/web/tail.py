"""
The live stream: one reader a process follows the log, and every listener gets what it may see, in commit order.

A listener says where it stands (a position). What is no longer at hand is read from the store, then the reader's own
window goes on from there: nothing is missed and nothing comes twice. A listener too slow to keep up just reads from
the store again; nobody waits for it.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from typing import TypeVar

import anyio
from msgspec import Struct

from backlog_store.access import Scope
from backlog_store.backends.port import Reader
from backlog_store.backends.scanning import end_of_log, within_log
from backlog_store.backlog import Backlog
from backlog_store.codec import encode
from backlog_store.errors import BacklogError
from backlog_store.model import ACCESS_TRAIL, Event, Item
from backlog_store.query import EventQuery
from backlog_store.web.problems import HttpProblem

__all__ = ["Tail"]

T = TypeVar("T")

_PAGE = 500
_WINDOW = 5_000
_ALIVE_S = 15.0
_RETRY_MS = 1_000
#: What is committed so soon behind what was just told is told together: hundreds of listeners are written to each time.
_GATHERED_S = 0.05


class Entry(Struct, frozen=True):
    """
    One event and where its item lies now (``None``: it is purged), and how it is sent: its id is its position.
    """

    event: Event
    env: str | None
    service: str | None
    sent: bytes

    def is_for(self, scope: Scope | None) -> bool:
        """
        Tell whether who is bound by *scope* may see it.
        """
        if scope is None or scope.is_whole:
            return True
        return self.env is not None and self.service is not None and scope.covers(self.env, self.service)


class Tail:
    """
    The end of the log, as far as this process has read it. Used in one event loop.

    *interval_s* is how often the log is looked at while somebody listens and nothing nudges; *most* listeners at the
    same time.
    """

    def __init__(self, backlog: Backlog, *, interval_s: float = 0.5, most: int = 1_000) -> None:
        self._backlog = backlog
        self._interval_s = interval_s
        self._most = most
        self._window: list[Entry] = []
        self._begins_after = ""  # the window holds all behind this position
        self._listeners = 0
        self._is_ending = False
        self._changed = asyncio.Event()  # set when there is more, and then another one takes its place
        self._news = asyncio.Event()
        self._reader: asyncio.Task[None] | None = None
        self._starting = asyncio.Lock()
        self._limiter = anyio.CapacityLimiter(4)

    async def follow(
        self, after: str | None, scope: Scope | None, again: Callable[[], Scope | None] | None = None
    ) -> AsyncIterator[bytes]:
        """
        Yield what comes behind *after* (``None``: behind what is there now), until the listener goes away.

        *again* returns what the listener reaches now, and raises `HttpProblem` where its credential holds no longer:
        it is asked before anything is sent behind a change of who may sign in, and every 15 s. Then the stream ends.
        Raises `HttpProblem` (503) where too many listen already, `InvalidInput` for what is no position.
        """
        if self._listeners >= self._most:
            raise HttpProblem(503, f"{self._most} listeners are connected already")
        self._listeners += 1
        is_begun = False
        try:
            position = await self._ask(end_of_log if after is None else partial(within_log, after=after))
            await self._start()
            is_begun = True
            yield b": connected\n\n"
            asked_at = anyio.current_time()
            while not self._is_ending:
                entries = await self._behind(position)
                if again is not None and (_tells_of_access(entries) or anyio.current_time() >= asked_at + _ALIVE_S):
                    scope, asked_at = await self._off_loop(again), anyio.current_time()
                if told := b"".join(entry.sent for entry in entries if entry.is_for(scope)):
                    yield told
                if entries:
                    position = entries[-1].event.position
                elif not await self._waited(position):
                    yield b": still there\n\n"
            yield b"retry: %d\n\n" % _RETRY_MS
        except BacklogError:
            if not is_begun:
                raise
            # It comes back, and hears why; or it comes back once the database does.
            yield b"retry: %d\n\n" % _RETRY_MS
        finally:
            self._listeners -= 1

    def end(self) -> None:
        """
        End every stream, with a hint when to come back; nothing is lost to who says where it stood.
        """
        self._is_ending = True
        self._wake()

    def nudge(self) -> None:
        """
        Look at the log now rather than later: something may be new. To be called in the event loop.
        """
        self._news.set()

    def _wake(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def _behind(self, position: str) -> Sequence[Entry]:
        if self._reader is not None and position >= self._begins_after:
            at = bisect_right(self._window, position, key=lambda entry: entry.event.position)
            return self._window[at:]
        return await self._ask(lambda reader: _entries(reader, position))

    async def _waited(self, position: str) -> bool:
        if self._is_ending or (self._window and self._window[-1].event.position > position):
            return True
        # Nothing is held while it waits: a listener may go away at any time, and is cancelled then, more than once.
        changed = self._changed
        with anyio.move_on_after(_ALIVE_S):
            await changed.wait()
        return changed.is_set()

    async def _start(self) -> None:
        # Listeners that come back all at once, after a restart, still have one reader: two would tell everything twice.
        async with self._starting:
            if self._reader is None or self._reader.done():
                self._window = []
                self._begins_after = await self._ask(end_of_log)
                self._reader = asyncio.create_task(self._read())

    async def _read(self) -> None:
        position = self._begins_after
        while self._listeners:
            self._news.clear()  # before reading: what is committed from here on is read now or nudges again
            try:
                found = await self._ask(lambda reader, after=position: _entries(reader, after))  # type: ignore[misc]
            except BacklogError:
                found = []  # the database is away: it is asked again, and nothing behind the position is lost
            if found:
                position = found[-1].event.position
                self._window += found
                if len(self._window) > _WINDOW:
                    gone = len(self._window) - _WINDOW
                    self._begins_after = self._window[gone - 1].event.position
                    del self._window[:gone]
                self._wake()
            if found:
                await anyio.sleep(_GATHERED_S)
            if len(found) < _PAGE:
                with anyio.move_on_after(self._interval_s):
                    await self._news.wait()

    async def _ask(self, fn: Callable[[Reader], T]) -> T:
        # The store itself: a copy of it, read in an outage, has other positions.
        return await self._off_loop(lambda: self._backlog.executor.backend.read(fn))

    async def _off_loop(self, fn: Callable[[], T]) -> T:
        return await anyio.to_thread.run_sync(fn, limiter=self._limiter)


def _tells_of_access(entries: Sequence[Entry]) -> bool:
    return any(entry.event.item_id == ACCESS_TRAIL for entry in entries)


def _entries(reader: Reader, after: str) -> list[Entry]:
    events = reader.events(EventQuery(after=after, limit=_PAGE))
    items = reader.items({event.item_id for event in events})
    return [_entry(event, items.get(event.item_id)) for event in events]


def _entry(event: Event, item: Item | None) -> Entry:
    env, service = (item.env, item.service) if item is not None else (None, None)
    data = {"item_id": event.item_id, "revision": event.revision, "type": event.type, "ts": event.ts,
            "actor": event.actor, "batch": event.batch, "env": env, "service": service}  # fmt: skip
    sent = b"id: %s\nevent: %s\ndata: %s\n\n" % (event.position.encode(), b"change", encode(data))
    return Entry(event, env, service, sent)
