"""
`backlog key rewrite`: a new form for keys that are there, with the old ones as other names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import click
from msgspec.structs import replace

from backlog_store import commands as c
from backlog_store.backlog import Backlog
from backlog_store.cli.app import App, pass_app
from backlog_store.cli.command import Command
from backlog_store.cli.options import json_option, message_option, not_empty
from backlog_store.cli.writing import Targets, change
from backlog_store.errors import Conflict
from backlog_store.model import LIMITS, Item, Key

__all__ = ["rewrite"]

_SHOWN = 20


@click.command("rewrite", cls=Command, examples=(
    "backlog key rewrite --from '^slo:' --to 'slo:v2:' --dry-run",
    r"backlog key rewrite --from '^lint:(.+)$' --to 'sarif:\1' --yes --token 5b2c…",
))  # fmt: skip
@click.option("--from", "pattern", required=True, metavar="REGEX", callback=not_empty, help="What to replace in a key.")
@click.option("--to", "template", required=True, metavar="TEMPLATE", help=r"What stands there then; \\1 is a group.")
@click.option("-n", "--dry-run", is_flag=True, help="Show what would change, and change nothing.")
@click.option("-y", "--yes", is_flag=True, help="Without a look first.")
@click.option("--token", default="", metavar="TOKEN", callback=not_empty,
              help="Only if the items are still exactly those that a --dry-run showed with this token.")  # fmt: skip
@message_option
@json_option
@pass_app
def rewrite(app: App, pattern: str, template: str, message: str, **options: bool | str) -> None:
    """
    Give keys another form; each old one stays another name of its item, and decisions go along.

    Keys that would come together are told first, and nothing is written: two items are one only by `backlog merge`.
    """
    if not (options["dry_run"] or options["yes"] or options["token"]):
        raise click.UsageError("Look first: --dry-run shows what would change. Then --token TOKEN, or --yes.")
    try:
        expression = re.compile(pattern)
        re.compile(f"{pattern}|").sub(template, "")  # a template is read only where something matches
    except (re.error, IndexError) as error:
        raise click.UsageError(f"--from {pattern!r} --to {template!r}: {error}.") from error
    backlog = app.reading()
    found: dict[str, tuple[Item, str]] = {}
    for item in backlog.each():
        new = expression.sub(template, item.dedupe_key) if item.dedupe_key else ""
        if new != item.dedupe_key:
            found[item.id] = (item, new)
    if not found:
        raise click.UsageError(f"--from {pattern!r} finds no key that --to would change.")
    _refuse_collisions(backlog, found)
    targets = replace(Targets(ids=tuple(found)), **options)
    change(app, targets, lambda item: c.Edit(id=item.id, fields={"dedupe_key": found[item.id][1]},
                                             revision=item.revision, message=message), "rewrite")  # fmt: skip


def _refuse_collisions(backlog: Backlog, found: Mapping[str, tuple[Item, str]]) -> None:
    """
    Refuse to give one key to two items, or one that another item holds.
    """
    takers: dict[Key, list[str]] = {}
    for item, new in found.values():
        takers.setdefault((item.env, new), []).append(item.id)
    keys = list(takers)
    for start in range(0, len(keys), LIMITS.drafts_per_command):
        part = keys[start : start + LIMITS.drafts_per_command]
        for key, holder in backlog.read(lambda reader, part=part: reader.items_by_key(part)).items():  # type: ignore[misc]
            if holder.id not in takers[key]:
                takers[key].append(holder.id)
    wrong = [(key, ids) for key, ids in takers.items() if len(ids) > 1 or not key[1]]
    if wrong:
        told = [f"{env}/{key or '(empty)'}: {', '.join(ids)}" for (env, key), ids in wrong[:_SHOWN]]
        more = f"; and {len(wrong) - _SHOWN:,} more" if len(wrong) > _SHOWN else ""
        hint = "Nothing was written. If they are one problem: `backlog merge ID --into ID`, then again."
        raise Conflict(f"{len(wrong):,} new keys would be those of several items, or empty. {'; '.join(told)}{more}.",
                       hint=hint)  # fmt: skip
