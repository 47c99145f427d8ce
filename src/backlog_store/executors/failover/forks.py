"""
What a fork leaves behind: threads and locks are the parent's, so the child begins anew with its own.
"""

from __future__ import annotations

import os
import weakref
from typing import Protocol

__all__ = ["Forked", "follow"]


class Forked(Protocol):
    """
    What has threads or locks of its own.
    """

    def start_anew(self) -> None:
        """
        In a forked child: let go of what is the parent's.
        """
        ...


_followed: weakref.WeakSet[Forked] = weakref.WeakSet()


def follow(one: Forked) -> None:
    """
    Let *one* start anew in every forked child, as long as somebody holds it.
    """
    _followed.add(one)


def _after_fork() -> None:
    for one in list(_followed):
        one.start_anew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
