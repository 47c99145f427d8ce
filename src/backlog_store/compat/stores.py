"""
The stores of the original interface that keep nothing beyond their process.
"""

from __future__ import annotations

from dataclasses import replace

from backlog_store.backends.memory import open_memory
from backlog_store.backends.null import open_null
from backlog_store.backlog import Backlog
from backlog_store.clock import Clock, IdSource, system_clock, system_ids
from backlog_store.compat.base import CALLER, BacklogBackedStore
from backlog_store.compat.values import BacklogEvent, BacklogItem, bring_up_to_date
from backlog_store.executors.local import LocalExecutor
from backlog_store.legacy.times import iso

__all__ = ["MemoryBacklogStore", "NullBacklogStore"]


class MemoryBacklogStore(BacklogBackedStore):
    """
    A store in this process; it ends with the object, or when it is closed.
    """

    def __init__(self, *, actor: str = CALLER, clock: Clock = system_clock, ids: IdSource = system_ids) -> None:
        super().__init__(f"memory:{ids()}", actor=actor, clock=clock, ids=ids)
        self._executor = LocalExecutor(open_memory())

    def _open(self) -> Backlog:
        return self._on(self._executor)


class NullBacklogStore(BacklogBackedStore):
    """
    A store that accepts everything and keeps nothing. What is no item or event is refused here as anywhere.
    """

    def __init__(self, *, actor: str = CALLER, clock: Clock = system_clock, ids: IdSource = system_ids) -> None:
        super().__init__("null", actor=actor, clock=clock, ids=ids)

    def _open(self) -> Backlog:
        return self._on(LocalExecutor(open_null()))

    def update(self, item: BacklogItem) -> BacklogItem:
        """
        Answer the item as if it had been there, with a new `updated_at`.
        """
        stored = self.create(replace(item, updated_at=iso(self._clock())))
        bring_up_to_date(item, stored)
        return stored

    def add_event(self, event: BacklogEvent) -> BacklogEvent:
        """
        Answer the event as if its item had been there.
        """
        host = BacklogItem.from_dict({"id": event.item_id})
        with MemoryBacklogStore(actor=self._actor, clock=self._clock, ids=self._ids) as throw_away:
            throw_away.create(host)
            return throw_away.add_event(event)
