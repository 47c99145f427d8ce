"""
Where plans are kept until they are applied: one file each, found by its token, in the user's folder for state.

What a file holds stands in `planning.kept`: what the report held, too, so it is for its owner's eyes only. Plans that
can be applied no more are removed when another one is kept. A service keeps its plans in the store.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

import msgspec

from backlog_store.cli.app import App
from backlog_store.codec import encode
from backlog_store.errors import AmbiguousId, NotFound
from backlog_store.ids import derived
from backlog_store.instants import to_datetime
from backlog_store.planning import PLAN_DAYS, Plan, kept_in_store, lines_of_plan, plan_of_lines
from backlog_store.preview import Decided
from backlog_store.redacting import redacted

__all__ = ["find_decisions", "find_plan", "keep_decisions", "keep_plan", "read_plan", "write_plan"]

_SUFFIX = ".plan"
_TOKEN = 16
_DECISIONS = ".decided"
_decisions = msgspec.json.Decoder(Decided)


def write_plan(file: IO[bytes], plan: Plan) -> None:
    """
    Write a plan.
    """
    file.writelines(lines_of_plan(plan))


def read_plan(path: Path) -> Plan:
    """
    Read a plan back. Raises `InvalidInput` for what is no whole plan, or another one than its token says.
    """
    with path.open("rb") as file:
        return plan_of_lines(file, str(path))


def _folder(app: App) -> Path:
    from backlog_store.executors.failover.opening import state_folder

    return state_folder() / "plans" / derived("plans", redacted(app.store.value))


def keep_plan(app: App, plan: Plan) -> Path:
    """
    Keep a plan until it is applied, or too old.
    """
    return _keep(app, f"{plan.token}{_SUFFIX}", lambda file: write_plan(file, plan))


def keep_decisions(app: App, token: str, decided: Sequence[Decided]) -> None:
    """
    Keep what an import was foreseen to do, to tell later what changed since. It can be too old as well.
    """
    _keep(app, f"{token}{_DECISIONS}", lambda file: file.writelines(encode(one) + b"\n" for one in decided))


def find_decisions(app: App, token: str) -> list[Decided]:
    """
    Return what was kept under a token; nothing if that is not known here.
    """
    try:
        with (_folder(app) / f"{Path(token).name}{_DECISIONS}").open("rb") as file:
            return list(map(_decisions.decode, file))
    except FileNotFoundError:
        return []


def _keep(app: App, name: str, write: Callable[[IO[bytes]], None]) -> Path:
    folder = _folder(app)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    oldest = to_datetime(app.now()).timestamp() - PLAN_DAYS * 86_400
    for old in (*_plans(folder), *folder.glob(f"*{_DECISIONS}")):
        if old.stat().st_mtime < oldest:
            old.unlink(missing_ok=True)
    path = folder / name
    whole = path.with_suffix(".part")
    with os.fdopen(os.open(whole, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        write(file)
    whole.replace(path)
    return path


def find_plan(app: App, name: str) -> Plan:
    """
    Return the plan of a token, of an unambiguous beginning of one, in a file, or that a service keeps in the store.

    Raises `NotFound`, `AmbiguousId`.
    """
    if len(name) < _TOKEN and not Path(name).is_file():
        found = sorted(path.stem for path in _plans(_folder(app)) if path.stem.startswith(name))
        if len(found) > 1:
            raise AmbiguousId("plan", name, found)
        name = found[0] if found else name
    kept = _folder(app) / f"{name}{_SUFFIX}"
    path = kept if "/" not in name and kept.is_file() else Path(name)
    if not path.is_file() and len(name) == _TOKEN and "/" not in name:
        with suppress(NotFound):
            return kept_in_store(app.reading(), name)
    if not path.is_file():
        raise NotFound("plan", name, hint="Plans are kept where they were made, for this store; make a new one, or "
                       "carry it over as a file: backlog plan --out FILE.")  # fmt: skip
    return read_plan(path)


def _plans(folder: Path) -> Iterator[Path]:
    return folder.glob(f"*{_SUFFIX}")
