"""
One run of a writing function on a link, and the end of every transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from backlog_store.backends.port import Hint, Writer
from backlog_store.backends.postgres.deadlines import seconds_until
from backlog_store.backends.postgres.segments import Targets
from backlog_store.backends.postgres.sessions import Session
from backlog_store.backends.postgres.statements import begin
from backlog_store.backends.postgres.wire import Link
from backlog_store.backends.postgres.writing import PostgresWriter

__all__ = ["Run", "ending"]


class Run:
    """
    One run of a writing function on a link.
    """

    def __init__(
        self, fn: Callable[[Writer], Any], hint: Hint, schema: str, locks: Targets, longest: float, *,
        in_turn: bool, with_care: bool,
    ) -> None:  # fmt: skip
        self._fn = fn
        self._hint = hint
        self._schema = schema
        self._locks = locks.locks()
        self._longest = longest
        self._in_turn = in_turn
        self._with_care = with_care
        self._session: Session | None = None
        self._writer: PostgresWriter | None = None

    def __call__(self, link: Link, moment: float) -> Any:
        """
        Run the function, and commit what it applied. Raises `LinkError`, and what the function raises.
        """
        start = begin(self._schema, seconds_until(moment), is_lax=link.is_lax, in_turn=self._in_turn,
                      is_shared=self._hint.is_shared)  # fmt: skip
        session = self._session = Session(link, start, moment)
        writer = self._writer = PostgresWriter(session, longest=self._longest, with_care=self._with_care)
        with ending(session):
            # Always a round trip of its own: on a connection that died unnoticed nothing is at stake yet.
            writer.prefetch(self._hint, *self._locks)
            answer = self._fn(writer)
            if session.failure is None:
                writer.commit()
            return answer

    @property
    def is_committing(self) -> bool:
        """
        Tell whether COMMIT was sent.
        """
        return self._writer is not None and self._writer.is_committing

    @property
    def targets(self) -> Targets:
        """
        Return what was written or relied on: what another run locks.
        """
        return self._writer.targets if self._writer is not None else Targets()

    @property
    def moved(self) -> int:
        """
        Return how many items were written.
        """
        return self._writer.moved if self._writer is not None else 0

    @property
    def moment(self) -> float:
        """
        Return the deadline, which a large write has moved.
        """
        return self._session.moment if self._session is not None else 0.0

    @property
    def newest(self) -> int:
        """
        Return the number in positions of the transaction, once it wrote events.
        """
        return self._writer.newest if self._writer is not None else 0


@contextmanager
def ending(session: Session) -> Iterator[None]:
    """
    End the session in any case. What broke the transaction is raised even if the function swallowed or wrapped it.
    """
    try:
        yield
    except Exception as error:
        session.end(commit=False)
        if session.failure is not None and error is not session.failure:
            raise session.failure from error
        raise
    except BaseException:
        session.end(commit=False)
        raise
    if session.failure is not None:
        session.end(commit=False)
        raise session.failure
    if not session.is_over:
        session.end()
