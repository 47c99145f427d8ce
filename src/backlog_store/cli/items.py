"""
Items as people and programs see them: fields by name, columns of a table, formats of output.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import click

from backlog_store.cli.app import App
from backlog_store.cli.command import refuse_unknown
from backlog_store.cli.text import cut, neutral, table
from backlog_store.codec import to_builtins
from backlog_store.instants import Instant, day_of
from backlog_store.model import Item
from backlog_store.shown import FIELDS, SHORT_NAMES, csv_cell, field, full_name, plain_json, text_of, view
from backlog_store.workflow import effective_status, is_overdue

__all__ = ["COLUMNS", "FIELDS", "FORMATS", "csv_cell", "field", "fields_of", "handy_ids", "item_lines", "json_text",
           "plain_json", "print_items", "print_rows", "text_of", "view"]  # fmt: skip

FORMATS = ("table", "json", "jsonl", "csv", "md")
#: Columns of a table, unless others are asked for.
COLUMNS = ("id", "priority", "effective_status", "due_date", "owner", "service", "title")
_HEADS = {"effective_status": "status", "due_date": "due", "priority": "pri"}
_HANDY = 8
_ID = "bl_"


def fields_of(text: str) -> tuple[str, ...]:
    """
    Return the fields that ``--fields id,title`` names. Raises `click.UsageError` for an unknown one.
    """
    names = tuple(full_name(name) for name in (part.strip() for part in text.split(",")) if name)
    for name in names:
        if name not in FIELDS:
            refuse_unknown("field", name, [*FIELDS, *SHORT_NAMES])
    return names


def handy_ids(items: Iterable[Item]) -> dict[str, str]:
    """
    Return for each id the shortest beginning, of 8 characters at least, that no other one of these has.
    """
    ids = sorted({item.id for item in items})
    short: dict[str, str] = {}
    for index, id in enumerate(ids):
        if not id.startswith(_ID):
            short[id] = id
            continue
        around = ids[max(0, index - 1) : index] + ids[index + 1 : index + 2]
        shared = max((_common(id, other) for other in around), default=0)
        short[id] = id[len(_ID) : max(len(_ID) + _HANDY, shared + 1)]
    return short


def _common(a: str, b: str) -> int:
    count = 0
    for left, right in zip(a, b, strict=False):
        if left != right:
            break
        count += 1
    return count


def json_text(app: App, value: Any) -> str:
    """
    Return a value as JSON: on one line for programs, indented for people, and harmless for a terminal.
    """
    if not app.on_terminal:
        return plain_json(value)
    import json

    text = json.dumps(to_builtins(value), indent=2, ensure_ascii=False)
    # JSON itself escapes only the controls below a space.
    return "".join(f"\\u{ord(a):04x}" if not a.isprintable() and a != "\n" and ord(a) < 0x10000 else a for a in text)


def print_items(
    app: App, items: Iterable[Item], *, format: str, names: Sequence[str], now: Instant, empty: str = ""
) -> None:
    """
    Print items in a format. *empty* is said instead of an empty table.
    """
    if format != "table":
        print_rows(app, (view(item, names, now) for item in items), format, names or FIELDS)
        return
    rows = list(items)
    if rows:
        app.show(item_lines(app, rows, names=names or COLUMNS, now=now))
    elif empty:
        app.say(empty)


def print_rows(app: App, rows: Iterable[dict[str, Any]], format: str, names: Sequence[str]) -> None:
    """
    Print rows of plain data as json, jsonl, csv or md, one after the other as they come.
    """
    for text in _WRITERS[format](app, rows, names):
        click.echo(text, nl=False)


def _as_json(app: App, rows: Iterable[dict[str, Any]], _: Sequence[str]) -> Iterator[str]:
    if app.on_terminal:
        yield json_text(app, list(rows)) + "\n"
        return
    start = "["
    for row in rows:
        yield start + plain_json(row)
        start = ",\n"
    yield "[]\n" if start == "[" else "]\n"


def _as_jsonl(_: App, rows: Iterable[dict[str, Any]], __: Sequence[str]) -> Iterator[str]:
    for row in rows:
        yield plain_json(row) + "\n"


def _as_csv(_: App, rows: Iterable[dict[str, Any]], names: Sequence[str]) -> Iterator[str]:
    import csv

    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(names)
    for row in rows:
        writer.writerow([csv_cell(row[name]) for name in names])
        yield buffer.getvalue()
        buffer.seek(0)
        buffer.truncate()
    yield buffer.getvalue()


def _as_markdown(_: App, rows: Iterable[dict[str, Any]], names: Sequence[str]) -> Iterator[str]:
    yield f"| {' | '.join(names)} |\n|{'---|' * len(names)}\n"
    for row in rows:
        cells = (neutral(text_of(row[name])).replace("\\", "\\\\").replace("|", "\\|") for name in names)
        yield f"| {' | '.join(cells)} |\n"


_WRITERS = {"json": _as_json, "jsonl": _as_jsonl, "csv": _as_csv, "md": _as_markdown}


def item_lines(
    app: App,
    items: Sequence[Item],
    *,
    names: Sequence[str] = COLUMNS,
    now: Instant,
    head: bool = True,
    indent: str = "",
) -> list[str]:
    """
    Return items as lines of a table. Off a terminal ids are whole and nothing is cut.
    """
    # The last column is the one that is cut, so the title goes there.
    names = [*(name for name in names if name != "title"), *(["title"] if "title" in names else [])]
    short = handy_ids(items) if app.on_terminal else {}
    rows, styles = [], []
    for item in items:
        cells = [text_of(field(item, name, now)) for name in names]
        if "id" in names:
            cells[names.index("id")] = short.get(item.id, item.id)
        rows.append([cell if name == "title" else cut(cell, 60) if app.room else cell
                     for name, cell in zip(names, cells, strict=True)])  # fmt: skip
        styles.append([_style(item, name, now) for name in names])
    heads = [_HEADS.get(name, name) for name in names] if head else ()
    return table(rows, head=heads, room=app.room, styles=styles, color=app.colored, indent=indent)


def _style(item: Item, name: str, now: Instant) -> str:
    if name == "id":
        return "cyan"
    if name == "priority":
        return {"P0": "red", "P1": "yellow"}.get(item.priority, "")
    if name == "due_date" and is_overdue(item, now):
        return "red"
    if name == "due_date" and item.due_date == day_of(now):
        return "yellow"
    if name in ("status", "effective_status"):
        shown = effective_status(item, now)
        return {"in_progress": "green", "blocked": "yellow", "expired": "red"}.get(
            shown, "" if shown == "open" else "dim"
        )
    return ""
