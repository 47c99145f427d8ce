"""
Telling what became of runs.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence

from backlog_store.cli.app import App
from backlog_store.cli.text import neutral, paint, plural
from backlog_store.shown import RUN_STATES as STATES
from backlog_store.taking import RunTold

__all__ = ["STATES", "print_runs", "run_words"]

_SHOWN = 20
_STYLES = {"completed": "green", "parked": "yellow", "empty": "yellow", "short": "yellow", "aborted": "yellow"}


def run_words(app: App, run: RunTold) -> str:
    """
    Return what became of a run, in a line.
    """
    state = paint(STATES.get(run.state, run.state), _STYLES.get(run.state, "bold"), on=app.colored)
    why = f" ({neutral(run.why)})" if run.why else ""
    return f"  run {neutral(run.id)} of {neutral(run.source)}: {state}{why}"


def print_runs(app: App, runs: Sequence[RunTold]) -> None:
    """
    Print what became of each run, what it closed and reopened, and why it held back.
    """
    for run in runs:
        app.out(run_words(app, run))
        counts = run.counts()
        words = {"closed": "closed for their absence", "reopened": "reopened", "updated": "no longer seen, kept open",
                 "held": "held back"}  # fmt: skip
        for verdict, told in words.items():
            if counts[verdict]:
                reasons = Counter(one.outcome.why for one in run.outcomes if one.outcome.verdict == verdict)
                why = ", ".join(f"{count:,} {neutral(reason)}" for reason, count in reasons.most_common(3) if reason)
                app.out(f"  {counts[verdict]:>7,} {told}" + (f"  ({why})" if why else ""))
        for one in [one for one in run.outcomes if one.outcome.verdict in ("closed", "reopened")][:_SHOWN]:
            title = neutral(one.outcome.item.title) if one.outcome.item is not None else ""
            app.out(f"          {one.outcome.verdict}  {one.outcome.id}  {title}")
        if run.state == "parked":
            word = paint("parked", "yellow", on=app.colors(sys.stderr))
            app.say(f"{word}  look with `backlog run show {run.id}`; then accept or reject it.")
        elif run.state == "begun" and run.why:
            app.say(f"The run goes on: backlog run complete {run.id}")
        if run.state == "empty":
            app.say(f"If there is truly nothing left, a person says so: backlog run accept {run.id}")
    if any(run.state == "short" for run in runs):
        app.say(f"{plural(sum(run.state == 'short' for run in runs), 'short run')}: nothing is closed by it.")
