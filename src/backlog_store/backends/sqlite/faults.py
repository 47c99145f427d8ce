"""
The one table from what SQLite says to what this package raises.
"""

from __future__ import annotations

import sqlite3

from backlog_store.errors import BackendError, BackendUnavailable, DataCorrupt, StorageFull

__all__ = ["ENGINE_ERRORS", "NAME", "backend_error", "is_sync_lost"]

NAME = "sqlite"
#: What a call of the engine raises. The second is Python's own, of a message about a damaged schema that is no text.
ENGINE_ERRORS = (sqlite3.Error, UnicodeDecodeError)

_LOCKED = ("it is locked by another process", "Try again; a program that holds it for long should be closed.")
#: Primary result code: what it means here, and what to do.
_UNAVAILABLE: dict[int, tuple[str, str]] = {
    sqlite3.SQLITE_BUSY: _LOCKED,
    sqlite3.SQLITE_LOCKED: _LOCKED,
    sqlite3.SQLITE_PROTOCOL: _LOCKED,
    sqlite3.SQLITE_READONLY: (
        "it cannot be written to",
        "The file and its folder must be writable by this user, also for reading (the log lies beside the file).",
    ),
    sqlite3.SQLITE_CANTOPEN: (
        "it cannot be opened",
        "The file and its folder must exist and be readable and writable by this user.",
    ),
    sqlite3.SQLITE_PERM: ("access was denied", "The file and its folder must be writable by this user."),
}
_CORRUPT: dict[int, tuple[str, str]] = {
    sqlite3.SQLITE_CORRUPT: (
        "its pages contradict each other",
        "Nothing was changed. Bring a backup back (`backlog restore`), or save what is left (`doctor --repair`).",
    ),
    sqlite3.SQLITE_NOTADB: (
        "it is no SQLite database",
        "Nothing was changed. Name another file, or bring a copy back if this was a backlog once.",
    ),
}
#: No room for the part of the log that processes share.
_FULL = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE}
#: The disk refused to take or keep bytes.
_SYNC_LOST = {
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_IOERR_WRITE,
    sqlite3.SQLITE_IOERR_FSYNC,
    sqlite3.SQLITE_IOERR_DIR_FSYNC,
    sqlite3.SQLITE_IOERR_TRUNCATE,
    sqlite3.SQLITE_IOERR_CLOSE,
}
_IO_HINT = "The disk reports an error: look at the system's log before going on."


def backend_error(operation: str, path: str, error: sqlite3.Error | UnicodeDecodeError) -> BackendError:
    """
    Return what to raise for an error of SQLite during *operation*. The caller makes *error* its cause.
    """
    if isinstance(error, UnicodeDecodeError):
        hint = _CORRUPT[sqlite3.SQLITE_CORRUPT][1]
        return DataCorrupt(NAME, path=path, offset=0, reason="its schema is no text", hint=hint)
    full_code = _code(error)
    code = full_code & 0xFF
    if code in _UNAVAILABLE:
        reason, hint = _UNAVAILABLE[code]
        return BackendUnavailable(NAME, operation, f"{reason} ({path}: {error})", hint=hint)
    if code in _CORRUPT:
        reason, hint = _CORRUPT[code]
        return DataCorrupt(NAME, path=path, offset=0, reason=f"{reason} ({error})", hint=hint)
    if full_code in _FULL:
        return StorageFull(NAME, operation, path=path)
    hint = _IO_HINT if code == sqlite3.SQLITE_IOERR else ""
    return BackendError(NAME, operation, f"{error} ({path})", hint=hint)


def is_sync_lost(error: sqlite3.Error) -> bool:
    """
    Tell whether the disk refused to keep bytes: nothing written through this connection is safe any longer.
    """
    return _code(error) in _SYNC_LOST


def _code(error: sqlite3.Error) -> int:
    # The module's own errors (a closed connection, a wrong number of parameters) have no code.
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
