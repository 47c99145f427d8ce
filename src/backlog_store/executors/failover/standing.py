"""
What is told about a failover executor: its state, and the account of what was accepted.
"""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import astuple

from backlog_store.executors.failover.breaker import State
from backlog_store.instants import Instant

__all__ = ["Account", "Standing"]


class Account(Struct, frozen=True, kw_only=True):
    """
    What became of every command that was ever accepted into a spool.

    *again* counts commands that were offered once more to a primary that had been restored from a backup, *there* those
    whose answer the primary had already, *parked* those kept aside now. It must balance at any time::

        accepted + again = applied + there + parked + discarded + waiting
    """

    accepted: int = 0
    again: int = 0
    applied: int = 0
    there: int = 0
    parked: int = 0
    discarded: int = 0
    waiting: int = 0

    @property
    def balances(self) -> bool:
        """
        Tell whether nothing was lost and nothing came from nowhere.
        """
        ends = self.applied + self.there + self.parked + self.discarded + self.waiting
        return self.accepted + self.again == ends and min(astuple(self)) >= 0

    def plus(self, other: Account) -> Account:
        """
        Return the sum of two accounts.
        """
        return Account(**{name: getattr(self, name) + getattr(other, name) for name in self.__struct_fields__})

    def minus(self, other: Account) -> Account:
        """
        Return what was added since another account.
        """
        return Account(**{name: getattr(self, name) - getattr(other, name) for name in self.__struct_fields__})


class Standing(Struct, frozen=True, kw_only=True):
    """
    How things stand: where commands go, since when, and what waits.

    *oldest* is when the oldest waiting command was accepted, *in_memory* how many wait in memory only, *copy_as_of*
    when the local copy was last up to date (empty without one). *problems* are told in words, worst first.
    """

    state: State
    since: Instant
    waiting: int
    oldest: Instant
    account: Account
    spool: str
    in_memory: int = 0
    copy_as_of: Instant = ""
    problems: tuple[str, ...] = ()
