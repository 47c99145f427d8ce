"""
Every state that a crash may leave behind, on a model of a disk: acknowledged ⊆ found ⊆ begun, and it goes on.

Random programs write, compact, use a second handle and are killed on the way. After each step of theirs, whatever the
disk may hold then is opened: torn at any byte (of one write in five; of the others here and there), grown with zeros,
without the names that were not synced yet.
`TEST_CRASH_STATES` says how many different states.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path
from random import Random

import pytest

from backlog_store.backends.jsonl import JsonlBackend, backend, open_jsonl
from backlog_store.backends.memory import MemoryBackend
from backlog_store.backends.port import Change, Purge, PutRecord, Sighting
from backlog_store.model import Item
from backlog_store.query import ItemQuery
from backlog_store.testing.conformance.base import apply, record_of, search
from backlog_store.testing.contents import contents
from backlog_store.testing.samples import a_record, an_item, first, then
from tests.crash.files import Killed
from tests.crash.memoryfs import Image, MemoryFs
from tests.sizes import CRASH_STATES, SEEDS

PARTS = 4
FOLDER = Path("/store")
JOURNAL = f"{FOLDER}/journal.jsonl"
#: So small that journals are compacted often.
SLACK = 2_500
STEPS = 14
#: One in so many states is recovered step by step, and each of those steps may be the last one, too.
NESTED = 40

#: What a disk may hold, and what a store on it may then hold.
State = tuple[Image, list[list[bytes]]]


@pytest.fixture(autouse=True)
def model_of_a_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The folder is one of the model: the checks of a real one (mounts, modes) have their own tests.
    """
    monkeypatch.setattr(backend, "prepare_folder", lambda folder, *, backend, create: [])


def opened(fs: MemoryFs) -> JsonlBackend:
    """
    Open the store on a model of a disk.
    """
    return open_jsonl(FOLDER, fs=fs, compact_slack=SLACK, lock_timeout_s=0)


class Program:
    """
    A random program, which yields the states that a crash may leave, step by step.
    """

    def __init__(self, random: Random) -> None:
        self.random = random
        self.fs = Watched(self)
        self.states: list[State] = []
        self.landed: list[list[Change]] = []
        self.begun: list[Change] = []
        self.allowed: list[list[bytes]] = [[]]
        self.items: list[Item] = []

    def run(self) -> Iterator[State]:
        """
        Yield every state.
        """
        stores = [self._open()]
        yield from self._taken()
        for number in range(STEPS):
            at = self.random.randrange(len(stores))
            if self.random.random() < 0.4:
                self.fs.killed_at = self.fs.changes + self.random.choice((1, 2, 2, 3, 4, 6))
            try:
                self._step(stores, at, number)
            except Killed:
                self.fs.end_processes()
                stores = [self._open()]
                self.items = search(stores[0], ItemQuery(limit=None))
            yield from self._taken()

    def _open(self) -> JsonlBackend:
        store = opened(self.fs)
        found = contents(store)
        assert found in self.allowed
        # Somebody has read it: from now on it stays.
        if found != self.allowed[0]:
            self.landed.append(self.begun)
        self._told([found])
        return store

    def _step(self, stores: list[JsonlBackend], at: int, number: int) -> None:
        kind = self.random.random()
        if kind < 0.08:
            stores[at].compact()
        elif kind < 0.16:
            stores[at].close()
            stores[at] = self._open()
        elif kind < 0.22 and len(stores) < 3:
            stores.append(self._open())
        else:
            self.begun, item = self._changes(number)
            after = self._model(self.begun)
            self.allowed = [self.allowed[0], after]
            apply(stores[at], *self.begun)
            self.landed.append(self.begun)
            if item is not None:
                self.items = [one for one in self.items if one.id != item.id] + [item]
            self._told([after])

    def _changes(self, number: int) -> tuple[list[Change], Item | None]:
        items = self.items
        text = "x" * self.random.choice((0, 10, 300))
        match self.random.randrange(6):
            case 0 | 1 if items:
                change = then(self.random.choice(items), title=f"{text}{number}")
                return [change], change.item
            case 2 if items:
                item = self.random.choice(items)
                self.items.remove(item)
                return [Purge(item.id, item.revision)], None
            case 3 if items:
                at = items[0].created_at
                return [Sighting(items[0].id, "m", n=1, first_at=at, last_at=at)], None
            case 4:
                return [PutRecord(a_record(f"r{number}", text=text))], None
            case _:
                new = an_item(f"bl_{number}", dedupe_key=f"k{number}", description=text)
                return [first(new)], new

    def _model(self, more: list[Change]) -> list[bytes]:
        model = MemoryBackend()
        for changes in [*self.landed, more]:
            apply(model, *changes)
        return contents(model)

    def _told(self, allowed: list[list[bytes]]) -> None:
        self.allowed = allowed
        self.take()

    def take(self) -> None:
        """
        Note what a crash may leave now.
        """
        finely = JOURNAL if not self.random.randrange(5) else ""
        self.states += [(image, self.allowed) for image in self.fs.remains(finely)]

    def _taken(self) -> list[State]:
        taken, self.states = self.states, []
        return taken


class Watched(MemoryFs):
    """
    A model that takes down, after each change, what a crash may leave.
    """

    def __init__(self, program: Program) -> None:
        super().__init__({str(FOLDER): None})
        self._program = program

    def write(self, fd: int, data: bytes, offset: int) -> int:
        taken = super().write(fd, data, offset)
        self._program.take()
        return taken

    def sync_data(self, fd: int) -> None:
        super().sync_data(fd)
        self._program.take()

    def sync_folder(self, path: str) -> None:
        super().sync_folder(path)
        self._program.take()

    def truncate(self, fd: int, size: int) -> None:
        super().truncate(fd, size)
        self._program.take()

    def rename(self, source: str, target: str) -> None:
        super().rename(source, target)
        self._program.take()

    def unlink(self, path: str) -> None:
        super().unlink(path)
        self._program.take()


def check_state(image: Image, allowed: list[list[bytes]]) -> None:
    """
    Check that what a crash left is a store that holds what it may, and goes on.
    """
    fs = MemoryFs(image)
    store = opened(fs)
    found = contents(store)
    assert found in allowed
    store.write(lambda _: None)  # recovers: what is torn is set aside
    store.close()
    once = fs.image()
    store = opened(fs)
    store.write(lambda _: None)
    store.close()
    assert fs.image() == once, "recovering twice is not recovering once"
    store = opened(fs)
    apply(store, PutRecord(a_record("after")))
    fs.end_processes()  # without a close
    store = opened(MemoryFs(fs.least()))
    assert record_of(store, "view", "after") is not None
    assert [line for line in contents(store) if b'"after"' not in line] == found


def recoveries(image: Image, allowed: list[list[bytes]]) -> Iterator[State]:
    """
    Yield what a crash in the middle of a recovery may leave.
    """
    for number in range(1, 30):
        fs = MemoryFs(image)
        fs.killed_at = number
        try:
            store = opened(fs)
            store.write(lambda _: None)
        except Killed:
            fs.end_processes()
        else:
            return
        for remains in fs.remains():
            yield remains, allowed


def states(part: int) -> Iterator[State]:
    """
    Yield states without end, one program after the other.
    """
    for number in count():
        random = Random(f"{SEEDS.start} {part} {number}")
        for image, allowed in Program(random).run():
            yield image, allowed
            if not random.randrange(NESTED):
                yield from recoveries(image, allowed)


@pytest.mark.parametrize("part", range(PARTS))
def test_whatever_a_crash_leaves_is_a_store_that_goes_on(part: int) -> None:
    """No state loses what was acknowledged, holds what was never begun, or stops what is written next."""
    tried: set[int] = set()
    for image, allowed in states(part):
        key = hash((frozenset(image.items()), len(allowed)))
        if key not in tried:
            tried.add(key)
            check_state(image, allowed)
        if len(tried) >= CRASH_STATES // PARTS:
            break
