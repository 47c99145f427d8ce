"""
Every operation may be the last one, or fail: what was acknowledged stays, and nothing is acknowledged falsely.
"""

from __future__ import annotations

import errno
import sys
from pathlib import Path
from subprocess import run

import pytest

from backlog_store.backends.jsonl import JsonlBackend, open_jsonl
from backlog_store.backends.jsonl.lines import LINE_MAX
from backlog_store.backends.port import Change, PutRecord
from backlog_store.errors import (
    BackendError,
    BackendUnavailable,
    InvalidInput,
    OutcomeUnknown,
    StorageFull,
)
from backlog_store.testing.conformance.base import apply, events_of, record_of
from backlog_store.testing.contents import contents
from backlog_store.testing.samples import a_record, an_item, first, then
from tests.crash.files import Fails, Killed, KilledAt, Recording

TORN = (0, 1, 40, 10**9)
#: More operations than any program here needs.
OPERATIONS_MAX = 60


def transactions() -> list[list[Change]]:
    """
    Return a few transactions, the first of which makes a store that is worth compacting.
    """
    item = an_item("bl_a", dedupe_key="ka")
    changed = then(item, title="x" * 3_000)
    return [[first(item)], [changed], [then(changed.item, title="y")], [PutRecord(a_record("r"))]]


def run_until_killed(folder: Path, fs: KilledAt, *, compact_after: int) -> tuple[list[int], bool]:
    """
    Open a store, write and compact; return which transactions were acknowledged, and whether all went through.
    """
    acknowledged: list[int] = []
    try:
        store = open_jsonl(folder, fs=fs)
        for number, changes in enumerate(transactions()):
            apply(store, *changes)
            acknowledged.append(number)
            if number == compact_after:
                store.compact()
        store.close()
    except Killed:
        return acknowledged, False
    return acknowledged, True


def states(tmp_path: Path) -> list[list[bytes]]:
    """
    Return what a store holds after none, one, two … of the transactions.
    """
    store = open_jsonl(tmp_path / "model")
    found = [contents(store)]
    for changes in transactions():
        apply(store, *changes)
        found.append(contents(store))
    store.close()
    return found


@pytest.mark.parametrize("torn", TORN)
@pytest.mark.parametrize("compact_after", [1, 3])
def test_a_process_may_end_at_any_operation(tmp_path: Path, torn: int, compact_after: int) -> None:
    """Killed before each operation in turn, or in the middle of it: acknowledged ⊆ found ⊆ begun, and it goes on."""
    expected = states(tmp_path)
    for number in range(1, OPERATIONS_MAX):
        folder = tmp_path / str(number)
        acknowledged, is_whole = run_until_killed(folder, KilledAt(number, torn=torn), compact_after=compact_after)
        store = open_jsonl(folder)
        found = contents(store)
        assert found in expected[len(acknowledged) : len(acknowledged) + 2], number
        apply(store, PutRecord(a_record("after")))
        store.close()
        store = open_jsonl(folder)
        assert record_of(store, "view", "after") is not None
        assert [line for line in contents(store) if b'"after"' not in line] == found
        assert store.check().ok
        store.close()
        if is_whole:
            return
    raise AssertionError("the program never came to its end")


@pytest.fixture
def fs() -> Fails:
    """
    A file system that works until it is told to fail.
    """
    return Fails()


@pytest.fixture
def store(tmp_path: Path, fs: Fails) -> JsonlBackend:
    """
    A store with one item on that file system.
    """
    store = open_jsonl(tmp_path / "store", fs=fs)
    apply(store, first(an_item("bl_a")))
    return store


def reopened(tmp_path: Path) -> JsonlBackend:
    """
    Open the same store on a file system that works.
    """
    return open_jsonl(tmp_path / "store")


def test_a_full_disk_is_named_and_the_store_goes_on_when_there_is_room(
    tmp_path: Path, fs: Fails, store: JsonlBackend
) -> None:
    """The part of a line that found room is cut away at once; the next write works without opening again."""
    before = contents(store)
    size = (tmp_path / "store" / "journal.jsonl").stat().st_size
    fs.errors["write"] = errno.ENOSPC
    with pytest.raises(StorageFull) as error:
        apply(store, PutRecord(a_record("r")))
    assert str(tmp_path) in error.value.path
    assert size == (tmp_path / "store" / "journal.jsonl").stat().st_size
    assert before == contents(store)
    fs.errors.clear()
    apply(store, PutRecord(a_record("r")))
    other = reopened(tmp_path)
    assert contents(other) == contents(store) != before
    assert "cut" not in other.check().facts


def test_a_real_limit_on_the_size_of_a_file_is_a_full_disk(tmp_path: Path) -> None:
    """Where the system refuses to let the file grow, the error says so and what was acknowledged is there."""
    program = """
import resource, sys
from backlog_store.backends.jsonl import open_jsonl
from backlog_store.errors import StorageFull
from backlog_store.testing.conformance.base import apply
from backlog_store.testing.samples import an_item, first
store = open_jsonl(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
for number in range(100):
    try:
        apply(store, first(an_item(f"bl_{number:03d}")))
    except StorageFull as error:
        print(number, error.code)
        break
"""
    done = run([sys.executable, "-c", program, str(tmp_path / "store")], capture_output=True, text=True, check=True)
    number, code = done.stdout.split()
    assert code == "storage_full"
    store = reopened(tmp_path)
    assert [f"bl_{at:03d}" for at in range(int(number))] == [event.item_id for event in events_of(store)]
    assert (tmp_path / "store" / "journal.jsonl").read_bytes().endswith(b"\n")


def test_a_disk_that_cannot_write_stops_the_store(tmp_path: Path, fs: Fails, store: JsonlBackend) -> None:
    """After an I/O error nothing more is acknowledged until the store is opened again, which shows what was."""
    before = contents(store)
    fs.errors["write"] = errno.EIO
    with pytest.raises(BackendUnavailable):
        apply(store, PutRecord(a_record("r")))
    fs.errors.clear()
    check_stopped(store)
    assert before == contents(reopened(tmp_path))


def check_stopped(store: JsonlBackend) -> None:
    """
    Check that a store acknowledges nothing and says why.
    """
    with pytest.raises(BackendUnavailable, match="has stopped"):
        apply(store, PutRecord(a_record("later")))
    with pytest.raises(BackendUnavailable, match="open the store again"):
        store.read(lambda reader: reader.items([]))
    health = store.check()
    assert not health.ok
    assert any("has stopped" in problem for problem in health.problems)


def test_after_a_failed_sync_the_outcome_is_unknown_and_the_store_stops(
    tmp_path: Path, fs: Fails, store: JsonlBackend
) -> None:
    """The same file is never synced again in hope: what a second sync says of lost pages is worth nothing."""
    before = contents(store)
    fs.errors["sync_data"] = errno.EIO
    with pytest.raises(OutcomeUnknown):
        apply(store, PutRecord(a_record("r")))
    fs.errors.clear()
    fs.done.clear()
    check_stopped(store)
    store.close()
    assert "sync_data" not in fs.done
    again = reopened(tmp_path)
    assert before == contents(again)
    apply(again, PutRecord(a_record("r")))


def test_after_a_failed_sync_others_do_not_build_on_the_line(tmp_path: Path, fs: Fails, store: JsonlBackend) -> None:
    """The line whose sync failed is taken out of the file before another process could read it as committed."""
    other = reopened(tmp_path)
    fs.errors["sync_data"] = errno.EIO
    with pytest.raises(OutcomeUnknown):
        apply(store, PutRecord(a_record("r")))
    assert record_of(other, "view", "r") is None
    apply(other, PutRecord(a_record("r", by="other")))
    assert other.check().ok


def test_a_line_that_can_neither_be_synced_nor_cut_is_unknown_too(
    tmp_path: Path, fs: Fails, store: JsonlBackend
) -> None:
    """On a disk that fails altogether the store opens again with or without the line, whole either way."""
    before = contents(store)
    fs.errors |= {"sync_data": errno.EIO, "truncate": errno.EIO}
    with pytest.raises(OutcomeUnknown):
        apply(store, PutRecord(a_record("r")))
    check_stopped(store)
    again = reopened(tmp_path)
    assert [line for line in contents(again) if not line.startswith(b"record")] == before
    apply(again, PutRecord(a_record("after")))
    assert again.check().ok


def test_an_interrupt_between_two_steps_leaves_a_store_that_goes_on(
    tmp_path: Path, fs: Fails, store: JsonlBackend
) -> None:
    """After Ctrl-C during a sync, the same handle and others agree on what is there."""
    fs.errors["sync_data"] = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        apply(store, PutRecord(a_record("r")))
    fs.errors.clear()
    assert contents(store) == contents(reopened(tmp_path))
    apply(store, PutRecord(a_record("after")))
    assert contents(store) == contents(reopened(tmp_path))
    assert store.check().ok


def test_what_a_killed_process_wrote_is_synced_before_anybody_is_answered_from_it(tmp_path: Path) -> None:
    """A line without its sync may be read, but an answer found in it must survive a power cut from then on."""
    folder = tmp_path / "store"
    open_jsonl(folder).close()
    witness = Recording()
    other = open_jsonl(folder, fs=witness)
    other.read(lambda reader: None)
    fails = Fails()
    store = open_jsonl(folder, fs=fails)
    apply(store, PutRecord(a_record("first")))
    assert record_of(other, "view", "first") is not None

    fails.errors["sync_data"] = Killed()
    with pytest.raises(Killed):
        apply(store, PutRecord(a_record("r")))
    witness.done.clear()
    assert record_of(other, "view", "r") is not None
    assert ["sync_data"] == witness.done
    assert record_of(other, "view", "r") is not None
    assert ["sync_data"] == witness.done


def test_a_write_that_changes_nothing_syncs_what_it_answers_from(tmp_path: Path) -> None:
    """A command that finds its request already answered writes nothing, and its answer holds all the same."""
    folder = tmp_path / "store"
    witness, fails = Recording(), Fails()
    other = open_jsonl(folder, fs=witness)
    store = open_jsonl(folder, fs=fails)
    apply(store, PutRecord(a_record("first")))
    fails.errors["sync_data"] = Killed()
    with pytest.raises(Killed):
        apply(store, PutRecord(a_record("r")))
    witness.done.clear()
    assert "r" in other.write(lambda writer: writer.records("view", ["r"]))
    assert "sync_data" in witness.done


def test_the_first_write_to_a_file_that_another_process_put_there_syncs_the_folder(tmp_path: Path) -> None:
    """A process killed between its rename and its sync of the folder must not cost what others write afterwards."""
    folder = tmp_path / "store"
    witness = Recording()
    other = open_jsonl(folder, fs=witness)
    apply(other, PutRecord(a_record("first")))
    fails = Fails()
    store = open_jsonl(folder, fs=fails)
    fails.errors["sync_folder"] = Killed()
    with pytest.raises(Killed):
        store.compact()
    witness.done.clear()
    apply(other, PutRecord(a_record("r")))
    assert ["sync_folder", "sync_data"] == [name for name in witness.done if name.startswith("sync")][-2:]


@pytest.mark.parametrize(
    ("operation", "number", "error"),
    [
        ("write", errno.ENOSPC, StorageFull),
        ("sync_data", errno.EIO, BackendUnavailable),
        ("rename", errno.EIO, BackendUnavailable),
    ],
)
def test_a_compaction_that_fails_leaves_the_old_journal(
    tmp_path: Path, fs: Fails, store: JsonlBackend, operation: str, number: int, error: type[BackendError]
) -> None:
    """Before the new file has its name nothing is at stake: the error is told and the store goes on."""
    before = contents(store)
    fs.errors[operation] = number
    with pytest.raises(error):
        store.compact()
    fs.errors.clear()
    apply(store, PutRecord(a_record("r")))
    assert [line for line in contents(reopened(tmp_path)) if not line.startswith(b"record")] == before
    store.compact()
    assert contents(store) == contents(reopened(tmp_path))


def test_a_compaction_whose_rename_may_be_lost_stops_the_store(tmp_path: Path, fs: Fails, store: JsonlBackend) -> None:
    """Where the folder cannot be synced, a power cut may bring the old file back: nothing more is acknowledged."""
    before = contents(store)
    fs.errors["sync_folder"] = errno.EIO
    with pytest.raises(BackendUnavailable):
        store.compact()
    fs.errors.clear()
    check_stopped(store)
    assert before == contents(reopened(tmp_path))


def test_outdated_transactions_are_compacted_away(tmp_path: Path) -> None:
    """A store whose one item changes on and on keeps a journal of bounded length, and its whole trail."""
    store = open_jsonl(tmp_path / "store", compact_slack=20_000)
    change = first(an_item("bl_a", description="x" * 1_000))
    for _ in range(100):
        apply(store, change)
        change = then(change.item)
    assert (tmp_path / "store" / "journal.jsonl").stat().st_size < 2 * store._journal.state.size + 22_000
    assert int(store.check().facts["generation"]) > 1
    assert list(range(1, 101)) == [event.revision for event in events_of(reopened(tmp_path))]


def test_a_write_is_acknowledged_although_the_compaction_after_it_fails(tmp_path: Path, fs: Fails) -> None:
    """Tidying is no part of the write: its failure is told by `check`, and tried again later."""
    store = open_jsonl(tmp_path / "store", compact_slack=20_000, fs=fs)
    change = first(an_item("bl_a", description="x" * 1_000))
    fs.errors["rename"] = errno.EIO
    for _ in range(100):
        apply(store, change)
        change = then(change.item)
    assert any("could not be compacted" in warning for warning in store.check().warnings)
    assert len(events_of(reopened(tmp_path))) == 100
    fs.errors.clear()
    for _ in range(100):
        apply(store, change)
        change = then(change.item)
    assert not any("could not be compacted" in warning for warning in store.check().warnings)
    assert len(events_of(reopened(tmp_path))) == 200


def test_a_write_is_acknowledged_although_its_lock_cannot_be_given_back(
    tmp_path: Path, fs: Fails, store: JsonlBackend
) -> None:
    """What the system says on unlocking comes after the commit: it is no failure, and nobody waits for the lock."""
    fs.errors["unlock"] = errno.EIO
    apply(store, first(an_item("bl_x")))
    apply(store, first(an_item("bl_y")))
    other = open_jsonl(tmp_path / "store", lock_timeout_s=0.1)
    assert {"bl_x", "bl_y"} <= {event.item_id for event in events_of(other)}
    other.close()


def test_a_transaction_larger_than_a_line_is_refused(tmp_path: Path, store: JsonlBackend) -> None:
    """More than 8 MiB at once is an error that says so, and the store is as it was."""
    before = contents(store)
    changes = [PutRecord(a_record(f"r{number}", text="x" * 1_000_000)) for number in range(LINE_MAX // 1_000_000 + 1)]
    with pytest.raises(InvalidInput, match="at most 8388608 bytes"):
        apply(store, *changes)
    assert before == contents(store)
    apply(store, *changes[:7])
    assert contents(store) == contents(reopened(tmp_path))
    store.compact()
    assert contents(store) == contents(reopened(tmp_path))


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.EMFILE, errno.EIO])
def test_an_error_on_opening_is_told_with_its_place(tmp_path: Path, fs: Fails, number: int) -> None:
    """Whatever the system says on opening, the error names the file and what to do."""
    open_jsonl(tmp_path / "store").close()
    fs.errors["open"] = number
    with pytest.raises(BackendUnavailable) as error:
        open_jsonl(tmp_path / "store", fs=fs)
    assert str(tmp_path / "store") in str(error.value)
    assert error.value.hint
    assert isinstance(error.value.__cause__, OSError)


def test_a_journal_that_was_removed_is_not_an_empty_store(tmp_path: Path, store: JsonlBackend) -> None:
    """An open store whose file is gone says so, for reading and for writing, and makes no new one."""
    (tmp_path / "store" / "journal.jsonl").unlink()
    with pytest.raises(BackendUnavailable):
        contents(store)
    with pytest.raises(BackendUnavailable):
        apply(store, PutRecord(a_record("r")))
    assert not store.check().ok
    assert not (tmp_path / "store" / "journal.jsonl").exists()


def test_a_journal_that_was_put_back_from_a_copy_is_read_anew(tmp_path: Path, store: JsonlBackend) -> None:
    """Restoring an older file under an open store shows what that file holds, whether shorter or another file."""
    path = tmp_path / "store" / "journal.jsonl"
    old, before = path.read_bytes(), contents(store)
    apply(store, PutRecord(a_record("r")))
    path.write_bytes(old)
    assert before == contents(store)
    apply(store, PutRecord(a_record("s")))
    (tmp_path / "copy").write_bytes(old)
    (tmp_path / "copy").rename(path)
    assert before == contents(store)
