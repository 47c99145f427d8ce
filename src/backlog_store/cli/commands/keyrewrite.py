"""
`backlog key rewrite`: a new form for keys that are there, with the old ones as other names.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import BinaryIO

import click
import msgspec

from backlog_store import commands as c
from backlog_store.backlog import Backlog
from backlog_store.cli.app import App, pass_app
from backlog_store.cli.command import Command
from backlog_store.cli.items import plain_json
from backlog_store.cli.options import json_option, message_option, not_empty
from backlog_store.cli.previewed import carry_out, check_token, keep, token_option
from backlog_store.cli.text import neutral, plural, table
from backlog_store.cli.writing import say_undo
from backlog_store.errors import Conflict, Fault, InvalidInput
from backlog_store.ids import batch_id
from backlog_store.model import LIMITS, Item, Key

__all__ = ["rewrite"]

_SHOWN = 20
Renamed = Callable[[Item], str]


@click.command("rewrite", cls=Command, examples=(
    "backlog key rewrite --from '^slo:' --to 'slo:v2:' --dry-run",
    r"backlog key rewrite --from '^lint:(.+)$' --to 'sarif:\1' --yes --token 5b2c…",
    "backlog key rewrite --map keys.json --dry-run",
    "backlog key rewrite --moved src/app/=src/shop/ --dry-run",
))  # fmt: skip
@click.option("--from", "pattern", default="", metavar="REGEX", help="What to replace in a key.")
@click.option("--to", "template", default=None, metavar="TEMPLATE", help=r"What stands there then; \1 is a group.")
@click.option("--map", "mapping", type=click.File("rb"), metavar="FILE",
              help='Instead: a JSON object, {"old key": "new key"}.')  # fmt: skip
@click.option("--moved", default="", metavar="OLD=NEW", callback=not_empty,
              help="Instead: a file, or a folder with a slash behind it, that moved (SARIF).")  # fmt: skip
@click.option("-n", "--dry-run", is_flag=True, help="Show what would change, and change nothing.")
@click.option("-y", "--yes", is_flag=True, help="Without a look first.")
@token_option
@message_option
@json_option
@pass_app
def rewrite(app: App, pattern: str, template: str | None, mapping: BinaryIO | None, moved: str, dry_run: bool,
            yes: bool, token: str, message: str, as_json: bool) -> None:  # fmt: skip
    """
    Give keys another form; each old one stays another name of its item, and decisions go along.

    Keys that would come together are told first, and nothing is written: two items are one only by `backlog merge`.
    It goes in steps that keep no writer waiting; with a token, `backlog apply TOKEN` goes on where it was interrupted.
    """
    if not (dry_run or yes or token):
        raise click.UsageError("Look first: --dry-run shows what would change. Then --token TOKEN, or --yes.")
    if [bool(pattern or template is not None), mapping is not None, bool(moved)].count(True) != 1:
        raise click.UsageError("Which keys? Give --from REGEX and --to TEMPLATE, or --map FILE, or --moved OLD=NEW.")
    renamed = _by_map(mapping) if mapping is not None else _by_path(moved) if moved else _by_regex(pattern, template)
    backlog = app.reading()
    _refuse_collisions(backlog, renamed)
    done = _Done()
    if yes and not token and not dry_run:
        done.batch = batch_id(app.backlog.ids())
        app.writing()
        for part, names in _parts(backlog, renamed, message):
            done.add(names, app.backlog.execute(part, batch=done.batch).outcomes)
    else:
        planner = backlog.planner()
        for part, names in _parts(backlog, renamed, message):
            done.add(names, planner.execute(part).outcomes)
        if dry_run:
            done.token = keep(app, planner)
        else:
            check_token(app, planner, token)
            done.batch = carry_out(app, planner).batch
    _print(app, done, as_json=as_json)


class _Done:
    """
    What became of the keys, bounded: counts, the first ones, and what was refused.
    """

    def __init__(self) -> None:
        self.batch = self.token = ""
        self.counts: Counter[str] = Counter()
        self.shown: list[tuple[str, str, str]] = []
        self.refused: list[tuple[str, str]] = []

    def add(self, names: Sequence[tuple[str, str, str]], outcomes: Sequence[c.Outcome]) -> None:
        """
        Count one part.
        """
        self.shown += names[: max(0, _SHOWN - len(self.shown))]
        self.counts.update(one.verdict for one in outcomes)
        self.refused += [(one.id, one.why) for one in outcomes if one.verdict == "refused"]


def _print(app: App, done: _Done, *, as_json: bool) -> None:
    told = {"dry_run": True, "token": done.token} if done.token else {"batch": done.batch}
    if as_json:
        refused = [{"id": id, "why": why} for id, why in done.refused]
        app.out(plain_json({**told, "counts": dict(done.counts), "refused": refused}))
    else:
        rows = [[id, f"{neutral(old)} → {neutral(new)}"] for id, old, new in done.shown]
        for line in table(rows, room=app.room, color=app.colored):
            app.out(line)
        if (more := done.counts.total() - len(rows)) > 0:
            app.out(f"… and {more:,} more")
    for id, why in done.refused[:_SHOWN]:
        app.say(f"refused  {id}: {neutral(why)}")
    if done.token and not as_json:
        app.say(f"{plural(done.counts.total(), 'key')}. Nothing was written. Exactly these: --token {done.token}")
    elif not as_json:
        say_undo(app, done.batch)
    if done.refused:
        raise click.exceptions.Exit(1)


def _by_regex(pattern: str, template: str | None) -> Renamed:
    if not pattern or template is None:
        raise click.UsageError("--from REGEX and --to TEMPLATE go together.")
    try:
        expression = re.compile(pattern)
        re.compile(f"{pattern}|").sub(template, "")  # a template is read only where something matches
    except (re.error, IndexError) as error:
        raise click.UsageError(f"--from {pattern!r} --to {template!r}: {error}.") from error
    return lambda item: expression.sub(template, item.dedupe_key)


def _by_map(file: BinaryIO) -> Renamed:
    try:
        names = msgspec.json.decode(file.read(), type=dict[str, str])
    except msgspec.DecodeError as error:
        raise InvalidInput([Fault("/map", str(getattr(file, "name", "")), f"no JSON object of keys: {error}")],
                           what="key map", hint='It is {"old key": "new key", …}.') from error  # fmt: skip
    return lambda item: names.get(item.dedupe_key, item.dedupe_key)


def _by_path(moved: str) -> Renamed:
    old, equals, new = moved.partition("=")
    if not old or not equals or not new or old.endswith("/") != new.endswith("/"):
        raise click.UsageError(f"--moved {moved!r}: give OLD=NEW, two files, or two folders with a slash behind them.")

    def renamed(item: Item) -> str:
        path = item.key_inputs.get("path", "")
        if path == old or (old.endswith("/") and path.startswith(old)):
            from backlog_store.intake.sarif import moved_key

            return moved_key(item.dedupe_key, item.key_inputs, new + path[len(old) :]) or item.dedupe_key
        return item.dedupe_key

    return renamed


def _changing(backlog: Backlog, renamed: Renamed) -> Iterator[tuple[Item, str]]:
    for item in backlog.each():
        if item.dedupe_key and (new := renamed(item)) != item.dedupe_key:
            yield item, new


def _parts(backlog: Backlog, renamed: Renamed, message: str) -> Iterator[tuple[c.Bulk, list[tuple[str, str, str]]]]:
    """
    Yield the edits, as many at once as one transaction takes, with the names of their keys: id, old, new.
    """
    changing = _changing(backlog, renamed)
    while chunk := list(islice(changing, LIMITS.drafts_per_command)):
        edits = tuple(c.Edit(id=item.id, fields={"dedupe_key": new}, revision=item.revision, message=message)
                      for item, new in chunk)  # fmt: skip
        yield c.Bulk(bodies=edits, keep_going=True), [(item.id, item.dedupe_key, new) for item, new in chunk]


def _refuse_collisions(backlog: Backlog, renamed: Renamed) -> None:
    """
    Refuse to give one key to two items, or one that another item holds.
    """
    takers: dict[Key, list[str]] = {}
    for item, new in _changing(backlog, renamed):
        takers.setdefault((item.env, new), []).append(item.id)
    if not takers:
        raise click.UsageError("No key would change.")
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
