"""
`backlog policy`.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import click

from backlog_store.cli.app import App, pass_app
from backlog_store.cli.command import group
from backlog_store.cli.items import json_text
from backlog_store.cli.options import id_argument, json_option, message_option
from backlog_store.cli.policyfile import Trial, differs_from, load_file, on_trial
from backlog_store.cli.previewed import carry_out, check_token, keep, token_option
from backlog_store.cli.text import neutral, paint, plural, table
from backlog_store.codec import from_builtins, to_builtins
from backlog_store.commands import ApplyPolicy, Outcome
from backlog_store.errors import EXIT_CODES, Fault, InvalidInput, NotFound, RevisionConflict
from backlog_store.model import CURRENT_POLICY, Record
from backlog_store.policy import record_id, rule_name
from backlog_store.policy.loading import Loaded, format_of
from backlog_store.policy.stored import Kept
from backlog_store.rules.backtest import Difference
from backlog_store.rules.policies import policy_in_force

__all__ = ["policy"]

_SHOWN = 20


@group("policy")
def policy() -> None:
    """
    The rules in force: workflow, priorities, owners, suppression and more, as one file under version control.
    """


@policy.command("check", examples=("backlog policy check policy.yaml",))
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@json_option
@pass_app
def check(app: App, file: Path, as_json: bool) -> None:
    """
    Check a policy file completely: each fault with its line, a caret and what was probably meant.

    Needs no store. Exits with 1 if there is a fault; warnings are told.
    """
    loaded = load_file(file)
    if as_json:
        app.out(json_text(app, {"ok": not loaded.faults, "faults": _plain(loaded.faults),
                                "warnings": _plain(loaded.warnings)}))  # fmt: skip
    else:
        for line in loaded.drawn(str(file)):
            app.out(neutral(line))
        faults, warnings = len(loaded.faults), len(loaded.warnings)
        if not faults:
            app.out(paint("sound", "green", on=app.colored) + (f", {plural(warnings, 'warning')}" if warnings else ""))
        else:
            app.say(f"{plural(faults, 'fault')}, {plural(warnings, 'warning')}")
    if loaded.faults:
        raise click.exceptions.Exit(1)


@policy.command("show", examples=("backlog policy show", "backlog policy show --history",
                                  "backlog policy show --revision 3 > policy.yaml"))  # fmt: skip
@click.option("--history", is_flag=True, help="List every revision: when, by whom and why.")
@click.option("--revision", type=click.IntRange(min=1), default=None, metavar="N", help="The text of an older one.")
@json_option
@pass_app
def show(app: App, history: bool, revision: int | None, as_json: bool) -> None:
    """
    Print the policy in force, as its file was applied; who applied it is told beside it.
    """
    backlog = app.reading()
    now = backlog.read(policy_in_force).revision
    if history:
        kept = [_kept(record) for record in _revisions(app)]
        rows = [[f"{one.revision}{' (in force)' if one.revision == now else ''}", one.at[:16], one.by, one.name,
                 one.message] for one in kept]  # fmt: skip
        plain = [{"revision": one.revision, "at": one.at, "by": one.by, "name": one.name, "message": one.message,
                  "digest": one.digest} for one in kept]  # fmt: skip
        if as_json:
            app.out(json_text(app, plain))
        elif rows:
            app.show(table(rows, head=("revision", "applied", "by", "file", "why"), room=app.room, color=app.colored))
        else:
            app.say("No policy was ever applied: the built-in one is in force.")
        return
    wanted = revision or now
    if not wanted:
        app.out(json_text(app, {"revision": 0, "document": {}})) if as_json else None
        app.say("The built-in policy is in force. `backlog policy apply FILE` puts another one in force.")
        return
    record = backlog.read(lambda reader: reader.records("policy", [record_id(wanted)])).get(record_id(wanted))
    if record is None:
        raise NotFound("policy", str(wanted), hint="`backlog policy show --history` lists the revisions.")
    one = _kept(record)
    if as_json:
        app.out(json_text(app, to_builtins(one)))
        return
    app.say(f"revision {one.revision}, applied at {one.at[:16]} by {neutral(one.by)}"
            + (f": {neutral(one.message)}" if one.message else ""))  # fmt: skip
    app.out(one.text.rstrip("\n"))


def _revisions(app: App) -> Iterator[Record]:
    return (record for record in app.backlog.records("policy") if record.id != CURRENT_POLICY)


def _kept(record: Record) -> Kept:
    return from_builtins(record.body, Kept)


@policy.command("explain", examples=("backlog policy explain k3jq7a2m",))
@id_argument
@json_option
@pass_app
def explain(app: App, id: str, as_json: bool) -> None:
    """
    Say why an item has its priority, owner and due date, and where it may go: which rule, which line.
    """
    from backlog_store.cli.clocks import in_words, step_in_words
    from backlog_store.rules.escalating import steps_of
    from backlog_store.rules.explaining import reasons, ways
    from backlog_store.rules.sla import sla_of

    backlog = app.reading()
    item = app.item(id)
    in_force = backlog.read(policy_in_force)
    trail = backlog.trail(item.id)
    found = list(reasons(item, trail, in_force, app.now()))
    clocks = sla_of(item, trail, in_force, app.now())
    steps = steps_of(item, trail, in_force, app.now())
    roads = list(ways(item, in_force, app.actor))
    if as_json:
        app.out(json_text(app, {"id": item.id, "policy": in_force.revision, "reasons": [to_builtins(r) for r in found],
                                "ways": [to_builtins(way) for way in roads],
                                "sla": [to_builtins(clock) for clock in clocks],
                                "escalation": [to_builtins(step) for step in steps]}))  # fmt: skip
        return
    app.out(f"{item.id}  {neutral(item.title)}")
    for reason in found:
        name = {"due_date": "due"}.get(reason.field, reason.field)
        when = f"  [since {reason.set_at[:16]}, policy {reason.policy_then}]" if reason.set_at else ""
        app.out(f"  {name:9} {neutral(reason.value) or 'none':12} {neutral(reason.why)}{when}")
        if reason.next:
            app.out(f"  {'':9} {'':12} its next report makes it {neutral(reason.next)}")
    for clock in clocks:
        app.out(f"  {clock.clock:10} {clock.state:9} {neutral(in_words(clock))}")
    for step in steps:
        app.out(f"  {neutral(step.step):10} {step.state:9} {neutral(step_in_words(step))}")
    for way in roads:
        what = f"close as {way.reason}" if way.reason else f"move to {way.to}"
        app.out(f"  {what:22} {neutral(way.refused) or 'open to ' + app.actor.name}")


@policy.command("test", examples=("backlog policy test policy.yaml", "backlog policy test policy.yaml --on trivy.json"))
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--on", "reports", multiple=True, type=click.File("rb"), metavar="REPORT",
              help="A report: what would become of it is compared, too; may be given several times.")  # fmt: skip
@click.option("-s", "--service", default="", metavar="NAME", help="The service that the reports are about.")
@click.option("--env", default="", metavar="NAME", help="The env, where a report names none.")
@json_option
@pass_app
def test(app: App, file: Path, reports: Sequence[BinaryIO], service: str, env: str, as_json: bool) -> None:
    """
    Tell what a policy would decide differently from the one in force, for the live items and for reports.

    Rules that match nothing of it are told. Nothing is written.
    """
    loaded = _sound(app, file)
    trial = on_trial(app, loaded, reports, service=service, env=env)
    _tell_trial(app, trial, file, as_json=as_json)


@policy.command("apply", examples=("backlog policy apply policy.yaml -m 'security owns its findings'",))
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("-n", "--dry-run", is_flag=True, help="Show what would change, and change nothing.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option("--if-revision", type=click.IntRange(min=0), default=None, metavar="N",
              help="Only if this revision is still in force (0: the built-in policy).")  # fmt: skip
@token_option
@message_option
@json_option
@pass_app
def apply(app: App, file: Path, dry_run: bool, yes: bool, if_revision: int | None, token: str, message: str,
          as_json: bool) -> None:  # fmt: skip
    """
    Put a policy in force, after showing what it changes. Only a person does this.

    It is refused if another policy came into force since the preview. Priorities and owners of items follow with their
    next reports.
    """
    loaded = _sound(app, file)
    backlog = app.reading()
    trial = on_trial(app, loaded, (), service="", env="")
    if if_revision is not None and if_revision != trial.revision:
        raise RevisionConflict("policy", expected=if_revision, found=trial.revision,
                               detail=f"revision {trial.revision} is in force, not {if_revision}")  # fmt: skip
    body = ApplyPolicy(text=loaded.text, over=trial.revision, format=format_of(file.name),
                       name=file.name, files=loaded.files, message=message)  # fmt: skip
    planner = backlog.planner()
    if dry_run or token:
        outcome = planner.execute(body).outcomes[0]
        if dry_run:
            _tell_preview(app, trial, file, outcome, keep(app, planner), as_json=as_json)
            return
        check_token(app, planner, token)
    if not as_json:
        _tell_trial(app, trial, file, as_json=False)
    app.confirm(f"Put {file} in force over revision {trial.revision}?", yes=yes)
    app.writing(body)
    outcome = (carry_out(app, planner) if token else app.backlog.execute(body)).outcomes[0]
    if as_json:
        app.out(json_text(app, {"verdict": outcome.verdict, "revision": outcome.revision, **_trial_data(trial)}))
    else:
        app.out(f"in force  revision {outcome.revision}" + (" already" if outcome.verdict == "unchanged" else ""))
    told = differs_from(app)
    if told:
        app.say(f"{paint('warning', 'yellow', on=app.colors(sys.stderr))}  {told}")


def _tell_preview(app: App, trial: Trial, file: Path, outcome: Outcome, token: str, *, as_json: bool) -> None:
    if as_json:
        app.out(json_text(app, {"dry_run": True, "token": token, "verdict": outcome.verdict, **_trial_data(trial)}))
        return
    _tell_trial(app, trial, file, as_json=False)
    next_step = ", and this is it." if outcome.verdict == "unchanged" else f". Exactly this: --yes --token {token}"
    app.say(f"Nothing was written; revision {trial.revision} is in force{next_step}")


@policy.command("suppressed", examples=("backlog policy suppressed",))
@json_option
@pass_app
def suppressed(app: App, as_json: bool) -> None:
    """
    List what windows of suppression held back: each problem, how often it was reported, and until when.
    """
    records = list(app.reading().records("suppressed"))
    if as_json:
        app.out(json_text(app, [dict(record.body) for record in records]))
        return
    if not records:
        app.say("No window has held anything back.")
        return
    rows = [[one["window"], one["until"][:16], f"{one['n']}", one["last_at"][:16], one["priority"], one["source"],
             one["title"]] for one in (record.body for record in records)]  # fmt: skip
    head = ("window", "until", "times", "last seen", "priority", "source", "title")
    app.show(table(rows, head=head, room=app.room, color=app.colored))


def _sound(app: App, file: Path) -> Loaded:
    """
    Load a file that has to be sound, and draw what is wrong or odd. Raises `InvalidInput` where JSON was asked for.
    """
    loaded = load_file(file)
    if app.json and loaded.faults:
        faults = [Fault(one.pointer, one.place, one.text) for one in loaded.faults]
        raise InvalidInput(faults, what=f"policy {file}", hint="Nothing was done.")
    for line in loaded.drawn(str(file)) if not app.json else ():
        app.say(neutral(line))
    if loaded.faults:
        app.say(f"{plural(len(loaded.faults), 'fault')}; nothing was done")
        raise click.exceptions.Exit(EXIT_CODES[InvalidInput])
    return loaded


def _plain(findings: Sequence[Any]) -> list[dict[str, Any]]:
    return [{"pointer": one.pointer, "file": one.file, "line": one.mark.line if one.mark else 0,
             "column": one.mark.column if one.mark else 0, "reason": one.reason, "suggestion": one.suggestion}
            for one in findings]  # fmt: skip


def _trial_data(trial: Trial) -> dict[str, Any]:
    return {
        "over": trial.revision,
        "items": trial.items,
        "findings": trial.drafts,
        "differences": [to_builtins(one) for one in trial.differences],
        "idle": _plain(trial.idle),
    }


def _tell_trial(app: App, trial: Trial, file: Path, *, as_json: bool) -> None:
    if as_json:
        app.out(json_text(app, _trial_data(trial)))
        return
    looked = plural(trial.items, "live item") + (f" and {plural(trial.drafts, 'finding')}" if trial.drafts else "")
    moved = [one for one in trial.differences if not one.held_by]
    app.out(f"{neutral(str(file))} against revision {trial.revision}, on {looked}: "
            f"{plural(len(moved), 'difference')}")  # fmt: skip
    counts = Counter((one.field, one.before or "none", one.after or "none") for one in moved)
    rows = [[f"{count:,}", field, f"{before} -> {after}"]
            for (field, before, after), count in sorted(counts.items(), key=lambda one: (-one[1], one[0]))]  # fmt: skip
    for line in table(rows[:_SHOWN], color=app.colored, indent="  "):
        app.out(line)
    if len(rows) > _SHOWN:
        app.out(f"  … and {len(rows) - _SHOWN} more kinds (--json lists all)")
    for line in table([_row(one) for one in moved[:_SHOWN]], room=app.room, color=app.colored, indent="  "):
        app.out(line)
    if len(moved) > _SHOWN:
        app.out(f"  … and {len(moved) - _SHOWN:,} more (--json lists all)")
    stay = len(trial.differences) - len(moved)
    if stay:
        app.out(f"  {plural(stay, 'value')} held by people would differ, and stand")
    for finding in trial.idle:
        for line in finding.drawn(str(file), trial.lines):
            app.say(neutral(line))


def _row(one: Difference) -> list[str]:
    rule = rule_name(one.because.get("rule", "")) or one.because.get("why", "")
    line = f", line {one.because['line']}" if "line" in one.because else ""
    return [one.id, one.field, f"{one.before or 'none'} -> {one.after or 'none'}", f"{rule}{line}", one.title]
