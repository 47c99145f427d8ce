"""
The fixtures of the suite, its few helpers, and what holds for every backend, keeping or not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, ClassVar, TypeVar

import pytest

from backlog_store.backends.port import Backend, Change, Hint, PutRecord, Reader, Writer
from backlog_store.errors import BackendUnavailable, InvalidInput
from backlog_store.model import Event, Item, Record, RecordKind
from backlog_store.query import Compare, EventQuery, In, ItemQuery, Not
from backlog_store.testing.samples import a_record, an_item, first

__all__ = ["Common", "Open", "Suite", "apply", "events_of", "item_of", "record_of", "search"]

T = TypeVar("T")
Open = Callable[[], Backend]


def apply(backend: Backend, *changes: Change) -> None:
    """
    Apply the changes in one write of their own.
    """
    backend.write(lambda writer: writer.apply(changes))


def item_of(backend: Backend, id: str) -> Item | None:
    """
    Return the stored item, or `None`.
    """
    return backend.read(lambda reader: reader.items([id]).get(id))


def events_of(backend: Backend, *ids: str) -> list[Event]:
    """
    Return the events of these items (all events without any), in order.
    """
    return list(backend.read(lambda reader: reader.events(EventQuery(item_ids=ids or None, limit=None))))


def record_of(backend: Backend, kind: RecordKind, id: str) -> Record | None:
    """
    Return the stored record, or `None`.
    """
    return backend.read(lambda reader: reader.records(kind, [id]).get(id))


def search(backend: Backend, query: ItemQuery) -> list[Item]:
    """
    Return the page that *query* asks for.
    """
    return list(backend.read(lambda reader: reader.search(query)))


class Suite:
    """
    The fixtures that every part of the suite uses.
    """

    retains: ClassVar[bool]

    @pytest.fixture
    def open_backend(self) -> Open:
        """
        Return the opener of the store under test: the one thing a subclass must give.
        """
        raise NotImplementedError("give your test class a fixture `open_backend` that returns a function () -> Backend")

    @pytest.fixture
    def backend(self, open_backend: Open) -> Iterator[Backend]:
        """
        Open the store under test, and close it after the test.
        """
        backend = open_backend()
        yield backend
        backend.close()


class Boom(Exception):
    """
    Raised by functions under test.
    """


class Common(Suite):
    """
    What holds for every backend.
    """

    def test_it_is_of_the_side_that_this_suite_tests(self, backend: Backend) -> None:
        """The backend claims to retain exactly where it is put through the suite for those that do."""
        assert backend.capabilities.retains is self.retains

    def test_its_capabilities_have_a_name_and_stay_the_same(self, backend: Backend) -> None:
        """Messages and settings name a backend, so its name is there and its claims do not waver."""
        before = backend.capabilities
        apply(backend, first(an_item()))
        assert before.name
        assert backend.capabilities == before

    def test_what_keeps_nothing_claims_nothing_more(self, backend: Backend) -> None:
        """Only a backend that retains can be durable."""
        assert backend.capabilities.retains or not backend.capabilities.durable

    def test_read_and_write_return_what_the_function_returned(self, backend: Backend) -> None:
        """The answer of a function passes through unchanged, `None` as well."""
        answer = object()
        assert backend.read(lambda _: answer) is answer
        assert backend.write(lambda _: answer) is answer
        assert backend.write(lambda _: None) is None

    def test_the_error_of_a_function_passes_through(self, backend: Backend) -> None:
        """A function's own exception reaches the caller as it was raised, and the backend stays usable."""
        boom = Boom("no")

        def fail(_: Reader) -> None:
            raise boom

        with pytest.raises(Boom) as read_error:
            backend.read(fail)
        with pytest.raises(Boom) as write_error:
            backend.write(fail)
        assert read_error.value is boom
        assert write_error.value is boom
        assert backend.write(lambda _: 7) == 7

    def test_a_wrong_hint_does_no_harm(self, backend: Backend) -> None:
        """A hint is only a help: one that names nothing that exists changes no answer."""
        hint = Hint(ids=("nobody", ""), keys=(("prod", "nothing"), ("prod", "")), records=(("view", "none"),))

        def use(writer: Writer) -> Any:
            writer.apply([first(an_item())])
            return writer.items(["nobody"])

        assert backend.write(use, hint=hint) == {}

    def test_nothing_is_applied_by_an_empty_list(self, backend: Backend) -> None:
        """Applying no changes is no mistake and writes no event."""
        apply(backend)
        assert events_of(backend) == []

    def test_a_healthy_store_says_so(self, backend: Backend) -> None:
        """`check` names the backend and finds no problem in a store that works."""
        apply(backend, first(an_item()))
        health = backend.check()
        assert health.ok
        assert health.problems == ()
        assert health.backend == backend.capabilities.name

    @pytest.mark.parametrize(
        "query",
        [
            ItemQuery(where=In("nobody", ("x",))),
            ItemQuery(where=Not(Compare("tag", "<", "x"))),
            ItemQuery(where=Compare("env", "~", "x")),  # type: ignore[arg-type]
            ItemQuery(order="colour"),  # type: ignore[arg-type]
            ItemQuery(after=("one",), order="created"),
            ItemQuery(limit=-1),
            ItemQuery(offset=-1),
        ],
        ids=["unknown field", "compared tag", "unknown operator", "unknown order", "cursor", "limit", "offset"],
    )
    def test_an_impossible_query_is_refused(self, backend: Backend, query: ItemQuery) -> None:
        """A query that means nothing is an error that lists its faults, never an empty answer."""
        with pytest.raises(InvalidInput) as error:
            backend.read(lambda reader: reader.search(query))
        assert error.value.faults

    @pytest.mark.parametrize(
        "query", [EventQuery(limit=-1), EventQuery(types=("a\0",)), EventQuery(after="\ud800")], ids=repr
    )
    def test_an_impossible_query_of_events_is_refused(self, backend: Backend, query: EventQuery) -> None:
        """A negative limit, or a text that no store could hold, is an error and not an empty answer."""
        with pytest.raises(InvalidInput):
            backend.read(lambda reader: reader.events(query))

    def test_an_impossible_tally_is_refused(self, backend: Backend) -> None:
        """Counting by a facet that does not exist, or under an impossible condition, is an error."""
        with pytest.raises(InvalidInput):
            backend.read(lambda reader: reader.tally(In("nobody", ()), ()))
        with pytest.raises(InvalidInput):
            backend.read(lambda reader: reader.tally(In("env", ()), ("title",)))  # type: ignore[arg-type]

    def test_closing_is_idempotent_and_final(self, backend: Backend) -> None:
        """After a close every call says that the store is not available, and closing again is harmless."""
        apply(backend, first(an_item()))
        backend.close()
        backend.close()
        with pytest.raises(BackendUnavailable):
            backend.read(lambda _: None)
        with pytest.raises(BackendUnavailable):
            backend.write(lambda writer: writer.apply([PutRecord(a_record())]))
