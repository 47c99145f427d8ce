"""
One store a process, chosen by the environment.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from difflib import get_close_matches

from backlog_store.compat.auto import AutoBacklogStore
from backlog_store.compat.base import BacklogBackedStore
from backlog_store.compat.files import JsonlBacklogStore
from backlog_store.compat.postgres import PostgresBacklogStore
from backlog_store.compat.stores import MemoryBacklogStore, NullBacklogStore
from backlog_store.errors import ConfigError
from backlog_store.forks import Lock

__all__ = ["_reset_store_for_tests", "get_backlog_store"]

_VARIABLE = "BACKLOG_BACKEND"
_MAKERS: Mapping[str, Callable[[], BacklogBackedStore]] = {
    "auto": AutoBacklogStore,
    "postgres": PostgresBacklogStore,
    "jsonl": JsonlBacklogStore,
    "memory": MemoryBacklogStore,
    "null": NullBacklogStore,
}

_lock = Lock()
_store: BacklogBackedStore | None = None


def get_backlog_store() -> BacklogBackedStore:
    """
    Return the store of this process, chosen by ``BACKLOG_BACKEND``: auto (default), postgres, jsonl, memory or null.

    Raises `ConfigError` for any other name, naming the nearest one.
    """
    global _store  # noqa: PLW0603  (one store a process is what this function is for)
    with _lock:
        if _store is None:
            _store = _maker()()
        return _store


def _maker() -> Callable[[], BacklogBackedStore]:
    given = os.environ.get(_VARIABLE, "").strip()
    name = given.lower() or "auto"
    if name not in _MAKERS:
        nearest = get_close_matches(name, _MAKERS, n=1, cutoff=0.4)
        hint = f"Did you mean {nearest[0]}? " if nearest else ""
        raise ConfigError(_VARIABLE, given, "there is no such backend", hint=f"{hint}One of {', '.join(_MAKERS)}.")
    return _MAKERS[name]


def _reset_store_for_tests() -> None:
    """
    Close and forget the store, so that the next call reads the environment anew.
    """
    global _store  # noqa: PLW0603
    with _lock:
        if _store is not None:
            _store.close()
        _store = None
