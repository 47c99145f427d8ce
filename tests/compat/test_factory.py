"""One store a process, chosen by the environment."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import backlog_store
from backlog_store import (
    AutoBacklogStore,
    BacklogStore,
    JsonlBacklogStore,
    MemoryBacklogStore,
    NullBacklogStore,
    PostgresBacklogStore,
    _reset_store_for_tests,
    get_backlog_store,
)
from backlog_store.errors import ConfigError
from tests.compat.samples import an_item
from tests.compat.test_concurrency import together


@pytest.fixture(autouse=True)
def no_store() -> Iterator[None]:
    """Begin and end without a store."""
    _reset_store_for_tests()
    yield
    _reset_store_for_tests()


@pytest.mark.parametrize(("name", "kind"), [
    ("", AutoBacklogStore), ("auto", AutoBacklogStore), ("postgres", PostgresBacklogStore),
    ("jsonl", JsonlBacklogStore), ("memory", MemoryBacklogStore), ("null", NullBacklogStore),
    (" Memory ", MemoryBacklogStore),
])  # fmt: skip
def test_the_environment_chooses(name: str, kind: type[BacklogStore], monkeypatch: pytest.MonkeyPatch) -> None:
    """Each name its store; the same one until it is reset."""
    monkeypatch.setenv("BACKLOG_BACKEND", name)
    store = get_backlog_store()
    assert kind is type(store)
    assert store is get_backlog_store()
    _reset_store_for_tests()
    assert store is not get_backlog_store()


def test_without_an_environment_it_is_auto() -> None:
    """And without a DSN auto is the files in the working folder."""
    store = get_backlog_store()
    assert isinstance(store, AutoBacklogStore)
    item = store.create(an_item())
    assert os.path.isdir("ops/backlog/items.jsonl.journal")  # noqa: PTH112
    with JsonlBacklogStore() as other:
        assert item == other.get(item.id)


def test_a_process_that_changes_its_folder_keeps_its_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The place is fixed when the store is made, not at its first use."""
    (tmp_path / "elsewhere").mkdir()
    store = JsonlBacklogStore("items.jsonl", "events.jsonl")
    monkeypatch.chdir(tmp_path / "elsewhere")
    store.create(an_item())
    store.close()
    assert (tmp_path / "items.jsonl.journal").is_dir()
    assert [] == list((tmp_path / "elsewhere").iterdir())


@pytest.mark.parametrize("name", ["postgress", "sqlite3", "json", "memroy"])
def test_a_misspelt_name_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the variable and all names there are; nothing is opened."""
    monkeypatch.setenv("BACKLOG_BACKEND", name)
    with pytest.raises(ConfigError, match=r"BACKLOG_BACKEND.*auto, postgres, jsonl, memory, null"):
        get_backlog_store()


def test_threads_get_one_store(monkeypatch: pytest.MonkeyPatch) -> None:
    """All that ask at once get the same one."""
    monkeypatch.setenv("BACKLOG_BACKEND", "memory")
    found: list[BacklogStore] = []
    together(*(lambda: found.append(get_backlog_store()) for _ in range(16)))
    assert 16 == len(found)
    assert 1 == len({id(store) for store in found})


def test_postgres_takes_its_dsn_from_the_environment(postgres_dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The package's own variable first, then the common one; as a URL or as libpq's keywords."""
    from psycopg.conninfo import make_conninfo

    monkeypatch.setenv("BACKLOG_BACKEND", "postgres")
    monkeypatch.setenv("POSTGRES_DSN", "postgresql://nobody@127.0.0.1:1/none")
    monkeypatch.setenv("BACKLOG_POSTGRES_DSN", make_conninfo(postgres_dsn))
    item = get_backlog_store().create(an_item())
    _reset_store_for_tests()
    monkeypatch.setenv("POSTGRES_DSN", postgres_dsn)
    monkeypatch.delenv("BACKLOG_POSTGRES_DSN")
    assert item == get_backlog_store().get(item.id)


def test_the_package_hands_all_names_on() -> None:
    """`from backlog_store import …` gives what `backlog_store.compat` has."""
    from backlog_store import compat

    for name in compat.__all__:
        assert getattr(backlog_store, name) is getattr(compat, name)


def test_items_pickled_by_the_original_module_can_be_read() -> None:
    """They name their class in the package's root, and hold the fields alone."""
    from backlog_store import BacklogItem

    item = an_item(tags=["a"])
    fields = vars(item)
    state = pickle.dumps(fields)[2:-1]
    old = b"\x80\x02cbacklog_store\nBacklogItem\n)\x81" + state + b"b."
    back = pickle.loads(old)
    assert item == back
    store = MemoryBacklogStore()
    store.create(BacklogItem.from_dict(item.to_dict()))


def test_the_original_names_do_not_load_the_driver() -> None:
    """A memory store runs without psycopg, and without having it imported."""
    program = (
        "import sys, backlog_store as b; s = b.MemoryBacklogStore();"
        "s.create(b.BacklogItem.from_dict({'title': 'T'})); sys.exit('psycopg' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_forked_child_goes_on_with_the_store(postgres_dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers fork after the store was first used: parent and children use it side by side."""
    program = """
import os
from backlog_store import BacklogItem, get_backlog_store
store = get_backlog_store()
store.create(BacklogItem.from_dict({"id": "parent", "title": "T"}))
child = os.fork()
if child == 0:
    get_backlog_store().create(BacklogItem.from_dict({"id": "child", "title": "T"}))
else:
    assert 0 == os.waitpid(child, 0)[1]
    store.create(BacklogItem.from_dict({"id": "after", "title": "T"}))
"""
    monkeypatch.setenv("BACKLOG_POSTGRES_DSN", postgres_dsn)
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
    assert {"parent", "child", "after"} == {item.id for item in get_backlog_store().list_items()}
