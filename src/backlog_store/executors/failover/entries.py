"""
What a spool keeps: accepted commands, where each of them ended, and the one document that tells how far it is.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from backlog_store.commands import Command, Report, Resolve
from backlog_store.errors import StorageFull
from backlog_store.executors.failover.standing import Account
from backlog_store.instants import Instant

__all__ = ["Ended", "Entry", "Ledger", "Parked", "SpoolFull", "weight_of"]


class SpoolFull(StorageFull):
    """
    More commands wait than may.
    """


class Entry(Struct, frozen=True):
    """
    An accepted command: its number in the order of acceptance, and when it was accepted.
    """

    number: int
    command: Command
    at: Instant

    @property
    def weight(self) -> int:
        """
        Return how many problems it is about.
        """
        return weight_of(self.command)


class Parked(Struct, frozen=True, kw_only=True):
    """
    An accepted command that could not be applied: the error's code, its text, and when that was found.
    """

    number: int
    command: Command
    at: Instant
    code: str
    reason: str
    parked_at: Instant


class Ledger(Struct, frozen=True, kw_only=True):
    """
    The spool's one document: its id, the account, the number given last, and the mark.

    `primary` is the id of the store that the commands are for. The weights are numbers of drafts: those that wait, and
    those behind the mark that are kept. `told` names what was last added to the account from elsewhere.
    """

    id: str
    primary: str = ""
    last: int = 0
    mark: int = 0
    account: Account = Account()
    weight_waiting: int = 0
    weight_kept: int = 0
    told: tuple[str, ...] = ()


class Ended(Struct, frozen=True):
    """
    Where one command ended; *code* and *reason* say why it was parked, *handed* means to another spool.
    """

    number: int
    weight: int
    how: Literal["applied", "there", "parked", "handed"]
    code: str = ""
    reason: str = ""


def weight_of(command: Command) -> int:
    """
    Return how many problems a command is about, at least 1.
    """
    body = command.body
    if isinstance(body, Report):
        return max(1, len(body.drafts))
    return max(1, len(body.dedupe_keys)) if isinstance(body, Resolve) else 1
