"""
The durable engineering backlog that machines write and people work.

>>> from backlog_store import open_backlog
>>> with open_backlog("memory://") as backlog:
...     backlog.upsert(title="Checkout burns its error budget", dedupe_key="slo:checkout").verdict
'created'

The names of the original module (`BacklogItem`, `get_backlog_store`, …) are handed on from `backlog_store.compat`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from backlog_store.backlog import Backlog as Backlog
    from backlog_store.backlog import open_backlog as open_backlog
    from backlog_store.compat import AutoBacklogStore as AutoBacklogStore
    from backlog_store.compat import BacklogEvent as BacklogEvent
    from backlog_store.compat import BacklogItem as BacklogItem
    from backlog_store.compat import BacklogStore as BacklogStore
    from backlog_store.compat import JsonlBacklogStore as JsonlBacklogStore
    from backlog_store.compat import MemoryBacklogStore as MemoryBacklogStore
    from backlog_store.compat import NullBacklogStore as NullBacklogStore
    from backlog_store.compat import PostgresBacklogStore as PostgresBacklogStore
    from backlog_store.compat import _reset_store_for_tests as _reset_store_for_tests
    from backlog_store.compat import get_backlog_store as get_backlog_store
    from backlog_store.compat import validate_transition as validate_transition
    from backlog_store.errors import BacklogError as BacklogError
    from backlog_store.model import Actor as Actor
    from backlog_store.model import Draft as Draft
    from backlog_store.model import Event as Event
    from backlog_store.model import Item as Item
    from backlog_store.query import ItemFilter as ItemFilter

__version__ = "0.1.0"

# Names are looked up when first used: importing the package costs nothing that is not needed.
_HOMES = {
    "Actor": "backlog_store.model",
    "Backlog": "backlog_store.backlog",
    "BacklogError": "backlog_store.errors",
    "Draft": "backlog_store.model",
    "Event": "backlog_store.model",
    "Item": "backlog_store.model",
    "ItemFilter": "backlog_store.query",
    "open_backlog": "backlog_store.backlog",
}
_COMPAT = (
    "AutoBacklogStore", "BacklogEvent", "BacklogItem", "BacklogStore", "JsonlBacklogStore", "MemoryBacklogStore",
    "NullBacklogStore", "PostgresBacklogStore", "_reset_store_for_tests", "get_backlog_store", "validate_transition",
)  # fmt: skip

__all__ = ["Actor", "Backlog", "BacklogError", "Draft", "Event", "Item", "ItemFilter", "open_backlog"]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name) or ("backlog_store.compat" if name in _COMPAT else None)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(home), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES, *_COMPAT])
