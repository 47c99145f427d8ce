"""
Connecting to one of several servers within one deadline.

libpq tries hosts one after the other, and gives each its own time-out of whole seconds: a first host that is silent
(frozen, or its network gone) would eat the deadline of a second that is well. So each host gets a short head start, and
then the next one is tried beside it; the first that takes us wins.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from backlog_store.backends.postgres.deadlines import moment_after, seconds_until
from backlog_store.backends.postgres.failures import code_of
from backlog_store.backends.postgres.wire import Expired, Link, LinkError, Lost

__all__ = ["Connect", "Race"]

Connect = Callable[[], Link]

#: How long a host is waited for alone, at most, in seconds. (RFC 8305 recommends 250 ms between attempts.)
HEAD_START_S = 0.25


class Race:
    """
    One attempt to connect, to whichever host takes us first, in the order in which they are named.

    Each host is tried on a thread of its own: looking up a name cannot be interrupted, waiting for a thread can. When
    nobody waits any more, *heir* gets the link that is made later, or ``None`` when there will be none.
    """

    def __init__(self, connects: Sequence[Connect], *, connect_s: float, heir: Callable[[Link | None], None]) -> None:
        self._connects = connects
        self._head_start_s = min(HEAD_START_S, connect_s / (len(connects) + 1))
        self._heir = heir
        self._changed = threading.Condition()
        self._started = self._ended = 0
        self._failures: list[BaseException] = []
        self._link: Link | None = None
        self._is_left = False

    def wait(self, seconds: float) -> Link:
        """
        Run and return the link. Raises `Expired` after so many seconds, or what all hosts said.
        """
        try:
            return self._decide(moment_after(seconds))
        except BaseException:
            # Too late, failed, or interrupted (Ctrl-C): what still comes of it goes to the heir.
            with self._changed:
                self._is_left = True
                is_over = self._is_decided()
            if is_over:
                self._heir(self._link)
            raise

    def _decide(self, last: float) -> Link:
        with self._changed:
            while self._link is None:
                left = seconds_until(last)
                if not left:
                    raise Expired("no connection was made in time" + self._said())
                if self._started < len(self._connects):
                    self._start_next()
                    left = min(self._head_start_s, left)
                elif self._is_decided():
                    raise self._failure()
                self._changed.wait_for(self._is_decided, left)
            return self._link

    def _start_next(self) -> None:
        connect = self._connects[self._started]
        self._started += 1
        threading.Thread(target=self._run, args=(connect,), name="backlog-postgres-connect", daemon=True).start()

    def _is_decided(self) -> bool:
        return self._link is not None or self._ended == self._started

    def _run(self, connect: Connect) -> None:
        link = None
        failure: BaseException | None = None
        try:
            link = connect()
        except BaseException as error:  # noqa: BLE001  (raised again on the thread that waits)
            failure = error
        with self._changed:
            self._ended += 1
            if failure is not None:
                self._failures.append(failure)
            is_first = link is not None and self._link is None
            if is_first:
                self._link = link
            is_heir = self._is_left and (is_first or (self._ended == self._started and self._link is None))
            self._changed.notify()
        if link is not None and not is_first:
            link.close()
        if is_heir:
            self._heir(link)

    def _failure(self) -> BaseException:
        for failure in self._failures:
            if not isinstance(failure, LinkError):
                return failure
        if len(self._failures) == 1:
            return self._failures[0]
        # A wrong setting is one that every host complains about; otherwise another one may be up soon.
        codes = {code_of(str(failure)) for failure in self._failures}
        texts = dict.fromkeys(str(failure) for failure in self._failures)  # each once, in order
        return Lost("; ".join(texts) or "no connection was made", code=codes.pop() if len(codes) == 1 else "08")

    def _said(self) -> str:
        texts = dict.fromkeys(str(failure) for failure in self._failures)
        return f" ({'; '.join(texts)})" if texts else ""
