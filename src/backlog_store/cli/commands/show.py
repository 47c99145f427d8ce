"""
`backlog show`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from typing import Any

import click

from backlog_store.cli.app import App, pass_app
from backlog_store.cli.command import command
from backlog_store.cli.history import event_lines
from backlog_store.cli.items import field, fields_of, json_text, text_of, view
from backlog_store.cli.options import fields_option, id_argument, json_option
from backlog_store.cli.text import cut, neutral, padded, paint, plural
from backlog_store.codec import to_builtins
from backlog_store.instants import Instant, day_of
from backlog_store.model import Event, Item, Sighted
from backlog_store.policy import Policy
from backlog_store.rules.policies import policy_in_force
from backlog_store.rules.voices import claims_by_source, every_claim
from backlog_store.workflow import effective_status, is_overdue

__all__ = ["show"]

_EVENTS = 10
_EVIDENCE = 10


@command("show", examples=("backlog show k3jq7a2m", "backlog show @latest --json --fields title,status"))
@id_argument
@click.option("--all", "everything", is_flag=True, help="All evidence and the whole history, not only the newest.")
@fields_option
@json_option
@pass_app
def show(app: App, id: str, everything: bool, fields: str, as_json: bool) -> None:
    """
    Show one item: fields, evidence, reports, links and history. ID may be a beginning, or @latest.
    """
    backlog = app.reading()
    item = app.item(id)
    now = app.now()
    names = fields_of(fields)
    if as_json and names:
        app.out(json_text(app, view(item, names, now)))
        return
    if names:
        for name in names:
            app.out(neutral(text_of(field(item, name, now)), lines=True))
        return
    sightings = backlog.sightings(item.id)
    links = [(kind, backlog.find(other) or other) for kind, other in backlog.links(item.id)]
    events = backlog.trail(item.id)
    policy = backlog.read(policy_in_force)
    clocks, steps = _clocks(policy, item, events, now), _steps(policy, item, events, now)
    if as_json:
        whole = _whole(item, now, sightings, links, events)
        app.out(json_text(app, whole | ({"sla": clocks} if clocks else {}) | ({"escalation": steps} if steps else {})))
        return
    lines = [*_head(app, item, now), "", *_facts(app, item, now)]
    named = [*((one["clock"], one["told"]) for one in clocks), *((one["step"], one["told"]) for one in steps)]
    lines += [f"  {paint(padded(neutral(name), 14), 'dim', on=app.colored)}  {neutral(told)}" for name, told in named]
    lines += _reports(app, item, sightings)
    lines += _description(app, item)
    lines += _evidence(app, item, everything=everything)
    lines += _links(app, links, now)
    lines += _history(app, events, everything=everything)
    app.show(lines)


def _clocks(policy: Policy, item: Item, events: Sequence[Event], now: Instant) -> list[dict[str, Any]]:
    """
    Return how the clocks of the item's target stand, each told for people, too; none without the section `sla`.
    """
    if policy.sla is None:
        return []
    from backlog_store.cli.clocks import in_words  # counting working time costs those nothing who name no targets
    from backlog_store.rules.sla import sla_of

    return [{**to_builtins(one), "told": f"{one.state}, {in_words(one)}"} for one in sla_of(item, events, policy, now)]


def _steps(policy: Policy, item: Item, events: Sequence[Event], now: Instant) -> list[dict[str, Any]]:
    """
    Return how the item stands to the steps of escalation, likewise.
    """
    if policy.escalation is None:
        return []
    from backlog_store.cli.clocks import step_in_words
    from backlog_store.rules.escalating import steps_of

    return [{**to_builtins(one), "told": f"{one.state} {step_in_words(one)}"}
            for one in steps_of(item, events, policy, now)]  # fmt: skip


def _whole(item: Item, now: Instant, sightings: Mapping[str, Sighted], links: Sequence[tuple[str, Item | str]],
           events: Sequence[Event]) -> dict[str, Any]:  # fmt: skip
    return {
        **view(item, (), now),
        "occurrences": _occurrences(item, sightings),
        "sightings": to_builtins(dict(sightings)),
        "links": [{"kind": kind, "id": other if isinstance(other, str) else other.id} for kind, other in links],
        "events": [to_builtins(event) for event in events],
    }


def _occurrences(item: Item, sightings: Mapping[str, Sighted]) -> int:
    return sum(claim.reports for _, _, claim in every_claim(item)) + sum(seen.n for seen in sightings.values())


def _head(app: App, item: Item, now: Instant) -> list[str]:
    on = app.colored
    status = effective_status(item, now)
    marks = [item.priority, status]
    if status == "snoozed":
        marks.append(f"until {_when(item.wake_at)}")
    if item.closed_reason:
        marks.append(f"as {item.closed_reason}")
    if is_overdue(item, now):
        marks.append(paint("overdue", "red", on=on))
    title = neutral(item.title) if not app.room else cut(neutral(item.title), 3 * app.room)
    return [paint(title, "bold", on=on), f"{paint(item.id, 'cyan', on=on)}  {'  '.join(marks)}"]


def _when(instant: Instant) -> str:
    return day_of(instant) if instant.endswith("T00:00:00.000000Z") else f"{instant[:10]} {instant[11:16]} UTC"


def _facts(app: App, item: Item, now: Instant) -> Iterator[str]:
    facts: list[tuple[str, str]] = [
        ("service", item.service), ("env", item.env), ("category", item.category), ("owner", item.owner or "nobody"),
        ("due", _due(item, now)), ("tags", ", ".join(item.tags)), ("source", item.source), ("key", item.dedupe_key),
        ("fix", item.fix), ("approved by", item.approver),
        ("accepted until", _when(item.expires_at) if item.expires_at else ""), ("duplicate of", item.duplicate_of),
        ("closed", f"{_when(item.closed_at)} by {item.closed_by}" if item.closed_at else ""),
        ("created", _when(item.created_at)), ("updated", _when(item.updated_at)),
        ("revision", f"{item.revision}" + (f", episode {item.episode}" if item.episode > 1 else "")),
        ("held", ", ".join(f"{name} by {by}{_end(item, name)}" for name, by in sorted(item.held.items()))),
        ("meta", "" if not item.meta else text_of(item.meta)),
    ]  # fmt: skip
    for name, value in facts:
        if value:
            text = neutral(value)
            yield f"  {paint(padded(name, 14), 'dim', on=app.colored)}  {cut(text, 3 * app.room) if app.room else text}"


def _end(item: Item, name: str) -> str:
    end = item.held_until.get(name, "")
    return f" until {_when(end)}" if end else ""


def _due(item: Item, now: Instant) -> str:
    if not item.due_date:
        return ""
    days = (date.fromisoformat(item.due_date) - date.fromisoformat(day_of(now))).days
    near = {0: "today", 1: "tomorrow", -1: "yesterday"}.get(days)
    return f"{item.due_date} ({near or (f'in {days} days' if days > 0 else f'{-days} days ago')})"


def _reports(app: App, item: Item, sightings: Mapping[str, Sighted]) -> list[str]:
    claims = claims_by_source(item)
    if not claims:
        return []
    lines = _heading(app, "Reported", plural(_occurrences(item, sightings), "time"))
    for source, claim in sorted(claims.items()):
        seen = sightings.get(source)
        count = claim.reports + (seen.n if seen else 0)
        last = max(claim.last_at, seen.last_at) if seen else claim.last_at
        gone = "" if claim.live else ", says it is gone"
        lines.append(f"  {neutral(source)}: {plural(count, 'time')}, first {_when(claim.first_at)}, last {_when(last)}"
                     f", as {claim.priority}{gone}")  # fmt: skip
    return lines


def _heading(app: App, title: str, more: str = "") -> list[str]:
    return ["", paint(title, "bold", on=app.colored) + (f"  {more}" if more else "")]


def _description(app: App, item: Item) -> list[str]:
    if not item.description:
        return []
    text = neutral(item.description, lines=True)
    lines = _heading(app, "Description")
    if app.room and app.colored:
        from io import StringIO

        from rich.console import Console
        from rich.markdown import Markdown
        from rich.padding import Padding

        console = Console(file=StringIO(), force_terminal=True, width=min(app.room, 100), color_system="standard")
        with console.capture() as captured:
            # Links are printed whole: hidden targets would mislead.
            console.print(Padding(Markdown(text, hyperlinks=False), (0, 0, 0, 2)))
        return [*lines, *(line.rstrip() for line in captured.get().rstrip().split("\n"))]
    return [*lines, *(f"  {line}" for line in text.splitlines())]


def _evidence(app: App, item: Item, *, everything: bool) -> list[str]:
    if not item.evidence_refs:
        return []
    lines = _heading(app, "Evidence")
    for kind, value in sorted(item.evidence_refs.items()):
        values = value if isinstance(value, list) else [value]
        total = item.evidence_totals.get(kind, len(values))
        shown = values if everything else values[-_EVIDENCE:]
        rest = f" (the newest {len(shown)} of {total})" if total > len(shown) else ""
        lines.append(f"  {neutral(kind)}{rest}")
        lines += [f"    {neutral(text_of(one))}" for one in shown]
    return lines


def _links(app: App, links: Sequence[tuple[str, Item | str]], now: Instant) -> list[str]:
    if not links:
        return []
    lines = _heading(app, "Links")
    for kind, other in links:
        back = kind.startswith("~")
        name = {"blocks": "blocked by", "parent": "child", "caused_by": "causes", "duplicates": "duplicated by"}.get(
            kind[1:], kind[1:]) if back else kind.replace("_", " ")  # fmt: skip
        told = (
            other if isinstance(other, str) else f"{other.id}  {effective_status(other, now)}  {neutral(other.title)}"
        )
        lines.append(f"  {name}  {told}")
    return lines


def _history(app: App, events: Sequence[Event], *, everything: bool) -> list[str]:
    shown = events if everything else events[-_EVENTS:]
    hidden = len(events) - len(shown)
    more = f"{plural(hidden, 'older event')}: --all" if hidden else ""
    lines = _heading(app, "History", more)
    return lines + [f"  {line}" for line in event_lines(app, shown, titles=None)]
