"""
System calls that fail: whatever the system refuses a writer, nothing is acknowledged that is not there afterwards.

strace makes a call fail in a running writer: each call and error that can be, the n-th time, once or from then on.
"""

from __future__ import annotations

import random
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from backlog_store.testing.postgres import PostgresServer
from tests.crash.notes import Notes
from tests.crash.program import Case
from tests.crash.writers import NOT_OPENED, Counts, Writers, check
from tests.sizes import SEEDS, SYSCALLS

URLS = {"auto": "auto://{folder}", "jsonl": "jsonl://{folder}/store", "sqlite": "sqlite://{folder}/store.db"}
ERRORS = ("EIO", "ENOSPC", "EINTR")
CALLS = ("write", "pwrite64", "fsync", "fdatasync", "rename", "ftruncate", "flock", "openat")
ON_FILES = [*((call, error) for call in CALLS for error in ERRORS), ("openat", "EMFILE"), ("flock", "ENOLCK")]
ON_SOCKETS = [
    *((call, error) for call in ("sendto", "recvfrom") for error in ("ECONNRESET", "EPIPE", "ETIMEDOUT", "EINTR")),
    ("poll", "EINTR"), ("poll", "ENOMEM"), ("socket", "EMFILE"), ("connect", "ECONNREFUSED"), ("connect", "EINTR"),
]  # fmt: skip
#: How many stores share the cases.
KINDS = 4


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[Writers]:
    """
    A program that writes what it is told to.
    """
    with Writers(tmp_path) as writer:
        yield writer


def run_with_fault(writer: Writers, case: Case, fault: str, log: Path) -> tuple[int, bool]:
    """
    Carry a case out under a fault of strace's; return its exit status, and whether the fault came to be.
    """
    case.waits = True
    pid = writer.start(case)
    options = ["-p", str(pid), "-o", str(log), "-e", f"trace={fault.partition(':')[0]}", "-e", f"inject={fault}"]
    with subprocess.Popen(["strace", *options], stderr=subprocess.PIPE, text=True) as strace:
        assert strace.stderr is not None
        said = strace.stderr.readline()
        assert "attached" in said, said
        writer.let_go()
        status = writer.end()
    return status, "(INJECTED)" in log.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """
    A PostgreSQL server that nothing is refused.
    """
    with PostgresServer() as server:
        yield server


def try_each(
    name: str, writer: Writers, folder: Path, faults: Sequence[tuple[str, str]], url: Callable[[Path], str]
) -> None:
    """
    Write to a new store, at *url* of a folder, under each fault in turn, and hold what is there against the answers.
    """
    rng = random.Random(f"{SEEDS[0]} syscalls {name}")
    counts = Counts(f"system calls that fail, {name}")
    injected = 0
    for number in range(SYSCALLS // KINDS):
        call, error = faults[number % len(faults)]
        # Interruptions that never end would be tried again for ever, and are no fault that a system has.
        sticky = "+" if error != "EINTR" and rng.random() < 0.5 else ""
        last = 3 if call in {"socket", "connect"} else 30  # of these there are few
        fault = f"{call}:error={error}:when={rng.randint(1, last)}{sticky}"
        place = folder / str(number)
        place.mkdir(mode=0o700)
        Notes(place / "notes").close()
        case = Case(url=url(place), notes=str(place / "notes"), deadline_s=0.25)
        status, came = run_with_fault(writer, case, fault, place / "strace.log")
        injected += came
        if status not in {0, NOT_OPENED}:
            counts.add("unexplained", f"the writer ended with status {status}", of=fault)
        check(case, counts, of=fault)
    counts.finish()
    assert injected > counts.cases / 5


@pytest.mark.parametrize("backend", sorted(URLS))
def test_a_system_call_that_fails_never_makes_a_false_acknowledgement(
    backend: str, writer: Writers, tmp_path: Path
) -> None:
    """
    Each answer is true: what was acknowledged is there, what was refused is not; and then the store goes on.
    """
    try_each(backend, writer, tmp_path, ON_FILES, lambda folder: URLS[backend].format(folder=folder))


def test_a_connection_that_fails_never_makes_a_false_acknowledgement(
    writer: Writers, tmp_path: Path, server: PostgresServer
) -> None:
    """
    The same of PostgreSQL, whose clients are refused what they ask of the network.
    """
    try_each("postgres", writer, tmp_path, ON_SOCKETS, lambda _: server.create_database())
