"""
What every request shares: the store, the settings of the service, and who asks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from litestar import Request
from msgspec import Struct

from backlog_store.access import Scope
from backlog_store.backlog import Backlog
from backlog_store.web.tail import Tail

__all__ = ["Asker", "Limits", "SignIn", "Site"]


class Limits(Struct, frozen=True, kw_only=True):
    """
    The bounds on requests. Sizes in bytes.
    """

    body: int = 8 * 1024 * 1024  # of a request; reports have their own
    report: int = 64 * 1024 * 1024
    page: int = 1_000
    listeners: int = 1_000  # of the event stream, in one process


class Asker(Struct, frozen=True, kw_only=True):
    """
    Who asks, as the credential says: a name, person or machine, and the scope (``None``: everything).
    """

    name: str
    person: bool = False
    scope: Scope | None = None


#: From a request to who asks. Raises `problems.HttpProblem` (401) for nobody it knows.
SignIn = Callable[[Request[Any, Any, Any]], Asker]


class Site(Struct, kw_only=True):
    """
    One service: its store, who may use it and how much of it a request may take.
    """

    backlog: Backlog
    sign_in: SignIn
    limits: Limits = Limits()
    has_sign_out: bool = False  # pages offer to sign out
    stream_every_s: float = 0.5
    _tail: Tail | None = None

    @property
    def tail(self) -> Tail:
        """
        Return the end of the log as this process follows it.
        """
        if self._tail is None:
            self._tail = Tail(self.backlog, interval_s=self.stream_every_s, most=self.limits.listeners)
        return self._tail
