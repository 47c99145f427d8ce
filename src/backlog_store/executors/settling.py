"""
Settling unknown outcomes: where a connection broke while committing, asking again by request id tells what happened.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from backlog_store.commands import Answer, Command
from backlog_store.errors import BackendUnavailable, OutcomeUnknown

__all__ = ["SETTLE_S", "settled"]

#: How long, in seconds, an unknown outcome is asked about before it is told to the caller.
SETTLE_S = 5.0
_PAUSE_FIRST_S = 0.02
_PAUSE_MAX_S = 0.5


def settled(
    unknown: OutcomeUnknown,
    ask: Callable[[], Answer],
    command: Command,
    *,
    within_s: float = SETTLE_S,
    pause: Callable[[float], None] = time.sleep,
    monotonic: Callable[[], float] = time.monotonic,
) -> Answer:
    """
    Return the answer to a command whose outcome is unknown, by asking again with pauses that grow.

    Asking again carries a command out that was not. Raises *unknown* where the command has no request id or nothing
    answered within *within_s* seconds, and what a rule says to a command that had not happened.
    """
    if not command.request_id:
        raise unknown
    deadline = monotonic() + within_s
    wait = _PAUSE_FIRST_S
    while monotonic() + wait < deadline:
        pause(wait)
        wait = min(2 * wait, _PAUSE_MAX_S)
        try:
            return ask()
        except (BackendUnavailable, OutcomeUnknown):
            continue
    raise unknown
