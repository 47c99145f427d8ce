"""
Backends with one fault each: memory, wrapped so that it breaks one promise. They are there to be caught.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from itertools import count
from typing import Any

import pytest
from msgspec.structs import replace

from backlog_store.backends.memory import MemoryBackend
from backlog_store.backends.port import Capabilities, PutRecord, Require, Sighting, Trim
from backlog_store.errors import BacklogError
from backlog_store.query import order_key
from backlog_store.testing.conformance import Forgetting, Retaining
from backlog_store.testing.faults import Wrapper
from backlog_store.words import words_of


class Proxy:
    """
    A reader or writer that hands on everything it does not change.
    """

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


class Mutant(Wrapper):
    """
    Memory behind a faulty reader.
    """

    proxy: type[Proxy] = Proxy

    def __init__(self) -> None:
        super().__init__(MemoryBackend())

    def read(self, fn: Callable[[Any], Any], /) -> Any:
        return self.backend.read(lambda reader: fn(self.proxy(reader)))

    def write(self, fn: Callable[[Any], Any], /, **hint: Any) -> Any:
        return self.backend.write(lambda writer: fn(self.proxy(writer)), **hint)


def mutant(**methods: Callable[..., Any]) -> type[Mutant]:
    """
    Return a mutant whose reader has these methods; each gets the reader inside first.
    """
    members = {name: _method(method) for name, method in methods.items()}
    return type("Faulty", (Mutant,), {"proxy": type("FaultyProxy", (Proxy,), members)})


def _method(method: Callable[..., Any]) -> Callable[..., Any]:
    return lambda self, *arguments: method(self.inner, *arguments)


class CommitsInSpiteOfErrors(Mutant):
    """Keeps what a function applied before it raised."""

    def write(self, fn: Callable[[Any], Any], /, **hint: Any) -> Any:
        raised: list[Exception] = []

        def run(writer: Any) -> Any:
            try:
                return fn(writer)
            except Exception as error:  # noqa: BLE001  (that is the fault)
                raised.append(error)

        answer = self.backend.write(run, **hint)
        if raised:
            raise raised[0]
        return answer


class ReadsWithoutAView(Mutant):
    """Takes a new view for each question of one read."""

    def read(self, fn: Callable[[Any], Any], /) -> Any:
        backend = self.backend

        class Restless:
            def __getattr__(self, name: str) -> Any:
                return lambda *arguments: backend.read(lambda reader: getattr(reader, name)(*arguments))

        return fn(Restless())


class LocksNothing(Mutant):
    """Lets a function read and decide before the transaction, and never runs it again."""

    def write(self, fn: Callable[[Any], Any], /, **hint: Any) -> Any:
        kept: list[Any] = []
        backend = self.backend

        class Unguarded:
            def __getattr__(self, name: str) -> Any:
                return lambda *arguments: backend.read(lambda reader: getattr(reader, name)(*arguments))

            def apply(self, changes: Any) -> None:
                kept.extend(changes)

        answer = fn(Unguarded())
        self.backend.write(lambda writer: writer.apply(kept), **hint)
        return answer


class AcknowledgesTooMuch(Mutant):
    """Carries out every seventh write on a view that it then throws away."""

    def __init__(self) -> None:
        super().__init__()
        self._numbers = count(1)

    def write(self, fn: Callable[[Any], Any], /, **hint: Any) -> Any:
        if next(self._numbers) % 7:
            return super().write(fn, **hint)
        answers: list[Any] = []

        def rehearse(writer: Any) -> None:
            answers.append(fn(writer))
            raise ConnectionError

        with contextlib.suppress(ConnectionError):
            self.backend.write(rehearse, **hint)
        return answers[0]


class ClaimsToBeDurable(Mutant):
    """Is empty after reopening, and says that it is durable."""

    @property
    def capabilities(self) -> Capabilities:
        return replace(super().capabilities, durable=True)


class ClaimsToBeShared(Mutant):
    """Gives every handle a store of its own, and says that they share one."""

    @property
    def capabilities(self) -> Capabilities:
        return replace(super().capabilities, shared=True)


class ClosesNothing(Mutant):
    """Goes on after a close."""

    def close(self) -> None:
        pass


def _swallowing(inner: Any, changes: Any) -> None:
    for change in changes:
        with contextlib.suppress(BacklogError):
            inner.apply([change])


def _overwriting(inner: Any, changes: Any) -> None:
    for change in changes:
        if isinstance(change, Sighting):
            id = f"{change.item_id}/{change.source}"
            body = {"n": change.n, "first_at": change.first_at, "last_at": change.last_at, "run": change.run}
            record = inner.records("sighting", [id]).get(id)
            blank = PutRecord(replace(record, body=body), force=True) if record else change
            inner.apply([blank])
        else:
            inner.apply([change])


def _substrings(inner: Any, query: Any) -> Any:
    words = getattr(query.where, "words", None)
    if not words:
        return inner.search(query)
    items = inner.search(replace(query, where=type(query).__struct_defaults__[0]))
    return [item for item in items if " ".join(words) in " ".join(words_of(f"{item.title} {item.description}"))]


def _in_the_order_of_a_language(inner: Any, query: Any) -> Any:
    items = list(inner.search(query))
    return sorted(items, key=lambda item: [part.casefold() for part in order_key(item, query.order)])


#: Each fault: the backend, and the test of the suite that must catch it.
MUTANTS: dict[str, tuple[Callable[[], Any], str]] = {
    "ignores requirements": (
        mutant(apply=lambda inner, changes: inner.apply([c for c in changes if not isinstance(c, Require)])),
        "test_a_requirement_holds_or_stops_everything",
    ),
    "applies what it can": (mutant(apply=_swallowing), "test_a_list_is_applied_whole_or_not_at_all"),
    "commits in spite of errors": (CommitsInSpiteOfErrors, "test_a_function_that_raises_leaves_nothing"),
    "reads without a view": (ReadsWithoutAView, "test_a_read_is_one_consistent_view"),
    "decides before the transaction": (LocksNothing, "test_two_writers_of_one_item_follow_each_other"),
    "cannot read its own changes": (LocksNothing, "test_a_write_reads_its_own_changes"),
    "lets two writers make one item": (LocksNothing, "test_two_writers_of_one_new_key_make_one_item"),
    "lets two writers break a rule": (LocksNothing, "test_a_rule_over_a_set_holds_between_two_writers"),
    "acknowledges what it did not write": (AcknowledgesTooMuch, "test_eight_writers_on_ten_hot_keys_lose_nothing"),
    "claims to be durable": (ClaimsToBeDurable, "test_an_opened_store_is_the_one_that_was_closed"),
    "claims to be shared": (ClaimsToBeShared, "test_a_second_handle_sees_the_first_s_writes"),
    "closes nothing": (ClosesNothing, "test_closing_is_idempotent_and_final"),
    "overwrites sightings": (mutant(apply=_overwriting), "test_sightings_add_up"),
    "finds parts of words": (mutant(search=_substrings), "test_words_are_found_as_they_are_cut"),
    "sorts as a language does": (
        mutant(search=_in_the_order_of_a_language), "test_every_order_is_bytewise_and_total"
    ),
    "takes no limit for the default": (
        mutant(search=lambda inner, query: inner.search(replace(query, limit=query.limit or 50))),
        "test_limit_and_offset_cut_the_list",
    ),
    "forgets the offset behind a cursor": (
        mutant(search=lambda inner, query: inner.search(replace(query, offset=0 if query.after else query.offset))),
        "test_limit_and_offset_cut_the_list",
    ),
    "takes none for any": (
        mutant(events=lambda inner, query: inner.events(replace(query, types=query.types or None))),
        "test_a_query_selects_what_it_says",
    ),
    "gives the oldest events first": (
        mutant(events=lambda inner, query: inner.events(replace(query, newest_first=False))),
        "test_a_query_selects_what_it_says",
    ),
    "counts positions without leading zeros": (
        mutant(events=lambda inner, query: [
            replace(event, position=event.position.lstrip("0")) for event in inner.events(query)
        ]),
        "test_positions_compare_bytewise_at_any_length",
    ),
    "takes a prefix for a pattern": (
        mutant(scan=lambda inner, kind, prefix, after, limit: [
            record for record in inner.scan(kind, "", after, 10_000)
            if record.id.casefold().startswith(prefix.casefold())
        ][:limit]),
        "test_a_scan_holds_to_its_prefix_in_bytewise_order",
    ),
    "counts nothing as zero": (
        mutant(tally=lambda inner, where, by: inner.tally(where, by) or {("",) * len(by): 0}),
        "test_counts_by_every_facet_are_exact",
    ),
    "drops fields it does not know": (
        mutant(items=lambda inner, ids: {
            id: replace(item, extra={}) for id, item in inner.items(ids).items()
        }),
        "test_fields_of_a_newer_version_survive",
    ),
    "trims nothing": (
        mutant(apply=lambda inner, changes: inner.apply([c for c in changes if not isinstance(c, Trim)])),
        "test_the_events_below_a_revision_are_gone",
    ),
    "trims one too many": (
        mutant(apply=lambda inner, changes: inner.apply([
            Trim(c.item_id, c.revision + 1) if isinstance(c, Trim) else c for c in changes
        ])),
        "test_a_trimmed_trail_grows_on",
    ),
    "keeps what it should forget": (MemoryBackend, "test_everything_is_accepted_and_nothing_is_kept"),
}  # fmt: skip


def _test_class(open_mutant: Callable[[], Any], test: str) -> type:
    suite: Any = Forgetting if hasattr(Forgetting, test) and not hasattr(Retaining, test) else Retaining
    fixture = pytest.fixture(lambda self: open_mutant)
    return type("TestMutant", (suite,), {"open_backend": fixture})


for _number, (_open, _test) in enumerate(MUTANTS.values()):
    globals()[f"TestMutant{_number}"] = _test_class(_open, _test)
