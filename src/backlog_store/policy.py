"""
What a team may decide differently: the workflow table and the bounds of acceptance. The default is built in.
"""

from __future__ import annotations

from msgspec import Struct, field

__all__ = ["DEFAULT_POLICY", "DEFAULT_TRANSITIONS", "DUE_DAYS", "Policy"]

#: The built-in workflow; drawn in `backlog_store.workflow`.
DEFAULT_TRANSITIONS: dict[str, tuple[str, ...]] = {
    "open": ("in_progress", "blocked", "canceled"),
    "in_progress": ("blocked", "done", "canceled"),
    "blocked": ("open", "in_progress", "canceled"),
    "done": (),
    "canceled": (),
}

#: Days until what a scanner's report opens is due, by priority. Used by `backlog report`, not by the library.
DUE_DAYS: dict[str, int] = {"P0": 2, "P1": 14, "P2": 60, "P3": 180}


class Policy(Struct, frozen=True, kw_only=True):
    """
    The rules in force. `revision` 0 is the built-in policy; each event names the revision it was decided under.
    """

    revision: int = 0
    transitions: dict[str, tuple[str, ...]] = field(default_factory=lambda: dict(DEFAULT_TRANSITIONS))
    acceptance_days_max: int = 366


DEFAULT_POLICY = Policy()
