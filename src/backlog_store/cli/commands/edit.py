"""
`backlog edit` and `backlog add`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click

from backlog_store import commands as c
from backlog_store.cli.app import App, pass_app
from backlog_store.cli.asking import instant_of
from backlog_store.cli.command import Choice, command
from backlog_store.cli.options import fields_option, json_option, message_option, target_options
from backlog_store.cli.writing import Targets, change, one_change
from backlog_store.errors import Fault, InvalidInput
from backlog_store.model import PRIORITIES, Draft, Item
from backlog_store.rules.checks import json_faults, shorten
from backlog_store.rules.fields import HOLDABLE

__all__ = ["add", "edit"]

F = TypeVar("F", bound=Callable[..., Any])


def _field_options(function: F) -> F:
    for decorate in reversed((
        click.option("-d", "--description", metavar="TEXT", help="Markdown; - reads stdin."),
        click.option("-p", "--priority", type=Choice(PRIORITIES, case_sensitive=False), metavar="P0…P3",
                     help="P0 is the most urgent."),
        click.option("-s", "--service", metavar="NAME", help="The service it is about."),
        click.option("--category", metavar="NAME", help="Its kind, like security or refactor."),
        click.option("-o", "--owner", metavar="NAME", help="@me is you, none nobody."),
        click.option("--due", metavar="DAY", help="A day: 2026-12-01, fri, +3d, eow; or none."),
        click.option("--env", metavar="NAME", help="Where it is: prod, staging, …"),
        click.option("--key", metavar="KEY", help="The dedupe key: what makes it the same problem later."),
        click.option("--fix-name", "fix_name", metavar="NAME", help="The one fix that clears it."),
        click.option("--meta", multiple=True, metavar="NAME=VALUE", help="A member of meta; VALUE may be JSON."),
    )):  # fmt: skip
        function = decorate(function)
    return function


def _fields(app: App, given: dict[str, Any]) -> dict[str, Any]:
    """
    Return the fields that options set.
    """
    fields = {name: value for name, value in given.items() if value is not None}
    if "priority" in fields:
        fields["priority"] = fields["priority"].upper()
    if fields.get("description") == "-":
        fields["description"] = sys.stdin.read()
    if "owner" in fields:
        fields["owner"] = {"@me": app.actor.name, "none": ""}.get(fields["owner"], fields["owner"])
    if "due" in fields:
        fields["due_date"] = _day(app, fields.pop("due"))
    for option, name in (("key", "dedupe_key"), ("fix_name", "fix")):
        if option in fields:
            fields[name] = fields.pop(option)
    return fields


def _day(app: App, text: str) -> str:
    from backlog_store.querylang.dates import EXAMPLES, parse_day

    if text.lower() in ("none", ""):
        return ""
    try:
        return parse_day(text, now=app.now())
    except ValueError as error:
        raise click.UsageError(f"--due {text!r}: {error}. Give one like {', '.join(EXAMPLES)}, or none.") from error


def _meta(pairs: tuple[str, ...]) -> dict[str, Any]:
    import msgspec

    from backlog_store.codec import decode_json

    members: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not name or not equals:
            raise click.UsageError(f"--meta {pair!r}: give NAME=VALUE.")
        try:
            members[name] = decode_json(text)
        except (msgspec.DecodeError, RecursionError):
            members[name] = _text_of(name, text)
    return members


def _text_of(name: str, text: str) -> str:
    """
    Return what is no JSON as the text that it is. Raises `InvalidInput` for what only means to be JSON: NaN, 1e999.
    """
    import json

    try:
        meant = json.loads(text)
    except ValueError:
        return text
    except RecursionError as error:
        raise InvalidInput([Fault(f"/meta/{name}", shorten(text), "is nested too deeply")]) from error
    if faults := json_faults(f"/meta/{name}", meant):
        raise InvalidInput(faults, hint=f"A text is given in quotes: --meta '{name}=\"…\"'.")
    return text


@command("add", examples=(
    'backlog add "Checkout burns its error budget" -p P1 -s checkout --due fri -o @me',
    'backlog add "Rotate the signing key" -t security -d - < notes.md',
))  # fmt: skip
@click.argument("title")
@_field_options
@click.option("-t", "--tag", "tags", multiple=True, metavar="TAG", help="A tag; may be given several times.")
@fields_option
@json_option
@pass_app
def add(app: App, title: str, tags: tuple[str, ...], meta: tuple[str, ...], fields: str, as_json: bool,
        **given: Any) -> None:  # fmt: skip
    """
    Add an item by hand. What machines find is better reported: see `backlog report`.
    """
    values = _fields(app, given)
    values.setdefault("env", app.settings.get("env"))
    draft = Draft(title=title, tags=tags, meta=_meta(meta), **values)
    one_change(app, c.Create(draft=draft), as_json=as_json, fields=fields)


@command("edit", examples=(
    "backlog edit k3jq7a2m --priority P0 --due tomorrow",
    "backlog edit k3jq7a2m --release priority",
    "backlog edit --query 'service:checkout priority:P3' --priority P2 --dry-run",
    "backlog edit --fix 'upgrade requests' --due +14d",
))  # fmt: skip
@target_options()
@click.option("--title", metavar="TEXT", help="What it is, in one line.")
@_field_options
@click.option("--release", multiple=True, metavar="FIELD",
              help="Let machines set a field again that a person holds; may be given several times.")  # fmt: skip
@click.option("--hold-until", default="", metavar="WHEN",
              help="Until when what is set here stands over what machines report: +14d, 2026-12-24, eoq.")  # fmt: skip
@click.option("--if-revision", type=click.IntRange(min=1), default=None, metavar="N",
              help="Only if the item still has this revision.")  # fmt: skip
@message_option
@pass_app
def edit(
    app: App, title: str | None, release: tuple[str, ...], hold_until: str, if_revision: int | None, message: str,
    **given: Any,
) -> None:  # fmt: skip
    """
    Set fields of items. What a person sets stands: reports leave it alone until it is released.
    """
    targets = Targets(**{name: given.pop(name) for name in Targets.__struct_fields__})
    meta = _meta(given.pop("meta"))
    values = _fields(app, {**given, "title": title})
    if not values and not meta and not release:
        raise click.UsageError("What is to change? Give --priority, --due, --title … (see --help).")
    for name in release:
        if name not in HOLDABLE:
            raise InvalidInput([Fault("/release", name, f"one of {', '.join(sorted(HOLDABLE))}")], what="edit")
    until = instant_of(app, hold_until, "--hold-until") if hold_until else ""
    if if_revision and targets.several:
        raise click.UsageError("--if-revision is for one item; a --query is guarded by --token.")

    def body(item: Item) -> c.Edit:
        fields = {**values, **({"meta": {**item.meta, **meta}} if meta else {})}
        revision = if_revision or (item.revision if targets.several or meta else 0)
        return c.Edit(id=item.id, fields=fields, release=release, hold_until=until, message=message, revision=revision)

    change(app, targets, body, "Edit")
