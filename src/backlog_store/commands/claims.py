"""
Commands about who works on what: taking an item for a while, keeping it, giving it back.
"""

from __future__ import annotations

from backlog_store.commands.items import BodyOf
from backlog_store.model import ItemId

__all__ = ["LEASE_S", "ClaimItem", "ReleaseItem", "RenewClaim"]

#: How long a claim lasts unless said otherwise, in seconds.
LEASE_S = 3_600


class ClaimItem(BodyOf, frozen=True, tag="claim"):
    """
    Take one item that is ready, for `lease_s` seconds by the command's instant; without `id` the next one of `env`.

    The answer's `token` tells this claim from every other one of the item, before and after. Raises `Conflict` for what
    is claimed, also by the same actor, and `NotAllowed` for what is not ready or over a limit of work in progress.
    """

    id: ItemId = ""
    env: str = ""
    lease_s: int = LEASE_S
    message: str = ""


class RenewClaim(BodyOf, frozen=True, tag="renew"):
    """
    Keep a claim for `lease_s` seconds from now; no event. Raises `Conflict` for a token that is not that of the claim.
    """

    id: ItemId
    token: int
    lease_s: int = LEASE_S


class ReleaseItem(BodyOf, frozen=True, tag="release"):
    """
    Give an item back. A person may free anybody's; a `token` must be that of the claim.
    """

    id: ItemId
    token: int = 0
    message: str = ""
