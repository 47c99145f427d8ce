"""
`backlog verify`: proof of a store, and of its history against a seal.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import click

from backlog_store.backends.keeping import audit
from backlog_store.backends.port import Reader
from backlog_store.backends.wholefile import whole_file
from backlog_store.cli.app import App, pass_app
from backlog_store.cli.command import command
from backlog_store.cli.items import json_text
from backlog_store.cli.options import json_option
from backlog_store.cli.progress import told
from backlog_store.cli.text import neutral, plural
from backlog_store.codec import to_builtins
from backlog_store.seal import Compared, Sealed, compare_with_seal, write_seal
from backlog_store.verify import Verified
from backlog_store.verify import verify as verify_store

__all__ = ["verify"]

_SHOWN = 50
_MEMORY = 32 * 1024 * 1024
_Proof = tuple[Verified, Sealed | None, Compared | None]


@command(
    "verify",
    examples=(
        "backlog verify",
        "backlog verify --seal backlog-2026-11-23.seal",
        "backlog verify --against backlog-2026-11-23.seal --root 5c1e…",
    ),
)
@click.option("--seal", "seal", metavar="FILE", type=click.Path(dir_okay=False),
              help="Write what the history is now to FILE, and print its root, to be kept elsewhere.")  # fmt: skip
@click.option("--against", "against", metavar="FILE", type=click.Path(dir_okay=False),
              help="Prove that the history still begins as that seal says; tell which items do not.")  # fmt: skip
@click.option("--root", metavar="HEX", default="", help="With --against: the root that was kept elsewhere.")
@click.option("--force", is_flag=True, help="With --seal: write over a file that is there.")
@json_option
@pass_app
def verify(app: App, seal: str | None, against: str | None, root: str, force: bool, as_json: bool) -> None:
    """
    Prove that the history explains every item, and that nothing was changed afterwards. Exits with 1 if not.

    What the store keeps beside the history (columns, indexes, checksums) is held against it, too. Others may write
    meanwhile: one instant is looked at.
    """
    if root and not against:
        raise click.UsageError("--root goes with --against.")
    if seal and Path(seal).exists() and not force:
        raise click.UsageError(f"{seal} is there already: name another file, or say --force.")
    backend = app.reading().executor.backend
    with tempfile.SpooledTemporaryFile(max_size=_MEMORY) as spool, told() as watch:

        def run(reader: Reader) -> _Proof:
            found = verify_store(reader, audit=audit(backend, reader, watch), watch=watch)
            sealed = compared = None
            # What a damaged history begins with says nothing.
            if against and not found.fault_count:
                with click.open_file(against, "rb") as source:
                    compared = compare_with_seal(reader, source, root=root, watch=watch)
            if seal and not found.fault_count and not (compared and compared.fault_count):
                spool.seek(0)  # it may be run again
                spool.truncate()
                sealed = write_seal(reader, spool, app.now(), watch=watch)
            return found, sealed, compared

        found, sealed, compared = backend.read(run)
        if seal and sealed is not None:
            spool.seek(0)
            with whole_file(Path(seal), force=force) as part, part.open("wb") as sink:
                shutil.copyfileobj(spool, sink)
    if as_json:
        app.out(json_text(app, _plain(found, sealed, compared)))
    else:
        _print(app, found, sealed, compared, seal or "")
    if found.fault_count or (compared is not None and compared.fault_count):
        raise click.exceptions.Exit(1)


def _plain(found: Verified, sealed: Sealed | None, compared: Compared | None) -> dict[str, Any]:
    plain = {"ok": not found.fault_count and not (compared and compared.fault_count), **to_builtins(found)}
    if sealed is not None:
        plain["seal"] = to_builtins(sealed)
    if compared is not None:
        plain["against"] = {**to_builtins(compared), "faults": compared.faults}
    return {**plain, "faults": found.faults}


def _print(app: App, found: Verified, sealed: Sealed | None, compared: Compared | None, file: str) -> None:
    _print_faults(app, found)
    end = plural(found.fault_count, "fault") if found.fault_count else "every one is explained by its history"
    app.out(f"{plural(found.items, 'item')}, {plural(found.events, 'event')}, {plural(found.keys, 'key')}: {end}")
    if found.shortened:
        app.out(f"{plural(found.shortened, 'item')} with a baseline: a cleanup has forgotten the history before it")
    if compared is not None:
        _print_faults(app, compared)
        was = compared.sealed
        app.out(
            f"sealed at {was.at}: {plural(was.items + was.keys, 'head')}, {compared.kept:,} still there "
            f"({compared.grown:,} grown since), {compared.purged:,} purged, {compared.shortened:,} shortened, "
            f"{plural(compared.fault_count, 'fault')}"
        )
    if sealed is not None:
        app.out(f"root  {sealed.root}")
        app.say(f"Sealed {plural(sealed.items + sealed.keys, 'head')} in {file}. Keep the root where nobody who can "
                "write to this store can write.")  # fmt: skip
    elif file:
        app.say("Not sealed: the faults come first.")


def _print_faults(app: App, found: Verified | Compared) -> None:
    for fault in found.faults[:_SHOWN]:
        app.out(f"fault  {neutral(fault)}")
    if found.fault_count > _SHOWN:
        app.out(f"… and {found.fault_count - _SHOWN:,} more (--json lists up to {len(found.faults):,})")
