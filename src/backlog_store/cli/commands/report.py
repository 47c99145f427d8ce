"""
`backlog report`.
"""

from __future__ import annotations

import sys
from collections import Counter
from typing import Any, BinaryIO

import click

from backlog_store.cli.app import App, pass_app
from backlog_store.cli.command import command
from backlog_store.cli.items import json_text
from backlog_store.cli.options import json_option
from backlog_store.cli.reports import context_of, how, name_of, report_options, take_in_files
from backlog_store.cli.runtold import print_runs
from backlog_store.cli.text import neutral, paint, plural
from backlog_store.cli.writing import say_undo
from backlog_store.errors import BackendUnavailable
from backlog_store.intake import Format
from backlog_store.planning import Planner
from backlog_store.taking import VERDICTS, Account, Taking, report_as_data

__all__ = ["report"]

_SHOWN = 20
_STYLES = {"created": "green", "reopened": "yellow", "refused": "red", "closed": "green",
           "accepted": "yellow"}  # fmt: skip


@command("report", examples=(
    "ruff check --output-format sarif . | backlog report - --service checkout",
    "backlog report trivy.json --fail-on new:P1,reopened:P1",
    "backlog report first.sarif --baseline",
    "backlog report ruff.sarif --service checkout --complete",
    "backlog report findings.csv --map title=Summary --map priority=Severity",
))  # fmt: skip
@click.argument("file", type=click.File("rb"))
@report_options
@click.option("--fail-on", multiple=True, metavar="KIND:PRIORITY",
              help="Exit with 1 if something is new, reopened or any, at that priority or a higher one.")  # fmt: skip
@click.option("--request-id", default="", metavar="ID", help="Asking again with the same id changes nothing.")
@click.option("-n", "--dry-run", is_flag=True, help="Tell what would happen, and write nothing.")
@json_option
@pass_app
def report(app: App, file: BinaryIO, format_: str | None, dry_run: bool, as_json: bool, **given: Any) -> None:
    """
    Take in a report: one item a problem, however often it is reported. `-` reads stdin.

    SARIF, pip-audit, npm audit, Trivy, OSV-Scanner, Alertmanager webhooks, JUnit XML; drafts as JSON, NDJSON and CSV.
    Exits with 1 if a finding was refused, or by --fail-on.
    """
    name = name_of(file)
    context = context_of(app, given)
    taking = how(app, given, context, name, dry_run=dry_run)
    account, format = take_in_files(app, [file], context, taking, format=format_ or "",
                                    planner=Planner if dry_run else None)  # fmt: skip
    if as_json:
        app.out(json_text(app, report_as_data(account, format, taking)))
    else:
        _print(app, account, format, name, taking)
    if account.counts["accepted"]:
        from backlog_store.cli.outage import tell_accepted

        tell_accepted(app)
    _fail(app, account)


def _print(app: App, account: Account, format: Format, name: str, taking: Taking) -> None:
    services = sorted(filter(None, account.services))
    about = ", ".join(map(neutral, services)) if len(services) <= 3 else plural(len(services), "service")
    told = f"{neutral(name)}: {plural(account.findings, 'finding')}" + (f" about {about}" if about else "")
    app.out(f"{told} ({format.title}){', nothing was written' if taking.dry_run else ''}")
    for verdict in VERDICTS:
        count = account.counts[verdict]
        if count or (verdict in ("created", "unchanged") and not account.counts["accepted"]):
            style = _STYLES.get(verdict, "dim") if count else "dim"
            line = f"  {count:>7,} {paint(f'{verdict:10}', style, on=app.colored)}  {_detail(account, verdict)}"
            app.out(line.rstrip())
    print_runs(app, account.runs)
    _print_refused(app, account)
    _print_notices(app, account)
    if not taking.opens and account.counts["suppressed"]:
        app.say("This is not the default branch: it opens nothing (--opens, --default-branch).")
    if (account.changed or any(run.outcomes for run in account.runs)) and not taking.dry_run:
        say_undo(app, account.batch)


def _detail(account: Account, verdict: str) -> str:
    counts = account.priorities.get(verdict, Counter())
    told = ", ".join(f"{counts[priority]:,} {priority}" for priority in sorted(counts) if priority)
    reasons = account.reasons.get(verdict, Counter()).most_common(3)
    why = ", ".join(f"{count:,} {neutral(reason)}" for reason, count in reasons)
    return f"{told}  ({why})" if why and verdict in ("suppressed", "unchanged", "updated") else told


def _print_refused(app: App, account: Account) -> None:
    """
    Print each refusal; those of one reason together, with the first places.
    """
    places: dict[str, list[str]] = {}
    for pointer, reason in account.refused:
        places.setdefault(reason, []).append(pointer)
    word = paint("refused", "red", on=app.colors(sys.stderr))
    for reason, pointers in list(places.items())[:_SHOWN]:
        more = f" and {len(pointers) - 3:,} more" if len(pointers) > 3 else ""
        app.say(f"{word}  {neutral(', '.join(pointers[:3])) or 'the draft'}{more}: {neutral(reason)}")
    if len(places) > _SHOWN:
        app.say(f"… and {len(places) - _SHOWN:,} more reasons (--json lists all)")
    if any(reason.startswith("/service:") for reason in places):
        app.say("Name the service with --service (or BACKLOG_SERVICE); there is no git remote here to name it.")


def _print_notices(app: App, account: Account) -> None:
    colored = app.colors(sys.stderr)
    for notice in account.notices:
        if notice.incomplete:
            app.say(f"{paint('incomplete', 'yellow', on=colored)}  {neutral(notice.reason)}")
        elif notice.advice:
            place = f"{notice.pointer}: " if notice.pointer else ""
            app.say(f"{paint('key', 'yellow', on=colored)}  {place}{neutral(notice.reason)}")
    rest = [notice for notice in account.notices if not notice.incomplete and not notice.advice]
    if rest:
        first = f": {neutral(rest[0].reason)}" if len(rest) == 1 else " (--json lists them)"
        app.say(f"{plural(len(rest), 'entry', 'entries')} of the report passed over{first}")


def _fail(app: App, account: Account) -> None:
    if account.failing:
        conditions = ", ".join(sorted({str(on) for on, _, _ in account.failing}))
        word = paint("failing", "red", on=app.colors(sys.stderr))
        app.say(f"{word}  {plural(len(account.failing), 'problem')} by --fail-on {conditions}")
        for _, priority, title in account.failing[:_SHOWN]:
            app.say(f"  {priority}  {neutral(title)}")
    if account.failing or account.refused:
        raise click.exceptions.Exit(1)
    if account.undecided:
        raise BackendUnavailable(
            "auto", "deciding",
            f"--fail-on {', '.join(sorted({str(on) for on in account.undecided}))} needs the database, which is away",
            hint="The report was accepted; `backlog list` shows what it opened once the database is back.",
        )  # fmt: skip
