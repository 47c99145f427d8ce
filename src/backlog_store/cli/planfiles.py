"""
Where plans are kept until they are applied: one file each, found by its token, in the user's folder for state.

A file is lines of JSON: a head that says what it is, then a line a step. It holds what the report held, so it is for
its owner's eyes only. Plans that can be applied no more are removed when another one is kept.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from backlog_store.cli.app import App
from backlog_store.codec import decode_json, encode, from_builtins, to_builtins
from backlog_store.errors import AmbiguousId, Fault, InvalidInput, NotFound
from backlog_store.ids import derived
from backlog_store.instants import to_datetime
from backlog_store.planning import PLAN_DAYS, Plan, Step
from backlog_store.preview import Decided, token_of
from backlog_store.redacting import redacted

__all__ = ["find_decisions", "find_plan", "keep_decisions", "keep_plan", "read_plan", "write_plan"]

_FORMAT = "backlog-plan"
_VERSION = 1
_SUFFIX = ".plan"
_TOKEN = 16
_DECISIONS = ".decided"
_steps = msgspec.json.Decoder(Step)
_decisions = msgspec.json.Decoder(Decided)


class _Head(Struct, frozen=True, kw_only=True):
    format: str
    version: int
    steps: int
    plan: dict[str, object]


def write_plan(file: IO[bytes], plan: Plan) -> None:
    """
    Write a plan.
    """
    head = to_builtins(replace(plan, steps=()))
    head.pop("steps", None)
    file.write(encode(_Head(format=_FORMAT, version=_VERSION, steps=len(plan.steps), plan=head)) + b"\n")
    for step in plan.steps:
        file.write(encode(step) + b"\n")


def read_plan(path: Path) -> Plan:
    """
    Read a plan back. Raises `InvalidInput` for what is no whole plan, or another one than its token says.
    """
    with path.open("rb") as file:
        try:
            head = from_builtins(decode_json(file.readline()), _Head)
            plan = from_builtins({**head.plan, "steps": []}, Plan)
            steps = tuple(map(_steps.decode, file))
        except (msgspec.DecodeError, ValueError, TypeError) as error:
            raise _no_plan(path, f"is no plan of this program: {error}") from error
    if (head.format, head.version) != (_FORMAT, _VERSION):
        raise _no_plan(path, f"is {head.format} {head.version}, and this program reads {_FORMAT} {_VERSION}")
    if len(steps) != head.steps:
        raise _no_plan(path, f"holds {len(steps)} of {head.steps} steps: it was cut off")
    if token_of(plan.policy, ((step.body, step.decisions) for step in steps)) != plan.token:
        raise _no_plan(path, f"is another plan than {plan.token}, which it says it is: it was changed")
    return replace(plan, steps=steps)


def _no_plan(path: Path, reason: str) -> InvalidInput:
    return InvalidInput([Fault("", str(path), reason)], what="plan", hint="Make a new one: backlog plan.")


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
    Return the plan of a token, of an unambiguous beginning of one, or in a file. Raises `NotFound`, `AmbiguousId`.
    """
    if len(name) < _TOKEN and not Path(name).is_file():
        found = sorted(path.stem for path in _plans(_folder(app)) if path.stem.startswith(name))
        if len(found) > 1:
            raise AmbiguousId("plan", name, found)
        name = found[0] if found else name
    kept = _folder(app) / f"{name}{_SUFFIX}"
    path = kept if "/" not in name and kept.is_file() else Path(name)
    if not path.is_file():
        raise NotFound("plan", name, hint="Plans are kept where they were made, for this store; make a new one, or "
                       "carry it over as a file: backlog plan --out FILE.")  # fmt: skip
    return read_plan(path)


def _plans(folder: Path) -> Iterator[Path]:
    return folder.glob(f"*{_SUFFIX}")
