"""
`backlog report`.
"""

from __future__ import annotations

import sys
from collections import Counter
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

import click

from backlog_store.backlog import open_backlog
from backlog_store.cli.app import App, pass_app
from backlog_store.cli.command import Choice, command
from backlog_store.cli.items import json_text
from backlog_store.cli.options import json_option
from backlog_store.cli.reporting import VERDICTS, Account, FailOn, Plan, take_in
from backlog_store.cli.text import neutral, paint, plural
from backlog_store.cli.writing import say_undo
from backlog_store.errors import BackendUnavailable
from backlog_store.intake import FORMATS, Finding, Format, Parsed, Refusal, ReportContext, read_report
from backlog_store.model import PRIORITIES
from backlog_store.policy import DUE_DAYS

__all__ = ["report"]

_SHOWN = 20
_STYLES = {"created": "green", "reopened": "yellow", "refused": "red", "closed": "green",
           "accepted": "yellow"}  # fmt: skip


@command("report", examples=(
    "ruff check --output-format sarif . | backlog report - --service checkout",
    "backlog report trivy.json --fail-on new:P1,reopened:P1",
    "backlog report first.sarif --baseline",
    "backlog report findings.csv --map title=Summary --map priority=Severity",
))  # fmt: skip
@click.argument("file", type=click.File("rb"))
@click.option("-f", "--format", "format_", type=Choice([one.name for one in FORMATS]),
              help="The format, where it is not to be recognised.")  # fmt: skip
@click.option("-s", "--service", default="", metavar="NAME",
              help="The service or repository; else BACKLOG_SERVICE, else the git remote's name.")  # fmt: skip
@click.option("--env", default="", metavar="NAME", help="The env, where the report names none.")
@click.option("--source", default="", metavar="NAME", help="The source, instead of the tool's own name.")
@click.option("--category", default="", metavar="NAME", help="The category, instead of the format's own.")
@click.option("-t", "--tag", "tags", multiple=True, metavar="TAG", help="A tag for everything in it.")
@click.option("--ref", default="", metavar="BRANCH",
              help="The branch that was looked at: only the default one opens or reopens items.")  # fmt: skip
@click.option(
    "--default-branch", default="", metavar="BRANCH", help="The default branch; else git says, else main or master."
)
@click.option("--opens", is_flag=True, help="Open and reopen items on any branch.")
@click.option(
    "-p",
    "--priority",
    type=Choice(PRIORITIES, case_sensitive=False),
    metavar="P0…P3",
    help="One priority for all of it.",
)
@click.option("--severity", "severities", multiple=True, metavar="WORD=P1",
              help="The priority of one severity, over the table of docs/guides/reports.md.")  # fmt: skip
@click.option("--map", "mapping", multiple=True, metavar="FIELD=COLUMN",
              help="For drafts as CSV or JSON: which column fills a field.")  # fmt: skip
@click.option("--due", default="", metavar="P0=2,P1=14", help="Days until what it opens is due, by priority.")
@click.option("--no-due", is_flag=True, help="What it opens gets no due date.")
@click.option("--baseline", is_flag=True, help="A first report, taken in quietly: tagged baseline, nothing is due.")
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
    from backlog_store.cli.progress import watched

    opened = str(getattr(file, "name", "-"))
    name = "stdin" if opened in ("-", "<stdin>") else Path(opened).name
    context = _context(app, given)
    plan = _plan(app, given, name, dry_run=dry_run)
    with watched(file, name) as stream:
        format, parsed = read_report(stream, context, format=format_ or "")
        # What cannot be read as a whole fails before its first finding: no store is made for it, nor for what holds
        # nothing but refusals.
        first: list[Parsed] = []
        for one in parsed:
            first.append(one)
            if isinstance(one, Finding):
                break
        kinds = {type(one) for one in first}
        if Refusal in kinds and Finding not in kinds:
            backlog = open_backlog("memory://", actor=app.actor)
        else:
            backlog = app.reading() if dry_run else app.writing()
        account = take_in(backlog, chain(first, parsed), plan, repeats=format.own_keys)
    if as_json:
        app.out(json_text(app, _as_data(account, format, plan)))
    else:
        _print(app, account, format, name, plan)
    if account.counts["accepted"]:
        from backlog_store.cli.outage import tell_accepted

        tell_accepted(app)
    _fail(app, account)


def _context(app: App, given: dict[str, Any]) -> ReportContext:
    from backlog_store.cli import repo

    priority = given["priority"]
    severities: dict[str, Any] = {
        word.lower(): level.upper() for word, level in _pairs(given["severities"], "--severity").items()
    }
    for word, level in severities.items():
        if level not in PRIORITIES:
            raise click.UsageError(f"--severity {word}={level}: the priority is one of {', '.join(PRIORITIES)}.")
    return ReportContext(
        service=given["service"] or app.settings.get("service") or repo.remote_name(),
        env=given["env"] or app.settings.get("env"),
        ref=given["ref"],
        root=repo.toplevel() or str(Path.cwd()),
        source=given["source"],
        category=given["category"],
        priority=priority.upper() if priority else None,
        severities=severities,
        mapping=_pairs(given["mapping"], "--map"),
        tags=given["tags"],
    )


def _pairs(texts: tuple[str, ...], option: str) -> dict[str, str]:
    pairs = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (name and equals and value):
            raise click.UsageError(f"{option} {text!r}: give NAME=VALUE.")
        pairs[name.strip()] = value.strip()
    return pairs


def _plan(app: App, given: dict[str, Any], name: str, *, dry_run: bool) -> Plan:
    from backlog_store.cli import repo

    try:
        fail_on = tuple(FailOn.parse(part) for text in given["fail_on"] for part in text.split(","))
    except ValueError as error:
        raise click.UsageError(f"--fail-on {error}.") from error
    ref = repo.branch_of(given["ref"])
    main = repo.branch_of(given["default_branch"])
    opens = given["opens"] or not ref
    if not opens:
        main = main or repo.default_branch()
        opens = ref == main if main else ref in ("main", "master")
    return Plan(
        opens=opens,
        baseline=given["baseline"],
        due_days={} if given["no_due"] else _due_days(given["due"] or app.settings.get("due")),
        dry_run=dry_run,
        request_id=given["request_id"],
        fail_on=fail_on,
        proof=f"resolved, says {name}",
    )


def _due_days(text: str) -> dict[str, int]:
    if not text:
        return dict(DUE_DAYS)
    if text == "none":
        return {}
    from backlog_store.settings import check_value

    check_value("due", text, where="--due")
    return {priority: int(days) for priority, days in (part.split("=") for part in text.split(","))}


def _as_data(account: Account, format: Format, plan: Plan) -> dict[str, Any]:
    return {
        "format": format.name,
        "dry_run": plan.dry_run,
        "accepted": bool(account.counts["accepted"]),
        "opens": plan.opens,
        "batch": account.batch,
        "sources": sorted(account.sources),
        "services": sorted(account.services),
        "findings": account.findings,
        "counts": {verdict: account.counts[verdict] for verdict in VERDICTS},
        "priorities": {verdict: dict(sorted(counts.items())) for verdict, counts in sorted(account.priorities.items())},
        "reasons": {verdict: [{"why": why, "count": count} for why, count in reasons.most_common()]
                    for verdict, reasons in sorted(account.reasons.items())},
        "refused": [{"pointer": pointer, "reason": reason} for pointer, reason in account.refused],
        "notices": [{"pointer": notice.pointer, "reason": notice.reason, "incomplete": notice.incomplete}
                    for notice in account.notices],
        "changed": account.changed,
        "failing": [{"condition": str(on), "priority": priority, "title": title}
                    for on, priority, title in account.failing],
        "undecided": sorted({str(on) for on in account.undecided}),
    }  # fmt: skip


def _print(app: App, account: Account, format: Format, name: str, plan: Plan) -> None:
    services = sorted(filter(None, account.services))
    about = ", ".join(map(neutral, services)) if len(services) <= 3 else plural(len(services), "service")
    told = f"{neutral(name)}: {plural(account.findings, 'finding')}" + (f" about {about}" if about else "")
    app.out(f"{told} ({format.title}){', nothing was written' if plan.dry_run else ''}")
    for verdict in VERDICTS:
        count = account.counts[verdict]
        if count or (verdict in ("created", "unchanged") and not account.counts["accepted"]):
            style = _STYLES.get(verdict, "dim") if count else "dim"
            line = f"  {count:>7,} {paint(f'{verdict:10}', style, on=app.colored)}  {_detail(account, verdict)}"
            app.out(line.rstrip())
    _print_refused(app, account)
    _print_notices(app, account)
    if not plan.opens and account.counts["suppressed"]:
        app.say("This is not the default branch: it opens nothing (--opens, --default-branch).")
    if account.changed and not plan.dry_run:
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
    for notice in account.notices:
        if notice.incomplete:
            app.say(f"{paint('incomplete', 'yellow', on=app.colored)}  {neutral(notice.reason)}")
    rest = [notice for notice in account.notices if not notice.incomplete]
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
