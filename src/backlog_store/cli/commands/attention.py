"""
Bare `backlog`: what needs attention now; on an empty store, how to begin.
"""

from __future__ import annotations

from collections.abc import Sequence

from backlog_store.cli.app import App
from backlog_store.cli.items import item_lines
from backlog_store.cli.text import paint, plural
from backlog_store.dashboard import Attention
from backlog_store.model import Item
from backlog_store.redacting import redacted

__all__ = ["show_attention"]

_COLUMNS = ("id", "priority", "effective_status", "due_date", "owner", "service", "title")


def show_attention(app: App) -> None:
    """
    Print what needs a look now, each part with the query that lists all of it.
    """
    backlog = app.reading()
    found = backlog.attention()
    if not found.live and not found.expiring_count:
        _teach(app, empty=not backlog.search(limit=1))
        return
    summary = [plural(found.live, "live item")]
    if found.overdue_count:
        summary.append(f"{found.overdue_count:,} overdue")
    if found.unowned_count:
        summary.append(f"{found.unowned_count:,} without an owner")
    lines = [paint(", ".join(summary), "bold", on=app.colored)]
    told: set[str] = set()
    for title, count, items, query in _parts(found):
        fresh = [item for item in items if item.id not in told]
        told |= {item.id for item in fresh}
        if count:
            lines += _section(app, title, count, fresh, query, found.at)
    if len(lines) == 1:
        lines += ["", "Nothing is urgent, overdue or due this week. `backlog list` shows the rest."]
    app.show(lines)
    app.hint("\nbacklog show ID · backlog list QUERY · backlog --help")


def _parts(found: Attention) -> Sequence[tuple[str, int, Sequence[Item], str]]:
    return (
        ("Overdue", found.overdue_count, found.overdue, "is:awake due:<today"),
        ("Urgent", found.urgent_count, found.urgent, "is:awake priority:<=P1"),
        ("Due within a week", found.due_soon_count, found.due_soon, "is:awake due:today..7d"),
        ("Woken up", found.woken_count, found.woken, "is:woken"),
        ("Acceptances ended or ending within a week", found.expiring_count, found.expiring,
         "reason:accepted_risk expires:<=7d"),
    )  # fmt: skip


def _section(app: App, title: str, count: int, items: Sequence[Item], query: str, now: str) -> list[str]:
    head = paint(f"{title} ({count:,})", "bold", on=app.colored)
    lines = ["", f"{head}  {paint(f'backlog list {query!r}', 'dim', on=app.colored)}"]
    if items:
        lines += item_lines(app, items, names=_COLUMNS, now=now, head=False, indent="  ")
    if items and len(items) < count:
        lines.append(paint(f"  … {count - len(items):,} more", "dim", on=app.colored))
    elif not items:
        lines.append(paint("  listed above", "dim", on=app.colored))
    return lines


def _teach(app: App, *, empty: bool) -> None:
    where = f"{redacted(app.store.value)} ({app.store.origin})"
    first = "This backlog is empty" if empty else "Nothing is live: all items are closed"
    app.out(f"{first}: {where}")
    app.out("""
  backlog demo                          see it work on real findings, in a store that is thrown away
  backlog init                          keep a backlog in this project
  backlog report ruff.sarif             take in a report of a scanner, an alert manager or a test run
  backlog add "Rotate the signing key"  add an item by hand
  backlog list                          see them
  backlog --help                        all commands""")
