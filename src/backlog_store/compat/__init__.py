"""
The original interface: the names that people already use, on the new store.

::

    from backlog_store import BacklogItem, get_backlog_store

    store = get_backlog_store()
    answer = store.upsert(BacklogItem.from_dict({"title": "Burns its error budget", "dedupe_key": "slo:checkout"}))

It is a thin layer: every call is a command or a query of `backlog_store.Backlog`, the rules are the same. The guide
docs/guides/from-the-original.md says what differs from before, and why.
"""

from __future__ import annotations

from backlog_store.compat.auto import AutoBacklogStore
from backlog_store.compat.contract import BacklogStore, validate_transition
from backlog_store.compat.factory import _reset_store_for_tests, get_backlog_store
from backlog_store.compat.files import JsonlBacklogStore
from backlog_store.compat.postgres import PostgresBacklogStore
from backlog_store.compat.stores import MemoryBacklogStore, NullBacklogStore
from backlog_store.compat.values import BacklogEvent, BacklogItem

__all__ = [
    "AutoBacklogStore", "BacklogEvent", "BacklogItem", "BacklogStore", "JsonlBacklogStore", "MemoryBacklogStore",
    "NullBacklogStore", "PostgresBacklogStore", "_reset_store_for_tests", "get_backlog_store", "validate_transition",
]  # fmt: skip
