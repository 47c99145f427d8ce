"""
Policy files of the command line: reading one with the files that it names, trying one, and the host's own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from msgspec import Struct
from msgspec.structs import replace

from backlog_store.cli.app import App
from backlog_store.cli.textfile import text_of
from backlog_store.commands import Report
from backlog_store.intake import Finding as Found
from backlog_store.intake import ReportContext, read_report
from backlog_store.model import LIMITS, LIVE, Draft
from backlog_store.policy import Policy
from backlog_store.policy.calendars import HOLIDAY_FILE
from backlog_store.policy.findings import Finding, Mark
from backlog_store.policy.holidaylists import holiday_list
from backlog_store.policy.loading import FILE_MAX, Loaded, format_of, load_policy
from backlog_store.policy.stored import digest_of
from backlog_store.query import In
from backlog_store.rules.backtest import Difference, IdleConditions, compare_items, compare_report
from backlog_store.rules.policies import policy_in_force

__all__ = ["Trial", "differs_from", "load_file", "on_trial"]

_PAGE = 1_000


class Trial(Struct, frozen=True, kw_only=True):
    """
    What a policy would decide differently from the one in force, which has *revision*.
    """

    revision: int
    items: int
    drafts: int
    differences: list[Difference]
    idle: list[Finding]
    lines: Sequence[str]


def load_file(path: Path) -> Loaded:
    """
    Load a policy file with the CODEOWNERS files beside it and the holidays of the countries that it names.

    Raises `ConfigError` for what cannot be read.
    """
    text = text_of(path, FILE_MAX, setting="policy")
    loaded = load_policy(text, format=format_of(path.name))
    if not loaded.files_wanted:
        return loaded
    files: dict[str, str] = {}
    for name in loaded.files_wanted:
        if name.startswith(HOLIDAY_FILE):
            listed = holiday_list(name.removeprefix(HOLIDAY_FILE))
            files |= {name: listed} if listed is not None else {}
        elif (place := path.parent / name).is_file():
            files[name] = text_of(place, FILE_MAX, setting="policy")
    return load_policy(text, format=format_of(path.name), files=files)


def on_trial(app: App, loaded: Loaded, reports: Sequence[BinaryIO], *, service: str, env: str) -> Trial:
    """
    Compare a policy with the one in force, on the live items and on reports.
    """
    assert loaded.policy is not None
    backlog = app.reading()
    old = backlog.read(policy_in_force)
    # What events would name is no difference.
    new = replace(loaded.policy, revision=old.revision)
    looking, counts = IdleConditions(new), Counter[str]()
    differences: list[Difference] = []
    # A page at a time: only what differs is kept.
    live = backlog.each(In("status", tuple(sorted(LIVE))))
    while items := list(islice(live, _PAGE)):
        differences += compare_items(items, old, new, app.now())
        looking.see(items)
        counts["items"] += len(items)
    found = (draft for report in reports for draft in _drafts(app, report, service=service, env=env))
    while drafts := tuple(islice(found, LIMITS.drafts_per_command)):
        differences += _reported(app, drafts, old, new)
        looking.see(drafts)
        counts["drafts"] += len(drafts)
    placed = [replace(one, mark=_mark(loaded, one.pointer)) for one in looking.findings()]
    return Trial(revision=old.revision, items=counts["items"], drafts=counts["drafts"], differences=differences,
                 idle=placed, lines=loaded.lines)  # fmt: skip


def _mark(loaded: Loaded, pointer: str) -> Mark | None:
    line = loaded.policy.lines.get(pointer, 0) if loaded.policy is not None else 0
    if not 0 < line <= len(loaded.lines):
        return None
    text = loaded.lines[line - 1]
    start = len(text) - len(text.lstrip(" -"))
    return Mark(line, start + 1, max(1, len(text.rstrip()) - start))


def _drafts(app: App, report: BinaryIO, *, service: str, env: str) -> Iterator[Draft]:
    context = ReportContext(
        service=service or app.settings.get("service") or "service", env=env or app.settings.get("env"),
        root=str(Path.cwd()),
    )  # fmt: skip
    _, parsed = read_report(report, context)
    yield from (one.draft for one in parsed if isinstance(one, Found) and not one.resolved)


def _reported(app: App, drafts: tuple[Draft, ...], old: Policy, new: Policy) -> list[Difference]:
    backlog = app.reading()
    command = backlog.acting_as("policy test").command(Report(drafts=drafts))
    return backlog.read(lambda reader: list(compare_report(reader, command, old, new)))


def differs_from(app: App) -> str:
    """
    Say how the policy file of this host's settings differs from what is in force; nothing where it does not.
    """
    named = app.settings.get("policy")
    if not named:
        return ""
    path = Path(named)
    if not path.is_file():
        return f"the policy file {path} of the settings is not there"
    loaded = load_file(path)
    if loaded.policy is None:
        return f"the policy file {path} of the settings has {len(loaded.faults)} faults: backlog policy check {path}"
    in_force = app.reading().read(policy_in_force)
    if digest_of(loaded.policy) == digest_of(in_force):
        return ""
    return (
        f"the policy file {path} of the settings differs from revision {in_force.revision}, which is in force: "
        f"backlog policy test {path} shows how, backlog policy apply {path} puts it in force"
    )
