"""
Real processes on one SQLite store: they write side by side, are killed, fork, wait for each other.
"""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from backlog_store.backends.port import Reader
from backlog_store.backends.sqlite import open_sqlite
from backlog_store.errors import BackendUnavailable
from backlog_store.query import EventQuery
from backlog_store.testing.conformance.base import apply, events_of, item_of
from backlog_store.testing.samples import an_item, first

#: Writes items of its own and changes one that all share; prints each acknowledged number.
WRITER = """
import sys
from backlog_store.backends.sqlite import backend, open_sqlite
from backlog_store.testing.samples import an_item, first, then
path, name, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
backend._CHECKPOINT_PAGES = 100  # so that the log is written back many times
store = open_sqlite(path, busy_timeout_s=60)

def work(writer, number):
    shared = writer.items(["bl_shared"])["bl_shared"]
    tags = tuple(sorted((*shared.tags, f"{name}-{number}")))
    writer.apply([first(an_item(f"bl_{name}_{number}")), then(shared, tags=tags)])

for number in range(count):
    store.write(lambda writer: work(writer, number))
    print(number, flush=True)
store.close()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """
    A store with the item that all writers share.
    """
    path = tmp_path / "backlog.db"
    store = open_sqlite(path)
    apply(store, first(an_item("bl_shared")))
    store.close()
    return path


def start(path: Path, name: str, count: int) -> subprocess.Popen[str]:
    """
    Start a writer.
    """
    command = [sys.executable, "-c", WRITER, str(path), name, str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def run_python(program: str, *arguments: str) -> str:
    """
    Run a program to its end and return what it printed.
    """
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", program, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def seen_whole(reader: Reader) -> bool:
    """
    Tell whether all that one transaction writes is there, for each transaction that the shared item tells of.
    """
    shared = reader.items(["bl_shared"])["bl_shared"]
    own = reader.items([f"bl_{tag.replace('-', '_')}" for tag in shared.tags])
    events = reader.events(EventQuery(limit=None))
    return len(own) == len(shared.tags) == shared.revision - 1 and len(events) == 2 * len(own) + 1


def test_processes_write_side_by_side(path: Path) -> None:
    """Three processes, each writing back the log, lose nothing, and a reader beside them never sees a half."""
    count = 60
    writers = [start(path, name, count) for name in "abc"]
    store = open_sqlite(path, check_integrity=True)
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
    assert store.check().ok
    store.close()


@pytest.mark.parametrize("after", [1, 7, 20, 33])
def test_a_writer_that_is_killed_loses_nothing_it_had_acknowledged(path: Path, after: int) -> None:
    """After SIGKILL, wherever it struck, what was acknowledged is there, at most one write more, each one whole."""
    with start(path, "a", 100_000) as writer:
        assert writer.stdout is not None
        for _ in range(after):
            writer.stdout.readline()
        writer.send_signal(signal.SIGKILL)
        acknowledged = after + len(writer.stdout.readlines())
    store = open_sqlite(path, check_integrity=True)
    shared = item_of(store, "bl_shared")
    assert shared is not None
    assert len(shared.tags) in {acknowledged, acknowledged + 1}
    assert {f"a-{number}" for number in range(len(shared.tags))} == set(shared.tags)
    assert store.read(seen_whole)
    apply(store, first(an_item("bl_after")))
    assert store.check().ok
    store.close()


def test_processes_that_open_a_new_store_at_once_make_one(tmp_path: Path) -> None:
    """Several first runs race for making the file and its tables; all of them end up in the same store."""
    path = tmp_path / "new" / "backlog.db"
    program = """
import sys
from backlog_store.backends.sqlite import open_sqlite
from backlog_store.testing.conformance.base import apply
from backlog_store.testing.samples import an_item, first
store = open_sqlite(sys.argv[1], busy_timeout_s=60)
apply(store, first(an_item(sys.argv[2])))
store.close()
"""
    path.parent.mkdir(mode=0o700)
    started = [subprocess.Popen([sys.executable, "-c", program, str(path), f"bl_{n}"]) for n in range(4)]
    assert [process.wait(60) for process in started] == [0, 0, 0, 0]
    store = open_sqlite(path)
    assert sorted(event.item_id for event in events_of(store)) == ["bl_0", "bl_1", "bl_2", "bl_3"]
    store.close()


def test_a_store_that_another_program_holds_is_told(path: Path) -> None:
    """A write waits as long as it was told to, then names the lock; reading goes on; afterwards all is well."""
    store = open_sqlite(path, busy_timeout_s=0.05)
    other = sqlite3.connect(path, isolation_level=None)  # knows nothing of the lock beside the file
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(BackendUnavailable, match="locked by another process") as error:
        apply(store, first(an_item("bl_a")))
    assert str(path) in str(error.value)
    assert item_of(store, "bl_shared") is not None
    other.execute("ROLLBACK")
    other.close()
    apply(store, first(an_item("bl_a")))
    store.close()


def test_two_handles_of_one_process_wait_for_each_other_too(path: Path) -> None:
    """The lock is of the open file: a second handle does not slip past the first."""
    one, other = open_sqlite(path), open_sqlite(path, busy_timeout_s=0.05)

    def use(_: object) -> None:
        with pytest.raises(BackendUnavailable, match="locked by another process"):
            apply(other, first(an_item("bl_a")))

    one.write(use)
    apply(other, first(an_item("bl_a")))
    one.close()
    other.close()


def test_a_log_left_by_a_killed_process_is_taken_in(path: Path) -> None:
    """What stands only in the log of a process that never closed is there for the next one."""
    program = """
import os, sys
from backlog_store.backends.sqlite import open_sqlite
from backlog_store.testing.conformance.base import apply
from backlog_store.testing.samples import an_item, first
store = open_sqlite(sys.argv[1])
apply(store, first(an_item("bl_a")))
os._exit(0)
"""
    run_python(program, str(path))
    assert Path(f"{path}-wal").stat().st_size > 0
    store = open_sqlite(path)
    assert item_of(store, "bl_a") is not None
    store.close()


FORK = """
import os, sys
from backlog_store.backends.sqlite import open_sqlite
from backlog_store.errors import BackendUnavailable
from backlog_store.testing.conformance.base import apply, events_of, item_of
from backlog_store.testing.samples import an_item, first
store = open_sqlite(sys.argv[1], busy_timeout_s=20)

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

def wait(child):
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
"""


def test_a_forked_child_goes_on_beside_its_parent(path: Path) -> None:
    """Both write by turns through the store that was open before the fork; the parent's end takes nothing along."""
    program = (
        FORK
        + """
apply(store, first(an_item("bl_before")))
item_of(store, "bl_before")
go, done = os.pipe(), os.pipe()
def act():
    for number in range(20):
        apply(store, first(an_item(f"bl_child{number}")))
        assert item_of(store, "bl_before") is not None
    os.write(done[1], b".")
    os.read(go[0], 1)
    # The parent has closed the store meanwhile, and was the last but one.
    apply(store, first(an_item("bl_last")))
    store.close()
child = in_child(act)
for number in range(20):
    apply(store, first(an_item(f"bl_parent{number}")))
os.read(done[0], 1)
store.close()
os.write(go[1], b".")
wait(child)
store = open_sqlite(sys.argv[1])
print(len(events_of(store)), item_of(store, "bl_last") is not None)
"""
    )
    assert run_python(program, str(path)) == "43 True\n"


def test_a_child_forked_inside_a_transaction_refuses(path: Path) -> None:
    """What was at work cannot be used in the child, which says so; the parent's transaction goes on."""
    program = (
        FORK
        + """
def refused():
    for use in (lambda: item_of(store, "bl_shared"), lambda: apply(store, first(an_item("bl_child")))):
        try:
            use()
        except BackendUnavailable as error:
            assert "forked" in str(error)
        else:
            raise AssertionError("not refused")
    assert not store.check().ok

def inside(writer):
    wait(in_child(refused))
    unwound = os.fork()
    if not unwound:
        raise SystemExit(0)  # through the transaction that is the parent's
    wait(unwound)
    writer.apply([first(an_item("bl_parent"))])

store.write(inside)
store.read(lambda reader: wait(in_child(refused)))
print(item_of(store, "bl_parent") is not None)
store.close()
"""
    )
    assert run_python(program, str(path)) == "True\n"


def test_a_child_that_closes_what_it_inherited_harms_nobody(path: Path) -> None:
    """A child's close, or its end, leaves the parent's store open and whole."""
    program = (
        FORK
        + """
for act in (store.close, lambda: None, lambda: item_of(store, "bl_shared")):
    wait(in_child(act))
    apply(store, first(an_item(f"bl_{len(events_of(store))}")))
print(len(events_of(store)), store.check().ok)
store.close()
"""
    )
    assert run_python(program, str(path)) == "4 True\n"
