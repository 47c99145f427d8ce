"""
A look at a journal's own form: every line is read from the disk again, and its checksum and place are held against it.
"""

from __future__ import annotations

from collections.abc import Iterator

from backlog_store.backends.jsonl.backend import JsonlBackend
from backlog_store.backends.jsonl.journal import Journal
from backlog_store.backends.keeping import Watch
from backlog_store.backends.port import Backend, Reader
from backlog_store.errors import DataCorrupt

__all__ = ["audit"]


def audit(backend: Backend, reader: Reader, watch: Watch) -> Iterator[str]:  # noqa: ARG001  (of every backend)
    """
    Yield what is wrong with the journal on the disk. Raises `BackendUnavailable`.
    """
    if not isinstance(backend, JsonlBackend):
        return
    watch("lines of the journal", 0, 0)
    fresh = Journal(backend._paths, backend._fs)
    try:
        with backend._file_lock.held(exclusive=False):
            fresh.refresh(exclusive=False)
    except DataCorrupt as error:
        yield f"journal: {error}"
        return
    finally:
        fresh.let_go()
    if fresh.tail:
        # Whether it was ever whole, nobody can tell: a write that was cut off was not acknowledged, a damaged one was.
        yield (
            f"journal: its last {fresh.tail} bytes, from byte {fresh.end} on, are no whole transaction: a write that "
            "was cut off by a crash, or damage to the last one; the next write sets them aside in cut/"
        )
