"""
The SQLite backend: one file, the embedded default. See DESIGN.md in the folder above.
"""

from backlog_store.backends.sqlite.backend import SqliteBackend, open_sqlite

__all__ = ["SqliteBackend", "open_sqlite"]
