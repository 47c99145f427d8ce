"""
System calls that fail: whatever the system refuses a writer, nothing is acknowledged that is not there afterwards.

strace makes a call fail in a running writer: each call and error that can be, the n-th time, once or from then on.
"""

from __future__ import annotations

import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crash.notes import Notes
from tests.crash.program import Case
from tests.crash.writers import NOT_OPENED, Counts, Writers, check
from tests.sizes import SEEDS, SYSCALLS

URLS = {"auto": "auto://{folder}", "jsonl": "jsonl://{folder}/store", "sqlite": "sqlite://{folder}/store.db"}
ERRORS = ("EIO", "ENOSPC", "EINTR")
CALLS = ("write", "pwrite64", "fsync", "fdatasync", "rename", "ftruncate", "flock", "openat")
FAULTS = [*((call, error) for call in CALLS for error in ERRORS), ("openat", "EMFILE"), ("flock", "ENOLCK")]


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


@pytest.mark.parametrize("backend", sorted(URLS))
def test_a_system_call_that_fails_never_makes_a_false_acknowledgement(
    backend: str, writer: Writers, tmp_path: Path
) -> None:
    """
    Each answer is true: what was acknowledged is there, what was refused is not; and then the store goes on.
    """
    rng = random.Random(f"{SEEDS[0]} syscalls {backend}")
    counts = Counts(f"system calls that fail, {backend}")
    injected = 0
    for number in range(SYSCALLS // len(URLS)):
        call, error = FAULTS[number % len(FAULTS)]
        # Interruptions that never end would be tried again for ever, and are no fault that a system has.
        sticky = "+" if error != "EINTR" and rng.random() < 0.5 else ""
        fault = f"{call}:error={error}:when={rng.randint(1, 30)}{sticky}"
        folder = tmp_path / str(number)
        folder.mkdir(mode=0o700)
        Notes(folder / "notes").close()
        case = Case(url=URLS[backend].format(folder=folder), notes=str(folder / "notes"))
        status, came = run_with_fault(writer, case, fault, folder / "strace.log")
        injected += came
        if status not in {0, NOT_OPENED}:
            counts.add("unexplained", f"the writer ended with status {status}", of=fault)
        check(case, counts, of=fault)
    counts.finish()
    assert injected > counts.cases / 5
