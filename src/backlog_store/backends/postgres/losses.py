"""
What the server's settings mean for what was acknowledged, in words: after a power cut, and when the primary is gone.

PostgreSQL manual, 20.5.1 (fsync, full_page_writes, synchronous_commit) and 27.2.8 (synchronous replication).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

__all__ = ["Durability", "Standby", "Told", "tell"]


class Standby(NamedTuple):
    """
    A server that follows this one; *state* and *sync_state* are empty where the user may not see them.
    """

    name: str
    state: str
    sync_state: str
    behind_bytes: int

    def __str__(self) -> str:
        if not self.state:
            return "one that this user may not look at"
        behind = f", {self.behind_bytes} bytes behind" if self.behind_bytes >= 0 else ""
        return f"{self.name} ({self.sync_state}, {self.state}{behind})"


class Durability(NamedTuple):
    """
    The settings that decide what an acknowledgement is worth, and who follows.
    """

    fsync: bool
    full_page_writes: bool
    synchronous_commit: str
    synchronous_standby_names: str
    archives: bool
    standbys: Sequence[Standby]

    @property
    def awaited(self) -> int:
        """
        Return how many standbys a commit waits for.
        """
        names = self.synchronous_standby_names.strip()
        if not names or self.synchronous_commit == "local":
            return 0
        # FIRST n (…), ANY n (…), n (…), or names alone, of which it waits for one.
        found = re.match(r"(?:(?:FIRST|ANY)\s+)?(\d+)\s*\(", names, re.IGNORECASE)
        return int(found[1]) if found else 1

    @property
    def confirming(self) -> int:
        """
        Return how many standbys are there that a commit waits for.
        """
        return sum(each.sync_state in {"sync", "quorum"} and each.state == "streaming" for each in self.standbys)


class Told(NamedTuple):
    """
    The two facts, and what of them a person should look at.
    """

    on_power_loss: str
    on_primary_loss: str
    warnings: Sequence[str]
    problems: Sequence[str]


def tell(found: Durability) -> Told:
    """
    Say what would be lost.
    """
    power, warnings = _on_power_loss(found)
    primary, warning, problem = _on_primary_loss(found)
    return Told(power, primary, (*warnings, *filter(None, [warning])), tuple(filter(None, [problem])))


def _on_power_loss(found: Durability) -> tuple[str, Sequence[str]]:
    # Without synchronous_commit the store turns it on for its own writes (statements.begin).
    warnings = []
    if not found.fsync:
        warnings.append("fsync is off: a power cut may lose what was acknowledged, and damage the whole database")
    if not found.full_page_writes:
        warnings.append("full_page_writes is off: a power cut may damage pages that were being written")
    if found.synchronous_commit == "off":
        warnings.append("synchronous_commit is off; the store turns it on for its own writes")
    if not found.fsync:
        return "what was acknowledged may be lost, and the database damaged", warnings
    if not found.full_page_writes:
        return "what was acknowledged is on the disk, but pages that were being written may be damaged", warnings
    return "nothing that was acknowledged is lost", warnings


_ADVICE = "replicate synchronously (synchronous_standby_names; with Patroni, synchronous_mode)"


def _on_primary_loss(found: Durability) -> tuple[str, str, str]:
    """
    Return the fact, a warning and a problem, either of them empty.
    """
    standbys = found.standbys
    if found.awaited:
        return _when_awaited(found)
    if not standbys:
        since = "the last archived segment" if found.archives else "the last backup"
        return f"everything since {since}: no standby follows", "", ""
    how = "no standby is waited for"
    if found.synchronous_standby_names.strip():
        how = "synchronous_commit is local, so no standby is waited for"
    furthest = [each.behind_bytes for each in standbys if each.behind_bytes >= 0]
    now = f" ({min(furthest)} bytes now)" if furthest else ""
    return (
        f"what was acknowledged and the standby that takes over does not have yet{now}",
        f"{how}: a failover loses acknowledged writes; {_ADVICE}",
        "",
    )


def _when_awaited(found: Durability) -> tuple[str, str, str]:
    count = f"{found.awaited} standby{'s' if found.awaited > 1 else ''}"
    if any(not each.state for each in found.standbys):
        return (
            f"nothing that was acknowledged, if a standby takes over that a commit waits for ({count})",
            "whether the synchronous standbys are there cannot be seen: GRANT pg_monitor to the store's user",
            "",
        )
    problem = ""
    if found.confirming < found.awaited:
        problem = (
            f"commits wait for {count} ({found.synchronous_standby_names}), and {found.confirming} of them "
            f"{'are' if found.confirming != 1 else 'is'} there: writes hang until their deadline, their outcome unknown"
        )
    if found.synchronous_commit == "remote_write":
        return (
            "what was acknowledged, if the standby that takes over loses its power at the same time",
            "synchronous_commit is remote_write: a standby confirms before it has synced",
            problem,
        )
    return f"nothing that was acknowledged, if a standby takes over that a commit waits for ({count})", "", problem
