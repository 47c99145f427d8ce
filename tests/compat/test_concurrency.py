"""Threads and processes on one store: one item a key, every answer true, every write there."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from backlog_store import JsonlBacklogStore, PostgresBacklogStore
from backlog_store.compat.base import BacklogBackedStore
from backlog_store.errors import Conflict
from backlog_store.trail import faults_of_trail
from backlog_store.verify import verify
from tests.compat.conftest import Open
from tests.compat.samples import an_event, an_item

REPORTER = Path(__file__).with_name("reporter.py")


def together(*work: Callable[[], None]) -> None:
    """Run functions on threads of their own, all beginning at once; raise the first error of any."""
    barrier = threading.Barrier(len(work))
    errors: list[BaseException] = []

    def run(one: Callable[[], None]) -> None:
        try:
            barrier.wait()
            one()
        except BaseException as error:  # noqa: BLE001  (raised again below)
            errors.append(error)

    threads = [threading.Thread(target=run, args=(one,)) for one in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def test_threads_create_one_item_a_key(open_store: Open) -> None:
    """Of eight reporters of each key exactly one is told "created", and all are told the same item."""
    stores = [open_store() for _ in range(8)]
    answers: list[tuple[str, str, str]] = []

    def report(store: BacklogBackedStore) -> Callable[[], None]:
        def run() -> None:
            for key in ("a", "b", "c"):
                answer = store.upsert(an_item(dedupe_key=key))
                answers.append((key, answer["action"], answer["item"].id))

        return run

    together(*map(report, stores))

    items = {item.dedupe_key: item.id for item in stores[0].list_items()}
    assert {"a", "b", "c"} == items.keys()
    assert 3 == len(stores[0].list_items())
    assert 24 == len(answers)
    assert sorted(("created", id) for id in items.values()) == sorted(
        (action, id) for _, action, id in answers if action == "created"
    )
    assert all(items[key] == id for key, _, id in answers)


def test_threads_take_each_item_once(open_store: Open) -> None:
    """Of eight workers who claim one item exactly one succeeds; the others are told."""
    stores = [open_store() for _ in range(8)]
    item = stores[0].create(an_item())
    won: list[str] = []

    def claim(store: BacklogBackedStore, name: str) -> Callable[[], None]:
        mine = store.get(item.id)
        assert mine is not None

        def run() -> None:
            mine.status, mine.owner = "in_progress", name
            try:
                store.update(mine)
            except Conflict:
                return
            won.append(name)

        return run

    together(*(claim(store, f"worker-{number}") for number, store in enumerate(stores)))

    found = stores[0].get(item.id)
    assert found is not None
    assert [found.owner] == won


def test_threads_lose_no_event_and_no_change(open_store: Open) -> None:
    """Eight writers who add events and change fields of their own: all of it is there, and the trail is whole."""
    stores = [open_store() for _ in range(8)]
    fields = ["service", "category", "title", "description", "priority", "owner", "due_date", "source"]
    values = ["s", "security", "T", "D", "P0", "anna", "2031-01-02", "risk"]
    item = stores[0].create(an_item())

    def write(store: BacklogBackedStore, name: str, value: str) -> Callable[[], None]:
        mine = store.get(item.id)
        assert mine is not None

        def run() -> None:
            for number in range(3):
                store.add_event(an_event(item, message=f"{name} {number}"))
            setattr(mine, name, value)
            store.update(mine)

        return run

    together(*(write(*triple) for triple in zip(stores, fields, values, strict=True)))

    found = stores[0].get(item.id)
    assert values == [getattr(found, name) for name in fields]
    said = sorted(event.message for event in stores[0].get_events(item.id))
    assert sorted(f"{name} {number}" for name in fields for number in range(3)) == said
    backlog = stores[0].backlog
    assert [] == faults_of_trail(backlog.get(item.id), backlog.trail(item.id))


def create(store: BacklogBackedStore, id: str) -> None:
    """Add an item of this id."""
    store.create(an_item(id=id))


def test_one_opening_for_many_threads(open_store: Open) -> None:
    """A store that is first used by eight threads at once is opened once and answers all of them."""
    store = open_store()
    together(*(partial(create, store, f"bl_{number}") for number in range(8)))
    assert 8 == len(store.list_items())


@pytest.mark.parametrize("kind", ["jsonl", "postgres"])
def test_processes_create_one_item_a_key(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """Four processes report five keys five times: five items, each created once, all events there, trails whole."""
    place = request.getfixturevalue("postgres_dsn") if kind == "postgres" else str(tmp_path / "items.jsonl")
    command = [sys.executable, str(REPORTER), kind, place, "5", "5"]
    processes = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    for process in processes:
        assert process.stdout is not None
        assert "ready\n" == process.stdout.readline()
    outputs = []
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        output, _ = process.communicate()
        outputs.append(output)

    assert [0] * 4 == [process.returncode for process in processes]
    assert 5 == sum(int(output) for output in outputs)
    with PostgresBacklogStore(place) if kind == "postgres" else JsonlBacklogStore(place, f"{place}.e") as store:
        items = store.list_items()
        assert [f"k{key}" for key in range(5)] == sorted(item.dedupe_key for item in items)
        assert [20] * 5 == [len(store.get_events(item.id)) for item in items]
        assert [] == store.backlog.read(verify).faults
