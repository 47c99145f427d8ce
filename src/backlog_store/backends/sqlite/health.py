"""
What `check` looks at: the file, its log, the disk, and on request every page.
"""

from __future__ import annotations

import os
import sqlite3
import stat

from backlog_store.backends.sqlite import schema, words
from backlog_store.backends.sqlite.connection import Synchronous, has_reset_bug
from backlog_store.backends.sqlite.faults import backend_error

__all__ = ["Findings", "log_size"]

#: A log of this size, or so little room, is worth a warning.
_LARGE_LOG_BYTES = 64 * 1024 * 1024
_LITTLE_ROOM_BYTES = 64 * 1024 * 1024


class Findings:
    """
    Facts, warnings and problems of the store at *path*, as they come up.
    """

    def __init__(self, path: str, synchronous: Synchronous) -> None:
        self.path = path
        self.facts = {"path": path, "sqlite": sqlite3.sqlite_version, "synchronous": synchronous}
        self.warnings: list[str] = []
        self.problems: list[str] = []
        if synchronous != "FULL":
            self.warnings.append("synchronous=NORMAL: a power cut loses the last writes; FULL keeps them.")
        if has_reset_bug():
            mended = "this SQLite has it (mended in 3.51.3); the lock beside the file guards against it"
            self.facts["wal_reset_bug"] = mended

    def look_at_files(self) -> None:
        """
        Look at sizes, room and permissions. Raises `OSError` where that is impossible.
        """
        from shutil import disk_usage  # with its archives it costs a fiftieth of a command, and few look

        found = os.stat(self.path)  # noqa: PTH116  (a path is a text here)
        log_bytes = log_size(self.path)
        free_bytes = disk_usage(os.path.dirname(self.path)).free  # noqa: PTH120
        self.facts |= {"bytes": str(found.st_size), "log_bytes": str(log_bytes), "free_bytes": str(free_bytes)}
        if log_bytes >= _LARGE_LOG_BYTES:
            reason = "a reader that never ends, or another program, keeps it from being written back"
            self.warnings.append(f"The log has {log_bytes} bytes: {reason}.")
        if free_bytes < _LITTLE_ROOM_BYTES:
            self.warnings.append(f"Only {free_bytes} bytes are free on the disk.")
        if os.name == "posix" and found.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            self.warnings.append(f"Others may read or write the file: chmod 600 {self.path}")

    def look_inside(self, connection: sqlite3.Connection, *, every_page: bool) -> None:
        """
        Look at the schema and the index of words; with *every_page* at the file's whole structure. `BackendError`.
        """
        try:
            version = schema.read_version(connection)
            self.facts |= {"schema": str(version), "words_waiting": str(words.pending(connection))}
            if version > schema.SCHEMA:
                self.warnings.append("A newer version of backlog-store uses this store too: upgrade this one soon.")
            if every_page:
                found = [str(row[0]) for row in connection.execute("PRAGMA quick_check(10)")]
                self.facts["integrity"] = ", ".join(found)
                self.problems += [] if found == ["ok"] else found
        except sqlite3.Error as error:
            raise backend_error("check", self.path, error) from error


def log_size(path: str) -> int:
    """
    Return the bytes of the log beside the file; 0 if there is none.
    """
    try:
        return os.stat(f"{path}-wal").st_size  # noqa: PTH116
    except FileNotFoundError:
        return 0
