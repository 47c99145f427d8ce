"""
Options that several commands share.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from backlog_store.access import ROLES, Scope
from backlog_store.cli.app import App
from backlog_store.cli.command import Choice
from backlog_store.cli.complete import complete_fields, complete_fixes, complete_ids

__all__ = ["fields_option", "id_argument", "json_option", "last_admin_option", "message_option", "not_empty",
           "scope_options", "target_options"]  # fmt: skip

F = TypeVar("F", bound=Callable[..., Any])


def _as_json(context: click.Context, _: click.Parameter, given: bool) -> bool:
    if given:
        context.ensure_object(App).json = True
    return given


def not_empty(context: click.Context, parameter: click.Parameter, given: str) -> str:
    """
    Refuse an empty text where one was given: a script's empty variable must not mean everything, or the newest.
    """
    if not given and context.get_parameter_source(parameter.name or "") is ParameterSource.COMMANDLINE:
        raise click.BadParameter("it is empty.", ctx=context, param=parameter)
    return given


def json_option(function: F) -> F:
    """
    Add ``--json``: data as JSON, and errors too.
    """
    return click.option(
        "--json", "as_json", is_flag=True, callback=_as_json, help="Print JSON; errors become JSON on stderr, too."
    )(function)


def fields_option(function: F) -> F:
    """
    Add ``--fields``: which fields of an item are printed.
    """
    return click.option(
        "--fields", "--columns", "fields", metavar="A,B,…", default="", shell_complete=complete_fields,
        help="Which fields of an item to print.",
    )(function)  # fmt: skip


def id_argument(function: F) -> F:
    """
    Add the argument ID: one item.
    """
    return click.argument("id", shell_complete=complete_ids)(function)


def message_option(function: F) -> F:
    """
    Add ``--message``: why.
    """
    return click.option("-m", "--message", default="", metavar="TEXT", help="Why; it stands in the history.")(function)


def target_options(last: str = "") -> Callable[[F], F]:
    """
    Add the ways to name items: ids, a query, a fix; and looking before leaping. *last* is the word behind the ids.
    """

    def decorate_all(function: F) -> F:
        return _with_targets(function, f"[ID]... {last}".strip())

    return decorate_all


def _with_targets(function: F, metavar: str) -> F:
    for decorate in reversed((
        click.argument("ids", nargs=-1, metavar=metavar, shell_complete=complete_ids),
        click.option("-q", "--query", default="", metavar="QUERY",
                     help="Every item that a query finds, instead of ids."),
        click.option("--fix", default="", metavar="NAME", shell_complete=complete_fixes,
                     help="Every live item that this one fix clears (`backlog list --by fix`)."),
        click.option("-n", "--dry-run", is_flag=True, help="Show what would change, and change nothing."),
        click.option("-y", "--yes", is_flag=True, help="Do not ask."),
        click.option("--token", default="", metavar="TOKEN", callback=not_empty,
                     help="Only if the items are still exactly those that a --dry-run showed with this token."),
        click.option("--claim", type=click.IntRange(min=1), metavar="TOKEN",
                     help="Only while your claim of this token holds (`backlog claim`); for one item."),
    )):  # fmt: skip
        function = decorate(function)
    return fields_option(json_option(function))


last_admin_option = click.option(
    "--last-admin",
    is_flag=True,
    help="Also where nobody is left then who may administer everything; not over a server.",
)


def scope_options(*, required: bool) -> Callable[[F], F]:
    """
    Add what makes a `Scope`, given as *scope*: a role, and the envs, services and sources that it is bound to.

    ``None`` where no role was given. Raises `click.UsageError` for a reach without a role.
    """

    def decorate(function: Callable[..., Any]) -> Any:
        @wraps(function)
        def gathered(*args: Any, role: str | None, envs: Any, services: Any, sources: Any, **more: Any) -> Any:
            if role is None and (envs or services or sources):
                raise click.UsageError("A reach goes with its role: give --role, too.")
            names = {
                "envs": tuple(envs) or None,
                "services": tuple(services) or None,
                "sources": tuple(sources) or None,
            }
            scope = Scope(role=role, **names) if role is not None else None  # type: ignore[arg-type]
            return function(*args, scope=scope, **more)

        for option in reversed((
            click.option("--role", type=Choice(ROLES), required=required, help="What it may do; an admin all."),
            click.option("--env", "envs", multiple=True, metavar="NAME", callback=_each_not_empty,
                         help="Only of this env; may be given several times, as the next two."),
            click.option("--service", "services", multiple=True, metavar="NAME", callback=_each_not_empty,
                         help="Only of this service."),
            click.option("--source", "sources", multiple=True, metavar="NAME", callback=_each_not_empty,
                         help="It reports as this source alone."),
        )):  # fmt: skip
            gathered = option(gathered)
        return gathered

    return decorate


def _each_not_empty(context: click.Context, parameter: click.Parameter, given: tuple[str, ...]) -> tuple[str, ...]:
    if "" in given:
        raise click.BadParameter("it is empty.", ctx=context, param=parameter)
    return given
