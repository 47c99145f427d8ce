"""
The JSONL store of the original interface: a journal beside the old files, which are opened as they are.
"""

from __future__ import annotations

import logging
from pathlib import Path

from backlog_store.backends.jsonl import open_jsonl
from backlog_store.backlog import Backlog
from backlog_store.clock import Clock, IdSource, system_clock, system_ids
from backlog_store.compat.base import CALLER, BacklogBackedStore
from backlog_store.executors.local import LocalExecutor
from backlog_store.forks import Lock
from backlog_store.legacy.files import OldFiles, Signature
from backlog_store.legacy.intake import Taken

__all__ = ["EVENTS_PATH", "ITEMS_PATH", "JsonlBacklogStore", "log_taken"]

ITEMS_PATH = "ops/backlog/items.jsonl"
EVENTS_PATH = "ops/backlog/events.jsonl"

_log = logging.getLogger("backlog_store")


class JsonlBacklogStore(BacklogBackedStore):
    """
    A store in the folder ``<items_path>.journal``, for many processes.

    Files of the original form at *items_path* and *events_path* are taken in when the store is opened, and whenever an
    old process has written to them since; they are never changed. What was wrong in them is told by `legacy_notes`.
    """

    def __init__(
        self,
        items_path: str | Path = ITEMS_PATH,
        events_path: str | Path = EVENTS_PATH,
        *,
        actor: str = CALLER,
        clock: Clock = system_clock,
        ids: IdSource = system_ids,
    ) -> None:
        self.items_path = Path(items_path)
        self.events_path = Path(events_path)
        # The place is fixed now: a process that changes its folder later goes on with the same store.
        self._files = OldFiles(self.items_path.absolute(), self.events_path.absolute())
        self._folder = self._files.items.with_name(self._files.items.name + ".journal")
        self._following = Lock()
        self._taken_in: Signature | None = None
        super().__init__(f"jsonl:{self._folder}", actor=actor, clock=clock, ids=ids)

    def _open(self) -> Backlog:
        return self._on(LocalExecutor(open_jsonl(self._folder)))

    def _take_in_news(self, backlog: Backlog) -> None:
        signature = self._files.signature()
        if signature == self._taken_in:
            return
        with self._following:
            if not self._files.is_taken_in(backlog, signature):
                log_taken(self._files.take_in(backlog), str(self._files.items))
            self._taken_in = signature


def log_taken(taken: Taken, source: str) -> None:
    """
    Say in the log what was taken in, and how to read what is to tell about it.
    """
    _log.info("took in from %s: %d new items, %d changed, %d under an earlier one's key, %d events", source,
              taken.created, taken.changed, taken.merged, taken.events)  # fmt: skip
    if taken.notes:
        _log.warning("%s: %d things to know about what was taken in; `legacy_notes()` of the store lists them, the "
                     "first: %s", source, len(taken.notes), taken.notes[0][1])  # fmt: skip
