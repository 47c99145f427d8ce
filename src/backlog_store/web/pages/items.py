"""
One item: what it is, where it was seen, who changed what, and what can be done with it.
"""

from __future__ import annotations

from typing import Any

from backlog_store.backlog import Backlog
from backlog_store.instants import to_datetime
from backlog_store.model import CLOSED, CLOSING_REASONS, PRIORITIES, Event, Item
from backlog_store.query import EventQuery
from backlog_store.rules.escalating import steps_of
from backlog_store.rules.explaining import reasons
from backlog_store.rules.sla import sla_of
from backlog_store.rules.voices import claims_by_source
from backlog_store.web.pages.render import page, standing
from backlog_store.web.routing import Ask, Reply, Routes
from backlog_store.workflow import allowed_moves, effective_status, is_overdue

__all__ = ["routes"]

routes = Routes()

_HISTORY = 200
_SAID = {
    "created": "added it", "auto_update": "reported it anew", "edited": "edited it", "status_change": "moved it",
    "closed": "closed it", "reopened": "reopened it", "comment": "said", "snoozed": "put it to sleep",
    "woken": "woke it", "linked": "linked it", "unlinked": "unlinked it", "resolved": "withdrew its claim",
    "undone": "set it back", "escalated": "escalated it", "verdict_lifted": "lifted the verdict",
    "merged": "merged it", "split": "split a key off", "split_lifted": "lifted a split",
}  # fmt: skip
_QUIET = frozenset({
    "updated_at", "claims", "claims_under", "evidence_totals", "held", "held_until", "closed_at", "closed_by",
    "episode", "escalated",
})  # fmt: skip


@routes.add("GET", "/items/new", action="work", gives="text/html")
def new_item_page(ask: Ask) -> Reply:
    """
    Show the form for an item by hand.
    """
    return page(ask, "new.html", priorities=PRIORITIES, given={}, faults={})


@routes.add("GET", "/items/{id:str}", action="read", gives="text/html")
def item_page(ask: Ask) -> Reply:
    """
    Show one item.
    """
    live = standing(ask)
    item = ask.backlog.get(ask.path["id"])
    return page(ask, "item.html", live=live, **context_of(ask, item))


def context_of(ask: Ask, item: Item) -> dict[str, Any]:
    """
    Return what the template of an item needs.
    """
    backlog, now = ask.backlog, ask.site.backlog.clock()
    query = EventQuery(item_ids=(item.id,), newest_first=True, limit=_HISTORY)
    events, policy = backlog.events(query), backlog.policy()
    trail = events[::-1]
    return {
        "item": item,
        "status": effective_status(item, now),
        "overdue": is_overdue(item, now),
        "closed": item.status in CLOSED,
        "moves": [move for move in allowed_moves(item.status, policy.transitions) if move not in CLOSED],
        "reasons": CLOSING_REASONS,
        "priorities": PRIORITIES,
        "history": [told(event) for event in events],
        "sightings": backlog.sightings(item.id),
        "claims": claims_by_source(item),
        "occurrences": backlog.occurrences(item),
        "links": _links(backlog, item),
        "why": {reason.field: reason for reason in reasons(item, trail, policy, now)},
        "sla": sla_of(item, trail, policy, now),
        "steps": steps_of(item, trail, policy, now) if policy.escalation is not None else (),
        "age_days": (to_datetime(now) - to_datetime(item.created_at)).days,
    }


def _links(backlog: Backlog, item: Item) -> list[tuple[str, Item]]:
    links = backlog.links(item.id)
    known = backlog.read(lambda reader: reader.items([other for _, other in links]))
    return [(kind, known[other]) for kind, other in links if other in known]


def told(event: Event) -> dict[str, Any]:
    """
    Return an event as a line of the history: who, when, did what, and the fields that it changed.
    """
    changes = [] if event.type == "created" else [
        (name, _short(was), _short(now)) for name, (was, now) in event.changes.items() if name not in _QUIET
    ]  # fmt: skip
    return {"event": event, "did": _SAID.get(event.type, event.type), "changes": changes}


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else "" if value is None else str(value)
    return text if len(text) <= 80 else text[:79] + "…"
