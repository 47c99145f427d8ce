"""
Whether this thread is inside a function that a store runs as a write. Whoever is must not hand work to another thread.

A store whose writes overlap says so here: a write inside a write is refused, also where another thread would do it.
"""

from __future__ import annotations

import threading

__all__ = ["here"]


class _Here(threading.local):
    """
    *depth* is how many such functions this thread is in.
    """

    depth = 0


here = _Here()
