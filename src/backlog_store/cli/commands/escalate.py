"""
`backlog escalate` and `backlog deactivate`: what time alone brings about, by the policy in force.
"""

from __future__ import annotations

from typing import Any

import click

from backlog_store.cli.app import App, pass_app
from backlog_store.cli.clocks import step_in_words
from backlog_store.cli.command import command
from backlog_store.cli.items import json_text, view
from backlog_store.cli.options import json_option
from backlog_store.cli.text import neutral, plural, table
from backlog_store.codec import to_builtins
from backlog_store.model import Item
from backlog_store.rules.escalating import StepState

__all__ = ["deactivate", "escalate"]

_FIELDS = ("id", "title", "priority", "effective_status", "owner", "service", "env", "due_date")


@command("escalate", examples=("backlog escalate --dry-run", "backlog escalate --json | notify"))
@click.option("--env", default="", metavar="NAME", help="One env; without it, all of them.")
@click.option("-n", "--dry-run", is_flag=True, help="List what is due, and record nothing.")
@json_option
@pass_app
def escalate(app: App, env: str, dry_run: bool, as_json: bool) -> None:
    """
    Let the steps of the policy's escalation fire that are due, and say of each whom to tell.

    A step fires once an episode of an item, as an event of it, however often and by how many this is run: run it by the
    clock, and hand what it prints on. It sends nothing itself. `backlog log --type escalated` lists what fired.
    """
    work = app.reading().work
    found = list(work.due_steps(env=env) if dry_run else work.escalate(env=env))
    if as_json:
        app.out(json_text(app, [_plain(app, item, step, fired=not dry_run) for item, step in found]))
        return
    if not found:
        app.say("No step of escalation is due.")
        return
    rows = [[item.priority, step.step, item.id, ", ".join(step.notify), item.title, step_in_words(step)]
            for item, step in found]  # fmt: skip
    head = ("priority", "step", "item", "to tell", "title", "why")
    app.show(table([[neutral(cell) for cell in row] for row in rows], head=head, room=app.room, color=app.colored))
    app.say(f"{plural(len(found), 'step')} {'due; nothing was recorded' if dry_run else 'fired'}")


def _plain(app: App, item: Item, step: StepState, *, fired: bool) -> dict[str, Any]:
    told = {name: value for name, value in to_builtins(step).items() if name not in ("state", "at", "ends_at")}
    return {**told, "fired": fired, "item": view(item, _FIELDS, app.now())}


@command("deactivate", examples=("backlog deactivate --dry-run", "backlog deactivate --json"))
@click.option("--env", default="", metavar="NAME", help="One env; without it, all of them.")
@click.option("-n", "--dry-run", is_flag=True, help="List them, and what people keep open; close nothing.")
@json_option
@pass_app
def deactivate(app: App, env: str, dry_run: bool, as_json: bool) -> None:
    """
    Close what is reported too seldom by now to stay open, as fixed (`close_below` of the policy's `activation`).

    What a person holds, what other sources report and what a guard of the workflow keeps stays open. Each closing has
    its proof in the event. Run it by the clock; `backlog undo` sets it back.
    """
    work = app.reading().work
    if dry_run:
        quiet = list(work.quiet(env=env))
        found = [(one.item, one.words, one.kept_by) for one in quiet]
    else:
        found = [(outcome.item, outcome.why, "") for outcome in work.deactivate(env=env) if outcome.item is not None]
    if as_json:
        app.out(json_text(app, [{"item": view(item, _FIELDS, app.now()), "closed": not dry_run, "why": why,
                                 "kept_by": kept_by} for item, why, kept_by in found]))  # fmt: skip
        return
    if not found:
        app.say("Nothing is below its threshold.")
        return
    rows = [[item.priority, item.id, item.title, f"stays open: {kept_by}" if kept_by else why]
            for item, why, kept_by in found]  # fmt: skip
    app.show(table([[neutral(cell) for cell in row] for row in rows], head=("priority", "item", "title", "why"),
                   room=app.room, color=app.colored))  # fmt: skip
    app.say(f"{plural(len(found), 'item')} {'below; nothing was closed' if dry_run else 'closed'}")
