"""
`backlog comment` and `backlog link`.
"""

from __future__ import annotations

import sys

import click

from backlog_store import commands as c
from backlog_store.cli.app import App, pass_app
from backlog_store.cli.command import Choice, command
from backlog_store.cli.complete import complete_ids
from backlog_store.cli.options import fields_option, id_argument, json_option
from backlog_store.cli.writing import one_change
from backlog_store.rules.links import LINK_KINDS

__all__ = ["comment", "link"]


@command("comment", examples=("backlog comment k3jq7a2m seen again after the failover",
                              "git log -3 | backlog comment k3jq7a2m -"))  # fmt: skip
@id_argument
@click.argument("words", nargs=-1, metavar="TEXT...")
@click.option("-m", "--message", default="", metavar="TEXT", help="The same as TEXT.")
@fields_option
@json_option
@pass_app
def comment(app: App, id: str, words: tuple[str, ...], message: str, fields: str, as_json: bool) -> None:
    """
    Add a comment to an item; `-` reads it from stdin.
    """
    app.reading()
    text = " ".join(words) or message
    if text == "-":
        text = sys.stdin.read().strip()
    if not text:
        raise click.UsageError("What is the comment? Give its words after the id, or - to read stdin.")
    one_change(app, c.Comment(id=app.item(id).id, message=text), as_json=as_json, fields=fields, done="commented")


@command("link", examples=("backlog link k3jq7a2m blocks p7xw2c4d", "backlog link k3jq7a2m blocks p7xw2c4d --remove"))
@id_argument
@click.argument("kind", type=Choice(LINK_KINDS))
@click.argument("other", shell_complete=complete_ids)
@click.option("--remove", is_flag=True, help="Part them.")
@fields_option
@json_option
@pass_app
def link(app: App, id: str, kind: c.LinkKind, other: str, remove: bool, fields: str, as_json: bool) -> None:
    """
    Link an item with another one, as in "ID blocks OTHER"; blocks, parent and caused_by make no cycles.
    """
    app.reading()
    body = c.Link(id=app.item(id).id, kind=kind, other=app.item(other).id, remove=remove)
    one_change(app, body, as_json=as_json, fields=fields, done="unlinked" if remove else "linked")
