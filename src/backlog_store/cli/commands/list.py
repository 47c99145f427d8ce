"""
`backlog list` and `backlog search`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from backlog_store.cli.app import App, pass_app
from backlog_store.cli.asking import after_key, asked, cursor_of, order_of, rows, words_argument
from backlog_store.cli.command import Choice, Command, command
from backlog_store.cli.complete import complete_views
from backlog_store.cli.items import FORMATS, fields_of, print_items, print_rows
from backlog_store.cli.options import fields_option, json_option
from backlog_store.cli.text import plural, table
from backlog_store.instants import Instant
from backlog_store.model import Item
from backlog_store.query import ANY, FACETS, All, HasWords, Where

__all__ = ["list_", "search"]


class _Asking(Command):
    """
    A command whose words may be ``-tag:flaky``, which is no option.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """
        Parse the arguments, negated terms among them.
        """
        return super().parse_args(ctx, words_argument(args, ("-q", "-n", "-h")))


def _shared(function: Any) -> Any:
    for decorate in reversed((
        click.option("-n", "--limit", type=click.IntRange(min=0), metavar="N", help="How many rows; 0 is all."),
        click.option("--sort", default="", metavar="ORDER",
                     help="priority, due, created, updated, closed or id; -ORDER turns it round."),
        click.option("--after", default="", metavar="CURSOR",
                     help="Go on behind the last page: the cursor that it ended with, or the id of its last row."),
        click.option("--format", "format_", type=Choice(FORMATS), help="How to print."),
    )):  # fmt: skip
        function = decorate(function)
    return fields_option(json_option(function))


@command(
    "list",
    cls=_Asking,
    examples=(
        "backlog list",
        "backlog list 'status:open priority:<=P1 -tag:flaky due:<7d'",
        "backlog list owner:@me '\"burn rate\"' --sort -updated",
        "backlog list --by fix",
    ),
)
@click.argument("words", nargs=-1, metavar="[QUERY]...")
@click.option("-q", "--query", "queries", multiple=True, metavar="QUERY", help="A query; all that are given must hold.")
@click.option("--view", default="", metavar="NAME", shell_complete=complete_views, help="A saved view.")
@click.option("--all", "closed_too", is_flag=True, help="Closed items, too.")
@click.option("--by", type=Choice(FACETS), help="Count by this field instead; `fix`: what one fix clears.")
@_shared
@pass_app
def list_(
    app: App,
    words: tuple[str, ...],
    queries: tuple[str, ...],
    view: str,
    closed_too: bool,
    by: str | None,
    limit: int | None,
    sort: str,
    after: str,
    format_: str | None,
    fields: str,
    as_json: bool,
) -> None:
    """
    List items, the most urgent first: live ones, unless the query speaks of the status itself.
    """
    app.reading()
    now = app.now()
    question = asked(app, words, queries=queries, view=view, now=now, closed_too=closed_too)
    order, descending = order_of(sort) if sort else (question.order or "priority", question.descending)
    format = _format(app, format_, as_json=as_json)
    if by:
        _print_groups(app, question.where, by, limit=_limit(app, limit), format=format)
        return
    empty = "No item matches." if words or queries or view else "No live items. `backlog` says how to begin."
    _print(app, question.where, order, descending, _limit(app, limit), after, format, fields, now, empty)


@command(
    "search",
    cls=_Asking,
    examples=(
        "backlog search certificate 'expir*'",
        "backlog search '\"burn rate\"' checkout",
    ),
)
@click.argument("words", nargs=-1, required=True, metavar="WORD...")
@_shared
@pass_app
def search(app: App, words: tuple[str, ...], limit: int | None, sort: str, after: str, format_: str | None, fields: str,
           as_json: bool) -> None:  # fmt: skip
    """
    Search title, description, service, key, fix and tags of all items, closed ones too.

    All words must be there; words in quotes stand one after the other; a star ends a beginning: pay*.
    """
    app.reading()
    where = _words(words)
    order, descending = order_of(sort) if sort else ("priority", False)
    format = _format(app, format_, as_json=as_json)
    _print(app, where, order, descending, _limit(app, limit), after, format, fields, app.now(), "Nothing found.")


def _words(words: tuple[str, ...]) -> Where:
    import shlex

    from backlog_store.words import words_of

    parts: list[Where] = []
    for word in words:
        try:
            phrases = shlex.split(word) if '"' in word else word.split()
        except ValueError as error:
            raise click.UsageError(f"{word}: {error}.") from error
        for phrase in phrases:
            cut = tuple(words_of(phrase.removesuffix("*")))
            if not cut:
                raise click.UsageError(f"{phrase!r} holds no word to look for: letters, digits and _ are searched.")
            parts.append(HasWords(cut, phrase.endswith("*")))
    return All(tuple(parts)) if parts else ANY


def _format(app: App, given: str | None, *, as_json: bool) -> str:
    return "json" if as_json else given or app.settings.get("format")


def _limit(app: App, given: int | None) -> int:
    return int(app.settings.get("limit")) if given is None else given


def _print(app: App, where: Where, order: str, descending: bool, limit: int, after: str, format: str, fields: str,
           now: Instant, empty: str) -> None:  # fmt: skip
    names = fields_of(fields or app.settings.get("columns"))
    start = after_key(app, after, order) if after else None
    last: list[Item] = []
    more = False

    def page() -> Iterator[Item]:
        nonlocal more
        # One row more than asked for tells whether there is a next page.
        found = rows(app, where, order=order, descending=descending, limit=limit + 1 if limit else 0, after=start)
        for number, item in enumerate(found, 1):
            if limit and number > limit:
                more = True
                return
            last[:] = [item]
            yield item

    print_items(app, page(), format=format, names=names, now=now, empty=empty)
    if more and last:
        total = app.backlog.tally(where).get((), 0)
        first = "" if after else f"The first {limit:,} of {plural(total, 'item')}. "
        app.say(f"{first}Next page: --after {cursor_of(last[0], order)}")


def _print_groups(app: App, where: Where, by: str, *, limit: int, format: str) -> None:
    counts: dict[str, dict[str, int]] = {}
    facets = (by,) if by == "priority" else (by, "priority")
    for values, count in app.backlog.tally(where, facets).items():  # type: ignore[arg-type]
        name, priority = values[0], values[-1]
        counts.setdefault(name, {})[priority] = count
    # The group with the most urgent item first, then the largest.
    found = [(min(counted), -sum(counted.values()), name) for name, counted in counts.items() if name or by != "fix"]
    shown = sorted(found)[: limit or None]
    if format != "table":
        rows_ = [{by: name, "count": -count, "priority": priority} for priority, count, name in shown]
        print_rows(app, rows_, format, tuple(dict.fromkeys((by, "count", "priority"))))
        return
    if not shown:
        app.say("No item matches." if by != "fix" else "No items share a fix.")
        return
    cells = [[str(-count), priority, name or "(none)"] for priority, count, name in shown]
    app.show(table(cells, head=("items", "pri", by), room=app.room, color=app.colored))
    if by == "fix":
        _say_fixes(app, counts, len(found) - len(shown))


def _say_fixes(app: App, counts: dict[str, dict[str, int]], hidden: int) -> None:
    rest = f" {plural(hidden, 'more fix', 'more fixes')} not shown (--limit 0)." if hidden else ""
    alone = sum(counts.get("", {}).values())
    other = f" {plural(alone, 'item')} without a known fix." if alone else ""
    if rest or other:
        app.say((rest + other).strip())
    app.hint("Work one: backlog edit --fix NAME …, backlog assign OWNER --fix NAME")
