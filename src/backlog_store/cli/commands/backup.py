"""
`backlog backup` and `backlog restore`.
"""

from __future__ import annotations

from pathlib import Path

import click

from backlog_store.backup import back_up
from backlog_store.backup import restore as restore_store
from backlog_store.cli.app import App, pass_app
from backlog_store.cli.command import command
from backlog_store.cli.items import json_text
from backlog_store.cli.options import json_option
from backlog_store.cli.progress import told
from backlog_store.cli.settingsfile import refuse_password
from backlog_store.cli.text import neutral, plural
from backlog_store.redacting import redacted

__all__ = ["backup", "restore"]

_FORMS = {"sqlite": "an SQLite store", "jsonl": "a journal", "export": "an export"}


@command("backup", examples=("backlog backup backlog-2026-11-23.db", "backlog backup --force /mnt/usb/backlog.backup"))
@click.argument("file", type=click.Path(dir_okay=False))
@click.option("--force", is_flag=True, help="Write over a file that is there, once the new one is whole.")
@click.option("--check/--no-check", default=True, show_default=True,
              help="Prove the copy, as `backlog verify` proves a store, before it gets its name.")  # fmt: skip
@json_option
@pass_app
def backup(app: App, file: str, force: bool, check: bool, as_json: bool) -> None:
    """
    Copy the whole backlog, as it is at this instant, into one file, while others go on writing.

    Of SQLite and JSONL the file is the store itself, of PostgreSQL an export; `backlog restore` makes a store of it.
    The file is synced, and never stands half-written under its name.
    """
    path = Path(file).absolute()
    if path.exists() and not force:
        raise click.UsageError(f"{file} is there already: name another file, or say --force.")
    if not path.parent.is_dir():
        raise click.UsageError(f"There is no folder {path.parent}.")
    backend = app.reading().executor.backend
    with told() as watch:
        done = back_up(backend, path, force=force, check=check, watch=watch)
    if as_json:
        app.out(json_text(app, done))
        return
    counted = f": {plural(done.items, 'item')}, {plural(done.events or 0, 'event')}" if done.items is not None else ""
    proved = "proved to be whole" if done.checked else "not checked"
    app.out(f"Backed up to {file}{counted}; {_FORMS[done.form]} of {done.bytes:,} bytes, {proved}")
    for note in done.notes:
        app.say(f"note  {neutral(note)}")


@command("restore", examples=("backlog restore backlog-2026-11-23.db --to sqlite:restored.db",))
@click.argument("file", type=click.Path(exists=True, dir_okay=False))
@click.option("--to", required=True, metavar="URL", help="The store to make; nothing may be there yet.")
@json_option
@pass_app
def restore(app: App, file: str, to: str, as_json: bool) -> None:
    """
    Make a store, of any kind, of what backup (or export) wrote; the file and the new store are proved to be whole.

    A store of the backup's own kind becomes the same, byte by byte. Nothing that is there is written over.
    """
    refuse_password(to, "--to")
    with told() as watch:
        done = restore_store(Path(file), to, watch=watch)
    if as_json:
        app.out(json_text(app, done))
        return
    how = "the very same store" if done.exact else f"from {_FORMS[done.form]}"
    app.out(f"Restored to {redacted(to)}: {plural(done.items, 'item')}, {plural(done.events, 'event')}; {how}")
    app.hint(
        f"In use is still {redacted(app.store.value)} ({app.store.origin}); to change that: backlog config set url"
    )
