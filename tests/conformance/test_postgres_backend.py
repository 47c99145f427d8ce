"""
What PostgreSQL's backend promises beyond the suite: round trips, poolers, feeds, forks, contention, errors, words.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import psycopg
import pytest
from msgspec.structs import replace
from psycopg.conninfo import conninfo_to_dict

from backlog_store.backends.port import (
    Backend,
    Change,
    Hint,
    Purge,
    PutRecord,
    Reader,
    Require,
    Sighting,
    Writer,
)
from backlog_store.backends.postgres import PostgresBackend, open_postgres, tallies
from backlog_store.backends.postgres.deadlines import moment_after
from backlog_store.backends.postgres.failures import failure
from backlog_store.backends.postgres.migrating import MIGRATIONS
from backlog_store.backends.postgres.parameters import array, array_of_documents
from backlog_store.backends.postgres.statements import after_prefix
from backlog_store.backends.postgres.wire import Expired, Link, Lost, Refused, Statement
from backlog_store.backends.scanning import end_of_log
from backlog_store.dashboard import attention, dashboard
from backlog_store.errors import (
    AlreadyExists,
    BackendError,
    BackendUnavailable,
    ConfigError,
    DataCorrupt,
    InvalidInput,
    OutcomeUnknown,
    RevisionConflict,
    SchemaMismatch,
    StorageFull,
)
from backlog_store.query import ANY, EventQuery, HasWords, ItemQuery
from backlog_store.testing.clocks import START
from backlog_store.testing.conformance.base import apply, events_of, item_of, record_of
from backlog_store.testing.postgres import PostgresServer
from backlog_store.testing.samples import a_record, an_item, first, then

A = an_item("bl_a", dedupe_key="ka")
B = an_item("bl_b", dedupe_key="kb")


@pytest.fixture
def backend(postgres_dsn: str) -> Iterator[PostgresBackend]:
    """
    An empty store.
    """
    backend = open_postgres(postgres_dsn)
    yield backend
    backend.close()


def upsert(backend: Backend, id: str = "bl_a", key: str = "ka", **fields: Any) -> None:
    """
    Create the item of a key or change it, as a report does.
    """
    item = an_item(id, dedupe_key=key)

    def run(writer: Writer) -> None:
        held = writer.items_by_key([("prod", key)]).get(("prod", key))
        records = writer.records("key", [f"prod/{key}"])
        assert records == {}
        writer.apply([first(item) if held is None else then(held, **fields)])

    backend.write(run, hint=Hint(keys=(("prod", key),), records=(("key", f"prod/{key}"),)))


def trips(backend: PostgresBackend, action: Callable[[], object]) -> int:
    """
    Return how many round trips *action* costs.
    """
    before = backend.traffic[0]
    action()
    return backend.traffic[0] - before


# --- round trips -----------------------------------------------------------------------------------------------------


@pytest.fixture
def between_sums(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    No write adds up the counts, which one in hundreds does, in round trips of its own.
    """
    monkeypatch.setattr(tallies, "MOVES_MAX", 10**9)
    monkeypatch.setattr(tallies, "EVERY", 10**18)


@pytest.mark.usefixtures("between_sums")
def test_an_upsert_is_two_round_trips(backend: PostgresBackend) -> None:
    """What is hinted comes with BEGIN, all that is written goes with COMMIT, whether the key is new or known."""
    upsert(backend)
    assert trips(backend, lambda: upsert(backend, "bl_b", "kb")) == 2
    assert trips(backend, lambda: upsert(backend, title="changed", tags=("x",))) == 2


def test_deciding_that_nothing_changes_is_one_round_trip(backend: PostgresBackend) -> None:
    """A write that applies nothing does not wait for a commit; nor does a read."""
    upsert(backend)
    hint = Hint(keys=(("prod", "ka"),))
    assert trips(backend, lambda: backend.write(lambda w: w.items_by_key([("prod", "ka")]), hint=hint)) == 1
    assert trips(backend, lambda: item_of(backend, "bl_a")) == 1


def test_a_dashboard_is_one_round_trip(backend: PostgresBackend) -> None:
    """All counts come with the one list that is read after them; a count that stands alone comes by itself."""
    upsert(backend)
    assert trips(backend, lambda: backend.read(lambda reader: dashboard(reader, env="prod", now=START))) == 1
    assert trips(backend, lambda: backend.read(lambda reader: attention(reader, env="", now=START))) == 5
    counts = backend.read(lambda reader: reader.tally(ANY, ("status",)))
    assert counts == {("open",): 1}


def test_a_count_in_a_write_is_of_what_was_applied_before(backend: PostgresBackend) -> None:
    """It can be looked at later, and does not see what came after it was asked."""

    def run(writer: Writer) -> tuple[int, int]:
        before = writer.tally(ANY, ())
        writer.apply([first(an_item("bl_a", dedupe_key="ka"))])
        after = writer.tally(ANY, ())
        return before.get((), 0), after.get((), 0)

    assert backend.write(run) == (0, 1)


def test_a_count_cannot_be_asked_when_the_read_is_over(backend: PostgresBackend) -> None:
    """What a function asked for is at hand when it has returned, whatever came after; its reader answers no more."""
    upsert(backend)
    count, reader = backend.read(lambda reader: (reader.tally(ANY, ()), reader))
    upsert(backend, "bl_b", "kb")
    assert dict(count) == {(): 1}
    with pytest.raises(BackendError):
        len(reader.tally(ANY, ()))


@pytest.mark.usefixtures("between_sums")
def test_a_batch_of_thousands_is_two_round_trips(backend: PostgresBackend) -> None:
    """New items, changed ones and sightings by the thousand cost what one costs, in round trips."""
    items = [an_item(f"bl_{number}", dedupe_key=f"k{number}", tags=("x",)) for number in range(2_000)]
    keys = tuple(("prod", f"k{number}") for number in range(2_000))

    def run(changes: Callable[[Writer], list[Change]]) -> Callable[[], object]:
        return lambda: backend.write(lambda writer: writer.apply(changes(writer)), hint=Hint(keys=keys))

    assert trips(backend, run(lambda _: [first(item) for item in items])) == 2
    assert trips(backend, run(lambda writer: [then(item) for item in writer.items_by_key(keys).values()])) == 2
    assert trips(backend, run(lambda _: [Sighting(item.id, "ruff", START, START) for item in items])) == 2
    assert len(events_of(backend)) == 4_000


# --- a pooler in between ---------------------------------------------------------------------------------------------


def test_nothing_is_prepared_behind_a_pooler(postgres_dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where another process answers than the one connected to, no statement rests on the session."""
    monkeypatch.setattr(Link, "server_process", property(lambda _: 1))
    pooled = open_postgres(postgres_dsn)
    monkeypatch.undo()
    for title in ("one", "two", "three"):
        upsert(pooled, title=title)
    found, settings = _session(pooled)
    assert found == [[b"0"]]
    assert settings == [[b'"$user", public', b"0", b"0"]]
    pooled.close()


def test_a_session_keeps_nothing_but_what_is_prepared(backend: PostgresBackend) -> None:
    """Search path, time-outs and locks end with each transaction, also with one that failed or took its turn."""
    upsert(backend)
    upsert(backend, title="again")
    with pytest.raises(AlreadyExists):
        apply(backend, first(A))
    found, settings = _session(backend)
    assert int(found[0][0]) > 0
    assert settings == [[b'"$user", public', b"0", b"0"]]
    with backend._link(moment_after(5)) as link:
        assert link.exchange(
            [Statement("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'")], moment_after(5)
        ) == [[[b"0"]]]


def _session(backend: PostgresBackend) -> list[list[list[bytes]]]:
    with backend._link(moment_after(5)) as link:
        return link.exchange(
            [
                Statement("SELECT count(*) FROM pg_prepared_statements"),
                Statement(
                    "SELECT current_setting('search_path'), current_setting('statement_timeout'),"
                    " current_setting('idle_in_transaction_session_timeout')"
                ),
            ],
            moment_after(5),
        )


def test_statements_that_somebody_dropped_do_no_harm(backend: PostgresBackend) -> None:
    """A session that was reset under its user (DISCARD ALL) is replaced, and the call succeeds."""
    upsert(backend)
    with backend._link(moment_after(5)) as link:
        link.exchange([Statement("DEALLOCATE ALL")], moment_after(5))
    upsert(backend, title="again")
    assert [event.revision for event in events_of(backend)] == [1, 2]


# --- feeds -----------------------------------------------------------------------------------------------------------


def test_a_tail_stops_before_a_transaction_that_is_still_open(postgres_dsn: str, backend: PostgresBackend) -> None:
    """An event that began earlier and commits later is not passed over; a trail of its own item is seen at once."""
    with psycopg.connect(postgres_dsn) as slow:
        slow.execute("SELECT pg_current_xact_id()")  # it is older now than all that follow
        upsert(backend)
        other = open_postgres(postgres_dsn)
        assert list(other.read(lambda reader: reader.events(EventQuery()))) == []
        assert [event.item_id for event in events_of(other, "bl_a")] == ["bl_a"]
        newest = other.read(lambda reader: reader.events(EventQuery(newest_first=True)))
        assert [event.item_id for event in newest] == ["bl_a"]
        slow.execute(
            "INSERT INTO backlog_store.events SELECT pg_current_xact_id()::text::bigint, 0, 'bl_slow', type, actor, ts,"
            " batch, added, doc FROM backlog_store.events"
        )
    found = other.read(lambda reader: reader.events(EventQuery()))
    assert len(found) == 2
    assert found[0].position < found[1].position
    other.close()


@pytest.mark.parametrize("before", [0, 1, 2])
@pytest.mark.parametrize("behind", [0, 1, 2, 17])
def test_who_goes_on_from_the_end_misses_no_transaction_that_is_still_open(
    postgres_dsn: str, backend: PostgresBackend, before: int, behind: int
) -> None:
    """The end, as a read or a write sees it, is before what began earlier and commits later, whatever came since."""
    for number in range(before):
        apply(backend, first(an_item(f"bl_{number}")))
    other = open_postgres(postgres_dsn)
    with psycopg.connect(postgres_dsn) as slow:
        slow.execute("SELECT pg_current_xact_id()")
        for number in range(behind):
            apply(backend, first(an_item(f"bl_b{number}")))
        end = other.write(end_of_log)
        assert other.read(end_of_log) == end
    assert [event.item_id for event in other.read(lambda reader: reader.events(EventQuery(after=end)))] == [
        f"bl_b{number}" for number in range(behind)
    ]
    assert other.read(end_of_log) == (events_of(other)[-1].position if before + behind else "")
    other.close()


def test_a_handle_sees_its_own_events_in_a_feed(postgres_dsn: str, backend: PostgresBackend) -> None:
    """Somebody else's transaction that is open for a moment does not hide what this handle has just written."""
    looked = threading.Event()
    with psycopg.connect(postgres_dsn) as slow:
        slow.execute("SELECT pg_current_xact_id()")
        upsert(backend)

        def run(reader: Reader) -> list[str]:
            found = [event.item_id for event in reader.events(EventQuery())]
            if not looked.is_set():
                slow.commit()
                looked.set()
            return found

        assert backend.read(run) == ["bl_a"]


def test_one_item_s_events_are_in_order_of_revision_under_contention(backend: PostgresBackend) -> None:
    """However transactions overlap, positions of one item follow its revisions."""
    upsert(backend)

    def work() -> None:
        for number in range(10):
            upsert(backend, title=f"t{number}")

    _together([work] * 6)
    events = events_of(backend, "bl_a")
    assert [event.revision for event in events] == list(range(1, 62))


# --- contention ------------------------------------------------------------------------------------------------------


def test_a_batch_gets_its_turn_among_hot_keys(backend: PostgresBackend) -> None:
    """A large write that single writers keep spoiling comes through, and so do they."""
    items = [an_item(f"bl_{number}", dedupe_key=f"k{number}") for number in range(500)]
    apply(backend, *(first(item) for item in items))
    done = threading.Event()

    def batch() -> None:
        def run(writer: Writer) -> None:
            found = writer.items([item.id for item in items])
            writer.apply([then(item, status="blocked") for item in found.values()])

        for _ in range(3):
            backend.write(run)
        done.set()

    def single() -> None:
        number = 0
        while not done.is_set():
            upsert(backend, f"bl_{number % 5}", f"k{number % 5}", title=f"t{number}")
            number += 1

    _together([batch, single, single, single])
    found = backend.read(lambda reader: reader.items([item.id for item in items]))
    assert {item.revision for id, item in found.items() if int(id[3:]) >= 5} == {4}
    assert sum(item.revision for item in found.values()) == len(events_of(backend))


@pytest.mark.parametrize("kind", ["item", "view"])
def test_two_that_rely_on_each_other_s_absence_exclude_each_other(postgres_dsn: str, kind: str) -> None:
    """Each requires that the other's thing is absent and writes its own: in every round at most one goes first."""
    handles = [open_postgres(postgres_dsn), open_postgres(postgres_dsn)]
    for number in range(10):
        names = (f"bl_{number}_x", f"bl_{number}_y")
        together = threading.Barrier(2)
        works = [
            _Relying(kind, mine, other, handle, together)
            for mine, other, handle in zip(names, reversed(names), handles, strict=True)
        ]
        _together(works)
        assert sorted(work.answer for work in works) == [False, True]
    for handle in handles:
        handle.close()


class _Relying:
    """One of the two, which begins to write only when the other has read as well."""

    def __init__(self, kind: str, mine: str, other: str, backend: Backend, together: threading.Barrier) -> None:
        self.kind, self.mine, self.other, self.backend, self.together = kind, mine, other, backend, together
        self.runs = 0
        self.answer = False

    def __call__(self) -> None:
        self.answer = self.backend.write(self.run)

    def run(self, writer: Writer) -> bool:
        found = writer.items([self.other]) if self.kind == "item" else writer.records("view", [self.other])
        self.runs += 1
        if self.runs == 1:
            self.together.wait()
        if found:
            return False
        change = first(an_item(self.mine)) if self.kind == "item" else PutRecord(a_record(self.mine))
        writer.apply([Require(self.kind, self.other, 0), change])
        return True


def test_relying_on_absence_leaves_nothing_behind(postgres_dsn: str, backend: PostgresBackend) -> None:
    """The row that stands for an absence inside a transaction is never committed, and the id stays free."""
    apply(backend, Require("item", "bl_no", 0), Require("view", "no", 0), first(A))
    with psycopg.connect(postgres_dsn) as connection:
        assert connection.execute("SELECT id FROM backlog_store.items").fetchall() == [("bl_a",)]
        assert connection.execute("SELECT id FROM backlog_store.records").fetchall() == []
    apply(backend, first(an_item("bl_no")), PutRecord(a_record("no")))


def test_a_sighting_does_not_outlive_a_purge(postgres_dsn: str, backend: PostgresBackend) -> None:
    """An item that is purged while somebody sights it takes the sighting along, or keeps neither."""
    apply(backend, first(A))
    runs: list[int] = []

    def sight(writer: Writer) -> None:
        found = writer.items(["bl_a"])
        if not runs:
            runs.append(1)
            apply(other, Purge("bl_a", 1))
        if found:
            writer.apply([Sighting("bl_a", "ruff", START, START)])

    other = open_postgres(postgres_dsn)
    backend.write(sight)
    assert item_of(backend, "bl_a") is None
    assert record_of(backend, "sighting", "bl_a/ruff") is None
    other.close()


def test_sightings_of_many_reporters_are_spread_and_summed(postgres_dsn: str, backend: PostgresBackend) -> None:
    """Reporters on several connections add up in slots of their own; the newest named run is the one that counts."""
    apply(backend, first(A))
    handles = [open_postgres(postgres_dsn) for _ in range(3)]
    for number, handle in enumerate(handles):
        apply(handle, Sighting("bl_a", "ruff", START, START, 2, f"run{number}"))
    apply(handles[0], Sighting("bl_a", "ruff", START, START, 1))
    record = record_of(backend, "sighting", "bl_a/ruff")
    assert record is not None
    assert (record.body["n"], record.body["run"]) == (7, "run2")
    for handle in handles:
        handle.close()


def test_the_function_s_own_mistake_is_told_and_not_tried_for_ever(backend: PostgresBackend) -> None:
    """A change that no repetition can mend is refused after looking at what stands, from `apply` itself."""
    apply(backend, first(A))
    caught: list[Exception] = []

    def run(writer: Writer) -> str:
        try:
            writer.apply([then(replace(A, revision=7)), first(B)])
        except RevisionConflict as error:
            caught.append(error)
        writer.apply([PutRecord(a_record("instead"))])
        return "went on"

    assert backend.write(run) == "went on"
    assert [(error.expected, error.found) for error in caught] == [(7, 1)]  # type: ignore[attr-defined]
    assert (item_of(backend, "bl_b"), record_of(backend, "view", "instead")) == (None, a_record("instead"))


def test_a_write_inside_a_write_is_refused(backend: PostgresBackend) -> None:
    """It would wait for itself; the error says what to do instead."""
    with pytest.raises(BackendError, match="inside a write"):
        backend.write(lambda _: backend.write(lambda __: None))
    upsert(backend)


def test_a_reader_is_of_no_use_after_its_function(backend: PostgresBackend) -> None:
    """What was kept beyond the transaction does not read or write anything any more."""
    kept: list[Any] = []
    backend.read(kept.append)
    backend.write(kept.append)
    for reader in kept:
        with pytest.raises(BackendError, match="over"):
            reader.items(["bl_a"])
    with pytest.raises(BackendError, match="over"):
        kept[1].apply([first(A)])


# --- texts -----------------------------------------------------------------------------------------------------------


def test_a_phrase_is_found_behind_hundreds_of_the_same_word(backend: PostgresBackend) -> None:
    """PostgreSQL keeps 256 places a word; the three hundredth is found all the same, and nothing else is."""
    text = "slow " * 300 + "slow burn"
    apply(backend, first(an_item("bl_a", title="", description=text)), first(an_item("bl_b", title="burn slow")))

    def found(*words: str, prefix: bool = False) -> list[str]:
        query = ItemQuery(where=HasWords(words, prefix=prefix))
        return [item.id for item in backend.read(lambda reader: reader.search(query))]

    assert found("slow", "burn") == ["bl_a"]
    assert found("slow", "bu", prefix=True) == ["bl_a"]
    assert found("burn", "slow") == ["bl_b"]
    assert found("slow", "bu") == []


def test_a_text_that_cannot_be_stored_is_refused_and_nothing_is_written(backend: PostgresBackend) -> None:
    """A text would be cut at its first NUL, silently; here it is an error, and the connection is still good."""
    with pytest.raises(InvalidInput):
        apply(backend, first(B), PutRecord(a_record("a\0b")))
    with pytest.raises(InvalidInput):
        item_of(backend, "\ud800")
    assert item_of(backend, "bl_b") is None
    upsert(backend)


def test_arrays_hold_any_text(backend: PostgresBackend) -> None:
    """What is sent as an array arrives as it was, quotes, braces and the word NULL included."""
    texts = ["", " ", "NULL", "null", '"', "\\", '\\"', "{}", ",", "a,b", "{a}", "'", "\n", "é", "\U0001f600"]
    assert array([]) == b"{}"
    with pytest.raises(InvalidInput):
        array(["a", "b\0c"])
    for sent in (texts, array_of_documents([text.encode() for text in texts])):
        with backend._link(moment_after(5)) as link:
            rows = link.exchange([Statement("SELECT unnest($1::text[])", (sent,))], moment_after(5))[0]
        assert [row[0].decode() for row in rows] == texts


@pytest.mark.parametrize(
    ("prefix", "end"),
    [("", ""), ("a", "b"), ("p/", "p0"), ("a\U0010ffff", "b"), ("\U0010ffff", ""), ("\ud7ff", "\ue000"), ("é", "ê")],
)
def test_a_prefix_ends_before_the_next_text(prefix: str, end: str) -> None:
    """The bound is the least text above all that start with the prefix; above the greatest letter there is none."""
    assert after_prefix(prefix) == end


# --- settings and errors ---------------------------------------------------------------------------------------------


def test_a_lax_database_does_not_make_the_store_lax(postgres_server: PostgresServer, postgres_dsn: str) -> None:
    """With synchronous_commit off by default the store still waits for the disk, and `check` tells of it."""
    name = postgres_dsn.rpartition("/")[2]
    with postgres_server.connect() as admin:
        admin.execute(f"ALTER DATABASE {name} SET synchronous_commit = off".encode())
    backend = open_postgres(postgres_dsn)
    with backend._link(moment_after(5)) as link:
        assert link.is_lax
    upsert(backend)
    health = backend.check()
    assert health.ok
    assert any("synchronous_commit" in warning for warning in health.warnings)
    backend.close()


def test_check_tells_what_promises_rest_on(backend: PostgresBackend) -> None:
    """A healthy store names its server, its schema's version, the settings for durability, and its latency."""
    health = backend.check()
    assert (health.ok, health.backend, health.problems) == (True, "postgres", ())
    assert health.facts["schema"] == f"backlog_store, version {len(MIGRATIONS)} of {len(MIGRATIONS)}"
    assert (health.facts["fsync"], health.facts["synchronous_commit"]) == ("on", "on")
    assert {"server", "latency", "connections", "oldest_transaction", "synchronous_standby_names"} <= set(health.facts)


def test_a_server_that_only_reads_says_so(postgres_server: PostgresServer, postgres_dsn: str) -> None:
    """Writing on a standby, or where only reading is allowed, fails with what to put into the URL; reading works."""
    open_postgres(postgres_dsn).close()
    name = postgres_dsn.rpartition("/")[2]
    with postgres_server.connect() as admin:
        admin.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on".encode())
    backend = open_postgres(postgres_dsn)
    with pytest.raises(BackendUnavailable, match="target_session_attrs"):
        upsert(backend)
    assert item_of(backend, "bl_a") is None
    assert not backend.check().ok
    backend.close()


@pytest.mark.parametrize("form", ["url", "keywords"])
@pytest.mark.parametrize("wrong", ["database", "password", "user"])
def test_a_wrong_setting_is_named_and_the_password_is_not(postgres_dsn: str, form: str, wrong: str) -> None:
    """A database, user or password that is wrong is a setting to mend; no message shows the password."""
    at = {name: str(value) for name, value in conninfo_to_dict(postgres_dsn).items()}
    at |= {"dbname": "nowhere"} if wrong == "database" else {"password": "sesame-1234"}
    at |= {"user": "nobody"} if wrong == "user" else {}
    if form == "url":
        dsn = f"postgresql://{at['user']}:{at['password']}@{at['host']}:{at['port']}/{at['dbname']}"
    else:
        dsn = " ".join(f"{name}={value}" for name, value in at.items())
    with pytest.raises(ConfigError) as error:
        open_postgres(dsn)
    shown = f"{error.value} {error.value!r} {error.value.__dict__} {error.value.__cause__} {error.value.__context__!r}"
    assert at["password"] not in shown
    assert {"database": "createdb", "password": "password", "user": "user"}[wrong] in error.value.hint


@pytest.mark.parametrize("dsn", ["postgresql://u:se@same@h/d", "postgresql://u:se/same@h/d", "host=h se same", "=same"])
def test_what_libpq_cannot_read_is_refused_unseen(dsn: str) -> None:
    """Where the parts cannot be told apart nothing is shown: any of it may be the password."""
    with pytest.raises(ConfigError) as error:
        open_postgres(dsn)
    assert "same" not in f"{error.value} {error.value.__dict__} {error.value.__cause__!r} {error.value.__context__!r}"


MEANINGS: dict[str, type[BackendError]] = {
    "53100": StorageFull, "53300": BackendUnavailable, "53200": BackendUnavailable, "25006": BackendUnavailable,
    "57P01": BackendUnavailable, "57014": BackendUnavailable, "55P03": BackendUnavailable, "40001": BackendUnavailable,
    "40P01": BackendUnavailable, "08006": BackendUnavailable, "42501": BackendUnavailable, "3D000": BackendUnavailable,
    "28P01": BackendUnavailable, "42P01": SchemaMismatch, "XX001": DataCorrupt, "42601": BackendError,
    "23514": BackendError,
}  # fmt: skip


@pytest.mark.parametrize("sqlstate", MEANINGS)
def test_each_code_has_its_error(sqlstate: str) -> None:
    """A refusal was surely not executed, whatever it was about; the code is in the message for whoever looks it up."""
    error = failure(Refused(sqlstate, "the server's text"), "writing", committing=True)
    assert type(error) is MEANINGS[sqlstate]
    assert sqlstate in str(error) or isinstance(error, StorageFull)


@pytest.mark.parametrize("lost", [Lost("gone"), Expired("no answer came in time")])
def test_only_a_lost_commit_is_unknown(lost: Lost | Expired) -> None:
    """Without an answer the outcome is unknown once COMMIT was sent, and surely nothing before."""
    assert type(failure(lost, "writing", committing=True)) is OutcomeUnknown
    assert type(failure(lost, "writing")) is BackendUnavailable


# --- processes -------------------------------------------------------------------------------------------------------

FORKING = """
import os, sys
from backlog_store.backends.postgres import open_postgres
from backlog_store.testing.conformance.base import apply, item_of
from backlog_store.testing.samples import an_item, first
backend = open_postgres(sys.argv[1])
apply(backend, first(an_item("bl_before")))
child = os.fork()
if child == 0:
    apply(backend, first(an_item("bl_child")))
    assert item_of(backend, "bl_before")
    backend.close()
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
apply(backend, first(an_item("bl_parent")))
assert all(item_of(backend, id) for id in ("bl_before", "bl_child", "bl_parent"))
backend.close()
"""


@pytest.mark.parametrize("warnings", ["error"])
def test_a_forked_child_makes_connections_of_its_own(postgres_dsn: str, warnings: str) -> None:
    """Parent and child use one handle after a fork without hearing each other's answers."""
    command = [sys.executable, "-W", warnings, "-W", "ignore::DeprecationWarning", "-c", FORKING, postgres_dsn]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ})
    assert (done.returncode, done.stderr) == (0, "")


def test_importing_the_package_does_not_import_the_driver() -> None:
    """Who uses another backend does not pay for psycopg."""
    program = "import sys, backlog_store, backlog_store.backends.port; sys.exit('psycopg' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def _together(works: Sequence[Callable[[], object]]) -> None:
    faults: list[BaseException] = []

    def guarded(work: Callable[[], object]) -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001  (raised again on the test's own thread)
            faults.append(error)

    threads = [threading.Thread(target=guarded, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if faults:
        raise faults[0]
