"""
The failover executor, step by step: what is accepted, refused, replayed, counted and told. No thread, no real clock.
"""

from __future__ import annotations

import shutil
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from backlog_store.backends.fs import FileSystem
from backlog_store.backends.jsonl import open_jsonl
from backlog_store.backends.memory import MemoryBackend
from backlog_store.backends.port import NO_HINT, Backend, Hint
from backlog_store.backlog import Backlog
from backlog_store.commands import Comment, Report
from backlog_store.errors import (
    BackendUnavailable,
    ConfigError,
    InvalidInput,
    OutcomeUnknown,
    RequestReused,
    SchemaMismatch,
    StorageFull,
    TransitionNotAllowed,
)
from backlog_store.executors.failover import Account
from backlog_store.executors.failover.identity import receipt_of, with_receipt
from backlog_store.executors.failover.refuge import MEMORY_MAX
from backlog_store.executors.local import LocalExecutor
from backlog_store.model import Draft, Item
from backlog_store.query import EventQuery, ItemQuery
from backlog_store.testing.clocks import CountingIds, StepClock
from backlog_store.testing.faults import LosesAnswers
from backlog_store.transfer import export_store, import_store
from tests.outage.primaries import Switched, failover, settle


def titles(primary: Switched) -> dict[str, str]:
    """The primary's items by key: their titles."""
    return {item.dedupe_key: item.title for item in Backlog(LocalExecutor(primary.inner)).each()}


def seen(primary: Switched, id: str) -> list[str]:
    """The titles that an item had on the primary, in order."""
    events = primary.inner.read(lambda reader: reader.events(EventQuery(item_ids=(id,), limit=None)))
    return [event.changes["title"][1] for event in events if "title" in event.changes]


# --- accepting --------------------------------------------------------------------------------------------------------


def test_while_all_is_well_everything_is_recorded_and_nothing_spooled(tmp_path: Path) -> None:
    """A primary that answers gets each command at once."""
    primary = Switched()
    backlog, executor, _ = failover(primary, tmp_path)
    assert backlog.upsert(title="t", dedupe_key="a").verdict == "created"
    assert executor.standing().account == Account()
    assert titles(primary) == {"a": "t"}


def test_an_accepted_report_names_the_ids_that_the_items_will_have(tmp_path: Path) -> None:
    """Of keyed and of keyless drafts alike; and the refused ones keep their faults."""
    primary = Switched()
    primary.up = False
    backlog, executor, timer = failover(primary, tmp_path)
    drafts = (Draft(title="keyed", dedupe_key="a"), Draft(title=""), Draft(title="keyless"))
    answer = backlog.execute(Report(drafts=drafts))
    assert (answer.accepted, answer.volatile) == (True, False)
    assert [outcome.verdict for outcome in answer.outcomes] == ["accepted", "refused", "accepted"]
    assert "/drafts/1/title" in answer.outcomes[1].why
    primary.up = True
    settle(executor, timer)
    assert backlog.get(answer.outcomes[0].id).title == "keyed"
    assert backlog.get(answer.outcomes[2].id).title == "keyless"


def test_what_can_never_be_applied_is_refused_at_once(tmp_path: Path) -> None:
    """A faulty report, comment or resolution is no burden for the spool."""
    primary = Switched()
    primary.up = False
    backlog, executor, _ = failover(primary, tmp_path)
    with pytest.raises(InvalidInput):
        backlog.upsert(title="")
    with pytest.raises(InvalidInput):
        backlog.comment("bl_0123456789ab", "")
    with pytest.raises(InvalidInput):
        backlog.resolve("prod", "scanner", ["a"], proof="")
    assert executor.standing().account == Account()


def test_a_draft_that_is_no_text_does_not_keep_the_others_from_the_spool(tmp_path: Path) -> None:
    """A lone surrogate can be stored nowhere; what was reported with it can."""
    primary = Switched()
    primary.up = False
    backlog, executor, timer = failover(primary, tmp_path)
    answer = backlog.execute(Report(drafts=(Draft(title="\ud800"), Draft(title="sound", dedupe_key="a"))))
    assert [outcome.verdict for outcome in answer.outcomes] == ["refused", "accepted"]
    primary.up = True
    settle(executor, timer)
    assert titles(primary) == {"a": "sound"}


def test_conditional_commands_fail_closed_at_once_and_write_nothing(tmp_path: Path) -> None:
    """What depends on what is stored is not guessed at; it says why, and since when."""
    primary = Switched()
    backlog, executor, timer = failover(primary, tmp_path)
    item = backlog.upsert(title="t", dedupe_key="a").item
    assert item is not None
    primary.up = False
    with pytest.raises(BackendUnavailable):
        backlog.move(item.id, "in_progress")
    with pytest.raises(BackendUnavailable, match="degraded since"):
        backlog.edit(item.id, title="other")
    with pytest.raises(BackendUnavailable):
        backlog.execute(Comment(id=item.id, message="m", revision=1))
    with pytest.raises(BackendUnavailable):
        backlog.create({"title": "new"})
    primary.up = True
    settle(executor, timer)
    assert backlog.get(item.id) == item
    assert executor.standing().account == Account()


def test_reads_without_a_copy_are_refused_not_empty(tmp_path: Path) -> None:
    """Nobody is shown an empty backlog because the database is away."""
    primary = Switched()
    primary.up = False
    backlog, _, _ = failover(primary, tmp_path)
    with pytest.raises(BackendUnavailable):
        backlog.search()


# --- replaying --------------------------------------------------------------------------------------------------------


def test_what_was_accepted_arrives_in_order_and_once(tmp_path: Path) -> None:
    """One item that changes with each report has exactly these changes, in this order."""
    primary = Switched()
    backlog, executor, timer = failover(primary, tmp_path)
    id = backlog.upsert(title="0", dedupe_key="a").id
    primary.up = False
    for n in range(1, 50):
        assert backlog.upsert(title=f"{n}", dedupe_key="a").verdict == "accepted"
    assert executor.standing().waiting == 49
    primary.up = True
    settle(executor, timer)
    assert seen(primary, id) == [f"{n}" for n in range(50)]
    assert executor.standing().account == Account(accepted=49, applied=49)


def test_commands_go_behind_what_waits(tmp_path: Path) -> None:
    """The primary is back, the spool not yet drained: a report must not overtake an older one."""
    primary = Switched()
    backlog, executor, timer = failover(primary, tmp_path)
    id = backlog.upsert(title="0", dedupe_key="a").id
    primary.up = False
    backlog.upsert(title="1", dedupe_key="a")
    primary.up = True
    assert backlog.upsert(title="2", dedupe_key="a").verdict == "accepted"
    settle(executor, timer)
    assert backlog.upsert(title="3", dedupe_key="a").verdict == "updated"
    assert seen(primary, id) == ["0", "1", "2", "3"]


def test_an_answer_that_was_lost_does_not_double_its_effect(tmp_path: Path) -> None:
    """The primary committed and nobody heard it: the command goes to the spool and is found there already."""
    primary = Switched()
    backlog, executor, timer = failover(primary, tmp_path)
    id = backlog.upsert(title="t", dedupe_key="a").id
    primary.deaf = True
    assert backlog.comment(id, "once").verdict == "accepted"
    primary.deaf = False
    settle(executor, timer)
    assert [event.message for event in backlog.trail(id)] == ["", "once"]
    assert executor.standing().account == Account(accepted=1, there=1)


def test_a_drain_whose_answers_are_lost_is_offered_again(tmp_path: Path) -> None:
    """A batch that was committed unheard is found there already, command by command."""
    primary = Switched()
    primary.up = False
    backlog, executor, timer = failover(primary, tmp_path)
    for n in range(10):
        backlog.upsert(title=f"{n}", dedupe_key="a")
    primary.up = True
    settled_before = primary.writes
    timer.now += 2
    executor._open_primary = lambda: _Deafened(primary)
    executor.step()
    assert primary.writes > settled_before
    executor._open_primary = primary.open
    settle(executor, timer)
    assert executor.standing().account == Account(accepted=10, there=10)
    assert seen(primary, backlog.get_by_key("a").id) == [f"{n}" for n in range(10)]


class _Deafened(Switched):
    """
    A primary that loses the answer of each write that belongs to a drain: those with hints.
    """

    def __init__(self, primary: Switched) -> None:
        super().__init__(primary.inner)
        self.counted = primary

    def write(self, fn: Any, /, **options: Any) -> Any:
        self.counted.writes += 1
        answer = self.inner.write(fn, **options)
        if options:
            raise OutcomeUnknown("switched", "writing", "the answer was lost")
        return answer


def test_what_the_rules_refuse_is_parked_with_its_reason_and_the_rest_goes_on(tmp_path: Path) -> None:
    """A comment on an item that never was does not stop the reports behind it, and is not dropped."""
    primary = Switched()
    primary.up = False
    backlog, executor, timer = failover(primary, tmp_path)
    backlog.upsert(title="before", dedupe_key="a")
    backlog.comment("bl_000000000000", "lost")
    backlog.upsert(title="after", dedupe_key="b")
    primary.up = True
    settle(executor, timer)
    assert titles(primary) == {"a": "before", "b": "after"}
    assert executor.standing().account == Account(accepted=3, applied=2, parked=1)
    (parked,) = executor.spools.parked(0, limit=10)
    assert (parked.code, parked.number) == ("not_found", 2)
    assert any("could not be applied" in warning for warning in executor.check().warnings)


def test_a_command_that_breaks_its_whole_batch_is_found_and_parked(tmp_path: Path) -> None:
    """A fault that only the store meets is narrowed down to its command; all others arrive."""
    primary = Switched(_Allergic())
    primary.up = False
    backlog, executor, timer = failover(primary, tmp_path)
    for n in range(20):
        backlog.upsert(title="poison" if n == 13 else "food", dedupe_key=f"{n:02}")
    primary.up = True
    settle(executor, timer)
    assert sorted(titles(primary)) == [f"{n:02}" for n in range(20) if n != 13]
    assert executor.standing().account == Account(accepted=20, applied=19, parked=1)
    assert [parked.number for parked in executor.spools.parked(0, limit=10)] == [14]


def test_a_batch_that_is_cut_in_parts_arrives_in_order(tmp_path: Path) -> None:
    """Around a command that the store cannot hold, each writer's commands still follow each other."""
    primary = Switched(_Allergic())
    primary.up = False
    backlog, executor, timer = failover(primary, tmp_path)
    wanted = [f"{n:02}" for n in range(20)]
    for n, title in enumerate(wanted):
        backlog.upsert(title=title, dedupe_key="k")
        if n in {3, 13}:
            backlog.upsert(title="poison", dedupe_key=title)
    primary.up = True
    settle(executor, timer)
    (item,) = backlog.each()
    assert seen(primary, item.id) == wanted


class _Allergic(MemoryBackend):
    """
    A store with a fault of its own: it breaks on one title.
    """

    def write(self, fn: Any, /, **options: Any) -> Any:
        def run(writer: Any) -> Any:
            answer = fn(writer)
            if any(item.title == "poison" for item in _all(writer)):
                raise RuntimeError("this store cannot hold that")
            return answer

        return super().write(run, **options)


def _all(reader: Any) -> list[Item]:
    return list(reader.search(ItemQuery(limit=None)))


def test_a_request_id_used_twice_for_different_things_is_told(tmp_path: Path) -> None:
    """The first body wins, the second is parked as what it is."""
    primary = Switched()
    primary.up = False
    backlog, executor, timer = failover(primary, tmp_path)
    backlog.upsert(title="one", dedupe_key="a", request_id="r")
    backlog.upsert(title="one", dedupe_key="a", request_id="r")
    backlog.upsert(title="other", dedupe_key="a", request_id="r")
    primary.up = True
    settle(executor, timer)
    assert titles(primary) == {"a": "one"}
    assert executor.standing().account == Account(accepted=3, applied=1, there=1, parked=1)
    assert executor.spools.parked(0, limit=10)[0].code == RequestReused.code
    assert backlog.upsert(title="one", dedupe_key="a", request_id="r").verdict == "created"  # the first answer again


def test_a_conditional_command_after_the_outage_sees_what_was_accepted(tmp_path: Path) -> None:
    """Once the drain is done, rules hold against what came through the spool."""
    primary = Switched()
    primary.up = False
    backlog, executor, timer = failover(primary, tmp_path)
    id = backlog.upsert(title="t", dedupe_key="a").id
    primary.up = True
    settle(executor, timer)
    with pytest.raises(TransitionNotAllowed):
        backlog.move(id, "done")


def test_a_primary_too_slow_for_large_batches_gets_smaller_ones(tmp_path: Path) -> None:
    """A batch that does not end in its time is offered in parts, and what fits arrives."""
    primary = _Slow()
    primary.up = False
    backlog, executor, timer = failover(primary, tmp_path)
    for n in range(100):
        backlog.upsert(title=f"{n}", dedupe_key=f"{n:02}")
    primary.up = True
    settle(executor, timer)
    assert len(titles(primary)) == 100
    assert executor.standing().account == Account(accepted=100, applied=100)


class _Slow(Switched):
    """
    A primary that answers large writes too late.
    """

    def write(self, fn: Any, /, *, hint: Hint = NO_HINT) -> Any:
        if len(hint.keys) > 10:
            raise BackendUnavailable("switched", "writing", "no answer came in time")
        return super().write(fn, hint=hint)


def test_a_full_primary_takes_reports_later(tmp_path: Path) -> None:
    """A primary that answers and has no room is away, too: nothing is lost, nothing hammered, and it is told."""
    primary = Switched()
    primary.up = False
    primary.error = StorageFull("postgres", "writing", path="the server's disk")
    backlog, executor, timer = failover(primary, tmp_path)
    assert backlog.upsert(title="t", dedupe_key="a").verdict == "accepted"
    assert any("no space left" in problem for problem in executor.standing().problems)
    primary.up = True
    settle(executor, timer)
    assert titles(primary) == {"a": "t"}


# --- processes and clocks ---------------------------------------------------------------------------------------------


def test_the_next_process_drains_what_one_left_behind(tmp_path: Path) -> None:
    """Commands outlive the process that accepted them, and the next one puts its own behind them."""
    primary = Switched()
    primary.up = False
    first, executor, _ = failover(primary, tmp_path)
    first.upsert(title="1", dedupe_key="a")
    first.close()
    second, executor, timer = failover(primary, tmp_path, ids=CountingIds(1_000))
    second.upsert(title="2", dedupe_key="a")
    primary.up = True
    settle(executor, timer)
    assert seen(primary, second.get_by_key("a").id) == ["1", "2"]
    assert executor.standing().account == Account(accepted=2, applied=2)


def test_two_processes_share_one_spool(tmp_path: Path) -> None:
    """What one accepted goes first for the other one, too, whoever drains; both see one account."""
    primary = Switched()
    one, executor, timer = failover(primary, tmp_path)
    other, second, later = failover(primary, tmp_path, ids=CountingIds(1_000))
    primary.up = False
    one.upsert(title="1", dedupe_key="a")
    primary.up = True
    assert other.upsert(title="2", dedupe_key="a").verdict == "accepted"
    settle(second, later)
    settle(executor, timer)
    assert one.upsert(title="3", dedupe_key="a").verdict == "updated"
    assert seen(primary, one.get_by_key("a").id) == ["1", "2", "3"]
    assert executor.standing().account == second.standing().account == Account(accepted=2, applied=2)


def test_while_another_process_drains_one_waits_its_turn(tmp_path: Path) -> None:
    """The lock is let go of when its holder is gone, and then the drain goes on."""
    primary = Switched()
    primary.up = False
    one, executor, timer = failover(primary, tmp_path)
    _, second, _ = failover(primary, tmp_path, ids=CountingIds(1_000))
    one.upsert(title="1", dedupe_key="a")
    primary.up = True
    assert second._drain.lock.acquire()
    timer.now += 2
    executor.step()
    assert executor.standing().waiting == 1
    with pytest.raises(BackendUnavailable, match="another process"):
        executor.drain()
    second._drain.lock.release()
    assert executor.drain() == Account(applied=1, waiting=-1)


@pytest.mark.parametrize("jump_s", [-86_400.0 * 400, 86_400.0 * 400])
def test_a_wall_clock_that_jumps_changes_no_order(tmp_path: Path, jump_s: float) -> None:
    """Order is by number, pauses by a clock that does not jump: a wrong wall clock is only a wrong date."""
    primary = Switched()
    primary.up = False
    clock = StepClock()
    backlog, executor, timer = failover(primary, tmp_path, clock=clock)
    backlog.upsert(title="1", dedupe_key="a")
    clock.advance(jump_s)
    backlog.upsert(title="2", dedupe_key="a")
    primary.up = True
    settle(executor, timer)
    assert seen(primary, backlog.get_by_key("a").id) == ["1", "2"]
    assert executor.standing().account == Account(accepted=2, applied=2)


# --- another store, an older one, a newer one -------------------------------------------------------------------------


def test_what_waits_is_not_drained_into_another_store(tmp_path: Path) -> None:
    """Under the same address there is another database: it is told and gets nothing until somebody says so."""
    primary = Switched()
    backlog, executor, timer = failover(primary, tmp_path)
    backlog.upsert(title="old", dedupe_key="a")
    primary.up = False
    backlog.upsert(title="waits", dedupe_key="b")
    primary.inner, primary.up = MemoryBackend(), True
    for _ in range(5):
        timer.now += 2
        executor.step()
    assert titles(primary) == {}
    assert executor.standing().waiting == 1
    assert any("another store" in problem for problem in executor.check().problems)
    assert backlog.upsert(title="more", dedupe_key="c").verdict == "accepted"
    executor.adopt()
    settle(executor, timer)
    assert titles(primary) == {"b": "waits", "c": "more"}
    assert executor.standing().account.balances


def test_where_nothing_waits_another_store_takes_over(tmp_path: Path) -> None:
    """A database that was set up anew is no reason to stop where there is nothing to be lost."""
    primary = Switched()
    backlog, executor, timer = failover(primary, tmp_path)
    backlog.upsert(title="old", dedupe_key="a")
    primary.up = False
    with pytest.raises(BackendUnavailable):
        backlog.search()
    primary.inner, primary.up = MemoryBackend(), True
    settle(executor, timer)
    assert backlog.upsert(title="new", dedupe_key="b").verdict == "created"


def test_a_primary_restored_from_an_older_backup_gets_back_what_it_lost(tmp_path: Path) -> None:
    """What went through the spool after the backup is offered again; what the backup knows is not doubled."""
    place, backup = tmp_path / "primary", tmp_path / "backup"
    primary = Switched(open_jsonl(place))
    backlog, executor, timer = failover(primary, tmp_path)

    def outage(*keys: str) -> None:
        primary.up = False
        for key in keys:
            backlog.upsert(title=key, dedupe_key=key)
        primary.up = True
        settle(executor, timer)

    outage("a", "b")
    shutil.copytree(place, backup)
    outage("c", "d")
    primary.inner.close()
    shutil.rmtree(place)
    shutil.copytree(backup, place)
    primary.inner = open_jsonl(place)
    assert sorted(titles(primary)) == ["a", "b"]
    outage("e")
    assert sorted(titles(primary)) == ["a", "b", "c", "d", "e"]
    assert executor.standing().account == Account(accepted=5, again=2, applied=7)
    id = backlog.get_by_key("a").id
    assert [event.type for event in backlog.trail(id)] == ["created"]


def test_what_the_primary_knows_of_a_spool_never_goes_back() -> None:
    """A batch that nobody waits for any more arrives late: what was drained after it stays known as drained."""
    primary = MemoryBackend()
    primary.write(lambda writer: writer.apply([with_receipt(writer, "sp_a", 5)]))
    primary.write(lambda writer: writer.apply([with_receipt(writer, "sp_a", 3)]))
    assert primary.read(lambda reader: receipt_of(reader, "sp_a")) == 5
    primary.write(lambda writer: writer.apply([with_receipt(writer, "sp_a", 6)]))
    assert primary.read(lambda reader: receipt_of(reader, "sp_a")) == 6


def test_a_schema_that_changed_in_the_outage_does_not_lose_the_spool(tmp_path: Path) -> None:
    """A newer store than this program knows keeps it degraded, says so, and reports go on to be accepted."""
    primary = Switched()
    backlog, executor, timer = failover(primary, tmp_path)
    primary.up = False
    primary.error = SchemaMismatch("postgres", found="9", expected="1")
    backlog.upsert(title="1", dedupe_key="a")
    for _ in range(5):
        timer.now += 2
        executor.step()
    assert executor.standing().state == "degraded"
    assert any("schema 9" in problem for problem in executor.check().problems)
    backlog.upsert(title="2", dedupe_key="b")
    primary.up = True
    settle(executor, timer)
    assert titles(primary) == {"a": "1", "b": "2"}


def test_a_wrong_address_is_refused_at_first_contact_only(tmp_path: Path) -> None:
    """Who misspelt the database is told at once; an address that was right once is not doubted in an outage."""
    primary = Switched()
    primary.up, primary.error = False, ConfigError("url", "postgresql://…", "database does not exist")
    with pytest.raises(ConfigError):
        failover(primary, tmp_path)
    primary.up = True
    failover(primary, tmp_path)[0].close()
    primary.up = False
    backlog, executor, _ = failover(primary, tmp_path)
    assert backlog.upsert(title="t", dedupe_key="a").verdict == "accepted"
    assert any("does not exist" in problem for problem in executor.standing().problems)


# --- the spool's own disk ---------------------------------------------------------------------------------------------


class Disk(FileSystem):
    """
    A real file system that takes no more bytes while `error` is set.
    """

    error = 0

    def write(self, fd: int, data: bytes, offset: int) -> int:
        if self.error:
            raise OSError(self.error, "the disk refuses")
        return super().write(fd, data, offset)


@pytest.mark.parametrize("error", [28, 5], ids=["full", "broken"])
def test_memory_is_the_last_resort_and_goes_to_the_disk_first(tmp_path: Path, error: int) -> None:
    """With database and disk away reports stay in memory, loudly, and go to the disk in order when that is back."""
    primary, disk = Switched(), Disk()
    primary.up = False
    backlog, executor, timer = failover(primary, tmp_path, open_spool=lambda: open_jsonl(tmp_path / "spool", fs=disk))
    assert not backlog.execute(Report(drafts=(Draft(title="1", dedupe_key="a"),))).volatile
    disk.error = error
    answer = backlog.execute(Report(drafts=(Draft(title="2", dedupe_key="a"),)))
    assert (answer.accepted, answer.volatile) == (True, True)
    assert executor.standing().in_memory == 1
    assert any("memory only" in problem for problem in executor.check().problems)
    disk.error = 0
    timer.now += 2
    executor.step()
    assert (executor.standing().in_memory, executor.standing().waiting) == (0, 2)
    assert not any("memory only" in problem for problem in executor.standing().problems)
    assert not backlog.execute(Report(drafts=(Draft(title="3", dedupe_key="a"),))).volatile
    primary.up = True
    settle(executor, timer)
    assert seen(primary, backlog.get_by_key("a").id) == ["1", "2", "3"]
    assert executor.standing().account == Account(accepted=3, applied=3)


def test_the_drain_goes_on_while_the_spools_disk_is_full(tmp_path: Path) -> None:
    """Nothing waits for a disk that is not needed: what is there is read, what is in memory follows, all in order."""
    primary, disk = Switched(), Disk()
    primary.up = False
    backlog, executor, timer = failover(primary, tmp_path, open_spool=lambda: open_jsonl(tmp_path / "spool", fs=disk))
    backlog.upsert(title="1", dedupe_key="a")
    disk.error = 28
    backlog.upsert(title="2", dedupe_key="a")
    primary.up = True
    settle(executor, timer)
    assert seen(primary, backlog.get_by_key("a").id) == ["1", "2"]
    assert executor.standing().account == Account(accepted=2, applied=2)
    disk.error = 0
    timer.now += 2
    executor.step()
    assert executor.standing().account == Account(accepted=2, applied=2)
    backlog.close()
    _, again, _ = failover(primary, tmp_path, ids=CountingIds(1_000))
    assert again.standing().account == Account(accepted=2, applied=2)


def test_the_account_of_memory_is_told_to_the_disk_once(tmp_path: Path) -> None:
    """Also where the answer is lost: a name says that it was told already."""
    primary, disk = Switched(), Disk()
    primary.up = False
    lost: list[int] = []

    def opened() -> Backend:
        return LosesAnswers(open_jsonl(tmp_path / "spool", fs=disk), lambda _: bool(lost) and bool(lost.pop()))

    backlog, executor, timer = failover(primary, tmp_path, open_spool=opened)
    disk.error = 28
    backlog.upsert(title="1", dedupe_key="a")
    primary.up = True
    settle(executor, timer)
    disk.error = 0
    lost.append(1)
    for _ in range(4):
        timer.now += 2
        executor.step()
    assert not lost, "an answer was lost on the way"
    assert executor.standing().account == Account(accepted=1, applied=1)
    backlog.close()
    _, again, _ = failover(primary, tmp_path, ids=CountingIds(1_000))
    assert again.standing().account == Account(accepted=1, applied=1)


def test_a_spool_that_cannot_be_opened_is_told_and_reports_are_still_accepted(tmp_path: Path) -> None:
    """A damaged spool is neither used nor thrown away."""
    primary = Switched()
    primary.up = False
    failover(primary, tmp_path)[0].close()
    journal = tmp_path / "spool" / "journal.jsonl"
    whole = journal.read_bytes()
    journal.write_bytes(b"x" + whole)
    backlog, executor, timer = failover(primary, tmp_path)
    assert backlog.execute(Report(drafts=(Draft(title="1", dedupe_key="a"),))).volatile
    assert any("damaged" in problem for problem in executor.check().problems)
    assert journal.read_bytes() == b"x" + whole
    primary.up = True
    settle(executor, timer)
    assert titles(primary) == {"a": "1"}


def test_memory_has_a_limit(tmp_path: Path) -> None:
    """Past it a report is refused rather than the process killed."""
    primary, disk = Switched(), Disk()
    primary.up = False
    backlog, executor, _ = failover(primary, tmp_path, open_spool=lambda: open_jsonl(tmp_path / "spool", fs=disk))
    disk.error = 28
    full = tuple(Draft(title="t") for _ in range(2_000))
    for _ in range(MEMORY_MAX // 2_000):
        backlog.execute(Report(drafts=full))
    with pytest.raises(StorageFull):
        backlog.upsert(title="one more")
    assert executor.standing().in_memory == MEMORY_MAX // 2_000


# --- state ------------------------------------------------------------------------------------------------------------


def test_the_state_is_told_in_every_phase(tmp_path: Path) -> None:
    """Degraded while away, replaying while what waits is drained, up when nothing does."""
    primary = Switched()
    backlog, executor, timer = failover(primary, tmp_path)
    states = [executor.standing().state]
    primary.up = False
    backlog.upsert(title="t", dedupe_key="a")
    states.append(executor.standing().state)
    primary.up = True
    timer.now += 2
    with executor._stepping:
        executor._probe()
    states.append(executor.standing().state)
    settle(executor, timer)
    states.append(executor.standing().state)
    assert states == ["up", "degraded", "replaying", "up"]


def test_a_closed_store_says_so(tmp_path: Path) -> None:
    """Whoever goes on after closing is told, and nothing is accepted that nobody would drain."""
    backlog, _, _ = failover(Switched(), tmp_path)
    backlog.close()
    backlog.close()
    with pytest.raises(BackendUnavailable, match="closed"):
        backlog.upsert(title="t")


def test_a_database_restored_from_an_export_is_adopted_without_doubling_anything(tmp_path: Path) -> None:
    """An export makes another store: the spool waits until it is adopted, and then nothing is there twice."""
    primary = Switched()
    backlog, executor, timer = failover(primary, tmp_path)
    known = backlog.upsert(title="known", dedupe_key="known").id
    primary.up = False
    backlog.comment(known, "in the first outage")
    primary.up = True
    settle(executor, timer)
    export = BytesIO()
    export_store(primary.inner, export)
    primary.up = False
    backlog.comment(known, "in the second outage")
    primary.inner = MemoryBackend()
    export.seek(0)
    import_store(primary.inner, export)
    primary.up = True
    timer.now += 60.0
    executor.step()
    assert executor.standing().waiting == 1
    assert "another store" in executor.standing().problems[0]
    executor.adopt()
    settle(executor, timer)
    said = [event.message for event in backlog.trail(known) if event.type == "comment"]
    assert ["in the first outage", "in the second outage"] == said
