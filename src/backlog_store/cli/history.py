"""
Events as lines for people, and the batches that they belong to.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from backlog_store.cli.app import App
from backlog_store.cli.text import cut, neutral, table
from backlog_store.cli.writing import changes_in_words
from backlog_store.errors import AmbiguousId, NotFound
from backlog_store.model import ACCESS_TRAIL, Event
from backlog_store.policy import rule_in_words
from backlog_store.query import EventQuery

__all__ = ["batch_named", "event_lines", "newest_events", "what_happened"]

_PAGE = 500
_LOOKED_AT = 200_000  # events, newest first; an older batch is named whole

_TYPES = {
    "auto_update": "updated by a report",
    "status_change": "moved",
    "edited": "edited",
    "split_lifted": "split lifted",
    "baseline": "history before forgotten",
}


def what_happened(event: Event) -> str:
    """
    Return what an event changed and why, in one line.
    """
    parts = []
    if event.type not in ("created", "baseline"):
        parts = changes_in_words(event.changes)
    if link := event.meta.get("link"):
        parts.append(f"{link.get('kind')} {link.get('other')}" if isinstance(link, dict) else "")
    if event.type in ("merged", "split", "split_lifted") and not event.added:
        parts.append(_of_identity(event))
    if event.type == "escalated" and not event.added:
        told = ", ".join(map(str, event.meta.get("notify", ())))
        parts.append(neutral(f"step {event.meta.get('step', '')}") + (f", to tell {neutral(told)}" if told else ""))
    for name in ("priority", "owner"):
        if isinstance(rule := event.meta.get(name), dict) and name in event.changes:
            parts.append(f"{name} by {neutral(rule_in_words(str(rule.get('rule', ''))))}")
    if why := event.meta.get("kept_open"):
        parts.append(f"kept open: {neutral(str(why))}")
    if event.item_id == ACCESS_TRAIL:
        parts.append(neutral(str(event.meta.get("name", ""))))
    message = neutral(event.message)
    return "; ".join(filter(None, parts)) + (f" — {message}" if parts and message else message)


def _of_identity(event: Event) -> str:
    told = event.meta.get("merged") or event.meta.get("split")
    if not isinstance(told, dict):
        return ""
    if "into" in told:
        return f"into {neutral(str(told['into']))}"
    if event.type == "merged":
        return f"with {neutral(str(told.get('from', '')))}"
    return f"the key {neutral(str(told.get('key', '')))}"


def event_lines(app: App, events: Sequence[Event], *, titles: Mapping[str, str] | None) -> list[str]:
    """
    Return a line an event; *titles* (by item id) where the events are of several items.
    """
    rows = []
    styles = []
    for event in events:
        what = what_happened(event)
        cells = [f"{event.ts[:10]} {event.ts[11:16]}", event.actor, _TYPES.get(event.type, event.type)]
        style = ["dim", "", "bold"]
        if titles is not None:
            id = event.item_id
            cells.append(id[3:11] if app.on_terminal and id.startswith("bl_") else id)
            style.append("cyan")
            title = titles.get(id, "")
            what = f"{cut(title, 50)}: {what}" if what and title else what or title
        rows.append([*cells, what])
        styles.append(style)
    return table(rows, styles=styles, color=app.colored, room=app.room)


def newest_events(app: App, actor: str = "") -> Iterator[Event]:
    """
    Yield the newest events, by page.
    """
    after, seen = "", 0
    while seen < _LOOKED_AT:
        page = app.backlog.events(
            EventQuery(actors=(actor,) if actor else None, newest_first=True, after=after, limit=_PAGE)
        )
        yield from page
        if len(page) < _PAGE:
            return
        after, seen = page[-1].position, seen + len(page)


def batch_named(app: App, name: str) -> str:
    """
    Return the whole name of a batch. Raises `NotFound` and `AmbiguousId`.
    """
    if app.backlog.events(EventQuery(batch=name, limit=1)):
        return name
    start = name if name.startswith("cm_") else f"cm_{name}"
    found = list(dict.fromkeys(event.batch for event in newest_events(app) if event.batch.startswith(start)))
    if len(found) > 1:
        raise AmbiguousId("batch", name, found)
    if not found:
        raise NotFound("batch", name, hint="`backlog batch` lists the newest ones.")
    return found[0]
