"""
`backlog token`.
"""

from __future__ import annotations

import click

from backlog_store.access import Scope
from backlog_store.admission import Handed, issue_token, reach_of, rotate_token, token_told
from backlog_store.cli.app import App, pass_app
from backlog_store.cli.asking import instant_of
from backlog_store.cli.command import Choice, group
from backlog_store.cli.items import json_text
from backlog_store.cli.options import json_option, last_admin_option, message_option, not_empty, scope_options
from backlog_store.cli.text import neutral, table
from backlog_store.commands import RevokeToken
from backlog_store.credentials import state_of
from backlog_store.model import ActorKind
from backlog_store.rules.admitted import tokens

__all__ = ["token"]


@group("token")
def token() -> None:
    """
    Tokens: what programs sign in with, where this backlog is served (`backlog serve --sign-in`).
    """


@token.command("issue", examples=("backlog token issue ruff --role reporter --source ruff --service web",
                                  "backlog token issue ci --role worker --env prod --expires +90d"))  # fmt: skip
@click.argument("name", callback=not_empty)
@scope_options(required=True)
@click.option("--kind", type=Choice(["machine", "person"]), default="machine", show_default=True,
              help="As whom it acts: what a person sets, a machine's report leaves alone.")  # fmt: skip
@click.option(
    "--expires", default="", metavar="WHEN", help="Until when it holds (+90d, 2027-01-31); default: for good."
)
@message_option
@json_option
@pass_app
def issue(app: App, name: str, scope: Scope, kind: ActorKind, expires: str, message: str, as_json: bool) -> None:
    """
    Issue a token and print it: this once, for only a digest of it is kept.
    """
    until = instant_of(app, expires, "--expires") if expires else ""
    handed = issue_token(app.writing(), name, scope, kind=kind, expires_at=until, message=message)
    _hand_over(app, handed, name, as_json, expires_at=until)


@token.command("rotate", examples=("backlog token rotate ruff", "backlog token rotate ci --now --expires +90d"))
@click.argument("name", callback=not_empty)
@click.option("--keep", default="+1d", show_default=True, metavar="WHEN", help="Until when the old secret still holds.")
@click.option("--now", "at_once", is_flag=True, help="The old secret holds no longer.")
@click.option("--expires", default="", metavar="WHEN", help="Until when the token holds; default: as before.")
@message_option
@json_option
@pass_app
def rotate(app: App, name: str, keep: str, at_once: bool, expires: str, message: str, as_json: bool) -> None:
    """
    Give a token a new secret and print it; name and reach stay. The old one holds for a day, or as --keep says.
    """
    until = "" if at_once else instant_of(app, keep, "--keep")
    ends = instant_of(app, expires, "--expires") if expires else None
    handed = rotate_token(app.writing(), name, until=until, expires_at=ends, message=message)
    _hand_over(app, handed, name, as_json, before_until=until)


@token.command("revoke", examples=("backlog token revoke ruff -m 'leaked in a log'",))
@click.argument("name", callback=not_empty)
@last_admin_option
@message_option
@json_option
@pass_app
def revoke(app: App, name: str, last_admin: bool, message: str, as_json: bool) -> None:
    """
    Let a token hold no longer, at once and for good.
    """
    app.reading()
    outcome = app.writing().execute(RevokeToken(name=name, message=message, last_admin=last_admin)).outcomes[0]
    app.out(json_text(app, {"key": outcome.id, "name": name, "revoked": True}) if as_json else f"revoked  {name}")


@token.command("list", examples=("backlog token list", "backlog token list --all --json"))
@click.option("-a", "--all", "everything", is_flag=True, help="Also those that hold no longer.")
@json_option
@pass_app
def list_(app: App, everything: bool, as_json: bool) -> None:
    """
    List tokens: what each reaches, until when, and its last four characters.
    """
    now = app.now()
    found = [(one, state_of(one, now)) for one in app.reading().read(lambda reader: list(tokens(reader)))]
    shown = [(one, state) for one, state in found if everything or state == "holds"]
    if as_json:
        app.out(json_text(app, [token_told(one, now) for one, _ in shown]))
        return
    if not shown:
        app.say("No token holds. `backlog token issue NAME --role ROLE` makes one.")
        return
    rows = [[one.name, one.kind, one.scope.role, reach_of(one.scope), f"…{one.last}", one.expires_at[:10] or "for good",
             f"{state} {one.revoked_at[:10]}".strip()] for one, state in shown]  # fmt: skip
    head = ("name", "acts as", "role", "reaches", "ends in", "until", "")
    app.show(table([[neutral(cell) for cell in row] for row in rows], head=head, room=app.room, color=app.colored))


def _hand_over(app: App, handed: Handed, name: str, as_json: bool, **more: str) -> None:
    if as_json:
        app.out(json_text(app, {"name": name, "key": handed.key, "token": handed.secret, **more}))
        return
    app.out(handed.secret)
    app.say("This is shown once. Programs send it as `Authorization: Bearer …`, or take it from BACKLOG_TOKEN.")
    if more.get("before_until"):
        app.say(f"The one before holds until {more['before_until'][:16].replace('T', ' ')} UTC.")
