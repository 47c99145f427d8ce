"""
Who may do what: roles, and the part of a backlog that a credential reaches.

========  ==================================================================
role       may
========  ==================================================================
reader     read
reporter   read, and report: drafts, runs, resolved problems
worker     that, and work: create, edit, move, close, link, comment, undo …
admin      that, and administer: clean up, import, policies, tokens, people
========  ==================================================================

A scope comes from the credential, never from the body of a request. What lies outside of it does not exist for whom it
binds: it is left out of every list and count, and asking for it by id is answered like asking for what never was.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from backlog_store.model import Item
from backlog_store.query import ANY, All, In, Where

__all__ = ["ACTIONS", "ROLES", "Action", "Role", "Scope", "permits"]

Role = Literal["reader", "reporter", "worker", "admin"]
Action = Literal["read", "report", "work", "administer"]

ROLES: tuple[Role, ...] = ("reader", "reporter", "worker", "admin")
#: The one table of permissions; the test matrix of the service is made from it.
ACTIONS: dict[Role, frozenset[Action]] = {
    "reader": frozenset({"read"}),
    "reporter": frozenset({"read", "report"}),
    "worker": frozenset({"read", "report", "work"}),
    "admin": frozenset({"read", "report", "work", "administer"}),
}


def permits(role: Role, action: Action) -> bool:
    """
    Tell whether a role includes an action.
    """
    return action in ACTIONS[role]


class Scope(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """
    What a credential reaches. ``None`` is any, an empty tuple none. `sources` bounds what it may report as.
    """

    role: Role
    envs: tuple[str, ...] | None = None
    services: tuple[str, ...] | None = None
    sources: tuple[str, ...] | None = None

    @property
    def is_whole(self) -> bool:
        """
        Tell whether every item lies within.
        """
        return self.envs is None and self.services is None

    @property
    def is_unbound(self) -> bool:
        """
        Tell whether nothing bounds it but its role: who says who else signs in, or is told, could give all of that.
        """
        return self.is_whole and self.sources is None

    @property
    def is_admin(self) -> bool:
        """
        Tell whether it may administer everything.
        """
        return permits(self.role, "administer") and self.is_unbound

    @property
    def reach(self) -> dict[str, list[str] | None]:
        """
        Return what it covers, as data: equal for scopes that see the same items.
        """
        return {"envs": _sorted(self.envs), "services": _sorted(self.services)}

    def covers(self, env: str, service: str) -> bool:
        """
        Tell whether an item of this env and service lies within.
        """
        return (self.envs is None or env in self.envs) and (self.services is None or service in self.services)

    def covers_item(self, item: Item) -> bool:
        """
        Tell whether *item* lies within.
        """
        return self.covers(item.env, item.service)

    def where(self) -> Where:
        """
        Return the condition of the items within.
        """
        parts: list[Where] = []
        if self.envs is not None:
            parts.append(In("env", self.envs))
        if self.services is not None:
            parts.append(In("service", self.services))
        return All(tuple(parts)) if parts else ANY


def _sorted(names: tuple[str, ...] | None) -> list[str] | None:
    return None if names is None else sorted({*names})
