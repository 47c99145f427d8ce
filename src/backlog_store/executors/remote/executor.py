"""
The remote executor: commands and questions go to a `backlog serve`, which decides by the same rules.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import IO, TYPE_CHECKING, Any, TypeVar

import msgspec
from msgspec.structs import replace

from backlog_store.backends.port import Backend, Health, Reader
from backlog_store.codec import decode_json, encode
from backlog_store.commands import Answer, Command, Reporting
from backlog_store.errors import BackendError, NotAllowed, OutcomeUnknown
from backlog_store.executors.remote.connection import NAME, Connection
from backlog_store.executors.remote.wire import CommandAsked, PlanAsked, WireReader
from backlog_store.executors.settling import SETTLE_S, settled
from backlog_store.ids import derived
from backlog_store.rules import Decision, check_command, decide
from backlog_store.rules.overlay import Overlay

if TYPE_CHECKING:
    from backlog_store.importchunk import Transferred

__all__ = ["RemoteExecutor"]

T = TypeVar("T")

_EXPORT_S = 600.0  # the server reads all of it before it sends the first byte
_answers = msgspec.json.Decoder(Answer)


class RemoteExecutor:
    """
    An `executors.local.Executor` on a server at *url*. Who acts is whom the token names, and the server's clock counts.

    A command whose answer was lost is asked about by its request id for *settle_s* seconds; one without gets one.
    Raises `ConfigError` for what is no address.
    """

    def __init__(self, url: str, *, token: str = "", timeout_s: float = 30.0, settle_s: float = SETTLE_S) -> None:
        self._connection = Connection(url, token=token, timeout_s=timeout_s)
        self._settle_s = settle_s

    @property
    def backend(self) -> Backend:
        """
        Raise `NotAllowed`: what goes past the rules is done where the store is.
        """
        raise NotAllowed("to import, verify or back up through a server", "this goes to the store itself",
                         hint="Run it where the store is, with its own URL.")  # fmt: skip

    @property
    def copy_as_of(self) -> str:
        """
        Return as of when the last answer was, if it came from the server's copy; empty if from its database.
        """
        return self._connection.copy_as_of

    def execute(self, command: Command) -> Answer:
        """
        Carry a command out on the server.
        """
        if not command.request_id:
            command = replace(command, request_id=f"remote/{derived('request', command.seed)}")
        ask = partial(self._ask, command, preview=False)
        try:
            return ask()
        except OutcomeUnknown as unknown:
            return settled(unknown, ask, command, within_s=self._settle_s)

    def preview(self, command: Command) -> Answer:
        """
        Decide a command on the server and write nothing.
        """
        return self._ask(command, preview=True)

    def _ask(self, command: Command, *, preview: bool) -> Answer:
        is_report = isinstance(command.body, Reporting) and command.actor.kind == "machine"
        asked = CommandAsked(
            body=command.body, request_id="" if preview else command.request_id, batch=command.batch,
            expect=command.expect, token=command.token, preview=preview, source=command.actor.name if is_report else "",
        )  # fmt: skip
        return _answers.decode(self._connection.send("POST", "/api/v1/commands", encode(asked), writes=not preview))

    def foresee(self, command: Command, over: Overlay) -> Decision:
        """
        Decide a command here, by what the server answers, with *over* laid over it; nothing is written.
        """
        check_command(command)
        return self.read(lambda reader: decide(over.on(reader), command))

    def apply(self, token: str) -> Any:
        """
        Apply the plan that the server keeps by this token; return what became of it, as plain data.

        Asked again it does what is still to be done, so an answer that was lost is no harm. Raises `PlanChanged`.
        """
        body = encode(PlanAsked(apply=token))
        return decode_json(self._connection.send("POST", "/api/v1/commands/plan", body, writes=True))

    def export(self, sink: IO[bytes]) -> Transferred:
        """
        Write to *sink* what the server exports to who asks; nothing before all of it has come, proved by its last line.

        Raises `BackendUnavailable` where it did not come whole.
        """
        from backlog_store.transfer import fetched_export

        return fetched_export(self._connection.fetch("/api/v1/export", timeout_s=_EXPORT_S), sink)

    def read(self, fn: Callable[[Reader], T], /) -> T:
        """
        Run *fn*; each question that it asks is answered as of when it is asked.
        """
        return fn(WireReader(lambda question: self._connection.send("POST", "/api/v1/questions", question)))

    def check(self) -> Health:
        """
        Ask the server whether it is well.
        """
        try:
            return msgspec.json.decode(self._connection.send("GET", "/api/v1/health"), type=Health)
        except (BackendError, msgspec.MsgspecError) as error:
            return Health(ok=False, backend=NAME, problems=(str(error),))

    def close(self) -> None:
        """
        Let go of this thread's connection.
        """
        self._connection.close()
