"""
`backlog export`, `backlog import` and `backlog migrate`.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import IO

import click

from backlog_store.backends.port import Backend
from backlog_store.backends.registry import is_made, open_backend
from backlog_store.cli.app import App, pass_app
from backlog_store.cli.command import command
from backlog_store.cli.items import plain_json
from backlog_store.cli.options import json_option
from backlog_store.cli.planfiles import find_decisions, keep_decisions
from backlog_store.cli.previewed import token_option
from backlog_store.cli.settingsfile import refuse_password
from backlog_store.cli.text import neutral, plural
from backlog_store.codec import to_builtins
from backlog_store.errors import BackendUnavailable, StorageFull
from backlog_store.redacting import redacted
from backlog_store.settings import store_path
from backlog_store.transfer import (
    Transferred,
    check_token,
    checked_export,
    export_store,
    foresee,
    migrate_store,
    take_in,
)

__all__ = ["export", "import_", "migrate"]


def _exporting(app: App) -> Callable[[IO[bytes]], Transferred]:
    executor = app.reading().executor
    through: Callable[[IO[bytes]], Transferred] | None = getattr(executor, "export", None)
    return through or partial(export_store, executor.backend)  # a server exports what it shows to who asks


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
    try:
        if file == "-":
            done = _exporting(app)(sys.stdout.buffer)
            sys.stdout.buffer.flush()
            app.say(f"Exported {_told(done)}")
            return
        path = Path(file)
        _check_target(path, force=force)
        done = _export_to(_exporting(app), path)
    except BrokenPipeError:
        raise  # the reader has enough
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageFull("export", "writing", path="stdout" if file == "-" else file) from error
        raise click.UsageError(f"{file} cannot be written: {error.strerror}. Name another file.") from error
    _print(app, done, f"Exported to {file}", as_json=as_json)


def _check_target(path: Path, *, force: bool) -> None:
    """
    Refuse a file that cannot or must not be written, before the store is read.
    """
    if path.is_dir():
        raise click.UsageError(f"{path} is a folder: name a file in it, {path / 'backlog.ndjson'} for one.")
    if not path.parent.is_dir():
        raise click.UsageError(f"There is no folder {path.parent}: make it, or name another file.")
    if path.is_file() and not force:
        raise click.UsageError(f"{path} is there already: name another file, or say --force.")


def _export_to(export: Callable[[IO[bytes]], Transferred], path: Path) -> Transferred:
    if path.exists() and not path.is_file():
        with path.open("wb") as sink:  # a pipe or device: nothing may be put in its place
            return export(sink)
    target = path.resolve()  # a link stays a link
    # Beside the target first: a cut file never stands under the name that was asked for.
    part = target.with_name(f".{target.name}.part")
    try:
        with part.open("wb") as sink:
            done = export(sink)
            sink.flush()
            os.fsync(sink.fileno())
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
    return done


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
@click.option("-n", "--dry-run", is_flag=True, help="Show what would be taken in, and take in nothing.")
@token_option
@json_option
@pass_app
def import_(app: App, files: tuple[str, ...], legacy: bool, dry_run: bool, token: str, as_json: bool) -> None:
    """
    Take in what export wrote; what is there already, the same, is skipped. Reports and drafts: see `backlog report`.

    The whole file is checked first; if anything is wrong with it, nothing is written.
    """
    if legacy:
        from backlog_store.cli.legacy import import_files

        import_files(app, files, dry_run=dry_run, token=token, as_json=as_json)
        return
    if len(files) > 1:
        raise click.UsageError("One file at a time (two go with --legacy).")
    with _opened(files[0]) as source, checked_export(source) as export_:
        # Only now: a faulty file makes no store.
        if dry_run:
            _preview(app, export_, as_json=as_json)
            return
        shown = find_decisions(app, token) if token else ()
        if token and not is_made(app.store.value):
            with closing(open_backend("memory://")) as none:
                check_token(none, export_, token, shown)  # nor does a token that is not of this file
        done = take_in(_backend(app, make=True), export_, token=token, shown=shown)
    _print(app, done, "Imported", as_json=as_json)


def _preview(app: App, export_: IO[bytes], *, as_json: bool) -> None:
    if is_made(app.store.value):
        foreseen = foresee(_backend(app, make=False), export_)
    else:
        with closing(open_backend("memory://")) as none:
            foreseen = foresee(none, export_)
    keep_decisions(app, foreseen.token, foreseen.decided)
    if as_json:
        app.out(plain_json({"dry_run": True, "token": foreseen.token, **to_builtins(foreseen.done)}))
        return
    _print(app, foreseen.done, "Would import", as_json=False)
    app.say(f"Nothing was written. Exactly this: --token {foreseen.token}")


@contextmanager
def _opened(file: str) -> Iterator[IO[bytes]]:
    hint = "Name a file that `backlog export` wrote, or - for stdin."
    try:
        source = click.open_file(file, "rb")
    except FileNotFoundError as error:
        raise click.UsageError(f"There is no file {file}. {hint}") from error
    except IsADirectoryError as error:
        raise click.UsageError(f"{file} is a folder. {hint}") from error
    except OSError as error:
        raise click.UsageError(f"{file} cannot be read: {error.strerror}. {hint}") from error
    with source:
        yield source


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
    if to.partition(":")[0] in ("memory", "null"):
        raise click.UsageError(f"{to} keeps nothing: name a store that does, sqlite:backlog.db for one.")
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
    done = migrate_store(_backend(app, make=False), lambda: open_backend(to))
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
