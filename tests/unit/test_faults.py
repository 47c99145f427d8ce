from collections.abc import Callable
from typing import Any

import pytest

from backlog_store.backends.memory import MemoryBackend
from backlog_store.backends.port import Writer
from backlog_store.errors import BackendError, BackendUnavailable, OutcomeUnknown
from backlog_store.testing.conformance.base import apply, events_of, item_of
from backlog_store.testing.faults import FailsBefore, Hooked, LosesAnswers, ReadOnly, RunsTwice, Wrapper, nth
from backlog_store.testing.samples import an_item, first

A, B = an_item("bl_a"), an_item("bl_b")


def test_a_failure_before_the_commit_writes_nothing() -> None:
    """The write that is hit raises that it surely was not executed, and it was not."""
    backend = FailsBefore(MemoryBackend(), nth(1))
    with pytest.raises(BackendUnavailable):
        apply(backend, first(A))
    assert item_of(backend, "bl_a") is None
    apply(backend, first(A))
    assert item_of(backend, "bl_a") == A


def test_a_lost_answer_leaves_the_write_done() -> None:
    """The write that is hit says that its outcome is unknown, and it has happened."""
    backend = LosesAnswers(MemoryBackend(), nth(2))
    apply(backend, first(A))
    with pytest.raises(OutcomeUnknown):
        apply(backend, first(B))
    assert item_of(backend, "bl_b") == B


def test_a_function_runs_twice_with_one_effect() -> None:
    """Both runs see the same state, the second one's answer and changes count."""
    backend = RunsTwice(MemoryBackend())
    runs: list[bool] = []

    def use(writer: Writer) -> int:
        runs.append("bl_a" in writer.items(["bl_a"]))
        writer.apply([first(A)])
        return len(runs)

    assert backend.write(use) == 2
    assert runs == [False, False]
    assert len(events_of(backend)) == 1


def test_a_read_only_store_can_be_read() -> None:
    """Reading works, writing says why it does not."""
    inner = MemoryBackend()
    apply(inner, first(A))
    backend = ReadOnly(inner)
    with pytest.raises(BackendError, match="read-only"):
        apply(backend, first(B))
    assert item_of(backend, "bl_a") == A


def test_hooks_surround_each_operation() -> None:
    """Both hooks are called with the operation's name, the second one only after a success."""
    calls: list[str] = []
    backend = Hooked(
        MemoryBackend(), before=lambda name: calls.append(f"<{name}"), after=lambda n: calls.append(f"{n}>")
    )
    apply(backend, first(A))
    backend.read(lambda reader: reader.items(["bl_a"]))
    with pytest.raises(ZeroDivisionError):
        backend.read(lambda _: 1 / 0)
    assert calls == ["<write", "write>", "<read", "read>", "<read"]


@pytest.mark.parametrize("wrap", [Wrapper, FailsBefore, LosesAnswers, RunsTwice, ReadOnly, Hooked])
def test_every_wrapper_hands_on_what_it_does_not_change(wrap: Callable[[Any], Wrapper]) -> None:
    """Claims, condition and closing are those of the backend inside."""
    inner = MemoryBackend()
    backend = wrap(inner)
    assert backend.capabilities == inner.capabilities
    assert backend.check() == inner.check()
    backend.close()
    with pytest.raises(BackendUnavailable):
        inner.read(lambda _: None)
