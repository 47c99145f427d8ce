"""
Stopping, resuming and killing a process with all its descendants.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import psutil

__all__ = ["freeze", "kill", "quietly", "tree"]

FREEZE_DEADLINE_S = 30.0
KILL_DEADLINE_S = 30.0


def tree(pid: int) -> list[psutil.Process]:
    """
    Return the process *pid* and all its descendants, or nothing when it is gone.
    """
    import psutil

    try:
        first = psutil.Process(pid)
        return [first, *first.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def freeze(pid: int) -> list[psutil.Process]:
    """
    Stop *pid* and all its descendants with SIGSTOP, wait until they stand still, and return them, *pid* first.
    """
    # The first process first: once it stands still, no new ones appear. (Each backend is a session of its own, so a
    # signal to a process group would not reach it.)
    _suspend(tree(pid)[:1])
    processes = tree(pid)
    _suspend(processes[1:])
    return processes


def kill(pid: int) -> None:
    """
    Kill *pid* and all its descendants with SIGKILL, and wait until none of them holds anything any more.
    """
    processes = freeze(pid)
    for process in processes:
        quietly(process.kill)
    # The first one's end says nothing of the others: they may still be closing files.
    _wait_for(processes, set(), KILL_DEADLINE_S, "SIGKILL")


def _suspend(processes: Sequence[psutil.Process]) -> None:
    import psutil

    for process in processes:
        quietly(process.suspend)
    # The signal takes effect a little later, later still in a process that waits for the disk.
    _wait_for(processes, {psutil.STATUS_STOPPED}, FREEZE_DEADLINE_S, "SIGSTOP")


def _wait_for(processes: Sequence[psutil.Process], states: set[str], deadline_s: float, sent: str) -> None:
    """
    Wait until each of *processes* is in one of *states* or has ended; a zombie has, and has closed its files.
    """
    import psutil

    deadline = time.monotonic() + deadline_s
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            while process.status() not in {*states, psutil.STATUS_ZOMBIE}:
                if time.monotonic() > deadline:
                    raise TimeoutError(f"process {process.pid} is still {process.status()} {deadline_s} s after {sent}")
                time.sleep(0.001)


def quietly(action: Callable[[], object]) -> None:
    """
    Do *action* to a process, which may be gone by now.
    """
    import psutil

    with suppress(psutil.NoSuchProcess):
        action()
