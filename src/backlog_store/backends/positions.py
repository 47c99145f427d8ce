"""
Positions of the backends that number the events of a store's life; PostgreSQL has others.
"""

from __future__ import annotations

from backlog_store.errors import Fault, InvalidInput

__all__ = ["no_position", "number_of", "position_text"]

_DIGITS = 16


def position_text(number: int) -> str:
    """
    Return the position of the event with this number: 16 digits, so that the order of texts is that of the numbers.
    """
    return f"{number:0{_DIGITS}d}"


def number_of(position: str) -> int:
    """
    Return the number that a position stands for. Raises `InvalidInput` for a text that is none.
    """
    if not (position.isascii() and position.isdigit()) or len(position) != _DIGITS:
        raise no_position(position)
    return int(position)


def no_position(text: str) -> InvalidInput:
    """
    Return what is raised for a text that is no position: of another store, say, or garbled on its way.
    """
    return InvalidInput([Fault("/after", text[:80], "no position of this store's events")], what="query")
