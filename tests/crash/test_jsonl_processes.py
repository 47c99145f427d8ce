"""
Real processes on one store: they append side by side, are killed, fork, wait for each other.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from backlog_store.backends.fs import FileSystem
from backlog_store.backends.jsonl import open_jsonl
from backlog_store.backends.jsonl.files import FileLock, Paths
from backlog_store.backends.port import PutRecord, Reader
from backlog_store.errors import BackendUnavailable
from backlog_store.query import EventQuery
from backlog_store.testing.conformance.base import apply, events_of, item_of, record_of
from backlog_store.testing.contents import contents
from backlog_store.testing.samples import a_record, an_item, first, then

#: Writes items of its own and changes one that all share; prints each acknowledged number.
WRITER = """
import sys
from backlog_store.backends.jsonl import open_jsonl
from backlog_store.testing.samples import an_item, first, then
folder, name, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
store = open_jsonl(folder, compact_slack=50_000)

def work(writer, number):
    shared = writer.items(["bl_shared"])["bl_shared"]
    tags = tuple(sorted((*shared.tags, f"{name}-{number}")))
    writer.apply([first(an_item(f"bl_{name}_{number}")), then(shared, tags=tags)])

for number in range(count):
    store.write(lambda writer: work(writer, number))
    print(number, flush=True)
"""


def start(folder: Path, name: str, count: int) -> subprocess.Popen[str]:
    """
    Start a writer.
    """
    command = [sys.executable, "-c", WRITER, str(folder), name, str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def run_python(program: str, *arguments: str) -> str:
    """
    Run a program to its end and return what it printed.
    """
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", program, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """
    A store with the item that all writers share.
    """
    folder = tmp_path / "store"
    store = open_jsonl(folder)
    apply(store, first(an_item("bl_shared")))
    store.close()
    return folder


def seen_whole(reader: Reader) -> bool:
    """
    Tell whether all that one transaction writes is there, for each transaction that the shared item tells of.
    """
    shared = reader.items(["bl_shared"])["bl_shared"]
    own = reader.items([f"bl_{tag.replace('-', '_')}" for tag in shared.tags])
    events = reader.events(EventQuery(limit=None))
    return len(own) == len(shared.tags) == shared.revision - 1 and len(events) == 2 * len(own) + 1


def test_processes_append_side_by_side(folder: Path) -> None:
    """Three processes, compacting in between, lose nothing, and a reader beside them never sees a half."""
    count = 60
    writers = [start(folder, name, count) for name in "abc"]
    store = open_jsonl(folder)
    while any(writer.poll() is None for writer in writers):
        assert store.read(seen_whole)
    for writer in writers:
        writer.communicate()
        assert writer.returncode == 0
    shared = item_of(store, "bl_shared")
    assert shared is not None
    assert {f"{name}-{number}" for name in "abc" for number in range(count)} == set(shared.tags)
    assert 3 * count + 1 == shared.revision == len(events_of(store, "bl_shared"))
    positions = [event.position for event in events_of(store)]
    assert positions == sorted(set(positions))
    health = store.check()
    assert health.ok
    assert health.warnings == ()
    assert int(health.facts["generation"]) > 1


@pytest.mark.parametrize("after", [1, 7, 20, 33])
def test_a_writer_that_is_killed_loses_nothing_it_had_acknowledged(folder: Path, after: int) -> None:
    """After SIGKILL, wherever it struck, what was acknowledged is there, at most one write more, each one whole."""
    with start(folder, "a", 100_000) as writer:
        assert writer.stdout is not None
        for _ in range(after):
            writer.stdout.readline()
        writer.send_signal(signal.SIGKILL)
        acknowledged = after + len(writer.stdout.readlines())
    store = open_jsonl(folder)
    shared = item_of(store, "bl_shared")
    assert shared is not None
    assert len(shared.tags) in {acknowledged, acknowledged + 1}
    assert {f"a-{number}" for number in range(len(shared.tags))} == set(shared.tags)
    assert 2 * len(shared.tags) + 1 == len(events_of(store))
    apply(store, first(an_item("bl_after")))
    store.close()
    store = open_jsonl(folder)
    assert item_of(store, "bl_after") is not None
    assert store.check().ok


def test_a_compaction_by_another_process_is_noticed(folder: Path) -> None:
    """A handle goes on in the new file: it reads what is written there, and writes there."""
    store = open_jsonl(folder)
    apply(store, then(an_item("bl_shared")))
    before = contents(store)
    program = "import sys; from backlog_store.backends.jsonl import open_jsonl; open_jsonl(sys.argv[1]).compact()"
    run_python(program, str(folder))
    assert before == contents(store)
    run_python(program, str(folder))
    apply(store, PutRecord(a_record("r")))
    other = open_jsonl(folder)
    assert contents(other) == contents(store) != before
    assert other.check().facts["generation"] == "3"


def test_a_lock_that_is_not_let_go_of_is_told(folder: Path) -> None:
    """A write waits for others as long as it was told to, then names the lock; reading what is known needs none."""
    fs = FileSystem()
    lock = FileLock(fs, Paths(folder).lock, timeout_s=1)
    store = open_jsonl(folder, lock_timeout_s=0.02)
    with lock.held(exclusive=True):
        with pytest.raises(BackendUnavailable, match="held by another process") as error:
            apply(store, PutRecord(a_record("r")))
        assert str(folder / "lock") in str(error.value)
        assert item_of(store, "bl_shared") is not None
    apply(store, PutRecord(a_record("r")))


def test_a_lock_file_that_was_removed_is_no_way_past_the_lock(folder: Path) -> None:
    """Where somebody tidied the lock file away, old and new handles meet at the one that took its place."""
    store = open_jsonl(folder, lock_timeout_s=0.02)
    apply(store, PutRecord(a_record("r1")))
    (folder / "lock").unlink()
    new = FileLock(FileSystem(), Paths(folder).lock, timeout_s=1)
    with new.held(exclusive=True), pytest.raises(BackendUnavailable):
        apply(store, PutRecord(a_record("r2")))
    apply(store, PutRecord(a_record("r2")))


FORK = """
import os, sys, threading
from backlog_store.backends.jsonl import open_jsonl
from backlog_store.backends.port import PutRecord
from backlog_store.errors import BackendUnavailable
from backlog_store.testing.conformance.base import apply, record_of
from backlog_store.testing.samples import a_record
store = open_jsonl(sys.argv[1], lock_timeout_s=5)

def wait(child):
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0

def in_child(act):
    child = os.fork()
    if child:
        return child
    try:
        act()
        os._exit(0)
    except BaseException:
        import traceback
        traceback.print_exc()
        os._exit(1)
"""


def test_a_forked_child_goes_on_beside_its_parent(folder: Path) -> None:
    """Parent and child write by turns through the store that was open before the fork, and see each other."""
    program = (
        FORK
        + """
apply(store, PutRecord(a_record("before")))
def act():
    for number in range(20):
        apply(store, PutRecord(a_record(f"child{number}")))
child = in_child(act)
for number in range(20):
    apply(store, PutRecord(a_record(f"parent{number}")))
wait(child)
print(len(store.read(lambda reader: reader.scan("view", "", "", 100))))
"""
    )
    assert run_python(program, str(folder)) == "41\n"
    assert open_jsonl(folder).check().ok


def test_a_fork_while_another_thread_writes_leaves_the_child_free(folder: Path) -> None:
    """The locks that another thread held at the fork are the parent's; the child does not wait for them for ever."""
    program = (
        FORK
        + """
held, done = threading.Event(), threading.Event()
def slow(writer):
    writer.apply([PutRecord(a_record("slow"))])
    held.set()
    done.wait()
thread = threading.Thread(target=lambda: store.write(slow))
thread.start()
held.wait()
def act():
    # The parent's transaction is open: the child writes after it, and then sees it.
    apply(store, PutRecord(a_record("child")))
    assert record_of(store, "view", "slow") is not None
child = in_child(act)
done.set()
thread.join()
wait(child)
print(record_of(store, "view", "child") is not None)
"""
    )
    assert run_python(program, str(folder)) == "True\n"


def test_a_fork_inside_a_transaction_is_no_second_commit(folder: Path) -> None:
    """Of a function that forks, the parent's end of it is the transaction; the child is told that it has none."""
    program = (
        FORK
        + """
parent = os.getpid()
def forks(writer):
    writer.apply([PutRecord(a_record("r"))])
    return os.fork()
try:
    child = store.write(forks)
except BackendUnavailable as error:
    assert os.getpid() != parent and "forked" in str(error)
    apply(store, PutRecord(a_record("child")))
    os._exit(0)
wait(child)
print(record_of(store, "view", "r").revision, record_of(store, "view", "child").revision)
"""
    )
    assert run_python(program, str(folder)) == "1 1\n"
    assert record_of(open_jsonl(folder), "view", "r") is not None
