"""
One connection and the exchange of statements over it: any number of statements, one round trip, one deadline.

psycopg connects (several hosts, TLS, `target_session_attrs`…); after that its libpq wrapper `psycopg.pq` is used
directly, in pipeline mode. libpq has no client deadline of its own: with a frozen server a statement would hang for
ever. Here every wait has one, so nothing has to watch from outside. See backends/DESIGN.md.
"""

from __future__ import annotations

import hashlib
import select
import selectors
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from psycopg import OperationalError
from psycopg.pq import ConnStatus, DiagnosticField, ExecStatus

from backlog_store.backends.postgres.deadlines import seconds_until
from backlog_store.backends.postgres.parameters import Binary, Value, encoded
from backlog_store.errors import InvalidInput

if TYPE_CHECKING:
    from psycopg import Connection
    from psycopg.errors import Diagnostic
    from psycopg.pq.abc import PGconn, PGresult

__all__ = [
    "Expired",
    "Link",
    "LinkError",
    "Lost",
    "Refused",
    "Rows",
    "Statement",
]

Rows = list[list[bytes]]


class Statement(NamedTuple):
    """
    SQL with ``$1``, ``$2``… and its parameters.

    *is_hot* says that the same text comes again and again, and that one plan is good for all parameters; *name* tells
    those apart whose answer matters to somebody.
    """

    sql: str
    parameters: Sequence[Value] = ()
    is_hot: bool = False
    name: str = ""


class LinkError(Exception):
    """
    An exchange that did not come to its end. Never leaves this package: `failures` translates it.
    """


class Lost(LinkError):
    """
    The connection broke, or none was made; *code* is an SQLSTATE, where one says why.
    """

    def __init__(self, text: str, *, code: str = "") -> None:
        super().__init__(text)
        self.code = code


class Expired(LinkError):
    """
    The deadline passed without an answer; the connection was given up.
    """


class Refused(LinkError):
    """
    The server answered with an error; nothing after it in the exchange was executed. The connection is still good.
    """

    def __init__(self, sqlstate: str, text: str) -> None:
        super().__init__(text)
        self.sqlstate = sqlstate
        self.text = text


class Link:
    """
    One connection, always in pipeline mode. Used by one thread at a time.

    Hot statements are prepared once *prepares* is set, which is for connections without a pooler in between.
    *trips* and *statements* count what was sent, for those who measure.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._pg: PGconn = connection.pgconn
        self._pg.nonblocking = 1
        self._pg.enter_pipeline_mode()
        self._prepared: dict[str, bytes] = {}
        self._owed = 0  # answers of statements that nobody waited for
        self._unconfirmed = ""
        connection.add_notice_handler(self._notice)
        self.opened_at = self.used_at = time.monotonic()
        self.is_fresh = True  # made for the one who uses it now, so it cannot have died unnoticed
        self.prepares = False
        self.is_lax = False  # the database does not wait for the disk by default
        self.trips = 0
        self.statements = 0

    @property
    def server_process(self) -> int:
        """
        Return the process that the other end claimed to be when the connection was made.
        """
        return self._pg.backend_pid

    @property
    def is_usable(self) -> bool:
        """
        Tell whether the connection is not known to be broken.
        """
        return bool(self._pg.status == ConnStatus.OK)

    def exchange(self, statements: Sequence[Statement], moment: float) -> list[Rows]:
        """
        Send the statements at once and return the rows of each; all in one transaction that they begin or continue.

        Raises `Refused`, `Lost` or `Expired`; after the last two the link is closed.
        """
        self.trips += 1
        try:
            answers = self._receive(self._send(statements), moment)
        except (LinkError, InvalidInput):
            raise
        except BaseException:
            # Interrupted in between (Ctrl-C): what comes next on this connection would be the wrong answer.
            self.close()
            raise
        self.used_at = time.monotonic()
        return answers

    def send(self, statement: Statement) -> None:
        """
        Send a statement whose answer does not matter; it is taken before the next exchange. Raises nothing.
        """
        if statement.sql not in self._prepared:  # nobody will see whether it could be prepared
            statement = statement._replace(is_hot=False)
        try:
            self._send([statement])
            self._pg.flush()
        except (LinkError, OperationalError):
            self.close()  # whoever takes it next finds it unusable
        else:
            self._owed += 1

    def script(self, sql: str, moment: float) -> None:
        """
        Run several statements given as one text, without parameters. Raises as `exchange` does.
        """
        self._settle(moment)
        self._pg.exit_pipeline_mode()
        self._pg.send_query(sql.encode())
        try:
            self._flush(moment)
            refused: Refused | None = None
            while (result := self._result(moment)) is not None:
                if result.status == ExecStatus.FATAL_ERROR:
                    refused = refused or _refusal(result)
        finally:
            if self.is_usable and not self._pg.is_busy():
                self._pg.enter_pipeline_mode()
        if refused is not None:
            raise refused

    def close(self) -> None:
        """
        Close the connection at once, without waiting for the server. May be called twice.
        """
        self._connection.close()

    # --- inside -------------------------------------------------------------------------------------------------------

    def _send(self, statements: Sequence[Statement]) -> list[str]:
        """
        Send the statements and return what each answer will be about: a text that is prepared, or "" for rows.
        """
        # Encoded before the first one is sent: a text that cannot be sent must not leave half an exchange behind.
        texts = [[encoded(value) for value in statement.parameters] for statement in statements]
        formats = [[type(value) is Binary for value in values] for values in texts]
        self.statements += len(texts)
        expected: list[str] = []
        try:
            for statement, values, forms in zip(statements, texts, formats, strict=True):
                sql = statement.sql
                if not (statement.is_hot and self.prepares):
                    self._pg.send_query_params(sql.encode(), values, param_formats=forms)
                else:
                    name = self._prepared.get(sql) or _name(sql)
                    if sql not in self._prepared and sql not in expected:
                        self._pg.send_prepare(name, sql.encode())
                        expected.append(sql)
                    self._pg.send_query_prepared(name, values, param_formats=forms)
                expected.append("")
            self._pg.pipeline_sync()
        except OperationalError as error:
            raise self._lost() from error
        return expected

    def _receive(self, expected: Sequence[str], moment: float) -> list[Rows]:
        self._settle(moment)
        answers: list[Rows] = []
        refused: Refused | None = None
        about = iter(expected)
        while (result := self._next(moment)).status != ExecStatus.PIPELINE_SYNC:
            prepared = next(about, None)
            if prepared is None:
                # All is answered, COMMIT perhaps among it, and instead of the end comes that the server stops.
                raise self._lost(_refusal(result))
            if result.status == ExecStatus.FATAL_ERROR:
                refused = _refusal(result)
            elif result.status == ExecStatus.PIPELINE_ABORTED:
                continue
            elif prepared:
                self._prepared[prepared] = _name(prepared)
            else:
                answers.append(_rows(result))
        if refused is not None and refused.sqlstate == _NO_SUCH_PREPARED:
            raise self._lost(refused)  # somebody in between has dropped what was prepared
        if refused is not None:
            raise refused
        if self._unconfirmed:
            raise self._lost(Refused("", self._unconfirmed))
        return answers

    def _notice(self, diagnostic: Diagnostic) -> None:
        # An administrator cancelled the wait for a standby. COMMIT then answers as if all were well, with this warning
        # beside it, whose text depends on the server's language: it is known by the function that gives it.
        if diagnostic.source_function == "SyncRepWaitForLSN":
            self._unconfirmed = diagnostic.message_primary or "no standby confirmed the commit"

    def _settle(self, moment: float) -> None:
        self._flush(moment)
        self._drain(moment)

    def _drain(self, moment: float) -> None:
        while self._owed:
            if self._next(moment).status == ExecStatus.PIPELINE_SYNC:
                self._owed -= 1

    def _next(self, moment: float) -> PGresult:
        while True:
            # In pipeline mode an empty result only separates the answers of two statements.
            result = self._result(moment)
            if result is not None:
                if result.status == ExecStatus.FATAL_ERROR and not self.is_usable:
                    raise self._lost(_refusal(result))
                return result

    def _result(self, moment: float) -> PGresult | None:
        try:
            while self._pg.is_busy():
                self._wait(moment)
                self._pg.consume_input()
            return self._pg.get_result()
        except OperationalError as error:
            raise self._lost() from error

    def _flush(self, moment: float) -> None:
        try:
            while self._pg.flush():
                # The server may be unable to take more before its own answers are taken.
                if self._wait(moment, write=True):
                    self._pg.consume_input()
        except OperationalError as error:
            raise self._lost() from error

    def _wait(self, moment: float, *, write: bool = False) -> bool:
        """
        Wait until the socket is ready and tell whether it can be read; at the deadline close it and raise.
        """
        try:
            readable = _ready(self._pg.socket, seconds_until(moment), write=write)
        except OSError as error:
            self.close()
            raise Lost(f"waiting for the server failed: {error.strerror}") from error
        if readable is None:
            self.close()
            raise Expired("no answer came in time")
        return readable

    def _lost(self, refused: Refused | None = None) -> Lost:
        text = refused.text if refused else self._pg.get_error_message().strip()
        self.close()
        return Lost(text or "the connection is closed")


_NO_SUCH_PREPARED = "26000"


def _name(sql: str) -> bytes:
    # The text decides: a statement that is already there under its name is this one. Its first word is for people.
    return f"bs_{sql.split(None, 1)[0]}_{hashlib.sha256(sql.encode()).hexdigest()[:24]}".encode()


def _rows(result: PGresult) -> Rows:
    columns = range(result.nfields)
    # No column of ours is NULL.
    return [[result.get_value(row, column) or b"" for column in columns] for row in range(result.ntuples)]


def _refusal(result: PGresult) -> Refused:
    fields = [result.error_field(field) or b"" for field in _SHOWN]
    sqlstate, *texts = (field.decode("utf-8", "replace") for field in fields)
    return Refused(sqlstate, ": ".join(text for text in texts if text) or result.get_error_message().strip())


_SHOWN = (DiagnosticField.SQLSTATE, DiagnosticField.MESSAGE_PRIMARY, DiagnosticField.MESSAGE_DETAIL)


if hasattr(select, "poll"):

    def _ready(socket: int, seconds: float, *, write: bool) -> bool | None:
        # Not select(): it cannot name descriptors above 1,023.
        poll = select.poll()
        poll.register(socket, select.POLLIN | (select.POLLOUT if write else 0))
        events = poll.poll(seconds * 1000 + 1 if seconds else 0)
        return events[0][1] & ~select.POLLOUT != 0 if events else None

else:  # pragma: no cover - Windows

    def _ready(socket: int, seconds: float, *, write: bool) -> bool | None:
        with selectors.DefaultSelector() as selector:
            selector.register(socket, selectors.EVENT_READ | (selectors.EVENT_WRITE if write else 0))
            events = selector.select(seconds)
        return events[0][1] & selectors.EVENT_READ != 0 if events else None
