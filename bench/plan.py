"""
Measure planning a complete run of many findings against a backlog, and importing the same run, which the plan foresaw.

Half of the findings are known to the backlog, half are new; as many known ones as a tenth of them are missing. The plan
is decided first, on what is there; then the same findings are imported. The ratio is to be at most 3.

With `--copy FILE` SQLite begins as a copy of a store that is filled already, as `--keep` of the other benchmarks leaves
one; `--items` are filled on top of it.
"""

from __future__ import annotations

import argparse
import gc
import shutil
from collections.abc import Sequence
from pathlib import Path

from msgspec.structs import replace

from backlog_store import commands as c
from backlog_store import open_backlog
from backlog_store.backlog import Backlog
from backlog_store.model import LIMITS, Draft
from bench.backlogs import drafts
from bench.harness import table, temporary_folder, timed

__all__ = ["measure"]

_CHUNK = LIMITS.drafts_per_command
_SERVICE = "checkout"


def _findings(first: int, count: int) -> list[Draft]:
    made = drafts(count, seed=first, first=first)
    return [
        replace(draft, service=_SERVICE, dedupe_key=f"scan:{_SERVICE}:{first + at}") for at, draft in enumerate(made)
    ]


def _chunks(some: Sequence[Draft]) -> list[tuple[Draft, ...]]:
    return [tuple(some[start : start + _CHUNK]) for start in range(0, len(some), _CHUNK)]


def _fill(backlog: Backlog, items: int, known: Sequence[Draft]) -> None:
    for number in range(0, items, _CHUNK):
        others = drafts(min(_CHUNK, items - number), seed=number, first=number)
        for _ in backlog.report(replace(draft, source="monitor") for draft in others):
            pass
    with backlog.begin_run("scanner", services=[_SERVICE], name="before") as run:
        for _ in run.report(known):
            pass
        run.complete()


def _plan(backlog: Backlog, some: Sequence[Draft]) -> dict[str, int]:
    planner = backlog.planner()
    scope = c.RunScope(services=(_SERVICE,))
    run = planner.execute(c.BeginRun(source="scanner", scope=scope, name="now")).outcomes[0].id
    counts: dict[str, int] = {}
    answers = [planner.execute(c.Report(drafts=chunk, run=run)) for chunk in _chunks(some)]
    answers.append(planner.execute(c.CompleteRun(run=run, source="scanner")))
    for answer in answers:
        for verdict, count in answer.counts().items():
            counts[verdict] = counts.get(verdict, 0) + count
    planner.plan()
    return counts


def _import(backlog: Backlog, some: Sequence[Draft]) -> None:
    with backlog.begin_run("scanner", services=[_SERVICE], name="now") as run:
        for _ in run.report(some):
            pass
        run.complete()


def measure(items: int, findings: int, names: Sequence[str], copied: Path | None = None) -> str:
    """
    Return the table: items of the store, seconds of the plan and of the import, and their ratio.
    """
    known = _findings(0, findings // 2 + findings // 10)
    some = [*known[findings // 10 :], *_findings(len(known), findings - findings // 2)]
    lines = []
    with temporary_folder() as folder:
        urls = {
            "sqlite": f"sqlite://{folder / 'plan.db'}",
            "jsonl": f"jsonl://{folder / 'plan'}",
            "memory": "memory://",
        }
        if copied is not None:
            shutil.copy(copied, folder / "plan.db")
        for name in names:
            with open_backlog(urls[name]) as backlog:
                _fill(backlog, items, known)
                size = backlog.tally().get((), 0)
                gc.collect()
                counts: list[dict[str, int]] = []
                planned = timed(lambda backlog=backlog, counts=counts: counts.append(_plan(backlog, some)))  # type: ignore[misc]
                gc.collect()
                imported = timed(lambda backlog=backlog: _import(backlog, some))  # type: ignore[misc]
            told = ", ".join(f"{count:,} {verdict}" for verdict, count in sorted(counts[0].items()))
            lines.append((name, f"{size:,}", f"{planned:.1f}", f"{imported:.1f}", f"{planned / imported:.2f}", told))
    return table(("backend", "items", "plan s", "import s", "plan / import", "decisions"), lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=50_000)
    parser.add_argument("--findings", type=int, default=10_000)
    parser.add_argument("--backends", default="sqlite,memory")
    parser.add_argument("--copy", type=Path, metavar="FILE", help="an SQLite store to begin with")
    arguments = parser.parse_args()
    print(measure(arguments.items, arguments.findings, arguments.backends.split(","), arguments.copy))
