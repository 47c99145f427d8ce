"""
`backlog person`.
"""

from __future__ import annotations

import sys

import click

from backlog_store.access import Scope
from backlog_store.admission import kept_password, person_told, reach_of, way_of
from backlog_store.cli.app import App, pass_app, stdin_is_terminal
from backlog_store.cli.command import group
from backlog_store.cli.items import json_text
from backlog_store.cli.options import json_option, last_admin_option, message_option, not_empty, scope_options
from backlog_store.cli.text import neutral, table
from backlog_store.commands import EndSessions, RemovePerson, SetPerson
from backlog_store.credentials import Person
from backlog_store.rules.admitted import people, person_named

__all__ = ["person"]

_password_option = click.option(
    "--password-stdin", is_flag=True, help="Read the password from stdin (one line) instead of asking for it."
)


_subject_option = click.option(
    "--subject", default=None, metavar="'ISSUER ID'",
    help="Who this is to a provider of OIDC, which alone signs this person in then; '' for nobody.",
)  # fmt: skip


@group("person")
def person() -> None:
    """
    People: who may sign in to the pages, where this backlog is served (`backlog serve --sign-in`).
    """


@person.command("add", examples=("backlog person add ann --role admin",
                                 "backlog person add ben --role worker --service web --by-proxy"))  # fmt: skip
@click.argument("name", callback=not_empty)
@scope_options(required=True)
@_password_option
@click.option("--by-proxy", is_flag=True, help="No password: only a proxy signs this person in.")
@_subject_option
@message_option
@json_option
@pass_app
def add(app: App, name: str, scope: Scope, password_stdin: bool, by_proxy: bool, subject: str | None, message: str,
        as_json: bool) -> None:  # fmt: skip
    """
    Let a person sign in. The password is asked for; only a slow hash of it is kept.

    Whom a provider of OIDC lets in comes without this: by --subject somebody who was removed here comes in again.
    """
    if by_proxy + password_stdin + bool(subject) > 1:
        raise click.UsageError("Give one of a password, --by-proxy and --subject.")
    backlog = app.writing()
    kept = "" if by_proxy or subject else kept_password(backlog, _password(app, name, password_stdin))
    backlog.execute(SetPerson(name=name, scope=scope, over=0, password=kept, message=message,
                              subject=subject))  # fmt: skip
    _told(app, "added", name, as_json)


@person.command("edit", examples=("backlog person edit ben --role worker", "backlog person edit ben --new-password"))
@click.argument("name", callback=not_empty)
@scope_options(required=False)
@click.option("--new-password", is_flag=True, help="Ask for a new password; every session of the person ends.")
@_password_option
@_subject_option
@last_admin_option
@message_option
@json_option
@pass_app
def edit(app: App, name: str, scope: Scope | None, new_password: bool, password_stdin: bool, subject: str | None,
         last_admin: bool, message: str, as_json: bool) -> None:  # fmt: skip
    """
    Give a person another role and reach, a new password, or the place at a provider of OIDC that is theirs.

    Without --role, role and reach stay. Those of whom a provider signs in hold until the next time it does.
    """
    revision, old = _the(app, name)
    if scope is None and subject is None and not (new_password or password_stdin):
        raise click.UsageError("What is to change? Give --role, --new-password or --subject.")
    backlog = app.writing()
    kept = kept_password(backlog, _password(app, name, password_stdin)) if new_password or password_stdin else None
    backlog.execute(SetPerson(name=name, scope=scope or old.scope, over=revision, password=kept, message=message,
                              subject=subject, last_admin=last_admin))  # fmt: skip
    _told(app, "changed", name, as_json)


@person.command("remove", examples=("backlog person remove ben",))
@click.argument("name", callback=not_empty)
@last_admin_option
@message_option
@json_option
@pass_app
def remove(app: App, name: str, last_admin: bool, message: str, as_json: bool) -> None:
    """
    Let a person sign in no longer; every session ends at once. What they did stays theirs.
    """
    app.reading()
    app.writing().execute(RemovePerson(name=name, message=message, last_admin=last_admin))
    _told(app, "removed", name, as_json)


@person.command("sign-out", examples=("backlog person sign-out ben",))
@click.argument("name", callback=not_empty)
@json_option
@pass_app
def sign_out(app: App, name: str, as_json: bool) -> None:
    """
    End every session of a person at once; signing in again is open to them.
    """
    _the(app, name)
    app.writing().execute(EndSessions(name=name))
    _told(app, "signed out", name, as_json)


@person.command("list", examples=("backlog person list",))
@json_option
@pass_app
def list_(app: App, as_json: bool) -> None:
    """
    List who may sign in, and what each reaches.
    """
    found = [one for _, one in app.reading().read(lambda reader: list(people(reader)))]
    if as_json:
        app.out(json_text(app, [person_told(one) for one in found]))
        return
    if not found:
        app.say("Nobody may sign in. `backlog person add NAME --role ROLE` adds somebody.")
        return
    rows = [[one.name, one.scope.role, reach_of(one.scope), way_of(one)] for one in found]
    lines = table([[neutral(cell) for cell in row] for row in rows], head=("name", "role", "reaches", "signs in"),
                  room=app.room, color=app.colored)  # fmt: skip
    app.show(lines)


def _the(app: App, name: str) -> tuple[int, Person]:
    return app.reading().read(lambda reader: person_named(reader, name))


def _password(app: App, name: str, from_stdin: bool) -> str:
    if from_stdin:
        return sys.stdin.readline().rstrip("\r\n")
    if app.no_input or not stdin_is_terminal():
        raise click.UsageError("There is nobody to ask for a password: give it with --password-stdin.")
    password: str = click.prompt(f"Password of {name}", hide_input=True, confirmation_prompt=True, err=True)
    return password


def _told(app: App, what: str, name: str, as_json: bool) -> None:
    app.out(json_text(app, {"name": name, "verdict": what}) if as_json else f"{what}  {name}")
