"""
The demonstration: real findings of real tools become a backlog, and people work it.

The reports beside this file are what ruff and bandit say of published releases; see reports/README.md for the command
that made them. Everything shown is the command line's own output, in the order in which it happens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from importlib.resources import as_file, files
from pathlib import Path

from backlog_store.intake import Finding, ReportContext, read_report

__all__ = ["moved", "reports", "run"]

#: Runs ``backlog ARGUMENTS`` on the demonstration's store and shows what it prints.
Invoke = Callable[[list[str]], object]
Say = Callable[[str], object]

_SERVICE = "gunicorn"
_OLD, _NEW = "gunicorn-20.1.0", "gunicorn-23.0.0"
_TOOLS = ("ruff", "bandit")


@contextmanager
def reports() -> Iterator[Path]:
    """
    Give the folder of the shipped reports.
    """
    with ExitStack() as stack:
        yield stack.enter_context(as_file(files(__name__) / "reports"))


def _places(path: Path) -> Mapping[str, frozenset[str]]:
    with path.open("rb") as stream:
        parsed = list(read_report(stream, ReportContext(service=_SERVICE))[1])
    found = [entry.draft for entry in parsed if isinstance(entry, Finding)]
    return {draft.dedupe_key: frozenset(map(str, draft.evidence_refs.get("locations", ()))) for draft in found}


def moved(folder: Path) -> tuple[int, int]:
    """
    Return how many findings both releases have, and how many of these stand on another line in the newer one.
    """
    both = elsewhere = 0
    for tool in _TOOLS:
        old, new = (_places(folder / f"{release}.{tool}.sarif") for release in (_OLD, _NEW))
        common = old.keys() & new.keys()
        both += len(common)
        elsewhere += sum(old[key] != new[key] for key in common)
    return both, elsewhere


def run(invoke: Invoke, say: Say) -> None:
    """
    Tell the story: report, report again, decide, report the next release, look.
    """
    with reports() as folder:
        say("1. Two scanners looked at gunicorn 20.1.0. Each finding becomes one item.")
        for tool in _TOOLS:
            invoke(["report", str(folder / f"{_OLD}.{tool}.sarif"), "--service", _SERVICE])
        say("2. They look again, as they do every night. Nothing is new, so nothing is written.")
        for tool in _TOOLS:
            invoke(["report", str(folder / f"{_OLD}.{tool}.sarif"), "--service", _SERVICE])
        say("3. What one fix clears is one line.")
        invoke(["list", "--by", "fix", "--limit", "6"])
        say("4. People decide, and it is remembered with who and why.")
        invoke(["close", "--query", 'source:bandit "try, except, pass"', "--reason", "false_positive",
                "--message", "a socket that is gone needs no handling", "--yes"])  # fmt: skip
        invoke(["assign", "ann", "--query", "source:bandit status:open", "--yes"])
        invoke(["snooze", "+14d", "--fix", "rule:B904:gunicorn/util.py", "--yes"])
        both, elsewhere = moved(folder)
        say(
            f"5. The next release, 23.0.0. It shares {both} findings with the old one, {elsewhere} of them on\n"
            "   other lines now. All are recognised, and what people decided stands."
        )
        for tool in _TOOLS:
            invoke(["report", str(folder / f"{_NEW}.{tool}.sarif"), "--service", _SERVICE])
        say("6. What is there now.")
        invoke(["list", "--query", "status:open", "--limit", "6"])
        invoke(["dashboard"])
