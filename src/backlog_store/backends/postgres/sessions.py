"""
One transaction on one link, and the queries of the compiler in this backend's dialect.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any, LiteralString

from msgspec.structs import replace

from backlog_store.backends.positions import no_position
from backlog_store.backends.postgres.deadlines import seconds_until
from backlog_store.backends.postgres.statements import COMMIT, HORIZON, ROLLBACK, limit_to
from backlog_store.backends.postgres.wire import Link, LinkError, Rows, Statement
from backlog_store.backends.sql import dialects
from backlog_store.query import HasWords

__all__ = ["DIALECT", "FEED", "Session", "numbered", "position_text"]

_TX_DIGITS, _N_DIGITS = 20, 10


def position_text(tx: bytes, n: bytes) -> str:
    """
    Return a position as text: two decimals of fixed width, so that bytes compare as the numbers do.
    """
    return f"{int(tx):0{_TX_DIGITS}d}.{int(n):0{_N_DIGITS}d}"


def _parse_position(text: str) -> tuple[int, int]:
    tx, dot, n = text.partition(".")
    if not (dot and text.isascii() and tx.isdigit() and n.isdigit()) or len(tx) != _TX_DIGITS or len(n) != _N_DIGITS:
        raise no_position(text)
    # Larger than any that is given; a larger number still would be refused by the server.
    return min(int(tx), 2**63 - 1), min(int(n), 2**31 - 1)


def _has_words(phrases: Sequence[HasWords]) -> dialects.Statement:
    tests, values = zip(*map(_has_phrase, phrases), strict=True)
    held: LiteralString = " OR ".join(tests)
    sql: LiteralString = f"EXISTS (SELECT FROM item_words WHERE item_id = items.id AND ({held}))"
    return dialects.Statement(sql, tuple(chain.from_iterable(values)))


def _has_phrase(phrase: HasWords) -> dialects.Statement:
    # `words` finds the items that hold all of them, by index; `said` tells whether they stand one after the other.
    lexemes = " & ".join(f"'{word}'" for word in phrase.words)
    query = f"{lexemes}:*" if phrase.prefix else lexemes
    if len(phrase.words) == 1:
        return dialects.Statement("words @@ CAST(%s AS tsquery)", (query,))
    said = f" {' '.join(phrase.words)}" + ("" if phrase.prefix else " ")
    return dialects.Statement("(words @@ CAST(%s AS tsquery) AND strpos(said, %s) > 0)", (query, said))


DIALECT = replace(
    dialects.POSTGRES, has_words=_has_words, position=("tx", "n"), parse_position=_parse_position, horizon=None
)
#: The same for a tail over many items: only what is settled.
FEED = replace(DIALECT, horizon=dialects.Statement(f"tx < {HORIZON}"))


def numbered(statement: dialects.Statement) -> Statement:
    """
    Return a compiled query with ``$1``, ``$2``… for its placeholders.
    """
    return Statement(_numbered(statement.sql), statement.parameters)


@lru_cache(maxsize=256)
def _numbered(sql: str) -> str:
    first, *rest = sql.split(DIALECT.placeholder)
    return first + "".join(f"${number}{part}" for number, part in enumerate(rest, 1))


class Session:
    """
    One transaction. It begins with the first exchange; *moment* is the deadline of all of them together.

    `failure` is what broke it: the function that runs in it may have swallowed the exception.
    """

    def __init__(self, link: Link, begin: Iterable[Statement], moment: float) -> None:
        self.link = link
        self.moment = moment
        self.failure: LinkError | None = None
        self.is_begun = False
        self.is_over = False
        self._begin = list(begin)

    def ask(self, *statements: Statement) -> list[Rows]:
        """
        Exchange statements inside the transaction. Raises `LinkError`; the transaction is lost then.
        """
        if self.failure is not None:
            raise self.failure
        before = [] if self.is_begun else self._begin
        try:
            answers = self.link.exchange([*before, *statements], self.moment)
        except LinkError as error:
            self.failure = error
            raise
        self.is_begun = True
        return answers[len(before) :]

    def extend(self, moment: float) -> Statement:
        """
        Set the deadline to *moment* if that is later, and return what tells the server.
        """
        self.moment = max(self.moment, moment)
        return limit_to(seconds_until(self.moment))

    def end(self, *, commit: bool = True) -> None:
        """
        End a transaction that has changed nothing, or whose changes are not wanted, without waiting for the answer.
        """
        self.is_over = True
        if self.link.is_usable and (self.is_begun or self.failure is not None):
            self.link.send(COMMIT if commit and self.failure is None else ROLLBACK)


def texts(rows: Rows) -> list[tuple[Any, ...]]:
    """
    Return rows of texts.
    """
    return [tuple(value.decode() for value in row) for row in rows]
