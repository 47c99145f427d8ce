"""
Group commit: while a transaction is under way, the commands of other threads gather; the next one carries all out.

A transaction costs a sync and one or two round trips, whatever it holds. So threads that write at the same time take
turns: who has a turn takes those who wait along, decides their commands in order, each on what those before it leave,
and commits once. A thread that writes alone finds the turn free, and pays for nothing but that look.

There are as many turns as the store has writers at the same time (`Capabilities.writers`): nobody gathers who need not
wait. PostgreSQL has as many as connections, and puts their commits into one sync by itself.

Nobody is worse off for it:

- a refused command has decided nothing, so it leaves no trace and its neighbours do not notice;
- where a group fails as a whole, and surely nothing happened, each command is carried out by itself;
- where its outcome is unknown, each command that had effects hears that, and its own thread settles it;
- what takes longer than `PATIENCE_S` is not waited for: the next group goes on beside it, if the store allows.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from msgspec.structs import replace

from backlog_store.backends.nesting import here
from backlog_store.backends.port import Backend, Change, Hint, Writer
from backlog_store.commands import Answer, Command
from backlog_store.errors import BackendUnavailable, BacklogError, OutcomeUnknown
from backlog_store.forks import ForkAware, follow
from backlog_store.policy import Policy

if TYPE_CHECKING:
    from backlog_store.rules import Decision

__all__ = ["Grouping"]

#: How long, in seconds, a command waits for the transaction under way, before it goes on beside it.
PATIENCE_S = 0.01
#: How long it waits for the transaction of its own group to begin, before it goes alone.
BEGIN_S = 0.25
#: A group that failed after longer than this is not tried again one by one: each command would miss its deadline.
AGAIN_S = 0.15
#: A group is at most so many commands, which name so many things that they read: a store plans for a small write.
COMMANDS_MAX = 32
THINGS_MAX = 96


class _Member:
    """
    A command that waits, and its thread.

    It is woken with a *turn* to lead the next group, or with its *verdict*: the answer, an error, or ``None`` (go
    alone).
    """

    __slots__ = ("command", "group", "hint", "turn", "verdict", "woken")

    def __init__(self, command: Command, hint: Hint) -> None:
        self.command = command
        self.hint = hint
        self.woken = threading.Lock()
        self.woken.acquire()
        self.turn: threading.Lock | None = None
        self.group: _Group | None = None
        self.verdict: Answer | Exception | None = None


class _Group:
    """
    Commands of one transaction; *decided* once its function has run to the end. Who is in it may leave until it begins.
    """

    def __init__(self, members: list[_Member]) -> None:
        self.members = members
        self.is_begun = False
        self.decided: Sequence[Decision | BacklogError] | None = None


class Grouping(ForkAware):
    """
    The turns of one executor. *alone* carries one command out; *settle* asks what became of one.

    Whoever takes the `turn` without waiting carries its command out alone, and must `leave` it; all others `join`.
    """

    def __init__(
        self,
        backend: Backend,
        policy: Policy,
        alone: Callable[[Command], Answer],
        settle: Callable[[OutcomeUnknown, Command], Answer],
    ) -> None:
        self._backend = backend
        self._policy = policy
        self._alone = alone
        self._settle = settle
        self.after_fork_in_child()
        follow(self)

    def after_fork_in_child(self) -> None:
        """
        Begin anew: whoever waited or had the turn is another process's thread.
        """
        self._mutex = threading.Lock()
        self._queue: deque[_Member] = deque()
        self._begin_turns()

    def join(self, command: Command) -> Answer:
        """
        Carry a checked command out together with others, after waiting for the turn. Raises what `execute` raises.
        """
        from backlog_store.rules import hint_of

        hint = hint_of(command)
        from backlog_store.rules.replaying import is_pointed  # only where threads meet

        if here.depth or not is_pointed(command.body) or _size(hint) > THINGS_MAX // 4:
            return self._alone(command)
        for turn in self._turns:
            if not self._queue and turn.acquire(blocking=False):
                try:
                    return self._alone(command)
                finally:
                    self.leave(turn)
        member = _Member(command, hint)
        try:
            with self._mutex:
                self._queue.append(member)
            self._offer()  # whoever had the turn may have left before it could see this one
            self._wait(member)
        except BaseException:
            self._quit(member)
            raise
        if member.turn is None:
            return self._result(member)
        return self._lead(member, member.turn)

    def leave(self, turn: threading.Lock) -> None:
        """
        Give the turn to whoever has waited longest, or leave it free.
        """
        if self._queue and self._pass_on(turn):
            return
        turn.release()
        if self._queue:
            self._offer()

    # --- turns --------------------------------------------------------------------------------------------------------

    def _begin_turns(self) -> None:
        self._turns = tuple(threading.Lock() for _ in range(self._backend.capabilities.writers))
        self.turn = self._turns[0]

    def _offer(self) -> None:
        for turn in self._turns:
            while self._queue and turn.acquire(blocking=False):
                if self._pass_on(turn):
                    return
                turn.release()

    def _pass_on(self, turn: threading.Lock) -> bool:
        with self._mutex:
            if turn not in self._turns or not self._queue:
                return False
            first = self._queue.popleft()
            first.turn = turn
        first.woken.release()
        return True

    def _wait(self, member: _Member) -> None:
        if member.woken.acquire(timeout=PATIENCE_S):
            return
        with self._mutex:
            if member in self._queue:
                # What is under way takes its time. From here on there are other turns, and who waits comes along.
                self._queue.remove(member)
                self._begin_turns()
                member.turn = self.turn
                member.turn.acquire()
                return
        if member.woken.acquire(timeout=BEGIN_S):
            return
        with self._mutex:
            group = member.group
            if group is not None and not group.is_begun:
                # Perhaps it cannot begin while this thread waits, because that holds what the store must have.
                group.members.remove(member)
                return
        member.woken.acquire()

    def _quit(self, member: _Member) -> None:
        """
        Be gone, interrupted while waiting. What has begun goes on.
        """
        with self._mutex:
            if member in self._queue:
                self._queue.remove(member)
            elif member.group is not None and not member.group.is_begun:
                member.group.members.remove(member)
        if member.turn is not None:
            self.leave(member.turn)

    # --- groups -------------------------------------------------------------------------------------------------------

    def _lead(self, leader: _Member, turn: threading.Lock) -> Answer:
        group = _Group([leader])
        try:
            self._gather(group)
            if len(group.members) == 1:
                return self._alone(leader.command)
            try:
                self._carry_out(group)
            finally:
                self._wake(group)
        finally:
            self._wake(group)  # an interrupt may have cut the first time short, and nobody else would do it
            self.leave(turn)
        return self._result(leader)

    def _gather(self, group: _Group) -> None:
        size = _size(group.members[0].hint)
        with self._mutex:
            while self._queue and len(group.members) < COMMANDS_MAX:
                size += _size(self._queue[0].hint)
                if size > THINGS_MAX:
                    break
                member = self._queue.popleft()
                member.group = group
                group.members.append(member)

    def _carry_out(self, group: _Group) -> None:
        """
        Carry a group out in one transaction, and give each member its verdict. Only an interrupt is raised.
        """
        from backlog_store.rules import Decision, split_by_item
        from backlog_store.rules.replaying import decide_all, hint_of_all

        def run(writer: Writer) -> None:
            group.decided = None  # this may be another run
            commands = [member.command for member in self._begun(group)]
            decided = decide_all(writer, commands, self._policy)
            changes: list[Change] = []
            for one in decided:
                if isinstance(one, Decision):
                    changes += one.changes
            for part in split_by_item(changes):
                if part:
                    writer.apply(part)
            group.decided = decided

        hint = hint_of_all(member.command for member in group.members)
        began = time.monotonic()
        try:
            self._backend.write(run, hint=replace(hint, is_shared=True))
            for member, one in zip(group.members, group.decided or (), strict=True):
                member.verdict = one.answer if isinstance(one, Decision) else one
        except OutcomeUnknown as error:
            _tell_unknown(group, error)
        except BackendUnavailable as error:
            if time.monotonic() - began > AGAIN_S:
                for member in self._begun(group):
                    member.verdict = _own(error)
        except Exception:  # noqa: BLE001, S110 - whose fault it was comes out when each is carried out alone
            pass
        except BaseException:
            if group.decided is not None:  # else it was rolled back
                reason = "the thread that wrote for several was interrupted"
                name = self._backend.capabilities.name
                _tell_unknown(group, OutcomeUnknown(name, "write", reason, hint="Ask again with the same request id."))
            raise

    def _wake(self, group: _Group) -> None:
        for member in self._begun(group)[1:]:
            if member.woken.locked():  # who was woken has locked it again; opening it twice does no harm
                member.woken.release()

    def _begun(self, group: _Group) -> list[_Member]:
        """
        Return the members, of whom none leaves any more.
        """
        with self._mutex:
            group.is_begun = True
        return group.members

    def _result(self, member: _Member) -> Answer:
        verdict = member.verdict
        if verdict is None:
            return self._alone(member.command)
        if isinstance(verdict, OutcomeUnknown):
            return self._settle(verdict, member.command)
        if isinstance(verdict, Exception):
            raise verdict
        return verdict


def _size(hint: Hint) -> int:
    return len(hint.ids) + len(hint.keys) + len(hint.records)


def _tell_unknown(group: _Group, error: OutcomeUnknown) -> None:
    """
    Tell those whose effects may have happened. The others have none, so they can be carried out again, alone.
    """
    from backlog_store.rules import Decision

    for member, one in zip(group.members, group.decided or (), strict=False):
        if isinstance(one, Decision) and one.changes:
            member.verdict = _own(error)


def _own(error: Exception) -> Exception:
    """
    Return a copy for one thread alone: raising an exception changes it.
    """
    from copy import copy  # only where one fails

    own = copy(error)
    own.__cause__ = error.__cause__
    return own
