"""
Every error that the store raises, with its stable code.

::

    BacklogError                        code, fields as attributes, text built here
    ├─ InvalidInput (ValueError)        faults: every one, each with pointer, value, reason
    │  └─ InvalidQuery                  text, offset, expected
    ├─ NotFound (LookupError)           kind, id
    │  └─ AmbiguousId                   kind, id, candidates
    ├─ Conflict
    │  ├─ RevisionConflict              id, expected, found
    │  ├─ AlreadyExists                 kind, id, held_by
    │  ├─ TransitionNotAllowed          id, from_status, to_status, allowed
    │  ├─ PlanChanged                   token, departures
    │  ├─ RequestReused                 request_id
    │  └─ RequestExpired                request_id, kept_days
    ├─ NotAllowed                       action, reason
    ├─ BackendError                     backend, operation; the driver's error is __cause__
    │  ├─ BackendUnavailable            surely not executed; may be tried again
    │  ├─ OutcomeUnknown                the commit may have happened; ask again by request id
    │  ├─ DataCorrupt                   path, offset
    │  ├─ SchemaMismatch                found, expected
    │  └─ StorageFull                   path
    └─ ConfigError                      setting, value, hint
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from msgspec import Struct

__all__ = [
    "EXIT_CODES", "AlreadyExists", "AmbiguousId", "BackendError", "BackendUnavailable", "BacklogError", "ConfigError",
    "Conflict", "DataCorrupt", "Fault", "InvalidInput", "InvalidQuery", "NotAllowed", "NotFound", "OutcomeUnknown",
    "PlanChanged", "RequestExpired", "RequestReused", "RevisionConflict", "SchemaMismatch", "StorageFull",
    "TransitionNotAllowed", "exit_code",
]  # fmt: skip


FAULTS_TOLD = 100  # in a text, and in an answer over HTTP: no small request becomes a large answer


class Fault(Struct, frozen=True):
    """
    One thing that is wrong with an input.

    *pointer* is a JSON pointer (RFC 6901) into the input, *value* what stood there (shortened), *reason* what is
    wrong and what would be right.
    """

    pointer: str
    value: str
    reason: str

    def __str__(self) -> str:
        place = self.pointer or "(the whole input)"
        shown = f" = {self.value}" if self.value else ""
        return f"{place}{shown}: {self.reason}"


class BacklogError(Exception):
    """
    The base of every error of this package. `code` is stable and documented; the fields are attributes.
    """

    code: ClassVar[str] = "error"

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}" if self.hint else self.message

    def __reduce__(self) -> tuple[Any, ...]:
        # Errors cross process borders (pools, the HTTP client): rebuild from the fields, not from the text.
        return _rebuild, (type(self), self.args, dict(self.__dict__))


def _rebuild(cls: type[BacklogError], args: tuple[Any, ...], state: Mapping[str, Any]) -> BacklogError:
    error = cls.__new__(cls)
    error.args = args
    error.__dict__.update(state)
    return error


def _sentence(text: str) -> str:
    # What drivers say may end like a sentence already.
    return text if text.endswith((".", "?", "!")) else f"{text}."


class InvalidInput(BacklogError, ValueError):
    """
    The input is not acceptable; `faults` lists every fault, not only the first.
    """

    code = "invalid_input"

    def __init__(self, faults: Sequence[Fault], *, what: str = "input", hint: str = "") -> None:
        self.faults = tuple(faults)
        self.what = what
        if len(self.faults) == 1:
            text = f"invalid {what}: {self.faults[0]}"
        else:
            lines = "".join(f"\n  - {fault}" for fault in self.faults[:FAULTS_TOLD])
            text = f"invalid {what}, {len(self.faults)} faults:{lines}"
        super().__init__(text, hint=hint)


class InvalidQuery(InvalidInput):
    """
    A query that cannot be understood; `offset` (in characters) is where, `expected` what could stand there.
    """

    code = "invalid_query"

    def __init__(
        self, text: str, *, offset: int, reason: str, expected: Sequence[str] = (), suggestion: str = ""
    ) -> None:
        self.text = text
        self.offset = offset
        self.reason = reason
        self.expected = tuple(expected)
        self.suggestion = suggestion
        hint = f"Did you mean {suggestion!r}?" if suggestion else ""
        super().__init__([Fault(f"/query@{offset}", text, reason)], what="query", hint=hint)

    def caret(self) -> str:
        """
        Draw the query with a caret under the place.
        """
        return f"{self.text}\n{' ' * self.offset}^ {self.reason}"


class NotFound(BacklogError, LookupError):
    """
    Nothing of this kind has this id.
    """

    code = "not_found"

    def __init__(self, kind: str, id: str, *, hint: str = "") -> None:
        self.kind = kind
        self.id = id
        super().__init__(f"no {kind} {id!r} in this backlog.", hint=hint)


class AmbiguousId(NotFound):
    """
    An id prefix names more than one thing: `candidates`, or the first of them, and their `titles` where they are known.
    """

    code = "ambiguous_id"

    def __init__(self, kind: str, id: str, candidates: Sequence[str], titles: Sequence[str] = ()) -> None:
        super().__init__(kind, id)
        self.candidates = tuple(candidates)
        self.titles = tuple(titles)
        shown = ", ".join(self.candidates[:5]) + (", …" if len(self.candidates) > 5 else "")
        self.message = f"the prefix {id!r} names more than one {kind}: {shown}."
        self.hint = "Give more characters."
        self.args = (self.message,)


class Conflict(BacklogError):
    """
    The request is well formed, and the state of the store does not allow it.
    """

    code = "conflict"


class RevisionConflict(Conflict):
    """
    Somebody changed the thing since it was read; nothing was written.

    *detail* says what was changed, where fields rather than a revision were expected (*expected* is then 0).
    """

    code = "revision_conflict"

    def __init__(self, id: str, *, expected: int, found: int, detail: str = "") -> None:
        self.id = id
        self.expected = expected
        self.found = found
        detail = detail or f"revision {expected} was expected, {found} is stored"
        super().__init__(
            f"{id} was changed meanwhile: {detail}; nothing was written.", hint="Read it again and decide anew."
        )


class AlreadyExists(Conflict):
    """
    An id or a key is taken.
    """

    code = "already_exists"

    def __init__(self, kind: str, id: str, *, held_by: str, hint: str = "") -> None:
        self.kind = kind
        self.id = id
        self.held_by = held_by
        hint = hint or "Report or edit that item instead of creating one."
        super().__init__(f"the {kind} {id!r} is taken by {held_by}.", hint=hint)


class TransitionNotAllowed(Conflict):
    """
    The workflow does not allow this move; `allowed` names those that it does.
    """

    code = "transition_not_allowed"

    def __init__(self, id: str, *, from_status: str, to_status: str, allowed: Sequence[str]) -> None:
        self.id = id
        self.from_status = from_status
        self.to_status = to_status
        self.allowed = tuple(sorted(allowed))
        if self.allowed:
            hint = f"Allowed from {from_status}: {', '.join(self.allowed)}."
        else:
            hint = f"{from_status} is final for moves: reopen it with a reason first."
        super().__init__(f"{id} cannot move from {from_status} to {to_status}.", hint=hint)


class PlanChanged(Conflict):
    """
    What was shown is not what would be done now; nothing was written. `departures` says what changed, line by line.
    """

    code = "plan_changed"

    def __init__(self, token: str, departures: Sequence[str], *, detail: str = "") -> None:
        self.token = token
        self.departures = tuple(departures)
        lines = "".join(f"\n  - {one}" for one in self.departures[:20])
        more = len(self.departures) - 20
        lines += f"\n  … and {more:,} more" if more > 0 else ""
        text = f"the plan {token!r} is not what would be done now; {detail or 'nothing was written'}."
        super().__init__(f"{text}{lines}", hint="" if lines else "Look again, and apply what is shown then.")


class RequestReused(Conflict):
    """
    A request id came again with another body.
    """

    code = "request_reused"

    def __init__(self, request_id: str) -> None:
        self.request_id = request_id
        super().__init__(
            f"the request id {request_id!r} was used for a different request.", hint="Draw a new id for a new request."
        )


class RequestExpired(Conflict):
    """
    A request id is known, but its answer is no longer kept; nothing was run again.
    """

    code = "request_expired"

    def __init__(self, request_id: str, *, kept_days: int) -> None:
        self.request_id = request_id
        self.kept_days = kept_days
        super().__init__(
            f"the request {request_id!r} was carried out more than {kept_days} days ago and its answer is gone.",
            hint="Look at the items it named; draw a new id to ask again.",
        )


class NotAllowed(BacklogError):
    """
    A rule forbids the action; `reason` says which.
    """

    code = "not_allowed"

    def __init__(self, action: str, reason: str, *, hint: str = "") -> None:
        self.action = action
        self.reason = reason
        super().__init__(_sentence(f"{action} is not allowed: {reason}"), hint=hint)


class BackendError(BacklogError):
    """
    The store below failed. The driver's own error is `__cause__`.
    """

    code = "backend_error"

    def __init__(self, backend: str, operation: str, reason: str, *, hint: str = "") -> None:
        self.backend = backend
        self.operation = operation
        self.reason = reason
        super().__init__(_sentence(f"{backend}: {operation} failed: {reason}"), hint=hint)


class BackendUnavailable(BackendError):
    """
    The store cannot be reached or is locked. The operation was surely not executed and may be tried again.
    """

    code = "backend_unavailable"


class OutcomeUnknown(BackendError):
    """
    The connection broke while committing: it may have happened. Ask again with the same request id.
    """

    code = "outcome_unknown"


class DataCorrupt(BackendError):
    """
    Stored bytes are damaged; `path` and `offset` say where. Without a *hint* it is what helps a journal.
    """

    code = "data_corrupt"

    def __init__(self, backend: str, *, path: str, offset: int, reason: str, hint: str = "") -> None:
        self.path = path
        self.offset = offset
        hint = (
            hint or "Nothing was changed. `backlog doctor` shows the damage; `backlog doctor --repair` sets it aside."
        )
        super().__init__(backend, "reading", f"{path} is damaged at byte {offset}: {reason}", hint=hint)


class SchemaMismatch(BackendError):
    """
    The stored form is of another version than this program understands.
    """

    code = "schema_mismatch"

    def __init__(self, backend: str, *, found: str, expected: str, hint: str = "") -> None:
        self.found = found
        self.expected = expected
        reason = f"the store has schema {found}, this program expects {expected}"
        super().__init__(backend, "opening", reason, hint=hint)


class StorageFull(BackendError):
    """
    No room is left; the operation was not executed.
    """

    code = "storage_full"

    def __init__(self, backend: str, operation: str, *, path: str) -> None:
        self.path = path
        super().__init__(
            backend, operation, f"no space left for {path}", hint="Nothing was lost. Make room, then try again."
        )


class ConfigError(BacklogError):
    """
    A setting, URL or environment variable is wrong.
    """

    code = "config_error"

    def __init__(self, setting: str, value: str, reason: str, *, hint: str = "") -> None:
        self.setting = setting
        self.value = value
        self.reason = reason
        shown = f"{setting}={value!r}" if value else setting
        super().__init__(_sentence(f"{shown}: {reason}"), hint=hint)


#: The one table of exit codes of the command line; the most derived class that is listed wins.
EXIT_CODES: Mapping[type[BaseException], int] = {
    BacklogError: 1,
    InvalidInput: 2,
    ConfigError: 2,
    NotFound: 3,
    NotAllowed: 4,
    TransitionNotAllowed: 4,
    Conflict: 5,
    BackendError: 6,
    KeyboardInterrupt: 130,
}


def exit_code(error: BaseException) -> int:
    """
    Return the exit code for *error*; 1 for what the table does not know.
    """
    for cls in type(error).__mro__:
        if cls in EXIT_CODES:
            return EXIT_CODES[cls]
    return 1
