"""
The PostgreSQL backend goes through the suite that is shipped.
"""

from __future__ import annotations

import pytest

from backlog_store.backends.postgres import open_postgres
from backlog_store.testing.conformance import Retaining
from backlog_store.testing.conformance.base import Open


class TestPostgres(Retaining):
    """
    On a real server, in a database whose own order of texts is not bytewise.
    """

    @pytest.fixture
    def open_backend(self, postgres_dsn: str) -> Open:
        """Open the one store of a test."""
        return lambda: open_postgres(postgres_dsn)
