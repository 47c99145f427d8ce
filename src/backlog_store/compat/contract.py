"""
The abstract store of the original interface: eight methods to write, two that follow from them.

A store of a caller's own subclasses `BacklogStore`; its `upsert` and `dashboard` then work on the eight methods alone.
They cannot be safer than those: exactly one item a key, under any concurrency, is what the stores of this package hold.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from backlog_store.clock import system_clock
from backlog_store.compat.values import BacklogEvent, BacklogItem, fields_of
from backlog_store.errors import Fault, InvalidInput
from backlog_store.instants import day_of
from backlog_store.model import LIVE
from backlog_store.policy import DEFAULT_TRANSITIONS
from backlog_store.rules.fields import merge_evidence, merge_meta, merge_tags

__all__ = ["OVERDUE_SHOWN", "SERVICES_SHOWN", "BacklogStore", "summary", "validate_transition"]

OVERDUE_SHOWN = 20
SERVICES_SHOWN = 10
_PAGE = 500


class BacklogStore(ABC):
    """
    A store of items and events.
    """

    @abstractmethod
    def create(self, item: BacklogItem) -> BacklogItem:
        """
        Add an item with the id, status and times that it was given; a taken id or key is an error.
        """

    @abstractmethod
    def get(self, item_id: str) -> BacklogItem | None:
        """
        Return the caller's own copy of an item, or ``None``.
        """

    @abstractmethod
    def get_by_dedupe_key(self, key: str) -> BacklogItem | None:
        """
        Return the item that holds a key, or ``None``; of several envs ``prod`` comes first, then they go by name.
        """

    @abstractmethod
    def update(self, item: BacklogItem) -> BacklogItem:
        """
        Write the changed fields of an item; a missing id, a forbidden move or another's change is an error.
        """

    @abstractmethod
    def list_items(
        self, filters: Mapping[str, Any] | None = None, limit: int | None = 50, offset: int = 0
    ) -> list[BacklogItem]:
        """
        Return items by priority, then due date (none last), then id.
        """

    @abstractmethod
    def add_event(self, event: BacklogEvent) -> BacklogEvent:
        """
        Add an event to an item; a missing item is an error.
        """

    @abstractmethod
    def get_events(self, item_id: str, limit: int | None = 50) -> list[BacklogEvent]:
        """
        Return the newest *limit* events that callers added to an item, oldest first.
        """

    @abstractmethod
    def cleanup(self, retention_days: int = 180) -> int:
        """
        Purge closed items, and their events, that nobody touched for so long; return how many.
        """

    def upsert(self, item: BacklogItem) -> dict[str, Any]:
        """
        Report an item: ``{"action": "created" | "updated", "item": …}``.

        A known one keeps status and owner, takes title, description, evidence, meta (merged), priority, due date and
        the union of tags; a done one opens again, a canceled one stays as it is. An item without a key is always a new
        one.
        """
        known = self._held(item)
        if known is None:
            return {"action": "created", "item": self.create(item)}
        if known.status == "canceled":
            return {"action": "updated", "item": known}
        evidence = merge_evidence(known.evidence_refs, item.evidence_refs)
        fresh = replace(
            known,
            title=item.title or known.title,
            description=item.description or known.description,
            priority=item.priority or known.priority,
            due_date=item.due_date or known.due_date,
            evidence_refs=evidence,
            meta=merge_meta(known.meta, item.meta),
            tags=list(merge_tags(tuple(sorted(set(known.tags))), item.tags)),
            status="open" if known.status == "done" else known.status,
        )
        return {"action": "updated", "item": self.update(fresh)}

    def dashboard(self, env: str = "prod") -> dict[str, Any]:
        """
        Count all items of an env (``""``: of all), and name those that are overdue.
        """
        today = day_of(system_clock())
        counts: dict[str, Counter[str]] = {name: Counter() for name in ("status", "priority", "category", "service")}
        overdue: list[BacklogItem] = []
        for item in self._each({"env": env}):
            for name, counter in counts.items():
                counter[getattr(item, name)] += 1
            if item.status in LIVE and item.due_date and item.due_date < today:
                overdue.append(item)
        overdue.sort(key=lambda item: (item.priority, item.due_date, item.id))
        return summary(env, counts, overdue[:OVERDUE_SHOWN], len(overdue))

    def _held(self, item: BacklogItem) -> BacklogItem | None:
        """
        Return the item that holds this one's key in its env.
        """
        if not item.dedupe_key:
            return None
        env = fields_of(item)["env"]
        known = self.get_by_dedupe_key(item.dedupe_key)
        if known is None or known.env == env:
            return known
        # Another env comes first under this key; this env may hold it all the same.
        return next((other for other in self._each({"env": env}) if other.dedupe_key == item.dedupe_key), None)

    def _each(self, filters: Mapping[str, Any]) -> Iterator[BacklogItem]:
        """
        Yield every item, however small the store's own pages are.
        """
        seen: set[str] = set()
        while True:
            fresh = [item for item in self.list_items(filters, limit=_PAGE, offset=len(seen)) if item.id not in seen]
            if not fresh:
                return
            seen.update(item.id for item in fresh)
            yield from fresh


def summary(
    env: str, counts: Mapping[str, Mapping[str, int]], overdue: list[BacklogItem], overdue_count: int
) -> dict[str, Any]:
    """
    Return the dashboard of these counts by status, priority, category and service, each in a fixed order.
    """
    plain = {name: dict(sorted(counter.items())) for name, counter in counts.items()}
    services = sorted(plain["service"].items(), key=lambda pair: (-pair[1], pair[0]))
    return {
        "env": env,
        "total": sum(plain["status"].values()),
        "status_counts": plain["status"],
        "priority_counts": plain["priority"],
        "category_counts": plain["category"],
        "overdue": [{name: getattr(item, name) for name in _OVERDUE} for item in overdue],
        "overdue_count": overdue_count,
        "top_services": [{"service": name, "count": count} for name, count in services[:SERVICES_SHOWN]],
    }


_OVERDUE = ("id", "service", "title", "priority", "due_date", "owner")


def validate_transition(current: str, new: str, policy: Mapping[str, Any] | None = None) -> bool:
    """
    Tell whether the workflow has this move: ``policy["workflow"]["allowed_transitions"]``, else the built-in table.

    Raises `InvalidInput` for a policy whose table cannot be read.
    """
    table: Any = (policy or {}).get("workflow") or {}
    table = table.get("allowed_transitions") if isinstance(table, Mapping) else table
    table = DEFAULT_TRANSITIONS if table is None else table
    moves = table.get(current, ()) if isinstance(table, Mapping) else None
    if not isinstance(moves, list | tuple | set | frozenset):
        fault = Fault(
            "/workflow/allowed_transitions", repr(table)[:60], "give an object: each status and a list of statuses"
        )
        raise InvalidInput([fault], what="policy")
    return new in moves
