"""
Events as lines for people.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from backlog_store.cli.app import App
from backlog_store.cli.text import cut, neutral, table
from backlog_store.cli.writing import changes_in_words
from backlog_store.model import Event

__all__ = ["event_lines", "what_happened"]

_TYPES = {"auto_update": "updated by a report", "status_change": "moved", "edited": "edited"}


def what_happened(event: Event) -> str:
    """
    Return what an event changed and why, in one line.
    """
    parts = []
    if event.type != "created":
        parts = changes_in_words(event.changes)
    if link := event.meta.get("link"):
        parts.append(f"{link.get('kind')} {link.get('other')}" if isinstance(link, dict) else "")
    if why := event.meta.get("kept_open"):
        parts.append(f"kept open: {neutral(str(why))}")
    message = neutral(event.message)
    return "; ".join(filter(None, parts)) + (f" — {message}" if parts and message else message)


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
