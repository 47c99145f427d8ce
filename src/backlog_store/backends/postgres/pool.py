"""
The connections of one process: few, made when needed, never waited for longer than a deadline.

Why not psycopg_pool: it hides why a connection failed (the caller sees a time-out), pauses for a second after a dead
one, and connects again in its own time. See backends/DESIGN.md.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

from backlog_store.backends.postgres.deadlines import moment_after, seconds_until
from backlog_store.backends.postgres.racing import Connect, Race
from backlog_store.backends.postgres.wire import Expired, Link, LinkError, Statement

__all__ = ["Closed", "Pool"]

#: A link that was idle for longer is asked first whether it is still there.
IDLE_CHECK_S = 30.0
#: A link older than that is replaced: names of servers may lead elsewhere by now.
AGE_MAX_S = 3_600.0


class Closed(LinkError):
    """
    The pool was closed.
    """


class Pool:
    """
    At most *size_max* links, lent to one caller each. Thread-safe. *connects* has one function for each host.

    `opened` counts the links ever made, `trips` and `statements` what links that are back or gone have sent.
    """

    def __init__(self, connects: Sequence[Connect], *, size_max: int, connect_s: float) -> None:
        self._connects = connects
        self._size_max = size_max
        self._connect_s = connect_s
        self._changed = threading.Condition()
        self._idle: list[Link] = []
        self._size = 0  # lent, idle and being made
        self._suspect_before = 0.0
        self._outdated_before = 0.0
        self._is_closed = False
        self.opened = 0
        self.trips = 0
        self.statements = 0

    def take(self, moment: float) -> Link:
        """
        Lend a link. Raises `Closed`, `Expired` (all are busy), or what connecting raises, `Lost` or `Expired`.
        """
        while True:
            link = self._take_idle_or_slot(moment)
            if link is None:
                return self._make(min(moment, moment_after(self._connect_s)))
            if self._is_good(link):
                return link
            self.give(link, broken=True)

    def give(self, link: Link, *, broken: bool = False, outdated: bool = False) -> None:
        """
        Take a link back. A broken one is dropped, and those that were idle at the same time are not trusted either.

        One that is *outdated* leads to the wrong server, and so may all that were made before: they are dropped, too.
        """
        broken = broken or outdated or not link.is_usable
        link.is_fresh = False
        with self._changed:
            self.trips += link.trips
            self.statements += link.statements
            link.trips = link.statements = 0
            if broken:
                self._suspect_before = time.monotonic()
            if outdated:
                self._outdated_before = self._suspect_before
            keep = not (broken or self._is_closed)
            if keep:
                self._idle.append(link)
            else:
                self._size -= 1
            self._changed.notify()
        if not keep:
            link.close()

    def close(self) -> None:
        """
        Close every link, those that are lent as soon as they are back. Idempotent.
        """
        with self._changed:
            self._is_closed = True
            idle, self._idle = self._idle, []
            self._size -= len(idle)
            self._changed.notify_all()
        for link in idle:
            link.close()

    def _take_idle_or_slot(self, moment: float) -> Link | None:
        with self._changed:
            while True:
                if self._is_closed:
                    raise Closed("the store is closed")
                if self._idle:
                    return self._idle.pop()  # the one used last: the others may grow old and be dropped
                if self._size < self._size_max:
                    self._size += 1
                    return None
                # Where nothing ever worked, all slots are attempts that hang: do not queue behind those for long.
                left = seconds_until(moment) if self.opened else min(self._connect_s, seconds_until(moment))
                if not self._changed.wait(left) and not self._idle and self._size >= self._size_max:
                    raise Expired(f"all {self._size_max} connections are busy")

    def _is_good(self, link: Link) -> bool:
        now = time.monotonic()
        if not link.is_usable or link.opened_at <= max(self._outdated_before, now - AGE_MAX_S):
            return False
        if now - link.used_at < IDLE_CHECK_S and link.used_at > self._suspect_before:
            return True
        try:
            link.exchange([Statement("")], moment_after(self._connect_s))
        except LinkError:
            return False
        return True

    def _make(self, moment: float) -> Link:
        race = Race(self._connects, connect_s=self._connect_s, heir=self._adopt)
        link = race.wait(seconds_until(moment))
        with self._changed:
            self.opened += 1
        return link

    def _adopt(self, link: Link | None) -> None:
        """
        Take what an attempt came to that nobody waits for any more.
        """
        if link is not None:
            with self._changed:
                self.opened += 1
            self.give(link)
            return
        with self._changed:
            self._size -= 1
            self._changed.notify()
