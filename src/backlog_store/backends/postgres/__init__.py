"""
The PostgreSQL backend: several hosts write one store. psycopg is imported only here.
"""

from backlog_store.backends.postgres.backend import PostgresBackend, open_postgres
from backlog_store.backends.postgres.deadlines import Deadlines

__all__ = ["Deadlines", "PostgresBackend", "open_postgres"]
