"""
Many writers at once: nothing is lost, nothing is written twice.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from itertools import count

from backlog_store.backends.port import Backend, Sighting, Writer
from backlog_store.instants import add_seconds
from backlog_store.testing.clocks import START
from backlog_store.testing.conformance.base import Open, Suite, apply, item_of, record_of
from backlog_store.testing.histories import append_to_key, check_history, perform
from backlog_store.testing.samples import an_item, first

THREADS = 8
KEYS = 10


class Threads(Suite):
    """
    Concurrent clients.
    """

    def test_eight_writers_on_ten_hot_keys_lose_nothing(self, backend: Backend, open_backend: Open) -> None:
        """A key's revision is its number of events and of acknowledged changes, in an order that time allows."""
        handles = [backend, open_backend()] if backend.capabilities.shared else [backend]
        operations = perform(
            lambda client: handles[client % len(handles)], append_to_key, clients=THREADS, keys=KEYS, each=15
        )
        assert check_history(backend, operations) == []
        assert len(operations) == THREADS * 15
        for handle in handles[1:]:
            handle.close()

    def test_sightings_conflict_with_nothing(self, backend: Backend) -> None:
        """Eight threads that count sightings of two items lose none and need no second attempt."""
        apply(backend, first(an_item("bl_0")), first(an_item("bl_1")))

        def count(thread: int) -> None:
            for number in range(20):
                moment = add_seconds(START, thread * 100 + number)
                apply(backend, Sighting(f"bl_{number % 2}", "ruff", moment, moment, 2, f"run{thread}"))

        _run(count)
        for number in range(2):
            record = record_of(backend, "sighting", f"bl_{number}/ruff")
            assert record is not None
            assert record.body["n"] == THREADS * 20
            assert record.body["first_at"] == add_seconds(START, number)
            assert record.body["last_at"] == add_seconds(START, 700 + 18 + number)

    def test_as_many_write_at_once_as_claimed(self, backend: Backend) -> None:
        """So many functions are inside at the same time; where one writer is claimed, never two."""
        writers = min(backend.capabilities.writers, 3)
        inside: list[int] = []
        most: list[int] = []
        met = threading.Barrier(writers)

        def write(thread: int) -> None:
            runs = count()

            def fn(_: Writer) -> None:
                inside.append(thread)
                most.append(len(inside))
                if writers > 1 and next(runs) == 0:
                    met.wait(30)
                inside.remove(thread)

            backend.write(fn)

        _run(write, threads=writers if writers > 1 else THREADS)
        assert writers > 1 or max(most) == 1

    def test_readers_and_writers_share_a_handle(self, backend: Backend) -> None:
        """Eight threads read and write through one handle, and each reads what it wrote."""

        def work(thread: int) -> None:
            for number in range(10):
                item = an_item(f"bl_{thread}_{number}", dedupe_key=f"{thread}_{number}")
                apply(backend, first(item))
                assert item_of(backend, item.id) == item

        _run(work)
        assert (
            backend.read(lambda reader: len(reader.items([f"bl_{t}_{n}" for t in range(8) for n in range(10)]))) == 80
        )


def _run(work: Callable[[int], None], threads: int = THREADS) -> None:
    errors: list[BaseException] = []

    def guarded(thread: int) -> None:
        try:
            work(thread)
        except BaseException as error:  # noqa: BLE001  (raised again below, on the test's own thread)
            errors.append(error)

    started = [threading.Thread(target=guarded, args=(number,)) for number in range(threads)]
    for one in started:
        one.start()
    for one in started:
        one.join()
    if errors:
        raise errors[0]
