"""
Identities: `merge`, `split`, `key`.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any, BinaryIO

import click

from backlog_store import commands as c
from backlog_store.cli.app import App, pass_app
from backlog_store.cli.command import command, group
from backlog_store.cli.commands.keyrewrite import rewrite
from backlog_store.cli.complete import complete_ids
from backlog_store.cli.items import fields_of, json_text
from backlog_store.cli.options import fields_option, json_option, message_option, not_empty
from backlog_store.cli.previewed import carry_out, check_token, keep, token_option
from backlog_store.cli.text import neutral, plural
from backlog_store.cli.writing import print_answer
from backlog_store.codec import to_builtins
from backlog_store.errors import NotFound
from backlog_store.model import Event, Item
from backlog_store.query import EventQuery
from backlog_store.rules.keylore import KeyLore, made_of, tell_key
from backlog_store.rules.volatile import varies, volatile_parts

__all__ = ["key", "merge", "split"]

_SHOWN = 20
_PAGE = 500
_ENV = click.option("--env", default="", metavar="NAME", help="The key's env; default: the setting env.")


def _carry_out(app: App, body: c.Merge | c.Split, *, dry_run: bool, token: str, as_json: bool, fields: str) -> None:
    planner = (app.reading() if dry_run else app.writing(body)).planner()
    shown = planner.execute(body) if dry_run or token else None
    if shown is not None and dry_run:
        print_answer(app, shown, as_json=as_json, names=fields_of(fields), token=keep(app, planner))
        return
    if shown is not None:
        check_token(app, planner, token)
    answer = carry_out(app, planner) if shown is not None else app.backlog.execute(body)
    print_answer(app, answer, as_json=as_json, names=fields_of(fields))


@command("merge", examples=("backlog merge k3jq7a2m p7xw2c4d --into q4m2d6f8 -m 'one cause'",
                            "backlog merge k3jq7a2m --into q4m2d6f8 --dry-run"))  # fmt: skip
@click.argument("ids", nargs=-1, required=True, metavar="ID...", shell_complete=complete_ids)
@click.option("--into", required=True, metavar="ID", shell_complete=complete_ids, callback=not_empty,
              help="The item that stands for all of them from now on.")  # fmt: skip
@click.option("-n", "--dry-run", is_flag=True, help="Show what would become of each, and change nothing.")
@token_option
@message_option
@fields_option
@json_option
@pass_app
def merge(app: App, ids: tuple[str, ...], into: str, dry_run: bool, token: str, message: str, fields: str,
          as_json: bool) -> None:  # fmt: skip
    """
    Make items one, for good: what is reported under the key of any of them reaches the one merged into.

    It takes over evidence, tags, claims and links. The others are closed as duplicates, each with its own history.
    `backlog split KEY` cuts a key off again.
    """
    app.reading()
    body = c.Merge(ids=tuple(app.item(id).id for id in ids), into=app.item(into).id, message=message)
    _carry_out(app, body, dry_run=dry_run, token=token, as_json=as_json, fields=fields)


@command("split", examples=("backlog split slo:checkout:latency -m 'two causes'",
                            "backlog split slo:checkout:latency --lift"))  # fmt: skip
@click.argument("key", callback=not_empty)
@_ENV
@click.option("--lift", is_flag=True, help="Let it be merged again; joins nothing by itself.")
@click.option("-n", "--dry-run", is_flag=True, help="Show what would happen, and change nothing.")
@token_option
@message_option
@fields_option
@json_option
@pass_app
def split(app: App, key: str, env: str, lift: bool, dry_run: bool, token: str, message: str, fields: str,
          as_json: bool) -> None:  # fmt: skip
    """
    Cut a key off from the item that it is another name of: its next report is about an item of its own.

    A split stands above every later merge of the two, until it is lifted.
    """
    app.reading()
    body = c.Split(env=env or app.settings.get("env"), dedupe_key=key, lift=lift, message=message)
    _carry_out(app, body, dry_run=dry_run, token=token, as_json=as_json, fields=fields)
    if not as_json and not lift and not dry_run:
        app.hint(f"backlog key explain {key}")


@group("key")
def key() -> None:
    """
    What keys were made of, and which names lead to which item.
    """


@key.command("explain", examples=("backlog key explain slo:checkout", "backlog key explain k3jq7a2m",
                                  "backlog key explain --report ruff.sarif"))  # fmt: skip
@click.argument("name", metavar="[KEY|ITEM]", default="")
@_ENV
@click.option("--report", "file", type=click.File("rb"), help="Instead: the key of each finding of a report.")
@click.option("--service", default="", metavar="NAME", help="What the report is about; default: the setting service.")
@json_option
@pass_app
def explain(app: App, name: str, env: str, file: BinaryIO | None, service: str, as_json: bool) -> None:
    """
    Say what a key was made of, which names lead to its item, and what stands about it.
    """
    if bool(name) == (file is not None):
        raise click.UsageError("Give a KEY or an ITEM, or --report FILE, and not both.")
    if file is not None:
        _explain_report(app, file, env, service, as_json=as_json)
        return
    backlog = app.reading()
    env = env or app.settings.get("env")
    lore = backlog.read(lambda reader: tell_key(reader, (env, name)))
    if lore is None:
        try:
            item = app.item(name)
        except NotFound:
            raise NotFound(
                "key", f"{env}/{name}", hint="No item has such an id either; `backlog list` lists them."
            ) from None
        if not item.dedupe_key:
            raise NotFound("key", f"of {item.id}", hint="It has none: it is unique by itself.")
        lore = backlog.read(lambda reader: tell_key(reader, (item.env, item.dedupe_key)))
    if lore is None:
        raise NotFound("key", f"{env}/{name}", hint="It was changed at this moment; ask again.")
    if as_json:
        app.out(json_text(app, _as_data(lore)))
        return
    for line in _lines(lore):
        app.out(line)


def _as_data(lore: KeyLore) -> dict[str, Any]:
    told: dict[str, Any] = to_builtins(lore)
    item = lore.item
    told["item"] = {"id": item.id, "status": item.status, "title": item.title} if item is not None else None
    return told


def _lines(lore: KeyLore) -> list[str]:
    made, item = lore.made, lore.item
    lines = [f"{neutral(lore.env)}/{neutral(lore.key)}"]
    if made.inputs:
        lines.append(f"  made as    {neutral(made.kind)}, version {made.version}, of")
        lines += [f"    {neutral(name)} = {neutral(value)}" for name, value in made.inputs.items()]
    else:
        lines.append("  made as    given by its reporter; no inputs are kept")
    if item is not None:
        lines.append(f"  item       {item.id}  {item.status}  {neutral(item.title)}")
    elif lore.purged_at:
        lines.append(f"  item       {lore.item_id}, purged at {lore.purged_at}")
    else:
        lines.append("  item       none; the next report opens one")
    if lore.path:
        lines.append(f"  alias of   {' -> '.join(map(neutral, lore.path))}")
    if lore.merged:
        lines.append(f"  merged     held by {lore.merged} until then")
    others = [name for name in lore.names if name != lore.key]
    lines += [f"  also       {neutral(name)}" for name in others[:_SHOWN]]
    if len(others) > _SHOWN:
        lines.append(f"  also       … and {len(others) - _SHOWN:,} more (--json lists all)")
    lines += [f"  apart from {neutral(name)}" for name in lore.apart[:_SHOWN]]
    if lore.verdict is not None:
        note = f": {neutral(lore.verdict.note)}" if lore.verdict.note else ""
        lines.append(f"  decided    {lore.verdict.reason} by {neutral(lore.verdict.by)} at {lore.verdict.at}{note}")
    return lines


def _explain_report(app: App, file: BinaryIO, env: str, service: str, *, as_json: bool) -> None:
    from backlog_store.cli.reports import plain_context
    from backlog_store.intake import Finding, Refusal, read_report

    _, parsed = read_report(file, plain_context(app, env, service))
    refused = 0
    told: list[dict[str, Any]] = []
    for one in parsed:
        if isinstance(one, Refusal):
            refused += 1
        if not isinstance(one, Finding):
            continue
        draft = one.draft
        made = made_of(draft.dedupe_key, dict(draft.key_inputs))
        if as_json:
            told.append({"pointer": one.pointer, "env": draft.env, "key": draft.dedupe_key, **to_builtins(made)})
            continue
        app.out(f"{neutral(draft.dedupe_key) or '(no key: unique by itself)'}")
        app.out(f"    {neutral(draft.title)}  ({one.pointer})")
        for name, value in made.inputs.items():
            app.out(f"    {neutral(name)} = {neutral(value)}")
    if as_json:
        app.out(json_text(app, told))
    if refused:
        app.say(f"{plural(refused, 'finding')} refused; `backlog report --dry-run` says why.")


def _pages(items: Iterator[Item]) -> Iterator[list[Item]]:
    while page := list(islice(items, _PAGE)):
        yield page


@key.command("lint", examples=("backlog key lint", "backlog key lint --limit 1000 --json"))
@click.option("-n", "--limit", type=click.IntRange(min=1), default=100, show_default=True, metavar="N",
              help="How many keys to name.")  # fmt: skip
@json_option
@pass_app
def lint(app: App, limit: int, as_json: bool) -> None:
    """
    Name keys that hold what changes from report to report, and keys whose reports vary: one key, two problems.

    Reads every item, page by page. Exits with 1 if it names any.
    """
    backlog = app.reading()
    told: list[dict[str, Any]] = []
    for page in _pages(backlog.each(page=_PAGE)):
        ids = tuple(item.id for item in page if item.key is not None)
        trails: dict[str, list[Event]] = {}
        for event in backlog.events(EventQuery(item_ids=ids, types=("auto_update", "reopened", "merged"), limit=None)):
            trails.setdefault(event.item_id, []).append(event)
        for item in page:
            if item.key is None:
                continue
            volatile = [str(part) for part in volatile_parts(item.dedupe_key, item.key_inputs)]
            varying = varies(item, trails.get(item.id, []))
            if volatile or varying:
                told.append({"id": item.id, "env": item.env, "key": item.dedupe_key, "volatile": volatile,
                             "varies": varying})  # fmt: skip
        if len(told) >= limit:
            break
    if as_json:
        app.out(json_text(app, told[:limit]))
    for one in [] if as_json else told[:limit]:
        app.out(f"{one['id']}  {neutral(one['env'])}/{neutral(one['key'])}")
        for line in one["volatile"]:
            app.out(f"    {neutral(line)}")
        for name, values in one["varies"].items():
            app.out(f"    its reports name several of {name}: {', '.join(map(neutral, values[:5]))}")
    if told:
        raise click.exceptions.Exit(1)
    app.say("No key holds what changes, and none was reported about two things.")


key.add_command(rewrite)
