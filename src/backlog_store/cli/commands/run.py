"""
`backlog run`: begin, complete, abort, list, show, accept, reject.
"""

from __future__ import annotations

import click

from backlog_store import commands as c
from backlog_store.cli.app import App, pass_app
from backlog_store.cli.command import group
from backlog_store.cli.items import json_text
from backlog_store.cli.options import json_option, message_option, not_empty
from backlog_store.cli.runtold import STATES, print_runs
from backlog_store.cli.text import neutral, plural, table
from backlog_store.cli.writing import say_undo
from backlog_store.planning import Planned
from backlog_store.rules.lanes import Run
from backlog_store.running import Ended, end_run
from backlog_store.taking import RunTold, run_as_data, runs_as_data

__all__ = ["run"]

_SHOWN = 20
_source_option = click.option("--source", default="", metavar="NAME", callback=not_empty,
                              help="Who ends it: refused if it is a run of another source.")  # fmt: skip


@group("run", examples=(
    "RUN=$(backlog run begin --source ruff --service checkout)",
    "backlog report part-1.sarif --run $RUN && backlog report part-2.sarif --run $RUN",
    "backlog run complete $RUN --expect 78",
))  # fmt: skip
def run() -> None:
    """
    Runs: who looked at what, and what that proves. A report that is a run of its own: `backlog report --complete`.
    """


@run.command("begin")
@click.option("--source", required=True, metavar="NAME", help="Who looks: the tool's name, as in its reports.")
@click.option("-s", "--service", "services", multiple=True, metavar="NAME",
              help="A service or repository that is looked at; may be given several times.")  # fmt: skip
@click.option("--env", default="", metavar="NAME", help="The env that is looked at.")
@click.option("--ref", default="", metavar="BRANCH",
              help="The branch, where several are looked at: each closes what was last seen on its own.")  # fmt: skip
@click.option("--rule", "rules", multiple=True, metavar="NAME",
              help="The only rules that are looked for; may be given several times.")  # fmt: skip
@click.option(
    "--name", default="", metavar="NAME", help="Your own name of it, like a CI job's: the same begins it once."
)
@json_option
@pass_app
def begin(app: App, source: str, services: tuple[str, ...], env: str, ref: str, rules: tuple[str, ...], name: str,
          as_json: bool) -> None:  # fmt: skip
    """
    Begin a run and print its id: a pass of one source over a scope.
    """
    from backlog_store.cli import repo

    named = services or tuple(filter(None, (app.settings.get("service") or repo.remote_name(),)))
    if not named:
        raise click.UsageError("What is looked at? Name it with --service.")
    scope = c.RunScope(services=named, env=env or app.settings.get("env") or "prod", ref=ref, rules=rules)
    body = c.BeginRun(source=source, scope=scope, name=name)
    outcome = app.writing(body).acting_as(source).execute(body).outcomes[0]
    if as_json:
        app.out(json_text(app, {"id": outcome.id, "state": outcome.verdict, "why": outcome.why}))
    else:
        app.out(outcome.id)


@run.command("complete")
@click.argument("name", metavar="RUN")
@click.option("--expect", "expected", type=click.IntRange(min=0), metavar="N",
              help="How many findings were to be reported in it; with fewer, it proves nothing.")  # fmt: skip
@_source_option
@json_option
@pass_app
def complete(app: App, name: str, expected: int | None, source: str, as_json: bool) -> None:
    """
    Say that a run looked at all of its scope: what it and the complete run before it did not see is closed.
    """
    id, found = app.reading().run(name)
    body = c.CompleteRun(run=id, source=source or found.source, expected_count=expected)
    _tell(app, end_run(app.backlog.acting_as(found.source), body), found.source, as_json=as_json)


@run.command("abort")
@click.argument("name", metavar="RUN")
@click.option("-m", "--message", required=True, metavar="TEXT", help="Why it failed.")
@_source_option
@json_option
@pass_app
def abort(app: App, name: str, message: str, source: str, as_json: bool) -> None:
    """
    Say that a run failed: it proves nothing. What it did report stays reported.
    """
    id, found = app.reading().run(name)
    body = c.AbortRun(run=id, source=source or found.source, reason=message)
    _tell(app, end_run(app.backlog.acting_as(found.source), body), found.source, as_json=as_json)


@run.command("accept")
@click.argument("name", metavar="RUN")
@message_option
@json_option
@pass_app
def accept(app: App, name: str, message: str, as_json: bool) -> None:
    """
    Let a parked run close and reopen what it was parked with; or say that an empty or short one was complete.
    """
    _, found = app.reading().run(name)
    _tell(app, app.backlog.accept_run(name, message=message), found.source, as_json=as_json)


@run.command("reject")
@click.argument("name", metavar="RUN")
@message_option
@json_option
@pass_app
def reject(app: App, name: str, message: str, as_json: bool) -> None:
    """
    Say that a parked run proves nothing; what it reported stays reported.
    """
    _, found = app.reading().run(name)
    _tell(app, app.backlog.reject_run(name, message=message), found.source, as_json=as_json)


def _tell(app: App, ended: Ended, source: str, *, as_json: bool) -> None:
    outcomes = [Planned(outcome=outcome, changes={}) for outcome in ended.outcomes]
    told = RunTold(id=ended.id, source=source, state=ended.state, why=ended.why, outcomes=outcomes)
    if as_json:
        app.out(json_text(app, {**runs_as_data([told])[0], "batch": ended.batch}))
        return
    print_runs(app, [told])
    if any(outcome.verdict != "held" for outcome in ended.outcomes):
        say_undo(app, ended.batch)


@run.command("list")
@click.option("--state", type=click.Choice(list(STATES)), help="Only runs in this state.")
@click.option("--source", default="", metavar="NAME", help="Only runs of this source.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", default=20, show_default=True, help="How many.")
@json_option
@pass_app
def list_(app: App, state: str | None, source: str, limit: int, as_json: bool) -> None:
    """
    List runs, the newest first.
    """
    found = [
        (id, one)
        for id, one in app.reading().runs()
        if (state is None or one.state == state) and (not source or one.source == source)
    ]
    newest = sorted(found, key=lambda pair: (pair[1].started_at, pair[0]), reverse=True)[:limit]
    if as_json:
        app.out(json_text(app, [run_as_data(id, one) for id, one in newest]))
        return
    if not newest:
        app.say("No run was begun yet: `backlog report FILE --complete`, or `backlog run begin`.")
        return
    cells = [[id, f"{one.started_at[:10]} {one.started_at[11:16]}", neutral(one.source), _scope(one), one.state,
              _did(one)] for id, one in newest]  # fmt: skip
    app.show(table(cells, room=app.room, color=app.colored))


def _scope(one: Run) -> str:
    scope = one.scope
    services = ", ".join(map(neutral, scope.services[:3])) + (" …" if len(scope.services) > 3 else "")
    more = [f"ref {neutral(scope.ref)}"] if scope.ref else []
    more += [plural(len(scope.rules), "rule")] if scope.rules else []
    return f"{neutral(scope.env)}/{services}" + (f" ({', '.join(more)})" if more else "")


def _did(one: Run) -> str:
    if one.state == "parked":
        return f"would close {one.closes:,} and reopen {one.reopens:,} of {one.size:,}"
    parts = [f"{one.reported:,} reported"] if one.ended_at else []
    counts = {"closed": one.closed, "kept open": one.withdrawn, "reopened": one.reopened}
    parts += [f"{count:,} {word}" for word, count in counts.items() if count]
    return ", ".join(parts)


@run.command("show")
@click.argument("name", metavar="RUN")
@json_option
@pass_app
def show(app: App, name: str, as_json: bool) -> None:
    """
    Show a run; of a parked one, what it would close and reopen.
    """
    id, found = app.reading().run(name)
    closes, returns = app.backlog.proposals(id)
    if as_json:
        app.out(json_text(app, {**run_as_data(id, found), "would_close": [item.id for item in closes],
                                "would_reopen": [draft.dedupe_key for draft in returns]}))  # fmt: skip
        return
    why = f" ({neutral(found.why)})" if found.why else ""
    app.out(f"{id}: {STATES.get(found.state, found.state)}{why}")
    rows = [
        ["source", neutral(found.source)],
        ["scope", _scope(found)],
        ["began", f"{found.started_at}, by {neutral(found.by)}"],
        ["ended", found.ended_at],
        ["reported", f"{found.reported:,}" if found.ended_at else ""],
        ["expected", "" if found.expected is None else f"{found.expected:,}"],
        ["did", _did(found)],
        ["judged", f"{found.judged_at}, by {neutral(found.judged_by)}" if found.judged_by else ""],
        ["message", neutral(found.message)],
    ]
    for line in table([row for row in rows if row[1].strip()], room=app.room, color=app.colored):
        app.out(f"  {line}")
    for word, titles in (("close", [f"{item.id}  {item.priority}  {neutral(item.title)}" for item in closes]),
                         ("reopen", [f"{draft.priority}  {neutral(draft.title)}" for draft in returns])):  # fmt: skip
        for title in titles[:_SHOWN]:
            app.out(f"  would {word}  {title}")
        if len(titles) > _SHOWN:
            app.out(f"  … and {len(titles) - _SHOWN:,} more to {word} (--json lists all)")
