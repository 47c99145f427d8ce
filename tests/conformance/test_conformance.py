"""
Every backend of the package, and every wrapper of the testing package that is to change nothing, through the suite.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from backlog_store.testing.conformance import Forgetting, Retaining
from backlog_store.testing.conformance.base import Open
from backlog_store.testing.faults import Hooked, RunsTwice
from tests.stores import RETAINING, new_stores


class TestRetaining(Retaining):
    @pytest.fixture(params=RETAINING)
    def open_backend(self, request: pytest.FixtureRequest, tmp_path: Path) -> Open:
        return new_stores(request.param, request, tmp_path)()


class TestForgetting(Forgetting):
    @pytest.fixture
    def open_backend(self, request: pytest.FixtureRequest, tmp_path: Path) -> Open:
        return new_stores("null", request, tmp_path)()


class TestRunningTwice(Retaining):
    """A backend that always runs a function again is as good as any: nothing may rest on running once."""

    @pytest.fixture
    def open_backend(self, request: pytest.FixtureRequest, tmp_path: Path) -> Open:
        inner = new_stores("memory", request, tmp_path)()
        return lambda: Hooked(RunsTwice(inner()))
