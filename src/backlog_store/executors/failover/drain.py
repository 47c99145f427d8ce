"""
The drain: what waits in the spools goes to the primary, batch by batch, if that is the store they are for.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from msgspec import Struct

from backlog_store.backends.port import Backend
from backlog_store.clock import IdSource
from backlog_store.executors.failover.drainlock import DrainLock
from backlog_store.executors.failover.identity import RestoredStore, check_identity, make_identity
from backlog_store.executors.failover.refuge import Refuge
from backlog_store.executors.failover.replay import replay
from backlog_store.ids import derived
from backlog_store.model import ItemId
from backlog_store.policy import Policy

__all__ = ["Drain", "Drained"]

_log = logging.getLogger("backlog_store")


class Drained(Struct, frozen=True):
    """
    What one batch came to, in commands. *is_done*: nothing waits any more; *is_ours* false: another process drains.
    """

    count: int = 0
    is_done: bool = False
    is_ours: bool = True


class Drain:
    """
    The drain of one process. Not thread-safe; across processes the lock sees to it that one drains at a time.

    *note* is told which items the drained commands were about.
    """

    def __init__(
        self, refuge: Refuge, lock: DrainLock, ids: IdSource, policy: Policy,
        note: Callable[[frozenset[ItemId]], None], weight_max: int,
    ) -> None:  # fmt: skip
        self.lock = lock
        self._refuge = refuge
        self._ids = ids
        self._policy = policy
        self._note = note
        self._weight_max = weight_max
        self._weight = weight_max  # of the next batch

    def recognise(self, primary: Backend) -> None:
        """
        Make sure that a primary just opened is the store that the spool is for; at first contact it becomes that.

        What one that was restored from a backup does not know waits again. Where nothing waits, another store takes the
        place of the one before. Raises `AnotherStore`, and what reading and writing raise.
        """
        ledger = self._refuge.disk_ledger()
        known = self._refuge.primary
        if not (known and self._refuge.waiting()):
            found = self._identity(primary)
            if found != known:
                if known:
                    _log.warning("the database is another store (%s) than before (%s), for which nothing waits",
                                 found, known)  # fmt: skip
                self._refuge.belong_to(found)
                return
        if ledger.id:
            try:
                primary.read(lambda reader: check_identity(reader, known, ledger.id, ledger.mark))
            except RestoredStore as restored:
                # Whoever drains meanwhile finds it out, too, and does it.
                if self.lock.acquire():
                    try:
                        self._offer_again(restored)
                    finally:
                        self.lock.release()

    def adopt(self, primary: Backend) -> None:
        """
        Take this primary for the store that the spool is for, whatever waits.
        """
        self._refuge.belong_to(self._identity(primary))

    def batch(self, primary: Backend, weight_max: int) -> Drained:
        """
        Replay one batch of at most about *weight_max* drafts. Raises the errors of `replay.AWAY`, and `AnotherStore`.

        After a failure batches are small, and grow again: a slow primary may need longer for a large one than it has.
        """
        if not self.lock.acquire():
            return Drained(is_done=not self._refuge.waiting(), is_ours=False)
        try:
            found = self._refuge.batch(min(self._weight, weight_max))
            if found is None:
                self._refuge.trim()
                return Drained(is_done=not self._refuge.waiting())
            spool, ledger, entries = found
            weight, self._weight = self._weight, max(1, self._weight // 8)
            replayed = replay(primary, ledger, entries, self._policy)
            self._weight = min(2 * weight, self._weight_max)
            self._refuge.moved(spool, replayed.ended)
            self._note(replayed.touched)
            return Drained(len(replayed.ended))
        except RestoredStore as restored:
            return Drained(self._offer_again(restored))
        finally:
            self.lock.release()

    def _identity(self, primary: Backend) -> str:
        fresh = f"st_{derived('store', self._ids())}"
        return primary.write(lambda writer: make_identity(writer, fresh))

    def _offer_again(self, restored: RestoredStore) -> int:
        count = self._refuge.offer_again(restored.receipt)
        _log.warning("%s; %d later ones are offered again", restored, count)
        return count
