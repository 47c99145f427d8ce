"""
The command that keeps a plan until it is applied.
"""

from __future__ import annotations

from backlog_store.commands.items import BodyOf
from backlog_store.instants import Instant

__all__ = ["KeepPlan"]


class KeepPlan(BodyOf, frozen=True, tag="keep_plan"):
    """
    Keep a part of the plan of *token* until *until*, as text; `planning.kept` says what the parts are.

    *parts* is how many there are, said with the first one (*number* 0), which is kept last: it makes the plan whole.
    """

    token: str
    number: int
    text: str
    until: Instant
    parts: int = 0
