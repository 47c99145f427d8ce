"""
Where accepted commands go: the spool on disk, and memory as the last resort while that disk takes nothing.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from msgspec.structs import replace

from backlog_store.backends.port import Backend
from backlog_store.clock import Clock, IdSource
from backlog_store.commands import Command
from backlog_store.errors import BackendError, BackendUnavailable, StorageFull
from backlog_store.executors.failover.entries import Ended, Entry, Ledger, Parked, SpoolFull
from backlog_store.executors.failover.spool import Spool
from backlog_store.executors.failover.standing import Account
from backlog_store.ids import derived
from backlog_store.instants import Instant

__all__ = ["MEMORY_MAX", "Refuge"]

#: Drafts of commands that memory may hold.
MEMORY_MAX = 10_000
#: How often, in seconds, a disk that refused is tried again.
MEND_S = 1.0
_HANDED = 500

_log = logging.getLogger("backlog_store")


class Refuge:
    """
    The spools of one process. Safe for several threads; `batch` and what follows it are for one drain at a time.

    While the disk refuses, `problem` says so. What is in memory goes to the disk first, in order, as soon as that takes
    writes again; what comes later goes behind it. A process that is about to end sets `memory_max` to 0: then nothing
    is accepted that would be lost with it. `found` is the account as this process found it.
    """

    def __init__(
        self, open_disk: Callable[[], Backend], open_memory: Callable[[], Backend], clock: Clock, ids: IdSource, *,
        name: str, memory_max: int = MEMORY_MAX,
    ) -> None:  # fmt: skip
        self.problem = ""
        self._reason = ""
        self._open_disk = open_disk
        self._open_memory = open_memory
        self._clock = clock
        self._ids = ids
        self._name = name
        self.memory_max = memory_max
        self._lock = threading.RLock()
        self._disk: Spool | None = None
        self._is_disk_open = False
        self._memory: Spool | None = None
        self._known = Ledger(id="")  # as the disk last showed it
        self._primary = ""
        self._telling: tuple[str, Account] | None = None  # what the disk's account is to be told, and by which name
        self._mend_at = 0.0
        self._reopen()
        self.found = self.account()

    @property
    def primary(self) -> str:
        """
        Return the id of the store that the commands are for; empty before first contact.
        """
        return self._primary or self._ledger().primary

    def accept(self, command: Command) -> bool:
        """
        Keep a command; tell whether it is on disk.

        Raises `StorageFull` where even memory takes no more, `BackendUnavailable` where it is not to be used.
        """
        at = self._clock()
        with self._lock:
            if self._disk is not None and self._is_disk_open and not self.in_memory():
                try:
                    self._disk.accept([(command, at)])
                except SpoolFull:
                    raise
                except BackendError as error:
                    self._lost(error)
                else:
                    return True
            if not self.memory_max:
                raise BackendUnavailable(
                    "auto", "accepting", f"the database is away, and {self._name} takes nothing ({self._reason}); "
                    "nothing was kept", hint="Make room there or name another folder (setting `spool`), and repeat it.",
                )  # fmt: skip
            self._in_memory().accept([(command, at)])
            return False

    def waiting(self) -> int:
        """
        Return how many commands wait; of a disk that cannot be read, how many did.
        """
        return self._ledger().account.waiting + self.in_memory()

    def in_memory(self) -> int:
        """
        Return how many commands wait in memory only.
        """
        return self._memory.ledger().account.waiting if self._memory is not None else 0

    def account(self) -> Account:
        """
        Return the account of all that was accepted.
        """
        account = self._ledger().account
        return account.plus(self._memory.ledger().account) if self._memory is not None else account

    def oldest(self) -> Instant:
        """
        Return when the command that is next was accepted; empty if none waits.
        """
        for spool in self._readable():
            try:
                if oldest := spool.oldest():
                    return oldest
            except BackendError as error:
                self._lost(error)
        return ""

    def batch(self, weight_max: int) -> tuple[Spool, Ledger, list[Entry]] | None:
        """
        Return the commands that are next, in order, with their spool; ``None`` if none waits.

        Where the disk cannot even be read, what is in memory goes first: it is the more perishable.
        """
        for spool in self._readable():
            try:
                ledger = spool.ledger()
                if ledger.account.waiting and (entries := spool.take(weight_max)):
                    # A full disk may not have noted for which store it is.
                    return spool, replace(ledger, primary=self.primary), entries
            except BackendError as error:
                self._lost(error)
        return None

    def belong_to(self, primary: str) -> None:
        """
        Remember the id of the store that the commands are for.
        """
        self._primary = primary
        for spool in self._readable():
            try:
                spool.belong_to(primary)
            except BackendError as error:
                self._lost(error)

    def offer_again(self, receipt: int) -> int:
        """
        Let what the primary does not know any more wait again; return how many commands that are.
        """
        return self._disk.offer_again(receipt) if self._disk is not None else 0

    def listing(self, after: int, *, limit: int) -> list[Entry]:
        """
        Return commands that wait on disk, in order from behind a number; where there is no disk, those in memory.
        """
        for spool in self._readable():
            return spool.listing(max(after, spool.ledger().mark), limit=limit)
        return []

    def parked(self, after: int, *, limit: int) -> list[Parked]:
        """
        Return what could not be applied, in order from behind a number.
        """
        for spool in self._readable():
            return spool.parked(after, limit=limit)
        return []

    def disk_ledger(self) -> Ledger:
        """
        Return the ledger of the spool on disk, as last seen.
        """
        return self._ledger()

    def moved(self, spool: Spool, ended: tuple[Ended, ...]) -> None:
        """
        Note where a batch ended.
        """
        error = spool.move(ended, self._clock())
        if error is not None:
            self._lost(error)

    def trim(self) -> None:
        """
        Drop what was moved long ago.
        """
        if self._disk is not None and self._is_disk_open:
            try:
                self._disk.trim(self._clock())
            except BackendError as error:
                self._lost(error)

    def mend(self, now: float) -> None:
        """
        Try a disk that refused again, and bring there what is in memory. *now* is in seconds of a clock without jumps.
        """
        if not self.problem or now < self._mend_at:
            return
        self._mend_at = now + MEND_S
        with self._lock:
            if not self._is_disk_open and not self._reopen():
                return
            assert self._disk is not None
            try:
                self._hand_over(self._disk)
                self._disk.move((), self._clock())
            except BackendError as error:
                self._lost(error)
                return
            _log.warning("%s takes writes again", self._name)
            self.problem = ""

    def start_anew(self) -> None:
        """
        In a forked child: new locks; what is in memory is the parent's to deliver.
        """
        self._lock = threading.RLock()
        self._memory = self._telling = None
        if self._disk is not None:
            self._disk.start_anew()

    def close(self) -> None:
        """
        Let go of the spools. Idempotent.
        """
        if self._memory is not None and self.in_memory():
            _log.critical("%d accepted commands were in memory only and are lost", self.in_memory())
        for spool in (self._disk, self._memory):
            if spool is not None:
                spool.close()

    # --- inside -------------------------------------------------------------------------------------------------------

    def _ledger(self) -> Ledger:
        if self._disk is not None and self._is_disk_open:
            try:
                self._known = self._disk.ledger()
            except BackendError as error:
                self._lost(error)
        return self._known

    def _readable(self) -> list[Spool]:
        return [spool for spool in (self._disk if self._is_disk_open else None, self._memory) if spool is not None]

    def _reopen(self) -> bool:
        try:
            backend = self._open_disk()
            try:
                if self._disk is None:
                    self._disk = Spool(backend, self._ids)
                else:
                    self._disk.go_on_with(backend)
                if self._primary:
                    self._disk.belong_to(self._primary)
            except BaseException:
                backend.close()
                raise
        except BackendError as error:
            self._lost(error)
            return False
        self._is_disk_open = True
        return True

    def _lost(self, error: BackendError) -> None:
        if not isinstance(error, StorageFull) and self._is_disk_open and self._disk is not None:
            # Whatever happened, this handle is not trusted again; the next one reads what is really there.
            self._is_disk_open = False
            self._disk.close()
        self._reason = str(error)
        problem = f"{self._name} takes nothing ({error}); accepted commands are kept in memory only"
        if not self.problem:
            _log.critical("%s", problem)
        self.problem = problem

    def _in_memory(self) -> Spool:
        if self._memory is None:
            self._memory = Spool(self._open_memory(), self._ids, waiting_max=self.memory_max)
            self._memory.belong_to(self.primary)
        return self._memory

    def _hand_over(self, disk: Spool) -> None:
        if self._memory is None:
            return
        while entries := self._memory.take(_HANDED):
            disk.accept([(entry.command, entry.at) for entry in entries])
            self._memory.move([Ended(entry.number, entry.weight, "handed") for entry in entries], self._clock())
        # What went from memory to the primary while the disk refused is told by the account on disk from now on; what
        # could not be applied is kept aside in memory, and stays in its account.
        if self._telling is None:
            account = self._memory.ledger().account
            ended = replace(account, accepted=account.accepted - account.parked, parked=0)
            if ended == Account():
                return
            self._telling = derived("told", self._ids()), ended
        name, ended = self._telling
        disk.tell(ended, name)  # perhaps again, where its outcome was unknown
        self._memory.tell(Account().minus(ended), name)
        self._telling = None
