"""
What the original module left: its tables (`backlog migrate --in-place`) and its files (`backlog import --legacy`).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from backlog_store.backends.registry import is_made, open_backend
from backlog_store.backlog import open_backlog
from backlog_store.cli.app import App
from backlog_store.cli.items import plain_json
from backlog_store.cli.planfiles import find_decisions, keep_decisions
from backlog_store.cli.text import neutral, plural
from backlog_store.errors import ConfigError
from backlog_store.preview import check_shown
from backlog_store.redacting import redacted

if TYPE_CHECKING:
    from backlog_store.legacy.intake import Taken

__all__ = ["import_files", "migrate_in_place"]

_SHOWN = 20


def migrate_in_place(app: App, *, finish: bool, dry_run: bool, yes: bool, as_json: bool) -> None:
    """
    Take the old tables in, and follow what old processes write there; or, with *finish*, set them aside.

    Raises `ConfigError` for a store that is no PostgreSQL database with such tables.
    """
    url = app.store.value
    if not url.startswith(("postgres:", "postgresql:")) and "=" not in url:
        raise ConfigError(
            "--in-place", redacted(url), "the tables of the original module are in PostgreSQL",
            hint="Name the database in BACKLOG_URL. Its files open as they are; `backlog import --legacy` copies them.",
        )  # fmt: skip
    try:
        from backlog_store.legacy.tables import OldTables, not_taken_in
    except ImportError:
        open_backend(url).close()  # without the driver this says which extra is missing
        raise
    tables = OldTables(url)
    try:
        standing = tables.standing()
        if not standing.is_there:
            raise ConfigError("--in-place", redacted(url), "the database has no tables of the original module")
        if finish and not standing.has_store:
            raise not_taken_in()
        # Up to here, and for a look, nothing is opened that would make its own tables.
        trial = open_backlog("memory://", actor=app.actor, lazily=True)
        if dry_run:
            _print(app, tables.preview(trial), "Would take in", as_json=as_json)
            return
        if finish:
            app.confirm("Set the old tables aside? Processes of the original module fail from then on.", yes=yes)
            _print(app, tables.finish(app.writing()), "The old tables are set aside; taken in last", as_json=as_json)
            return
        if not yes:
            app.confirm(f"Take in what the old tables hold ({_told(tables.preview(trial))})?", yes=yes)
        _print(app, tables.migrate(app.writing()), "Taken in", as_json=as_json)
        app.hint("Old processes go on working, and what they write is followed. When none is left: --finish")
    finally:
        tables.close()


def import_files(app: App, files: tuple[str, ...], *, dry_run: bool, token: str, as_json: bool) -> None:
    """
    Take in the original module's files: items, and events (``events.jsonl`` beside them, if not named).

    With *dry_run* show it; with the *token* of that do just what it showed, or raise `PlanChanged`.
    """
    from backlog_store.legacy.files import OldFiles

    if len(files) > 2:
        raise click.UsageError("--legacy takes the file of items and the file of events.")
    for file in files:
        if not Path(file).is_file():
            what = f"{file} is a folder" if Path(file).is_dir() else f"There is no file {file}"
            raise click.UsageError(f"{what}: name items.jsonl, and events.jsonl if it does not lie beside it.")
    items = Path(files[0])
    events = Path(files[1]) if len(files) == 2 else items.with_name("events.jsonl")
    old = OldFiles(items, events)
    # For a look, or a token that stands for something else, no store is made.
    there = is_made(app.store.value)
    nothing = open_backlog("memory://", actor=app.actor, lazily=True)
    if dry_run:
        foreseen = old.foresee(app.reading() if there else nothing)
        keep_decisions(app, foreseen.token, foreseen.shown)
        _print(app, foreseen.taken, f"Would take in from {items}", as_json=as_json, token=foreseen.token)
        return
    shown = find_decisions(app, token) if token else ()
    if token and not there and (now := old.foresee(nothing)).token != token:
        check_shown(token, shown, now.shown)
    taken = old.take_in(app.writing(), token=token, shown=shown)
    _print(app, taken, f"Taken in from {items}", as_json=as_json)


def _told(taken: Taken) -> str:
    parts = [plural(taken.created, "item"), plural(taken.events, "event")]
    if taken.changed:
        parts.append(f"{taken.changed:,} changed")
    if taken.merged:
        parts.append(f"{taken.merged:,} merged into one of the same key")
    return ", ".join(parts)


def _print(app: App, taken: Taken, what: str, *, as_json: bool, token: str = "") -> None:
    if as_json:
        data: dict[str, Any] = {"dry_run": True, "token": token} if token else {}
        data |= {name: getattr(taken, name) for name in ("created", "changed", "merged", "events")}
        app.out(plain_json({**data, "notes": [{"where": where, "text": text} for where, text in taken.notes]}))
        return
    app.out(f"{what}: {_told(taken)}")
    for _, text in taken.notes[:_SHOWN]:
        app.say(f"note  {neutral(text)}")
    if len(taken.notes) > _SHOWN:
        app.say(f"… and {len(taken.notes) - _SHOWN:,} more notes (--json lists all)")
    if token:
        app.say(f"Nothing was written. Exactly this: --token {token}")
