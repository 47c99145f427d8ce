"""
The checker of histories finds each kind of wrong history, so that its silence means something.
"""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from backlog_store.backends.memory import MemoryBackend
from backlog_store.backends.port import Backend, Writer
from backlog_store.model import Key
from backlog_store.testing.conformance.base import apply
from backlog_store.testing.faults import FailsBefore, LosesAnswers
from backlog_store.testing.histories import Operation, append_to_key, check_history, key_of, perform
from backlog_store.testing.samples import an_item, first

KEY = key_of(0)


def _operations(backend: Backend, count: int = 3) -> list[Operation]:
    return perform(lambda _: backend, append_to_key, clients=1, keys=1, each=count)


def test_a_good_history_has_no_faults() -> None:
    """Several clients on several keys of a sound backend give a history without a fault."""
    backend = MemoryBackend()
    operations = perform(lambda _: backend, append_to_key, clients=4, keys=3, each=10)
    assert len({operation.mark for operation in operations}) == 40
    assert check_history(backend, operations) == []


def test_unknown_and_failed_operations_are_judged_by_what_they_promise() -> None:
    """A lost answer may have happened, a refusal surely has not; both are part of a good history."""
    inner = MemoryBackend()
    backend = LosesAnswers(FailsBefore(inner, lambda number: number % 5 == 0), lambda number: number % 3 == 0)
    operations = _operations(backend, 20)
    assert {operation.outcome for operation in operations} == {"done", "failed", "unknown"}
    assert check_history(inner, operations) == []


def test_a_lost_change_is_found() -> None:
    """An acknowledged change that is not in the trail is a fault."""
    backend = MemoryBackend()
    operations = _operations(backend)
    ghost = replace(operations[0], mark="ghost", revision=4)
    assert check_history(backend, [*operations, ghost]) != []


def test_a_missing_item_is_found() -> None:
    """Acknowledged changes of a key without an item are a fault."""
    operations = _operations(MemoryBackend())
    assert "no item" in check_history(MemoryBackend(), operations)[0]


def test_a_doubled_change_is_found() -> None:
    """A change that took effect twice is a fault, whatever it was told."""
    backend = MemoryBackend()

    def twice(backend: Backend, key: Key, mark: str) -> int:
        append_to_key(backend, key, mark)
        return append_to_key(backend, key, mark)

    operations = perform(lambda _: backend, twice, clients=1, keys=1, each=2)
    assert any("happened 2 times" in fault for fault in check_history(backend, operations))


def test_an_invented_change_is_found() -> None:
    """A mark that nobody asked for is a fault, and so is one whose client was told that it failed."""
    backend = MemoryBackend()
    operations = _operations(backend)
    assert any("nobody asked" in fault for fault in check_history(backend, operations[:-1]))
    failed = replace(operations[-1], outcome="failed", revision=0)
    assert any("was told" in fault for fault in check_history(backend, [*operations[:-1], failed]))


def test_an_event_of_no_key_is_found() -> None:
    """An event of an item that holds none of the keys is a fault."""
    backend = MemoryBackend()
    operations = _operations(backend)
    apply(backend, first(an_item("bl_stray")))
    assert any("belongs to no key" in fault for fault in check_history(backend, operations))


@pytest.mark.parametrize("shift", [-1, 1])
def test_an_order_that_time_forbids_is_found(shift: int) -> None:
    """An operation that began after another had ended cannot have come before it."""
    backend = MemoryBackend()
    operations = _operations(backend, 2)
    moved = replace(operations[0], invoked=operations[1].returned + shift, returned=operations[1].returned + 10)
    faults = check_history(backend, [moved, operations[1]])
    assert (faults != []) == (shift > 0)


def test_an_unacknowledged_revision_is_found() -> None:
    """A revision without its event, or answered to the wrong client, is a fault."""
    backend = MemoryBackend()
    operations = _operations(backend, 2)
    swapped = [replace(operations[0], revision=2), replace(operations[1], revision=1)]
    assert any("not its own" in fault for fault in check_history(backend, swapped))


def test_an_error_of_a_client_reaches_the_test() -> None:
    """What is no error of the store stops the test instead of being recorded."""

    def broken(backend: Backend, key: Key, mark: str) -> int:
        return backend.write(_divide)

    with pytest.raises(ZeroDivisionError):
        perform(lambda _: MemoryBackend(), broken, clients=2, keys=1, each=1)


def _divide(_: Writer) -> int:
    return 1 // 0
