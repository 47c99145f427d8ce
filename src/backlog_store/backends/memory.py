"""
The memory backend: a state behind a lock. For tests, for trying out, and the model that other backends agree with.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from backlog_store.backends.port import NO_HINT, Capabilities, Health, Hint, Reader, Writer
from backlog_store.backends.state import State
from backlog_store.backends.transaction import View, transact
from backlog_store.errors import BackendUnavailable

__all__ = ["MemoryBackend", "open_memory"]

T = TypeVar("T")
_NAME = "memory"


def open_memory() -> MemoryBackend:
    """
    Return a new, empty store. Each call gives another one; it ends with its process.
    """
    return MemoryBackend()


class MemoryBackend:
    """
    A store in this process. One function runs at a time, so none is run twice and readers see only what is committed.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._state: State | None = State()

    @property
    def capabilities(self) -> Capabilities:
        """
        Return what this backend claims: it keeps what it is given, for this process and while it lives.
        """
        return Capabilities(name=_NAME)

    def read(self, fn: Callable[[Reader], T], /) -> T:
        """
        Run *fn* on one consistent view and return what it returned.
        """
        with self._lock:
            return fn(View(self._open_state("read")))

    def write(self, fn: Callable[[Writer], T], /, *, hint: Hint = NO_HINT) -> T:  # noqa: ARG002  (nothing to fetch)
        """
        Run *fn* in one transaction and return what it returned.
        """
        with self._lock:
            return transact(self._open_state("write"), _NAME, fn)

    def check(self) -> Health:
        """
        Return how much there is.
        """
        with self._lock:
            if self._state is None:
                return Health(ok=False, backend=_NAME, problems=("the store was closed",))
            facts = {name: str(n) for name, n in self._state.counts().items()}
            return Health(ok=True, backend=_NAME, facts=facts | {"bytes": str(self._state.size)})

    def close(self) -> None:
        """
        Forget everything. Idempotent.
        """
        with self._lock:
            self._state = None

    def _open_state(self, operation: str) -> State:
        if self._state is None:
            raise BackendUnavailable(_NAME, operation, "the store was closed", hint="Open it again.")
        return self._state
