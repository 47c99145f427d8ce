"""
Dynamic completion: ids, fields, views, fixes. A store that cannot be opened completes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from backlog_store.cli.app import App
from backlog_store.errors import BacklogError
from backlog_store.query import All, Compare, In, Not, live

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

__all__ = ["complete_fields", "complete_fixes", "complete_ids", "complete_views"]

_SHOWN = 50


def _item(value: str, help: str = "") -> CompletionItem:
    from click.shell_completion import CompletionItem

    return CompletionItem(value, help=help or None)


def _from_store(function: Callable[[App, str], list[CompletionItem]]) -> Callable[..., list[CompletionItem]]:
    def complete(context: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
        app = context.ensure_object(App)
        app.quiet = True
        try:
            return function(app, incomplete)
        except (BacklogError, OSError):
            # A shell in the middle of a line is no place to tell errors; the command itself will.
            return []
        finally:
            app.close()

    return complete


@_from_store
def complete_ids(app: App, incomplete: str) -> list[CompletionItem]:
    """
    Complete ids of live items, by their beginning.
    """
    short = not incomplete.startswith("bl_")
    start = f"bl_{incomplete}" if short else incomplete
    where = All((live(), Compare("id", ">=", start), Compare("id", "<", start + "\U0010ffff")))
    items = app.reading().search(where, order="id" if incomplete else "priority", limit=_SHOWN)
    return [_item(item.id[3:11] if short and item.id.startswith("bl_") else item.id, help=item.title)
            for item in items]  # fmt: skip


@_from_store
def complete_views(app: App, incomplete: str) -> list[CompletionItem]:
    """
    Complete names of saved views.
    """
    return [_item(name, help=query) for name, query in app.reading().views().items() if name.startswith(incomplete)]


@_from_store
def complete_fixes(app: App, incomplete: str) -> list[CompletionItem]:
    """
    Complete names of fixes that clear live items.
    """
    counts = app.reading().tally(All((live(), Not(In("fix", ("",))))), ("fix",))
    return [_item(fix, help=f"{count} items") for (fix,), count in sorted(counts.items())
            if fix.startswith(incomplete)][:_SHOWN]  # fmt: skip


def complete_fields(_: click.Context, __: click.Parameter, incomplete: str) -> list[Any]:
    """
    Complete the last of several names of fields.
    """
    from backlog_store.cli.items import FIELDS

    before, comma, last = incomplete.rpartition(",")
    return [_item(before + comma + name) for name in FIELDS if name.startswith(last)]
