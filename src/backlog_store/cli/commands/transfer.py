"""
`backlog export`, `backlog import` and `backlog migrate`.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from backlog_store.backends.port import Backend
from backlog_store.backends.registry import open_backend
from backlog_store.cli.app import App, pass_app
from backlog_store.cli.command import command
from backlog_store.cli.items import plain_json
from backlog_store.cli.options import json_option
from backlog_store.cli.settingsfile import refuse_password
from backlog_store.cli.text import neutral, plural
from backlog_store.codec import to_builtins
from backlog_store.errors import BackendUnavailable
from backlog_store.settings import redacted, store_path
from backlog_store.transfer import Transferred, export_store, import_store, migrate_store

__all__ = ["export", "import_", "migrate"]


def _backend(app: App, *, make: bool) -> Backend:
    backlog = app.writing() if make else app.reading()
    return backlog.executor.backend


@command("export", examples=("backlog export backlog.ndjson", "backlog export - | gzip > backlog.ndjson.gz"))
@click.argument("file", type=click.Path(allow_dash=True), default="-")
@click.option("--force", is_flag=True, help="Write over a file that is there.")
@json_option
@pass_app
def export(app: App, file: str, force: bool, as_json: bool) -> None:
    """
    Write everything as lines of canonical JSON: items, their whole history, verdicts, links, views. `-` is stdout.
    """
    backend = _backend(app, make=False)
    if file == "-":
        done = export_store(backend, sys.stdout.buffer)
        sys.stdout.buffer.flush()
        app.say(f"Exported {_told(done)}")
        return
    path = Path(file)
    if path.exists() and not force:
        raise click.UsageError(f"{file} is there already: name another file, or say --force.")
    # Beside the target first: a cut file never stands under the name that was asked for.
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("wb") as sink:
            done = export_store(backend, sink)
            sink.flush()
            os.fsync(sink.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    _print(app, done, f"Exported to {file}", as_json=as_json)


@command(
    "import",
    examples=(
        "backlog import backlog.ndjson",
        "gzip -dc backlog.ndjson.gz | backlog import -",
        "backlog import --legacy ops/backlog/items.jsonl",
    ),
)
@click.argument("files", nargs=-1, required=True, metavar="FILE", type=click.Path(allow_dash=True))
@click.option(
    "--legacy",
    is_flag=True,
    help="The files of the original module: items.jsonl, and events.jsonl beside it or named too.",
)
@json_option
@pass_app
def import_(app: App, files: tuple[str, ...], legacy: bool, as_json: bool) -> None:
    """
    Take in what export wrote; what is there already, the same, is skipped. Reports and drafts: see `backlog report`.

    The whole file is checked first; if anything is wrong with it, nothing is written.
    """
    if legacy:
        from backlog_store.cli.legacy import import_files

        import_files(app, files, as_json=as_json)
        return
    if len(files) > 1:
        raise click.UsageError("One file at a time (two go with --legacy).")
    try:
        with click.open_file(files[0], "rb") as source:
            done = import_store(_backend(app, make=True), source)
    except FileNotFoundError as error:
        raise click.UsageError(f"There is no file {files[0]}.") from error
    _print(app, done, "Imported", as_json=as_json)


@command("migrate", examples=("backlog migrate --to jsonl:ops/backlog", "backlog migrate --in-place"))
@click.option("--to", metavar="URL", help="The store to copy into; it should be empty.")
@click.option("--from", "source", metavar="URL", help="The store to copy from, instead of the one in use.")
@click.option("--in-place", is_flag=True, help="Bring tables of the original module to the new form, where they are.")
@click.option("--finish", is_flag=True, help="With --in-place: drop what was kept for old processes.")
@click.option("-n", "--dry-run", is_flag=True, help="With --in-place: tell what would be done, and do nothing.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@json_option
@pass_app
def migrate(app: App, to: str | None, source: str | None, in_place: bool, finish: bool, dry_run: bool, yes: bool,
            as_json: bool) -> None:  # fmt: skip
    """
    Copy a whole backlog, its history included, into another store of any kind. Nothing is taken from the old one.
    """
    if in_place:
        from backlog_store.cli.legacy import migrate_in_place

        migrate_in_place(app, finish=finish, dry_run=dry_run, yes=yes, as_json=as_json)
        return
    if not to:
        raise click.UsageError("Where to? Give --to URL (or --in-place for tables of the original module).")
    if finish or dry_run:
        raise click.UsageError("--finish and --dry-run go with --in-place.")
    for url, option in ((to, "--to"), (source or "", "--from")):
        refuse_password(url, option)
    if source:
        app.flags["url"] = source
        app.forget_settings()
    if _same(app.store.value, to):
        raise click.UsageError(f"{redacted(to)} is the store to copy from: name another one.")
    path = store_path(app.store.value)
    if path is not None and not path.exists():
        raise BackendUnavailable(
            app.store.value.partition(":")[0], "opening", f"there is no backlog at {path} ({app.store.origin})",
            hint="There is nothing to copy from: check the path.",
        )  # fmt: skip
    target = open_backend(to)
    try:
        done = migrate_store(_backend(app, make=False), target)
    finally:
        target.close()
    _print(app, done, f"Copied to {redacted(to)}", as_json=as_json)
    app.hint(
        f"In use is still {redacted(app.store.value)} ({app.store.origin}); to change that: backlog config set url"
    )


def _same(one: str, other: str) -> bool:
    here, there = store_path(one), store_path(other)
    return one == other if here is None or there is None else here.resolve() == there.resolve()


def _told(done: Transferred) -> str:
    told = f"{plural(done.items, 'item')}, {plural(done.events, 'event')}, {plural(done.records, 'record')}"
    return told + (f"; {done.skipped:,} were there already" if done.skipped else "")


def _print(app: App, done: Transferred, what: str, *, as_json: bool) -> None:
    if as_json:
        app.out(plain_json(to_builtins(done)))
    else:
        app.out(f"{what}: {_told(done)}")
        for line in done.refused:
            app.say(f"refused  {neutral(line)}")
    if done.refused:
        raise click.exceptions.Exit(1)
