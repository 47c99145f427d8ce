"""
Power cuts: real file systems that stop at any instant while a process writes keep what was acknowledged.

The loop device stands for a disk that keeps its promises: what it was told to sync is there afterwards.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from backlog_store.testing.postgres import PostgresServer
from tests.crash.notes import ACKNOWLEDGED, BEGUN, REFUSED, Notes
from tests.crash.program import Case
from tests.crash.writers import KILLED, NOT_OPENED, Counts, Writers, check
from tests.sizes import POWER_CUTS, SEEDS
from tests.system.disks import PowerDisk

PLACES = {"auto": "auto://{folder}/place", "jsonl": "jsonl://{folder}/store", "sqlite": "sqlite://{folder}/store.db"}
#: More than any writer gets done before the power is cut.
WRITES = 3_000


@pytest.fixture(params=["ext4", "xfs"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[PowerDisk]:
    """
    A disk of each kind.
    """
    disk = PowerDisk(tmp_path, request.param)
    yield disk
    disk.unmount()


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[Writers]:
    """
    A program that writes what it is told to.
    """
    with Writers(tmp_path) as writer:
        yield writer


@pytest.fixture
def server(disk: PowerDisk) -> Iterator[PostgresServer]:
    """
    A PostgreSQL server with its data on the disk.
    """
    with PostgresServer(parent=disk.path, settings={"max_wal_size": "64MB"}) as server:
        os.sync()  # the fixture makes it in haste, and nothing is acknowledged yet
        yield server


def cut_under_load(
    disk: PowerDisk, writer: Writers, case: Case, acknowledgements: int, server: PostgresServer | None = None
) -> None:
    """
    Let the writer begin, cut the power after so many acknowledgements, and boot again.

    A real cut takes the processor, too. Here the writer runs on while the file system stops; what it acknowledges from
    the cut on nobody would have heard, and counts as begun only.
    """
    writer.start(case)
    for _ in range(acknowledgements):
        assert writer.line("ack")
    notes = Notes(Path(case.notes))
    heard = notes.numbers(ACKNOWLEDGED)
    disk.cut_power()
    writer.kill()
    assert writer.end() in {KILLED, NOT_OPENED, 0}  # and so of no other error than the store's own
    for number in notes.numbers(ACKNOWLEDGED, REFUSED) - heard:
        notes.put(number, BEGUN)
    notes.close()
    if server is not None:
        server.kill()
    disk.restore()
    if server is not None:
        server.restart()


def case_of(backend: str, disk: PowerDisk, folder: Path, number: int) -> Case:
    """
    Return a case of a new store on the disk; what is noted lies elsewhere.
    """
    place = disk.path / str(number)
    place.mkdir(mode=0o700)
    return case_at(PLACES[backend].format(folder=place), folder, number)


def case_at(url: str, folder: Path, number: int) -> Case:
    """
    Return a case of the store at *url*, with its notes in *folder*.
    """
    notes = folder / f"notes-{number}"
    Notes(notes).close()
    return Case(url=url, notes=str(notes), writes=WRITES, speaks=True)


@pytest.mark.parametrize("backend", sorted(PLACES))
def test_a_power_cut_loses_nothing_acknowledged(
    backend: str, disk: PowerDisk, writer: Writers, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """
    After each cut: what was acknowledged is there, once, and whole; nothing else is; the store goes on.
    """
    rng = random.Random(f"{SEEDS[0]} {request.node.name}")
    counts = Counts(f"power cuts, {request.node.name}")
    for number in range(POWER_CUTS):
        case = case_of(backend, disk, tmp_path, number)
        cut_under_load(disk, writer, case, rng.randint(1, 25))
        check(case, counts, of=f"cut {number}")
    counts.finish()


def test_a_power_cut_of_a_server_loses_nothing_acknowledged(
    disk: PowerDisk, server: PostgresServer, writer: Writers, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """
    PostgreSQL's own disk loses power: after its recovery the same holds.
    """
    rng = random.Random(f"{SEEDS[0]} {request.node.name}")
    counts = Counts(f"power cuts, {request.node.name}")
    for number in range(POWER_CUTS):
        case = case_at(server.create_database(), tmp_path, number)
        cut_under_load(disk, writer, case, rng.randint(1, 25), server)
        check(case, counts, of=f"cut {number}")
        server.drop_database(case.url)
    counts.finish()


def test_a_store_that_does_not_sync_is_found_out(disk: PowerDisk, writer: Writers, tmp_path: Path) -> None:
    """
    The cuts are real: a journal that acknowledges without a sync loses what it acknowledged.
    """
    counts = Counts("power cuts without syncs")
    case = case_of("jsonl", disk, tmp_path, 0)
    case.syncs = False
    cut_under_load(disk, writer, case, 25)
    check(case, counts, of="the cut")
    assert counts.faults["lost"] >= 1
