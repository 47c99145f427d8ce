"""
Backup and restore: a copy of a store while others write to it, and a store made of that copy.

What a backup is depends on the store: of SQLite and JSONL the file itself, as it was at one instant, ready to be used;
of all others (PostgreSQL) an export, see `backlog_store.exportfile`. Which one a file is, its first bytes say. Any of
them can become a store of any kind; of its own kind it becomes the very same store, byte by byte.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from msgspec import Struct

from backlog_store.backends.fs import FileSystem
from backlog_store.backends.keeping import CopyForm, audit, copy_form, form_of_copy
from backlog_store.backends.places import prepare_folder
from backlog_store.backends.port import Backend, Reader
from backlog_store.backends.registry import open_backend, place_of, scheme_of
from backlog_store.backends.wholefile import whole_file
from backlog_store.errors import BackendError, ConfigError
from backlog_store.exportfile import FORMAT, check_export
from backlog_store.query import ANY
from backlog_store.transfer import Transferred, take_in, write_export
from backlog_store.verify import Verified, Watch, silent, verify

__all__ = ["BackedUp", "Restored", "back_up", "restore"]

_MEMORY = 32 * 1024 * 1024
_START = 4_096
_TOLD = 3


class BackedUp(Struct, frozen=True, kw_only=True):
    """
    A backup that was made: its form (the kind of store, or ``export``), its bytes, what is in it if it was *checked*.
    """

    file: str
    form: str
    bytes: int
    checked: bool
    items: int | None = None
    events: int | None = None
    notes: tuple[str, ...] = ()


class Restored(Struct, frozen=True, kw_only=True):
    """
    What is in a store that was restored, and was proved to be whole; *exact* says that it is the very same bytes.
    """

    form: str
    exact: bool
    items: int
    events: int


def back_up(
    backend: Backend, file: Path, *, force: bool = False, check: bool = True, watch: Watch = silent
) -> BackedUp:
    """
    Write a consistent copy of a store to *file* (0600): all that was acknowledged before the call is in it.

    The file gets its name only when all of it is there, synced and, unless not wanted, proved to be whole. Raises
    `FileExistsError` for a file that is there (see *force*), `BackendError` where the copy is not whole, and what
    reading the store and the system raise.
    """
    form = copy_form(backend.capabilities.name)
    counts: tuple[int, int] | None
    notes: tuple[str, ...] = ()
    with whole_file(file, force=force) as part:
        if form is not None:
            notes = tuple(form.copy(backend, part, watch))
            counts = _check_copy(form, part, watch) if check else None
        else:
            done = _export(backend, part)
            if check:
                with part.open("rb") as written:
                    check_export(written)
            counts = (done.items, done.events)
        size = part.stat().st_size
    items, events = counts or (None, None)
    return BackedUp(file=str(file), form=form.scheme if form else "export", bytes=size, checked=check, items=items,
                    events=events, notes=notes)  # fmt: skip


def _export(backend: Backend, part: Path) -> Transferred:
    with part.open("wb") as sink:

        def run(reader: Reader) -> Transferred:
            sink.seek(0)  # it may be run again
            sink.truncate()
            return write_export(reader, sink)

        return backend.read(run)


def _check_copy(form: CopyForm, file: Path, watch: Watch) -> tuple[int, int]:
    with form.reading(file) as reader:
        found = verify(reader, audit=form.audit(reader, watch), watch=watch)
    _require_whole(form.scheme, "checking the copy", found)
    return found.items, found.events


def _require_whole(backend: str, operation: str, found: Verified) -> None:
    if found.fault_count:
        more = f"; {found.fault_count - _TOLD} more" if found.fault_count > _TOLD else ""
        raise BackendError(
            backend, operation, "; ".join(found.faults[:_TOLD]) + more,
            hint="Nothing was kept. `backlog verify` lists the faults of a store.",
        )  # fmt: skip


def restore(file: Path, url: str, *, watch: Watch = silent) -> Restored:
    """
    Make the store at *url*, where there is none yet, of a backup; both are proved to be whole.

    Raises `ConfigError` where something is there already or the file is no backup, `BackendError` and `InvalidInput`
    for one that is not whole: nothing is made then.
    """
    file = file.resolve(strict=True)
    with file.open("rb") as source:
        start = source.read(_START)
    form = form_of_copy(start)
    if form is None and f'"format":"{FORMAT}"'.encode() not in start[:200]:
        hint = "A backup is what `backlog backup` wrote; reports are taken in by `backlog report`."
        raise ConfigError("FILE", str(file), "it is no backup", hint=hint)
    if scheme_of(url) in ("memory", "null"):
        raise ConfigError("--to", url, "what is restored there is gone at once", hint="Name a file or a database.")
    exact = form is not None and form.scheme == scheme_of(url)
    if form is not None and exact:
        _check_copy(form, file, watch)
        _put_in_place(form, file, url)
    else:
        with _as_export(form, file, watch) as export:
            _take_in(url, export)
    target = open_backend(url)
    try:
        found = target.read(lambda reader: verify(reader, audit=audit(target, reader, watch), watch=watch))
    finally:
        target.close()
    _require_whole(scheme_of(url), "checking what was restored", found)
    return Restored(form=form.scheme if form else "export", exact=exact, items=found.items, events=found.events)


def _put_in_place(form: CopyForm, file: Path, url: str) -> None:
    place = place_of(url)
    assert place is not None  # only stores of files are copied as they are
    target = form.store_file(place.absolute())
    _require_absent(target, url)
    system = FileSystem()
    for missing in prepare_folder(target.parent, backend=form.scheme, create=True):
        system.make_folder(str(missing))
        system.sync_folder(str(missing.parent))
    with whole_file(target, force=False) as part:
        shutil.copyfile(file, part)


def _require_absent(target: Path, url: str) -> None:
    if target.exists():
        raise _not_empty(url)


def _not_empty(url: str) -> ConfigError:
    hint = "Restore to a new place, look at it, then point to it: backlog config set url."
    return ConfigError("--to", url, "a store is there already", hint=hint)


@contextmanager
def _as_export(form: CopyForm | None, file: Path, watch: Watch) -> Iterator[IO[bytes]]:
    """
    Give the export that a backup is, or amounts to, once it was proved.
    """
    if form is None:
        with file.open("rb") as source:
            check_export(source)
            source.seek(0)
            yield source
        return
    _check_copy(form, file, watch)
    with tempfile.SpooledTemporaryFile(max_size=_MEMORY) as spool:
        with form.reading(file) as reader:
            write_export(reader, spool)
        spool.seek(0)
        yield spool


def _take_in(url: str, export: IO[bytes]) -> None:
    place = place_of(url)
    if place is not None and place.exists() and not (place.is_dir() and not any(place.iterdir())):
        raise _not_empty(url)
    target = open_backend(url)
    try:
        if not target.read(_is_empty):
            raise _not_empty(url)
        done = take_in(target, export)
    finally:
        target.close()
    if done.refused:
        raise BackendError(scheme_of(url), "restoring", "; ".join(done.refused[:_TOLD]))


def _is_empty(reader: Reader) -> bool:
    return not reader.tally(ANY, ()) and not reader.scan("key", "", "", 1) and not reader.scan("alias", "", "", 1)
