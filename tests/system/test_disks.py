"""
Stores on a disk that is full or read-only: they say so, and what was acknowledged stays.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from backlog_store import Backlog, open_backlog
from backlog_store.errors import EXIT_CODES, BackendError, StorageFull
from backlog_store.testing.postgres import PostgresServer
from tests.system.disks import Disk

FILES = {"jsonl": "jsonl://{disk}/store", "sqlite": "sqlite://{disk}/store.db"}
REPORTS_MAX = 2_000


@pytest.fixture(params=sorted(FILES))
def url(request: pytest.FixtureRequest, small_disk: Disk) -> str:
    """
    The URL of a store on the small disk, once for each backend that keeps files.
    """
    return FILES[request.param].format(disk=small_disk.path)


@pytest.fixture
def database(postgres_server: PostgresServer, small_disk: Disk) -> Iterator[str]:
    """
    The URL of a PostgreSQL database whose tables lie on the small disk, large enough for an empty database.
    """
    small_disk.grow(16_384)
    with postgres_server.connect() as connection:
        connection.execute(f"CREATE TABLESPACE small LOCATION '{small_disk.path}'".encode())
        connection.execute(b"CREATE DATABASE small OWNER backlog TABLESPACE small")
        yield postgres_server.dsn("small")
        connection.execute(b"DROP DATABASE small WITH (FORCE)")
        connection.execute(b"DROP TABLESPACE small")


def draft(number: int) -> Mapping[str, str]:
    """
    Return a report of about 16 KiB that does not shrink by much when a store compresses it.
    """
    digests = (hashlib.sha256(f"{number}/{part}".encode()).hexdigest() for part in range(256))
    return {"title": f"Problem {number}", "dedupe_key": f"test:{number}", "description": " ".join(digests)}


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


def test_a_database_on_a_full_disk_is_named_and_nothing_acknowledged_is_lost(database: str, small_disk: Disk) -> None:
    """
    The same holds when the disk of a PostgreSQL server is full: the server says so, and we hand it on.
    """
    with open_backlog(database) as backlog:
        acknowledged, refusal = fill(backlog)
        assert isinstance(refusal, StorageFull)
        assert dict.fromkeys(acknowledged, (1, 1)) == stored(backlog)
        small_disk.grow(32_768)
        assert backlog.upsert(draft(REPORTS_MAX)).verdict == "created"
        assert {*acknowledged, f"test:{REPORTS_MAX}"} == set(stored(backlog))
    assert acknowledged


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
    program = str(Path(sys.executable).with_name("backlog"))
    command = [program, "--store", url, "add", "One more", "--description", "x" * 20_000]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert EXIT_CODES[BackendError] == done.returncode
    assert str(small_disk.path) in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_an_export_to_a_full_disk_leaves_nothing_behind(tmp_path: Path, small_disk: Disk) -> None:
    """
    It says that there is no room, with the store's exit code; neither the file nor a part of it stands there.
    """
    url = f"sqlite://{tmp_path}/store.db"
    with open_backlog(url) as backlog:
        for number in range(150):
            backlog.upsert(draft(number))
    program = str(Path(sys.executable).with_name("backlog"))
    before = sorted(small_disk.path.iterdir())
    command = [program, "--store", url, "export", str(small_disk.path / "backlog.ndjson")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert EXIT_CODES[BackendError] == done.returncode
    assert "no space left" in done.stderr
    assert before == sorted(small_disk.path.iterdir())
