"""
The commands about outgoing webhooks: subscriptions, and what became of deliveries. See `backlog_store.hooks`.
"""

from __future__ import annotations

from typing import ClassVar

from backlog_store.access import Scope
from backlog_store.commands.items import BodyOf
from backlog_store.hooks import Aside, Attempt, Progress
from backlog_store.instants import Instant

__all__ = ["NoteDeliveries", "Redeliver", "RemoveWebhook", "SetWebhook"]


class SetWebhook(BodyOf, frozen=True, tag="set_webhook"):
    """
    Send events to *url*, or change that. *over* is the revision that was seen (0: a new one).

    A new one begins behind what is there now. *secret* ``None`` keeps the one that it has; *off* is why it is stopped.
    """

    DRAWN: ClassVar[tuple[str, ...]] = ("over", "secret")

    name: str
    url: str
    over: int
    secret: str | None = None
    types: tuple[str, ...] | None = None
    query: str = ""
    scope: Scope | None = None
    off: str = ""
    message: str = ""


class RemoveWebhook(BodyOf, frozen=True, tag="remove_webhook"):
    """
    Send nothing there any more, and forget how far it had come and what was kept aside.
    """

    name: str
    message: str = ""


class Redeliver(BodyOf, frozen=True, tag="redeliver"):
    """
    Send again: all behind a position (*after*; empty: all there is), or (*aside*) what was kept aside, now.
    """

    name: str
    after: str | None = None
    aside: bool = False
    message: str = ""


class NoteDeliveries(BodyOf, frozen=True, tag="note_deliveries"):
    """
    Hold the lease of delivering as *holder* until *until* (empty: give it back), and note what became of deliveries.

    Nothing is noted, and the verdict is ``unchanged``, where another one holds the lease, or *over*, the revision of
    the record of progress that was seen, is stale. *gone* are positions that are kept aside no longer.
    """

    holder: str
    until: Instant
    name: str = ""
    over: int = 0
    progress: Progress | None = None
    log: tuple[Attempt, ...] = ()
    aside: tuple[Aside, ...] = ()
    gone: tuple[str, ...] = ()
