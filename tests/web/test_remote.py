"""
A backlog on a server: the same face, the same answers, the same errors.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from io import BytesIO
from types import SimpleNamespace
from typing import Any

import pytest
from msgspec.structs import replace

from backlog_store import open_backlog
from backlog_store.access import Scope
from backlog_store.backends.port import Reader
from backlog_store.backlog import Backlog
from backlog_store.commands import Create, SaveView
from backlog_store.errors import (
    AlreadyExists,
    AmbiguousId,
    BackendUnavailable,
    BacklogError,
    ConfigError,
    InvalidInput,
    InvalidQuery,
    NotAllowed,
    NotFound,
    RequestReused,
    RevisionConflict,
    TransitionNotAllowed,
)
from backlog_store.executors.remote import RemoteExecutor
from backlog_store.executors.remote.connection import Connection
from backlog_store.model import Draft
from backlog_store.query import EventQuery
from backlog_store.rules.admitted import people, tokens
from backlog_store.rules.hooking import standings
from backlog_store.testing.clocks import CountingIds, StepClock
from backlog_store.transfer import export_store
from backlog_store.web.site import Asker
from tests.web.serving import Served
from tests.webhooks.conftest import subscribe


@pytest.fixture
def remote(serve: Callable[[Asker], Served]) -> Iterator[Backlog]:
    """
    Return the store of the test as a client reaches it over HTTP.
    """
    with open_backlog(serve(Asker(name="ann", person=True)).url, actor="whoever") as client:
        yield client


def worked(backlog: Backlog) -> list[Any]:
    """
    Do what people and machines do, and return what came of it, but for what clock, ids and actors decide.
    """
    said: list[Any] = []
    scanner = backlog.acting_as("ruff")
    drafts = [Draft(title=f"Finding {n}", service="web", dedupe_key=f"k{n}", source="ruff") for n in range(5)]
    said += [outcome.verdict for _, outcome in scanner.report(drafts)]
    said += [outcome.verdict for _, outcome in scanner.report(drafts)]
    first = backlog.get_by_key("k0")
    assert first is not None
    backlog.edit(first.id, priority="P1", add_tags=["seen"])
    backlog.comment(first.id, "looked at it")
    backlog.move(first.id, "in_progress")
    other = backlog.get_by_key("k1")
    assert other is not None
    backlog.link(first.id, "blocks", other.id)
    backlog.close_item(other.id, "wont_fix", message="not ours")
    said += [(item.dedupe_key, item.status, item.priority, item.tags) for item in backlog.search()]
    said += [dict(backlog.tally(by=("status", "priority")))]
    said += [(event.type, event.revision) for event in backlog.events(EventQuery(limit=None))]
    said += [list(backlog.links(first.id)), backlog.occurrences(first), dict(backlog.views())]
    said += [name for name, _ in backlog.verdicts()]
    said += [backlog.dashboard().total, backlog.attention().urgent_count, backlog.get(first.id[:12]).id == first.id]
    week = backlog.weekly("2026-01-01T00:00:00.000000Z")
    said += [week.new.count, week.otherwise_by, week.noisy[0].noise, week.unowned.count]
    return said


def test_a_server_says_what_a_store_says(remote: Backlog) -> None:
    """
    The same work on a server and on a store of this process comes to the same answers.
    """
    with open_backlog("memory://", clock=StepClock(), ids=CountingIds()) as local:
        assert worked(remote) == worked(local.acting_as("ann", person=True))


def test_an_admin_sees_how_webhooks_stand(serve: Callable[[Asker], Served], backlog: Backlog) -> None:
    """
    How far each has come is read over a server as on the store; who is no admin of everything is told so.
    """
    backlog.upsert(title="before", dedupe_key="a")
    subscribe(backlog, "https://hooks.example.org/")
    backlog.upsert(title="behind", dedupe_key="b")
    [(revision, webhook, *stands)] = backlog.read(lambda reader: list(standings(reader, 100)))
    told = (revision, replace(webhook, secret=""), *stands)
    with open_backlog(serve(Asker(name="ann", person=True, scope=Scope(role="admin"))).url) as client:
        assert client.read(lambda reader: list(standings(reader, 100))) == [told]
        kept = client.read(lambda reader: [record.id for record in reader.scan("delivery", "", "", 100)])
        assert kept == ["chat/progress"]
    for scope in (Scope(role="worker"), Scope(role="admin", sources=("ruff",)), Scope(role="admin", services=("web",))):
        with open_backlog(serve(Asker(name="ann", person=True, scope=scope)).url) as client:
            asked: list[Callable[[Reader], object]] = [
                lambda reader: list(standings(reader, 100)), lambda reader: list(tokens(reader)),
                lambda reader: list(people(reader)), lambda reader: reader.scan("delivery", "", "", 100),
            ]  # fmt: skip
            for ask in asked:
                with pytest.raises(NotAllowed, match="admins"):
                    client.read(ask)


def test_a_token_is_taken_as_a_file_holds_it() -> None:
    """
    An end of line behind it is none of it; what could be no token is said to be none.
    """
    for token, sent in (("blt_a\n", "Bearer blt_a"), (" blt_a\r\n", "Bearer blt_a")):
        assert Connection("http://127.0.0.1", token=token)._headers()["Authorization"] == sent
    for wrong in ("blt_a\nX-Forged: 1", "blt_é"):
        with pytest.raises(ConfigError, match="token"):
            Connection("http://127.0.0.1", token=wrong)


def test_who_acts_is_whom_the_server_knows(remote: Backlog, backlog: Backlog) -> None:
    """
    The client's own word for who acts counts for nothing; a report is made as the machine of its source.
    """
    id = remote.create(Draft(title="x")).id
    remote.acting_as("ruff").upsert(title="y", dedupe_key="k", source="ruff")
    assert [event.actor for event in backlog.events(EventQuery())] == ["ann", "ruff"]
    assert backlog.trail(id)[0].actor_kind == "person"


@pytest.mark.parametrize(
    ("act", "error"),
    [
        (lambda b, _: b.get("bl_neverwas"), NotFound),
        (lambda b, own: b.edit(own, priority="P9"), InvalidInput),
        (lambda b, own: b.edit(own, revision=7, title="z"), RevisionConflict),
        (lambda b, own: b.move(own, "done"), TransitionNotAllowed),
        (lambda b, own: b.create(Draft(title="x", dedupe_key="k")), AlreadyExists),
        (lambda b, own: [b.comment(own, word, request_id="r") for word in ("a", "b")], RequestReused),
        (lambda b, own: b.execute(SaveView(name="v", query="prio:(")), InvalidQuery),
        (lambda b, own: b.get("bl_"), AmbiguousId),
    ],
)
def test_errors_are_the_same_as_of_a_store(
    remote: Backlog, act: Callable[[Backlog, str], object], error: type[BacklogError]
) -> None:
    """
    What a server refuses is raised as the very class that a store raises, with its text, its hint and its fields.
    """
    with open_backlog("memory://", clock=StepClock(), ids=CountingIds()) as local:
        raised = []
        for backlog in (local.acting_as("ann", person=True), remote):
            own = backlog.create(Draft(title="x", dedupe_key="k")).id
            backlog.upsert(title="y", dedupe_key="l")
            with pytest.raises(error) as caught:
                act(backlog, own)
            raised.append(caught.value)
    ours, theirs = raised
    assert str(theirs) == str(ours)
    names = ("allowed", "found", "expected", "kind", "held_by", "request_id", "what", "faults", "text", "offset",
             "reason", "titles")  # fmt: skip
    for name in names:
        assert getattr(theirs, name, None) == getattr(ours, name, None)


def test_an_answer_that_was_lost_is_asked_for_again(remote: Backlog, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Where a connection breaks after a command was sent, it happens once, and its caller gets the first answer.
    """
    assert isinstance(remote.executor, RemoteExecutor)
    connection = remote.executor._connection
    exchange = connection._exchange
    broken: list[int] = []

    def losing(*args: Any, **more: Any) -> Any:
        answer = exchange(*args, **more)
        if not broken:
            broken.append(1)
            raise ConnectionResetError("lost")
        return answer

    monkeypatch.setattr(connection, "_exchange", losing)
    outcome = remote.create(Draft(title="x"))
    assert broken
    assert [item.id for item in remote.search()] == [outcome.id]


def test_a_bound_client_reaches_its_part(serve: Callable[[Asker], Served], backlog: Backlog) -> None:
    """
    Questions and commands of a bound credential are answered within its scope.
    """
    backlog.upsert(title="Theirs", service="api", dedupe_key="a")
    mine = backlog.upsert(title="Mine", service="web", dedupe_key="w").id
    scope = Scope(role="reporter", services=("web",), sources=("ruff",))
    with open_backlog(serve(Asker(name="ci", scope=scope)).url) as client:
        assert [item.id for item in client.search()] == [mine]
        with pytest.raises(NotAllowed):
            client.comment(mine, "hello")
        with pytest.raises(NotAllowed):
            client.acting_as("trivy").upsert(title="x", service="web", source="trivy", dedupe_key="t")
        with pytest.raises(NotAllowed):
            _ = client.executor.backend


def test_a_server_that_is_away_is_unavailable(remote: Backlog, serve: Callable[[Asker], Served]) -> None:
    """
    Nobody there: `BackendUnavailable`, which surely was not executed; and a word that is no address is refused.
    """
    gone = serve(Asker(name="x"))
    gone.stop()
    with open_backlog(gone.url) as client, pytest.raises(BackendUnavailable):
        client.search()
    with pytest.raises(ConfigError):
        open_backlog("http://user:secret@host/")


def test_a_command_keeps_its_request_id(remote: Backlog, backlog: Backlog) -> None:
    """
    The same command twice is one effect, whichever way it comes.
    """
    commands = [replace(remote.command(Create(draft=Draft(title="x"))), request_id="r1") for _ in range(2)]
    answers = [remote.executor.execute(command) for command in commands]
    assert [answer.replayed for answer in answers] == [False, True]
    assert len(backlog.search()) == 1


def test_an_export_through_a_server_is_whole_or_none(
    remote: Backlog, backlog: Backlog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    It is what the server exports; of one that was cut off, or changed on its way, nothing is written.
    """
    for number in range(3):
        backlog.upsert(title=f"Item {number}", dedupe_key=f"k{number}")
    assert isinstance(remote.executor, RemoteExecutor)
    through, own = BytesIO(), BytesIO()
    told = remote.executor.export(through)
    assert (told, through.getvalue()) == (export_store(backlog.executor.backend, own), own.getvalue())
    whole = through.getvalue()
    lines = whole.splitlines(keepends=True)
    for damaged in (b"", whole[:-20], b"".join(lines[:-1]), b"".join([*lines[:2], *lines[3:]])):
        connection = remote.executor._connection
        monkeypatch.setattr(connection, "fetch", lambda _, data=damaged, **__: [data])
        with pytest.raises(BackendUnavailable, match="not all of it"):
            remote.executor.export(sink := BytesIO())
        assert sink.getvalue() == b""


def test_an_export_that_finds_no_room_blames_no_server(remote: Backlog, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    What goes wrong with the place for what came is told as that: the server answered.
    """

    class Full(BytesIO):
        def write(self, _: object) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    assert isinstance(remote.executor, RemoteExecutor)
    monkeypatch.setattr("backlog_store.transfer.tempfile", SimpleNamespace(SpooledTemporaryFile=lambda **_: Full()))
    with pytest.raises(OSError, match="No space left"):
        remote.executor.export(BytesIO())
