"""
The failover executor: to the primary while it answers, into the spool while it does not, and from there to it.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from msgspec.structs import replace

from backlog_store.backends.port import Backend, Health, Reader
from backlog_store.clock import Clock, IdSource, system_clock, system_ids
from backlog_store.commands import Answer, Command
from backlog_store.errors import BackendUnavailable, BacklogError, ConfigError, OutcomeUnknown
from backlog_store.executors.failover.breaker import Breaker, State
from backlog_store.executors.failover.drain import Drain, Drained
from backlog_store.executors.failover.drainlock import DrainLock
from backlog_store.executors.failover.following import Follower
from backlog_store.executors.failover.forks import Turn
from backlog_store.executors.failover.health import away, health_of
from backlog_store.executors.failover.identity import AnotherStore
from backlog_store.executors.failover.places import memory_opener, spool_opener
from backlog_store.executors.failover.reading import Copy
from backlog_store.executors.failover.refuge import Refuge
from backlog_store.executors.failover.replay import AWAY
from backlog_store.executors.failover.standing import Account, Standing
from backlog_store.executors.failover.timing import Timing
from backlog_store.executors.failover.worker import Worker
from backlog_store.executors.local import LocalExecutor
from backlog_store.executors.settling import settled
from backlog_store.forks import ForkAware, follow
from backlog_store.ids import derived
from backlog_store.importing import import_all
from backlog_store.policy import DEFAULT_POLICY, Policy
from backlog_store.rules import Decision, check_command, decide
from backlog_store.rules.overlay import Overlay
from backlog_store.rules.replaying import accepted_answer, is_commutative, storable

__all__ = ["FailoverExecutor"]

T = TypeVar("T")

_log = logging.getLogger("backlog_store")


class FailoverExecutor(ForkAware):
    """
    An `executors.local.Executor` that lives through outages of its primary. Thread-safe; a forked child goes on alone.

    *open_primary* opens the one truth, each time anew after an outage. What is accepted meanwhile goes to
    *spool_folder* (`spools` shows what is there). *background* false: nothing happens by itself, `step` is the caller's
    to call.

    Raises `ConfigError` for a folder that can hold no spool, and at first contact what is wrong with the primary's
    address; an address that was right once is not doubted, only told.
    """

    def __init__(
        self,
        open_primary: Callable[[], Backend],
        spool_folder: Path,
        *,
        copy: Copy | None = None,
        policy: Policy = DEFAULT_POLICY,
        clock: Clock = system_clock,
        ids: IdSource = system_ids,
        monotonic: Callable[[], float] = time.monotonic,
        timing: Timing | None = None,
        open_spool: Callable[[], Backend] | None = None,
        background: bool = True,
    ) -> None:
        # In an outage it may be too late for that: the disk may fail, too, or no file can be opened any more.
        for name in ("rules", "policy", "executors.failover", "executors.grouping", "executors.settling"):
            import_all(f"backlog_store.{name}")
        self.policy = policy
        self._copy = Follower(copy)
        self.spool_folder = spool_folder
        self.timing = timing or Timing()
        self._open_primary = open_primary
        self._clock = clock
        self._ids = ids
        self._monotonic = monotonic
        self.spools = Refuge(
            open_spool or spool_opener(spool_folder), memory_opener(), clock, ids, name=f"the spool {spool_folder}"
        )
        self._drain = Drain(self.spools, DrainLock(spool_folder), ids, policy, self._copy.note, self.timing.batch)
        self._primary: LocalExecutor | None = None
        self._breaker = Breaker(since=monotonic())
        self._since = clock()
        self._problem = "the primary was not reached yet"
        self._is_met = False  # or surely not reached
        self._refusal: ConfigError | None = None
        self._look_at = 0.0
        self._is_closed = False
        self._changed = threading.Condition()
        self._stepping = Turn()
        self._worker = Worker(self) if background else None
        follow(self, works=True)
        if self._worker is None:
            self.step()
        else:
            self._worker.start()
            self._wait(lambda: not self._breaker.is_away or self._breaker.failures > 0, self.timing.open_s)
        if self._refusal is not None:
            self.close()
            raise self._refusal

    # --- an Executor --------------------------------------------------------------------------------------------------

    def execute(self, command: Command) -> Answer:
        """
        Carry a command out, or accept it for later if it is commutative (the answer says so).

        A conditional command raises `BackendUnavailable` while the primary is away.
        """
        check_command(command)
        self._tend()
        if not command.request_id:
            # Before the first try on the primary: whatever becomes of that, offering it again changes nothing.
            command = replace(command, request_id=f"auto/{derived('request', command.seed)}")
        if command.expect or not is_commutative(command.body):
            return self._conditional(command)
        primary = self._direct()
        if primary is None and self._breaker.state == "replaying":
            # It gives way to the drain for a moment: writers without a pause would refill the spool for ever.
            self._wait(lambda: self._breaker.state != "replaying", self.timing.give_way_s)
            primary = self._direct()
        if primary is not None:
            try:
                return primary.execute(command)
            except AWAY as error:
                self._failed(error, primary)
        return self._accept(command)

    def preview(self, command: Command) -> Answer:
        """
        Decide a command on what can be read now, and write nothing.
        """
        check_command(command)
        return self.read(lambda reader: decide(reader, command, self.policy).answer)

    def foresee(self, command: Command, over: Overlay) -> Decision:
        """
        Decide a command on what can be read now with *over* laid over it, and write nothing.
        """
        check_command(command)
        return self.read(lambda reader: decide(over.on(reader), command, self.policy))

    def read(self, fn: Callable[[Reader], T], /) -> T:
        """
        Run *fn* on one consistent view: of the primary, or while that is away of the local copy.

        Raises `BackendUnavailable` without a copy.
        """
        self._tend()
        has_copy, primary, state = bool(self._copy.as_of), self._primary, self._breaker.state
        # What was accepted is not on the primary before the drain, but it is on the copy.
        if primary is not None and (state == "up" or (state == "replaying" and not has_copy)):
            try:
                return primary.read(fn)
            except AWAY as error:
                self._failed(error, primary)
                if not has_copy:
                    raise
        if not has_copy:
            raise self._away("reading", "there is no local copy to read from")
        return self._copy.read(fn)

    def check(self) -> Health:
        """
        Look at the condition of primary and spool.
        """
        primary = self._primary if self._breaker.state != "degraded" else None
        health = primary.check() if primary is not None else None
        return health_of(self.standing(), health, self.spool_folder, self._clock())

    def close(self) -> None:
        """
        Let go of everything; a drain that goes on is waited for, for a while. Idempotent.
        """
        if self._is_closed:
            return
        if self._worker is not None and self._worker.is_running:
            self._wait(lambda: self._breaker.state != "replaying", self.timing.close_s)
        self._is_closed = True
        if self._worker is not None:
            self._worker.stop()
        if self._primary is not None:
            self._primary.close()
        self._copy.close()
        self._drain.lock.release()
        self.spools.close()

    # --- more ---------------------------------------------------------------------------------------------------------

    @property
    def backend(self) -> Backend:
        """
        Return the primary, for what goes past the rules (import, export). Raises `BackendUnavailable` while it is away.
        """
        primary = self._primary
        if primary is None or self._breaker.is_away:
            raise self._away("opening", "this needs the database itself")
        return primary.backend

    @property
    def state(self) -> State:
        """
        Return the state alone, without a look at the spool.
        """
        return self._breaker.state

    def standing(self) -> Standing:
        """
        Return how things stand.
        """
        account = self.spools.account()
        return Standing(
            state=self._breaker.state, since=self._since, waiting=account.waiting, oldest=self.spools.oldest(),
            account=account, spool=str(self.spool_folder), in_memory=self.spools.in_memory(),
            copy_as_of=self._copy.as_of,
            problems=tuple(filter(None, (self._problem, self.spools.problem, self._copy.problem))),
        )  # fmt: skip

    def settle(self, within_s: float) -> bool:
        """
        Wait for a drain that goes on in the background, so long at most; tell whether nothing waits any more.
        """
        self._direct()
        self._wait(lambda: self._breaker.state != "replaying", within_s)
        return self._breaker.state == "up"

    def drain(self, limit: int | None = None) -> Account:
        """
        Offer what waits to the primary now, about *limit* drafts of it; return what that added to the account.

        Raises `BackendUnavailable` while the primary is away, or another process drains.
        """
        before = self.spools.account()
        with self._stepping:
            if self._breaker.is_away:
                self._probe()
            left = sys.maxsize if limit is None else limit
            while left > 0 and not self._breaker.is_away:
                drained = self._drain_batch(left)
                if drained.is_done:
                    break
                if not drained.is_ours:
                    raise BackendUnavailable("auto", "draining", "another process drains", hint="Look again soon.")
                left -= drained.count
            if self._breaker.is_away:
                raise self._away("draining", "what waits goes on waiting")
        return self.spools.account().minus(before)

    def adopt(self) -> None:
        """
        Take the store that is under the primary's address now for the one that the spool is for.

        All that waits will be drained into it. For a database that was set up anew on purpose.
        """
        with self._stepping:
            backend = self._open_primary()
            try:
                self._drain.adopt(backend)
            finally:
                backend.close()
            if self._breaker.is_away:
                self._probe()

    def step(self) -> float:
        """
        Do what is due: mend the spool, probe, drain a batch, feed the copy; return in how many seconds more is due.
        """
        with self._stepping:
            now = self._monotonic()
            self.spools.mend(now)
            if self._breaker.is_away:
                if pause := self._breaker.due_in(now):
                    return pause
                self._probe()
            if self._breaker.state == "replaying":
                drained = self._drain_batch()
                if not drained.count and self._breaker.state == "replaying":
                    return self.timing.turn_s
            if self._breaker.state == "up":
                return self._look_after(now)
            return self._breaker.due_in(self._monotonic())

    # --- inside -------------------------------------------------------------------------------------------------------

    def _direct(self) -> LocalExecutor | None:
        if self._breaker.state == "up" and self.spools.waiting():
            self._note(Breaker.accepted)
        return self._primary if self._breaker.is_direct else None

    def _accept(self, command: Command) -> Answer:
        answer = accepted_answer(command, self.policy)
        if not answer.accepted:
            return answer
        command = storable(command, answer)
        durable = self.spools.accept(command)
        self._note(Breaker.accepted)
        self._copy.lay_over([command])
        return replace(answer, volatile=not durable)

    def _conditional(self, command: Command) -> Answer:
        self._direct()
        # Nor does it fail while the primary is met for the first time, and perhaps makes its tables.
        if self._breaker.state == "replaying" or not self._is_met:
            self._wait(lambda: self._is_met and self._breaker.state != "replaying", self.timing.wait_s)
        try:
            return self._on_primary(command)
        except OutcomeUnknown as unknown:
            return settled(unknown, lambda: self._on_primary(command), command, within_s=self.timing.settle_s)

    def _on_primary(self, command: Command) -> Answer:
        primary = self._primary
        if primary is None or not self._breaker.is_direct:
            raise self._away("writing", "a change like this needs the database itself; nothing was written")
        try:
            return primary.execute(command)
        except AWAY as error:
            self._failed(error, primary)
            raise

    def _away(self, operation: str, what: str) -> BackendUnavailable:
        return away(operation, what, f"{self._breaker.state} since {self._since}: {self._problem}")

    def _probe(self) -> None:
        """
        Open the primary anew: its tables may have changed, it may be another one, or an older one.
        """
        backend: Backend | None = None
        try:
            backend = self._open_primary()
            self._drain.recognise(backend)
        except (BacklogError, AnotherStore) as error:
            self._is_met = True
            if backend is not None:
                backend.close()
            if isinstance(error, ConfigError) and not self.spools.primary:
                self._refusal = error
            self._failed(error, None)
            return
        old, self._primary = self._primary, LocalExecutor(backend, policy=self.policy, settle_s=0)
        if old is not None:
            old.close()
        self._is_met = True
        # In one step, so that nothing is accepted for later while nothing waits.
        self._note(Breaker.recovered if not self.spools.waiting() else Breaker.answered)

    def _drain_batch(self, weight_max: int = sys.maxsize) -> Drained:
        primary = self._primary
        assert primary is not None
        try:
            drained = self._drain.batch(primary.backend, weight_max)
        except (*AWAY, AnotherStore) as error:
            self._failed(error, primary)
            return Drained()
        if drained.is_done:
            if drained.is_ours:
                self._copy.refresh(primary.backend)
            self._note(Breaker.drained)
        return drained

    def _look_after(self, now: float) -> float:
        if now < self._look_at:
            return self._look_at - now
        self._look_at = now + self.timing.look_s
        if self.spools.waiting():
            self._note(Breaker.accepted)
            return 0.0
        primary = self._primary
        if self._copy.copy is not None and primary is not None and self._drain.lock.acquire():
            try:
                if self._copy.feed(primary.backend, self._clock()):
                    self._look_at = now
                    return 0.0
            finally:
                self._drain.lock.release()
        return self.timing.look_s

    def _failed(self, error: Exception, of: LocalExecutor | None) -> None:
        with self._changed:
            if of is not None and of is not self._primary:
                return  # what one of before the outage says late
            self._problem = error.message if isinstance(error, BacklogError) else str(error)
        self._note(Breaker.failed)

    def _note(self, happened: Callable[[Breaker, float], Breaker]) -> None:
        """
        Take the next state, and tell everybody who waits for it.
        """
        with self._changed:
            before = self._breaker
            self._breaker = happened(before, self._monotonic())
            if before.state != self._breaker.state:
                self._since = self._clock()
                if self._breaker.is_away:
                    _log.warning("degraded: %s", self._problem)
                else:
                    self._problem = ""
                    _log.info("%s", self._breaker.state)
            self._changed.notify_all()
        if self._worker is not None and self._breaker.state != "up":
            self._worker.wake()

    def _wait(self, until: Callable[[], bool], seconds: float) -> None:
        if self._worker is None:
            return
        with self._changed:
            self._changed.wait_for(until, seconds)

    def _tend(self) -> None:
        if self._is_closed:
            raise BackendUnavailable("auto", "using it", "the store was closed", hint="Open it again.")
        if self._worker is not None:
            self._worker.start()

    def after_fork_in_child(self) -> None:
        """
        Leave the parent its threads and what they held. The primary's connections see to themselves, as do the stores.
        """
        self._changed = threading.Condition()
        self._drain.lock.forget()
        self.spools.start_anew()
        if self._worker is not None:
            self._worker = Worker(self)
