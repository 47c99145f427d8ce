"""
The one table from PostgreSQL's error codes to the errors of the store, and the texts that go with them.

Codes: PostgreSQL manual, appendix A. A class (two characters) stands for all its codes that are not listed.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from backlog_store.backends.postgres.wire import LinkError, Lost, Refused
from backlog_store.errors import (
    BackendError,
    BackendUnavailable,
    ConfigError,
    DataCorrupt,
    OutcomeUnknown,
    SchemaMismatch,
    StorageFull,
)

__all__ = ["NAME", "ONLY_READS", "RUN_AGAIN", "VIOLATED", "code_of", "failure", "redacted"]

NAME = "postgres"

#: Another writer was in the way: run the function again on what stands now.
RUN_AGAIN = frozenset({"40001", "40P01", "23505"})
#: A condition did not hold on the function's own snapshot (22012: a count was wrong, see statements.py), or perhaps did
#: not (23505): the function may have chosen that itself.
VIOLATED = frozenset({"22012", "23505"})
#: The server takes no writes: it was the primary once, or leads to it no more. Nothing of the transaction is there.
#: (55000 is what a standby says to LOCK TABLE.)
ONLY_READS = frozenset({"25006", "55000"})


class _Meaning(NamedTuple):
    error: type[BackendError]
    hint: str
    is_setting: bool = False  # at opening it is the URL that is wrong, not the server that is away


_DAMAGED = "Nothing was changed. The server's log says more; mend it there, or restore a backup."
_MEANINGS: dict[str, _Meaning] = {
    "08": _Meaning(BackendUnavailable, "The connection failed; try again."),
    "22012": _Meaning(BackendUnavailable, "Others changed the same things again and again; try again."),
    "23505": _Meaning(BackendUnavailable, "Others changed the same things again and again; try again."),
    "25006": _Meaning(
        BackendUnavailable,
        "This server only reads (a standby?). Name all servers in the URL, with target_session_attrs=read-write; while "
        "one of them takes over, try again.",
    ),
    "28": _Meaning(BackendUnavailable, "Check the user and the password, and the server's pg_hba.conf.", True),
    "3D000": _Meaning(BackendUnavailable, "Create the database (createdb NAME), or name one that exists.", True),
    "3F000": _Meaning(SchemaMismatch, "The store's schema is gone; open the store anew to create it."),
    "40": _Meaning(BackendUnavailable, "Others changed the same things again and again; try again."),
    "42501": _Meaning(
        BackendUnavailable,
        "The user lacks a privilege. To create the tables it needs CREATE on the database (or own the schema); to use "
        "them, SELECT, INSERT, UPDATE and DELETE on all of them.",
        True,
    ),
    "42P01": _Meaning(SchemaMismatch, "A table of the store is gone; open the store anew."),
    "42703": _Meaning(SchemaMismatch, "A column of the store is gone; open the store anew."),
    "53": _Meaning(BackendUnavailable, "The server is short of resources; try again later."),
    "53100": _Meaning(StorageFull, ""),
    "53300": _Meaning(BackendUnavailable, "The server allows no more connections; raise max_connections or use fewer."),
    "55000": _Meaning(BackendUnavailable, "The server cannot do this now (a standby?); try again."),
    "55P03": _Meaning(BackendUnavailable, "Somebody else holds a lock for long; try again."),
    "57": _Meaning(BackendUnavailable, "The server is stopping or starting; try again."),
    "57014": _Meaning(BackendUnavailable, "The statement took too long or waited for a lock; try again."),
    "XX001": _Meaning(DataCorrupt, _DAMAGED),
    "XX002": _Meaning(DataCorrupt, _DAMAGED),
}
#: What is not listed is no matter of trying again: a value that a table refuses, a fault of this program.
_OTHER = _Meaning(BackendError, "")

#: A refused connection comes without a code; these are the beginnings of PostgreSQL's own texts.
_TEXTS = (
    (re.compile(r'database ".*" does not exist'), "3D000"),
    (re.compile(r'role ".*" does not exist|password authentication failed|no password supplied|no pg_hba.conf'), "28"),
    (re.compile(r"too many (clients|connections)|connection slots are reserved"), "53300"),
    (re.compile(r"the database system is"), "57P03"),
    (re.compile(r"session is read-only|session is not read-only|server is (not )?in hot standby"), "25006"),
)


def failure(error: LinkError, operation: str, *, committing: bool = False, url: str = "") -> BackendError | ConfigError:
    """
    Return what the store raises for *error*; the caller raises it ``from`` *error*.

    *committing* says that COMMIT had been sent: without an answer the outcome is unknown then. With *url*, that of a
    store that is just being opened and already redacted, a wrong setting is a `ConfigError`.
    """
    if not isinstance(error, Refused):
        reason = _line(str(error))
        if committing:
            return OutcomeUnknown(
                NAME, operation, f"{reason}, and COMMIT had been sent", hint="Ask again with the same request id."
            )
        code = (error.code if isinstance(error, Lost) else "") or code_of(reason)
        meaning = _meaning(code) if code else _Meaning(BackendUnavailable, "Nothing was executed; try again.")
    else:
        meaning = _meaning(error.sqlstate)
        reason = f"{_line(error.text)} (SQLSTATE {error.sqlstate})"
    if meaning.is_setting and url:
        return ConfigError("url", url, reason, hint=meaning.hint)
    if meaning.error is StorageFull:
        return StorageFull(NAME, operation, path="the server's disk")
    if meaning.error is DataCorrupt:
        return DataCorrupt(NAME, path="a table of the store", offset=0, reason=reason, hint=meaning.hint)
    if meaning.error is SchemaMismatch:
        return SchemaMismatch(NAME, found=reason, expected="its own tables", hint=meaning.hint)
    return meaning.error(NAME, operation, reason, hint=meaning.hint)


def code_of(text: str) -> str:
    """
    Return the code that PostgreSQL's English *text* of a refused connection stands for, or the empty text.
    """
    return next((code for pattern, code in _TEXTS if pattern.search(text)), "")


def redacted(text: str, secrets: tuple[str, ...]) -> str:
    """
    Return *text* with every secret replaced.
    """
    for secret in secrets:
        if secret:
            text = text.replace(secret, "***")
    return text


def _meaning(sqlstate: str) -> _Meaning:
    return _MEANINGS.get(sqlstate) or _MEANINGS.get(sqlstate[:2]) or _OTHER


def _line(text: str) -> str:
    return "; ".join(" ".join(line.split()) for line in text.splitlines() if line.strip()).rstrip(".")
