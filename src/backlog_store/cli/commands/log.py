"""
`backlog log`.
"""

from __future__ import annotations

import click

from backlog_store.cli.app import App, pass_app
from backlog_store.cli.command import command
from backlog_store.cli.complete import complete_ids
from backlog_store.cli.history import batch_named, event_lines
from backlog_store.cli.items import json_text, print_rows
from backlog_store.cli.options import json_option, not_empty
from backlog_store.codec import to_builtins
from backlog_store.model import Event
from backlog_store.query import EventQuery

__all__ = ["log"]

_NAMES = tuple(name for name in Event.__struct_fields__ if name not in ("extra", "salt", "prev", "hash"))


@command("log", examples=("backlog log", "backlog log k3jq7a2m", "backlog log --who ana --since -7d"))
@click.argument("id", required=False, default="", shell_complete=complete_ids, callback=not_empty)
@click.option(
    "-n", "--limit", type=click.IntRange(min=0), metavar="N", default=50, show_default=True, help="How many; 0 is all."
)
@click.option("--who", default="", metavar="NAME", help="Only what this actor did; @me is you.")
@click.option("--type", "types", multiple=True, metavar="TYPE", help="Only events of a type, like closed or comment.")
@click.option("--since", default="", metavar="TIME", help="From then on: -7d, yesterday, 2026-11-01.")
@click.option("--until", default="", metavar="TIME", help="Before then.")
@click.option("--batch", default="", metavar="BATCH", callback=not_empty, help="Only what one command did.")
@click.option("--oldest-first", is_flag=True, help="Begin with the oldest.")
@click.option("--jsonl", is_flag=True, help="Print one JSON object a line.")
@json_option
@pass_app
def log(
    app: App,
    id: str,
    limit: int,
    who: str,
    types: tuple[str, ...],
    since: str,
    until: str,
    batch: str,
    oldest_first: bool,
    jsonl: bool,
    as_json: bool,
) -> None:
    """
    Show what was changed, when, by whom and why: of one item, or of all; the newest first.
    """
    backlog = app.reading()
    query = EventQuery(
        item_ids=(app.item(id).id,) if id else None,
        types=types or None,
        actors=(app.actor.name if who == "@me" else who,) if who else None,
        batch=batch_named(app, batch) if batch else None,
        since=_time(app, since, "--since"),
        until=_time(app, until, "--until"),
        newest_first=not oldest_first,
        limit=limit or None,
    )
    events = backlog.events(query)
    if as_json:
        app.out(json_text(app, [_plain(event) for event in events]))
        return
    if jsonl:
        print_rows(app, (_plain(event) for event in events), "jsonl", _NAMES)
        return
    if not events:
        app.say("No such event.")
        return
    titles = None
    if not id:
        ids = {event.item_id for event in events}
        titles = {item.id: item.title for item in backlog.read(lambda reader: reader.items(ids)).values()}
    app.show(event_lines(app, events, titles=titles))


def _plain(event: Event) -> dict[str, object]:
    return {name: to_builtins(getattr(event, name)) for name in _NAMES}


def _time(app: App, text: str, name: str) -> str:
    from backlog_store.querylang.dates import parse_when

    if not text:
        return ""
    try:
        return parse_when(text, now=app.now())[0]
    except ValueError as error:
        raise click.UsageError(f"{name} {text!r}: {error}. Give a time like -7d, yesterday, 2026-11-01.") from error
