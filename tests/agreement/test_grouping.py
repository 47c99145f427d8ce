"""
Group commit: what many threads ask while one transaction is under way is carried out in the next one, as in turn.

Nothing here depends on how fast a machine is: a first write is held until all others wait for it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import count
from pathlib import Path
from typing import Any, TypeVar, cast

import psycopg
import pytest
from msgspec.structs import replace

from backlog_store import commands as c
from backlog_store.backends.fs import FileSystem
from backlog_store.backends.jsonl import open_jsonl
from backlog_store.backends.memory import MemoryBackend
from backlog_store.backends.port import NO_HINT, Backend, Capabilities, Change, Hint, Put, Writer
from backlog_store.backends.postgres.backend import open_postgres
from backlog_store.backends.registry import open_backend
from backlog_store.backends.sqlite.backend import open_sqlite
from backlog_store.codec import encode
from backlog_store.errors import BackendError, BackendUnavailable, BacklogError, OutcomeUnknown
from backlog_store.executors import grouping
from backlog_store.executors.grouping import Grouping
from backlog_store.executors.local import LocalExecutor
from backlog_store.ids import item_id_of_key
from backlog_store.instants import add_seconds
from backlog_store.model import Actor, Draft
from backlog_store.query import EventQuery
from backlog_store.rules.replaying import is_pointed
from backlog_store.testing.agreement.commands import Execute, commands_program
from backlog_store.testing.clocks import START, CountingIds
from backlog_store.testing.contents import contents
from backlog_store.testing.faults import FailsBefore, LosesAnswers, Wrapper, nth
from backlog_store.verify import verify
from tests.sizes import SEEDS
from tests.stores import RETAINING, new_stores, url_of

T = TypeVar("T")
WAIT_S = 60.0


def numbered(bodies: Sequence[c.Body], *, named: bool = False) -> list[c.Command]:
    """
    Return bodies as commands of a person, one a second, with request ids if *named*.
    """
    ids = CountingIds()
    ann = Actor("ann", "person")
    return [
        c.Command(body=body, actor=ann, at=add_seconds(START, n), seed=ids(), request_id=f"r{n}" if named else "")
        for n, body in enumerate(bodies)
    ]


def report(key: str, **fields: Any) -> c.Report:
    """
    Return the report of one problem.
    """
    return c.Report(drafts=(Draft(title=f"about {key}", dedupe_key=key, source="slo", **fields),))


def answered(executor: LocalExecutor, command: c.Command) -> Any:
    """
    Return the answer as bytes, or the error.
    """
    try:
        return encode(executor.execute(command))
    except BacklogError as error:
        return type(error).__name__, error.code


class Held(Wrapper):
    """
    A backend with one writer at a time, whose first write waits until it is let go; it keeps the hints of all writes.
    """

    def __init__(self, backend: Backend) -> None:
        super().__init__(backend)
        self.is_held, self.let_go = threading.Event(), threading.Event()
        self.hints: list[Hint] = []

    @property
    def capabilities(self) -> Capabilities:
        """Claim one writer, so that the others gather on every backend."""
        return replace(self.backend.capabilities, writers=1)

    def write(self, fn: Callable[[Writer], T], /, *, hint: Hint = NO_HINT) -> T:
        """Hand on, the first time when told."""
        self.hints.append(hint)
        if len(self.hints) == 1:
            self.is_held.set()
            assert self.let_go.wait(WAIT_S)
        return self.backend.write(fn, hint=hint)


@pytest.fixture
def queued(monkeypatch: pytest.MonkeyPatch) -> threading.Semaphore:
    """
    Return what is released whenever a command begins to wait; nobody loses patience.
    """
    arrived = threading.Semaphore(0)
    wait = Grouping._wait

    def noticed(self: Grouping, member: Any) -> None:
        arrived.release()
        wait(self, member)

    monkeypatch.setattr(Grouping, "_wait", noticed)
    monkeypatch.setattr(grouping, "PATIENCE_S", WAIT_S)
    return arrived


@contextmanager
def gathered(
    executor: LocalExecutor, held: Held, commands: Sequence[c.Command], queued: threading.Semaphore,
    ask: Callable[[LocalExecutor, c.Command], Any] = answered,
) -> Iterator[list[Any]]:  # fmt: skip
    """
    Give the commands one after the other, the first one held, all others waiting in their order; then let go.

    Inside, all others wait. Outside, the list holds what each came to.
    """
    found: list[Any] = [None] * len(commands)

    def run(number: int) -> None:
        try:
            found[number] = ask(executor, commands[number])
        except BaseException as error:  # noqa: BLE001  (an interrupt is an outcome, too)
            found[number] = type(error).__name__

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(commands))]
    threads[0].start()
    assert held.is_held.wait(WAIT_S)
    for thread in threads[1:]:
        thread.start()
        assert queued.acquire(timeout=WAIT_S)
    try:
        yield found
    finally:
        held.let_go.set()
        for thread in threads:
            thread.join(WAIT_S)
    assert not any(thread.is_alive() for thread in threads)


def in_turn(commands: Sequence[c.Command]) -> tuple[list[Any], list[bytes]]:
    """
    Return what the commands come to one after the other in memory, and what is there then.
    """
    backend = MemoryBackend()
    return [answered(LocalExecutor(backend), command) for command in commands], contents(backend)


A = item_id_of_key(("prod", "a"))
#: What several threads ask at once: of other items and of the same, refused and repeated.
MIXED = numbered(
    [
        report("a"),
        report("b"),
        report("a", description="more"),
        c.Comment(id=A, message="seen"),
        c.Move(id=A, to="done"),  # refused: not from open
        c.Move(id=A, to="in_progress"),
        c.Comment(id="bl_nobody", message="refused, too"),
        c.Edit(id=A, fields={"dedupe_key": "z"}),
        report("a"),
        report("z"),
        report("b"),
        c.Create(draft=Draft(title="taken", dedupe_key="b")),
    ],
    named=True,
)


@pytest.mark.parametrize("name", RETAINING)
def test_a_group_is_carried_out_as_in_turn(
    request: pytest.FixtureRequest, tmp_path: Path, queued: threading.Semaphore, name: str
) -> None:
    """Two transactions: that of the first, and one of all who waited. Answers, refusals and contents are as in turn."""
    with closing(new_stores(name, request, tmp_path)()()) as backend:
        held = Held(backend)
        with gathered(LocalExecutor(held), held, MIXED, queued) as found:
            pass
        assert len(held.hints) == 2
        assert (found, contents(backend)) == in_turn(MIXED)
        assert backend.read(verify).faults == []


@pytest.mark.parametrize("seed", SEEDS)
def test_random_groups_are_carried_out_as_in_turn(queued: threading.Semaphore, seed: int) -> None:
    """Whatever commands meet in a group, on a store in use, they come to what they would have come to one by one."""
    program, model, backend = commands_program(seed, maintain=()), MemoryBackend(), MemoryBackend()
    waiting: list[c.Command] = []
    for _ in range(150):
        step = program.next(model)
        if not isinstance(step, Execute):
            continue
        if is_pointed(step.command.body):
            waiting.append(step.command)
        if waiting and (len(waiting) == 9 or not is_pointed(step.command.body)):
            held = Held(backend)
            with gathered(LocalExecutor(held), held, waiting, queued) as found:
                pass
            assert found == [answered(LocalExecutor(model), command) for command in waiting]
            assert contents(backend) == contents(model)
            waiting = []
        if not is_pointed(step.command.body):
            assert answered(LocalExecutor(backend), step.command) == answered(LocalExecutor(model), step.command)


class Counting(FileSystem):
    """
    A file system that counts syncs.
    """

    syncs = 0

    def sync_data(self, fd: int) -> None:
        """Sync and count."""
        self.syncs += 1
        super().sync_data(fd)


NEW = numbered([report(f"k{number}") for number in range(9)])


def test_one_sync_for_many_in_a_journal(tmp_path: Path, queued: threading.Semaphore) -> None:
    """Eight commands that waited cost one sync."""
    fs = Counting()
    with closing(open_jsonl(tmp_path / "j", fs=fs)) as backend:
        held = Held(backend)
        with gathered(LocalExecutor(held), held, NEW, queued):
            before = fs.syncs
        assert fs.syncs - before == 2  # the held one's, and that of all others


def test_one_commit_for_many_in_sqlite(tmp_path: Path, queued: threading.Semaphore) -> None:
    """Eight commands that waited cost one COMMIT."""
    statements: list[str] = []
    with closing(open_sqlite(tmp_path / "s.db")) as backend:
        assert backend._writer is not None
        backend._writer.set_trace_callback(statements.append)
        held = Held(backend)
        with gathered(LocalExecutor(held), held, NEW, queued):
            pass
        assert statements.count("COMMIT") == 2


def test_two_round_trips_for_many_on_postgres(postgres_dsn: str, queued: threading.Semaphore) -> None:
    """Eight commands that waited cost what one costs."""
    with closing(open_postgres(postgres_dsn)) as backend:
        LocalExecutor(backend).execute(
            numbered([report("first")])[0]
        )  # what adds up counts comes with some writes only
        held = Held(backend)
        with gathered(LocalExecutor(held), held, NEW, queued):
            before, _ = backend.traffic
        assert backend.traffic[0] - before in {4, 6}


class Poisoned(Wrapper):
    """
    A backend that cannot write what holds the word poison.
    """

    def write(self, fn: Callable[[Writer], T], /, *, hint: Hint = NO_HINT) -> T:
        """Hand on with a writer that refuses."""
        return self.backend.write(lambda writer: fn(cast("Writer", _Refusing(writer))), hint=hint)


class _Refusing:
    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._writer, name)

    def apply(self, changes: Sequence[Change]) -> None:
        if any(isinstance(change, Put) and "poison" in change.item.title for change in changes):
            raise BackendError("test", "apply", "it is poison")
        self._writer.apply(changes)


def titles(backend: Backend) -> list[str]:
    """
    Return the title of every event, one for each change that happened.
    """
    events = backend.read(lambda reader: reader.events(EventQuery(limit=None)))
    return sorted(str(event.changes["title"][1]) for event in events)


def test_a_failed_write_of_a_group_is_sorted_out(queued: threading.Semaphore) -> None:
    """Where a group fails as a whole, each command is carried out alone, and only whose fault it was hears of it."""
    memory = MemoryBackend()
    held = Held(Poisoned(memory))
    commands = numbered([report("a"), report("b"), report("poison"), report("c")])
    with gathered(LocalExecutor(held), held, commands, queued) as found:
        pass
    assert found[2] == ("BackendError", "backend_error")
    assert [isinstance(answer, bytes) for answer in found] == [True, True, False, True]
    assert titles(memory) == ["about a", "about b", "about c"]


def test_a_backend_that_is_away_for_a_moment(queued: threading.Semaphore) -> None:
    """A group that could not begin is carried out one by one: it is as if nobody had waited for another."""
    memory = MemoryBackend()
    held = Held(FailsBefore(memory, nth(2)))
    with gathered(LocalExecutor(held), held, NEW, queued) as found:
        pass
    assert all(isinstance(answer, bytes) for answer in found)
    assert len(titles(memory)) == len(NEW)


def test_a_backend_that_is_away_for_long(queued: threading.Semaphore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the group has used up its time, each command hears what it would have heard, and is not tried again."""
    monkeypatch.setattr(grouping, "AGAIN_S", -1.0)
    held = Held(FailsBefore(MemoryBackend(), nth(2)))
    with gathered(LocalExecutor(held), held, NEW, queued) as found:
        pass
    assert set(found[1:]) == {("BackendUnavailable", "backend_unavailable")}
    assert len(held.hints) == 2


def test_an_unknown_outcome_reaches_each_whose_effects_may_be_there(queued: threading.Semaphore) -> None:
    """Who has a request id is told what happened; who has none hears that it is unknown; a refusal stays a refusal."""
    memory = MemoryBackend()
    held = Held(LosesAnswers(memory, nth(2)))
    named, unnamed = numbered([report("a"), report("b")], named=True)[1], numbered([report("a"), report("c")])
    refused = numbered([c.Comment(id="bl_nobody", message="x")])[0]
    commands = [unnamed[0], named, unnamed[1], refused]
    with gathered(LocalExecutor(held, settle_s=WAIT_S), held, commands, queued) as found:
        pass
    assert b'"replayed":true' in found[1]
    assert found[2] == ("OutcomeUnknown", "outcome_unknown")
    assert found[3] == ("NotFound", "not_found")
    assert titles(memory) == ["about a", "about b", "about c"]


class Interrupted(Wrapper):
    """
    A backend in whose second write somebody presses Ctrl-C: before its effects are there, or after.
    """

    def __init__(self, backend: Backend, *, after: bool) -> None:
        super().__init__(backend)
        self._after = after
        self._writes = 0

    def write(self, fn: Callable[[Writer], T], /, *, hint: Hint = NO_HINT) -> T:
        """Hand on, and be interrupted."""
        self._writes += 1
        if self._writes == 2 and not self._after:
            raise KeyboardInterrupt
        answer = self.backend.write(fn, hint=hint)
        if self._writes == 2:
            raise KeyboardInterrupt
        return answer


@pytest.mark.parametrize("after", [False, True])
def test_an_interrupt_of_who_leads_is_that_threads_alone(queued: threading.Semaphore, *, after: bool) -> None:
    """The others' commands happen once, and they are told so."""
    memory = MemoryBackend()
    held = Held(Interrupted(memory, after=after))
    commands = numbered([report(f"k{number}") for number in range(5)], named=True)
    with gathered(LocalExecutor(held, settle_s=WAIT_S), held, commands, queued) as found:
        pass
    assert [answer for answer in found if not isinstance(answer, bytes)] == ["KeyboardInterrupt"]
    assert found[1] == "KeyboardInterrupt"
    assert titles(memory) == [f"about k{number}" for number in range(5) if after or number != 1]


def test_who_is_interrupted_while_waiting_is_gone(queued: threading.Semaphore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that has not begun does not happen, and nobody waits for its thread."""
    memory = MemoryBackend()
    held = Held(memory)
    wait = Grouping._wait

    def interrupted(self: Grouping, member: Any) -> None:
        if "k2" in member.command.body.drafts[0].title:
            queued.release()
            assert held.let_go.wait(WAIT_S)
            raise KeyboardInterrupt
        wait(self, member)

    monkeypatch.setattr(Grouping, "_wait", interrupted)
    commands = numbered([report(f"k{number}") for number in range(4)])
    with gathered(LocalExecutor(held), held, commands, queued) as found:
        # Led by the one that is interrupted, as soon as it is let go: it hands the turn on.
        pass
    assert found[2] == "KeyboardInterrupt"
    assert {"about k0", "about k1", "about k3"} <= set(titles(memory))


def test_groups_are_bounded_and_first_come_first_served(
    queued: threading.Semaphore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No transaction grows without end, and nobody is overtaken by who came later."""
    monkeypatch.setattr(grouping, "COMMANDS_MAX", 3)
    memory = MemoryBackend()
    held = Held(memory)
    with gathered(LocalExecutor(held), held, NEW, queued):
        pass
    assert [len(hint.keys) for hint in held.hints] == [1, 3, 3, 2]
    events = memory.read(lambda reader: reader.events(EventQuery(limit=None)))
    assert [event.changes["title"][1] for event in events] == [f"about k{number}" for number in range(9)]


def test_what_takes_long_is_not_waited_for(queued: threading.Semaphore, monkeypatch: pytest.MonkeyPatch) -> None:
    """While one write hangs, the others are carried out beside it."""
    monkeypatch.setattr(grouping, "PATIENCE_S", 0.001)
    memory = MemoryBackend()
    held = Held(memory)
    executor = LocalExecutor(held)
    with gathered(executor, held, NEW[:1], queued) as found:
        assert all(isinstance(answered(executor, command), bytes) for command in NEW[1:])
        assert found == [None]


def test_where_many_may_write_nobody_gathers(queued: threading.Semaphore) -> None:
    """As many commands as the store has writers go on at the same time; only further ones wait."""
    both = threading.Barrier(3)
    numbers = count()

    class Two(Wrapper):
        @property
        def capabilities(self) -> Capabilities:
            return replace(self.backend.capabilities, writers=2)

        def write(self, fn: Callable[[Writer], T], /, *, hint: Hint = NO_HINT) -> T:
            if next(numbers) < 2:
                both.wait(WAIT_S)
            return self.backend.write(fn, hint=hint)

    memory = MemoryBackend()
    executor = LocalExecutor(Two(memory))
    threads = [threading.Thread(target=executor.execute, args=(command,)) for command in NEW[:4]]
    for thread in threads:
        thread.start()
    assert all(queued.acquire(timeout=WAIT_S) for _ in range(2))
    both.wait(WAIT_S)
    for thread in threads:
        thread.join(WAIT_S)
    assert titles(memory) == [f"about k{number}" for number in range(4)]


@pytest.mark.parametrize("name", RETAINING)
def test_a_write_inside_a_write_is_refused_while_others_wait(
    request: pytest.FixtureRequest, tmp_path: Path, queued: threading.Semaphore, monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:  # fmt: skip
    """Nobody hands the work of a nested write to another thread, and nobody waits for ever for whom waits for him."""
    monkeypatch.setattr(grouping, "PATIENCE_S", 0.001)
    with closing(new_stores(name, request, tmp_path)()()) as backend:
        held = Held(backend)
        executor = LocalExecutor(held)
        with gathered(executor, held, NEW[:1], queued):

            def nest(_: Writer) -> None:
                executor.execute(NEW[1])

            with pytest.raises(BackendError, match="a write was begun inside"):
                backend.write(nest)


def test_a_row_that_somebody_locks_holds_up_its_own_writer_alone(
    postgres_dsn: str, queued: threading.Semaphore
) -> None:
    """A group does not wait for a lock for long: the neighbours of whom it concerns are answered meanwhile."""
    done = threading.Semaphore(0)

    def noticed(executor: LocalExecutor, command: c.Command) -> Any:
        try:
            return answered(executor, command)
        finally:
            done.release()

    commands = numbered([report("x"), c.Comment(id=A, message="waits"), report("b"), report("c")])
    with closing(open_postgres(postgres_dsn)) as backend, psycopg.connect(postgres_dsn) as other:
        LocalExecutor(backend).execute(numbered([report("a")])[0])
        other.execute("SELECT id FROM backlog_store.items WHERE id = %s FOR UPDATE", (A,))
        held = Held(backend)
        with gathered(LocalExecutor(held), held, commands, queued, noticed) as found:
            held.let_go.set()
            assert all(done.acquire(timeout=WAIT_S) for _ in range(3))
            assert [isinstance(answer, bytes) for answer in found] == [True, False, True, True]
            other.rollback()
        assert isinstance(found[1], bytes)


#: A child is forked while a thread of its parent writes and others wait; it must not wait for threads it does not have.
FORKS = """
import os, sys, threading
from backlog_store.backends.registry import open_backend
from backlog_store.executors.local import LocalExecutor
from tests.agreement.test_grouping import Held, NEW

held = Held(open_backend(sys.argv[1]))
executor = LocalExecutor(held)
threads = [threading.Thread(target=executor.execute, args=(command,)) for command in NEW[:3]]
threads[0].start()
held.is_held.wait()
for thread in threads[1:]:
    thread.start()
child = os.fork()
if child == 0:
    executor.execute(NEW[3])
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
held.let_go.set()
for thread in threads:
    thread.join()
"""


@pytest.mark.parametrize("name", [name for name in RETAINING if name != "memory"])
def test_a_forked_child_waits_for_nobody(request: pytest.FixtureRequest, tmp_path: Path, name: str) -> None:
    """What parent and child write is there, all of it."""
    url = url_of(name, request, tmp_path)
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    subprocess.run([sys.executable, "-c", FORKS, url], check=True, timeout=WAIT_S, env=environment)
    with closing(open_backend(url)) as backend:
        assert titles(backend) == [f"about k{number}" for number in range(4)]


def test_no_answer_shares_its_dicts_with_another(queued: threading.Semaphore) -> None:
    """Two threads that get the same item may each change what they got."""
    held = Held(MemoryBackend())
    commands = numbered([report("a", meta={"k": []}) for _ in range(4)])
    with gathered(
        LocalExecutor(held), held, commands, queued, lambda executor, command: executor.execute(command)
    ) as found:
        pass
    metas = [id(answer.outcomes[0].item.meta["k"]) for answer in found]
    assert len(set(metas)) == len(commands)


def test_the_errors_are_each_threads_own(queued: threading.Semaphore, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error that several threads raise is not one object, whose traceback would grow in all of them."""
    monkeypatch.setattr(grouping, "AGAIN_S", -1.0)

    def caught(executor: LocalExecutor, command: c.Command) -> Any:
        try:
            return executor.execute(command)
        except (BackendUnavailable, OutcomeUnknown) as error:
            return error

    held = Held(FailsBefore(MemoryBackend(), nth(2)))
    with gathered(LocalExecutor(held), held, NEW, queued, caught) as found:
        pass
    assert len({id(error) for error in found[1:]}) == len(NEW) - 1
    assert {str(error) for error in found[1:]} == {str(found[1])}
