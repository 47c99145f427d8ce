"""
An SQLite store as a file: where it may lie, what it says when it cannot work, and what it looks after by itself.
"""

from __future__ import annotations

import errno
import fcntl
import sqlite3
import stat
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from backlog_store.backends.port import Load, Purge, PutRecord, Reader, Sighting, Writer
from backlog_store.backends.sqlite import SqliteBackend, backend, filelock, open_sqlite, words
from backlog_store.backends.sqlite.connection import Synchronous, connect, has_reset_bug
from backlog_store.backends.sqlite.faults import backend_error, is_sync_lost
from backlog_store.errors import (
    BackendError,
    BackendUnavailable,
    ConfigError,
    DataCorrupt,
    InvalidInput,
    OutcomeUnknown,
    StorageFull,
)
from backlog_store.query import ANY, EventQuery, HasWords, In, ItemQuery, Not, Where
from backlog_store.testing.clocks import START
from backlog_store.testing.conformance.base import apply, events_of, item_of, search
from backlog_store.testing.contents import contents
from backlog_store.testing.oracle import select_items
from backlog_store.testing.samples import a_record, an_event, an_item, first, then

A = an_item("bl_a", dedupe_key="ka")
B = an_item("bl_b", dedupe_key="kb")
REAL_FLOCK = fcntl.flock


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """
    Where the store of a test lies; its folder is not there yet.
    """
    return tmp_path / "made" / "backlog.db"


def found(store: SqliteBackend, *phrase: str) -> list[str]:
    """
    Return the ids of the items that hold these words.
    """
    return [item.id for item in search(store, ItemQuery(where=HasWords(phrase), order="id", limit=None))]


def error_of(code: int) -> sqlite3.OperationalError:
    """
    Return an error as SQLite raises it for *code*.
    """
    error = sqlite3.OperationalError("what SQLite says")
    error.sqlite_errorcode = code
    return error


# Where it may lie.


def test_the_files_are_their_owner_s_alone(path: Path) -> None:
    """Folder 0700, every file 0600, also the log and the lock; after the last close only store and lock are left."""
    store = open_sqlite(path)
    apply(store, first(A))
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()} == {0o600}
    store.close()
    assert sorted(file.name for file in path.parent.iterdir()) == ["backlog.db", "backlog.db-lock"]


def test_names_with_letters_that_mean_something_in_urls_are_names(tmp_path: Path) -> None:
    """A question mark, a hash or a percent sign in a path is a letter of it."""
    path = tmp_path / "a?mode=ro#b%20c é" / "x y.db"
    store = open_sqlite(path)
    apply(store, first(A))
    store.close()
    assert path.exists()


def test_a_symlink_is_not_followed(tmp_path: Path) -> None:
    """A path that leads elsewhere is refused, and what it leads to stays untouched."""
    target, link = tmp_path / "target.db", tmp_path / "link.db"
    target.touch()
    link.symlink_to(target)
    with pytest.raises(ConfigError, match="symlink"):
        open_sqlite(link)
    assert target.read_bytes() == b""


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    """A folder at the store's path is named as the mistake."""
    with pytest.raises(ConfigError, match="no file"):
        open_sqlite(tmp_path)


def test_a_folder_that_everybody_may_write_to_is_refused(path: Path) -> None:
    """Somebody else could put files of the right names there."""
    path.parent.mkdir()
    path.parent.chmod(0o777)
    with pytest.raises(ConfigError, match="everybody may write"):
        open_sqlite(path)
    assert list(path.parent.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "setting"),
    [
        ({"path": ":memory:"}, "path"),
        ({"path": ""}, "path"),
        ({"synchronous": "OFF"}, "synchronous"),
        ({"busy_timeout_s": -1}, "busy_timeout_s"),
        ({"busy_timeout_s": "soon"}, "busy_timeout_s"),
    ],
)
def test_a_wrong_setting_is_named(path: Path, options: dict[str, Any], setting: str) -> None:
    """The error names the setting and what would be right; no file is made."""
    with pytest.raises(ConfigError) as error:
        open_sqlite(**({"path": path} | options))
    assert error.value.setting == setting
    assert error.value.hint
    assert not path.exists()


# What it says when it cannot work.


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (sqlite3.SQLITE_BUSY, BackendUnavailable),
        (sqlite3.SQLITE_BUSY_SNAPSHOT, BackendUnavailable),
        (sqlite3.SQLITE_LOCKED, BackendUnavailable),
        (sqlite3.SQLITE_READONLY, BackendUnavailable),
        (sqlite3.SQLITE_READONLY_DIRECTORY, BackendUnavailable),
        (sqlite3.SQLITE_CANTOPEN, BackendUnavailable),
        (sqlite3.SQLITE_FULL, StorageFull),
        (sqlite3.SQLITE_IOERR_SHMSIZE, StorageFull),
        (sqlite3.SQLITE_CORRUPT, DataCorrupt),
        (sqlite3.SQLITE_NOTADB, DataCorrupt),
        (sqlite3.SQLITE_IOERR_FSYNC, BackendError),
        (sqlite3.SQLITE_CONSTRAINT, BackendError),
    ],
)
def test_each_error_of_sqlite_has_its_class(code: int, expected: type[BackendError]) -> None:
    """One table maps the codes, also the extended ones; the text names operation and path."""
    error = backend_error("write", "/srv/backlog.db", error_of(code))
    assert type(error) is expected
    assert "/srv/backlog.db" in str(error)


def test_only_a_refusal_of_the_disk_means_that_a_sync_is_lost() -> None:
    """A lock or a full disk leaves the store as it was; a failed write or sync does not."""
    assert is_sync_lost(error_of(sqlite3.SQLITE_IOERR_FSYNC))
    assert is_sync_lost(error_of(sqlite3.SQLITE_IOERR_WRITE))
    for code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_READ, sqlite3.SQLITE_IOERR_SHMSIZE):
        assert not is_sync_lost(error_of(code))


def test_a_full_disk_refuses_the_write_and_keeps_the_rest(path: Path) -> None:
    """Nothing of the refused write is there, what was before is, and the store goes on when there is room."""
    store = open_sqlite(path)
    apply(store, first(A))
    before = contents(store)
    # The limit on pages makes SQLite say what it says when the disk is full (a real one: tests/system).
    store._writer.execute("PRAGMA max_page_count = 1")
    with pytest.raises(StorageFull):
        apply(store, *(first(an_item(f"bl_{n}", description="x" * 9_000)) for n in range(50)))
    assert contents(store) == before
    store._writer.execute("PRAGMA max_page_count = 1000000")
    apply(store, first(B))
    assert item_of(store, "bl_b") == B
    store.close()


def test_a_swallowed_failure_half_way_cannot_be_committed(path: Path) -> None:
    """A function that goes on after SQLite failed in the middle of its changes gets the error all the same."""
    store = open_sqlite(path)
    store._writer.execute("PRAGMA max_page_count = 1")

    def swallow(writer: Writer) -> str:
        with pytest.raises(StorageFull):
            writer.apply([first(an_item(f"bl_{n}", description="x" * 9_000)) for n in range(50)])
        return "done"

    with pytest.raises(StorageFull):
        store.write(swallow)
    assert contents(store) == []
    store.close()


class FailingCommit:
    """
    A fake: the connection that it stands in for, but for one COMMIT that the disk refuses.
    """

    def __init__(self, connection: sqlite3.Connection, code: int) -> None:
        self._connection = connection
        self._code = code

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def execute(self, sql: str, parameters: Any = ()) -> sqlite3.Cursor:
        if sql == "COMMIT":
            raise error_of(self._code)
        return self._connection.execute(sql, parameters)


def test_after_a_failed_sync_nothing_is_acknowledged_until_it_is_opened_again(path: Path) -> None:
    """The outcome is unknown, every later call is refused, and opening again tells what is true."""
    store = open_sqlite(path)
    apply(store, first(A))
    store._writer = FailingCommit(store._writer, sqlite3.SQLITE_IOERR_FSYNC)  # type: ignore[assignment, arg-type]
    with pytest.raises(OutcomeUnknown) as unknown:
        apply(store, first(B))
    assert isinstance(unknown.value.__cause__, sqlite3.Error)
    for _ in range(2):
        with pytest.raises(BackendUnavailable, match="disk refused"):
            apply(store, first(B))
    health = store.check()
    assert not health.ok
    assert "open the store again" in health.problems[0]
    store.close()
    again = open_sqlite(path)
    assert item_of(again, "bl_a") == A
    apply(again, first(an_item("bl_c")))
    again.close()


def test_a_commit_that_finds_no_room_was_not_executed(path: Path) -> None:
    """A full disk at the commit is no unknown outcome, and the store goes on."""
    store = open_sqlite(path)
    real = store._writer
    store._writer = FailingCommit(real, sqlite3.SQLITE_FULL)  # type: ignore[assignment, arg-type]
    with pytest.raises(StorageFull):
        apply(store, first(A))
    store._writer = real
    assert contents(store) == []
    apply(store, first(A))
    store.close()


def test_a_damaged_page_is_named_and_found_by_the_check(path: Path) -> None:
    """Reading through damage raises with the path, and a check of every page finds it without raising."""
    store = open_sqlite(path)
    apply(store, *(first(an_item(f"bl_{n}", description="text " * 300)) for n in range(200)))
    store.close()
    with closing(sqlite3.connect(path)) as connection:
        ((roots,),) = connection.execute("SELECT MAX(rootpage) FROM sqlite_master")
    data = bytearray(path.read_bytes())
    for page in range(roots, len(data) // 4_096):
        data[page * 4_096 : page * 4_096 + 64] = b"\xa5" * 64
    path.write_bytes(data)
    store = open_sqlite(path, check_integrity=True)
    with pytest.raises(DataCorrupt) as error:
        contents(store)
    assert error.value.path == str(path)
    health = store.check()
    assert not health.ok
    store.close()


def test_a_status_that_no_page_would_show_is_refused(path: Path) -> None:
    """An item that the orders could not list is not written."""
    store = open_sqlite(path)
    for item in (replace(A, status="paused"), replace(A, priority="P9")):
        for changes in ([first(item)], [first(B), first(item)]):
            with pytest.raises(InvalidInput):
                apply(store, *changes)
    assert contents(store) == []
    store.close()


def test_a_reader_cannot_be_used_after_its_function(path: Path) -> None:
    """What escapes from its function refuses to work, for its connection is somebody else's by then."""
    store = open_sqlite(path)
    escaped: list[Reader] = []
    store.read(escaped.append)
    store.write(escaped.append)
    for reader in escaped:
        with pytest.raises(BackendError, match="over"):
            reader.items(["bl_a"])
    store.close()


def test_a_write_inside_a_write_is_refused_at_once(path: Path) -> None:
    """A nested write would wait for itself."""
    store = open_sqlite(path, busy_timeout_s=3_600)

    def nest(_: Writer) -> None:
        apply(store, first(A))

    with pytest.raises(BackendError, match="inside a write"):
        store.write(nest)
    apply(store, first(A))
    store.close()


# What it looks after by itself.


def test_an_index_of_words_that_lags_behind_is_never_seen(path: Path) -> None:
    """New, changed and purged texts are found as they are, before the index has caught up and after."""
    store = open_sqlite(path)
    items = [an_item(f"bl_{number:03}", title=f"burn rate {number}") for number in range(100)]
    apply(store, *(first(item) for item in items))
    assert store.check().facts["words_waiting"] == "100"
    assert found(store, "burn", "rate") == [item.id for item in items]
    # That search had to look at many, so the index caught up behind it.
    assert store.check().facts["words_waiting"] == "0"
    apply(store, then(items[1], title="calm"), Purge("bl_002", 1), first(an_item("bl_new", title="burn")))
    for _ in range(2):
        assert found(store, "calm") == ["bl_001"]
        assert found(store, "rate", "1") == []
        assert found(store, "rate", "2") == []
        assert found(store, "burn")[-1] == "bl_new"
        assert len(found(store, "burn")) == 99
        apply(store, *(first(an_item(f"bl_{n}", title="x")) for n in range(1_000, 1_070) if not found(store, "x")))
    store.close()


def test_owners_fixes_and_tags_are_found_however_far_the_index_is(path: Path) -> None:
    """Values that look like parts of each other, changed or taken away, are told apart before and after catching up."""
    store = open_sqlite(path)
    items = [
        an_item(f"bl_{n:03}", owner=f"ann{n % 3}", fix=f"fix {n % 2}", tags=("é", f"t{n % 4}")) for n in range(100)
    ]
    apply(store, *(first(item) for item in items))
    wheres: list[Where] = [
        In("owner", ("ann1",)), In("owner", ("ann",)), In("owner", ("ann0", "bob")), In("owner", ("", "bob")),
        In("fix", ("fix 1",)), In("tag", ("t2", "t3")), In("tag", ("t",)), In("tag", ("é",)), Not(In("tag", ("t1",))),
    ]  # fmt: skip
    for _ in range(3):
        for where in wheres:
            query = ItemQuery(where=where, limit=None)
            assert search(store, query) == select_items(items, query), where
        assert store.check().facts["words_waiting"] == "0"
        changed = [then(item, owner="bob", tags=("t2",), fix="") for item in items[:70]]
        apply(store, *changed)
        items[:70] = [change.item for change in changed]
    store.close()


def test_a_number_that_comes_again_is_not_taken_for_indexed(path: Path) -> None:
    """An item in the place of the purged newest one is found by its own words only."""
    store = open_sqlite(path)
    items = [an_item(f"bl_{number:03}", title="old words") for number in range(70)]
    apply(store, *(first(item) for item in items))
    assert len(found(store, "old")) == 70
    apply(store, *(Purge(item.id, 1) for item in items[-3:]))
    apply(store, first(an_item("bl_heir", title="new words")))
    assert found(store, "new", "words") == ["bl_heir"]
    assert len(found(store, "old")) == 67
    store.close()


def test_writers_let_the_index_catch_up_when_many_wait(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nobody searches, the number of waiting items stays bounded all the same."""
    monkeypatch.setattr(words, "PENDING_MAX", 300)
    store = open_sqlite(path)
    for chunk in range(10):
        apply(store, *(first(an_item(f"bl_{chunk}_{number}", title="burn")) for number in range(100)))
    assert int(store.check().facts["words_waiting"]) <= 500
    assert len(found(store, "burn")) == 1_000
    store.close()


def test_a_position_is_never_given_twice(path: Path) -> None:
    """Also where the newest events are purged, and after reopening, a tail that has passed them misses nothing."""
    store = open_sqlite(path)
    seen = []
    for number in range(4):
        item = an_item(f"bl_{number}")
        apply(store, first(item))
        seen.append(events_of(store)[-1].position)
        apply(store, Purge(item.id, 1))
        assert events_of(store) == []
        store.close()
        store = open_sqlite(path)
    assert seen == sorted(set(seen))
    apply(store, first(A))
    tail = store.read(lambda reader: reader.events(EventQuery(after=seen[-1])))
    assert [event.item_id for event in tail] == ["bl_a"]
    store.close()


def test_a_trail_holds_together_through_every_kind_of_change(path: Path) -> None:
    """Events of puts, loads and records, and of an item that returned, are found in their order, and no others."""
    store = open_sqlite(path)
    trail = tuple(an_event(replace(A, revision=revision)) for revision in (1, 2, 3))
    apply(store, Load(replace(A, revision=3), trail), first(B))
    apply(store, then(B), then(replace(A, revision=3)), PutRecord(a_record("k", kind="key"), an_event(A, id="ev_k")))
    apply(store, then(replace(A, revision=4)))
    assert [event.revision for event in events_of(store, "bl_a")] == [1, 2, 3, 4, 1, 5]
    assert [event.revision for event in events_of(store, "bl_b")] == [1, 2]
    assert len(events_of(store, "bl_a", "bl_b")) == 8
    gone = an_event(replace(A, revision=6), type="purged")
    apply(store, Purge("bl_a", 5), PutRecord(a_record("k2", kind="key"), gone), first(an_item("bl_c")))
    assert [event.type for event in events_of(store, "bl_a")] == ["purged"]
    apply(store, first(replace(A, revision=7)))
    assert [event.revision for event in events_of(store, "bl_a")] == [6, 7]
    store.close()


def test_empty_names_are_names(path: Path) -> None:
    """A record of the empty id is scanned, and sightings of the source without a name go with their item."""
    store = open_sqlite(path)
    apply(store, PutRecord(a_record("")), PutRecord(a_record("x")), first(A), Sighting("bl_a", "", START, START))
    assert [record.id for record in store.read(lambda reader: reader.scan("view", "", "", 9))] == ["", "x"]
    assert len(store.read(lambda reader: reader.scan("sighting", "bl_a/", "", 9))) == 1
    apply(store, Purge("bl_a", 1))
    assert store.read(lambda reader: reader.scan("sighting", "", "", 9)) == []
    store.close()


def test_hundreds_of_envs_are_listed_in_order(path: Path) -> None:
    """Beyond the number of branches that pay, a page is sorted and is the same page."""
    store = open_sqlite(path)
    items = [an_item(f"bl_{number}", env=f"pr-{number % 211}", priority=f"P{number % 4}") for number in range(400)]
    apply(store, *(first(item) for item in items))
    for query in (ItemQuery(limit=70), ItemQuery(where=In("dedupe_key", ("",))), ItemQuery(order="due", offset=30)):
        assert search(store, query) == select_items(items, query)
    store.close()


def test_the_log_is_written_back_and_stays_small(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However much is written, the log has about the size that was set."""
    monkeypatch.setattr(backend, "_CHECKPOINT_PAGES", 100)
    store = open_sqlite(path)
    for number in range(300):
        apply(store, first(an_item(f"bl_{number}", description="text " * 100)))
    assert int(store.check().facts["log_bytes"]) < 200 * 4_120
    store.close()


def test_a_reader_that_lingers_stops_nobody(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Writes and the writing back of the log go on beside a long read, which sees what it saw at first."""
    monkeypatch.setattr(backend, "_CHECKPOINT_PAGES", 50)
    store = open_sqlite(path, busy_timeout_s=3_600)  # whoever waited for the reader would wait for ever

    def linger(reader: Reader) -> tuple[int, int]:
        before = len(reader.search(ItemQuery(limit=None)))
        for number in range(30):
            apply(store, first(an_item(f"bl_{number}")))
        return before, len(reader.search(ItemQuery(limit=None)))

    assert store.read(linger) == (0, 0)
    assert store.read(lambda reader: reader.tally(ANY, ())) == {(): 30}
    store.close()


def test_a_lock_file_that_the_disk_cannot_tell_of_is_an_error_of_the_store(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A disk that fails between two writes is told in the store's own words, and keeps no other handle waiting.
    """

    def fail(_: int) -> bool:
        raise OSError(errno.EIO, "Input/output error")

    one, another = open_sqlite(path), open_sqlite(path, busy_timeout_s=0.1)
    with monkeypatch.context() as patch:
        patch.setattr(filelock._system, "is_linked", fail)
        with pytest.raises(BackendUnavailable, match="Input/output error"):
            apply(one, first(A))
    apply(another, first(A))
    apply(one, first(B))
    assert {item.id for item in search(another, ItemQuery(order="id"))} == {A.id, B.id}
    one.close()
    another.close()


def test_a_write_that_was_committed_is_acknowledged_though_its_lock_cannot_be_given_back(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the system says on unlocking comes after the commit: it is no failure, and nobody waits for the lock."""
    one, another = open_sqlite(path), open_sqlite(path, busy_timeout_s=0.1)
    with monkeypatch.context() as patch:
        patch.setattr(fcntl, "flock", _cannot_unlock)
        apply(one, first(A))
    apply(another, first(B))
    assert {item.id for item in search(one, ItemQuery(order="id"))} == {A.id, B.id}
    one.close()
    another.close()


def _cannot_unlock(fd: int, operation: int) -> None:
    if operation == fcntl.LOCK_UN:
        raise OSError(errno.EIO, "Input/output error")
    REAL_FLOCK(fd, operation)


def test_a_lock_file_that_was_tidied_away_is_made_again(path: Path) -> None:
    """Two handles hold the same lock also after somebody removed its file."""
    one, other = open_sqlite(path, busy_timeout_s=0.05), open_sqlite(path, busy_timeout_s=0.05)
    Path(f"{path}-lock").unlink()

    def use(_: Writer) -> None:
        with pytest.raises(BackendUnavailable, match="locked by another process"):
            apply(other, first(A))

    one.write(use)
    apply(other, first(A))
    one.close()
    other.close()


def test_what_it_promises_less_it_says(path: Path) -> None:
    """With synchronous=NORMAL the store does not claim to be durable, and `check` warns."""
    store = open_sqlite(path, synchronous="NORMAL")
    apply(store, first(A))
    assert not store.capabilities.durable
    assert any("NORMAL" in warning for warning in store.check().warnings)
    store.close()
    full = open_sqlite(path)
    assert full.capabilities.durable
    assert full.check().warnings == ()
    full.close()


@pytest.mark.parametrize(("synchronous", "number"), [("FULL", 2), ("NORMAL", 1)])
def test_a_commit_is_synced_by_the_engine_itself(path: Path, synchronous: Synchronous, number: int) -> None:
    """SQLite itself says what it was told: to sync its log at each commit, unless less was asked for."""
    open_sqlite(path).close()
    connection = connect(str(path), synchronous=synchronous, busy_timeout_s=1, writes=True)
    assert connection.execute("PRAGMA synchronous").fetchone() == (number,)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()


def test_a_check_tells_the_facts(path: Path) -> None:
    """Versions, sizes, room and, where asked for, the integrity of every page are there for people and monitoring."""
    store = open_sqlite(path, check_integrity=True)
    apply(store, first(A))
    health = store.check()
    assert health.ok
    assert health.facts["sqlite"] == sqlite3.sqlite_version
    assert health.facts["integrity"] == "ok"
    assert {"path", "bytes", "log_bytes", "free_bytes", "schema", "synchronous"} <= set(health.facts)
    assert ("wal_reset_bug" in health.facts) == has_reset_bug()
    path.chmod(0o644)
    assert any("chmod 600" in warning for warning in store.check().warnings)
    path.unlink()
    assert not store.check().ok
    store.close()
    assert not store.check().ok


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ((3, 40, 1), True), ((3, 44, 5), True), ((3, 44, 6), False), ((3, 45, 0), True), ((3, 50, 7), False),
        ((3, 51, 2), True), ((3, 51, 3), False), ((3, 53, 0), False),
    ],
)  # fmt: skip
def test_versions_with_the_reset_bug_are_known(version: tuple[int, ...], expected: bool) -> None:
    """The mended releases, and the two older lines that got the mend, are told from the others."""
    assert has_reset_bug(version) is expected
