"""
`backlog cleanup` and `backlog verdict`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from backlog_store.cli.app import App, pass_app
from backlog_store.cli.command import command, group
from backlog_store.cli.items import json_text
from backlog_store.cli.options import json_option, message_option
from backlog_store.cli.text import neutral, plural, table
from backlog_store.codec import from_builtins, to_builtins
from backlog_store.errors import Fault, InvalidInput, NotFound
from backlog_store.instants import Instant, add_seconds
from backlog_store.maintenance import kept_days
from backlog_store.model import CLOSED, KeyState, Verdict, key_record_id
from backlog_store.query import All, Compare, In, Where

if TYPE_CHECKING:
    from backlog_store.maintenance import Maintained

__all__ = ["cleanup", "verdict"]

_DAY_S = 86_400
_DAYS_MAX = 36_500


def _days(_: click.Context, parameter: click.Parameter, value: str | None) -> int | None:
    if value is None:
        return None
    number = value.removesuffix("d")
    if not (number.isascii() and number.isdigit()) or int(number) > _DAYS_MAX:
        raise InvalidInput([Fault(f"/{parameter.opts[0].strip('-')}", value, f"0 to {_DAYS_MAX} days, as 400 or 400d")],
                           what="cleanup")  # fmt: skip
    return int(number)


@command("cleanup", examples=("backlog cleanup --dry-run", "backlog cleanup --older-than 365 --yes",
                              "backlog cleanup --history 400d --yes"))  # fmt: skip
@click.option("--older-than", "days", default=None, metavar="DAYS", callback=_days,
              help="Closed, and untouched for so long; by default as the policy says, or 180.")  # fmt: skip
@click.option("--env", default="", metavar="NAME", help="Purge only items of this env.")
@click.option("--history", default=None, metavar="DAYS", callback=_days,
              help="Also of what stays, keep only so much history; by default as the policy says.")  # fmt: skip
@click.option("-n", "--dry-run", is_flag=True, help="Count them, and purge nothing.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@json_option
@pass_app
def cleanup(app: App, days: int | None, env: str, history: int | None, dry_run: bool, yes: bool,
            as_json: bool) -> None:  # fmt: skip
    """
    Purge items closed long ago, with their history, and what else is past its time.

    What was decided about their keys stays, so that they do not come back as new. With `--history` the older events of
    all that stays are forgotten, too; each item then begins with a baseline that tells what they came to. Answers kept
    for request ids are let go after 14 days. Less than the policy in force says (`retention`) is refused. Nobody waits
    while this runs: it goes in steps, and once interrupted it can be run again. This cannot be undone: export first, if
    in doubt.
    """
    backlog = app.reading()
    kept = backlog.read(kept_days)
    days = kept[0] if days is None else days
    history = kept[1] if history is None else history
    parts: list[Where] = [In("status", tuple(sorted(CLOSED))),
                          Compare("updated_at", "<", add_seconds(app.now(), -days * _DAY_S))]  # fmt: skip
    if env:
        parts.append(In("env", (env,)))
    count = backlog.tally(All(tuple(parts))).get((), 0)
    told = f"{plural(count, 'item')} closed and untouched for {plural(days, 'day')}"
    if dry_run:
        app.out(json_text(app, {"dry_run": True, "purged": 0, "found": count}) if as_json else told)
        return
    if count or history is not None:
        more = "" if history is None else f", and forget what happened more than {plural(history, 'day')} ago"
        app.confirm(f"Purge {told}{more}?", yes=yes)
    done = backlog.maintain(days, env=env, history_days=history)
    if as_json:
        app.out(json_text(app, {"dry_run": False, "found": count, **to_builtins(done)}))
        return
    for line in _account(done, history):
        app.out(line)


def _account(done: Maintained, history: int | None) -> Iterator[str]:
    """
    Yield what was let go, a line each.
    """
    yield f"purged     {plural(done.purged, 'item')}"
    if history is not None:
        yield f"shortened  {plural(done.shortened, 'item')}: {plural(done.events, 'event')} forgotten"
    if done.expired:
        yield f"expired    {plural(done.expired, 'answer')}"
    for name in done.months:
        yield f"dropped    the empty table {name}"
    if done.steps:
        yield f"in {plural(done.steps, 'step')}, of {plural(done.rows_max, 'row')} at most"


@group("verdict")
def verdict() -> None:
    """
    What was decided about keys: it outlives the items, and holds back reports.
    """


@verdict.command("list")
@json_option
@pass_app
def list_verdicts(app: App, as_json: bool) -> None:
    """
    List every key about which something was decided.
    """
    found = list(app.reading().verdicts())
    if as_json:
        app.out(json_text(app, [_plain(id, state) for id, state in found]))
        return
    if not found:
        app.say("Nothing was decided about any key yet.")
        return
    rows = []
    for id, state in found:
        env, key = id.split("/", 1)
        decided = state.verdict
        if decided is not None:
            rows.append([decided.at[:10], decided.reason, _until(decided, app.now()), decided.by, env, key])
    app.show(table(rows, head=("decided", "reason", "until", "by", "env", "key"), room=app.room, color=app.colored))


def _plain(id: str, state: KeyState) -> dict[str, Any]:
    env, key = id.split("/", 1)
    return {"env": env, "key": key, **to_builtins(state)}


def _of_no_key(app: App, name: str) -> str:
    """
    Return what to do about a key that is none: perhaps it is the id of an item.
    """
    try:
        item = app.item(name)
    except NotFound:
        return "A report of it would open a new item."
    if not item.dedupe_key:
        return f"{item.id} is an item without a key."
    return f"{item.id} is an item; its key is {item.dedupe_key!r}" + (f" (--env {item.env})." if item.env else ".")


def _until(decided: Verdict, now: Instant) -> str:
    if not decided.expires_at:
        return ""
    return decided.expires_at[:10] + (" (ended)" if decided.expires_at <= now else "")


@verdict.command("explain", examples=("backlog verdict explain slo:checkout",))
@click.argument("key")
@click.option("--env", default="", metavar="NAME", help="The key's env; default: the setting env.")
@json_option
@pass_app
def explain(app: App, key: str, env: str, as_json: bool) -> None:
    """
    Say what is known about a key, and what the next report of it would do.
    """
    backlog = app.reading()
    env = env or app.settings.get("env")
    item = backlog.get_by_key(key, env=env)
    id = key_record_id((env, key))
    record = backlog.read(lambda reader: reader.records("key", [id])).get(id)
    if item is None and record is None:
        raise NotFound("key", f"{env}/{key}", hint=_of_no_key(app, key))
    state = from_builtins(record.body, KeyState) if record is not None else KeyState(item_id=item.id if item else "")
    from backlog_store.commands import Report
    from backlog_store.model import Draft

    # The rules themselves say what a report would do; nothing is written.
    probe = Draft(title=item.title if item else key, env=env, dedupe_key=key, source=item.source if item else "probe")
    outcome = backlog.acting_as("probe").preview(Report(drafts=(probe,))).outcomes[0]
    if as_json:
        app.out(json_text(app, {**_plain(id, state), "item": item.id if item else "", "next_report": outcome.verdict,
                                "why": outcome.why}))  # fmt: skip
        return
    app.out(f"{neutral(env)}/{neutral(key)}")
    if item is not None:
        app.out(f"  item      {item.id}  {item.status}  {neutral(item.title)}")
    elif state.purged_at:
        app.out(f"  item      {state.item_id}, purged at {state.purged_at}")
    if state.alias_of:
        app.out(f"  alias of  {neutral(state.alias_of)}")
    if state.verdict is not None:
        note = f": {neutral(state.verdict.note)}" if state.verdict.note else ""
        app.out(f"  decided   {state.verdict.reason} by {neutral(state.verdict.by)} at {state.verdict.at}{note}")
    why = f", because it is {neutral(outcome.why)}" if outcome.why else ""
    app.out(f"  a report of it now would be {outcome.verdict}{why}")


@verdict.command("lift", examples=("backlog verdict lift slo:checkout -m 'the exception has ended'",))
@click.argument("key")
@click.option("--env", default="", metavar="NAME", help="The key's env; default: the setting env.")
@message_option
@pass_app
def lift(app: App, key: str, env: str, message: str) -> None:
    """
    Lift what was decided about a key: the next report of it opens its item again.
    """
    backlog = app.reading()
    outcome = backlog.lift_verdict(key, env=env or app.settings.get("env"), message=message)
    app.out(f"{'lifted' if outcome.verdict == 'updated' else outcome.verdict}  {neutral(key)}")
