"""
`backlog doctor`.
"""

from __future__ import annotations

import platform
import sqlite3
import stat
import sys
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click
from msgspec import Struct, field

from backlog_store import __version__
from backlog_store.backends.registry import is_made
from backlog_store.cli.app import App, pass_app
from backlog_store.cli.command import command
from backlog_store.cli.items import json_text
from backlog_store.cli.options import json_option
from backlog_store.cli.text import neutral, paint, plural, table
from backlog_store.errors import EXIT_CODES, BackendError, BacklogError
from backlog_store.redacting import redacted
from backlog_store.settings import store_path

__all__ = ["doctor"]

#: Extras of the package, and the module that each brings.
_EXTRAS = {"postgres": "psycopg"}
_DEPENDENCIES = ("click", "filelock", "lark", "msgspec", "platformdirs", "PyYAML", "rich")
_JSONL_ITEMS = 100_000


class _Findings(Struct, kw_only=True):
    facts: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    repaired: dict[str, Any] | None = None


@command("doctor")
@click.option(
    "--repair",
    is_flag=True,
    help="Set damaged lines of a journal aside; make indexes of SQLite anew, or save its readable rows.",
)
@click.option("-y", "--yes", is_flag=True, help="With --repair: do not ask.")
@json_option
@pass_app
def doctor(app: App, repair: bool, yes: bool, as_json: bool) -> None:
    """
    Check the store, the settings and the installation. Exits with 6 if the store has a problem.
    """
    found = _Findings()
    _installation(found)
    try:
        _settings(app, found)
        if repair:
            _repair(app, found, yes=yes)
        _store(app, found)
    except BacklogError as error:
        found.problems.append(redacted(str(error)))
    if as_json:
        app.out(json_text(app, {"ok": not found.problems, "problems": found.problems, "warnings": found.warnings,
                                "facts": found.facts, "repaired": found.repaired}))  # fmt: skip
    else:
        _print(app, found)
    if found.problems:
        raise click.exceptions.Exit(EXIT_CODES[BackendError])


def _installation(found: _Findings) -> None:
    found.facts |= {
        "backlog-store": __version__,
        "python": f"{platform.python_version()} ({sys.executable})",
        "platform": platform.platform(),
        "sqlite library": sqlite3.sqlite_version,
        "dependencies": ", ".join(f"{name} {_version(name)}" for name in _DEPENDENCIES),
    }
    for extra, module in _EXTRAS.items():
        there = find_spec(module) is not None
        found.facts[f"extra {extra}"] = (
            f"{module} {_version(module)}" if there else f"not installed (pip install 'backlog-store[{extra}]')"
        )


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "missing"


def _settings(app: App, found: _Findings) -> None:
    store = app.store
    found.facts |= {
        "store": f"{redacted(store.value)} ({store.origin})",
        "actor": f"{app.actor.name}, a {app.actor.kind} ({app.settings.actor().origin})",
        "project file": str(app.settings.project_file or "none"),
        "user file": f"{app.settings.user_file}{'' if app.settings.user_file.exists() else ' (not there)'}",
    }
    for path in (app.settings.project_file, app.settings.user_file):
        if path is not None and path.is_file() and redacted(text := path.read_text(encoding="utf-8")) != text:
            mode = stat.S_IMODE(path.stat().st_mode)
            if mode & 0o077:
                found.warnings.append(f"{path} holds a password and others can read it: chmod 600 {path}")


def _repair(app: App, found: _Findings, *, yes: bool) -> None:
    url = app.store.value
    path = store_path(url)
    if path is None or not path.exists():
        raise click.UsageError(f"--repair is for JSONL and SQLite stores that are there; {redacted(url)} is none.")
    from backlog_store.codec import to_builtins

    if path.is_dir():
        from backlog_store.backends.jsonl.repair import repair as repair_journal

        app.confirm(f"Set damaged lines of {path} aside, if there are any?", yes=yes)
        found.repaired = to_builtins(repair_journal(path))
        return
    from backlog_store.backends.sqlite.repair import repair as repair_file

    app.confirm(f"Make the indexes of {path} anew, or save its readable rows beside it, if it is damaged?", yes=yes)
    found.repaired = to_builtins(repair_file(path))


def _store(app: App, found: _Findings) -> None:
    path = store_path(app.store.value)
    if path is not None and not is_made(app.store.value):
        note = "the first item makes it" if app.store.origin == "default" else "`backlog init` makes it"
        found.warnings.append(f"there is no backlog at {path} yet; {note}")
        return
    app.quiet = True  # what is said of a copy is among the facts
    health = app.reading().check()
    found.facts |= {f"store {name}": value for name, value in health.facts.items() if name != "path"}
    found.warnings += health.warnings
    found.problems += health.problems
    if path is not None:
        _permissions(path, found)
    from backlog_store.cli.policyfile import differs_from

    if told := differs_from(app):
        found.warnings.append(told)
    items = health.facts.get("items", "")
    if health.backend == "jsonl" and items.isdigit() and int(items) > _JSONL_ITEMS:
        found.warnings.append(
            f"{int(items):,} items are many for JSONL: backlog migrate --to sqlite:backlog.db moves to SQLite"
        )


def _permissions(path: Path, found: _Findings) -> None:
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        found.warnings.append(f"{path} can be read by others (mode {mode:o}): chmod go-rwx {path}")


def _print(app: App, found: _Findings) -> None:
    for line in table([[name, value] for name, value in found.facts.items()], color=app.colored):
        app.out(line)
    if found.repaired is not None:
        _print_repaired(app, found.repaired)
    app.out()
    for style, word, lines in (("red", "problem", found.problems), ("yellow", "warning", found.warnings)):
        for line in lines:
            app.out(f"{paint(word, style, on=app.colored)}  {neutral(line)}")
    if not found.problems and not found.warnings:
        app.out(paint("All is well.", "green", on=app.colored))


def _print_repaired(app: App, done: dict[str, Any]) -> None:
    if "pieces" in done:
        pieces = done["pieces"]
        app.out(f"\nrepaired, set aside into {done['folder']}: {plural(len(pieces), 'damaged line')}"
                if pieces else "\nrepaired: nothing was damaged")  # fmt: skip
        for piece in pieces:
            app.out(f"  at byte {piece['offset']}, {piece['size']} bytes: {neutral(str(piece['reason']))}")
    elif done["file"]:
        app.out(f"\nsaved into {done['file']}; the damaged store was left as it is")
        for table, count in done["rows"].items():
            lost = done["unreadable"].get(table, 0)
            app.out(f"  {table}: {count:,} saved" + (f", {lost:,} that hold no document" if lost else ""))
        app.out(
            "  Rows on damaged pages are in neither count: `backlog verify` on the new store tells what is missing."
        )
    else:
        app.out("\nrepaired: the indexes were made anew" if done["remade"] else "\nrepaired: nothing was damaged")
