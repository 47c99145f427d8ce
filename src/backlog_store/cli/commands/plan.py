"""
`backlog plan` and `backlog apply`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import click

from backlog_store.backlog import Backlog
from backlog_store.cli.app import App, pass_app
from backlog_store.cli.command import command
from backlog_store.cli.items import json_text
from backlog_store.cli.options import json_option, not_empty
from backlog_store.cli.planfiles import find_plan, keep_plan, write_plan
from backlog_store.cli.reports import context_of, how, name_of, report_options, take_in_files
from backlog_store.cli.runtold import run_words
from backlog_store.cli.text import neutral, paint, plural, table
from backlog_store.cli.writing import changes_in_words, say_undo
from backlog_store.planning import Plan, Planner
from backlog_store.taking import Account, applied_as_data, changes_of, counts_of, plan_as_data

__all__ = ["apply", "plan"]

_SHOWN = 20
#: With --detailed-exitcode: there is something to do.
_CHANGES = 10
#: The sign, the word, the verdict and the colour of each kind of change.
_KINDS = (
    ("+", "create", "created", "green"), ("^", "reopen", "reopened", "yellow"), ("~", "change", "updated", "yellow"),
    ("-", "close", "closed", "red"),
)  # fmt: skip


@command("plan", examples=(
    "backlog plan ruff.sarif --service checkout --complete",
    "backlog plan trivy.json pip-audit.json --service checkout --json",
    "backlog plan ruff.sarif --service checkout --complete --detailed-exitcode --out checkout.plan",
))  # fmt: skip
@click.argument("files", type=click.File("rb"), nargs=-1, required=True, metavar="REPORT...")
@report_options
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
              help="Write the plan to a file, to be applied elsewhere: backlog apply FILE.")  # fmt: skip
@click.option("--detailed-exitcode", is_flag=True, help="Exit with 10 if there is something to do, with 0 if not.")
@json_option
@pass_app
def plan(app: App, files: Sequence[BinaryIO], format_: str | None, out: Path | None, detailed_exitcode: bool,
         as_json: bool, **given: Any) -> None:  # fmt: skip
    """
    Show what reports would create, change, reopen and close, and why; write nothing. `backlog apply` then does it.

    The decisions are those of `backlog report`. The token that is printed stands for them and for the revisions they
    rest on: `backlog apply TOKEN` does exactly that, or refuses and shows what changed.
    """
    name = ", ".join(map(name_of, files))
    context = context_of(app, given)
    planners: list[Planner] = []

    def planner(backlog: Backlog) -> Planner:
        planners.append(Planner(backlog))
        return planners[0]

    account, format = take_in_files(app, files, context, how(app, given, context, name, dry_run=True),
                                    format=format_ or "", planner=planner)  # fmt: skip
    made = planners[0].plan({"reports": [name_of(file) for file in files]})
    if out is None:
        keep_plan(app, made)
    else:
        with out.open("wb") as file:
            write_plan(file, made)
    rows = changes_of(account)
    if as_json:
        app.out(json_text(app, plan_as_data(account, made, rows, str(out) if out is not None else "")))
    else:
        about = ", ".join(sorted(map(neutral, filter(None, account.services))))
        app.out(f"{neutral(name)}: {plural(account.findings, 'finding')}{f' about {about}' if about else ''} "
                f"({format.title})")  # fmt: skip
        _print(app, account, made, rows, out)
    if account.refused:
        raise click.exceptions.Exit(1)
    if detailed_exitcode and rows:
        raise click.exceptions.Exit(_CHANGES)


def _print(app: App, account: Account, made: Plan, rows: Sequence[dict[str, Any]], out: Path | None) -> None:
    for sign, word, verdict, style in _KINDS:
        of_kind = [row for row in rows if row["verdict"] == verdict]
        details = [_detail(row) for row in of_kind[:_SHOWN]]
        cells = [[f"  {sign} {word}", str(row["priority"]), str(row["id"]), str(row["title"]), detail]
                 for row, detail in zip(of_kind, details, strict=False)]  # fmt: skip
        if not any(details):
            cells = [cell[:-1] for cell in cells]  # the title is the last one, and cut to fit
        for line in table(cells, room=app.room, color=app.colored, styles=[[style]] * len(cells)):
            app.out(line)
        if len(of_kind) > _SHOWN:
            app.out(f"    … and {len(of_kind) - _SHOWN:,} more to {word} (--json lists all)")
    for run in account.runs:
        app.out(run_words(app, run))
        reasons = Counter(one.outcome.why for one in run.outcomes if one.outcome.verdict == "held")
        for why, count in reasons.most_common(_SHOWN):
            app.out(f"    {paint('held back', 'dim', on=app.colored)}  {plural(count, 'item')}: {neutral(why)}")
    for reason, count in Counter(reason for _, reason in account.refused).most_common(_SHOWN):
        app.say(f"{plural(count, 'finding')} refused: {neutral(reason)}")
    counts = counts_of(account, rows)
    to_do = ", ".join(f"{counts[verdict]:,} to {word}" for _, word, verdict, _ in _KINDS if counts[verdict])
    rest = ", ".join(f"{counts[verdict]:,} {'held back' if verdict == 'held' else verdict}"
                     for verdict in ("unchanged", "suppressed", "held", "refused") if counts[verdict])  # fmt: skip
    app.out(f"Plan: {to_do or 'nothing to do'}" + (f"; {rest}" if rest else "") + ".")
    app.say(f"apply with: backlog apply {made.token if out is None else out}")


def _detail(row: dict[str, Any]) -> str:
    changes = changes_in_words(row["changes"]) if row["verdict"] == "updated" else []
    return "; ".join([*changes, *([neutral(str(row["why"]))] if row["why"] else [])])


@command("apply", examples=("backlog apply k3jq7a2m4d6f8h2a", "backlog apply checkout.plan"))
@click.argument("plan", metavar="TOKEN|FILE", callback=not_empty)
@json_option
@pass_app
def apply(app: App, plan: str, as_json: bool) -> None:
    """
    Do exactly what a plan showed, as one batch; or refuse, and show what changed since.

    Every decision is made again before anything is written. Applying the same plan twice changes nothing more.
    """
    found = find_plan(app, plan)
    applied = app.writing().apply(found)
    data = applied_as_data(found, applied)
    if as_json:
        app.out(json_text(app, data))
        return
    if applied.again:
        app.say(f"The plan {found.token} was applied before; nothing changed.")
        return
    for verdict, count in data["counts"].items():
        app.out(f"  {count:>7,} {verdict}")
    if data["outcomes"]:
        say_undo(app, applied.batch)
