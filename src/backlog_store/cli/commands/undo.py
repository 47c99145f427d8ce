"""
`backlog undo` and `backlog batch`.
"""

from __future__ import annotations

import click

from backlog_store.cli.app import App, pass_app
from backlog_store.cli.command import command
from backlog_store.cli.history import batch_named, newest_events, what_happened
from backlog_store.cli.items import fields_of, json_text
from backlog_store.cli.options import fields_option, json_option, not_empty
from backlog_store.cli.previewed import carry_out, check_token, keep, token_option
from backlog_store.cli.text import plural, table
from backlog_store.cli.writing import print_answer
from backlog_store.commands import Answer
from backlog_store.errors import Conflict
from backlog_store.model import TRAILS, Event
from backlog_store.query import EventQuery

__all__ = ["batch", "undo"]


@command("undo", examples=("backlog undo", "backlog undo cm_4hq2k7aa", "backlog batch"))
@click.argument("name", metavar="[BATCH]", required=False, default="", callback=not_empty)
@click.option("--last", is_flag=True, help="The last batch of yours that is not undone; the same as naming none.")
@click.option("-n", "--dry-run", is_flag=True, help="Show what would be set back.")
@token_option
@fields_option
@json_option
@pass_app
def undo(app: App, name: str, last: bool, dry_run: bool, token: str, fields: str, as_json: bool) -> None:
    """
    Set back what a command changed, where nobody changed anything since; the rest is refused, saying why.

    What a command created is closed again, not removed; comments and links stay. A large batch goes in steps: once
    interrupted, ask again.
    """
    if name and last:
        raise click.UsageError("Give a batch, or --last, not both.")
    backlog = app.reading()
    full = batch_named(app, name) if name else _last(app)
    ids = {event.item_id for event in backlog.events(EventQuery(batch=full, limit=None))}
    before = backlog.read(lambda reader: reader.items(ids))
    planner = backlog.planner()
    if dry_run or token:
        shown = Answer(batch="", outcomes=tuple(one for step in backlog.undo_steps(full, planner=planner)
                                                for one in step.outcomes))  # fmt: skip
    else:
        shown = backlog.undo(full)
    if token and not dry_run:
        check_token(app, planner, token)
        shown = carry_out(app, planner)
    print_answer(app, shown, as_json=as_json, names=fields_of(fields), before=before,
                 token=keep(app, planner) if dry_run else "")  # fmt: skip
    if shown.counts().get("refused"):
        raise click.exceptions.Exit(1)


def _last(app: App) -> str:
    undone: set[str] = set()
    for event in newest_events(app, app.actor.name):
        if event.item_id in TRAILS:
            continue
        if event.type == "undone":
            undone |= {str(event.meta.get("batch", "")), event.batch}
        elif event.batch not in undone:
            return event.batch
    raise Conflict(f"{app.actor.name} has nothing to undo here.", hint="`backlog batch` lists what others changed.")


@command("batch", examples=("backlog batch", "backlog batch --who ruff", "backlog log --batch cm_…"))
@click.option("--who", default="", metavar="NAME", help="Only batches of this actor; @me is you.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", default=20, show_default=True, help="How many.")
@json_option
@pass_app
def batch(app: App, who: str, limit: int, as_json: bool) -> None:
    """
    List the newest batches: what each command changed, and by whom. `backlog undo BATCH` sets one back.
    """
    app.reading()
    actor = app.actor.name if who == "@me" else who
    found: dict[str, list[Event]] = {}
    for event in newest_events(app, actor):
        if event.batch not in found and len(found) == limit:
            break
        found.setdefault(event.batch, []).append(event)
    if as_json:
        app.out(json_text(app, [{"batch": name, "at": events[-1].ts, "actor": events[0].actor, "events": len(events),
                                 "types": sorted({event.type for event in events})}
                                for name, events in found.items()]))  # fmt: skip
        return
    if not found:
        app.say("Nothing was changed yet.")
        return
    app.show(table([_cells(app, name, events) for name, events in found.items()], room=app.room, color=app.colored))


def _cells(app: App, name: str, events: list[Event]) -> list[str]:
    first = events[-1]
    types = ", ".join(sorted({event.type for event in events}))
    what = what_happened(first) if len(events) == 1 else plural(len(events), "change")
    return [name[:11] if app.on_terminal else name, f"{first.ts[:10]} {first.ts[11:16]}", first.actor, types, what]
