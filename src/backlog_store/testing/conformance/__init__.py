"""
The conformance suite: what a backend must do, as tests that any backend can be put through.

Subclass `Retaining` (or `Forgetting`, for a sink that keeps nothing) in a test module and give it one fixture::

    class TestMyBackend(Retaining):
        @pytest.fixture
        def open_backend(self, tmp_path):
            return lambda: MyBackend(tmp_path / "store")

`open_backend` is called with nothing and opens the one store of a test, which is empty at first: called again after a
close it opens the same store again, called again without a close it opens a second handle to it. Nothing is skipped and
nobody is asked for a class: where backends differ, `capabilities` says so, and both sides are tested.
"""

from __future__ import annotations

import pytest

# Must come before the modules are imported: then a failing assert in them shows its values.
pytest.register_assert_rewrite(
    *(
        f"{__name__}.{name}"
        for name in (
            "base",
            "events",
            "forgetting",
            "guards",
            "lifecycle",
            "puts",
            "records",
            "searches",
            "threads",
            "trims",
        )
    )
)

from backlog_store.testing.conformance.base import Common  # noqa: E402
from backlog_store.testing.conformance.events import Events  # noqa: E402
from backlog_store.testing.conformance.forgetting import Forgets  # noqa: E402
from backlog_store.testing.conformance.guards import Guards  # noqa: E402
from backlog_store.testing.conformance.lifecycle import Lifecycle  # noqa: E402
from backlog_store.testing.conformance.puts import Puts  # noqa: E402
from backlog_store.testing.conformance.records import Records  # noqa: E402
from backlog_store.testing.conformance.searches import Searches  # noqa: E402
from backlog_store.testing.conformance.threads import Threads  # noqa: E402
from backlog_store.testing.conformance.trims import Trims  # noqa: E402

__all__ = ["Forgetting", "Retaining"]


class Retaining(Common, Puts, Records, Guards, Searches, Events, Trims, Threads, Lifecycle):
    """
    Every obligation of a backend that keeps what it is given. Wants the fixture `open_backend`.
    """

    retains = True


class Forgetting(Common, Forgets):
    """
    Every obligation of a backend that accepts everything and keeps nothing. Wants the fixture `open_backend`.
    """

    retains = False
