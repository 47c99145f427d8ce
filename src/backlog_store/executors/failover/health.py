"""
What `check` and the doctor say of a failover executor.
"""

from __future__ import annotations

from pathlib import Path

from backlog_store.backends.places import file_system_of
from backlog_store.backends.port import Health
from backlog_store.errors import BackendUnavailable
from backlog_store.executors.failover.standing import Standing
from backlog_store.instants import Instant, add_seconds

__all__ = ["away", "health_of"]

#: File systems that are gone when the host is.
FLEETING = frozenset({"tmpfs", "ramfs", "overlay"})
#: So long, in seconds, does an outage last that somebody drains.
_LONG_S = 86_400.0


def away(operation: str, what: str, standing: str) -> BackendUnavailable:
    """
    Return the error of what needs the primary itself, while that is away.
    """
    return BackendUnavailable(
        "auto", operation, f"{what} ({standing})",
        hint="Try again when the database is back. Reports and comments are accepted meanwhile.",
    )  # fmt: skip


def health_of(standing: Standing, primary: Health | None, folder: Path, now: Instant) -> Health:
    """
    Return the health of primary (``None`` while it is away) and spool together.
    """
    problems = list(primary.problems) if primary is not None else []
    warnings = list(primary.warnings) if primary is not None else []
    problems += standing.problems
    account = standing.account
    if not account.balances:
        problems.append(f"the account of the spool does not balance: {account}")
    if account.parked:
        warnings.append(
            f"{account.parked:,} accepted commands could not be applied and are kept aside: "
            "`backlog spool list --parked` says why"
        )
    if standing.waiting:
        warnings.append(f"{standing.waiting:,} accepted commands wait in {folder}, the oldest since {standing.oldest}")
        if standing.oldest > now:
            warnings.append(
                f"the oldest of them is from the future ({standing.oldest}; now it is {now}): mind the clock"
            )
        elif standing.oldest < add_seconds(now, -_LONG_S):
            warnings.append("the oldest waits for more than a day: `backlog spool drain` says what keeps it")
    kind = file_system_of(_existing(folder))
    if kind in FLEETING:
        warnings.append(f"the spool {folder} lies on {kind}, which dies with its host: name a folder on a disk")
    facts = dict(primary.facts) if primary is not None else {}
    facts |= {
        "state": standing.state, "since": standing.since, "waiting": str(standing.waiting), "oldest": standing.oldest,
        "spool": standing.spool, "copy as of": standing.copy_as_of,
        "account": ", ".join(f"{getattr(account, name)} {name}" for name in account.__struct_fields__),
    }  # fmt: skip
    return Health(
        ok=not problems, backend="auto", problems=tuple(problems), warnings=tuple(warnings),
        facts={name: value for name, value in facts.items() if value},
    )  # fmt: skip


def _existing(folder: Path) -> Path:
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder
