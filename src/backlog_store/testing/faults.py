"""
Backends that hold a backend and misbehave in one way each. They stack: ``LosesAnswers(RunsTwice(MemoryBackend()))``.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from itertools import count
from typing import Any, TypeVar, cast

from backlog_store.backends.port import NO_HINT, Backend, Capabilities, Change, Health, Hint, Reader, Writer
from backlog_store.errors import BackendError, BackendUnavailable, OutcomeUnknown

__all__ = ["FailsBefore", "Hooked", "LosesAnswers", "ReadOnly", "RunsTwice", "When", "Wrapper", "always", "nth"]

T = TypeVar("T")
#: Tells whether the write of this number (from 1) is hit.
When = Callable[[int], bool]


def always(_: int) -> bool:
    """
    Hit every write.
    """
    return True


def nth(*numbers: int) -> When:
    """
    Hit the writes of these numbers, counted from 1.
    """
    return frozenset(numbers).__contains__


class Wrapper:
    """
    Holds a backend and hands everything on to it.
    """

    def __init__(self, backend: Backend) -> None:
        self.backend = backend

    @property
    def capabilities(self) -> Capabilities:
        """
        Return the claims of the backend inside.
        """
        return self.backend.capabilities

    def read(self, fn: Callable[[Reader], T], /) -> T:
        """
        Hand on.
        """
        return self.backend.read(fn)

    def write(self, fn: Callable[[Writer], T], /, *, hint: Hint = NO_HINT) -> T:
        """
        Hand on.
        """
        return self.backend.write(fn, hint=hint)

    def check(self) -> Health:
        """
        Hand on.
        """
        return self.backend.check()

    def close(self) -> None:
        """
        Hand on.
        """
        self.backend.close()


class _Struck(Wrapper):
    """
    Counts the writes and knows which ones are hit.
    """

    def __init__(self, backend: Backend, when: When = always) -> None:
        super().__init__(backend)
        self._when = when
        self._numbers = count(1)
        self._lock = threading.Lock()

    def _is_hit(self) -> bool:
        with self._lock:
            return self._when(next(self._numbers))


class FailsBefore(_Struck):
    """
    Refuses writes before anything is executed, as a store does that cannot be reached.
    """

    def write(self, fn: Callable[[Writer], T], /, *, hint: Hint = NO_HINT) -> T:
        """
        Raise `BackendUnavailable` instead of writing, if hit.
        """
        if self._is_hit():
            raise BackendUnavailable(self.capabilities.name, "write", "it was told to fail before the write")
        return self.backend.write(fn, hint=hint)


class LosesAnswers(_Struck):
    """
    Carries writes out and loses the answer, as a connection does that breaks in the commit.
    """

    def write(self, fn: Callable[[Writer], T], /, *, hint: Hint = NO_HINT) -> T:
        """
        Write; then raise `OutcomeUnknown`, if hit. An error of the write itself passes through.
        """
        answer = self.backend.write(fn, hint=hint)
        if self._is_hit():
            raise OutcomeUnknown(self.capabilities.name, "write", "it was told to lose the answer")
        return answer


class RunsTwice(Wrapper):
    """
    Runs every function twice and keeps the effects of the second run only, as after a conflict.
    """

    def read(self, fn: Callable[[Reader], T], /) -> T:
        """
        Read twice, return the second answer.
        """
        self.backend.read(fn)
        return self.backend.read(fn)

    def write(self, fn: Callable[[Writer], T], /, *, hint: Hint = NO_HINT) -> T:
        """
        Run *fn* in a transaction that is rolled back, then in one that stays.
        """

        def rehearse(writer: Writer) -> None:
            fn(writer)
            raise _RehearsedError

        try:
            self.backend.write(rehearse, hint=hint)
        except _RehearsedError:
            return self.backend.write(fn, hint=hint)
        raise AssertionError("a write swallowed the error of its function")


class _RehearsedError(Exception):
    pass


class ReadOnly(Wrapper):
    """
    Lets nobody write, as a read-only disk or a standby does.
    """

    def write(self, fn: Callable[[Writer], T], /, *, hint: Hint = NO_HINT) -> T:  # noqa: ARG002  (the port's signature)
        """
        Raise `BackendError`.
        """
        raise BackendError(self.capabilities.name, "write", "the store is read-only", hint="Open it for writing.")


class Hooked(Wrapper):
    """
    Calls `before` and `after` around each operation with its name: a place for latency, barriers and counting.

    `applying` is called in each write between what was read and what is applied: the place where rivals strike.
    """

    def __init__(
        self,
        backend: Backend,
        *,
        before: Callable[[str], None] | None = None,
        after: Callable[[str], None] | None = None,
        applying: Callable[[], None] | None = None,
    ) -> None:
        super().__init__(backend)
        self._before = before
        self._after = after
        self._applying = applying

    def read(self, fn: Callable[[Reader], T], /) -> T:
        """
        Read between the hooks.
        """
        return self._around("read", lambda: self.backend.read(fn))

    def write(self, fn: Callable[[Writer], T], /, *, hint: Hint = NO_HINT) -> T:
        """
        Write between the hooks.
        """
        hook = self._applying
        hooked = fn if hook is None else lambda writer: fn(cast("Writer", _HookedWriter(writer, hook)))
        return self._around("write", lambda: self.backend.write(hooked, hint=hint))

    def _around(self, operation: str, act: Callable[[], T]) -> T:
        if self._before is not None:
            self._before(operation)
        answer = act()
        if self._after is not None:
            self._after(operation)
        return answer


class _HookedWriter:
    def __init__(self, writer: Writer, applying: Callable[[], None]) -> None:
        self._writer = writer
        self._applying = applying

    def __getattr__(self, name: str) -> Any:
        return getattr(self._writer, name)

    def apply(self, changes: Sequence[Change]) -> None:
        self._applying()
        self._writer.apply(changes)
