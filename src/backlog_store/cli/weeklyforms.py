"""
The digest as Markdown, HTML, JSON and plain text. Titles are written by strangers: none of them means anything here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from html import escape

from msgspec import Struct

from backlog_store.cli.items import handy_ids
from backlog_store.cli.text import cut, neutral, plural, table
from backlog_store.codec import to_builtins
from backlog_store.instants import Instant, day_of
from backlog_store.model import Item
from backlog_store.rules.escalating import Steps
from backlog_store.shown import view
from backlog_store.weekly import AGED, Ageing, Part, Weekly, age_days, shown

__all__ = ["FORMS"]

_WIDTH = 80
#: Of a column that is not the last one: so much of it is shown in the text.
_NARROW = 16
_FIELDS = (
    "id", "env", "service", "title", "priority", "status", "owner", "due_date", "source", "created_at", "closed_at",
    "closed_reason", "closed_by", "expires_at",
)  # fmt: skip
_NONE = "(none)"


class _Section(Struct, frozen=True, kw_only=True):
    """
    A part of the digest, for people: texts as they are, to be made harmless by each form.
    """

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()
    queries: tuple[str, ...] = ()


def _title(found: Weekly) -> str:
    return f"Backlog digest of {found.env or 'all envs'}"


def _summary(found: Weekly) -> str:
    return (
        f"From {shown(found.since)} to {shown(found.at)}: {found.new.count:,} new, {found.fixed.count:,} fixed, "
        f"{found.reopened.count:,} reopened. Live now: {plural(found.live, 'item')}, {found.overdue.count:,} overdue, "
        f"{found.unowned.count:,} without an owner."
    )


def _sections(found: Weekly) -> Iterator[_Section]:
    parts = (found.new, found.fixed, found.reopened, found.otherwise, found.overdue, found.unowned, found.ending)
    named = [item for part in parts for item in part.first] + [row.oldest for row in found.ageing]
    named += [step.item for steps in (found.steps_fired, found.steps_due) if steps is not None for step in steps.first]
    handy = handy_ids(named)
    today = day_of(found.at)

    def of(title: str, part: Part, day: str, when: Callable[[Item], str], *notes: str) -> _Section:
        rows = tuple(
            (handy[item.id], item.priority, when(item), item.service or _NONE, item.title) for item in part.first
        )
        more = (f"and {part.count - len(rows):,} more",) if part.count > len(rows) else ()
        return _Section(title=f"{title}: {part.count:,}", head=("id", "priority", day, "service", "title"), rows=rows,
                        notes=(*notes, *more), queries=(part.query,))  # fmt: skip

    yield of("New", found.new, "created", lambda item: day_of(item.created_at))
    yield of("Fixed", found.fixed, "closed", lambda item: day_of(item.closed_at), *_fixers(found))
    yield of("Reopened", found.reopened, "created", lambda item: day_of(item.created_at))
    reasons = ", ".join(f"{n:,} {reason or 'without a reason'}" for reason, n in found.otherwise_by.items())
    yield of("Closed otherwise", found.otherwise, "closed", lambda item: day_of(item.closed_at),
             *((reasons,) if reasons else ()))  # fmt: skip
    yield of(f"Overdue on {today}", found.overdue, "due", lambda item: item.due_date)
    yield _Section(
        title="Ageing: the oldest live item of each priority",
        head=("id", "priority", "days", "service", "title"),
        rows=tuple(_aged(row, handy, found.at) for row in found.ageing),
        notes=tuple(map(_looked_at, found.ageing)),
        queries=tuple(row.query for row in found.ageing),
    )
    yield from _escalations(found, handy)
    yield of("Without an owner", found.unowned, "created", lambda item: day_of(item.created_at))
    yield of("Accepted risks that ended, or end within a week", found.ending, "ends",
             lambda item: day_of(item.expires_at))  # fmt: skip
    yield _silences(found)
    yield _Section(
        title="Noisy sources: closed as wont_fix or false_positive",
        head=("source", "noise", "closed", "share"),
        rows=tuple(
            (row.source or _NONE, f"{row.noise:,}", f"{row.closed:,}", f"{100 * row.noise // row.closed} %")
            for row in found.noisy
        ),
        notes=() if found.noisy else ("none",),
        queries=tuple(row.query for row in found.noisy),
    )


def _aged(row: Ageing, handy: Mapping[str, str], now: Instant) -> tuple[str, ...]:
    item = row.oldest
    return handy[item.id], row.priority, str(age_days(item, now)), item.service or _NONE, item.title


def _looked_at(row: Ageing) -> str:
    part = f", the oldest of the first {row.looked_at:,} in the order of work" if row.looked_at < row.live else ""
    return f"{row.priority}: {row.live:,} live{part}"


def _fixers(found: Weekly) -> tuple[str, ...]:
    unknown = found.fixed.count - found.proven - found.by_machines - found.by_people
    told = ((found.proven, "by a machine with proof"), (found.by_machines, "by a machine without proof"),
            (found.by_people, "by people"), (unknown, "whose close is not in the history"))  # fmt: skip
    words = ", ".join(f"{n:,} {how}" for n, how in told if n > 0)
    return (words,) if words else ()


def _escalations(found: Weekly, handy: Mapping[str, str]) -> Iterator[_Section]:
    def of(title: str, steps: Steps, when: str, *notes: str) -> _Section:
        rows = tuple((handy[one.item.id], one.item.priority, day_of(one.at), one.step, one.item.title)
                     for one in steps.first)  # fmt: skip
        more = (f"and {steps.count - len(rows):,} more",) if steps.count > len(rows) else ()
        return _Section(title=f"{title}: {steps.count:,}", head=("id", "priority", when, "step", "title"), rows=rows,
                        notes=(*more, *notes), queries=(steps.query,))  # fmt: skip

    if found.steps_fired.count or found.steps_due is not None:
        yield of("Escalation steps that fired", found.steps_fired, "fired")
    if found.steps_due is not None:
        part = f"of the first {AGED:,} items, in the order of work, that may have come to one"
        yield of("Escalation steps that are due and did not fire yet", found.steps_due, "since",
                 *((part,) if found.steps_looked_at == AGED else ()))  # fmt: skip


def _silences(found: Weekly) -> _Section:
    rows = tuple((one.source, one.env, one.last_at[:16].replace("T", " "), one.service) for one in found.silent)
    notes = ["Known are sources that report in runs: their last run began before this time, and none since."]
    if found.silent_count > len(rows):
        notes.append(f"and {found.silent_count - len(rows):,} more")
    if found.unwatched_count:
        names = ", ".join(found.unwatched[:5]) + (", …" if found.unwatched_count > len(found.unwatched[:5]) else "")
        notes.append(f"Of {plural(found.unwatched_count, 'source')} it cannot be known, for want of runs: {names}")
    return _Section(title=f"Silent sources: {found.silent_count:,}", head=("source", "env", "last run", "service"),
                    rows=rows, notes=tuple(notes), queries=("backlog run list",))  # fmt: skip


# --- plain text ------------------------------------------------------------------------------------------------------


def _as_text(found: Weekly) -> str:
    lines = [*_folded(_title(found)), *_folded(_summary(found))]
    for section in _sections(found):
        lines += ["", *_folded(section.title)]
        cells = [[*(cut(neutral(cell), _NARROW) for cell in row[:-1]), row[-1]] for row in section.rows]
        lines += table(cells, room=_WIDTH - 2, indent="  ")
        lines += [line for note in section.notes for line in _folded(note, "  ")]
        lines += [line for query in section.queries for line in _broken(neutral(query), "  $ ")]
    return "\n".join(lines) + "\n"


def _folded(text: str, indent: str = "") -> list[str]:
    from textwrap import wrap

    return wrap(neutral(text), _WIDTH, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False)


def _broken(command: str, indent: str) -> list[str]:
    """
    Return a command on lines of their width, broken between the terms of its query or before an option.

    A line end inside of quotes is a space of the query, so it can be copied whole.
    """
    lines = [indent]
    for number, term in enumerate(re.split(r" (?=-?[a-z]+:|--)", command)):
        if number and len(lines[-1]) + 3 + len(term) > _WIDTH:
            lines[-1] += " \\" if term.startswith("--") else ""
            lines.append(" " * len(indent) + term)
        else:
            lines[-1] += f" {term}" if number else term
    return lines


# --- Markdown --------------------------------------------------------------------------------------------------------

_ENTITIES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})


def _as_markdown(found: Weekly) -> str:
    lines = [f"# {_plain(_title(found))}", "", _plain(_summary(found))]
    for section in _sections(found):
        lines += ["", f"## {_plain(section.title)}"]
        if section.rows:
            lines += ["", f"| {' | '.join(section.head)} |", f"|{' --- |' * len(section.head)}"]
            lines += [f"| {' | '.join(map(_plain, row))} |" for row in section.rows]
        below = [*map(_plain, section.notes), *map(_code, section.queries)]
        lines += ["", *(f"- {line}" for line in below)] if below else []
    return "\n".join(lines) + "\n"


def _plain(text: str) -> str:
    """
    Return a text that Markdown shows as it is: no table cell ends, no link, image, HTML or mention begins in it.
    """
    escaped = re.sub(r"([\\`*_\[\]|~$@#])", r"\\\1", neutral(text)).translate(_ENTITIES)
    # A bare address would be made a link.
    return re.sub(r"(:)(?=//)|(?<=www)(\.)", r"\\\g<0>", escaped, flags=re.IGNORECASE)


def _code(text: str) -> str:
    ticks = "`" * (1 + max((len(run) for run in re.findall("`+", text)), default=0))
    space = " " if "`" in text else ""
    return f"{ticks}{space}{neutral(text)}{space}{ticks}"


# --- HTML ------------------------------------------------------------------------------------------------------------

_STYLE = (
    "body{font:14px/1.45 system-ui,sans-serif;max-width:60em;margin:2em auto;padding:0 1em}"
    "table{border-collapse:collapse}th,td{padding:.2em .8em .2em 0;text-align:left;vertical-align:top}"
    "th{border-bottom:1px solid #999}code{overflow-wrap:anywhere}"
)


def _as_html(found: Weekly) -> str:
    title = _html(_title(found))
    lines = ["<!DOCTYPE html>", '<html lang="en">', "<head>", '<meta charset="utf-8">', f"<title>{title}</title>",
             f"<style>{_STYLE}</style>", "</head>", "<body>", f"<h1>{title}</h1>",
             f"<p>{_html(_summary(found))}</p>"]  # fmt: skip
    for section in _sections(found):
        lines.append(f"<h2>{_html(section.title)}</h2>")
        if section.rows:
            lines += ["<table>", _row("th", section.head), *(_row("td", row) for row in section.rows), "</table>"]
        lines += [f"<p>{_html(note)}</p>" for note in section.notes]
        lines += [f"<p><code>{_html(query)}</code></p>" for query in section.queries]
    return "\n".join([*lines, "</body>", "</html>"]) + "\n"


def _row(cell: str, texts: Sequence[str]) -> str:
    return f"<tr>{''.join(f'<{cell}>{_html(text)}</{cell}>' for text in texts)}</tr>"


def _html(text: str) -> str:
    return escape(neutral(text))


# --- JSON ------------------------------------------------------------------------------------------------------------


def _as_json(found: Weekly) -> str:
    text = json.dumps(_data(found, found), indent=2, ensure_ascii=False)
    # JSON itself escapes only the controls below a space; others may steer a terminal.
    harmless = (a if a.isprintable() or a == "\n" else json.dumps(a)[1:-1] for a in text)
    return "".join(harmless) + "\n"


def _data(value: object, found: Weekly) -> object:
    if isinstance(value, Item):
        return view(value, _FIELDS, found.at)
    if isinstance(value, Struct):
        return {name: _data(getattr(value, name), found) for name in value.__struct_fields__}
    if isinstance(value, tuple):
        return [_data(one, found) for one in value]
    return to_builtins(value)


#: How to print a digest, by name: each gives the whole text, its last line ended.
FORMS: Mapping[str, Callable[[Weekly], str]] = {
    "text": _as_text, "md": _as_markdown, "html": _as_html, "json": _as_json,
}  # fmt: skip
