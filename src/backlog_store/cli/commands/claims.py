"""
Taking work: `ready`, `next`, `claim`, `release`.
"""

from __future__ import annotations

from typing import Any

import click

from backlog_store import commands as c
from backlog_store.cli.app import App, pass_app
from backlog_store.cli.asking import asked
from backlog_store.cli.command import command
from backlog_store.cli.complete import complete_ids
from backlog_store.cli.items import COLUMNS, fields_of, item_lines, json_text, print_items, view
from backlog_store.cli.options import fields_option, json_option, message_option
from backlog_store.cli.text import paint
from backlog_store.commands.claims import LEASE_S

__all__ = ["claim", "next_", "ready", "release"]

_MINUTE_S = 60
_LEASE = click.option("--lease", "lease_min", type=click.IntRange(min=1), default=LEASE_S // _MINUTE_S,
                      show_default=True, metavar="MINUTES", help="For how long.")  # fmt: skip
_ENV = click.option("--env", default="", metavar="NAME", help="One env; without it, all of them.")


@command("ready", examples=("backlog ready", "backlog ready service:checkout --limit 5 --json"))
@click.argument("words", nargs=-1, metavar="[QUERY]...")
@_ENV
@click.option("-n", "--limit", type=click.IntRange(min=1, max=10_000), default=20, show_default=True, metavar="N",
              help="How many rows.")  # fmt: skip
@fields_option
@json_option
@pass_app
def ready(app: App, words: tuple[str, ...], env: str, limit: int, fields: str, as_json: bool) -> None:
    """
    List what can be taken now: open, awake, blocked by nothing that lives, claimed by nobody else.
    """
    backlog = app.reading()
    now = app.now()
    where = asked(app, words, now=now, closed_too=True).where
    items = backlog.work.ready(where, env=env, limit=limit)
    print_items(app, items, format="json" if as_json else "table", names=fields_of(fields), now=now,
                empty="Nothing is ready. `backlog list is:waiting` shows what waits.")  # fmt: skip


@command("next", examples=("backlog next", "backlog next service:checkout --json"))
@click.argument("words", nargs=-1, metavar="[QUERY]...")
@_ENV
@fields_option
@json_option
@pass_app
def next_(app: App, words: tuple[str, ...], env: str, fields: str, as_json: bool) -> None:
    """
    Say which item to take next, and why; exit with 1 if nothing is ready.
    """
    backlog = app.reading()
    now = app.now()
    choice = backlog.work.next(asked(app, words, now=now, closed_too=True).where, env=env)
    names = fields_of(fields)
    if as_json:
        told: dict[str, Any] | None = None
        if choice is not None:
            told = {"item": view(choice.item, names, now), "decided_by": choice.decided_by, "why": list(choice.why),
                    "unblocks": choice.unblocks}  # fmt: skip
        app.out(json_text(app, told))
    elif choice is None:
        app.say("Nothing is ready. `backlog list is:waiting` shows what waits.")
    else:
        app.show(item_lines(app, [choice.item], names=names or COLUMNS, now=now, head=False))
        app.out(f"because: {', '.join(choice.why)}")
        app.hint(f"backlog claim {choice.item.id}")
    if choice is None:
        raise click.exceptions.Exit(1)


@command("claim", examples=("backlog claim k3jq7a2m", "backlog claim --next --env prod --json",
                            "backlog claim k3jq7a2m --renew 7 --lease 120"))  # fmt: skip
@click.argument("id", default="", metavar="[ID]", shell_complete=complete_ids)
@click.option("--next", "take_next", is_flag=True, help="The item that `backlog next` names, in one step.")
@click.option("--renew", "token", type=click.IntRange(min=1), metavar="TOKEN", help="Keep your claim of this token.")
@_LEASE
@_ENV
@message_option
@fields_option
@json_option
@pass_app
def claim(app: App, id: str, take_next: bool, token: int | None, lease_min: int, env: str, message: str, fields: str,
          as_json: bool) -> None:  # fmt: skip
    """
    Take an item to work on it: nobody else can until you release or close it, or the lease is over.

    Prints a token. A write with `--claim TOKEN` is refused once the claim is over.
    Exits with 1 if nothing is ready.
    """
    if bool(id) == take_next:
        raise click.UsageError("Give an ID, or --next, and not both.")
    backlog = app.reading()
    full = app.item(id).id if id else ""
    lease_s = lease_min * _MINUTE_S
    body: c.Body = c.ClaimItem(id=full, env=env, lease_s=lease_s, message=message)
    if token is not None:
        if not full:
            raise click.UsageError("--renew TOKEN needs the ID that the token is of.")
        body = c.RenewClaim(id=full, token=token, lease_s=lease_s)
    answer = backlog.execute(body)
    outcome = answer.outcomes[0]
    if as_json:
        told = {"verdict": outcome.verdict, "id": outcome.id, "token": outcome.token, "until": outcome.until,
                "batch": answer.batch, "why": outcome.why}  # fmt: skip
        if outcome.item is not None:
            told["item"] = view(outcome.item, fields_of(fields), app.now())
        app.out(json_text(app, told))
    elif outcome.item is None:
        app.say("Nothing is ready. `backlog list is:waiting` shows what waits.")
    else:
        word = paint("claimed", "green", on=app.colored)
        app.out(f"{word}  {outcome.id}  token {outcome.token}, until {outcome.until}")
        app.show(item_lines(app, [outcome.item], now=app.now(), head=False))
    if outcome.item is None and not outcome.id:
        raise click.exceptions.Exit(1)


@command("release", examples=("backlog release k3jq7a2m", "backlog release k3jq7a2m --token 7 -m 'needs a DBA'"))
@click.argument("id", shell_complete=complete_ids)
@click.option(
    "--token", type=click.IntRange(min=1), default=None, metavar="TOKEN", help="Only your claim of this token."
)
@message_option
@fields_option
@json_option
@pass_app
def release(app: App, id: str, token: int | None, message: str, fields: str, as_json: bool) -> None:
    """
    Give a claimed item back, so that others can take it; a person may free anybody's.
    """
    from backlog_store.cli.writing import one_change

    app.reading()
    body = c.ReleaseItem(id=app.item(id).id, token=token or 0, message=message)
    one_change(app, body, as_json=as_json, fields=fields, done="released")
