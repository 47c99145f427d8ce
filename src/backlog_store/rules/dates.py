"""
When an item is due that is opened or reopened, where nobody named a day: by the policy, or by what the report says.
"""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from backlog_store.commands import Report
from backlog_store.instants import Instant, day_of, plus_days
from backlog_store.model import Item
from backlog_store.policy import Policy

__all__ = ["dated"]


def dated(policy: Policy, item: Item, because: dict[str, Any], seen_at: Instant, *, named: str = "",
          body: Report | None = None, priority: str = "") -> tuple[Item, dict[str, Any]]:  # fmt: skip
    """
    Return an item that was just opened or reopened with its due date, and with the reason in *because*.

    A day that is *named*, and one that a person holds, stands. With a section `due` the policy alone decides; without
    one the `due_days` of the report do, by *priority*. A baseline gives none, and so does a report that is `undated`.
    """
    if named or "due_date" in item.held or (body is not None and (body.baseline or body.undated)):
        return item, because
    if policy.due is not None:
        day, said = policy.due.decide(item, seen_at, policy)
        because = because | {"due_date": said} if said else because
    else:
        days = body.due_days.get(priority) if body is not None else None
        day = item.due_date if days is None else plus_days(day_of(seen_at), days)
    return (replace(item, due_date=day) if day != item.due_date else item), because
