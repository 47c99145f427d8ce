"""
`backlog digest`: what happened since then, for people to read once a week.
"""

from __future__ import annotations

import re
import sys

import click

from backlog_store.cli.app import App, pass_app
from backlog_store.cli.command import Choice, command
from backlog_store.cli.options import json_option, not_empty
from backlog_store.commands import SaveView
from backlog_store.instants import Instant, parse_instant

__all__ = ["digest"]

_LAST = "last"
_VIEW = "is:live,closed updated:>="


@command("digest", examples=(
    "backlog digest",
    "backlog digest --since last --format md > digest.md",
    "backlog digest --since 2026-11-01 --env prod --format json",
))  # fmt: skip
@click.option(
    "--since",
    default="7d",
    metavar="TIME",
    callback=not_empty,
    show_default=True,
    help="From then on: 7d, 2026-11-01; `last`: since the last remembered one, and remember this one.",
)
@click.option("--env", default="", metavar="NAME", callback=not_empty, help="One env; without it, all of them.")
@click.option("--format", "format_", type=Choice(("text", "md", "html", "json")), default="text", show_default=True,
              help="How to print.")  # fmt: skip
@json_option
@click.option("--remember", is_flag=True, help="Remember the instant of this one for `--since last`.")
@pass_app
def digest(app: App, since: str, env: str, format_: str, as_json: bool, remember: bool) -> None:
    """
    Tell what is new, fixed and reopened since then, and what is overdue, escalated, old, unowned, noisy or silent.

    Nothing is written, except with `--remember` and `--since last`: those keep the instant in the saved view `digest`
    (of one env `digest-ENV`), once the digest is printed.
    """
    from backlog_store.cli.weeklyforms import FORMS

    backlog = app.reading()
    is_last = since.strip().lower() == _LAST
    name = f"digest-{env}" if env else "digest"
    if is_last or remember:
        # What cannot be remembered is said before all is told.
        backlog.preview(SaveView(name=name, query=f"{_VIEW}{app.now()}"))
    start = _remembered(backlog.views().get(name, ""), name) if is_last else _time(app, since)
    found = backlog.weekly(start, env)
    app.out(FORMS["json" if as_json else format_](found)[:-1])
    if is_last or remember:
        sys.stdout.flush()  # what was not printed is told again next time
        query = f"{_VIEW}{found.at}"
        app.writing(SaveView(name=name, query=query)).save_view(name, query)


def _time(app: App, text: str) -> Instant:
    from backlog_store.querylang.dates import is_duration, parse_when

    word, now = text.strip(), app.now()
    try:
        # What happened lies behind: a length of time without a sign counts back.
        at = parse_when(f"-{word}" if is_duration(word) else word, now=now)[0]
    except ValueError as error:
        raise click.UsageError(f"--since {text!r}: {error}. Give `last`, or a time like 7d or 2026-11-01.") from error
    if at >= now:
        raise click.UsageError(f"--since {text!r} lies ahead: a digest tells what happened.")
    return at


def _remembered(query: str, name: str) -> Instant:
    """
    Return the instant that the saved view keeps; empty where there is none yet.
    """
    if not query:
        return ""
    found = re.search(r"updated:>=(\S+)\Z", query)
    try:
        return parse_instant(found[1] if found else "")
    except ValueError:
        raise click.UsageError(
            f"The saved view {name!r} keeps no instant of a digest, but {query!r}. Give --since a time; "
            f"`backlog view drop {name}` makes room."
        ) from None
