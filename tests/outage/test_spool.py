"""
The spool: order, account, what is kept, and what a disk or another process does to it.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from backlog_store.backends.fs import FileSystem
from backlog_store.backends.jsonl import open_jsonl
from backlog_store.backends.memory import MemoryBackend
from backlog_store.backends.port import PutRecord
from backlog_store.commands import Command, Report
from backlog_store.errors import DataCorrupt, StorageFull
from backlog_store.executors.failover.entries import Ended, Entry
from backlog_store.executors.failover.spool import Spool
from backlog_store.executors.failover.standing import Account
from backlog_store.instants import add_seconds
from backlog_store.model import Actor, Draft, Record
from backlog_store.testing.clocks import START, CountingIds

IDS = CountingIds()


def report(number: int, drafts: int = 1) -> Command:
    """A report of so many problems."""
    body = Report(drafts=tuple(Draft(title=f"{number}", dedupe_key=f"{number}/{n}") for n in range(drafts)))
    return Command(body=body, actor=Actor("a"), at=START, seed=IDS(), request_id=f"r{number}")


def filled(*commands: Command, spool: Spool | None = None) -> Spool:
    """A spool that has accepted these commands, one by one."""
    spool = spool or Spool(MemoryBackend(), IDS)
    for command in commands:
        spool.accept([(command, START)])
    return spool


def numbers(entries: list[Entry]) -> list[int]:
    """Their numbers."""
    return [entry.number for entry in entries]


def test_commands_come_out_as_they_went_in() -> None:
    """What is taken is equal to what was accepted, in order, and stays until it is moved."""
    commands = [report(n) for n in range(200)]
    spool = filled(*commands)
    assert [entry.command for entry in spool.take(1_000)] == commands
    assert [entry.command for entry in spool.take(1_000)] == commands


def test_a_batch_is_bounded_by_drafts_but_never_empty() -> None:
    """A report of many drafts fills a batch by itself."""
    spool = filled(report(1, 10), report(2, 3), report(3, 3))
    assert numbers(spool.take(5)) == [1]
    assert numbers(spool.take(14)) == [1, 2]


def test_the_account_balances_at_each_move() -> None:
    """Each command is counted where it is, and what is parked keeps its reason."""
    spool = filled(*[report(n) for n in range(1, 6)])
    ends = [Ended(1, 1, "applied"), Ended(2, 1, "there"), Ended(3, 1, "parked", "not_found", "no item")]
    assert spool.move(ends, START) is None
    assert spool.ledger().account == Account(accepted=5, applied=1, there=1, parked=1, waiting=2)
    assert spool.ledger().account.balances
    assert [(one.number, one.code, one.reason) for one in spool.parked()] == [(3, "not_found", "no item")]
    assert numbers(spool.take(10)) == [4, 5]


def test_parked_commands_wait_again_behind_all_others() -> None:
    """What is retried keeps its order and its instant; a number that is not parked is passed over."""
    spool = filled(*(report(number) for number in range(4)))
    spool.move([Ended(number, 1, "parked", "c", "r") for number in (1, 2)], START)

    assert spool.retry([2, 1, 2, 3, 77]) == 2
    assert spool.ledger().account == Account(accepted=4, waiting=4)
    assert [entry.command.request_id for entry in spool.take(9)] == ["r2", "r3", "r0", "r1"]
    assert (spool.parked(), spool.retry([1])) == ([], 0)
    assert spool.ledger().account.balances


def test_two_drains_of_the_same_commands_count_them_once() -> None:
    """A move that another process has noted already changes nothing."""
    backend = MemoryBackend()
    one, other = filled(report(1), report(2), spool=Spool(backend, IDS)), Spool(backend, IDS)
    one.move([Ended(1, 1, "applied"), Ended(2, 1, "applied")], START)
    other.move([Ended(1, 1, "there")], START)
    assert other.ledger().account == Account(accepted=2, applied=2)


def test_too_much_is_refused_and_nothing_of_it_kept() -> None:
    """A spool has a limit; at it a command is taken, past it none."""
    spool = Spool(MemoryBackend(), IDS, waiting_max=3)
    filled(report(1, 3), spool=spool)
    with pytest.raises(StorageFull):
        filled(report(2), spool=spool)
    assert spool.ledger().account == Account(accepted=1, waiting=1)
    spool.move([Ended(1, 3, "applied")], START)
    filled(report(2), spool=spool)


def test_what_was_moved_is_kept_for_a_while_and_offered_again() -> None:
    """A primary that was set back gets what it does not know any more; parked ones stay parked."""
    spool = filled(*[report(n) for n in range(1, 6)])
    spool.move([Ended(1, 1, "applied"), Ended(2, 1, "parked", "c", "r"), Ended(3, 1, "applied")], START)
    assert spool.offer_again(1) == 1
    assert numbers(spool.take(10)) == [3, 4, 5]
    assert spool.ledger().account == Account(accepted=5, again=1, applied=2, parked=1, waiting=3)
    assert spool.ledger().account.balances


def test_trimming_drops_the_oldest_of_what_was_moved_and_nothing_that_waits() -> None:
    """What is kept is bounded in number and in age."""
    spool = filled(*[report(n) for n in range(1, 11)])
    spool.move([Ended(n, 1, "applied") for n in range(1, 9)], START)
    spool.trim(START, kept_max=3)
    assert numbers(spool.listing(0, limit=100)) == [6, 7, 8, 9, 10]
    spool.trim(add_seconds(START, 15 * 86_400), kept_max=3)
    assert numbers(spool.listing(0, limit=100)) == [9, 10]
    assert spool.ledger().account.balances


def test_a_command_of_another_version_is_told_and_stays() -> None:
    """What this program cannot read is no command without a trace: the error names it, and nothing is moved."""
    backend = MemoryBackend()
    spool = filled(report(1), spool=Spool(backend, IDS))
    strange = Record(kind="spool", id=f"{1:016}", revision=2, body={"at": START, "command": {"body": {"type": "new"}}})
    backend.write(lambda writer: writer.apply([PutRecord(strange)]))
    with pytest.raises(DataCorrupt, match="spool/0000000000000001"):
        spool.take(10)
    assert spool.ledger().account == Account(accepted=1, waiting=1)


def test_a_spool_survives_its_process(tmp_path: Path) -> None:
    """What was accepted on disk is there for the next process, with its account and its id."""
    spool = filled(report(1), report(2), spool=Spool(open_jsonl(tmp_path / "s"), IDS))
    before = spool.ledger()
    spool.close()
    again = Spool(open_jsonl(tmp_path / "s"), IDS)
    assert again.ledger() == before
    assert numbers(again.take(10)) == [1, 2]


def test_a_move_that_cannot_be_written_is_written_with_the_next_one(tmp_path: Path) -> None:
    """With the disk full the drain goes on: the mark is kept in the process until it can be written."""
    full = FullDisk()
    spool = filled(*[report(n) for n in range(1, 4)], spool=Spool(open_jsonl(tmp_path / "s", fs=full), IDS))
    full.is_full = True
    assert isinstance(spool.move([Ended(1, 1, "applied")], START), StorageFull)
    assert numbers(spool.take(10)) == [2, 3]
    assert Spool(open_jsonl(tmp_path / "s"), IDS).ledger().account == Account(accepted=3, waiting=3)
    full.is_full = False
    assert spool.move([Ended(2, 1, "there")], START) is None
    assert Spool(open_jsonl(tmp_path / "s"), IDS).ledger().account == Account(accepted=3, applied=1, there=1, waiting=1)


class FullDisk(FileSystem):
    """
    A real file system that takes no more bytes while `is_full`.
    """

    is_full = False

    def write(self, fd: int, data: bytes, offset: int) -> int:
        if self.is_full:
            raise OSError(28, "No space left on device")
        return super().write(fd, data, offset)
