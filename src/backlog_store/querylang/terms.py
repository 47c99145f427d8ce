"""
The pieces of a query: what the parser hands over, what is answered, and how a piece is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

from msgspec import Struct

from backlog_store.errors import InvalidQuery
from backlog_store.instants import Instant
from backlog_store.query import All, Where

__all__ = ["Asker", "Parsed", "Piece", "Term", "conjunction", "nearest"]


class Piece(Struct, frozen=True):
    """
    One value as written, where it stands (in characters), and whether it was in quotes (then it is taken literally).
    """

    text: str
    offset: int
    quoted: bool = False


class Term(Struct, frozen=True):
    """
    ``field:op value,value``; *field* without the colon.
    """

    field: Piece
    op: str
    values: tuple[Piece, ...]


class Parsed(Struct, frozen=True, kw_only=True):
    """
    A query understood. *order* is empty where the query names none; *scoped*: it speaks of closed or live items itself.
    """

    where: Where
    order: str = ""
    descending: bool = False
    scoped: bool = False


class Asker(Struct, frozen=True):
    """
    What a query is understood against: its text (for errors), the instant, and who ``@me`` is.
    """

    text: str
    now: Instant
    me: str

    def refuse(self, piece: Piece, reason: str, *, expected: Sequence[str] = (), suggestion: str = "") -> NoReturn:
        """
        Raise `InvalidQuery` at this piece.
        """
        raise InvalidQuery(
            self.text, offset=piece.offset, reason=reason, expected=tuple(expected), suggestion=suggestion
        )


def nearest(word: str, known: Sequence[str]) -> str:
    """
    Return the known word that looks most like this one, or nothing.
    """
    from difflib import get_close_matches

    found = get_close_matches(word.lower(), known, n=1, cutoff=0.6)
    return found[0] if found else ""


def conjunction(parts: Sequence[Where]) -> Where:
    """
    Return "every part holds" in its shortest form.
    """
    return parts[0] if len(parts) == 1 else All(tuple(parts))
