"""
`backlog schema`.
"""

from __future__ import annotations

import click
import msgspec

from backlog_store.cli.app import App, pass_app
from backlog_store.cli.command import Choice, command
from backlog_store.cli.items import json_text
from backlog_store.model import Draft, Event, Item

__all__ = ["schema"]

_KINDS = {"item": Item, "draft": Draft, "event": Event}


@command("schema", examples=("backlog schema draft",))
@click.argument("kind", type=Choice([*_KINDS]))
@pass_app
def schema(app: App, kind: str) -> None:
    """
    Print the JSON Schema of an item, of a draft (what `backlog report` takes as JSON), or of an event.
    """
    app.out(json_text(app, msgspec.json.schema(_KINDS[kind])))
