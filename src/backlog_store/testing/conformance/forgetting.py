"""
The other side of `retains`: everything is accepted, and nothing is kept.
"""

from __future__ import annotations

from backlog_store.backends.port import Backend
from backlog_store.query import ANY, EventQuery, ItemQuery
from backlog_store.testing.conformance.base import Open, Suite, apply
from backlog_store.testing.conformance.puts import BAD, GOOD, PREPARED, A
from backlog_store.testing.contents import KINDS, contents
from backlog_store.testing.samples import then


class Forgets(Suite):
    """
    A sink.
    """

    def test_everything_is_accepted_and_nothing_is_kept(self, backend: Backend) -> None:
        """Every kind of change, those for an absent thing as well, is taken without a word."""
        for change in (*PREPARED, *GOOD, *BAD.values(), then(A)):
            apply(backend, change)
            assert contents(backend) == []

    def test_every_question_has_the_answer_of_an_empty_store(self, backend: Backend) -> None:
        """Each way of reading finds nothing, and says so in its own form."""
        apply(backend, *PREPARED)
        assert backend.read(lambda reader: reader.items(["bl_a"])) == {}
        assert backend.read(lambda reader: reader.items_by_key([("prod", "ka")])) == {}
        assert list(backend.read(lambda reader: reader.search(ItemQuery(limit=None)))) == []
        assert backend.read(lambda reader: reader.tally(ANY, ("status",))) == {}
        assert list(backend.read(lambda reader: reader.events(EventQuery(limit=None)))) == []
        assert backend.read(lambda reader: reader.records("view", ["old"])) == {}
        assert backend.read(lambda reader: [len(reader.scan(kind, "", "", 9)) for kind in KINDS]) == [0 for _ in KINDS]

    def test_nothing_is_there_after_opening_again(self, backend: Backend, open_backend: Open) -> None:
        """A second handle and a reopened one are as empty as the first."""
        apply(backend, *PREPARED)
        other = open_backend()
        assert contents(other) == []
        other.close()
