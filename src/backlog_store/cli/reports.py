"""
What `report` and `plan` share: the options that say what a report is about, and reading it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import click

from backlog_store.backlog import Backlog, open_backlog
from backlog_store.cli.app import App
from backlog_store.cli.command import Choice
from backlog_store.cli.options import not_empty
from backlog_store.intake import FORMATS, Finding, Format, Parsed, Refusal, ReportContext, read_report
from backlog_store.model import PRIORITIES
from backlog_store.planning import Planner
from backlog_store.taking import (
    MAIN,
    Account,
    FailOn,
    RunPlan,
    Taking,
    branch_of,
    due_days_of,
    opens_on,
    run_plan_of,
    take_in,
)

__all__ = ["context_of", "how", "name_of", "plain_context", "report_options", "take_in_files"]

F = TypeVar("F", bound=Callable[..., Any])


def report_options(function: F) -> F:
    """
    Add the options that say what a report is about.
    """
    for decorate in reversed((
        click.option("-f", "--format", "format_", type=Choice([one.name for one in FORMATS]),
                      help="The format, where it is not to be recognised."),
        click.option("-s", "--service", default="", metavar="NAME",
                      help="The service or repository; else BACKLOG_SERVICE, else the git remote's name."),
        click.option("--env", default="", metavar="NAME", help="The env, where the report names none."),
        click.option("--source", default="", metavar="NAME", help="The source, instead of the tool's own name."),
        click.option("--category", default="", metavar="NAME", help="The category, instead of the format's own."),
        click.option("-t", "--tag", "tags", multiple=True, metavar="TAG", help="A tag for everything in it."),
        click.option("--ref", default="", metavar="BRANCH",
                      help="The branch that was looked at: only the default one opens or reopens items."),
        click.option("--default-branch", default="", metavar="BRANCH",
                     help="The default branch; else git says, else main or master."),
        click.option("--opens", is_flag=True, help="Open and reopen items on any branch."),
        click.option(
            "-p",
            "--priority",
            type=Choice(PRIORITIES, case_sensitive=False),
            metavar="P0…P3",
            help="One priority for all of it.",
        ),
        click.option("--severity", "severities", multiple=True, metavar="WORD=P1",
                      help="The priority of one severity, over the table of docs/guides/reports.md."),
        click.option("--map", "mapping", multiple=True, metavar="FIELD=COLUMN",
                      help="For drafts as CSV or JSON: which column fills a field."),
        click.option("--strict-keys", is_flag=True,
                     help="Refuse drafts whose keys hold what changes: timestamps, line numbers, ids of runs …"),
        click.option("--due", default="", metavar="P0=2,P1=14", help="Days until what it opens is due, by priority."),
        click.option("--no-due", is_flag=True, help="What it opens gets no due date, nor one of the policy."),
        click.option("--baseline", is_flag=True,
                     help="A first report, taken in quietly: tagged baseline, nothing is due."),
        click.option("--complete", is_flag=True,
                     help="This is all there is to see of the service: what it and the complete report before it do "
                     "not name is closed, within bounds (docs/guides/runs.md)."),
        click.option("--expect", "expected", type=click.IntRange(min=0), metavar="N",
                     help="With --complete: how many findings there are; with fewer, it proves nothing."),
        click.option("--run", "run", default="", metavar="RUN", callback=not_empty,
                     help="The run that it is part of (`backlog run begin`)."),
        click.option("--rule", "rules", multiple=True, metavar="NAME",
                     help="With --complete: the only rules that were looked for; may be given several times."),
    )):  # fmt: skip
        function = decorate(function)
    return function


def name_of(file: BinaryIO) -> str:
    """
    Return what a file is called.
    """
    opened = str(getattr(file, "name", "-"))
    return "stdin" if opened in ("-", "<stdin>") else Path(opened).name


def take_in_files(app: App, files: Sequence[BinaryIO], context: ReportContext, taking: Taking, *, format: str = "",
                  planner: Callable[[Backlog], Planner] | None = None) -> tuple[Account, Format]:  # fmt: skip
    """
    Read reports one after the other and take them in as one; return the account, and the format of the last one.

    What cannot be read as a whole fails before its first finding: no store is made for it, nor for what holds nothing
    but refusals. *planner* makes what decides without writing.
    """
    from backlog_store.cli.progress import watched

    formats: list[Format] = []

    def read() -> Iterator[Parsed]:
        for file in files:
            with watched(file, name_of(file)) as stream:
                found, parsed = read_report(stream, context, format=format)
                formats.append(found)
                yield from parsed

    parsed = read()
    first: list[Parsed] = []
    for one in parsed:
        first.append(one)
        if isinstance(one, Finding):
            break
    kinds = {type(one) for one in first}
    if Refusal in kinds and Finding not in kinds:
        backlog = open_backlog("memory://", actor=app.actor, lazily=True)
    else:
        backlog = app.reading() if planner is not None else app.writing()
    made = planner(backlog) if planner is not None else None
    account = take_in(backlog, chain(first, parsed), taking, planner=made)
    return account, formats[-1]


def context_of(app: App, given: dict[str, Any]) -> ReportContext:
    """
    Return what the options, the settings and the repository around say of a report.
    """
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
        strict_keys=given["strict_keys"],
    )


def plain_context(app: App, env: str, service: str) -> ReportContext:
    """
    Return what the settings and the repository around say of a report, and these two options.
    """
    given = {"service": service, "env": env, "ref": "", "source": "", "category": "", "priority": "", "severities": (),
             "mapping": (), "tags": (), "strict_keys": False}  # fmt: skip
    return context_of(app, given)


def _pairs(texts: tuple[str, ...], option: str) -> dict[str, str]:
    pairs = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (name and equals and value):
            raise click.UsageError(f"{option} {text!r}: give NAME=VALUE.")
        pairs[name.strip()] = value.strip()
    return pairs


def how(app: App, given: dict[str, Any], context: ReportContext, name: str, *, dry_run: bool) -> Taking:
    """
    Return how a report is to be taken in.
    """
    from backlog_store.cli import repo

    try:
        fail_on = tuple(FailOn.parse(part) for text in given.get("fail_on", ()) for part in text.split(","))
    except ValueError as error:
        raise click.UsageError(f"--fail-on {error}.") from error
    opens = given["opens"] or opens_on(given["ref"], ())
    if not opens:
        main = branch_of(given["default_branch"]) or repo.default_branch()
        opens = opens_on(given["ref"], (main,) if main else MAIN)
    return Taking(
        opens=opens,
        baseline=given["baseline"],
        due_days={} if given["no_due"] else due_days_of(given["due"] or app.settings.get("due"), where="--due"),
        undated=given["no_due"],
        dry_run=dry_run,
        request_id=given.get("request_id", ""),
        fail_on=fail_on,
        proof=f"resolved, says {name}",
        run=_run(app, given, context, opens=opens),
    )


def _run(app: App, given: dict[str, Any], context: ReportContext, *, opens: bool) -> RunPlan | None:
    def wrong(name: str, why: str) -> None:
        raise click.UsageError(f"--{name}: {why.replace('`opens`', '`--opens`')}.")  # as an option is said here

    return run_plan_of(
        context, named=given["run"], complete=given["complete"], expected=given["expected"], rules=given["rules"],
        opens=opens, find=lambda name: app.reading().run(name), wrong=wrong,
    )  # fmt: skip
