"""
Measure how long a journal takes to open, against reading and decoding the same bytes and nothing else.

Once each document is dropped when it is decoded, which serves nobody; once all are kept, as whoever answers from them
must.
Twice: as it grew, a transaction a report, and compacted, which is what the store itself does with one that holds more
outdated bytes than live ones.
"""

from __future__ import annotations

import argparse
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

from backlog_store.backends.jsonl import JsonlBackend, open_jsonl
from backlog_store.codec import decode_event, decode_item, decode_record
from backlog_store.query import ItemQuery
from bench.harness import interleaved, table, temporary_folder, timed
from bench.population import EVENTS, fill

__all__ = ["measure"]

_DECODERS: dict[bytes, Callable[[bytes], object]] = {
    b'"item"': decode_item,
    b'"event"': decode_event,
    b'"record"': decode_record,
}


def _decoded(journal: Path) -> Iterator[object]:
    with journal.open("rb") as file:
        for line in file:
            pieces = line.split(b"\t")
            for kind, body in zip(pieces[::2], pieces[1::2], strict=False):
                decode = _DECODERS.get(kind[kind.rfind(b'"', 0, -2) : -1])
                if decode is not None:
                    yield decode(body)


def _dropped(journal: Path) -> None:
    deque(_decoded(journal), maxlen=0)


def _kept(journal: Path) -> int:
    return len(list(_decoded(journal)))


def _open(folder: Path) -> JsonlBackend:
    return open_jsonl(folder)


def _first_page(folder: Path) -> None:
    with_items = _open(folder)
    try:
        with_items.read(lambda reader: reader.search(ItemQuery(limit=50)))
    finally:
        with_items.close()


def measure(size: int, events: int, rounds: int) -> str:
    """
    Return the table: seconds of the floor and of opening, and how much of either floor opening takes.
    """
    lines = []
    with temporary_folder() as folder:
        store = folder / "store"
        backend = _open(store)
        fill(backend, size, events=events)
        backend.close()
        for what in ("as it grew", "compacted"):
            if what == "compacted":
                backend = _open(store)
                backend.compact()
                backend.close()
            journal = store / "journal.jsonl"

            def ours(_: int) -> None:
                _open(store).close()

            _, _, dropped = interleaved(rounds, lambda _, file=journal: _dropped(file), ours)  # type: ignore[misc]
            kept, own, ratio = interleaved(rounds, lambda _, file=journal: _kept(file), ours)  # type: ignore[misc]
            size_mb = f"{journal.stat().st_size / 1e6:,.0f} MB"
            page = f"{timed(lambda: _first_page(store)):.2f} s"
            shown = (f"{kept:.2f} s", f"{own:.2f} s", f"{1 / ratio:.2f}", f"{1 / dropped:.2f}", page)
            lines.append((what, size_mb, *shown))
    head = (
        "journal",
        "size",
        "decode and keep",
        "open",
        "open / that",
        "open / decode and drop",
        "open and first page",
    )
    return table(head, lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=100_000)
    parser.add_argument("--events", type=int, default=EVENTS)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    print(measure(arguments.size, arguments.events, arguments.rounds))
