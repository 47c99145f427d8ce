"""
How long the failover executor waits for what.
"""

from __future__ import annotations

from msgspec import Struct

__all__ = ["Timing"]


class Timing(Struct, frozen=True, kw_only=True):
    """
    How long, in seconds, and how much at a time.

    *open_s*: how long opening waits for the primary's first answer. *wait_s*: how long a conditional command waits for
    the spool to be drained, *settle_s*: how long one whose outcome is unknown is asked about. *close_s*: how long
    closing waits for a drain that goes on, *give_way_s*: how long a commutative command gives it its turn. *look_s*:
    how often the spool and the copy are looked after while all is well, *turn_s*: while another process drains.
    *batch*: drafts replayed in one transaction.
    """

    open_s: float = 0.8
    wait_s: float = 5.0
    settle_s: float = 5.0
    close_s: float = 2.0
    give_way_s: float = 0.05
    look_s: float = 1.0
    turn_s: float = 0.02
    batch: int = 2_000
