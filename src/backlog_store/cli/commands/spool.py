"""
`backlog spool`: what was accepted while the database was away. All but `drain` does without that database.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from backlog_store.backlog import open_backlog
from backlog_store.cli.app import App, pass_app
from backlog_store.cli.command import group
from backlog_store.cli.items import json_text
from backlog_store.cli.options import json_option
from backlog_store.cli.outage import auto_url, moment, open_spool, spool_options
from backlog_store.cli.text import neutral, paint, plural, table
from backlog_store.codec import to_builtins
from backlog_store.commands import Command, Comment, Report, Resolve
from backlog_store.errors import BackendUnavailable, NotFound
from backlog_store.executors.failover.copy import LocalCopy
from backlog_store.executors.failover.entries import Entry, Ledger, Parked, weight_of
from backlog_store.executors.failover.executor import FailoverExecutor
from backlog_store.executors.failover.spool import Spool
from backlog_store.executors.failover.standing import Account

__all__ = ["spool"]

_PAGE = 500
_BATCH = 2_000
_TURN_S = 0.05
#: How long, in seconds, another process may drain without getting any further.
_PATIENCE_S = 10.0


@group("spool")
def spool() -> None:
    """
    Look at what was accepted while the database was away, and drain it.
    """


@contextmanager
def _spool(app: App) -> Iterator[Spool | None]:
    _, found = open_spool(app)
    try:
        yield found
    finally:
        if found is not None:
            found.close()


# --- looking ----------------------------------------------------------------------------------------------------------


@spool.command("status")
@json_option
@pass_app
def status(app: App, as_json: bool) -> None:
    """
    Tell what waits and what is parked.

    Also the account of all that was ever accepted, the copy that reads see, and the folder.
    """
    folder, found = open_spool(app)
    ledger, oldest = Ledger(id=""), ""
    if found is not None:
        ledger, oldest = found.ledger(), found.oldest()
        found.close()
    copy = LocalCopy(folder)
    as_of = copy.as_of
    copy.close()
    account = ledger.account
    if as_json:
        app.out(json_text(app, {"spool": str(folder), "id": ledger.id, "store": ledger.primary,
                                "waiting": account.waiting, "oldest": oldest, "parked": account.parked,
                                "account": to_builtins(account), "balances": account.balances,
                                "copy_as_of": as_of}))  # fmt: skip
        return
    if account.waiting:
        app.out(f"waiting  {plural(account.waiting, 'command')}, the oldest accepted {moment(oldest)}")
    else:
        app.out("waiting  nothing")
    app.out(f"parked   {plural(account.parked, 'command') if account.parked else 'nothing'}")
    app.out(f"account  {_account(account)}")
    app.out(f"copy     {f'as of {moment(as_of)}' if as_of else 'none yet: reads need the database'}")
    app.out(f"folder   {folder}{'' if found is not None else ' (nothing was ever accepted)'}")
    if account.waiting:
        app.say("`backlog spool drain` records what waits, and so does any command once the database answers.")
    if account.parked:
        app.say("`backlog spool list --parked` says why; `backlog spool retry` offers parked commands again.")


def _account(account: Account) -> str:
    came = [f"{account.accepted:,} accepted", *([f"{account.again:,} again"] if account.again else [])]
    ends = [f"{count:,} {word}" for word, count in (
        ("applied", account.applied), ("already there", account.there), ("parked", account.parked),
        ("discarded", account.discarded), ("waiting", account.waiting),
    ) if count]  # fmt: skip
    total = f"{' + '.join(came)} = {' + '.join(ends) or '0'}"
    return total if account.balances else f"{total} DOES NOT BALANCE: report this, and keep the folder"


@spool.command("list", examples=("backlog spool list", "backlog spool list --parked --limit 0 --json"))
@click.option("--parked", is_flag=True, help="Only what could not be applied, with the reason.")
@click.option("--limit", type=click.IntRange(min=0), default=50, metavar="N",
              help="How many at most; 0 is all. Default: 50.")  # fmt: skip
@json_option
@pass_app
def list_(app: App, parked: bool, limit: int, as_json: bool) -> None:
    """
    List what waits and what is parked.

    In the order of acceptance. Parked is what the rules refused when it was to be recorded.
    """
    with _spool(app) as found:
        ledger = found.ledger() if found is not None else Ledger(id="")
        listed: list[Entry | Parked] = []
        if found is not None:
            for one in _all(found, ledger.mark, waits=not parked):
                if limit and len(listed) >= limit:
                    break
                listed.append(one)
    total = ledger.account.parked + (0 if parked else ledger.account.waiting)
    if as_json:
        app.out(json_text(app, [_row(one) for one in listed]))
        return
    if not listed:
        app.out("Nothing is parked." if parked else "Nothing waits, and nothing is parked.")
        return
    rows = [[str(one.number), "parked" if isinstance(one, Parked) else "waiting", moment(one.at),
             one.command.actor.name, _about(one.command),
             *([one.reason] if isinstance(one, Parked) else [])] for one in listed]  # fmt: skip
    has_reasons = any(isinstance(one, Parked) for one in listed)
    head = ("number", "state", "accepted", "actor", "command", *(["reason"] if has_reasons else []))
    app.show(table([[*row, *[""] * (len(head) - len(row))] for row in rows], head=head, room=app.room,
                   color=app.colored))  # fmt: skip
    if total > len(listed):
        app.say(f"… {total - len(listed):,} more (--limit 0 lists all)")


def _all(found: Spool, mark: int, *, waits: bool) -> Iterator[Entry | Parked]:
    after = mark
    while waits and (page := found.listing(after, limit=_PAGE)):
        yield from page
        after = page[-1].number
    after = 0
    while aside := found.parked(after, limit=_PAGE):
        yield from aside
        after = aside[-1].number


def _row(one: Entry | Parked) -> dict[str, Any]:
    command = one.command
    row = {"number": one.number, "state": "parked" if isinstance(one, Parked) else "waiting", "at": one.at,
           "actor": command.actor.name, "kind": type(command.body).__name__.lower(), "problems": weight_of(command),
           "about": _about(command)}  # fmt: skip
    if isinstance(one, Parked):
        row |= {"parked_at": one.parked_at, "code": one.code, "reason": one.reason}
    return row


def _about(command: Command) -> str:
    body = command.body
    if isinstance(body, Report):
        first = body.drafts[0].title if body.drafts else ""
        return f"report: {first}" if len(body.drafts) == 1 else f"report of {len(body.drafts):,}: {first}, …"
    if isinstance(body, Resolve):
        return f"resolved, says {body.source}: {', '.join(body.dedupe_keys)}"
    if isinstance(body, Comment):
        return f"comment on {body.id}: {body.message}"
    return type(body).__name__.lower()


@spool.command("show", examples=("backlog spool show 17",))
@click.argument("number", type=click.IntRange(min=1), metavar="NUMBER")
@json_option
@pass_app
def show(app: App, number: int, as_json: bool) -> None:
    """
    Show one accepted command whole, and why it was parked.
    """
    with _spool(app) as found:
        mark = found.ledger().mark if found is not None else 0
        near: list[Entry | Parked] = []
        if found is not None:
            near = [*found.parked(number - 1, limit=1), *found.listing(number - 1, limit=1)]
    one = next((one for one in near if one.number == number), None)
    if one is None:
        raise NotFound("accepted command", str(number), hint="`backlog spool list` shows the numbers; what was "
                       "recorded is kept here for some time only.")  # fmt: skip
    state = "parked" if isinstance(one, Parked) else "waiting" if number > mark else "recorded"
    command = to_builtins(one.command)
    if as_json:
        app.out(json_text(app, {**_row(one), "state": state, "command": command}))
        return
    app.out(f"number    {number}")
    app.out(f"state     {state}" + (f" since {moment(one.parked_at)}" if isinstance(one, Parked) else ""))
    if isinstance(one, Parked):
        app.out(f"reason    {neutral(one.reason)} ({one.code})")
    app.out(f"accepted  {moment(one.at)}")
    app.out(f"actor     {neutral(one.command.actor.name)}, a {one.command.actor.kind}")
    app.out(f"request   {neutral(one.command.request_id)}")
    app.out(f"command   {neutral(_about(one.command))}")
    app.out()
    import json

    app.out(neutral(json.dumps(command, indent=2, ensure_ascii=False), lines=True))


# --- moving -----------------------------------------------------------------------------------------------------------


@spool.command("retry", examples=("backlog spool retry 17 18", "backlog spool retry --all"))
@click.argument("numbers", type=click.IntRange(min=1), nargs=-1, metavar="[NUMBER]...")
@click.option("--all", "all_", is_flag=True, help="All that is parked.")
@json_option
@pass_app
def retry(app: App, numbers: tuple[int, ...], all_: bool, as_json: bool) -> None:
    """
    Let parked commands wait again.

    They go behind all others, and the next drain offers them.
    """
    if bool(numbers) == all_:
        raise click.UsageError("Which ones? Give numbers (`backlog spool list --parked` shows them), or --all.")
    with _spool(app) as found:
        there = {one.number for one in _all(found, 0, waits=False)} if found is not None else set()
        missing = sorted(set(numbers) - there)
        if missing:
            raise NotFound("parked command", ", ".join(map(str, missing)),
                           hint="Nothing was changed. `backlog spool list --parked` shows the numbers.")  # fmt: skip
        count = found.retry(there if all_ else numbers) if found is not None and there else 0
        waiting = found.ledger().account.waiting if found is not None else 0
    if as_json:
        app.out(json_text(app, {"retried": count, "waiting": waiting}))
        return
    if not count:
        app.out("Nothing is parked.")
        return
    wait = f"{waiting:,} now {'waits' if waiting == 1 else 'wait'}"
    app.out(f"{plural(count, 'command')} moved from parked to the end of the spool; {wait}.")
    app.say("`backlog spool drain` offers what waits to the database.")


@spool.command("drain")
@click.option("--adopt", is_flag=True, help="The database was set up anew on purpose: take it for the one that the "
              "spool is for.")  # fmt: skip
@click.option("-y", "--yes", is_flag=True, help="With --adopt: do not ask.")
@json_option
@pass_app
def drain(app: App, adopt: bool, yes: bool, as_json: bool) -> None:
    """
    Record all that waits now, and wait for it. Exits with 6 if something still waits then.
    """
    with _spool(app) as found:
        before = found.ledger().account if found is not None else Account()
    if adopt:
        app.confirm(f"Record the {before.waiting:,} that wait in whatever database is there now?", yes=yes)
    after = _drain(app, before.waiting, adopt=adopt) if before.waiting or adopt else before
    done = after.minus(before)
    if as_json:
        app.out(json_text(app, {"applied": done.applied, "there": done.there, "parked": done.parked,
                                "waiting": after.waiting}))  # fmt: skip
        return
    if not (before.waiting or done.applied):
        app.out("Nothing waits.")
        return
    app.out(f"{done.applied:,} applied, {done.there:,} already there, {done.parked:,} parked; nothing waits any more")
    if done.parked:
        app.say(f"{paint('parked', 'yellow', on=app.colors(sys.stderr))}  `backlog spool list --parked` says why.")


def _drain(app: App, total: int, *, adopt: bool) -> Account:
    from backlog_store.cli.progress import told

    url = auto_url(app)
    with open_backlog(url, actor=app.actor, **spool_options(app, url)) as backlog, told() as watch:
        executor = backlog.executor
        assert isinstance(executor, FailoverExecutor)
        if adopt:
            executor.adopt()
        waiting, since = total, time.monotonic()
        while left := executor.spools.waiting():
            if left != waiting:
                waiting, since = left, time.monotonic()
            watch("draining", max(total - left, 0), total)
            try:
                executor.drain(_BATCH)
            except BackendUnavailable:
                # Another process that drains may be at it, and get somewhere.
                if executor.standing().state == "degraded" or time.monotonic() - since > _PATIENCE_S:
                    raise
                time.sleep(_TURN_S)
        return executor.spools.account()
