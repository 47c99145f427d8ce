"""
The local executor: one transaction a command, on a backend of this process.

Validation of the envelope, running the rules and applying what they decide happen here, once, for every backend.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

from backlog_store.backends.port import Backend, Health, Reader, Writer
from backlog_store.commands import Answer, Command
from backlog_store.policy import DEFAULT_POLICY, Policy
from backlog_store.rules import check_command, decide, hint_of, split_by_item

__all__ = ["Executor", "LocalExecutor"]

T = TypeVar("T")


class Executor(Protocol):
    """
    Carries commands out and answers queries.
    """

    def execute(self, command: Command) -> Answer:
        """
        Carry a command out, durably. Raises the errors of the rules and of the backend.
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
    An executor on one backend.
    """

    def __init__(self, backend: Backend, *, policy: Policy = DEFAULT_POLICY) -> None:
        self.backend = backend
        self.policy = policy

    def execute(self, command: Command) -> Answer:
        """
        Carry a command out, durably. Raises the errors of the rules and of the backend.
        """
        check_command(command)

        def run(writer: Writer) -> Answer:
            decision = decide(writer, command, self.policy)
            for part in split_by_item(decision.changes):
                if part:
                    writer.apply(part)
            return decision.answer

        return self.backend.write(run, hint=hint_of(command))

    def preview(self, command: Command) -> Answer:
        """
        Decide a command on the present state and write nothing.
        """
        check_command(command)
        return self.backend.read(lambda reader: decide(reader, command, self.policy).answer)

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
