"""
`backlog dashboard`, `backlog stats` and `backlog view`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from backlog_store.cli.app import App, pass_app
from backlog_store.cli.asking import asked
from backlog_store.cli.command import Choice, command, group
from backlog_store.cli.complete import complete_views
from backlog_store.cli.items import item_lines, json_text
from backlog_store.cli.items import view as item_view
from backlog_store.cli.options import json_option
from backlog_store.cli.text import neutral, padded, paint, plural, table, width
from backlog_store.codec import to_builtins
from backlog_store.commands import SaveView
from backlog_store.dashboard import Dashboard
from backlog_store.model import PRIORITIES, STATUSES
from backlog_store.policy import rule_name
from backlog_store.query import FACETS

if TYPE_CHECKING:
    from backlog_store.rules.attainment import Attained

__all__ = ["dashboard_", "stats", "view"]

_BAR = 24
_OVERDUE = ("id", "service", "title", "priority", "due_date", "owner")


@command("dashboard", examples=("backlog dashboard", "backlog dashboard --env staging --json"))
@click.option("--env", default="", metavar="NAME", help="One env; without it, all of them.")
@click.option("--sla", "days", type=click.IntRange(min=1, max=3_660), default=None, metavar="DAYS",
              help="Count met and missed targets, too: of live items, and of those closed lately.")  # fmt: skip
@json_option
@pass_app
def dashboard_(app: App, env: str, days: int | None, as_json: bool) -> None:
    """
    Show exact counts, and what is overdue.

    With `--sla` the trail of each live item and of each that was closed lately is read; the counts alone read none.
    """
    found = app.reading().dashboard(env)
    targets = app.reading().attainment(env, days=days) if days is not None else []
    if as_json:
        data: dict[str, Any] = {name: getattr(found, name) for name in Dashboard.__struct_fields__}
        data["overdue"] = [item_view(item, _OVERDUE, found.at) for item in found.overdue]
        data["top_services"] = [{"service": name, "count": count} for name, count in found.top_services]
        if days is not None:
            data["sla"] = targets
        app.out(json_text(app, to_builtins(data)))
        return
    summary = [plural(found.total, "item"), f"{found.live:,} live", f"{found.overdue_count:,} overdue",
               f"{found.snoozed:,} snoozed", f"{found.unowned:,} without an owner"]  # fmt: skip
    lines = [paint(f"{neutral(env) or 'All envs'}: {', '.join(summary)}", "bold", on=app.colored)]
    lines += _bars(app, "Status", found.status_counts, STATUSES)
    lines += _bars(app, "Priority (live)", found.priority_counts, PRIORITIES)
    lines += _bars(app, "Services with most live items", dict(found.top_services))
    lines += _bars(app, "Categories (live)", found.category_counts)
    lines += _bars(app, "Sources (live)", found.source_counts)
    if found.overdue:
        head = f"Overdue ({found.overdue_count:,})"
        lines += ["", paint(head, "bold", on=app.colored)]
        lines += item_lines(app, found.overdue, now=found.at, head=False, indent="  ")
    if days is not None:
        lines += _targets(app, targets, days)
    app.show(lines)


def _targets(app: App, targets: Sequence[Attained], days: int) -> list[str]:
    """
    Return how often each target was met.
    """
    head = f"Targets (live, and closed within {plural(days, 'day')})"
    if not targets:
        return ["", f"{paint(head, 'bold', on=app.colored)}: none; the section sla of the policy sets them"]
    rows = [[rule_name(one.rule), one.clock, "" if one.share is None else f"{one.share:.1%}", f"{one.met:,}",
             f"{one.breached:,}", f"{one.running:,}", f"{one.unknown:,}"] for one in targets]  # fmt: skip
    names = ("target", "clock", "met of all", "met", "breached", "running", "unknown")
    return ["", paint(head, "bold", on=app.colored), *table(rows, head=names, color=app.colored, indent="  ")]


def _bars(app: App, title: str, counts: Mapping[str, int], order: Sequence[str] = ()) -> list[str]:
    """
    Return counts as bars: in this order, else the largest first, ten at most.
    """
    names = (
        [name for name in order if counts.get(name)] if order else sorted(counts, key=lambda a: (-counts[a], a))[:10]
    )
    if not names:
        return []
    most = max(counts.values())
    shown = {name: neutral(name) or "(none)" for name in names}
    wide = max(width(text) for text in shown.values())
    lines = ["", paint(title, "bold", on=app.colored)]
    for name in names:
        bar = "█" * max(1, round(_BAR * counts[name] / most))
        lines.append(f"  {padded(shown[name], wide)}  {counts[name]:>7,}  {paint(bar, 'blue', on=app.colored)}")
    if len(counts) > len(names):
        lines.append(f"  … {len(counts) - len(names):,} more: backlog stats")
    return lines


@command("stats", examples=("backlog stats", "backlog stats --by service --by priority is:overdue"))
@click.argument("words", nargs=-1, metavar="[QUERY]...")
@click.option("--by", multiple=True, type=Choice(FACETS), help="Count by this field; may be given several times.")
@click.option("--all", "closed_too", is_flag=True, help="Closed items, too.")
@json_option
@pass_app
def stats(app: App, words: tuple[str, ...], by: tuple[str, ...], closed_too: bool, as_json: bool) -> None:
    """
    Count items by a field, or by several at once: live ones, unless the query speaks of the status itself.
    """
    backlog = app.reading()
    where = asked(app, words, now=app.now(), closed_too=closed_too).where
    facets = by or ("service", "priority")
    counts = backlog.tally(where, facets)  # type: ignore[arg-type]
    ranked = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    if as_json:
        app.out(
            json_text(app, [{**dict(zip(facets, values, strict=True)), "count": count} for values, count in ranked])
        )
        return
    if not ranked:
        meant = " ".join(f"--by {word}" for word in words) if set(words) <= set(FACETS) else ""
        app.say("No item matches." + (f" To count by a field, say {meant}." if meant else ""))
        return
    rows = [[f"{count:,}", *(value or "(none)" for value in values)] for values, count in ranked]
    app.show(table(rows, head=("count", *facets), color=app.colored, room=app.room))


@group("view")
def view() -> None:
    """
    Keep queries under a name: `backlog list --view NAME`.
    """


@view.command("list")
@json_option
@pass_app
def list_views(app: App, as_json: bool) -> None:
    """
    List the saved views.
    """
    views = app.reading().views()
    if as_json:
        app.out(json_text(app, [{"name": name, "query": query} for name, query in sorted(views.items())]))
    elif views:
        app.show(table([[name, query] for name, query in sorted(views.items())], room=app.room))
    else:
        app.say("No views are saved: `backlog view save mine 'owner:@me sort:due'`.")


@view.command("save", examples=("backlog view save mine 'owner:@me is:awake sort:due'",))
@click.argument("name")
@click.argument("words", nargs=-1, required=True, metavar="QUERY...")
@pass_app
def save_view(app: App, name: str, words: tuple[str, ...]) -> None:
    """
    Keep a query under a name; an older one of that name is replaced.
    """
    query = " ".join(words)
    app.writing(SaveView(name=name, query=query)).save_view(name, query)
    app.out(f"saved  {name}  {neutral(query)}")


@view.command("drop")
@click.argument("name", shell_complete=complete_views)
@pass_app
def drop_view(app: App, name: str) -> None:
    """
    Forget a saved view.
    """
    app.reading().drop_view(name)
    app.out(f"dropped  {name}")
