"""
Stores on a disk that is full or read-only: they say so, and what was acknowledged stays.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from backlog_store import Backlog, open_backlog
from backlog_store.errors import EXIT_CODES, BackendError, StorageFull
from tests.system.disks import Disk

STORES = {"jsonl": "jsonl://{disk}/store", "sqlite": "sqlite://{disk}/store.db"}
REPORTS_MAX = 2_000


@pytest.fixture(params=sorted(STORES))
def url(request: pytest.FixtureRequest, small_disk: Disk) -> str:
    """
    The URL of a store on the small disk, once for each backend that keeps files.
    """
    return STORES[request.param].format(disk=small_disk.path)


def draft(number: int) -> Mapping[str, str]:
    """
    Return a report of about 8 KiB.
    """
    return {"title": f"Problem {number}", "dedupe_key": f"test:{number}", "description": f"{number} " * 2_000}


def stored(backlog: Backlog) -> dict[str, tuple[int, int]]:
    """
    Return what is kept: key to revision and number of events.
    """
    return {item.dedupe_key: (item.revision, len(backlog.trail(item.id))) for item in backlog.each()}


def fill(backlog: Backlog) -> tuple[set[str], BackendError]:
    """
    Report problems until one is refused; return the acknowledged keys and the refusal.
    """
    acknowledged: set[str] = set()
    for number in range(REPORTS_MAX):
        try:
            backlog.upsert(draft(number))
        except BackendError as error:
            return acknowledged, error
        acknowledged.add(f"test:{number}")
    raise AssertionError("the disk never filled up")


def test_a_full_disk_is_named_and_nothing_acknowledged_is_lost(url: str, small_disk: Disk) -> None:
    """
    A full disk refuses the report with a clear error, keeps all before it whole, and takes more when there is room.
    """
    with open_backlog(url) as backlog:
        acknowledged, refusal = fill(backlog)
    assert isinstance(refusal, StorageFull)
    assert str(small_disk.path) in str(refusal)
    assert "no space left" in str(refusal)
    assert acknowledged

    expected = dict.fromkeys(acknowledged, (1, 1))
    with open_backlog(url) as backlog:
        assert expected == stored(backlog)
    small_disk.grow(16_384)
    with open_backlog(url) as backlog:
        assert backlog.upsert(draft(REPORTS_MAX)).verdict == "created"
        assert expected | {f"test:{REPORTS_MAX}": (1, 1)} == stored(backlog)


def test_a_read_only_disk_is_named_and_nothing_is_lost(url: str, small_disk: Disk) -> None:
    """
    On a disk that became read-only a report is refused by name; writable again, the store goes on where it was.
    """
    with open_backlog(url) as backlog:
        backlog.upsert(draft(1))
    small_disk.make_read_only()
    with pytest.raises(BackendError, match=r"(?i)read-only"), open_backlog(url) as backlog:
        backlog.upsert(draft(2))
    small_disk.make_writable()
    with open_backlog(url) as backlog:
        assert stored(backlog) == {"test:1": (1, 1)}
        assert backlog.upsert(draft(2)).verdict == "created"


def test_the_command_line_says_that_the_disk_is_full(url: str, small_disk: Disk) -> None:
    """
    A person sees one sentence with the place and what to do, the store's exit code, and no traceback.
    """
    with open_backlog(url) as backlog:
        fill(backlog)
    big = "x" * 20_000
    command = ["add", "One more", "--description", big]
    done = subprocess.run(
        [Path(sys.executable).with_name("backlog"), "--url", url, *command], capture_output=True, text=True, check=False
    )
    assert EXIT_CODES[BackendError] == done.returncode
    assert str(small_disk.path) in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
