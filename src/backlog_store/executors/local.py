"""
The local executor: one transaction a command, on a backend of this process.

Validation of the envelope, running the rules and applying what they decide happen here, once, for every backend.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Protocol, TypeVar

from backlog_store.backends.port import Backend, Health, Reader, Writer
from backlog_store.commands import Answer, Command
from backlog_store.errors import OutcomeUnknown
from backlog_store.executors.grouping import Grouping
from backlog_store.executors.settling import SETTLE_S, settled
from backlog_store.importing import import_all
from backlog_store.policy import DEFAULT_POLICY, Policy

if TYPE_CHECKING:
    from backlog_store.rules import Decision
    from backlog_store.rules.overlay import Overlay

__all__ = ["Executor", "LocalExecutor"]

T = TypeVar("T")


class Executor(Protocol):
    """
    Carries commands out and answers queries.
    """

    @property
    def backend(self) -> Backend:
        """
        Return the store itself, for what goes past the rules (import, export). Raises `BackendUnavailable`.
        """
        ...

    def execute(self, command: Command) -> Answer:
        """
        Carry a command out, durably. Raises the errors of the rules and of the backend.
        """
        ...

    def preview(self, command: Command) -> Answer:
        """
        Decide a command on the present state and write nothing.
        """
        ...

    def foresee(self, command: Command, over: Overlay) -> Decision:
        """
        Decide a command on the present state with *over* laid over it, and write nothing.
        """
        ...

    def read(self, fn: Callable[[Reader], T], /) -> T:
        """
        Run *fn* on one consistent view of the store.
        """
        ...

    def check(self) -> Health:
        """
        Look at the store's condition.
        """
        ...

    def close(self) -> None:
        """
        Let go of all resources.
        """
        ...


class LocalExecutor:
    """
    An executor on one backend. An unknown outcome is asked about by request id for *settle_s* seconds.

    Commands that several threads give at the same time go into one transaction (see `grouping`). All rules
    are imported at once, or, *lazily*, when they are needed: for a process that reads, or does one thing and ends.
    """

    def __init__(
        self, backend: Backend, *, policy: Policy = DEFAULT_POLICY, settle_s: float = SETTLE_S, lazily: bool = False
    ) -> None:
        if not lazily:
            import_all("backlog_store.rules")
            import_all("backlog_store.policy")
        self.backend = backend
        self.policy = policy
        self.settle_s = settle_s
        self._grouping = Grouping(backend, policy, self._alone, self._settle)

    def execute(self, command: Command) -> Answer:
        """
        Carry a command out, durably. Raises the errors of the rules and of the backend.
        """
        from backlog_store.rules import check_command  # who only reads needs no rules

        check_command(command)
        grouping = self._grouping
        turn = grouping.turn
        if not turn.acquire(blocking=False):
            return grouping.join(command)
        try:
            return self._alone(command)
        finally:
            grouping.leave(turn)

    def _alone(self, command: Command) -> Answer:
        try:
            return self._once(command)
        except OutcomeUnknown as unknown:
            return self._settle(unknown, command)

    def _once(self, command: Command) -> Answer:
        from backlog_store.rules import decide, hint_of, split_by_item

        def run(writer: Writer) -> Answer:
            decision = decide(writer, command, self.policy)
            changes = decision.changes
            if len(changes) == 1:
                writer.apply(changes)
            elif changes:
                for part in split_by_item(changes):
                    writer.apply(part)
            return decision.answer

        return self.backend.write(run, hint=hint_of(command))

    def _settle(self, unknown: OutcomeUnknown, command: Command) -> Answer:
        return settled(unknown, partial(self._once, command), command, within_s=self.settle_s)

    def preview(self, command: Command) -> Answer:
        """
        Decide a command on the present state and write nothing.
        """
        from backlog_store.rules import check_command, decide

        check_command(command)
        return self.backend.read(lambda reader: decide(reader, command, self.policy).answer)

    def foresee(self, command: Command, over: Overlay) -> Decision:
        """
        Decide a command on the present state with *over* laid over it, and write nothing.
        """
        from backlog_store.rules import check_command, decide

        check_command(command)
        return self.backend.read(lambda reader: decide(over.on(reader), command, self.policy))

    def read(self, fn: Callable[[Reader], T], /) -> T:
        """
        Run *fn* on one consistent view of the store.
        """
        return self.backend.read(fn)

    def check(self) -> Health:
        """
        Look at the store's condition.
        """
        return self.backend.check()

    def close(self) -> None:
        """
        Let go of the backend.
        """
        self.backend.close()
