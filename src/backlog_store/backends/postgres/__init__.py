"""
The PostgreSQL backend: several hosts write one store. psycopg is imported only here.
"""

from backlog_store.backends.postgres.backend import PostgresBackend, open_postgres

__all__ = ["PostgresBackend", "open_postgres"]
