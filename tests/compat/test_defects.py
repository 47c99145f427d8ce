"""What was wrong with the original module, each defect once: the test of its name shows that it is impossible now."""

from __future__ import annotations

import errno
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from backlog_store import (
    AutoBacklogStore,
    BacklogEvent,
    JsonlBacklogStore,
    MemoryBacklogStore,
    PostgresBacklogStore,
    _reset_store_for_tests,
    get_backlog_store,
)
from backlog_store.backends.jsonl import open_jsonl
from backlog_store.compat import files, postgres
from backlog_store.compat.base import BacklogBackedStore
from backlog_store.errors import (
    BackendError,
    BackendUnavailable,
    ConfigError,
    DataCorrupt,
    InvalidInput,
    NotFound,
    StorageFull,
    TransitionNotAllowed,
)
from backlog_store.executors.failover import FailoverExecutor
from backlog_store.testing.postgres import PostgresServer
from tests.compat.conftest import Open
from tests.compat.samples import an_event, an_item
from tests.compat.test_concurrency import together
from tests.crash.files import Fails, Recording

OLD = {"created_at": "2020-01-01T00:00:00+00:00", "updated_at": "2020-01-01T00:00:00+00:00"}


class Reading(Recording):
    """Notes how many bytes were read, too."""

    def __init__(self) -> None:
        super().__init__()
        self.read_bytes = 0

    def read(self, fd: int, size: int, offset: int) -> bytes:
        data = super().read(fd, size, offset)
        self.read_bytes += len(data)
        return data


def on(fs: Recording, monkeypatch: pytest.MonkeyPatch, **options: Any) -> JsonlBacklogStore:
    """Return a JSONL store on this file system."""
    monkeypatch.setattr(files, "open_jsonl", partial(open_jsonl, fs=fs, **options))
    return JsonlBacklogStore(Path.cwd() / "items.jsonl", Path.cwd() / "events.jsonl")


@pytest.fixture
def silent() -> Iterator[str]:
    """Name a server that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"postgresql://someone@127.0.0.1:{listener.getsockname()[1]}/somewhere"


# --- concurrency -----------------------------------------------------------------------------------------------------


def test_two_reporters_create_one_key_twice(open_store: Open) -> None:
    """Two at once: one item, one "created"."""
    one, two = open_store(), open_store()
    answers: list[str] = []
    together(*(partial(lambda s: answers.append(s.upsert(an_item(dedupe_key="k"))["action"]), s) for s in (one, two)))
    assert ["created", "updated"] == sorted(answers)
    assert 1 == len(one.list_items())


def test_created_answers_for_items_that_were_never_stored(open_store: Open) -> None:
    """Every item that was answered is there under that id, whoever reported it."""
    store, ids = open_store(), []
    together(*(lambda: ids.append(store.upsert(an_item(dedupe_key="k"))["item"].id) for _ in range(8)))
    assert 8 == len(ids)
    assert all(store.get(id) is not None for id in ids)


def test_a_write_loses_anothers(open_store: Open) -> None:
    """Two who read the same item and change different fields both find their change there."""
    one, two = open_store(), open_store()
    id = one.create(an_item()).id
    mine, theirs = one.get(id), two.get(id)
    assert mine is not None
    assert theirs is not None
    mine.title, theirs.owner = "T", "anna"
    one.update(mine)
    two.update(theirs)
    found = one.get(id)
    assert found is not None
    assert ("T", "anna") == (found.title, found.owner)


def test_a_re_report_reverts_a_status_set_meanwhile(open_store: Open) -> None:
    """A reporter whose object still says "open" leaves the status that a person set."""
    reporter, person = open_store(), open_store()
    stale = an_item(dedupe_key="k")
    reporter.upsert(stale)
    item = person.get(stale.id)
    assert item is not None
    item.status = "in_progress"
    person.update(item)
    stale.status = "open"
    assert "in_progress" == reporter.upsert(stale)["item"].status


def test_appends_lost_while_retention_rewrites_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """One store purges and compacts again and again while another one adds: all that was added is there."""
    monkeypatch.setattr(files, "open_jsonl", partial(open_jsonl, compact_slack=0))
    purging, adding = JsonlBacklogStore("items.jsonl"), JsonlBacklogStore("items.jsonl")

    def purge() -> None:
        for number in range(20):
            purging.create(an_item(id=f"old_{number}", status="done", **OLD))
            purging.cleanup(1)

    def add() -> None:
        for number in range(20):
            adding.create(an_item(id=f"new_{number}"))

    together(purge, add)
    assert {f"new_{number}" for number in range(20)} == {item.id for item in purging.list_items()}
    purging.close()
    adding.close()


def test_readers_see_a_half_rewritten_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """While one store purges and compacts, another one finds every item that stays, at every look."""
    monkeypatch.setattr(files, "open_jsonl", partial(open_jsonl, compact_slack=0))
    purging, reading = JsonlBacklogStore("items.jsonl"), JsonlBacklogStore("items.jsonl")
    for number in range(20):
        purging.create(an_item(id=f"live_{number}"))
    done = threading.Event()
    looks: list[int] = []

    def purge() -> None:
        try:
            for number in range(20):
                purging.create(an_item(id=f"old_{number}", status="done", **OLD))
                purging.cleanup(1)
        finally:
            done.set()

    def look() -> None:
        while True:
            looks.append(len(reading.list_items({"status": "open"})))
            if done.is_set():
                return

    together(purge, look)
    assert {20} == set(looks)
    purging.close()
    reading.close()


# --- files -----------------------------------------------------------------------------------------------------------


def test_no_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is acknowledged was written, then synced."""
    fs = Recording()
    with on(fs, monkeypatch) as store:
        store.list_items()
        fs.done.clear()
        store.create(an_item())
        assert ["write", "sync_data"] == fs.done


def test_a_torn_line_swallows_the_next_acknowledged_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Behind a write that the disk cut off, the next acknowledged one is there after opening anew."""
    fs = Fails()
    with on(fs, monkeypatch) as store:
        store.create(an_item(id="before"))
        fs.errors["write"] = errno.ENOSPC
        with pytest.raises(StorageFull):
            store.create(an_item(id="torn"))
        fs.errors.clear()
        store.create(an_item(id="after"))
    monkeypatch.undo()
    with JsonlBacklogStore(tmp_path / "items.jsonl", tmp_path / "events.jsonl") as again:
        assert {"before", "after"} == {item.id for item in again.list_items()}


@pytest.mark.parametrize("operation", ["write", "sync_data", "rename"])
def test_a_full_disk_during_retention_loses_nearly_everything(
    operation: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Retention on a disk that fails at any step leaves every live item where it was."""
    fs = Fails()
    store = on(fs, monkeypatch, compact_slack=0)
    for number in range(10):
        store.create(an_item(id=f"live_{number}"))
        store.create(an_item(id=f"old_{number}", status="done", **OLD))
    fs.errors[operation] = errno.ENOSPC
    with suppress(BackendError):  # it says so, or has not needed the operation: both are fine, a loss is not
        store.cleanup(1)
    fs.errors.clear()
    store.close()
    monkeypatch.undo()
    with JsonlBacklogStore(tmp_path / "items.jsonl", tmp_path / "events.jsonl") as again:
        assert 10 == len(again.list_items({"status": "open"}, limit=100))


def test_a_kill_during_retention_loses_nearly_everything(tmp_path: Path) -> None:
    """A process killed in the middle of rewriting leaves every live item where it was."""
    program = """
import os, sys
from functools import partial
from backlog_store import BacklogItem, JsonlBacklogStore
from backlog_store.backends.jsonl import open_jsonl
from backlog_store.compat import files
from tests.crash.files import Recording

class Killing(Recording):
    armed = False
    def rename(self, source, target):
        if self.armed:
            os.kill(os.getpid(), 9)
        super().rename(source, target)

fs = Killing()
files.open_jsonl = partial(open_jsonl, fs=fs, compact_slack=0)
store = JsonlBacklogStore("items.jsonl", "events.jsonl")
old = {"created_at": "2020-01-01T00:00:00Z", "updated_at": "2020-01-01T00:00:00Z", "status": "done"}
for number in range(10):
    store.create(BacklogItem.from_dict({"id": f"live_{number}", "title": "T"}))
    store.create(BacklogItem.from_dict({"id": f"old_{number}", "title": "T", "description": "x" * 1000} | old))
fs.armed = True
store.cleanup(1)
store.backlog.executor.backend.compact()
"""
    root = Path(__file__).parents[2]
    killed = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, env={"PYTHONPATH": str(root)}, check=False)
    assert -9 == killed.returncode
    with JsonlBacklogStore(tmp_path / "items.jsonl", tmp_path / "events.jsonl") as again:
        assert 10 == len(again.list_items({"status": "open"}, limit=100))


def test_one_bad_byte_hides_all_that_follows_then_retention_deletes_it(tmp_path: Path) -> None:
    """In an old file: what follows is there, before and after retention. In the journal: nothing is taken for empty."""
    lines = [f'{{"id": "bl_{number}", "title": "T"}}\n'.encode() for number in range(3)]
    lines[1] = lines[1].replace(b'"T"', b'"\xff"')
    (tmp_path / "items.jsonl").write_bytes(b"".join(lines))
    with JsonlBacklogStore("items.jsonl", "events.jsonl") as store:
        assert {"bl_0", "bl_1", "bl_2"} == {item.id for item in store.list_items()}
        store.cleanup(1)
        assert 3 == len(store.list_items())
    journal = tmp_path / "items.jsonl.journal" / "journal.jsonl"
    data = bytearray(journal.read_bytes())
    data[len(data) // 2] ^= 0xFF
    journal.write_bytes(data)
    with pytest.raises(DataCorrupt):
        JsonlBacklogStore("items.jsonl", "events.jsonl").cleanup(1)
    assert bytes(data) == journal.read_bytes()


def test_read_errors_look_like_an_empty_backlog(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A file that cannot be read is an error, the old one as well as the journal."""
    (tmp_path / "items.jsonl").mkdir()
    with pytest.raises(BackendUnavailable, match=r"items\.jsonl"):
        JsonlBacklogStore("items.jsonl", "events.jsonl").list_items()
    (tmp_path / "items.jsonl").rmdir()
    fs = Fails()
    fs.errors["open"] = errno.EIO
    with pytest.raises(BackendUnavailable):
        on(fs, monkeypatch).list_items()


def test_every_read_parses_the_whole_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that is open reads nothing again of what it knows: it looks at the one byte behind it, for news."""
    fs = Reading()
    with on(fs, monkeypatch) as store:
        item = store.create(an_item())
        before = fs.read_bytes
        store.get(item.id)
        store.list_items()
        store.dashboard()
        known = (Path("items.jsonl.journal") / "journal.jsonl").stat().st_size
        assert fs.read_bytes - before < 10 < known


# --- meaning ---------------------------------------------------------------------------------------------------------


def test_empty_keys_collide(store: BacklogBackedStore) -> None:
    """Items without a key are each their own."""
    assert ["created", "created"] == [store.upsert(an_item(title=title))["action"] for title in ("A", "B")]
    assert {"A", "B"} == {item.title for item in store.list_items()}


def test_staging_overwrites_prod(store: BacklogBackedStore) -> None:
    """The same key in two envs is two items."""
    prod = store.upsert(an_item(dedupe_key="k", title="P"))["item"]
    answer = store.upsert(an_item(dedupe_key="k", title="S", env="staging"))
    assert "created" == answer["action"]
    assert prod == store.get(prod.id)
    assert "updated" == store.upsert(an_item(dedupe_key="k", title="S2", env="staging"))["action"]
    assert {"P", "S2"} == {item.title for item in store.list_items()}


def test_unknown_ids_update_silently(store: BacklogBackedStore) -> None:
    """They are refused, and nothing is created."""
    with pytest.raises(NotFound):
        store.update(an_item())
    assert [] == store.list_items()


@pytest.mark.parametrize("fields", [
    {"status": "wip"}, {"priority": "P9"}, {"due_date": "tomorrow"}, {"due_date": "2026-02-30"}, {"env": "a/b"},
    {"created_at": "yesterday"}, {"tags": "a,b"}, {"tags": [1]}, {"meta": {"x": float("nan")}}, {"meta": "x"},
    {"title": 5}, {"title": "a\0b"}, {"description": "\ud800"}, {"evidence_refs": ["x"]}, {"title": "x" * 1001},
    {"id": "a b"}, {"owner": ["anna"]}, {"dedupe_key": 5},
])  # fmt: skip
def test_invalid_values_accepted(store: BacklogBackedStore, fields: dict[str, Any]) -> None:
    """Refused by create and upsert, naming the field; nothing is stored."""
    for write in (store.create, store.upsert):
        with pytest.raises(InvalidInput, match=f"/{next(iter(fields))}"):
            write(an_item(**fields))
    assert [] == store.list_items()


def test_invalid_moves_accepted(store: BacklogBackedStore) -> None:
    """A closed item stays closed for `update`; a value that is none is refused there, too."""
    item = store.create(an_item(status="done"))
    item.status = "open"
    with pytest.raises(TransitionNotAllowed):
        store.update(item)
    item.status, item.priority = "wip", "P9"
    with pytest.raises(InvalidInput):
        store.update(item)
    found = store.get(item.id)
    assert found is not None
    assert ("done", "P2") == (found.status, found.priority)


def test_a_returning_problem_stays_closed(store: BacklogBackedStore) -> None:
    """It is open again."""
    store.create(an_item(dedupe_key="k", status="done"))
    assert "open" == store.upsert(an_item(dedupe_key="k"))["item"].status


def test_a_rising_priority_is_ignored(store: BacklogBackedStore) -> None:
    """The report's priority counts."""
    store.upsert(an_item(dedupe_key="k", priority="P3"))
    assert "P0" == store.upsert(an_item(dedupe_key="k", priority="P0"))["item"].priority


def test_tag_order_changes_from_run_to_run(store: BacklogBackedStore) -> None:
    """Tags are sorted, whoever added them."""
    store.upsert(an_item(dedupe_key="k", tags=["d", "b"]))
    assert list("abcd") == store.upsert(an_item(dedupe_key="k", tags=["c", "a", "b"]))["item"].tags


def test_no_events(store: BacklogBackedStore) -> None:
    """Each change has its event, with the old and the new value; they are read with the new interface."""
    item = store.upsert(an_item(dedupe_key="k"))["item"]
    item.status = "in_progress"
    store.update(item)
    store.upsert(an_item(dedupe_key="k", title="T"))
    trail = store.backlog.trail(item.id)
    assert ["created", "status_change", "auto_update"] == [event.type for event in trail]
    assert ("open", "in_progress") == tuple(trail[1].changes["status"])


def test_orphaned_events(store: BacklogBackedStore) -> None:
    """None can be added, and none stays behind a purged item."""
    with pytest.raises(NotFound):
        store.add_event(an_event(an_item()))
    item = store.create(an_item(status="done", **OLD))
    store.add_event(an_event(item))
    store.cleanup(1)
    assert [] == store.get_events(item.id)


def test_a_1000_row_dashboard() -> None:
    """It counts 1,234 items as 1,234."""
    store = MemoryBacklogStore()
    for number in range(1234):
        store.create(an_item(id=f"bl_{number}", due_date="2020-01-01", service=f"s{number % 12:02d}"))
    board = store.dashboard()
    assert (1234, 1234, 20, 10) == (
        board["total"], board["overdue_count"], len(board["overdue"]), len(board["top_services"]),
    )  # fmt: skip


def test_an_empty_status_list_and_misspelt_filters_mean_everything(store: BacklogBackedStore) -> None:
    """The one means nothing, the others are refused with the name that was meant."""
    store.create(an_item())
    assert [] == store.list_items({"status": []})
    with pytest.raises(InvalidInput, match="did you mean 'status'"):
        store.list_items({"statuss": "open"})


def test_negative_retention(store: BacklogBackedStore) -> None:
    """It is refused, and purges nothing, not even what was just closed."""
    store.create(an_item(status="done"))
    with pytest.raises(InvalidInput):
        store.cleanup(-1)
    assert 1 == len(store.list_items())


# --- backends disagree -----------------------------------------------------------------------------------------------


def test_items_without_a_due_date_in_due_before(store: BacklogBackedStore) -> None:
    """They are before no day."""
    store.create(an_item())
    assert [] == store.list_items({"due_before": "9999-12-31"})


def test_event_order(store: BacklogBackedStore) -> None:
    """Oldest first, those of one instant as they were added."""
    item = store.create(an_item())
    for message, ts in (("b", "2026-01-02"), ("c", "2026-01-02"), ("a", "2026-01-01"), ("d", "2026-01-02")):
        store.add_event(an_event(item, message=message, ts=f"{ts}T00:00:00+00:00"))
    assert ["a", "b", "c", "d"] == [event.message for event in store.get_events(item.id)]


def test_limit_0(store: BacklogBackedStore) -> None:
    """Nothing, of items and of events."""
    item = store.create(an_item())
    store.add_event(an_event(item))
    assert ([], []) == (store.list_items(limit=0), store.get_events(item.id, limit=0))


def test_types_of_times(store: BacklogBackedStore) -> None:
    """All are texts, also a due date."""
    item = store.create(an_item(due_date="2031-01-02"))
    event = store.add_event(an_event(item))
    found = store.get(item.id)
    assert found is not None
    assert {str} == {type(value) for value in (found.created_at, found.updated_at, found.due_date, event.ts)}


def test_fields_ignored_by_update(store: BacklogBackedStore) -> None:
    """All fourteen are written in one call; the trail names each."""
    item = store.create(an_item(dedupe_key="k"))
    changed = {
        "env": "staging", "service": "s", "category": "c", "title": "T", "description": "D", "priority": "P0",
        "status": "blocked", "owner": "anna", "due_date": "2031-01-02", "source": "risk", "dedupe_key": "k2",
        "evidence_refs": {"e": ["1"]}, "tags": ["t"], "meta": {"m": 1},
    }  # fmt: skip
    for name, value in changed.items():
        setattr(item, name, value)
    store.update(item)
    found = store.get(item.id)
    assert changed == {name: getattr(found, name) for name in changed}
    assert changed.keys() <= store.backlog.trail(item.id)[-1].changes.keys()


def test_pages_that_skip_and_repeat(store: BacklogBackedStore) -> None:
    """Items alike in all but their ids are each on exactly one page."""
    for number in range(25):
        store.create(an_item(id=f"bl_{number:02d}"))
    pages = [store.list_items(limit=7, offset=offset) for offset in range(0, 28, 7)]
    assert [f"bl_{number:02d}" for number in range(25)] == [item.id for page in pages for item in page]


def test_time_zones(store: BacklogBackedStore) -> None:
    """Retention counts instants: a text of a later day may be an earlier instant, and is purged as that."""
    store.create(
        an_item(id="bl_a", status="done", created_at="2020-01-01T00:00:00Z", updated_at="2020-01-02T03:00:00+05:45")
    )
    store.create(
        an_item(id="bl_b", status="done", created_at="2020-01-01T00:00:00Z", updated_at="2020-01-01T22:00:00Z")
    )
    order = store.backlog.search(order="updated")
    assert ["bl_a", "bl_b"] == [item.id for item in order]
    assert "2020-01-01T21:15:00.000000Z" == order[0].updated_at


# --- connections -----------------------------------------------------------------------------------------------------


def test_a_connection_per_call(postgres_dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once a store is open, a hundred calls make no further connection."""
    import psycopg

    made: list[Any] = []
    connect = psycopg.connect

    def counted(*args: Any, **settings: Any) -> Any:
        made.append(settings)
        return connect(*args, **settings)

    with PostgresBacklogStore(postgres_dsn) as store:
        item = store.create(an_item())
        monkeypatch.setattr(psycopg, "connect", counted)
        for _ in range(100):
            store.get(item.id)
        assert [] == made


def test_no_time_outs(silent: str) -> None:
    """A server that never answers is an error soon, not a call that hangs."""
    with pytest.raises(BackendUnavailable, match="in time"):
        PostgresBacklogStore(silent).list_items()


# --- auto ------------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("patient_auto")
def test_no_fall_back_at_run_time(tmp_path: Path) -> None:
    """While PostgreSQL is away reports are accepted, what depends on the stored fails, and no second truth is made."""
    with PostgresServer() as server:
        dsn = server.create_database()
        with AutoBacklogStore(dsn, tmp_path / "i.jsonl", tmp_path / "e.jsonl", spool=tmp_path / "spool") as store:
            assert "postgres" == store.truth
            known = store.upsert(an_item(dedupe_key="k"))["item"]
            server.kill()
            accepted = store.upsert(an_item(dedupe_key="l"))
            assert "accepted" == accepted["action"]
            said = store.add_event(BacklogEvent("", known.id, "", "comment", "in the outage", "somebody", {}))
            with pytest.raises(BackendUnavailable):
                store.update(known)
            server.restart()
            executor = store.backlog.executor
            assert isinstance(executor, FailoverExecutor)
            executor.drain()
            assert {"k", "l"} == {item.dedupe_key for item in store.list_items()}
            assert accepted["item"].id == store.get_by_dedupe_key("l").id
            assert [said.id] == [event.id for event in store.get_events(known.id)]
            standing = store.standing()
            assert standing is not None
            assert (2, 2, 0) == (standing.account.accepted, standing.account.applied, standing.account.waiting)
    assert [tmp_path / "spool"] == list(tmp_path.iterdir())


@pytest.mark.usefixtures("patient_auto")
def test_what_was_written_in_the_outage_vanishes_afterwards(
    postgres_dsn: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """JSONL files that an outage left behind are noticed, told, and imported on demand; then nothing is told."""
    (tmp_path / "items.jsonl").write_text('{"id": "bl_left", "title": "Left behind", "dedupe_key": "k"}\n')
    with AutoBacklogStore(postgres_dsn, "items.jsonl", "events.jsonl") as store:
        assert [] == store.list_items()
        assert "items.jsonl" in caplog.text
        assert [True] == ["backlog import --legacy" in told for told in store.check().warnings if "jsonl" in told]
        store.import_left_behind()
        assert ["Left behind"] == [item.title for item in store.list_items()]
        assert not [told for told in store.check().warnings if "jsonl" in told]


@pytest.mark.usefixtures("patient_auto")
def test_two_processes_on_two_truths(postgres_dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a DSN, a default database that holds a backlog is an error that names both choices."""
    with PostgresBacklogStore(postgres_dsn) as store:
        store.create(an_item())
    monkeypatch.setattr(postgres, "DEFAULT_DSN", postgres_dsn)
    with pytest.raises(ConfigError, match=r"BACKLOG_POSTGRES_DSN=.*BACKLOG_BACKEND=jsonl"):
        AutoBacklogStore()


def test_start_up_hangs_on_a_silent_server(silent: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The default server is asked for a second at most, then the files are the store; a DSN is not asked then."""
    monkeypatch.setattr(postgres, "DEFAULT_DSN", silent)
    with AutoBacklogStore(jsonl_items="items.jsonl", jsonl_events="events.jsonl") as store:
        assert "jsonl" == store.truth
    AutoBacklogStore(silent)


def test_a_misspelt_backend_means_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is an error that names the nearest one."""
    _reset_store_for_tests()
    monkeypatch.setenv("BACKLOG_BACKEND", "postgress")
    with pytest.raises(ConfigError, match="postgres"):
        get_backlog_store()
