"""
Outgoing webhooks: what is kept of a subscription and of its deliveries.

A subscription has no queue: the trail is one, durable and in commit order, and the subscription keeps how far it has
come in it (docs/adr/0010). What is sent, and how, is in `backlog_store.webhooks`.
"""

from __future__ import annotations

from msgspec import Struct

from backlog_store.access import Scope
from backlog_store.instants import Instant

__all__ = [
    "ASIDE_MAX", "ATTEMPTS_MAX", "LEASE", "LOG_MAX", "SECRET_PREFIX", "Aside", "Attempt", "Progress", "Webhook",
    "aside_record", "is_secret", "log_record", "progress_record", "webhook_record",
]  # fmt: skip

SECRET_PREFIX = "whsec_"  # noqa: S105  (what each begins with is no secret)
#: Tries of one event, over about 20 hours; then it is a dead letter.
ATTEMPTS_MAX = 10
#: Events of one subscription that are kept aside: to be tried again, and dead letters. More of them stop it.
ASIDE_MAX = 1_000
#: Tries of one subscription that are remembered.
LOG_MAX = 200
#: The record (of kind ``delivery``) that says which process delivers.
LEASE = "lease"


class Webhook(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """
    A subscription: the body of the record ``access`` ``webhook/<name>``.

    *types* are those of the events (``None``: any), *query* what their items must match, *scope* what it reaches.
    *off* says why nothing is sent (empty: it is on).
    """

    name: str
    url: str
    by: str
    at: Instant
    secret: str = ""
    types: tuple[str, ...] | None = None
    query: str = ""
    scope: Scope | None = None
    off: str = ""
    removed_at: Instant = ""


class Progress(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """
    How far a subscription has come: the record ``delivery`` ``<name>/progress``.

    Everything up to the position *cursor* is delivered or kept aside. While the receiver cannot be reached, *attempts*
    counts the tries of the next event, *next_at* is when the next one is due, and *error* what the last one met.
    The record stays, emptied, when the subscription is removed.
    """

    cursor: str = ""
    attempts: int = 0
    next_at: Instant = ""
    error: str = ""
    kept: int = 0  # events that are kept aside
    due_at: Instant = ""  # when the first of them is to be tried again
    tried: int = 0  # tries there ever were; numbers the log
    delivered: int = 0


class Aside(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """
    An event that the receiver refused, or a dead letter: the record ``delivery`` ``<name>/aside/<position>``.
    """

    position: str
    event: str
    item_id: str
    revision: int
    type: str
    at: Instant
    attempts: int
    next_at: Instant = ""  # empty: it is a dead letter
    error: str = ""

    @property
    def is_dead(self) -> bool:
        """
        Tell whether it is tried no more.
        """
        return not self.next_at


class Attempt(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """
    One try: the record ``delivery`` ``<name>/log/<number, two digits or three>``.
    """

    number: int
    at: Instant
    event: str
    type: str
    item_id: str
    outcome: str  # delivered, refused, unreachable, dead, gone
    status: int = 0
    error: str = ""
    took_ms: int = 0


def webhook_record(name: str) -> str:
    """
    Return the id of a subscription's record, of kind ``access``.
    """
    return f"webhook/{name}"


def progress_record(name: str) -> str:
    """
    Return the id of the record of how far it has come, of kind ``delivery``.
    """
    return f"{name}/progress"


def aside_record(name: str, position: str) -> str:
    """
    Return the id of the record of an event kept aside, of kind ``delivery``.
    """
    return f"{name}/aside/{position}"


def log_record(name: str, number: int) -> str:
    """
    Return the id of the record of a try, of kind ``delivery``: the newest `LOG_MAX` are kept.
    """
    return f"{name}/log/{number % LOG_MAX:03d}"


def is_secret(text: str) -> bool:
    """
    Tell whether a text is such a secret, of 24 to 64 bytes.
    """
    import base64  # few ask
    import binascii

    try:
        size = len(base64.b64decode(text.removeprefix(SECRET_PREFIX), validate=True))
    except (binascii.Error, ValueError):
        return False
    return text.startswith(SECRET_PREFIX) and 24 <= size <= 64
