"""
Where a spool lies, and how its stores are opened: through the registry, as any other store.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

from backlog_store.backends.port import Backend
from backlog_store.backends.registry import load, open_backend

__all__ = ["memory_opener", "spool_opener", "spool_url"]

#: How long, in seconds, a command that is to be accepted waits for other processes that use the spool.
LOCK_S = 1.0


def spool_url(folder: Path) -> str:
    """
    Return the URL of the spool's store in a folder.
    """
    return f"jsonl:{quote(folder.absolute().as_posix())}"


def spool_opener(folder: Path) -> Callable[[], Backend]:
    """
    Return what opens the spool's store in a folder, making it where it is not there.
    """
    return lambda: open_backend(spool_url(folder), lock_timeout_s=LOCK_S)


def memory_opener() -> Callable[[], Backend]:
    """
    Return what opens the store of the last resort.
    """
    # Imported now: when it is wanted, the disk may be failing, or no file can be opened any more.
    load("memory://")
    return lambda: open_backend("memory://")
