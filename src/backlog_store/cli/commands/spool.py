"""
`backlog spool`: what was accepted while the database was away.
"""

from __future__ import annotations

import click

from backlog_store.cli.app import App, pass_app
from backlog_store.cli.command import group
from backlog_store.cli.items import json_text
from backlog_store.cli.options import json_option
from backlog_store.codec import to_builtins
from backlog_store.executors.failover.executor import FailoverExecutor

__all__ = ["spool"]


@group("spool")
def spool() -> None:
    """
    Look at what was accepted while the database was away, and drain it.
    """


def _failover(app: App) -> FailoverExecutor:
    executor = app.reading().executor
    if not isinstance(executor, FailoverExecutor):
        raise click.UsageError("Only a store of auto has a spool: set the URL to auto+postgresql://user@host/database.")
    return executor


@spool.command("status")
@json_option
@pass_app
def status(app: App, as_json: bool) -> None:
    """
    Tell the state, since when, what waits, and the account of all that was accepted.
    """
    standing = _failover(app).standing()
    if as_json:
        app.out(json_text(app, {**to_builtins(standing), "balances": standing.account.balances}))
        return
    account = ", ".join(f"{getattr(standing.account, name)} {name}" for name in standing.account.__struct_fields__)
    app.out(f"state     {standing.state} since {standing.since}")
    app.out(f"waiting   {standing.waiting:,}{f', the oldest since {standing.oldest}' if standing.oldest else ''}")
    app.out(f"account   {account}: {'balances' if standing.account.balances else 'DOES NOT BALANCE'}")
    app.out(f"copy      {f'as of {standing.copy_as_of}' if standing.copy_as_of else 'none'}")
    app.out(f"folder    {standing.spool}")
    for problem in standing.problems:
        app.say(problem)


@spool.command("drain")
@json_option
@pass_app
def drain(app: App, as_json: bool) -> None:
    """
    Offer all that waits to the database now. Exits with 6 while that is away.
    """
    added = _failover(app).drain()
    app.out(json_text(app, to_builtins(added)) if as_json
            else f"applied {added.applied}, already there {added.there}, parked {added.parked}")  # fmt: skip
