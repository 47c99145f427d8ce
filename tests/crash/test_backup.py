"""
A backup while others write: whole, checked, under its name only when all of it is there, and a store again afterwards.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from backlog_store.backends import wholefile
from backlog_store.backends.registry import open_backend
from backlog_store.backup import back_up, restore
from backlog_store.errors import BacklogError, ConfigError
from backlog_store.query import EventQuery, ItemQuery
from backlog_store.testing.contents import contents
from tests.crash.stored import fill, proof_of
from tests.stores import url_of

#: Adds items of its own, one after the other, each with two events; prints each that was acknowledged.
WRITER = """
import sys
from backlog_store import open_backlog
backlog = open_backlog(sys.argv[1])
number = 0
while True:
    done = backlog.upsert(title=f"{sys.argv[2]} {number}", dedupe_key=f"{sys.argv[2]}:{number}")
    backlog.comment(done.id, f"number {number}")
    print(done.id, flush=True)
    number += 1
"""
DURABLE = ("jsonl", "sqlite", "postgres")


@pytest.fixture(params=DURABLE)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """
    A filled store of each durable backend.
    """
    found = url_of(request.param, request, tmp_path)
    fill(found)
    return found


@contextmanager
def writing(url: str, *names: str) -> Iterator[list[subprocess.Popen[str]]]:
    """
    Let processes write to the store meanwhile.
    """
    command = [sys.executable, "-c", WRITER, url]
    writers = [subprocess.Popen([*command, name], stdout=subprocess.PIPE, text=True) for name in names]
    try:
        yield writers
    finally:
        for writer in writers:
            writer.kill()
            writer.communicate()


def acknowledged(writer: subprocess.Popen[str], count: int) -> list[str]:
    """
    Wait until so many more writes were acknowledged, and return their ids.
    """
    assert writer.stdout is not None
    return [writer.stdout.readline().strip() for _ in range(count)]


def histories(url: str) -> dict[str, list[str]]:
    """
    Return the hashes of each item's events, in order.
    """
    backend = open_backend(url)
    try:
        events = backend.read(lambda reader: reader.events(EventQuery(limit=None, newest_first=True)))
        items = backend.read(lambda reader: reader.search(ItemQuery(limit=None, order="id")))
    finally:
        backend.close()
    found: dict[str, list[str]] = {item.id: [] for item in items}
    for event in sorted(events, key=lambda event: event.revision):
        found.setdefault(event.item_id, []).append(event.hash)
    return found


def test_a_backup_while_processes_write_is_a_prefix_of_what_was_acknowledged(url: str, tmp_path: Path) -> None:
    """All that was acknowledged before it began is in it; what is in it is how each history begins; it is whole."""
    file = tmp_path / "copy.backup"
    with writing(url, "a", "b") as writers:
        before = [id for writer in writers for id in acknowledged(writer, 10)]
        backend = open_backend(url)
        done = back_up(backend, file)
        backend.close()
        for writer in writers:
            acknowledged(writer, 1)  # nobody was stopped by it
    assert done.checked
    scheme = "sqlite" if done.form == "export" else done.form
    target = f"{scheme}:{tmp_path}/new/restored{'.db' if scheme == 'sqlite' else ''}"
    Path(tmp_path / "new").mkdir(mode=0o700)
    restore(file, target)
    assert proof_of(target).faults == []
    assert proof_of(url).faults == []
    then, now = histories(target), histories(url)
    assert set(before) <= set(then)
    assert all(len(then[id]) == 2 for id in before)
    assert all(hashes == now[id][: len(hashes)] for id, hashes in then.items())
    assert [entry.name for entry in tmp_path.iterdir() if ".part" in entry.name] == []


def test_a_backup_becomes_a_store_of_any_kind(url: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """Of its own kind as of any other, with all that the old one said; where something is, nothing is touched."""
    backend = open_backend(url)
    back_up(backend, tmp_path / "copy.backup")
    before = {line for line in contents(backend) if not line.startswith(b"record store ")}
    backend.close()
    for name in DURABLE:
        target = url_of(name, request, tmp_path)
        restore(tmp_path / "copy.backup", target)
        restored = open_backend(target)
        assert before == {line for line in contents(restored) if not line.startswith(b"record store ")}
        restored.close()
        with pytest.raises(ConfigError, match="there already"):
            restore(tmp_path / "copy.backup", target)


def cut(data: bytes) -> bytes:
    """
    Return the first half.
    """
    return data[: len(data) // 2]


def changed(data: bytes) -> bytes:
    """
    Return it with a word changed in an item's title and nowhere else.
    """
    return data.replace(b"Renamed by hand", b"Renamed by HAND", 1)


@pytest.mark.parametrize("damage", [cut, changed, lambda _: b"", lambda _: b"something else\n"])
def test_a_damaged_backup_makes_no_store(url: str, tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    """One that was cut, changed, or is something else is refused before anything is made."""
    file = tmp_path / "copy.backup"
    backend = open_backend(url)
    back_up(backend, file)
    backend.close()
    file.write_bytes(damage(file.read_bytes()))
    for target in (f"jsonl:{tmp_path}/other", f"sqlite:{tmp_path}/other.db"):
        with pytest.raises(BacklogError):
            restore(file, target)
    assert [entry for entry in tmp_path.iterdir() if entry.name.startswith("other")] == []


def test_no_part_stands_under_the_name(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A backup that fails on the way leaves the older one of that name, and nothing beside it."""
    file = tmp_path / "out" / "copy.backup"
    file.parent.mkdir()
    file.write_bytes(b"older")
    backend = open_backend(url)
    with pytest.raises(FileExistsError):
        back_up(backend, file)

    def fails(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(wholefile._system, "sync_data", fails)
    with pytest.raises(OSError, match="No space"):
        back_up(backend, file, force=True)
    monkeypatch.undo()
    backend.close()
    assert [file] == list(file.parent.iterdir())
    assert file.read_bytes() == b"older"
